"""Runs one command: within its time, with its pictures drawn, and whatever goes wrong becomes a line for the sender."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import zip_longest

import structlog

from wxbridge.alerts import render
from wxbridge.bot.command import Choices, ChooseOne, Command, CommandKind, Reply
from wxbridge.bot.services import FailedDrawing
from wxbridge.core.errors import CannotAnswer, PictureError, WxbridgeError
from wxbridge.core.model import Body, Picture, PictureSpec, Text
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.units import format_duration

log = structlog.get_logger()

PROGRESS_NOTICE_AFTER_SECONDS = 2.0
"""When somebody is told that it takes longer."""
COMMAND_DEADLINE_SECONDS = 60.0
"""For one command, its pictures included."""
MAX_ERROR_CHARS = 500
MAX_LOGGED_CHARS = 200

Sleep = Callable[[float], Awaitable[None]]


class CommandOutcome(StrEnum):
    """What became of a line, for metrics and the log."""

    ANSWERED = "answered"
    REFUSED = "refused"
    CANNOT = "cannot"
    FAILED = "failed"
    TIMEOUT = "timeout"
    LATE = "late"
    UNKNOWN = "unknown"
    LIMITED = "limited"


@dataclass(frozen=True)
class CommandResult:
    """What to say to a line, what became of it, and what begins once that is stored."""

    outcome: CommandOutcome
    bodies: Sequence[Body] = ()
    then: Callable[[], None] | None = None
    choices: Choices | None = None
    is_captioned: bool = False
    """As that of its `Reply`."""

    @classmethod
    def of_text(cls, outcome: CommandOutcome, text: str, choices: Choices | None = None) -> CommandResult:
        """Make a result of one text."""
        return cls(outcome, [Text(text)], choices=choices)

    def begin(self) -> None:
        """Begin what the command left for when its reply is stored."""
        try:
            if self.then is not None:
                self.then()
        except WxbridgeError as error:
            log.warning("what was asked for cannot begin", error=str(error))


async def run_command(
    kind: CommandKind, command: Command, sleep: Sleep, send_notice: Callable[[], Awaitable[None]]
) -> CommandResult:
    """Run a command; `send_notice` is called where it takes long, and after a minute it is given up."""
    work = asyncio.ensure_future(_run(kind, command))
    timer: asyncio.Future[None] | None = None
    try:
        for pause in (PROGRESS_NOTICE_AFTER_SECONDS, COMMAND_DEADLINE_SECONDS - PROGRESS_NOTICE_AFTER_SECONDS):
            timer = asyncio.ensure_future(sleep(pause))
            await asyncio.wait({work, timer}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            if pause == PROGRESS_NOTICE_AFTER_SECONDS:
                await send_notice()
    finally:
        if timer is not None:
            timer.cancel()
        if not work.done():
            work.cancel()
            await asyncio.wait({work}, timeout=1.0)
    text = command.text[:MAX_LOGGED_CHARS]
    log.error("command not finished", command=kind.name, text=text, seconds=COMMAND_DEADLINE_SECONDS)
    time = format_duration(COMMAND_DEADLINE_SECONDS, command.language)
    line = command.say("bot.timeout", name=kind.called(command.language), time=time)
    return CommandResult.of_text(CommandOutcome.TIMEOUT, line)


async def _run(kind: CommandKind, command: Command) -> CommandResult:
    try:
        reply = await kind.run(command)
        if isinstance(reply, str):
            reply = Reply((Text(reply),))
        captions = "\n".join(body.text for body in reply.bodies if isinstance(body, Text))
        bodies = await asyncio.gather(*(_draw(body, captions, kind, command) for body in reply.bodies))
    except ChooseOne as error:
        return CommandResult.of_text(CommandOutcome.CANNOT, str(error), error.choices)
    except CannotAnswer as error:
        return CommandResult.of_text(CommandOutcome.CANNOT, str(error))
    except WxbridgeError as error:
        log.warning("command failed", command=kind.name, text=command.text[:MAX_LOGGED_CHARS], error=str(error))
        return CommandResult.of_text(
            CommandOutcome.FAILED, " ".join(tell_error(str(error), command.language).split())[:MAX_ERROR_CHARS]
        )
    except Exception:
        log.exception("command failed", command=kind.name, text=command.text[:MAX_LOGGED_CHARS])
        return CommandResult.of_text(CommandOutcome.FAILED, command.say("bot.failed"))
    said = bodies or [Text(command.say("bot.nothing"))]
    return CommandResult(CommandOutcome.ANSWERED, said, reply.then, reply.choices, reply.is_captioned)


def save_messages(result: CommandResult) -> CommandResult:
    """Say the same in as few messages as it can be: pictures without their captions, texts in one."""
    kept: list[Body] = []
    for body, following in zip_longest(result.bodies, result.bodies[1:]):
        if result.is_captioned and isinstance(body, Text) and isinstance(following, Picture):
            continue
        last = kept[-1] if kept else None
        if isinstance(body, Text) and isinstance(last, Text) and body.format == last.format:
            kept[-1] = replace(last, text=f"{last.text}\n\n{body.text}", mentions=(*last.mentions, *body.mentions))
        else:
            kept.append(body)
    return replace(result, bodies=kept)


async def _draw(body: Text | Picture | PictureSpec, captions: str, kind: CommandKind, command: Command) -> Body:
    """Make a body as it is sent: a picture is drawn, or replaced by why not, with its link where no caption has it."""
    if not isinstance(body, PictureSpec):
        return body
    try:
        content = await command.services.drawer.draw(body)
    except PictureError as error:
        failed = FailedDrawing(command.at.timestamp(), f"{kind.called(command.language)} {command.text}", str(error))
        command.services.failed_drawings.append(failed)
        log.warning(
            "a picture could not be made", command=kind.name, text=command.text[:MAX_LOGGED_CHARS], error=str(error)
        )
        unlinked = None if body.link and body.link in captions else body
        return Text(render.write_missing_picture(unlinked, str(error), command.language))
    return await command.services.picture_store.save(content)
