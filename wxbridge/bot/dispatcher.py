"""Takes what people write, runs the commands in it, and stores the answers for the target that the chat is.

A message is written to the database before anything is done about it, and marked done when all its answers are
stored; each answer carries a key made of the channel, the message's id and its line, so that a bridge that died in
between answers what is not answered yet, once. Chats do not wait for each other; within one, order is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.alerts import render
from wxbridge.alerts.render import Destination
from wxbridge.bot import permissions
from wxbridge.bot.command import Answer, Asker, CannotAnswer, Command, Permission, Question
from wxbridge.bot.command_table import IDS, Match, Table, allowed, language_of, refusal, shown, unknown
from wxbridge.bot.message_parser import How, Line, addressed
from wxbridge.bot.rate_limit import PAUSE, Limits, Verdict
from wxbridge.config.types import ChatSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import Offline, PictureError, StorageError, WxbridgeError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import Body, Inbound, PictureSpec, Priority, Text
from wxbridge.core.schema import asked
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery.outbox import Outbox
from wxbridge.pictures.store import PictureStore

log = structlog.get_logger()

AT_ONCE = 5
"""How many commands of one message are run."""
LONGEST = 2000
"""Characters of one command: as much as a message of WeChat takes."""
LATEST = 120.0
"""Seconds after which a question is too old to be answered: the bridge was down, or the chat busy for so long."""
MOMENT = 2.0
"""Seconds after which somebody is told that it takes longer."""
DEADLINE = 60.0
"""Seconds that one command may take, its pictures included."""
WORTH = 3600.0
"""Seconds that an answer is worth sending."""
_UNSURE = 10.0
"""Seconds that a sender who may be the master is waited for, while contacts are being read."""
_LOOK_AGAIN = 1.0
_KEEP = 86400.0
"""Seconds that messages with commands are remembered, so that one that comes again is known."""
_LONGEST_ERROR = 500

Draw = Callable[[PictureSpec], Awaitable[bytes]]


@dataclass(frozen=True)
class ChatSetting:
    """What is made from one configuration, and is exchanged when another takes over."""

    settings: ChatSettings
    commands: Sequence[Command]
    """All but `help`, `whoami` and `here`."""
    language: Language
    timezone: ZoneInfo
    destinations: Mapping[str, Destination]
    """By target."""
    picture_store: PictureStore
    draw: Draw
    master: str | None = None
    """The target of the person in charge, who may ask `here` and `whoami` also where no target is yet: the answer goes
    there."""


@dataclass(frozen=True)
class Around:
    """What the chat asks of the bridge."""

    database: Database
    outbox: Outbox
    target_of: Callable[[Inbound], str | None]
    """The target whose chat a message was written in, where commands are answered there. Raises `Offline` where it
    cannot be told yet."""
    is_master: Callable[[Inbound], bool]
    """Whether the sender is the person in charge. May raise `Offline`."""
    metrics: Metrics
    now: Callable[[], float] = time.time
    """Seconds since the epoch."""
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True)
class _Ask:
    """A line of a message that is answered; `match` is None where it is no command."""

    number: int
    line: Line
    match: Match | None


@dataclass(frozen=True)
class _Work:
    """A message that is answered."""

    inbound: Inbound
    asks: Sequence[_Ask]
    notes: Sequence[tuple[str, Language]] = ()
    """What else is told about it."""
    again: bool = False
    """Whether some of it may have been answered before: by an earlier bridge, or before the database was away."""
    kept: bool = True
    """Whether it is on disk; else it is to be written there before anything is done about it."""


@dataclass(frozen=True)
class _Place:
    """Where a question is answered, and who asks."""

    target: str
    asker: Asker
    doubts: Mapping[str, tuple[str, str]]


class Chat:
    """Answers commands. Hand it every message (`on_inbound`); after a start, call `recover` once."""

    def __init__(self, around: Around, setting: ChatSetting) -> None:
        self._around = around
        self._limits = Limits()
        self._queues: dict[str, deque[_Work]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._under_way: set[tuple[str, str]] = set()
        """The messages that are being answered, by channel and id: what comes again meanwhile is none of them."""
        self._pruned_at = 0.0
        self.take(setting)

    def take(self, setting: ChatSetting) -> None:
        """Go on with another configuration; what is being answered is answered as it began.

        Raises:
            ValueError: two commands have a word in common; everything goes on as before.
        """
        self._table = Table(setting.commands, prefix=setting.settings.prefix)
        self._setting = setting

    @property
    def table(self) -> Table:
        """The present commands."""
        return self._table

    # ------------------------------------------------------------ taking messages

    async def on_inbound(self, inbound: Inbound) -> None:
        """Take a message; where it has commands they are on disk when this returns, and answered in the background."""
        inbound = inbound if inbound.id else replace(inbound, id=_made_up_id(inbound))
        asks = self._asks(inbound)
        if not asks or self._is_elsewhere(inbound, asks):
            return
        age = self._around.now() - inbound.at.timestamp()
        if age > LATEST:
            # Gateways bring old messages after a login; it is also what a clock that is wrong looks like.
            log.warning("command too old", id=inbound.id, seconds=round(age), text=inbound.text[:100])
            return
        work = self._within_limits(inbound, asks)
        if not work.asks and not work.notes:
            return
        if (inbound.channel, inbound.id) in self._under_way:
            return
        # From here on: a start that takes up what is open must not find this one there.
        self._under_way.add((inbound.channel, inbound.id))
        try:
            known = bool(work.asks) and not await self._around.database.run(lambda c: self._note(c, inbound))
        except StorageError as error:
            log.error("a command could not be stored yet", id=inbound.id, error=str(error))  # noqa: TRY400
            known, work = False, replace(work, kept=False)
        if known:
            self._under_way.discard((inbound.channel, inbound.id))
        else:
            self._queue(work)

    def _asks(self, inbound: Inbound) -> list[_Ask]:
        """The lines to answer: commands, and of the others those that were meant to be one."""
        lines = addressed(inbound, self._setting.settings.prefix)
        found = [_Ask(number, line, self._table.match(line.text)) for number, line in enumerate(lines)]
        commands = [ask for ask in found if ask.match]
        if commands:
            return commands
        # What is no command at all is answered once, and behind a prefix only where it is nearly one: `/var/log`.
        return [ask for ask in found[:1] if ask.line.how is not How.PREFIX or self._near(ask, lambda _: True)]

    def _near(self, ask: _Ask, may_use: Callable[[Command], bool]) -> list[str]:
        return self._table.near(ask.line.text, may_use, contained=ask.line.how is not How.PREFIX)

    def _is_elsewhere(self, inbound: Inbound, asks: Sequence[_Ask]) -> bool:
        """Whether the message is in a chat where nobody is answered; False where it cannot be told yet."""
        try:
            return self._target(inbound, asks) is None
        except Offline:
            return False

    def _target(self, inbound: Inbound, asks: Sequence[_Ask]) -> str | None:
        """Where a message is answered, if anywhere. May raise `Offline`."""
        target = self._around.target_of(inbound)
        if target is not None:
            return target if target in self._setting.destinations else None
        wants_ids = all(ask.match and ask.match.command.name in IDS for ask in asks)
        master = self._setting.master if wants_ids and self._setting.master in self._setting.destinations else None
        return master if master is not None and self._around.is_master(inbound) else None

    def _within_limits(self, inbound: Inbound, asks: Sequence[_Ask]) -> _Work:
        """Of a message's lines those that are answered, with what else there is to say."""
        rate, now = self._setting.settings.rate, self._around.monotonic()
        person, chat = f"{inbound.channel}:{inbound.sender_id}", _chat_of(inbound)
        language = language_of(" ".join(ask.line.text for ask in asks), self._setting.language)
        kept: list[_Ask] = []
        notes: list[str] = []
        for ask in asks[:AT_ONCE]:
            verdict = self._limits.ask(person, chat, ask.line.text, now, rate=rate, command=ask.match is not None)
            if verdict is Verdict.ANSWER:
                if ask.match or self._limits.may_correct(person, now):
                    kept.append(ask)
                continue
            self._count(ask, "limited")
            log.warning("command not answered", sender=inbound.sender_id, chat=chat, why=verdict.value)
            if verdict is Verdict.TELL_LIMITED:
                notes.append(say("bot.limited", language, rate=rate))
            elif verdict is Verdict.TELL_TRIPPED:
                time_ = format_duration(PAUSE, language)
                notes.append(say("bot.tripped", language, who=inbound.sender_name or inbound.sender_id, time=time_))
        if len(asks) > AT_ONCE and kept:
            notes.append(say("bot.too_many", language, n=AT_ONCE))
        return _Work(inbound, kept, [(note, language) for note in notes])

    def _note(self, connection: Connection, inbound: Inbound) -> bool:
        """Write a message down; False where it is known."""
        same = (asked.c.channel == inbound.channel) & (asked.c.id == inbound.id)
        if connection.scalar(sa.select(asked.c.id).where(same)) is not None:
            return False
        row = {"channel": inbound.channel, "id": inbound.id, "at": inbound.at.timestamp()}
        connection.execute(sa.insert(asked).values(**row, content=_as_json(inbound)))
        now = self._around.now()
        if now - self._pruned_at > _KEEP / 24:
            self._pruned_at = now
            connection.execute(sa.delete(asked).where(asked.c.at < now - _KEEP))
        return True

    # ------------------------------------------------------------ starting and ending

    async def recover(self) -> None:
        """Answer what was asked less than `LATEST` seconds ago and is not answered; forget what is older.

        Raises:
            StorageError: the database cannot be read.
        """
        now = self._around.now()

        def read(connection: Connection) -> list[Any]:
            late = (asked.c.at < now - LATEST) & asked.c.done_at.is_(None)
            dropped = connection.execute(sa.update(asked).where(late).values(done_at=now)).rowcount
            if dropped:
                log.info("old commands are not answered", count=dropped)
            query = sa.select(asked.c.content).where(asked.c.done_at.is_(None)).order_by(asked.c.at)
            return [row.content for row in connection.execute(query)]

        for content in await self._around.database.run(read):
            inbound = _from_json(content)
            if (inbound.channel, inbound.id) in self._under_way:
                continue
            self._under_way.add((inbound.channel, inbound.id))
            log.info("command taken up again", id=inbound.id, text=inbound.text[:100])
            self._queue(_Work(inbound, self._asks(inbound)[:AT_ONCE], again=True))

    async def settled(self) -> None:
        """Wait until the commands that run now are over."""
        if tasks := set(self._tasks.values()):
            await asyncio.wait(tasks, timeout=DEADLINE)

    async def close(self) -> None:
        """End everything; what is not answered is taken up by the next bridge."""
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)

    # ------------------------------------------------------------ one chat

    def _queue(self, work: _Work) -> None:
        chat = _chat_of(work.inbound)
        self._queues.setdefault(chat, deque()).append(work)
        if chat not in self._tasks:
            self._tasks[chat] = asyncio.create_task(self._serve(chat), name=f"chat {chat}")

    async def _serve(self, chat: str) -> None:
        """Answer a chat's messages one after the other, until there are none."""
        queue = self._queues[chat]
        try:
            while queue:
                work = queue.popleft()
                try:
                    await self._answer_when_stored(work)
                except StorageError as error:
                    log.error("an answer could not be stored", id=work.inbound.id, error=str(error))  # noqa: TRY400
                except Exception:
                    log.exception("a message was not answered", id=work.inbound.id)
                finally:
                    self._under_way.discard((work.inbound.channel, work.inbound.id))
        finally:
            del self._tasks[chat], self._queues[chat]

    async def _answer_when_stored(self, work: _Work) -> None:
        """Answer a message; again and again while the database takes nothing, for as long as it is worth answering.

        Raises:
            StorageError: the database took nothing until then.
        """
        inbound = work.inbound
        while True:
            try:
                if not work.kept and not await self._around.database.run(lambda c: self._note(c, inbound)):
                    return
                work = replace(work, kept=True)
                await self._answer_message(work)
            except StorageError as error:
                if self._around.now() - inbound.at.timestamp() > LATEST:
                    raise
                log.warning("a command waits for the database", id=inbound.id, error=str(error))
                # What of it is answered by then is not answered once more.
                work = replace(work, again=work.again or work.kept)
                await self._around.sleep(_LOOK_AGAIN)
            else:
                return

    async def _answer_message(self, work: _Work) -> None:
        inbound = work.inbound
        place = await self._place(inbound, work.asks)
        if place is not None:
            known = await self._answered(work) if work.again else frozenset()
            for ask in work.asks:
                if _key(inbound, ask.number) not in known:
                    await self._answer(inbound, ask, place)
            for number, (note, language) in enumerate(work.notes):
                await self._say(inbound, place.target, [Text(note)], f"note{number}", language)
        if work.asks or work.again:
            same = (asked.c.channel == inbound.channel) & (asked.c.id == inbound.id)
            done = sa.update(asked).where(same).values(done_at=self._around.now())
            await self._around.database.run(lambda c: c.execute(done))

    async def _answered(self, work: _Work) -> frozenset[str]:
        """The keys of those answers to a message that are stored already."""
        keys = [_key(work.inbound, ask.number) for ask in work.asks]
        return frozenset(await self._around.outbox.find_dedupe_keys(keys))

    async def _place(self, inbound: Inbound, asks: Sequence[_Ask]) -> _Place | None:
        """Find out where a message is answered and who asks; None where nobody is, or it cannot be told in time."""
        since = self._around.monotonic()
        while True:
            try:
                target = self._target(inbound, asks)
                if target is None:
                    return None
                own = self._around.target_of(inbound) or ""
                master = self._is_master(inbound, since)
                break
            except Offline as error:
                if self._around.now() - inbound.at.timestamp() > LATEST:
                    log.warning("command not answered", id=inbound.id, why=str(error))
                    return None
                await self._around.sleep(_LOOK_AGAIN)
        settings = self._setting.settings
        lists = {Permission.ADMINS: settings.admins, Permission.PROMQL: settings.promql}
        found = await permissions.standing(self._around.database, inbound, lists, master=master)
        asker = Asker(
            inbound.channel, own, inbound.sender_id, inbound.sender_name, inbound.room_id, inbound.room_topic,
            found.roles,
        )  # fmt: skip
        return _Place(target, asker, found.doubts)

    def _is_master(self, inbound: Inbound, since: float) -> bool:
        """Whether the master asks. Raises `Offline` as long as it is worth waiting for those who can tell."""
        try:
            return self._around.is_master(inbound)
        except Offline:
            if self._around.monotonic() - since < _UNSURE:
                raise
            return False

    # ------------------------------------------------------------ one command

    async def _answer(self, inbound: Inbound, ask: _Ask, place: _Place) -> None:
        language = language_of(ask.line.text, self._setting.language)
        began = self._around.monotonic()
        then: list[Callable[[], None]] = []
        bodies, outcome = await self._outcome(inbound, ask, place, language, then)
        if bodies:
            await self._say(inbound, place.target, bodies, ask.number, language)
        if outcome == "answered":
            _begin(then)
        self._count(ask, outcome)
        name = ask.match.command.name if ask.match else None
        seconds = round(self._around.monotonic() - began, 2)
        log.info(
            "command", command=name, outcome=outcome, target=place.target, sender=inbound.sender_id, seconds=seconds
        )

    def _count(self, ask: _Ask, outcome: str) -> None:
        name = ask.match.command.name if ask.match else "unknown"
        self._around.metrics.commands.labels(name, outcome).inc()

    async def _outcome(
        self, inbound: Inbound, ask: _Ask, place: _Place, language: Language, then: list[Callable[[], None]]
    ) -> tuple[Sequence[Body], str]:
        """What to say to a line, and what became of it; what is to be begun behind it is put into `then`."""
        roles = place.asker.roles
        if ask.match is None:
            return self._corrected(ask, roles, language), "unknown"
        command = ask.match.command
        if not allowed(command, roles):
            return [Text(_refused(command, place, language))], "refused"
        if len(ask.line.text) > LONGEST:
            return [Text(say("bot.too_long", language, name=shown(command, language), n=LONGEST))], "cannot"
        if self._around.now() - inbound.at.timestamp() > LATEST:
            return [Text(say("bot.late", language, name=shown(command, language)))], "late"
        at = inbound.at.astimezone(self._setting.timezone)
        question = Question(place.asker, ask.match.text, ask.match.words, at, language, then)

        async def moment() -> None:
            text = Text(say("bot.moment", language))
            try:
                await self._say(inbound, place.target, [text], f"{ask.number}:moment", language)
            except StorageError as error:
                log.warning("could not be told", id=inbound.id, error=str(error))

        found = await self._in_time(self._run(command, question), moment)
        if found is None:
            log.error("command not finished", command=command.name, text=question.text[:200], seconds=DEADLINE)
            time_ = format_duration(DEADLINE, language)
            return [Text(say("bot.timeout", language, name=shown(command, language), time=time_))], "timeout"
        return found

    def _corrected(self, ask: _Ask, roles: frozenset[str], language: Language) -> list[Body]:
        if not ask.line.text:
            return [Text(say("bot.hint", language))]
        near = self._near(ask, lambda command: allowed(command, roles))
        if not near and ask.line.how is How.PREFIX:
            return []
        return [Text(unknown(ask.line.text, near, language))]

    async def _in_time(
        self, run: Awaitable[tuple[Sequence[Body], str]], moment: Callable[[], Awaitable[None]]
    ) -> tuple[Sequence[Body], str] | None:
        """Wait for a command, and say so where it takes long; None where it is over its time."""
        work = asyncio.ensure_future(run)
        timer: asyncio.Future[None] | None = None
        try:
            for pause in (MOMENT, DEADLINE - MOMENT):
                timer = asyncio.ensure_future(self._around.sleep(pause))
                await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    return work.result()
                if pause == MOMENT:
                    await moment()
            return None
        finally:
            if timer is not None:
                timer.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=1.0)

    async def _run(self, command: Command, question: Question) -> tuple[Sequence[Body], str]:
        """Run a command and draw its pictures; whatever goes wrong becomes a line."""
        setting, language = self._setting, question.language
        try:
            answers = await command.run(question)
            bodies = await asyncio.gather(*(_body(answer, setting, language) for answer in answers))
        except CannotAnswer as error:
            return [Text(str(error))], "cannot"
        except WxbridgeError as error:
            log.warning("command failed", command=command.name, text=question.text[:200], error=str(error))
            return [Text(" ".join(str(error).split())[:_LONGEST_ERROR])], "failed"
        except Exception:
            log.exception("command failed", command=command.name, text=question.text[:200])
            return [Text(say("bot.failed", language))], "failed"
        return bodies or [Text(say("bot.nothing", language))], "answered"

    async def _say(
        self, inbound: Inbound, target: str, bodies: Sequence[Body], number: int | str, language: Language
    ) -> None:
        """Store what is said to a message. Raises `StorageError`."""
        setting = self._setting
        destination = setting.destinations.get(target)
        if destination is None:
            return  # The configuration has just lost it.
        for body in bodies:
            if isinstance(body, Text):
                self._limits.answered(_chat_of(inbound), body.text)
        if setting.settings.mention and inbound.room_id:
            bodies = _mentioning(bodies, inbound.sender_id)
        made = render.make_notification("chat", target, bodies, destination, language, Priority.REPLY)
        worth = min(made.expires_after, WORTH)
        await self._around.outbox.put([replace(made, dedupe_key=_key(inbound, number), expires_after=worth)])


async def _body(answer: Answer, setting: ChatSetting, language: Language) -> Body:
    """An answer as it is sent: a picture is drawn, or replaced by why there is none."""
    if not isinstance(answer, PictureSpec):
        return answer
    try:
        content = await setting.draw(answer)
    except PictureError as error:
        return Text(render.write_missing_picture(answer, str(error), language))
    return await setting.picture_store.save(content)


def _begin(then: Sequence[Callable[[], None]]) -> None:
    """Begin what commands have left for when their answers are stored."""
    for each in then:
        try:
            each()
        except WxbridgeError as error:
            log.warning("what was asked for cannot begin", error=str(error))


def _refused(command: Command, place: _Place, language: Language) -> str:
    line = refusal(command, language)
    doubt = place.doubts.get(command.permission.value)
    if doubt is None:
        return line
    kind, word = doubt
    return f"{line} {say(f'bot.doubt_{kind}', language, word=word, id=place.asker.sender_id)}"


def _mentioning(bodies: Sequence[Body], person: str) -> list[Body]:
    """The same with whoever asked mentioned in the first text."""
    mentioned = list(bodies)
    for index, body in enumerate(mentioned):
        if isinstance(body, Text):
            mentioned[index] = replace(body, mentions=(*body.mentions, person))
            break
    return mentioned


def _chat_of(inbound: Inbound) -> str:
    return f"{inbound.channel}:{inbound.room_id or inbound.sender_id}"


def _key(inbound: Inbound, number: int | str) -> str:
    """What tells one answer from every other."""
    return f"chat:{inbound.channel}:{inbound.id}:{number}"


def _made_up_id(inbound: Inbound) -> str:
    """An id for a message that came without: the same for the same message."""
    parts = (inbound.room_id or "", inbound.sender_id, inbound.at.isoformat(), inbound.text)
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:32]


def _as_json(inbound: Inbound) -> dict[str, Any]:
    return asdict(inbound) | {"at": inbound.at.isoformat(), "called": list(inbound.called)}


def _from_json(content: Mapping[str, Any]) -> Inbound:
    at = datetime.fromisoformat(content["at"])
    return Inbound(**{**content, "at": at, "called": tuple(content.get("called", ()))})
