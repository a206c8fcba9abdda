"""Whether this machine can write Chinese: without such a font a browser draws empty boxes instead.

Fonts are tried, not only listed: a small container has fonts but no `fc-list`, and a list may name what is broken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

ADVICE = "apt install fonts-wqy-microhei"
"""The one line that brings a Chinese font (Debian, Ubuntu)."""

_FC_LIST_SECONDS = 10.0
_LETTERS = "告警"
_MISSING_LETTER = "\U0010ffff"
"""No font has it, so what is drawn in its place is the font's box."""
_SUFFIXES = (".ttf", ".ttc", ".otf", ".otc")
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "/System/Library/Fonts")
_LIKELY_WORDS = ("cjk", "wqy", "han", "hei", "song", "ming", "kai", "msyh", "sim", "pingfang", "notosanssc", "fallback")
_MAX_FILES_TRIED = 400
"""Where nothing lists the Chinese fonts."""


@dataclass(frozen=True)
class ChineseFont:
    """A font file with Chinese letters, and the name of its family."""

    path: Path
    family: str


def find_chinese_font() -> ChineseFont | None:
    """Find a font with Chinese letters, as the browser would find one; None where there is none. Call it in a thread.

    Looked for anew at each call: somebody may just have installed one.
    """
    return next((font for path in _candidates() if (font := _try(path)) is not None), None)


def _candidates() -> Iterator[Path]:
    lister = shutil.which("fc-list")
    if lister is None:
        yield from _files()
        return
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [lister, ":lang=zh", "--format", "%{file}\n"],
            capture_output=True,
            text=True,
            timeout=_FC_LIST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        yield from _files()
        return
    yield from (Path(line) for line in sorted(set(done.stdout.splitlines())) if line)


def _files() -> list[Path]:
    home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    folders = [*map(Path, _FOLDERS), home / "fonts", Path.home() / ".fonts"]
    found = {path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES}

    def rank(path: Path) -> tuple[bool, Path]:
        return not any(word in path.name.lower() for word in _LIKELY_WORDS), path

    return sorted(found, key=rank)[:_MAX_FILES_TRIED]


def _try(path: Path) -> ChineseFont | None:
    """Draw two letters: they have to be there, and to look different from each other and from the font's box."""
    from PIL import ImageFont

    try:
        font = ImageFont.truetype(str(path), 24)
        drawn = {_drawn(font, letter) for letter in (*_LETTERS, _MISSING_LETTER)}
    except (OSError, ValueError):
        return None
    if len(drawn) <= len(_LETTERS) or not all(any(_drawn(font, letter)[1]) for letter in _LETTERS):
        return None
    return ChineseFont(path, font.getname()[0] or path.stem)


def _drawn(font: FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
