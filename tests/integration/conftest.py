from __future__ import annotations

import io
import os
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from PIL import Image

from tests.fakes.grafana import FakeGrafana
from wxbridge.pictures.pages.browser import Browser
from wxbridge.pictures.pages.shot import Shot
from wxbridge.pictures.renderer import PictureRenderer


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser():
    """A browser that is warm, one for all tests: its start takes longer on a busy machine than some give a shot."""
    async with Browser(idle=3600) as browser:
        fake = FakeGrafana()
        await fake.start()
        await browser.shoot(Shot(fake.url + "/pages/plain", deadline=120))
        await fake.stop()
        yield browser


@pytest.fixture
def renderer(browser):
    """Make a renderer that shoots with the warm browser, and leaves it to others."""

    @asynccontextmanager
    async def make(*arguments, **keywords):
        async with PictureRenderer(*arguments, **keywords) as pictures:
            pictures.pages.browser = browser
            try:
                yield pictures
            finally:
                del pictures.pages.browser

    return make


@pytest_asyncio.fixture(loop_scope="session")
async def fake():
    async with FakeGrafana() as fake:
        yield fake


@pytest_asyncio.fixture(loop_scope="session")
async def other():
    """Another origin: it remembers who came, and with what."""
    async with FakeGrafana() as other:
        yield other


@pytest.fixture
def keep_picture():
    """With $WXBRIDGE_LOOK=DIR the pictures are written there, to be looked at."""

    def keep(name: str, png: bytes) -> Image.Image:
        if os.environ.get("WXBRIDGE_LOOK"):
            Path(os.environ["WXBRIDGE_LOOK"], name + ".png").write_bytes(png)
        return Image.open(io.BytesIO(png)).convert("RGB")

    return keep
