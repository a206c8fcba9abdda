"""A bridge's delivery on a real database with a clock and channels that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests.fakes.postgresql import database_url
from wxbridge.alerts.pipeline import AlertPipeline, AlertSettings, Destination
from wxbridge.alerts.serialization import group_to_json
from wxbridge.config.types import Pace, TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Alert,
    AlertGroup,
    AlertStatus,
    Body,
    Capabilities,
    Message,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
    Text,
)
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.rate_limit import Pacer
from wxbridge.delivery.service import Delivery
from wxbridge.pictures.store import PictureStore
from wxbridge.testing import FakeChannel, FakeClock

PNG = b"\x89PNG tiny"


class Room(TargetSettings):
    """A target of the fake channels: its room is its address and its chat."""

    channel: str = "a"
    room: str = ""

    def address(self, recipient: str | None = None) -> str:
        return self.room

    def chat_key(self) -> str:
        return self.room


class OneConnection:
    """A database whose work is all done in one transaction, which a test holds."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    async def run(
        self, work: Callable[[sa.Connection], Any], *, is_patient: bool = False, is_leaders: bool = False
    ) -> Any:
        del is_patient, is_leaders
        return work(self._connection)

    async def run_batched(self, work: Callable[[sa.Connection, Sequence[Any]], Sequence[Any]], item: Any) -> Any:
        return work(self._connection, [item])[0]

    read = run


class Drawer:
    """Draws as a world's `paint` says."""

    def __init__(self, world: DeliveryHarness) -> None:
        self._world = world

    async def draw(self, spec: PictureSpec) -> bytes:
        self._world.drawings.append(spec)
        drawn = self._world.paint(spec) if self._world.paint else PNG
        return drawn if isinstance(drawn, bytes) else await drawn


@dataclass
class DeliveryHarness:
    """Delivery, stepped by hand. Rooms are called like their targets unless they say otherwise."""

    directory: Path
    targets: dict[str, Room]
    paces: Mapping[str, Pace] = field(default_factory=dict)
    """By channel."""
    capabilities: Mapping[str, Capabilities] = field(default_factory=dict)
    jitter: float = 0.0
    clock: FakeClock = field(default_factory=FakeClock)
    told: list[tuple[str, str | None]] = field(default_factory=list)
    names: tuple[str, ...] = ()
    """The operators' targets."""
    drawings: list[PictureSpec] = field(default_factory=list)
    paint: Callable[[PictureSpec], Any] | None = None
    """May raise, or give bytes, or something to wait for."""
    channels: dict[str, FakeChannel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.targets = {
            name: target if target.room else target.model_copy(update={"room": name})
            for name, target in self.targets.items()
        }
        for target in self.targets.values():
            default = Capabilities(text_limit=2000)
            self.channels.setdefault(
                target.channel, FakeChannel(capabilities=self.capabilities.get(target.channel, default))
            )
        self.start()

    # ------------------------------------------------ starting and stopping

    def start(self) -> None:
        """Make everything that a process makes when it starts."""
        self.database = Database.open(database_url(self.directory))
        self.outbox = Outbox(self.database, dedupe_window=600, clock=self.clock.wall)
        self.metrics = Metrics()
        self.lanes = [self._lane(name, channel) for name, channel in self.channels.items()]
        destinations = {
            name: Destination(self.channels[target.channel].capabilities, target.expires_after)
            for name, target in self.targets.items()
        }
        self.intake = AlertPipeline(AlertSettings(targets=destinations), self.outbox)
        self.context = DeliveryContext(
            outbox=self.outbox,
            lanes=self.lanes,
            picture_store=PictureStore.below(self.directory),
            drawer=Drawer(self),
            operators=self,
            composer=self.intake,
            language="en",
            metrics=self.metrics,
            clock=self.clock,
        )
        self.delivery = Delivery(self.context)
        self.delivery.connect()

    def _lane(self, name: str, channel: FakeChannel) -> Lane:
        targets = {key: target for key, target in self.targets.items() if target.channel == name}
        pacer = Pacer(self.paces.get(name, Pace()), jitter=self.jitter, chance=lambda: 0.5)
        for target in targets.values():
            if target.pace:
                pacer.give_own(target.room, target.pace)
        return Lane(name, channel, targets, pacer)

    async def crash(self) -> None:
        """Die in the middle of whatever is under way, and start again on the same files."""
        tasks = [task for loop in self.delivery.send_loops for task in loop.under_way]
        tasks += self.delivery.render_loop.under_way
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.database.close()
        self.start()
        await self.delivery.prepare()

    async def tell(self, line: str, about: str | None = None) -> None:
        self.told.append((line, about))

    # ------------------------------------------------ putting in

    async def put_all(self, items: Sequence[Notification], window: float = 600.0) -> Accepted:
        self.outbox.dedupe_window = window
        return await self.outbox.put(items)

    async def put(self, target: str, *bodies: Body | str, **fields: Any) -> tuple[int, ...]:
        """Queue texts and pictures as one notification; returns the messages' ids."""
        made = tuple(Text(body) if isinstance(body, str) else body for body in bodies)
        fields.setdefault("source", "test")
        return (await self.put_all([Notification(target=target, bodies=made, **fields)])).ids

    async def alert(self, target: str, *alerts: Alert, **fields: Any) -> tuple[int, ...]:
        """Queue alerts as the intake does."""
        group = AlertGroup("test", "key", alerts[0].title, alerts)
        fields.setdefault("priority", Priority.ALERT)
        bodies = self.intake.recompose(NotificationKind.ALERT, group_to_json(group), target, "")
        return await self.put(target, *bodies, kind=NotificationKind.ALERT, content=group_to_json(group), **fields)

    # ------------------------------------------------ stepping

    async def step(self) -> bool:
        """Every sender takes what it may once, and what they sent comes to its end. Whether there was anything."""
        begun: list[asyncio.Task[None]] = []
        for loop in self.delivery.send_loops:
            await loop.round()
            begun += loop.under_way
        await asyncio.gather(*begun)
        return bool(begun)

    async def settle(self) -> None:
        await asyncio.gather(*(task for loop in self.delivery.send_loops for task in loop.under_way))

    async def begin(self) -> None:
        """Let the senders take what they may, and reach the channel."""
        for loop in self.delivery.send_loops:
            await loop.round()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def drain(self, most: int = 200) -> None:
        """Send all that may go now, and draw."""
        for _ in range(most):
            drew, sent = await self.draw(), await self.step()
            if not (drew or sent):
                return
        raise AssertionError("it goes on sending")

    async def pass_time(self, seconds: float, tick: float = 1.0) -> None:
        """Let time pass in steps, at each of which everything that may happen does."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end:
            self.clock.advance(min(tick, end - self.clock.monotonic()))
            await self.drain()
            await self.delivery.look_after()

    async def draw(self) -> bool:
        await self.delivery.render_loop.round()
        tasks = list(self.delivery.render_loop.under_way)
        await asyncio.gather(*tasks)
        return bool(tasks)

    # ------------------------------------------------ looking

    async def all(self, **filters: Any) -> list[Message]:
        """Messages, the oldest first."""
        found = await self.outbox.list_messages(limit=1_000_000, **filters)
        return sorted(found, key=lambda message: message.id)

    async def one(self, message_id: int) -> Message:
        return (await self.outbox.get_messages([message_id]))[0]

    async def states(self, **filters: Any) -> list[str]:
        return [message.state.value for message in await self.all(**filters)]

    @property
    def channel(self) -> FakeChannel:
        return self.channels["a"]

    def counted(self, target: str, outcome: str) -> float:
        return (
            self.metrics.registry.get_sample_value("wxbridge_messages_total", {"target": target, "outcome": outcome})
            or 0.0
        )


def picture(name: str = "graph", link: str | None = "http://grafana/d/1") -> Picture:
    return Picture(spec=PictureSpec("url", {"url": name}, link=link), name=f"{name}.png")


def alert(name: str = "CPU", status: str = "firing", severity: str = "", mark: str = "", **fields: Any) -> Alert:
    labels = {"alertname": name} | ({"severity": severity} if severity else {})
    return Alert("test", AlertStatus(status), name, labels, fingerprint=mark, **fields)
