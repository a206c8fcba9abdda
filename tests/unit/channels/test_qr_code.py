from __future__ import annotations

import io
import re
import stat
from pathlib import Path

from PIL import Image

from wxbridge.channels import qr_code

CONTENT = "http://weixin.qq.com/x/AbCdEf0123456789"


def rows_of(text: str) -> list[list[bool]]:
    """The light modules of a code printed in half blocks."""
    upper = [[character in "█▀" for character in line] for line in text.splitlines()]
    lower = [[character in "█▄" for character in line] for line in text.splitlines()]
    return [row for pair in zip(upper, lower, strict=True) for row in pair]


def modules_of(image: Image.Image, size: int) -> list[list[bool]]:
    """The light modules of a drawn code, whatever their size in pixels."""
    step = image.width / size
    grey = image.convert("L")
    return [
        [grey.getpixel((int((x + 0.5) * step), int((y + 0.5) * step))) > 127 for x in range(size)]  # type: ignore[operator]
        for y in range(size)
    ]


def test_the_terminal_and_the_file_show_the_same_code(tmp_path: Path) -> None:
    out = io.StringIO()
    qr_code.print_code(CONTENT, out)
    shown = rows_of(out.getvalue())
    size = len(shown[0])
    qr_code.save_png(CONTENT, tmp_path / "login.png")
    with Image.open(tmp_path / "login.png") as image:
        assert modules_of(image, size) == shown[:size]


def test_the_code_has_a_light_border_all_around_also_on_a_dark_terminal() -> None:
    out = io.StringIO()
    qr_code.print_code(CONTENT, out)
    shown = rows_of(out.getvalue())
    size = len(shown[0])
    for index in range(size):
        assert all((shown[0][index], shown[1][index], shown[index][0], shown[index][-1]))
    assert not shown[2][2], "the finder pattern begins after a border of two"


def test_only_the_owner_may_read_the_file_since_who_scans_it_owns_the_login(tmp_path: Path) -> None:
    path = tmp_path / "state" / "login.png"
    qr_code.save_png(CONTENT, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["login.png"]


def test_a_new_code_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "login.png"
    qr_code.save_png(CONTENT, path)
    before = path.read_bytes()
    qr_code.save_png(CONTENT + "x", path)
    assert path.read_bytes() != before


def test_a_terminal_that_knows_no_blocks_gets_something_and_nothing_breaks() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    qr_code.print_code(CONTENT, out)
    out.seek(0)
    assert out.read()


def test_the_page_gets_an_svg_of_paths_alone_whatever_the_code_says() -> None:
    svg = qr_code.draw_svg('"><script>alert(1)</script>')
    assert svg.lstrip().startswith(("<svg", "<?xml"))
    assert "script" not in svg
    assert re.search(r"<(svg:)?path ", svg)
