"""Small versions of stored pictures, so that a phone need not load them whole."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from pathlib import Path

WIDTH = 480
"""Pixels; twice what a list shows, for screens that have them."""
HEIGHT = 320
_KEPT = 200
_AT_ONCE = 2


class Thumbnails:
    """Makes them, two at a time, and keeps the last ones in memory (some 20 kB each)."""

    def __init__(self) -> None:
        self._made: OrderedDict[Path, bytes] = OrderedDict()
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def of(self, path: Path) -> bytes | None:
        """The small version of a picture, a JPEG; None where there is no such picture."""
        if path in self._made:
            self._made.move_to_end(path)
            return self._made[path]
        async with self._turn:
            made = await asyncio.to_thread(_small, path)
        if made is not None:
            self._made[path] = made
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return made


def _small(path: Path) -> bytes | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.draft("RGB", (WIDTH, HEIGHT))
            image.thumbnail((WIDTH, HEIGHT * 3))
            # The head of a tall page tells more than all of it in miniature.
            shown = image.convert("RGB").crop((0, 0, image.width, min(image.height, HEIGHT)))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
        return None
    out = io.BytesIO()
    shown.save(out, "JPEG", quality=80)
    return out.getvalue()
