"""Drawing by kind, with retries."""

from __future__ import annotations

import asyncio

import pytest

from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.pictures.renderer import PictureRenderer


async def test_how_often_a_picture_was_tried_is_told_once_also_where_others_failed_of_the_same() -> None:
    error = PictureError("Prometheus is down", retry=True)

    async def fails(_params):
        raise error

    async with PictureRenderer(painters={"odd": fails}) as renderer:
        spec = PictureSpec("odd", {"deadline": 2.5})
        drawn = [renderer.draw(spec), renderer.draw(spec)]
        for each in await asyncio.gather(*drawn, return_exceptions=True):
            assert str(each).startswith("Prometheus is down (2 tries in ")
            assert str(each).count("tries") == 1
        with pytest.raises(PictureError, match=r"down \(2 tries") as caught:
            await renderer.draw(spec)
    assert caught.value.retry
