"""Which fonts charts are written with: one for Latin letters, and one that has Chinese ones."""

from __future__ import annotations

import functools
import shutil
import subprocess
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path

_LATIN = ("Inter", "Roboto", "Noto Sans", "Open Sans", "Liberation Sans", "Arial")
"""Narrower than matplotlib's own DejaVu Sans, and what people know from web pages."""
_OWN = "DejaVu Sans"
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "SimHei"),
    *("Droid Sans Fallback", "AR PL UMing CN", "AR PL UKai CN"),
)
_LISTER_SECONDS = 10.0


@dataclass(frozen=True)
class Fonts:
    """The families to write with, in order of preference, and the characters that they have together."""

    families: tuple[str, ...]
    characters: frozenset[int]
    chinese: str | None
    """The family for Chinese letters, where there is one."""

    def clean(self, text: str) -> str:
        """One line of text, without the symbols (emoji) and control characters that no font here can draw.

        Letters stay, even where they become boxes: that something stands there is to be seen.
        """
        kept = (
            each
            for each in "".join(" " if each.isspace() else each for each in text)
            if ord(each) in self.characters or unicodedata.category(each)[0] in "LNPZ"
        )
        return " ".join("".join(kept).split())

    def lacks(self, text: str) -> bool:
        """Whether a letter of the text becomes a box."""
        return any(unicodedata.category(each)[0] == "L" and ord(each) not in self.characters for each in text)


@functools.cache
def fonts() -> Fonts:
    """Find the fonts, once for a process. The very first time on a machine matplotlib lists all its fonts (seconds)."""
    from matplotlib import font_manager

    # What is missing is told once, by `Fonts.lacks`, and not for each letter.
    warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
    there = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist if _upright(entry)}
    latin = next((name for name in _LATIN if name in there), _OWN)
    chinese = next((name for name in _CHINESE if name in there), None) or _listed()
    families = dict.fromkeys(name for name in (latin, chinese, _OWN) if name)
    characters: set[int] = set()
    for name in families:
        path = font_manager.findfont(font_manager.FontProperties(family=[name]), fallback_to_default=True)
        characters.update(font_manager.get_font(path).get_charmap())
    return Fonts(tuple(families), frozenset(characters), chinese)


def _upright(entry: object) -> bool:
    return getattr(entry, "style", "") == "normal"


def _listed() -> str | None:
    """Ask fontconfig for any other font with Chinese characters, and make it known to matplotlib."""
    from matplotlib import font_manager

    lister = shutil.which("fc-list")
    if lister is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [lister, ":lang=zh", "--format", "%{file}\n"],
            capture_output=True,
            text=True,
            timeout=_LISTER_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    for path in sorted(set(done.stdout.splitlines())):
        if Path(path).suffix.lower() in (".ttf", ".otf", ".ttc"):
            try:
                font_manager.fontManager.addfont(path)
            except (OSError, RuntimeError):
                continue
            return font_manager.fontManager.ttflist[-1].name
    return None
