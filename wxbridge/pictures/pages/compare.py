"""Two pictures side by side under their labels: a dashboard now, and the same a day before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wxbridge.core import imaging
from wxbridge.pictures.pages.fonts import find_chinese_font

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

_LETTER = 1 / 32
"""The height of a label's letters, in widths of one picture: two pictures side by side are small on a phone."""
_LEAST_LETTER = 16
_GUTTER = 1 / 120
_DARK = 128


def side_by_side(pictures: Sequence[tuple[bytes, str]], name: str = "the picture") -> bytes:
    """Put pictures beside each other, their upper edges level, each under its label; as PNG.

    What is left free is in the colour of the first picture's own background. It takes up to a second on large
    pictures: call it in a thread.

    Raises:
        PictureError: one is no picture, or is too large.
    """
    from PIL import Image, ImageDraw

    images = [_opened(png, name) for png, _ in pictures]
    widest = max(image.width for image in images)
    size = max(_LEAST_LETTER, round(widest * _LETTER))
    gutter, bar = max(2, round(widest * _GUTTER)), round(size * 1.8)
    background: Any = _background(images[0])
    dark = sum(background) / 3 < _DARK
    width = sum(image.width for image in images) + gutter * (len(images) - 1)
    sheet = Image.new("RGB", (width, bar + max(image.height for image in images)), background)
    pen = ImageDraw.Draw(sheet)
    left = 0
    for image, (_, label) in zip(images, pictures, strict=True):
        sheet.paste(image, (left, bar))
        if left:
            pen.rectangle((left - gutter, 0, left - 1, sheet.height), fill="#4a4d55" if dark else "#c4c6cc")
        font = _font(label, size, image.width - size)
        pen.text((left + size // 2, bar // 2), label, fill="#e6e8eb" if dark else "#24292e", font=font, anchor="lm")
        left += image.width + gutter
    return imaging.to_png(sheet)


def _opened(png: bytes, name: str) -> Image.Image:
    with imaging.open_picture(png, name, max_pixels=2 * imaging.MAX_PIXELS) as opened:
        return opened.convert("RGB")


def _background(image: Image.Image) -> tuple[int, ...]:
    """The commonest colour of its left edge, where a page shows its own."""
    edge = image.crop((0, 0, min(image.width, 4), image.height))
    found: Any = max(edge.getcolors(edge.width * edge.height) or [(0, (255, 255, 255))])[1]
    return tuple(found)


def _font(label: str, size: int, room: int) -> FreeTypeFont | ImageFont:
    """A font for a label: one with Chinese letters where it has such; smaller where the label is too long."""
    from PIL import ImageFont

    found = None if label.isascii() else find_chinese_font()
    while True:
        font = ImageFont.truetype(str(found.path), size) if found else ImageFont.load_default(size)
        if size <= _LEAST_LETTER // 2 or font.getlength(label) <= room:
            return font
        size = max(_LEAST_LETTER // 2, size * 7 // 8)
