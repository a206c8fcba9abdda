"""The bot under test: what people write goes in, what the bridge would send comes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from tests.fakes.postgresql import database_url
from tests.support import wait_for_change
from wxbridge.alerts.render import Destination
from wxbridge.bot.command import Command, CommandKind, Permission, Reply, Sender, choose_language
from wxbridge.bot.command_table import CommandTable
from wxbridge.bot.commands import list_command_kinds
from wxbridge.bot.dispatcher import CommandDispatcher
from wxbridge.bot.services import CommandServices, CommandSettings
from wxbridge.channels.wechat.mentions import says_name, without_quote
from wxbridge.channels.wechat.settings import CAPABILITIES, WechatTarget
from wxbridge.config.types import ChatSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import CannotAnswer, PictureError, WxbridgeError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Accepted, Inbound, PictureSpec, Priority, Text
from wxbridge.core.schema import contacts, messages, notifications
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.outbox import Outbox
from wxbridge.pictures.store import PictureStore

ROOM = "ops-room"
BOT = "小桥"
NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n rest"


def inbound(text: str, **given: Any) -> Inbound:
    """A message as a channel brings it: in a room the mention is looked for in the text."""
    room = given.pop("room", ROOM)
    called = given.pop("called", (BOT,)) if room and ("@" in text or "＠" in text) else ()
    known = {
        "channel": "wechat",
        "id": "m1",
        "sender_id": "wxid_zhang",
        "sender_name": "张三",
        "room_id": room,
        "room_topic": "技术讨论群" if room else None,
        "mentioned": room is None or says_name(without_quote(text), called),
        "at": NOON,
        "called": called,
    }
    return Inbound(text=text, **known | given)


class FakeClock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.time = NOON.timestamp()
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self.asleep = asyncio.Event()

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.time + seconds, future))
        self.asleep.set()
        await future

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, once somebody waits for it."""
        await self.asleep.wait()
        self.time += seconds
        self.asleep.clear()
        due = [future for at, future in self._sleepers if at <= self.time]
        self._sleepers = [(at, future) for at, future in self._sleepers if at > self.time and not future.done()]
        for future in due:
            if not future.done():
                future.set_result(None)


async def _echo(command: Command) -> str:
    return f"{command.sender.target}: {'|'.join(command.words)}"


async def _stop(command: Command) -> str:
    return f"stopped {command.text}"


async def _cannot(command: Command) -> str:
    raise CannotAnswer(f"there is no {command.text}")


async def _broken(command: Command) -> str:
    raise {"known": WxbridgeError("the store is full;\n  make room"), "bug": ValueError("secret")}[command.text]


async def _draw(command: Command) -> Reply:
    spec = PictureSpec("page", {"name": command.text}, link="http://grafana.example/d/x")
    return Reply((Text("here it is"), spec))


async def _nothing(_: Command) -> Reply:
    return Reply(())


class Gate:
    """A command that ends when the test says so."""

    def __init__(self) -> None:
        self.open, self.changed = asyncio.Event(), asyncio.Event()
        self.entered: list[str] = []
        self.cancelled = 0

    async def run(self, command: Command) -> str:
        self.entered.append(command.text)
        self.changed.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return f"waited {command.text}".strip()


def kind(name: str, run: Any, *words: str, permission: Permission = Permission.EVERYONE) -> CommandKind:
    about = {"en": f"does {name}", "zh": f"{name} 的说明"}
    usage = {"en": f"{name} X", "zh": f"{words[0] if words else name} X"}
    return CommandKind(name, (name, *words), about, usage, run, permission)


def kinds(gate: Gate) -> list[CommandKind]:
    """A small set of every sort."""
    return [
        kind("echo", _echo, "复述"),
        kind("list graphs", _echo, "列出图表"),
        kind("list", _nothing, "列出"),
        kind("graph", _draw, "图"),
        kind("stop", _stop, "停止", permission=Permission.ADMINS),
        kind("promql", _echo, "查询", permission=Permission.PROMQL),
        kind("find", _cannot, "查找"),
        kind("break", _broken, "弄坏"),
        kind("wait", gate.run, "等待"),
    ]


def services(**given: Any) -> CommandServices:
    """The services that a test needs; the others are None."""
    needed = [each.name for each in fields(CommandServices) if each.default_factory is MISSING]
    return CommandServices(**dict.fromkeys(needed) | given)


@dataclass
class Asker:
    """Somebody who writes commands of the bridge, and is answered at once, without a chat in between."""

    services: CommandServices
    at: datetime
    settings: dict[str, Any] = field(default_factory=dict)
    table: CommandTable = field(default_factory=lambda: CommandTable(list_command_kinds()))

    async def reply(self, line: str, language: Language | None = None, target: str = "ops") -> Reply:
        """Reply to a line. Raises `CannotAnswer`."""
        match = self.table.match(line)
        assert match, line
        command = Command(
            Sender("wechat", target, "wxid_zhang", "张三", "1@chatroom", "技术讨论群"),
            match.text,
            match.words,
            self.at,
            language or choose_language(line, "en"),
            self.services,
            bot_settings(**{"timezone": self.at.tzinfo} | self.settings),
        )
        reply = await match.kind.run(command)
        return Reply((Text(reply),)) if isinstance(reply, str) else reply

    async def ask(self, line: str, language: Language | None = None, target: str = "ops") -> str:
        """The text that replies to a line; what cannot be answered begins with a cross."""
        try:
            reply = await self.reply(line, language, target)
        except CannotAnswer as error:
            return f"✗ {error}"
        if reply.then is not None:
            reply.then()
        (body,) = reply.bodies
        assert isinstance(body, Text)
        return body.text


def bot_settings(**given: Any) -> CommandSettings:
    """What a configuration says of the chat, with what a test says otherwise."""
    place = Destination(CAPABILITIES, 86400.0)
    usual = {
        "chat": ChatSettings(),
        "language": "en",
        "timezone": ZoneInfo("Asia/Shanghai"),
        "destinations": {"ops": place, "second": place, "master": place},
    }
    return CommandSettings(**usual | given)


class FakeChannels:
    """Channels that know some chats: rooms and direct chats by target, and who the master is."""

    def __init__(self) -> None:
        self.rooms: dict[str, str] = {ROOM: "ops", "second-room": "second"}
        self.direct: dict[str, str] = {}
        self.masters: set[str] = set()
        self.offline: list[Exception] = []
        """What is raised, one after the other, when it is asked whose room something was written in."""
        self.channels = {"wechat": self, "wecom_bot:main": self}
        self.targets = {
            "ops": WechatTarget(room=ROOM, commands=True),
            "second": WechatTarget(room="second-room", commands=True),
            "master": WechatTarget(contact="master"),
        }

    def targets_of(self, message: Inbound) -> tuple[str, ...]:
        if message.room_id is not None:
            if self.offline:
                raise self.offline.pop(0)
            return tuple(filter(None, [self.rooms.get(message.room_id)]))
        names = [self.direct.get(message.sender_id), "master" if message.sender_id in self.masters else None]
        return tuple(dict.fromkeys(filter(None, names)))


class WatchedOutbox(Outbox):
    """A real outbox, which a talk hears of."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(talk.database, dedupe_window=600, clock=talk.clock.now)
        self._gate = talk.gate

    async def put(self, items: Any, **more: Any) -> Accepted:
        accepted = await super().put(items, **more)
        self._gate.changed.set()
        return accepted


class Talk:
    """A bot with its database; `say` gives what is sent in return."""

    def __init__(self, database: Database, folder: Path, **settings: Any) -> None:
        self.database, self.folder = database, folder
        self.clock, self.gate, self.metrics = FakeClock(), Gate(), Metrics()
        self.channels = FakeChannels()
        self.drawn: list[PictureSpec] = []
        self.draw_error: PictureError | None = None
        self.settings = ChatSettings(**settings)
        self.outbox = WatchedOutbox(self)
        self.bot = self.make()
        self._number = 0
        self._read = 0

    def make(self, kinds: Sequence[CommandKind] | None = None) -> CommandDispatcher:
        """Start a bot, with the chats and the database of the others."""
        parts = services(
            database=self.database,
            outbox=self.outbox,
            channels=self.channels,
            metrics=self.metrics,
            picture_store=PictureStore(self.folder),
            drawer=self,
        )
        clock = SystemClock(self.clock.now, self.clock.now, sleep=self.clock.sleep)
        return CommandDispatcher(parts, bot_settings(chat=self.settings), kinds or self.kinds(), clock)

    def kinds(self) -> list[CommandKind]:
        """The commands."""
        return kinds(self.gate)

    async def until(self, predicate: Callable[[], Any]) -> None:
        """Wait until something is so: looked at when a command begins to wait, or an answer is stored."""
        await wait_for_change(self.gate.changed, predicate)

    async def draw(self, spec: PictureSpec) -> bytes:
        self.drawn.append(spec)
        if self.draw_error is not None:
            raise self.draw_error
        return PNG

    async def write(self, text: str, **given: Any) -> Inbound:
        """Let somebody write; what it leads to may still be under way."""
        self._number += 1
        at = datetime.fromtimestamp(self.clock.time - given.pop("age", 0), UTC)
        message = inbound(text, **{"id": f"m{self._number}", "at": at} | given)
        await self.bot.on_inbound(message)
        return message

    async def say(self, text: str, **given: Any) -> list[str]:
        """Let somebody write, and give all answers to it: texts, and pictures as `[picture]`."""
        await self.write(text, **given)
        await self.bot.wait_idle()
        return await self.replies()

    async def rows(self) -> list[Any]:
        """All that is to be sent, with what it belongs to."""
        query = sa.select(messages, notifications.c.dedupe_key, notifications.c.source)
        query = query.join(notifications, notifications.c.id == messages.c.notification_id).order_by(messages.c.id)
        return await self.database.read(lambda c: list(c.execute(query)))

    async def replies(self) -> list[str]:
        """What is to be sent since the last look."""
        rows = await self.rows()
        new, self._read = rows[self._read :], len(rows)
        assert all(row.priority == Priority.REPLY for row in new)
        return [row.text if row.kind == "text" else "[picture]" for row in new]

    async def contact(self, person: str, **names: str) -> None:
        """Make somebody a contact of the account."""
        row = {"channel": "wechat", "id": person, "name": "", "alias": "", "handle": "", "account": "bot"}
        row |= {"seen_at": 0.0, "present": True, "since": 0, **names}

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.delete(contacts).where(contacts.c.id == person))
            connection.execute(sa.insert(contacts).values(row))

        await self.database.run(write)

    def counted(self) -> Mapping[str, float]:
        """What the commands came to: `NAME OUTCOME` → how often."""
        return {
            f"{sample.labels['command']} {sample.labels['outcome']}": sample.value
            for sample in self.metrics.commands.collect()[0].samples
            if sample.name.endswith("_total")
        }


@pytest.fixture
async def make_talk(tmp_path: Path) -> AsyncIterator[Callable[..., Talk]]:
    """Make a bot with settings of its own."""
    database = Database.open(database_url(tmp_path / "state"))
    made: list[Talk] = []

    def make(**settings: Any) -> Talk:
        made.append(Talk(database, tmp_path / "pictures", **settings))
        return made[-1]

    yield make
    for talk in made:
        await talk.bot.close()
    database.close()


@pytest.fixture
def talk(make_talk: Callable[..., Talk]) -> Talk:
    return make_talk()
