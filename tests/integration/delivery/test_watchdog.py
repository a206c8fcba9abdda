"""The watchdog of ourselves, with real sockets, a real database and a clock that moves when it is told to."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from tests.fakes.postgresql import database_url
from wxbridge import app, parts
from wxbridge.alerts.render import Destination
from wxbridge.channels.console import ConsoleTarget
from wxbridge.channels.wechat.settings import WechatTarget
from wxbridge.config.schema import Config
from wxbridge.config.types import TargetSettings, WatchSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import ConfigError, StorageError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Capabilities, ChannelState, ChannelStatus, MessageState, Notification, Priority, Text
from wxbridge.core.systemd import announced_to_systemd, notify_systemd, watchdog_seconds
from wxbridge.delivery.backlog import BacklogWarner, WaitingTarget, describe_backlog, read_waiting
from wxbridge.delivery.health import BridgeHealth, Trouble
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.watchdog import BACKLOG_CHECK_SECONDS, Watchdog, ping
from wxbridge.testing import FakeClock

SECRET = "a-secret-in-the-path"


class Timeline:
    """Time for several loops that sleep: it moves on only once all of them do, and stops at each who wakes."""

    def __init__(self, clock: FakeClock, loops: int) -> None:
        self.clock = clock
        self._loops = loops
        self._order = itertools.count()
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._more = asyncio.Condition()

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        async with self._more:
            heapq.heappush(self._sleeping, (self.clock.monotonic() + seconds, next(self._order), woken))
            self._more.notify_all()
        await woken

    async def settle(self) -> None:
        """Wait until every loop has done what it had to do now."""
        async with asyncio.timeout(60), self._more:
            await self._more.wait_for(lambda: len(self._sleeping) == self._loops)

    async def advance(self, seconds: float) -> None:
        await self.settle()
        end = self.clock.monotonic() + seconds
        while self._sleeping[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleeping)
            self.clock.advance(max(0.0, at - self.clock.monotonic()))
            woken.set_result(None)
            await self.settle()
        self.clock.advance(end - self.clock.monotonic())


class Systemd:
    """The socket that systemd listens on."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """What arrived since the last call."""
        lines = []
        with suppress(BlockingIOError):
            while True:
                lines.append(self._socket.recv(4096).decode())
        return lines

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    listening = Systemd(str(tmp_path / "notify"))
    yield listening
    listening.close()


@dataclass
class Switch:
    """A dead man's switch on a real socket."""

    url: str = ""
    status: int = 200
    beats: int = 0
    hang: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is not set, the switch does not answer."""

    async def answer(self, _request: web.Request) -> web.Response:
        self.beats += 1
        await self.hang.wait()
        return web.Response(status=self.status)


@pytest_asyncio.fixture
async def switch() -> AsyncIterator[Switch]:
    made = Switch()
    made.hang.set()
    server = web.Application()
    server.router.add_get(f"/{SECRET}", made.answer)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}"
    yield made
    made.hang.set()
    await runner.cleanup()


class RefusingOutbox(Outbox):
    """A real outbox, whose disk is full when a house says so."""

    def __init__(self, house: House) -> None:
        super().__init__(house.database, clock=house.clock.wall)
        self._house = house

    async def put(self, items: Any, **more: Any) -> Any:
        if self._house.refuse:
            raise StorageError("the disk is full")
        return await super().put(items, **more)


@dataclass
class House:
    """A bridge to watch: a real outbox, nobody who delivers."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    targets: dict[str, TargetSettings] = field(default_factory=dict)
    language: Any = "en"
    text_limit: int = 2000
    wrong: str | None = None
    state: ChannelState = ChannelState.ONLINE
    metrics: Metrics = field(default_factory=Metrics)
    refuse: bool = False

    restart_helps: bool = True

    async def find_trouble(self) -> Trouble | None:
        return Trouble(self.wrong, restart_helps=self.restart_helps) if self.wrong else None

    def count_storage_error(self) -> None:
        self.metrics.storage_errors.inc()

    def statuses(self) -> Mapping[str, ChannelStatus]:
        return {"wechat": ChannelStatus(self.state, datetime.now(UTC))}

    def __post_init__(self) -> None:
        self.outbox = RefusingOutbox(self)

    async def queue(self, target: str, text: str = "an alert") -> None:
        await self.outbox.put([Notification("test", target, (Text(text),), Priority.ALERT)])

    async def deliver(self, target: str) -> None:
        ids = [message.id for message in await self.open(target)]
        now = self.clock.wall()
        await self.outbox.close(ids, MessageState.SENT, now=now, error="")

    async def open(self, target: str) -> list[Any]:
        found = await self.outbox.list_messages(states=["queued"], target=target)
        return found[::-1]

    async def warnings(self, target: str) -> list[str]:
        return [message.body.text for message in await self.open(target) if message.body.text.startswith("⏳")]

    def backlog(self, oldest: float = 900.0) -> BacklogWarner:
        return BacklogWarner(
            database=self.database,
            targets=self.targets,
            destinations=dict.fromkeys(self.targets, Destination(Capabilities(text_limit=self.text_limit), 3600.0)),
            operators=["master"],
            outbox=self.outbox,
            language=self.language,
            timezone=ZoneInfo("Asia/Shanghai"),
            oldest=oldest,
        )

    @asynccontextmanager
    async def watching(
        self, systemd: Systemd | None = None, watchdog: str = "", **settings: Any
    ) -> AsyncIterator[Timeline]:
        environment = {"NOTIFY_SOCKET": systemd.address} if systemd else {}
        if watchdog:
            environment["WATCHDOG_USEC"] = watchdog
        loops = 1 + bool(systemd and watchdog) + ("heartbeat" in settings)
        timeline = Timeline(self.clock, loops)
        clock = SystemClock(self.clock.wall, self.clock.monotonic, sleep=timeline.sleep)
        given = WatchSettings(**settings)
        watching = Watchdog(self, self, self.backlog(given.oldest), given, clock, environment)

        async def run() -> None:
            with announced_to_systemd(environment):
                await watching.run()

        task = asyncio.create_task(run())
        try:
            await timeline.settle()
            yield timeline
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    database = Database.open(database_url(tmp_path))
    targets = {
        "ops": WechatTarget(channel="wechat", room="Ops", fallback=("dba", "terminal")),
        "dba": WechatTarget(channel="wechat", room="DBA"),
        "terminal": ConsoleTarget(),
        "master": WechatTarget(contact="boss"),
    }
    yield House(database, targets=targets)
    database.close()


# ---------------------------------------------------------------- systemd


async def test_systemd_hears_that_the_bridge_serves_what_it_does_and_that_it_stops(
    house: House, systemd: Systemd
) -> None:
    async with house.watching(systemd) as time:
        assert systemd.heard() == ["READY=1", "STATUS=wechat online; nothing waits"]
        await house.queue("ops")
        house.state = ChannelState.WAITING_FOR_SCAN
        await time.advance(BACKLOG_CHECK_SECONDS)
        assert systemd.heard() == ["STATUS=wechat waiting for scan; 1 waiting for ops"]
        await time.advance(10 * BACKLOG_CHECK_SECONDS)
        assert systemd.heard() == []
    assert systemd.heard() == ["STOPPING=1"]


async def test_abstract_sockets_are_told_too(house: House) -> None:
    systemd = Systemd(f"@wxbridge-test-{os.getpid()}")
    async with house.watching(systemd):
        assert systemd.heard()[0] == "READY=1"
    systemd.close()


async def test_without_systemd_nothing_is_said_and_nothing_fails(house: House) -> None:
    async with house.watching() as time:
        await time.advance(100)


async def test_a_socket_that_is_gone_or_full_is_logged_and_stops_nobody(house: House, systemd: Systemd) -> None:
    with capture_logs() as logs:
        notify_systemd("READY=1", systemd.address + ".gone")
        for _ in range(10_000):
            notify_systemd("STATUS=x", systemd.address)
    assert [line["state"] for line in logs[:2]] == ["READY=1", "STATUS=x"]
    assert {line["event"] for line in logs} == {"systemd could not be told"}


async def test_the_watchdog_is_fed_at_half_its_time_while_the_bridge_is_well_and_not_otherwise(
    house: House, systemd: Systemd
) -> None:
    async with house.watching(systemd, "30000000") as time:
        assert "WATCHDOG=1" in systemd.heard()
        for _ in range(4):
            await time.advance(15)
            assert systemd.heard() == ["WATCHDOG=1"]
        house.wrong = "the database takes nothing"
        with capture_logs() as logs:
            await time.advance(60)
            assert systemd.heard() == []
            house.wrong = None
            await time.advance(15)
            assert systemd.heard() == ["WATCHDOG=1"]
    assert [(line["log_level"], line.get("reason")) for line in logs] == [
        ("warning", "the database takes nothing"),
        ("info", None),
    ]


async def test_a_full_disk_does_not_have_the_bridge_restarted(house: House, systemd: Systemd) -> None:
    house.wrong, house.restart_helps = "the disk is full", False
    async with house.watching(systemd, "30000000") as time:
        assert "WATCHDOG=1" in systemd.heard()
        await time.advance(15)
        assert systemd.heard() == ["WATCHDOG=1"]


async def test_a_bridge_that_cannot_tell_in_time_how_it_is_is_not_well(house: House, systemd: Systemd) -> None:
    house.find_trouble = asyncio.Event().wait  # type: ignore[method-assign,assignment]
    with capture_logs() as logs:
        async with house.watching(systemd, "20000") as time:
            await time.advance(0.05)
        assert "WATCHDOG=1" not in systemd.heard()
    assert logs[0]["reason"] == "cannot even tell"


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "90000000"}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}, None),
    ],
)
def test_systemds_watchdog_counts_where_it_means_this_process(
    environment: dict[str, str], seconds: float | None
) -> None:
    assert watchdog_seconds(environment) == seconds


async def test_a_database_that_does_not_answer_is_in_the_status(house: House, systemd: Systemd) -> None:
    house.database.close()
    with capture_logs() as logs:
        async with house.watching(systemd):
            assert systemd.heard()[1] == "STATUS=wechat online; the database does not answer"
    assert logs[0]["event"] == "cannot look after what waits"
    assert house.metrics.registry.get_sample_value("wxbridge_storage_errors_total") == 1


# ---------------------------------------------------------------- the dead man's switch


async def test_the_heartbeat_beats_at_its_interval_while_the_bridge_is_well(house: House, switch: Switch) -> None:
    async with house.watching(heartbeat=switch.url, every="1m") as time:
        assert switch.beats == 1
        await time.advance(59)
        assert switch.beats == 1
        await time.advance(121)
        assert switch.beats == 4
        house.wrong = "delivery died"
        await time.advance(300)
        assert switch.beats == 4
        house.wrong = None
        await time.advance(60)
        assert switch.beats == 5


async def test_a_failing_heartbeat_is_logged_once_and_once_when_it_is_back_and_never_with_its_path(
    house: House, switch: Switch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with capture_logs() as logs:
        async with house.watching(heartbeat=switch.url, every="1m") as time:
            switch.status = 503
            await time.advance(180)
            switch.status = 200
            await time.advance(60)
            switch.hang.clear()
            with monkeypatch.context() as impatient:
                impatient.setattr("wxbridge.delivery.watchdog.HEARTBEAT_LIMIT_SECONDS", 0.05)
                await time.advance(180)
            switch.hang.set()
            await time.advance(60)
    assert [(line["log_level"], line.get("reason")) for line in logs] == [
        ("warning", "it answered 503"),
        ("info", None),
        ("warning", "no answer within 0.05 seconds"),
        ("info", None),
    ]
    assert {line["host"] for line in logs} == {"127.0.0.1"}
    assert SECRET not in str(logs)


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:9/{SECRET}", f"http://host.invalid/{SECRET}", f"http://[::1/{SECRET}", f"http://a:b/{SECRET}"]
)  # fmt: skip
async def test_what_goes_wrong_is_told_without_the_address(url: str) -> None:
    reason = await ping(url)
    assert reason
    assert SECRET not in reason


async def test_a_redirect_without_end_is_told_without_the_address(switch: Switch) -> None:
    async def again(request: web.Request) -> web.Response:
        raise web.HTTPFound(request.rel_url)

    server = web.Application()
    server.router.add_get(f"/{SECRET}", again)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    assert await ping(f"http://127.0.0.1:{runner.addresses[0][1]}/{SECRET}") == "TooManyRedirects"
    await runner.cleanup()


# ---------------------------------------------------------------- what waits too long


async def test_the_fallback_on_another_channel_is_told_once_of_what_waits_too_long(house: House) -> None:
    await house.queue("ops", "one")
    async with house.watching(oldest="15m") as time:
        await house.queue("ops", "two")
        await time.advance(900)
        assert await house.warnings("terminal") == []
        await time.advance(BACKLOG_CHECK_SECONDS)
        [line] = await house.warnings("terminal")
        assert line.startswith("⏳ ops: 2 waiting, the oldest since ")
        assert line.endswith("(15 min 15 s)")
        await time.advance(1200)
        assert len(await house.warnings("terminal")) == 1
    assert await house.warnings("dba") == []
    assert await house.warnings("master") != []  # of the warning itself, which nobody delivered either


async def test_it_is_told_again_only_after_it_has_been_well(house: House) -> None:
    async with house.watching(oldest="1m") as time:
        for episode in (1, 2):
            await house.queue("ops")
            await time.advance(600)
            assert len(await house.warnings("terminal")) == episode
            await house.deliver("ops")
            await time.advance(BACKLOG_CHECK_SECONDS)


async def test_a_restart_within_an_episode_does_not_tell_again(house: House) -> None:
    await house.queue("ops")
    for _ in range(3):
        async with house.watching(oldest="1m") as time:
            await time.advance(120)
    assert len(await house.warnings("terminal")) == 1


@pytest.mark.parametrize("target", ["dba", "gone-from-the-configuration"])
async def test_without_a_fallback_on_another_channel_the_master_is_told(house: House, target: str) -> None:
    house.targets["dba"] = WechatTarget(room="DBA", fallback=("ops",))
    await house.queue(target)
    async with house.watching(oldest="1m") as time:
        await time.advance(90)
    assert [line.split(":")[0] for line in await house.warnings("master")] == [f"⏳ {target}"]


async def test_the_master_is_not_told_of_themselves(house: House) -> None:
    await house.queue("master")
    with capture_logs() as logs:
        async with house.watching(oldest="1m") as time:
            await time.advance(900)
    assert await house.warnings("master") == []
    assert [(line["event"], line["target"], line["told"]) for line in logs] == [
        ("messages wait too long", "master", []),
    ]


async def test_several_targets_are_told_of_in_one_text_split_to_the_limit_in_the_readers_language(
    house: House,
) -> None:
    house.language = "zh"
    house.clock.wall_now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).timestamp()
    for target in ("a", "b"):
        await house.queue(target)
    async with house.watching(oldest="1m") as time:
        await time.advance(75)
        [text] = await house.warnings("master")
        assert text.splitlines() == [
            "⏳ a：1 条待发送，最早的自 01-02 11:04 起（已 1分钟15秒）",
            "⏳ b：1 条待发送，最早的自 01-02 11:04 起（已 1分钟15秒）",
        ]
    house.text_limit = 60
    waiting = [WaitingTarget(f"target-{index}", 1, house.clock.wall(), 61.0) for index in range(3)]
    [notification] = house.backlog().compose_warnings(waiting)
    assert len(notification.bodies) > 1
    assert all(isinstance(body, Text) and len(body.text) <= 60 for body in notification.bodies)


async def test_a_warning_that_could_not_be_stored_is_tried_again(house: House) -> None:
    await house.queue("ops")
    async with house.watching(oldest="1m") as time:
        house.refuse = True
        await time.advance(90)
        house.refuse = False
        assert await house.warnings("terminal") == []
        await time.advance(BACKLOG_CHECK_SECONDS)
        assert len(await house.warnings("terminal")) == 1


async def test_a_clock_that_is_set_back_makes_no_age_negative(house: House) -> None:
    await house.queue("ops")
    [item] = await read_waiting(house.outbox, house.clock.wall() - 3600)
    assert item.age == 0.0


# ---------------------------------------------------------------- in the running bridge

RUNNING = """\
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
watch: {oldest: 1m}
targets:
  ops: {channel: wechat, room: Ops}
"""


async def test_a_running_bridge_tells_systemd_and_shows_in_readyz_what_waits(
    read: Callable[..., Config], systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", systemd.address)
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[str] = asyncio.Queue()

    def hear() -> None:
        for line in systemd.heard():
            heard.put_nowait(line)

    loop.add_reader(systemd._socket, hear)
    try:
        async with asyncio.timeout(60), app.running(read(RUNNING)) as bridge, aiohttp.ClientSession() as session:
            assert await heard.get() == "READY=1"
            while await heard.get() != "WATCHDOG=1":
                pass

            async def readyz() -> tuple[int, Any]:
                async with session.get(bridge.url + "/readyz") as answer:
                    return answer.status, (await answer.json())

            status, answer = await readyz()
            assert (status, answer["parts"]["outbox"]) == (200, {"ok": True, "open": 0, "targets": {}})
            created = datetime.now(UTC).timestamp() - 100
            old = Notification("test", "ops", (Text("old"),))
            await Outbox(bridge.database, clock=lambda: created).put([old])
            status, answer = await readyz()
            part = answer["parts"]["outbox"]
            assert (status, answer["ready"], part["ok"], part["open"]) == (200, True, False, 1)
            assert 100 <= part["targets"]["ops"]["oldest_seconds"] < 120
            assert answer["parts"]["database"] == {"ok": True}
            assert answer["parts"]["wechat"]["ok"] is False
        hear()
        while not heard.empty():
            last = heard.get_nowait()
        assert last == "STOPPING=1"
    finally:
        loop.remove_reader(systemd._socket)


async def test_a_bridge_whose_service_died_or_whose_database_takes_nothing_is_not_well(
    read: Callable[..., Config],
) -> None:
    async def dies() -> None:
        raise RuntimeError("a bug")

    async def ends() -> None:
        return

    config = read(RUNNING)
    database = parts.open_database(config)
    bridge = app.App(config, database)
    ended = asyncio.create_task(ends(), name="ended")
    died = asyncio.create_task(dies(), name="delivery")
    await asyncio.wait([ended, died])

    def health(*services: asyncio.Task[None]) -> BridgeHealth:
        return BridgeHealth(database, bridge.outbox, bridge.metrics, bridge.channels, bridge.lanes, services)

    assert await health(ended).find_trouble() is None
    assert await health(ended, died).find_trouble() == Trouble("delivery died")
    await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=ON"))
    refused = await health().find_trouble()
    assert refused
    assert not refused.restart_helps
    await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=OFF"))
    assert await health().find_trouble() is None
    database.close()


async def test_readyz_says_where_the_outbox_cannot_be_read(house: House) -> None:
    house.database.close()
    part = await describe_backlog(house.outbox, oldest=60, now=0)
    assert part == {"ok": False, "detail": "the database is closed"}


# ---------------------------------------------------------------- jobs.yaml


def test_the_section_watch_is_read_and_its_address_stays_secret(read: Callable[..., Config]) -> None:
    text = "watch: {heartbeat: '${BEAT}', every: 30s, oldest: 5m}\n"
    config = read(text, BEAT=f"https://hc.example.com/{SECRET}")
    assert config.watch.heartbeat
    assert config.watch.heartbeat.get_secret_value() == f"https://hc.example.com/{SECRET}"
    assert (config.watch.every, config.watch.oldest) == (30.0, 300.0)
    assert SECRET not in repr(config) + json.dumps(config.model_dump(mode="json"))


@pytest.mark.parametrize("text", ["", "watch: {heartbeat: ''}\n", "watch: {heartbeat: '${BEAT:-}'}\n"])
def test_without_an_address_there_is_no_heartbeat(read: Callable[..., Config], text: str) -> None:
    config = read("targets: {}\n" + text)
    assert config.watch == WatchSettings()
    assert (config.watch.every, config.watch.oldest) == (60.0, 900.0)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (f"heartbeat: 'ftp://hc.example.com/{SECRET}'", "no web address"),
        (f"heartbeat: '{SECRET}'", "no web address"),
        ("every: 0s", "watch.every"),
        ("oldest: 0s", "watch.oldest"),
        ("heartbeet: x", "did you mean `heartbeat`?"),
    ],
)
def test_what_is_wrong_in_the_section_is_said_without_the_secret(
    read: Callable[..., Config], section: str, words: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        read(f"watch: {{{section}}}\n")
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)
