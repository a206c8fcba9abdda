"""`wxbridge host --push`: what reaches a bridge over HTTP, and what waits while it is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from wxbridge.alerts.sources import host as source
from wxbridge.core.clock import SystemClock
from wxbridge.core.errors import BadBody, WxbridgeError
from wxbridge.hosts.push import Pusher, hook_url, poster
from wxbridge.hosts.pushed import read_pushed


class Bridge:
    """What answers at `/hooks/host`."""

    def __init__(self) -> None:
        self.status = 202
        self.bodies: list[bytes] = []
        self.tokens: list[str] = []

    async def hook(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.status == 202:
            self.bodies.append(await request.read())
        return web.Response(status=self.status, text="The token is missing or wrong.")

    @property
    def samples(self) -> list[float]:
        found = [read_pushed(body) for body in self.bodies]
        return [sample.at for each in found if each for sample in each.samples]


class Machine:
    """A machine with a clock of its own."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.figures = {"cpu": 5.0}

    def sample(self) -> dict[str, float]:
        return dict(self.figures)

    def about(self) -> dict[str, float | str]:
        return {"cores": 4.0}

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)

    @property
    def times(self) -> SystemClock:
        return SystemClock(lambda: self.now + 1e9, lambda: self.now, sleep=self.sleep)


@pytest.fixture
async def bridge() -> AsyncIterator[tuple[Bridge, str]]:
    found = Bridge()
    app = web.Application()
    app.router.add_post("/hooks/host", found.hook)
    async with TestServer(app) as server:
        yield found, str(server.make_url("/"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as found:
        yield found


def pusher(url: str, session: aiohttp.ClientSession, machine: Machine, **more: Any) -> Pusher:
    return Pusher("db-1", 10, machine, poster(session, hook_url(url), "secret"), machine.times, **more)


async def once(each: Pusher, machine: Machine) -> None:
    machine.now += 10
    await each.once()


async def test_samples_arrive_with_name_and_token(bridge: Any, session: aiohttp.ClientSession) -> None:
    served, url = bridge
    machine = Machine()
    each = pusher(url, session, machine)
    await once(each, machine)
    found = read_pushed(served.bodies[0])
    assert found is not None
    assert (found.host, found.every, found.sent_at, found.samples[0].figures) == ("db-1", 10, 1e9 + 1010, {"cpu": 5.0})
    assert served.tokens == ["Bearer secret"]


async def test_what_is_measured_while_the_bridge_is_away_is_sent_once_it_is_back(
    bridge: Any, session: aiohttp.ClientSession
) -> None:
    served, url = bridge
    machine = Machine()
    each = pusher(url, session, machine)
    await once(each, machine)
    served.status = 503
    for _ in range(20):
        await once(each, machine)
    assert each.waiting == 20
    assert len(served.tokens) < 12, "it is asked less and less often"
    served.status = 202
    for _ in range(7):
        await once(each, machine)
    assert each.waiting == 0
    assert served.samples == [1e9 + 1000 + 10 * index for index in range(1, 29)]


async def test_no_more_than_six_hours_wait(session: aiohttp.ClientSession) -> None:
    machine = Machine()

    async def nobody(_: bytes) -> tuple[int, str]:
        raise OSError("connection refused")

    each = Pusher("db-1", 600, machine, nobody, machine.times)
    for _ in range(50):
        await once(each, machine)
    assert each.waiting == 36


async def test_a_wrong_token_ends_it_at_once_and_says_so(bridge: Any, session: aiohttp.ClientSession) -> None:
    served, url = bridge
    served.status = 401
    machine = Machine()
    with pytest.raises(WxbridgeError, match="answered 401: The token is missing or wrong"):
        await pusher(url, session, machine).run()


async def test_a_token_that_becomes_wrong_later_does_not_end_it(bridge: Any, session: aiohttp.ClientSession) -> None:
    served, url = bridge
    machine = Machine()
    each = pusher(url, session, machine)
    await once(each, machine)
    served.status = 401
    await once(each, machine)
    assert each.waiting == 1


async def test_a_busy_machine_sends_its_busiest_processes_now_and_then(
    bridge: Any, session: aiohttp.ClientSession
) -> None:
    served, url = bridge
    machine = Machine()
    machine.figures = {"cpu": 90.0}
    each = pusher(url, session, machine, processes=lambda: {"cpu": [("java", 1, 350.0)], "memory": []})
    for _ in range(4):
        await once(each, machine)
    assert ["busiest" in json.loads(body) for body in served.bodies] == [True, False, False, True]


@pytest.mark.parametrize(
    ("given", "hook"),
    [
        ("http://bridge:8080", "http://bridge:8080/hooks/host"),
        ("https://bridge/", "https://bridge/hooks/host"),
        ("https://example.com/wx/hooks/host", "https://example.com/wx/hooks/host"),
    ],
)
def test_the_address_of_the_bridge_is_enough(given: str, hook: str) -> None:
    assert hook_url(given) == hook


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(WxbridgeError, match="write one like"):
        hook_url("bridge:8080")


# ---------------------------------------------------------------- what is no good


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"host": "a b", "samples": []}, "`host`"),
        ({"host": "a", "every": 0, "samples": []}, "`every`"),
        ({"host": "a", "samples": [{"at": "noon", "figures": {}}]}, "A sample is"),
        ({"host": "a", "samples": [{"at": 1, "figures": [1]}]}, "A sample is"),
        ({"host": "a", "samples": [{"at": 1, "figures": {str(i): 1 for i in range(300)}}]}, "300 figures"),
        ({"host": "a", "samples": [{}] * 3000}, "3000 samples"),
    ],
)
def test_samples_that_cannot_be_read_are_refused_in_words(body: dict[str, Any], words: str) -> None:
    with pytest.raises(BadBody, match=words):
        read_pushed(json.dumps(body).encode())


def test_figures_that_are_no_numbers_are_left_out() -> None:
    body = b'{"host": "a", "samples": [{"at": 1, "figures": {"cpu": NaN, "memory": 1e300, "x": "y", "swap": 3}}]}'
    found = read_pushed(body)
    assert found is not None
    assert found.samples[0].figures == {"swap": 3}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"alerts": []}', b'{"alerts": [1]}', b"\xff"])
def test_what_is_neither_samples_nor_alerts_is_refused(body: bytes) -> None:
    assert read_pushed(body) is None
    with pytest.raises(BadBody):
        source.parse(body, {})


def test_alerts_of_others_may_be_posted_too() -> None:
    labels = {"host": "nas", "severity": "critical"}
    alert = {"alertname": "RaidDegraded", "title": "md0 lost a disk", "labels": labels, "status": "firing"}
    body = {"host": "nas", "alerts": [alert]}
    group = source.parse(json.dumps(body).encode(), {})
    assert group.title == "md0 lost a disk"
    assert group.alerts[0].labels == {"alertname": "RaidDegraded", "host": "nas", "severity": "critical"}
    assert group.alerts[0].fingerprint
