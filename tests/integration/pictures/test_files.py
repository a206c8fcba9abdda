"""The archive of pictures, and what is told from a picture's bytes."""

from __future__ import annotations

import io
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from PIL import Image, ImageDraw

from tests.fakes.grafana import png
from wxbridge.core import imaging
from wxbridge.core.errors import PictureError
from wxbridge.pictures.archive import archive_picture, prune_archive

NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)
DAY = 86400


def test_a_picture_is_kept_under_its_hour_in_its_time_zone(tmp_path):
    local = NOW.astimezone(ZoneInfo("Asia/Shanghai"))
    path = archive_picture(f"{tmp_path}/res/%Y/%m/%d/%H.png", local, b"png")
    assert path == tmp_path / "res/2026/11/21/16.png"
    assert path.read_bytes() == b"png"


def test_no_leading_zeros_and_chinese_names(tmp_path):
    path = archive_picture(f"{tmp_path}/巡检/%Y年%-m月/%-d日%-H点.png", NOW.replace(day=2), b"png")
    assert path == tmp_path / "巡检/2026年11月/2日8点.png"
    assert prune_archive(f"{tmp_path}/巡检/%Y年%-m月/%-d日%-H点.png", DAY, NOW) == [path]


def test_a_second_picture_of_the_hour_replaces_the_first_and_leaves_no_other_file(tmp_path):
    for body in (b"one", b"two"):
        path = archive_picture(f"{tmp_path}/%H.png", NOW, body)
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_disk_that_does_not_take_it_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureError, match="cannot keep a picture") as caught:
        archive_picture(f"{tmp_path}/file/%H.png", NOW, b"png")
    assert caught.value.retry


def test_old_pictures_go_and_everything_else_stays(tmp_path):
    pattern = f"{tmp_path}/res/%Y/%m/%d/%H.png"
    old = [archive_picture(pattern, NOW - timedelta(days=days), b"png") for days in (31, 40, 400)]
    new = [archive_picture(pattern, NOW - timedelta(days=days), b"png") for days in (0, 29)]
    long_ago = (NOW - timedelta(days=900)).timestamp()
    others = [tmp_path / "res/notes.txt", tmp_path / "res/2024/01/01/mine.png", tmp_path / "res/2024/01/01/007.png"]
    for path in others:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        os.utime(path, (long_ago, long_ago))
    assert sorted(prune_archive(pattern, 30 * DAY, NOW)) == sorted(old)
    assert all(path.exists() for path in new + others)
    assert not (tmp_path / "res/2025").exists()


def test_what_is_behind_a_link_stays(tmp_path):
    outside = tmp_path / "outside/21/08.png"
    outside.parent.mkdir(parents=True)
    outside.write_text("mine")
    os.utime(outside, (0, 0))
    (tmp_path / "res").mkdir()
    (tmp_path / "res/11").symlink_to(tmp_path / "outside")
    (tmp_path / "res/12.png").symlink_to(outside)
    assert prune_archive(f"{tmp_path}/res/%m/%d/%H.png", DAY, NOW) == []
    assert prune_archive(f"{tmp_path}/res/%m.png", DAY, NOW) == []
    assert outside.exists()


def test_a_pattern_without_a_date_deletes_nothing(tmp_path):
    path = archive_picture(f"{tmp_path}/100%%.png", NOW - timedelta(days=90), b"png")
    assert path.name == "100%.png"
    assert prune_archive(f"{tmp_path}/100%%.png", DAY, NOW) == []


def test_a_relative_pattern(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = archive_picture("%F/%H%M.png", NOW - timedelta(days=2), b"png")
    assert path == Path("2026-11-19/0805.png")
    assert prune_archive("%F/%H%M.png", DAY, NOW) == [path]


# ---------------------------------------------------------------- pixels


def page(draw=None, size=(1440, 900), colour="#111217") -> bytes:
    image = Image.new("RGB", size, colour)
    if draw:
        draw(ImageDraw.Draw(image))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_blank_pictures_are_told():
    assert imaging.is_blank(page())
    assert imaging.is_blank(page(colour="white"))
    assert imaging.is_blank(page(lambda pen: pen.point([(5, 5), (700, 400)], "white")))


def test_a_short_text_is_not_blank():
    assert not imaging.is_blank(page(lambda pen: pen.text((20, 20), "no data in this range", fill="white")))
    assert not imaging.is_blank(page(lambda pen: pen.line((0, 450, 1440, 450), "green")))


def test_a_png_is_made_to_fit():
    noise = Image.frombytes("RGB", (600, 400), random.Random(1).randbytes(600 * 400 * 3))
    out = io.BytesIO()
    noise.save(out, "PNG")
    for limit in (300_000, 100_000):
        fitted = imaging.fit(out.getvalue(), limit)
        assert len(fitted) <= limit
        assert imaging.sniff(fitted) == "image/png"
    assert imaging.fit(png(), 10_000_000) == png()
    with pytest.raises(PictureError, match="even when made smaller"):
        imaging.fit(out.getvalue(), 1000)
