"""What can be told and done with a picture's bytes: its type, whether it is blank, making it smaller.

Everything here is synchronous and takes up to some 100 ms on a large picture: call it in a thread.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any, Literal

from wxbridge.core.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image

ContentType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]

MAX_PIXELS = 50_000_000
"""The most pixels a picture may have: a small file can unpack to gigabytes."""

_SAME_COLOUR = 16
"""How far (of 255) a pixel may be from the background and still count as background."""
_BLANK_SHARE = 1 / 20_000
"""A picture with a smaller share of other pixels is blank: about 65 pixels of a 1440 × 900 page, four
letters."""
_SURELY_SEEN_POINTS = 200
"""Of 256 × 256 points of a picture: where so many are none of the background, it is not blank."""
_SMALLEST_SCALE = 0.25


def sniff(data: bytes) -> ContentType | None:
    """Tell a PNG, JPEG, GIF or WebP by its first bytes, whatever its header claims; else None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def what_else(data: bytes) -> str:
    """Say what bytes are which are no picture, for an error's sentence."""
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if b"<svg" in head:
        return "is an SVG drawing, which WeChat cannot show; link a PNG instead"
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "is a web page, no picture"
    return "is no PNG, JPEG, GIF or WebP picture"


def open_picture(data: bytes, name: str, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a picture after checking its type and its number of pixels; nothing is unpacked yet.

    Raises:
        PictureError: it is no picture, or has more than `max_pixels` pixels. `name` names it in the sentence.
    """
    from PIL import Image, UnidentifiedImageError

    content_type = sniff(data)
    if content_type is None:
        raise PictureError(f"{name} {what_else(data)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit follows
            image = Image.open(io.BytesIO(data), formats=[content_type.removeprefix("image/").upper()])
    except Image.DecompressionBombError:
        raise PictureError(f"{name} has more than {max_pixels:,} pixels") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"{name} is a damaged picture: {error}") from None
    if image.width * image.height > max_pixels:
        raise PictureError(
            f"{name} has {image.width} × {image.height} pixels; at most {max_pixels:,} are taken",
        )
    return image


def checked(data: bytes, name: str) -> tuple[bytes, ContentType]:
    """Check that bytes are a whole picture that WeChat can show; WebP becomes PNG, all else stays as it is.

    Raises:
        PictureError: it is no picture, is damaged or cut off, or has more than `MAX_PIXELS` pixels.
    """
    content_type = sniff(data)
    image = open_picture(data, name)
    try:
        image.load()  # also tells a picture that was cut off
        if content_type == "image/webp":
            return to_png(image), "image/png"
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise PictureError(f"{name} is a damaged picture: {error}") from None
    assert content_type is not None  # noqa: S101 - open_picture has refused it
    return data, content_type


def to_png(image: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def is_blank(data: bytes, name: str = "the picture") -> bool:
    """Whether a picture is all one colour, or so nearly that nobody would see anything on it.

    Raises:
        PictureError: it is no picture at all.
    """
    from PIL import Image, ImageChops

    with open_picture(data, name, max_pixels=4 * MAX_PIXELS) as opened:
        opened.load()
        image = opened if opened.mode == "RGB" else opened.convert("RGB")
    # The nearest pixels: no colours that are not there.
    points = image.resize((min(image.width, 256), min(image.height, 256)), resample=0)
    colours: Any = points.getcolors(256 * 256)
    background = max(colours)[1]
    seen = sum(
        count
        for count, colour in colours
        if any(abs(one - other) >= _SAME_COLOUR for one, other in zip(colour, background, strict=True))
    )
    if seen > _SURELY_SEEN_POINTS:
        return False  # without looking at all of it
    difference = ImageChops.difference(image, Image.new("RGB", image.size, background))
    strongest = difference.getchannel(0)
    for channel in (1, 2):
        strongest = ImageChops.lighter(strongest, difference.getchannel(channel))
    other = sum(strongest.histogram()[_SAME_COLOUR:])
    return other < max(1, image.width * image.height * _BLANK_SHARE)


def fit(png: bytes, max_bytes: int) -> bytes:
    """Bring a PNG below `max_bytes`: as it is, else with 256 colours, else smaller as well (to a quarter).

    Raises:
        PictureError: even then it is too large.
    """
    from PIL import Image

    if len(png) <= max_bytes:
        return png
    with open_picture(png, "the picture", max_pixels=4 * MAX_PIXELS) as opened:
        image = opened.convert("RGB")
    scale, size = 1.0, len(png)
    while scale >= _SMALLEST_SCALE:
        smaller = image
        if scale < 1:
            smaller = image.resize(
                (max(1, round(image.width * scale)), max(1, round(image.height * scale))),
                Image.Resampling.LANCZOS,
            )
        out = io.BytesIO()
        smaller.quantize(256, method=Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
        size = out.tell()
        if size <= max_bytes:
            return out.getvalue()
        scale = min(scale * 0.8, scale * math.sqrt(max_bytes / size))
    raise PictureError(f"the picture has {size:,} bytes even when made smaller; at most {max_bytes:,} are sent")
