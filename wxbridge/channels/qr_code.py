"""The login QR code: in the terminal, as a PNG file, and as SVG for a page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TextIO

from wxbridge.core.lean_imports import import_real


def _make_code(content: str) -> Any:
    qrcode = import_real("qrcode")  # brings Pillow, 4 MB, that only a code to scan needs
    code: Any = qrcode.QRCode(border=2, error_correction=qrcode.ERROR_CORRECT_L)
    code.add_data(content)
    try:
        code.make(fit=True)
    except qrcode.exceptions.DataOverflowError as error:
        raise ValueError(f"{len(content)} characters do not fit into a QR code") from error
    return code


def print_code(content: str, out: TextIO) -> None:
    """Print a QR code in half blocks, light on dark; also where `out` is no terminal."""
    code, text = _make_code(content), io.StringIO()
    code.print_ascii(out=text, invert=True)
    encoding = out.encoding or "utf-8"
    try:
        shown = text.getvalue().encode(encoding).decode(encoding)
    except UnicodeEncodeError:
        # GBK has no half blocks: a module is two characters wide, in whole ones or, where there are none, in signs.
        full = "█".encode(encoding, "ignore").decode(encoding) or "#"
        width = 1 if encoding.lower().startswith(("gb", "cp936")) and full != "#" else 2
        lines = ["".join(" " * 2 if dark else full * width for dark in row) for row in code.get_matrix()]
        shown = "\n".join(lines) + "\n"
    out.write(shown)
    out.flush()


def draw_png(content: str) -> bytes:
    """Draw a QR code as a PNG."""
    file = io.BytesIO()
    _make_code(content).make_image().save(file, "PNG")
    return file.getvalue()


def save_png(content: str, path: Path) -> None:
    """Write a QR code as a PNG, readable by its owner only: who scans it owns the login. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(draw_png(content))
    temporary.replace(path)


def draw_svg(content: str) -> str:
    """Draw a QR code as an SVG element."""
    svg = import_real("qrcode.image.svg")  # brings lxml, 3 MB, that only a page needs
    image = _make_code(content).make_image(image_factory=svg.SvgPathImage)
    drawn: str = image.to_string(encoding="unicode")
    return drawn
