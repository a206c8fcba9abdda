"""Which fonts charts are written with: one for Latin letters, and one that has Chinese ones."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from PIL import ImageFont

Face = ImageFont.FreeTypeFont

_LATIN = ("Inter", "Roboto", "Noto Sans", "Open Sans", "Liberation Sans", "Arial", "DejaVu Sans")
"""What people know from web pages, the narrower ones first."""
_CHINESE = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "Noto Sans CJK JP"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "SimHei"),
    *("Droid Sans Fallback", "AR PL UMing CN", "AR PL UKai CN"),
)
_UPRIGHT = ("Regular", "Book", "Roman", "Normal", "Medium")
_SAMPLE = "中文警报"
"""What a font with Chinese letters has at least."""
_MAX_FILES = 3000
_PROBE_PX = 24
_ABSENT = "\uffff"
"""No character: what a font draws for it, it draws for every letter that it lacks."""


@dataclass(frozen=True)
class FontFile:
    """A face in a file of fonts; without a path the one that Pillow brings, for Latin letters alone."""

    path: str = ""
    index: int = 0

    def face(self, size: int) -> Face:
        """Open it, for letters so many pixels high."""
        return _open(self, size)

    @cached_property
    def _absent(self) -> bytes:
        return _drawn(self.face(_PROBE_PX), _ABSENT)

    def has(self, letter: str) -> bool:
        """Whether it can draw a letter."""
        return letter == " " or _drawn(self.face(_PROBE_PX), letter) != self._absent


@dataclass(frozen=True)
class Fonts:
    """The faces to write with, in order of preference."""

    faces: tuple[FontFile, ...]
    bold: FontFile | None = None
    """The bold one of the first face."""
    knows: Callable[[str], bool] | None = None
    """Whether a letter can be drawn; by default asked of the faces."""

    def face_of(self, letter: str) -> FontFile | None:
        """Give the first face that has a letter."""
        return _first_with(self.faces, letter)

    def has(self, letter: str) -> bool:
        """Whether a letter can be drawn."""
        return self.knows(letter) if self.knows else self.face_of(letter) is not None

    def clean(self, text: str) -> str:
        """One line of text, without the symbols (emoji) and control characters that no font here can draw.

        Letters stay, even where they become boxes: that something stands there is to be seen.
        """
        kept = (
            each
            for each in "".join(" " if each.isspace() else each for each in text)
            if unicodedata.category(each)[0] in "LNPZ" or (unicodedata.category(each)[0] != "C" and self.has(each))
        )
        return " ".join("".join(kept).split())

    def lacks(self, text: str) -> bool:
        """Whether a letter of the text becomes a box."""
        return any(unicodedata.category(each)[0] == "L" and not self.has(each) for each in text)


@cache
def _first_with(faces: tuple[FontFile, ...], letter: str) -> FontFile | None:
    return next((each for each in faces if each.has(letter)), None)


@cache
def fonts() -> Fonts:
    """Find the fonts, once for a process: some 0.2 ms for each file of fonts on the machine."""
    there: dict[tuple[str, str], FontFile] = {}
    for file, family, style in _faces():
        there.setdefault((family, style), file)
    latin = next((family for family in _LATIN if _upright(there, family)), None)
    chinese = next((found for family in _CHINESE if (found := _upright(there, family))), None) or next(
        (file for file in there.values() if all(map(file.has, _SAMPLE))), None
    )
    first = _upright(there, latin) if latin else None
    faces = tuple(dict.fromkeys(each for each in (first, chinese, _upright(there, "DejaVu Sans")) if each))
    return Fonts((*faces, FontFile()), there.get((latin, "Bold")) if latin else None)


def _upright(there: dict[tuple[str, str], FontFile], family: str) -> FontFile | None:
    return next((there[family, style] for style in _UPRIGHT if (family, style) in there), None)


def _faces() -> Iterator[tuple[FontFile, str, str]]:
    """List the faces of this machine: file, family, style."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    folders = (data / "fonts", Path.home() / ".fonts", Path("/usr/local/share/fonts"), Path("/usr/share/fonts"),
               Path("/Library/Fonts"), Path("/System/Library/Fonts"))  # fmt: skip
    files = [each for folder in folders for each in sorted(folder.rglob("*.[tTo][tT][fFcC]"))]
    for path in files[:_MAX_FILES]:
        for index in range(8 if path.suffix.lower() == ".ttc" else 1):
            try:
                family, style = ImageFont.truetype(str(path), _PROBE_PX, index).getname()
            except OSError:
                break
            if family and style:
                yield FontFile(str(path), index), family, style


@cache
def _open(file: FontFile, size: int) -> Face:
    if not file.path:
        face = ImageFont.load_default(size)
        assert isinstance(face, ImageFont.FreeTypeFont)  # noqa: S101 - with a size it is one
        return face
    return ImageFont.truetype(file.path, size, file.index, layout_engine=ImageFont.Layout.BASIC)


@cache
def _drawn(face: Face, letter: str) -> bytes:
    mask, _ = face.getmask2(letter, mode="L")
    return bytes(mask) + repr(mask.size).encode()
