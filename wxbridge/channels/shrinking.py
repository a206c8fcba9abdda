"""Bringing a picture below a service's limit, still legible. Synchronous: call it in a thread."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from wxbridge.core import imaging
from wxbridge.core.errors import PictureError

if TYPE_CHECKING:
    from PIL import Image

SHOWN = ("image/png", "image/jpeg")
"""What stays as it is where it is small enough."""
_SCALES = (1.0, 0.8, 0.64, 0.5, 0.4, 0.3)
_QUALITIES = (90, 80, 70, 60)
"""Of JPEG; letters on a screenshot are frayed below the last."""


def shrink_picture(data: bytes, limit: int) -> bytes:
    """Make a PNG or JPEG of at most `limit` bytes: as it is where it fits, else with 256 colours, as JPEG, or smaller.

    Raises:
        PictureError: it is no picture, or too large even then.
    """
    if imaging.sniff(data) in SHOWN and len(data) <= limit:
        return data
    with imaging.open_picture(data, "the picture") as opened:
        image = _flat(opened)
    smallest = len(data)
    for scale in _SCALES:
        for encoded in _encodings(_scaled(image, scale)):
            if len(encoded) <= limit:
                return encoded
            smallest = min(smallest, len(encoded))
    raise PictureError(f"the picture has {smallest:,} bytes even when made smaller; at most {limit:,} are sent")


def _flat(image: Image.Image) -> Image.Image:
    """The first frame, on white where it is transparent."""
    from PIL import Image

    with_alpha = image.convert("RGBA")
    ground = Image.new("RGB", image.size, "white")
    ground.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return ground


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    from PIL import Image

    if scale == 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)


def _encodings(image: Image.Image) -> Iterator[bytes]:
    """The legible ones first."""
    from PIL import Image

    yield _saved(image.quantize(256, method=Image.Quantize.FASTOCTREE), "PNG", optimize=True)
    for quality in _QUALITIES:
        yield _saved(image, "JPEG", quality=quality, optimize=True)


def _saved(image: Image.Image, kind: str, **how: int | bool) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()
