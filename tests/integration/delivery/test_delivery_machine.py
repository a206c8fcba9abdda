"""Hypothesis plays the world: whatever happens, nothing is lost, doubled, reordered or sent too fast."""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.integration.delivery.delivery_harness import PNG, DeliveryHarness, Room, alert, picture
from wxbridge.alerts.serialization import group_to_json
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import BadAddress, Offline, Permanent, PictureError, Throttled, Transient, Unknown
from wxbridge.core.model import AlertGroup, ChannelState, MessageState, NotificationKind, Priority
from wxbridge.core.schema import messages, notifications

pytestmark = pytest.mark.long

MARK = "(possible repeat) "
NAME = re.compile(r"[mp]\d+x")
PACE = Pace(chat=Rate(2, 5), total=Rate(4, 20))
FAULTS = {
    "offline": lambda: Offline("gone"),
    "throttled": lambda: Throttled("slower", retry_after=7),
    "address": lambda: BadAddress("which one?"),
    "transient": lambda: Transient("busy"),
    "unknown": lambda: Unknown("no answer"),
    "sent unknown": lambda: Unknown("no answer"),
    "permanent": lambda: Permanent("refused"),
    "mistake": lambda: ZeroDivisionError("bug"),
    "cancelled": asyncio.CancelledError,
}
TARGETS = ("ops", "boss", "robot")


class DeliveryMachine(RuleBasedStateMachine):
    """Two rooms on a paced channel, one of them with a fallback on a channel without a pace."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = Path(tempfile.mkdtemp(prefix="wxbridge-machine-"))
        self.number = 0
        self.accepted: dict[str, tuple[str, int]] = {}
        """By the word that tells a message: its target and priority."""
        self.own_text: dict[str, str] = {}
        self.arrived: list[tuple[str, str, str]] = []
        """Channel, target and text of what people saw, also where the answer was lost."""
        self.attempts: dict[str, list[float]] = defaultdict(list)
        self.retried: set[str] = set()
        self.cut_off: Counter[str] = Counter()
        """How often a message was being sent when the bridge crashed."""
        self.unclear: Counter[str] = Counter()
        """How often a message arrived, and its answer did not."""
        self.rows = 0

    @initialize(
        failover=st.booleans(),
        digest=st.booleans(),
        first=st.lists(st.tuples(st.sampled_from(TARGETS), st.integers(0, 1)), min_size=5, max_size=12),
        kinds=st.lists(st.sampled_from(["", *sorted(FAULTS)]), min_size=2, max_size=6),
    )
    def begin(self, *, failover: bool, digest: bool, first: list[tuple[str, int]], kinds: list[str]) -> None:
        self.failover, self.digest = failover, digest
        self.world = self.run(self.make())
        for to, pictures in first:
            self.put_alerts(to, Priority.ALERT, pictures, 1)
        self.next_sends_fail("a", kinds)
        self.run(self.world.pass_time(6))

    async def make(self) -> DeliveryHarness:
        digest_after = "20s" if self.digest else None
        fallback = ("robot",) if self.failover else ()
        world = DeliveryHarness(
            self.directory,
            {
                "ops": Room(channel="a", fallback=fallback, failover_after="40s", digest_after=digest_after),
                "boss": Room(channel="a", digest_after=digest_after),
                "robot": Room(channel="b"),
            },
            {"a": PACE},
        )
        world.paint = self.paint
        self.paint_fails = 0
        for name, channel in world.channels.items():
            self.spy(world, name, channel)
        return world

    def spy(self, world: DeliveryHarness, name: str, channel: Any) -> None:
        send = channel.send

        async def sent(address: str, body: Any, mentions: Any = ()) -> Any:
            text = getattr(body, "text", None) or f"[{body.name}]"
            fault = channel.faults[0] if channel.faults else None
            if not isinstance(fault, Offline | BadAddress):
                self.attempts[name].append(world.clock.monotonic())
                self.attempts[f"{name}:{address}"].append(world.clock.monotonic())
            if fault is None or getattr(fault, "arrived", False):
                self.arrived.append((name, address, text))
            if fault is not None and getattr(fault, "arrived", False):
                self.unclear.update(NAME.findall(text))
            return await send(address, body, mentions)

        channel.send = sent

    def paint(self, _spec: Any) -> bytes:
        if self.paint_fails:
            self.paint_fails -= 1
            raise PictureError("no")
        return PNG

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    # ------------------------------------------------ what may happen

    @rule(
        to=st.sampled_from(TARGETS),
        priority=st.sampled_from([Priority.CRITICAL, Priority.ALERT, Priority.ROUTINE]),
        pictures=st.integers(0, 1),
        count=st.integers(1, 3),
    )
    def put_alerts(self, to: str, priority: Priority, pictures: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            word, graph = f"m{self.number}x", f"p{self.number}x"
            self.accepted[word] = (to, priority)
            if pictures:
                self.own_text[graph] = word
            self.run(self.put(to, priority, word, graph if pictures else None))

    async def put(self, target: str, priority: Priority, word: str, graph: str | None) -> None:
        bodies = [f"🔥 {word}", *([picture(graph)] if graph else [])]
        content = group_to_json(AlertGroup("test", "key", word, (alert(word, mark=word),)))
        if graph:
            content["alerts"][0]["picture"] = {"kind": "url", "params": {"url": graph}, "link": None}
        key = f"key-{word}"
        fields: dict[str, Any] = {"kind": NotificationKind.ALERT, "content": content, "priority": priority}
        ids = await self.world.put(target, *bodies, dedupe_key=key, **fields)
        assert len(ids) == len(bodies)
        # The sender's own repeat
        assert await self.world.put(target, *bodies, dedupe_key=key, **fields) == ()

    @rule(name=st.sampled_from("ab"), online=st.sampled_from([True, True, False]))
    def turn(self, name: str, *, online: bool) -> None:
        self.world.channels[name].state = ChannelState.ONLINE if online else ChannelState.LOGGED_OUT

    @rule(name=st.sampled_from("ab"), kinds=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=3))
    def next_sends_fail(self, name: str, kinds: list[str]) -> None:
        for kind in kinds:
            fault = FAULTS[kind]() if kind else None
            if fault:
                fault.arrived = kind in ("sent unknown", "mistake")
            self.world.channels[name].faults.append(fault)

    @rule(count=st.integers(1, 2))
    def next_pictures_fail(self, count: int) -> None:
        self.paint_fails = count

    @rule(seconds=st.sampled_from([20, 50, 130]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.world.pass_time(seconds, tick=max(1.0, seconds / 12)))

    @rule(
        seconds=st.sampled_from([0.5, 1, 3, 6]),
        kinds=st.lists(st.sampled_from(["", "", "", *sorted(FAULTS)]), max_size=2),
        to=st.sampled_from(TARGETS),
        count=st.integers(0, 2),
    )
    def a_moment_passes(self, seconds: float, kinds: list[str], to: str, count: int) -> None:
        """Most of life: a few alerts come, some sends fail, and it goes on."""
        if count:
            self.put_alerts(to, Priority.ALERT, count % 2, count)
        self.next_sends_fail("b" if to == "robot" else "a", kinds)
        self.run(self.world.pass_time(seconds))

    @rule(seconds=st.sampled_from([3600, -3600, 100, -100]))
    def the_clock_jumps(self, seconds: float) -> None:
        self.run(self.world.delivery.look_after())
        self.world.clock.jump(seconds)
        self.run(self.world.delivery.look_after())

    @rule(in_the_middle=st.booleans(), arrived=st.booleans())
    def the_bridge_crashes(self, *, in_the_middle: bool, arrived: bool) -> None:
        self.run(self.crash(in_the_middle=in_the_middle, arrived=arrived))

    async def crash(self, *, in_the_middle: bool, arrived: bool) -> None:
        w, before = self.world, len(self.arrived)
        for channel in w.channels.values():
            channel.gate = asyncio.Event() if in_the_middle else None
        if in_the_middle:
            await w.begin()
        await w.crash()
        for _, _, text in self.arrived[before:]:
            self.cut_off.update(NAME.findall(text))
        if not arrived:
            del self.arrived[before:]
        for channel in w.channels.values():
            channel.gate = None

    @rule(data=st.data())
    def somebody_drops(self, data: st.DataObject) -> None:
        queued = [message.id for message in self.run(self.world.all(states=["queued"]))]
        if queued:
            chosen = data.draw(st.sampled_from(queued))
            self.run(self.world.outbox.drop([chosen], now=self.world.clock.wall()))

    @rule(data=st.data())
    def somebody_retries(self, data: st.DataObject) -> None:
        settled = [message for message in self.run(self.world.all()) if message.state not in ("queued", "sending")]
        if settled:
            chosen = data.draw(st.sampled_from(settled))
            self.retried |= self.words_of(chosen)
            self.run(self.world.outbox.retry([chosen.id], now=self.world.clock.wall(), expires_after=86400))

    @rule()
    def house_is_kept(self) -> None:
        self.run(self.world.delivery.look_after(tidy=True))

    # ------------------------------------------------ what always holds

    @staticmethod
    def words_of(message: Any) -> set[str]:
        body = message.body
        return set(NAME.findall(getattr(body, "text", "") or "")) | set(NAME.findall(getattr(body, "name", "") or ""))

    @invariant()
    def nothing_vanishes(self) -> None:
        if not hasattr(self, "world"):
            return
        count = self.run(self.world.database.read(lambda c: c.execute(COUNT).scalar_one()))
        assert count >= self.rows
        self.rows = count

    @invariant()
    def the_pace_is_kept(self) -> None:
        for key, moments in self.attempts.items():
            if not key.startswith("a"):
                continue
            rate = PACE.chat if ":" in key else PACE.total
            assert rate
            for index in range(len(moments) - rate.count):
                assert moments[index + rate.count] - moments[index] >= rate.seconds - 1e-6, (key, moments)

    @invariant()
    def nothing_is_sent_twice_unless_it_says_so(self) -> None:
        plain = Counter(
            (name, target, text) for name, target, text in self.arrived
            if not text.startswith((MARK, "[", "🖼"))
        )  # fmt: skip
        for (name, target, text), count in plain.items():
            words = set(NAME.findall(text))
            if words and not words & self.retried:
                assert count == 1, (name, target, text)
        marked = Counter(entry for entry in self.arrived if entry[2].startswith(MARK))
        for entry, count in marked.items():
            words = set(NAME.findall(entry[2]))
            if words and not words & self.retried:
                assert count <= 1 + max(self.cut_off[word] + self.unclear[word] for word in words), entry

    @invariant()
    def texts_keep_their_order(self) -> None:
        first: dict[str, int] = {}
        for index, (_, target, text) in enumerate(self.arrived):
            found = NAME.findall(text)
            if len(found) == 1 and found[0] in self.accepted and not text.startswith(("[", "🖼")) and "⚠️" not in text:
                word = found[0]
                if self.accepted[word][0] == target and word not in self.retried:
                    first.setdefault(word, index)
        by_lane: dict[tuple[str, int], list[str]] = defaultdict(list)
        for word in sorted(first, key=lambda each: first[each]):
            by_lane[self.accepted[word]].append(word)
        for words in by_lane.values():
            assert words == sorted(words, key=lambda word: int(word[1:-1])), words

    @invariant()
    def a_picture_follows_its_text(self) -> None:
        for index, (name, target, text) in enumerate(self.arrived):
            graph = text[1:].split(".")[0] if text.startswith("[p") else None
            if graph in self.own_text and not {graph, self.own_text[graph]} & self.retried and name == "a":
                word = self.own_text[graph]
                before = any(word in other for _, where, other in self.arrived[:index] if where == target)
                assert before or self.settled_without_sending(word), (graph, self.arrived)

    def settled_without_sending(self, word: str) -> bool:
        return any(
            word in self.words_of(message) and message.settled_at is not None
            for message in self.run(self.world.all())
            if not str(getattr(message.body, "name", "")).startswith("p")
        )

    # ------------------------------------------------ and in the end

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.run(self.in_the_end())
                for always in (
                    self.nothing_vanishes,
                    self.the_pace_is_kept,
                    self.nothing_is_sent_twice_unless_it_says_so,
                    self.texts_keep_their_order,
                    self.a_picture_follows_its_text,
                ):
                    always()
                self.world.database.close()
        finally:
            self.loop.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    async def in_the_end(self) -> None:
        """Everything works again: all that was accepted leaves, or stands in a final state that is listed."""
        w = self.world
        for channel in w.channels.values():
            channel.state, channel.gate = ChannelState.ONLINE, None
        # Clocks that jumped may leave a wait of up to five minutes; the pace lets 12 a minute pass.
        for _ in range(100):
            await w.pass_time(60, tick=6)
            if not await w.all(states=["queued", "sending"]):
                break
        rows = await w.all()
        assert not [row for row in rows if row.settled_at is None], "something waits for ever"
        digests = await w.database.read(lambda c: [str(content) for content in c.execute(DIGESTS).scalars()])
        seen = {word for _, _, text in self.arrived for word in NAME.findall(text)}
        for word in self.accepted:
            states = {row.state for row in rows if word in self.words_of(row)}
            assert states, f"{word} is not in the database"
            told = states & {MessageState.DEAD, MessageState.UNKNOWN, MessageState.EXPIRED}
            merged = MessageState.MERGED in states and any(word in digest for digest in digests)
            assert word in seen or told or merged, (word, states)
        for row in rows:
            if row.state is MessageState.SENT:
                where = {text for _, target, text in self.arrived if target == row.target}
                assert all(any(word in text for text in where) for word in self.words_of(row)), row


DIGESTS = sa.select(notifications.c.content).where(notifications.c.kind == NotificationKind.DIGEST)
COUNT = sa.select(sa.func.count()).select_from(messages)

DeliveryMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestDelivery = DeliveryMachine.TestCase
