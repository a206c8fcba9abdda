"""Takes what people write, runs the commands in it, and stores the replies for the target that the chat is.

A message is written to the database before anything is done about it, and marked done when all its replies are
stored; each reply carries a key made of the channel, the message's id and its line, so that a bridge that died in
between replies to what is open yet, once. Chats do not wait for each other; within one, order is kept.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge.alerts import render
from wxbridge.alerts.pipeline import MASTER
from wxbridge.bot import permissions, store
from wxbridge.bot.command import Command, CommandKind, Permission, Sender, choose_language
from wxbridge.bot.command_table import COMMANDS_ANYWHERE, CommandMatch, CommandTable, describe_unknown
from wxbridge.bot.commands import list_command_kinds
from wxbridge.bot.lately import LatelyTold, NoSuchChoice
from wxbridge.bot.message_parser import AddressedLine, Addressing, find_addressed_lines, find_glued_lines
from wxbridge.bot.permissions import SenderRoles
from wxbridge.bot.rate_limit import LEFT_ALONE_SECONDS, LimitDecision, SenderLimits
from wxbridge.bot.runner import COMMAND_DEADLINE_SECONDS, CommandOutcome, CommandResult, run_command, save_messages
from wxbridge.bot.services import CommandServices, CommandSettings
from wxbridge.bot.typing_shown import showing_typing
from wxbridge.core.clock import SystemClock
from wxbridge.core.errors import Offline, StorageError
from wxbridge.core.model import Body, Inbound, Priority, Text
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_duration

log = structlog.get_logger()

MAX_COMMANDS_PER_MESSAGE = 5
MAX_COMMAND_CHARS = 2000
"""As much as a message of WeChat takes."""
MAX_MESSAGE_AGE_SECONDS = 120.0
"""After which a message is too old to be replied to: the bridge was down, or the chat busy for so long."""
REPLY_TTL_SECONDS = 3600.0
"""For which a reply is worth sending."""
MASTER_LOOKUP_SECONDS = 10.0
"""For which a sender who may be the master is waited for, while contacts are being read."""
RETRY_SECONDS = 1.0
"""Between two looks at what is away: the chat's channel, or the database."""
MESSAGE_MEMORY_SECONDS = 86400.0
"""For which messages with commands are remembered, so that one that comes again is known."""
PRUNE_EVERY_SECONDS = 3600.0


@dataclass(frozen=True)
class MessageLine:
    """A line of a message that is replied to; `match` is None where it is no command."""

    number: int
    addressed: AddressedLine
    match: CommandMatch | None
    is_choice: bool = False
    """Whether it is no command by itself, and a number of a list that was shown."""
    is_repeated: bool = False
    """Whether the same was asked so often that the picture just made answers it."""

    @property
    def text(self) -> str:
        """What was written, without mention and prefix."""
        return self.addressed.text

    @property
    def name(self) -> str | None:
        """The command's name."""
        return self.match.kind.name if self.match else None


@dataclass(frozen=True)
class PendingMessage:
    """A message that is to be replied to."""

    inbound: Inbound
    lines: Sequence[MessageLine]
    notes: Sequence[str] = ()
    """What else is told about it, in `language`."""
    language: Language = "en"
    is_retried: bool = False
    """Whether some replies may be stored already: by an earlier bridge, or before the database was away."""
    is_stored: bool = True
    """Whether it is on disk; else it is to be written there before anything is done about it."""


@dataclass(frozen=True)
class ReplyContext:
    """Where a message is replied to, and who wrote it."""

    inbound: Inbound
    target: str
    sender: Sender
    roles: SenderRoles


class CommandDispatcher:
    """Replies to commands. Hand it every message (`on_inbound`); after a start, call `recover` once.

    Args:
        services: What commands work with.
        settings: What the configuration says; replaced by `configure`.
        kinds: The commands besides `help`, `whoami` and `here`.
        clock: The time.
    """

    def __init__(
        self,
        services: CommandServices,
        settings: CommandSettings,
        kinds: Sequence[CommandKind] | None = None,
        clock: SystemClock | None = None,
    ) -> None:
        self._services = services
        self._clock = clock or SystemClock()
        self._limits = SenderLimits()
        self._lately = LatelyTold()
        self._queues: dict[str, deque[PendingMessage]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._typing: set[asyncio.Task[None]] = set()
        self._under_way: set[tuple[str, str]] = set()
        """The messages that are being replied to, by channel and id: what comes again meanwhile is none of them."""
        self._pruned_at = 0.0
        self._kinds = list_command_kinds() if kinds is None else kinds
        self.configure(settings)

    def configure(self, settings: CommandSettings, kinds: Sequence[CommandKind] | None = None) -> None:
        """Go on with another configuration; the commands that run end as they began.

        Raises:
            ValueError: two commands have a word in common; everything goes on as before.
        """
        kinds = self._kinds if kinds is None else kinds
        self._table = CommandTable(kinds, prefix=settings.chat.prefix)
        self._kinds = kinds
        self._settings = settings

    # ------------------------------------------------------------ taking messages

    async def on_inbound(self, inbound: Inbound) -> None:
        """Take a message; where it has commands they are on disk when this returns, and run in the background."""
        inbound = inbound if inbound.id else replace(inbound, id=_make_id(inbound))
        lines = self._find_lines(inbound)
        if not lines or self._is_elsewhere(inbound, lines):
            return
        age = self._age(inbound)
        if age > MAX_MESSAGE_AGE_SECONDS:
            # Gateways bring old messages after a login; it is also what a clock that is wrong looks like.
            log.warning("command too old", id=inbound.id, seconds=round(age), text=inbound.text[:100])
            return
        message = self._limit(inbound, lines)
        key = (inbound.channel, inbound.id)
        if not (message.lines or message.notes) or key in self._under_way:
            return
        # From here on: a start that takes up what is open must not find this one there.
        self._under_way.add(key)
        try:
            is_new = not message.lines or await self._services.database.run(partial(self._record, inbound))
        except StorageError as error:
            log.error("a command could not be stored yet", id=inbound.id, error=str(error))  # noqa: TRY400
            is_new, message = True, replace(message, is_stored=False)
        if is_new:
            self._enqueue(message)
        else:
            self._under_way.discard(key)

    def _record(self, inbound: Inbound, connection: Connection) -> bool:
        """Write a message down, and forget old ones now and then; False where it is known."""
        is_new = store.record_message(connection, inbound)
        now = self._clock.wall()
        if is_new and now - self._pruned_at > PRUNE_EVERY_SECONDS:
            self._pruned_at = now
            store.prune(connection, before=now - MESSAGE_MEMORY_SECONDS)
        return is_new

    def _age(self, inbound: Inbound) -> float:
        return self._clock.wall() - inbound.at.timestamp()

    def _find_lines(self, inbound: Inbound) -> list[MessageLine]:
        """Find the lines to reply to: commands, and of the others those that were meant to be one."""
        chat, now = _chat_of(inbound), self._clock.monotonic()
        found = []
        for number, line in enumerate(find_addressed_lines(inbound, self._settings.chat.prefix)):
            match = self._table.match(line.text)
            is_choice = match is None and self._lately.is_choice(chat, line.text, now, self._table.match)
            found.append(MessageLine(number, line, match, is_choice))
        for number, line in enumerate(find_glued_lines(inbound), len(found)):
            if match := self._table.match(line.text):
                found.append(MessageLine(number, line, match))
        # What is no command at all is told once, and behind a prefix only where it is nearly one: `/var/log`.
        return [line for line in found if line.match or line.is_choice] or [
            line for line in found[:1] if line.addressed.how is not Addressing.PREFIX or self._suggest(line)
        ]

    def _suggest(self, line: MessageLine, roles: frozenset[str] | None = None) -> list[str]:
        return self._table.suggest(line.text, roles, contained=line.addressed.how is not Addressing.PREFIX)

    def _is_elsewhere(self, inbound: Inbound, lines: Sequence[MessageLine]) -> bool:
        """Tell whether the message is in a chat where nobody is replied to; False where it cannot be told yet."""
        try:
            return self._find_reply_target(inbound, lines) is None
        except Offline:
            return False

    def _find_target(self, inbound: Inbound) -> str | None:
        """Find the target whose chat a message is in, where commands are replied to there. May raise `Offline`."""
        return permissions.find_target(self._channel(inbound), inbound, self._services.channels.targets)

    def _is_from_master(self, inbound: Inbound) -> bool:
        """May raise `Offline`."""
        return permissions.is_master(self._channel(inbound), inbound)

    def _channel(self, inbound: Inbound) -> object:
        return self._services.channels.channels.get(inbound.channel)

    def _find_reply_target(self, inbound: Inbound, lines: Sequence[MessageLine]) -> str | None:
        """Find the target that a message is replied to at, if there is one. May raise `Offline`."""
        destinations, target = self._settings.destinations, self._find_target(inbound)
        if target is None and MASTER in destinations and all(line.name in COMMANDS_ANYWHERE for line in lines):
            target = MASTER if self._is_from_master(inbound) else None
        return target if target in destinations else None

    def _limit(self, inbound: Inbound, lines: Sequence[MessageLine]) -> PendingMessage:
        """Choose the lines that are replied to, with what else there is to say."""
        rate, now = self._settings.chat.rate, self._clock.monotonic()
        sender, chat = f"{inbound.channel}:{inbound.sender_id}", _chat_of(inbound)
        language = choose_language(" ".join(line.text for line in lines), self._settings.language)
        kept: list[MessageLine] = []
        notes: list[str] = []
        for line in lines[:MAX_COMMANDS_PER_MESSAGE]:
            is_command = line.match is not None or line.is_choice
            decision = self._limits.decide(sender, chat, line.text, now, rate=rate, is_command=is_command)
            if decision is LimitDecision.ANSWER_AGAIN:
                kept.append(replace(line, is_repeated=True))
                continue
            if decision is LimitDecision.ANSWER:
                if is_command or self._limits.may_correct(sender, now, rate=rate):
                    kept.append(line)
                continue
            self._count(line, CommandOutcome.LIMITED)
            log.warning("command not answered", sender=inbound.sender_id, chat=chat, why=decision.value)
            if decision is LimitDecision.TELL_LIMITED:
                notes.append(say("bot.limited", language, rate=rate))
            elif decision is LimitDecision.TELL_LEFT_ALONE:
                who, pause = inbound.sender_name or inbound.sender_id, format_duration(LEFT_ALONE_SECONDS, language)
                notes.append(say("bot.tripped", language, who=who, time=pause))
        if len(lines) > MAX_COMMANDS_PER_MESSAGE and kept:
            notes.append(say("bot.too_many", language, n=MAX_COMMANDS_PER_MESSAGE))
        return PendingMessage(inbound, kept, notes, language)

    # ------------------------------------------------------------ starting and ending

    async def recover(self) -> None:
        """Take up the messages of the last two minutes that are not replied to; drop what is older.

        Raises:
            StorageError: the database cannot be read.
        """
        now = self._clock.wall()

        def read(connection: Connection) -> list[Inbound]:
            dropped = store.drop_older(connection, before=now - MAX_MESSAGE_AGE_SECONDS, now=now)
            if dropped:
                log.info("old commands are not answered", count=dropped)
            return store.select_open(connection)

        for inbound in await self._services.database.run(read):
            key = (inbound.channel, inbound.id)
            if key in self._under_way:
                continue
            self._under_way.add(key)
            log.info("command taken up again", id=inbound.id, text=inbound.text[:100])
            lines = self._find_lines(inbound)[:MAX_COMMANDS_PER_MESSAGE]
            self._enqueue(PendingMessage(inbound, lines, is_retried=True))

    async def wait_idle(self) -> None:
        """Wait until the commands that run now are over."""
        if tasks := set(self._tasks.values()):
            await asyncio.wait(tasks, timeout=COMMAND_DEADLINE_SECONDS)

    async def close(self) -> None:
        """End everything; what is not replied to is taken up by the next bridge."""
        tasks = {*self._tasks.values(), *self._typing}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=2.0)
        self._under_way.clear()

    # ------------------------------------------------------------ one chat

    def _enqueue(self, message: PendingMessage) -> None:
        chat = _chat_of(message.inbound)
        self._queues.setdefault(chat, deque()).append(message)
        if chat not in self._tasks:
            self._tasks[chat] = asyncio.create_task(self._serve(chat), name=f"chat {chat}")

    async def _serve(self, chat: str) -> None:
        """Reply to a chat's messages one after the other, until there are none."""
        queue = self._queues[chat]
        try:
            while queue:
                message = queue.popleft()
                inbound = message.inbound
                try:
                    await self._reply_when_stored(message)
                except StorageError as error:
                    log.error("an answer could not be stored", id=inbound.id, error=str(error))  # noqa: TRY400
                except Exception:
                    log.exception("a message was not answered", id=inbound.id)
                finally:
                    self._under_way.discard((inbound.channel, inbound.id))
        finally:
            del self._tasks[chat], self._queues[chat]

    async def _reply_when_stored(self, message: PendingMessage) -> None:
        """Reply to a message; again and again while the database takes nothing, for as long as it is worth it.

        Raises:
            StorageError: the database took nothing until then.
        """
        inbound = message.inbound
        while True:
            try:
                if not message.is_stored and not await self._services.database.run(partial(self._record, inbound)):
                    return
                message = replace(message, is_stored=True)
                await self._reply(message)
            except StorageError as error:
                if self._age(inbound) > MAX_MESSAGE_AGE_SECONDS:
                    raise
                log.warning("a command waits for the database", id=inbound.id, error=str(error))
                # What of it is stored by then is not replied to once more.
                message = replace(message, is_retried=message.is_retried or message.is_stored)
                await self._clock.sleep(RETRY_SECONDS)
            else:
                return

    async def _reply(self, message: PendingMessage) -> None:
        inbound = message.inbound
        context = await self._find_context(inbound, message.lines)
        if context is not None:
            keys = [_dedupe_key(inbound, line.number) for line in message.lines]
            stored = await self._services.outbox.find_dedupe_keys(keys) if message.is_retried else set()
            for line, key in zip(message.lines, keys, strict=True):
                if key not in stored:
                    await self._reply_to_line(line, context)
            for number, note in enumerate(message.notes):
                await self._send(context, [Text(note)], f"note{number}", message.language)
        if message.lines or message.is_retried:
            now = self._clock.wall()
            await self._services.database.run(partial(store.record_done, inbound=inbound, now=now))

    async def _find_context(self, inbound: Inbound, lines: Sequence[MessageLine]) -> ReplyContext | None:
        """Find out where a message is replied to and who wrote it; None where that is nowhere, or not told in time."""
        since = self._clock.monotonic()
        while True:
            try:
                target = self._find_reply_target(inbound, lines)
                if target is None:
                    return None
                own = self._find_target(inbound) or ""
                is_master = self._is_master_for_sure(inbound, since)
                break
            except Offline as error:
                if self._age(inbound) > MAX_MESSAGE_AGE_SECONDS:
                    log.warning("command not answered", id=inbound.id, why=str(error))
                    return None
                await self._clock.sleep(RETRY_SECONDS)
        chat = self._settings.chat
        lists = {Permission.ADMINS: chat.admins, Permission.PROMQL: chat.promql}
        found = await permissions.find_roles(self._services.database, inbound, lists, is_master=is_master)
        sender = Sender(
            inbound.channel, own, inbound.sender_id, inbound.sender_name, inbound.room_id, inbound.room_topic,
            found.roles,
        )  # fmt: skip
        return ReplyContext(inbound, target, sender, found)

    def _is_master_for_sure(self, inbound: Inbound, since: float) -> bool:
        """Tell whether the master writes. Raises `Offline` as long as it is worth waiting for those who know."""
        try:
            return self._is_from_master(inbound)
        except Offline:
            if self._clock.monotonic() - since < MASTER_LOOKUP_SECONDS:
                raise
            return False

    # ------------------------------------------------------------ one line

    async def _reply_to_line(self, line: MessageLine, context: ReplyContext) -> None:
        language = choose_language(line.text, self._settings.language)
        chat, began = _chat_of(context.inbound), self._clock.monotonic()
        meant = self._lately.resolve(chat, line.text, line.match, began, self._table.match)
        if isinstance(meant, NoSuchChoice):
            text = say("bot.no_such_choice", language, number=meant.number, n=meant.length)
            result = CommandResult.of_text(CommandOutcome.CANNOT, text)
        else:
            line = replace(line, match=meant)
            result = await self._run(line, context, language)
        if self._is_scarce(context):
            result = save_messages(result)
        if result.bodies:
            await self._send(context, result.bodies, line.number, language)
        result.begin()
        now = self._clock.monotonic()
        if result.choices is not None:
            self._lately.note_choices(chat, result.choices, now)
        if line.match is not None and result.outcome is CommandOutcome.ANSWERED and not line.is_repeated:
            self._lately.note_answer(chat, line.match, result.bodies, now)
        self._count(line, result.outcome)
        log.info(
            "command",
            command=line.name,
            outcome=result.outcome.value,
            target=context.target,
            sender=context.sender.id,
            seconds=round(self._clock.monotonic() - began, 2),
        )

    def _count(self, line: MessageLine, outcome: CommandOutcome) -> None:
        self._services.metrics.commands.labels(line.name or "unknown", outcome.value).inc()

    async def _run(self, line: MessageLine, context: ReplyContext, language: Language) -> CommandResult:
        sender, inbound = context.sender, context.inbound
        if line.match is None:
            return self._correct(line, context, language)
        kind = line.match.kind
        name = kind.called(language)
        if not kind.is_allowed(sender.roles):
            return CommandResult.of_text(CommandOutcome.REFUSED, _refusal(kind, context, language))
        if len(line.text) > MAX_COMMAND_CHARS:
            text = say("bot.too_long", language, name=name, n=MAX_COMMAND_CHARS)
            return CommandResult.of_text(CommandOutcome.CANNOT, text)
        if self._age(inbound) > MAX_MESSAGE_AGE_SECONDS:
            return CommandResult.of_text(CommandOutcome.LATE, say("bot.late", language, name=name))
        if line.is_repeated and (
            told := self._lately.find_answer(_chat_of(inbound), line.match, self._clock.monotonic())
        ):
            return CommandResult(CommandOutcome.ANSWERED, told)
        at = inbound.at.astimezone(self._settings.timezone)
        command = Command(sender, line.match.text, line.match.words, at, language, self._services, self._settings)

        async def send_notice() -> None:
            if self._is_scarce(context):
                return
            try:
                await self._send(context, [Text(say("bot.moment", language))], f"{line.number}:moment", language)
            except StorageError as error:
                log.warning("could not be told", id=inbound.id, error=str(error))

        async with showing_typing(self._channel(inbound), inbound, self._typing):
            return await run_command(kind, command, self._clock.sleep, send_notice)

    def _is_scarce(self, context: ReplyContext) -> bool:
        """Tell whether each message costs one of a few where it is replied to."""
        destination = self._settings.destinations.get(context.target)
        return destination is not None and destination.capabilities.is_scarce

    def _correct(self, line: MessageLine, context: ReplyContext, language: Language) -> CommandResult:
        """Say what may have been meant by a line that is no command."""
        # Where each message costs one of a few, any word may be what keeps them coming.
        is_quiet = self._is_scarce(context)
        if not line.text:
            return CommandResult(CommandOutcome.UNKNOWN, () if is_quiet else [Text(say("bot.hint", language))])
        suggestions = self._suggest(line, context.sender.roles)
        if not suggestions and (is_quiet or line.addressed.how is Addressing.PREFIX):
            return CommandResult(CommandOutcome.UNKNOWN)
        return CommandResult.of_text(CommandOutcome.UNKNOWN, describe_unknown(line.text, suggestions, language))

    async def _send(self, context: ReplyContext, bodies: Sequence[Body], number: int | str, language: Language) -> None:
        """Store what is said to a message. Raises `StorageError`."""
        inbound, destination = context.inbound, self._settings.destinations.get(context.target)
        if destination is None:
            return  # The configuration has just lost it.
        for body in bodies:
            if isinstance(body, Text):
                self._limits.note_answer(_chat_of(inbound), body.text)
        if self._settings.chat.mention and inbound.room_id:
            bodies = _mention_in_first_text(bodies, inbound.sender_id)
        item = render.make_notification("chat", context.target, bodies, destination, language, Priority.REPLY)
        ttl = min(item.expires_after, REPLY_TTL_SECONDS)
        await self._services.outbox.put([replace(item, dedupe_key=_dedupe_key(inbound, number), expires_after=ttl)])


def _refusal(kind: CommandKind, context: ReplyContext, language: Language) -> str:
    line, doubt = kind.refusal(language), context.roles.doubts.get(kind.permission.value)
    if doubt is None:
        return line
    return f"{line} {say(f'bot.doubt_{doubt.kind}', language, word=doubt.word, id=context.sender.id)}"


def _mention_in_first_text(bodies: Sequence[Body], person: str) -> list[Body]:
    mentioned = list(bodies)
    for index, body in enumerate(mentioned):
        if isinstance(body, Text):
            mentioned[index] = replace(body, mentions=(*body.mentions, person))
            break
    return mentioned


def _chat_of(inbound: Inbound) -> str:
    return f"{inbound.channel}:{inbound.room_id or inbound.sender_id}"


def _dedupe_key(inbound: Inbound, number: int | str) -> str:
    """Make what tells one reply from every other."""
    return f"chat:{inbound.channel}:{inbound.id}:{number}"


def _make_id(inbound: Inbound) -> str:
    """Make an id for a message that came without: the same for the same message."""
    parts = (inbound.room_id or "", inbound.sender_id, inbound.at.isoformat(), inbound.text)
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).hexdigest()[:32]
