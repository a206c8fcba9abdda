"""The bridge's own figures: Prometheus can read them, and what happens moves them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import wxbridge
from tests.fakes.postgresql import database_url
from wxbridge import app, parts
from wxbridge.channels.console import ConsoleTarget
from wxbridge.config.schema import Config
from wxbridge.config.types import Pace
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import Offline, Permanent, Transient, Unknown
from wxbridge.core.metrics import LAG_BUCKETS_SECONDS, Metrics
from wxbridge.core.model import (
    AlertStatus,
    ChannelState,
    Inbound,
    Message,
    MessageState,
    Notification,
    NotificationKind,
    Text,
)
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.delivery.service import Delivery
from wxbridge.pictures.store import PictureStore
from wxbridge.testing import FakeChannel, FakeClock


def parsed(exposition: bytes) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposition.decode())}


def value(exposition: bytes, name: str, **labels: str) -> float | None:
    """One sample of an exposition, read with Prometheus' own parser; None where there is none."""
    for family in parsed(exposition).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


# ---------------------------------------------------------------- the text format


def test_prometheus_own_parser_reads_every_metric_with_its_help_and_kind() -> None:
    metrics = Metrics()
    read = parsed(metrics.write_exposition())
    for family in metrics.registry.collect():
        # The text format calls an info a gauge, under its full name.
        name, kind = (f"{family.name}_info", "gauge") if family.type == "info" else (family.name, family.type)
        assert read[name].type == kind
        assert read[name].documentation == family.documentation != ""
        assert name.startswith("wxbridge_")


def test_the_running_version_is_told() -> None:
    assert value(Metrics().write_exposition(), "wxbridge_build_info", version=wxbridge.__version__) == 1


def test_labels_with_quotes_newlines_and_chinese_survive() -> None:
    metrics = Metrics()
    name = '技术"讨论\\群\n2'
    metrics.backlog.labels(name).set(3)
    assert value(metrics.write_exposition(), "wxbridge_backlog_messages", target=name) == 3


def test_two_bridges_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.accepted.labels("grafana").inc()
    assert value(other.write_exposition(), "wxbridge_accepted_total", source="grafana") is None


# ---------------------------------------------------------------- a bridge that takes alerts

ALERT = {
    "title": "[Alerting] disk", "state": "alerting", "ruleId": 1, "ruleName": "disk", "message": "full",
    "evalMatches": [{"metric": "used", "value": 99.5, "tags": None}], "tags": {},
}  # fmt: skip

SETTINGS = """\
server: {listen: "127.0.0.1:0", max_body: 20000}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss, pace: {chat: 1/s, total: 30/min, day: 600}}
targets:
  ops: {channel: wechat, room: Ops}
  other: {channel: wechat, room: Other}
routes:
  - {to: [ops]}
"""


@pytest_asyncio.fixture
async def bridge(read: Callable[..., Config]) -> AsyncIterator[app.App]:
    async with app.running(read(SETTINGS)) as running:
        yield running


@pytest_asyncio.fixture
async def scrape(bridge: app.App) -> AsyncIterator[Callable[..., Any]]:
    async with aiohttp.ClientSession() as session:

        async def get(name: str, **labels: str) -> float | None:
            async with session.get(bridge.url + "/metrics") as answer:
                assert answer.content_type == "text/plain"
                assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                return value(await answer.read(), name, **labels)

        yield get


async def post(bridge: app.App, data: Any, path: str = "/hooks/grafana") -> int:
    async with aiohttp.ClientSession() as session, session.post(bridge.url + path, data=data) as answer:
        return answer.status


async def test_what_is_taken_repeated_and_refused_is_counted(bridge: app.App, scrape: Callable[..., Any]) -> None:
    assert [await post(bridge, json.dumps(ALERT)) for _ in range(3)] == [202, 202, 202]
    assert await scrape("wxbridge_accepted_total", source="grafana") == 1
    assert await scrape("wxbridge_deduplicated_total", source="grafana") == 2
    assert await post(bridge, json.dumps({"to": "ops", "text": "by hand"}), "/api/send") == 202
    assert await scrape("wxbridge_accepted_total", source="push") == 1
    assert await post(bridge, "x" * 30_000) == 413
    assert await post(bridge, b"\xff\xfe\x00") == 400
    assert await scrape("wxbridge_refused_total", reason="too_large") == 1
    assert (await scrape("wxbridge_refused_total", reason="bad_body") or 0) >= 1


async def test_what_waits_is_shown_with_its_age_and_zero_where_nothing_does(
    bridge: app.App, scrape: Callable[..., Any]
) -> None:
    now = time.time()
    items = [Notification("test", "ops", (Text("one"),)), Notification("test", "ops", (Text("two"),))]
    await Outbox(bridge.database, clock=lambda: now - 100).put(items)
    assert await scrape("wxbridge_backlog_messages", target="ops") == 2
    assert 100 <= await scrape("wxbridge_backlog_oldest_seconds", target="ops") < 130
    assert await scrape("wxbridge_backlog_messages", target="other") == 0
    assert await scrape("wxbridge_backlog_oldest_seconds", target="other") == 0


async def test_a_channels_state_is_one_series_at_one(bridge: app.App) -> None:
    async with aiohttp.ClientSession() as session, session.get(bridge.url + "/metrics") as answer:
        page = await answer.read()
    shown = {state: value(page, "wxbridge_channel_state", channel="wechat", state=state) for state in ChannelState}
    assert sorted(shown.values()) == [0] * (len(ChannelState) - 1) + [1]
    assert shown[ChannelState.ONLINE] == 0


async def test_what_is_left_of_the_pace_is_shown(bridge: app.App, scrape: Callable[..., Any]) -> None:
    assert await scrape("wxbridge_pace_left", channel="wechat", window="30/min") == 30
    [lane] = bridge.lanes.lanes
    lane.pacer.note("somebody", time.monotonic())
    assert await scrape("wxbridge_pace_left", channel="wechat", window="30/min") == 29
    assert await scrape("wxbridge_pace_left", channel="wechat", window="600/d") == 599


async def test_what_people_write_is_counted(bridge: app.App, scrape: Callable[..., Any]) -> None:
    now = datetime.now(UTC)
    await bridge.channels.on_inbound(
        Inbound("wechat", "m1", "u1", "someone", None, None, "hello", mentioned=True, at=now)
    )
    assert await scrape("wxbridge_inbound_total", channel="wechat") == 1


async def test_a_database_that_takes_nothing_is_seen_and_counted_and_seen_to_be_back(
    read: Callable[..., Config],
) -> None:
    # Only the server: whoever else writes at that moment would be counted too.
    async with AsyncExitStack() as stack:
        config = read(SETTINGS)
        database = parts.open_database(config)
        stack.callback(database.close)
        bridge = app.App(config, database)
        stack.push_async_callback(bridge.close)
        await bridge.open()
        await bridge.serve()

        async def exposition() -> bytes:
            async with aiohttp.ClientSession() as session, session.get(bridge.url + "/metrics") as answer:
                return await answer.read()

        assert value(await exposition(), "wxbridge_database_up") == 1
        await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=ON"))
        assert await post(bridge, json.dumps(ALERT)) == 503
        refused = await exposition()
        assert value(refused, "wxbridge_database_up") == 0
        assert value(refused, "wxbridge_storage_errors_total") == 1
        assert value(refused, "wxbridge_refused_total", reason="storage") == 1
        await database.read(lambda c: c.exec_driver_sql("PRAGMA query_only=OFF"))
        assert value(await exposition(), "wxbridge_database_up") == 1


# ---------------------------------------------------------------- a delivery that sends


class Room:
    """Real delivery and a real outbox over a fake channel and a fake clock: one round at a time."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.clock = FakeClock()
        self.channel = FakeChannel()
        self.spare = FakeChannel()
        self.metrics = Metrics()
        self.told: list[str] = []
        targets = {"ops": ConsoleTarget(), "safe": ConsoleTarget(fallback=("spare",))}
        lanes = [
            Lane("fake", self.channel, targets, Pacer(Pace())),
            Lane("spare", self.spare, {"spare": ConsoleTarget()}, Pacer(Pace())),
        ]
        self.digest: list[Text] = []
        self.outbox = Outbox(database, clock=self.clock.wall)
        self.context = DeliveryContext(
            outbox=self.outbox, lanes=lanes, picture_store=PictureStore(directory), drawer=self, operators=self,
            composer=self, language="en", metrics=self.metrics,
            clock=SystemClock(self.clock.wall, self.clock.monotonic),
        )  # fmt: skip
        self.delivery = Delivery(self.context)

    async def draw(self, spec: Any) -> bytes:
        raise AssertionError(spec)

    names = ()

    async def tell(self, line: str, about: str | None = None) -> None:
        del about
        self.told.append(line)

    def recompose(self, *_given: Any) -> list[Text]:
        return self.digest

    async def queue(self, target: str = "ops", expires_after: float = 86400.0) -> None:
        item = Notification("test", target, (Text("hello"),), expires_after=expires_after)
        await self.outbox.put([item])

    async def send(self) -> None:
        """One round of the first lane, to its end."""
        loop = self.delivery.send_loops[0]
        await loop.round()
        await asyncio.gather(*loop.under_way)

    async def messages(self) -> list[Message]:
        return await self.outbox.list_messages()

    def counted(self, outcome: str, target: str = "ops") -> float | None:
        return value(self.metrics.write_exposition(), "wxbridge_messages_total", target=target, outcome=outcome)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    database = Database.open(database_url(tmp_path))
    yield Room(database, tmp_path)
    database.close()


async def test_a_sent_message_is_counted_with_the_time_that_it_took(room: Room) -> None:
    await room.queue()
    room.clock.advance(7)
    await room.send()
    assert room.counted("sent") == 1
    shown = room.metrics.write_exposition()
    assert value(shown, "wxbridge_lag_seconds_count", target="ops") == 1
    assert value(shown, "wxbridge_lag_seconds_sum", target="ops") == 7
    for limit in LAG_BUCKETS_SECONDS:
        bucket = value(shown, "wxbridge_lag_seconds_bucket", target="ops", le=str(float(limit)))
        assert bucket == (1 if limit >= 7 else 0)


async def test_a_clock_that_was_set_back_makes_no_lag_negative(room: Room) -> None:
    await room.queue()
    room.clock.jump(-3600)
    room.channel.state = ChannelState.ONLINE
    await room.outbox.retry([1], now=room.clock.wall(), expires_after=60)
    await room.send()
    assert value(room.metrics.write_exposition(), "wxbridge_lag_seconds_sum", target="ops") == 0


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Transient("busy"), "retried"),
        (Offline("gone"), "waited"),
        (Unknown("no answer"), "unknown"),
        (RuntimeError("a bug"), "unknown"),
        (Permanent("too big", code="40009"), "dead"),
    ],
)
async def test_what_becomes_of_an_attempt_is_counted(room: Room, fault: Exception, outcome: str) -> None:
    room.channel.faults.append(fault)
    await room.queue()
    await room.send()
    assert room.counted(outcome) == 1
    assert room.counted("sent") is None


async def test_the_dead_are_counted_by_the_services_code_or_the_kind_of_error(room: Room) -> None:
    room.channel.faults += [Permanent("too big", code="40009"), Permanent("no")]
    for _ in range(2):
        await room.queue()
        await room.send()
    shown = room.metrics.write_exposition()
    assert value(shown, "wxbridge_dead_total", target="ops", reason="40009") == 1
    assert value(shown, "wxbridge_dead_total", target="ops", reason="Permanent") == 1
    assert len(room.told) == 1  # the second is gathered with what else dies now
    room.clock.advance(60)
    await room.delivery.look_after()
    assert len(room.told) == 2


async def test_what_a_fallback_took_and_what_expired_is_counted(room: Room) -> None:
    room.channel.faults.append(Permanent("no"))
    await room.queue("safe")
    await room.send()
    assert room.counted("failed_over", "safe") == 1
    room.channel.state = ChannelState.UNREACHABLE
    await room.queue("ops", expires_after=60)
    room.clock.advance(61)
    await room.delivery.look_after()
    assert room.counted("expired") == 1


async def test_every_settled_message_is_in_one_outcome(room: Room) -> None:
    for fault in (None, Permanent("no"), None, Permanent("no"), None):
        room.channel.faults.append(fault)
        await room.queue()
        await room.send()
    states = [message.state for message in await room.messages()]
    assert room.counted("sent") == states.count(MessageState.SENT) == 3
    assert room.counted("dead") == states.count(MessageState.DEAD) == 2


async def test_alerts_that_a_digest_took_are_counted(tmp_path: Path) -> None:
    database = Database.open(database_url(tmp_path))
    room = Room(database, tmp_path)
    pacer = Pacer(Pace(total="1/min"))
    target = ConsoleTarget(digest_after="1m")
    lane = Lane("fake", room.channel, {"ops": target}, pacer)
    room.digest = [Text("in short")]
    context = replace(room.context, lanes=[lane])
    content: Mapping[str, Any] = {"alerts": [{"source": "test", "title": "disk", "status": AlertStatus.FIRING}]}
    items = [
        Notification("test", "ops", (Text(f"{index}"),), kind=NotificationKind.ALERT, content=content)
        for index in range(5)
    ]
    await room.outbox.put(items)
    await Delivery(context).look_after()
    assert room.counted("merged") == 5
    database.close()
