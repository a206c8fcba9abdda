"""What the tests of the channels over HTTP share: a clock, contexts and pictures."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from wxbridge.channels import ChannelContext
from wxbridge.channels.http import HttpTiming
from wxbridge.channels.wecom.app import AppTarget, WecomSettings
from wxbridge.channels.wecom.robot import RobotTarget
from wxbridge.core.database import Database
from wxbridge.core.model import PictureFile

FAST = HttpTiming(deadline=1.5, connect=1.2)
"""For what hangs: soon told, and still time enough for what answers on a busy machine."""
PATIENT = HttpTiming(deadline=20, connect=10)
"""For what has to come through, however busy the machine is."""


def robot(url: str, **more: Any) -> RobotTarget:
    return RobotTarget.model_validate({"base_url": url, **({} if "keys" in more else {"key": "a"}), **more})


def app(**more: Any) -> AppTarget:
    return AppTarget.model_validate({"to": "zhangsan", **more})


def context(database: Database, directory: Path, url: str, **more: Any) -> ChannelContext:
    async def tell(_: str) -> None: ...

    given = {"corp_id": "corp", "secret": "the-secret", "agent_id": 1000002, "base_url": url, **more}
    return ChannelContext(WecomSettings.model_validate(given), directory, database, {}, tell)


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))


def screenshot(width: int = 1600, height: int = 1000) -> Image.Image:
    """Like a dashboard: smooth ground, lines, letters."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    draw = ImageDraw.Draw(image)
    for index in range(0, height, 20):
        draw.text((20 + index % 300, index), f"node-{index} cpu {index * 7 % 100} %", fill=(255, index % 255, 0))
    return image


def picture(path: Path, image: Image.Image, kind: str = "PNG", name: str = "panel.png") -> PictureFile:
    image.save(path, kind)
    return PictureFile(str(path), name, Image.MIME[kind], path.stat().st_size)
