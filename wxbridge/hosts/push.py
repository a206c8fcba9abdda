"""The sampler alone, on a machine without the bridge: it measures, and posts to `/hooks/host` of a bridge elsewhere.

While the bridge is away samples are kept, six hours of them at most, and sent once it is back. The times are those of
this machine's clock; the bridge corrects them where the clocks differ.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog

from wxbridge.core.clock import SystemClock
from wxbridge.core.errors import WxbridgeError
from wxbridge.hosts.own_machine import HostSensor, in_thread
from wxbridge.hosts.samples import SAMPLES_KEPT_SECONDS, Sample
from wxbridge.hosts.sensors import busiest
from wxbridge.hosts.warnings import Busiest

log = structlog.get_logger()

HOOK = "/hooks/host"
MAX_SAMPLES_PER_POST = 500
"""Samples of one POST."""
POST_TIMEOUT_SECONDS = 15.0
MAX_PAUSE_SECONDS = 60.0
"""Seconds between two attempts while the bridge is away."""
BUSIEST_FROM_PERCENT = 75.0
"""Percent of CPU or memory from which on the busiest processes are sent along."""
BUSIEST_INTERVAL_SECONDS = 30.0
"""Seconds at least between two looks at all processes."""
_WRONG = (401, 403, 404)
"""Answers that no later attempt changes: token, address."""
MAX_ANSWER_CHARS = 300

Post = Callable[[bytes], Awaitable[tuple[int, str]]]
"""Post a body; gives the status and the text of the answer. Raises `OSError` or `TimeoutError`."""


def hook_url(url: str) -> str:
    """The hook of a bridge, from its address with or without a path.

    Raises:
        WxbridgeError: it is no http(s) address.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise WxbridgeError(f"{url!r} is no address; write one like http://bridge:8080")
    return url if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{HOOK}"


def poster(session: aiohttp.ClientSession, url: str, token: str | None) -> Post:
    """Post to a bridge, with its token."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})

    async def post(body: bytes) -> tuple[int, str]:
        try:
            async with asyncio.timeout(POST_TIMEOUT_SECONDS), session.post(url, data=body, headers=headers) as answer:
                return answer.status, (await answer.content.read(MAX_ANSWER_CHARS * 4)).decode(errors="replace")[
                    :MAX_ANSWER_CHARS
                ]
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    return post


@dataclass
class Pusher:
    """Measures and pushes until cancelled."""

    host: str
    every: float
    """Seconds."""
    sensors: HostSensor
    post: Post
    times: SystemClock = field(default_factory=SystemClock)
    processes: Callable[[], Busiest] = busiest
    _waiting: deque[Sample] = field(init=False)
    _about: Mapping[str, float | str] = field(default_factory=dict)
    _tried_at: float | None = None
    _pause: float = 0.0
    _reached: bool = False
    _away: bool = False
    _looked_at: float | None = None

    def __post_init__(self) -> None:
        self._waiting = deque(maxlen=max(1, round(SAMPLES_KEPT_SECONDS / self.every)))

    @property
    def waiting(self) -> int:
        """Samples that have not been sent."""
        return len(self._waiting)

    async def run(self) -> None:
        """Measure and push.

        Raises:
            WxbridgeError: the bridge answers from the beginning that token or address are wrong.
        """
        await in_thread(self.sensors.sample)  # rates are differences
        self._about = await in_thread(self.sensors.about)
        while True:
            began = self.times.monotonic()
            await self.times.sleep(self.every)
            await self.once()
            # A machine that slept does not make up for what it missed.
            log.debug("pushed", waiting=self.waiting, seconds=round(self.times.monotonic() - began, 2))

    async def once(self) -> None:
        """Measure once, and send what waits."""
        figures = await in_thread(self.sensors.sample)
        self._waiting.append(Sample(self.times.wall(), figures))
        busy = await self._busiest(figures)
        now = self.times.monotonic()
        if self._tried_at is not None and now - self._tried_at < self._pause:
            return
        self._tried_at = now
        while self._waiting:
            batch = [self._waiting[index] for index in range(min(MAX_SAMPLES_PER_POST, len(self._waiting)))]
            if not await self._send(batch, busy):
                return
            for _ in batch:
                self._waiting.popleft()
            busy = {}

    async def _busiest(self, figures: Mapping[str, float]) -> Busiest:
        now = self.times.monotonic()
        high = max(figures.get("cpu", 0.0), figures.get("memory", 0.0)) >= BUSIEST_FROM_PERCENT
        if not high or (self._looked_at is not None and now - self._looked_at < BUSIEST_INTERVAL_SECONDS):
            return {}
        self._looked_at = now
        found: Busiest = await in_thread(self.processes)
        return found

    async def _send(self, batch: list[Sample], busy: Busiest) -> bool:
        """Send samples; whether they need not be sent again."""
        body: dict[str, Any] = {
            "host": self.host,
            "every": self.every,
            "now": self.times.wall(),
            "about": self._about,
            "samples": [
                {
                    "at": round(sample.at, 3),
                    "figures": {name: round(value, 2) for name, value in sample.figures.items()},
                }
                for sample in batch
            ],
        }
        if busy:
            body["busiest"] = busy
        try:
            status, answer = await self.post(json.dumps(body).encode())
        except (OSError, TimeoutError) as error:
            return self._failed(str(error) or type(error).__name__)
        if 200 <= status < 300:  # noqa: PLR2004 - HTTP
            if self._away:
                log.info("the bridge is back", sent=len(batch))
            self._reached, self._away, self._pause = True, False, 0.0
            return True
        if status in _WRONG and not self._reached:
            raise WxbridgeError(f"the bridge answered {status}: {answer.strip()}")
        if status in (400, 413, 422):
            log.error("the bridge does not take these samples", status=status, answer=answer, dropped=len(batch))
            return True
        return self._failed(f"{status}: {answer.strip()}")

    def _failed(self, why: str) -> bool:
        if not self._away:
            log.warning("the bridge cannot be reached, samples wait", error=why)
        self._away = True
        self._pause = min(MAX_PAUSE_SECONDS, max(self.every, self._pause * 2))
        return False
