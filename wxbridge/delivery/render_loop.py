"""The loop that draws pictures ahead of sending, so that no text waits for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge.alerts import render
from wxbridge.core.errors import NothingToDraw, PictureError, StorageError
from wxbridge.core.model import Message, Picture, PictureSpec
from wxbridge.core.text.i18n import Language
from wxbridge.delivery import outbox
from wxbridge.delivery.common import Shared, cut_off

log = structlog.get_logger()

AT_ONCE = 2
"""How many pictures of alerts are drawn at the same time, and how many others: a dashboard takes longer."""
ALERT = "alert"
"""The kind of picture that is left out in peace where there is nothing to draw."""
LOOKED_AT = 100
"""How many messages are looked at for pictures that are not the same, and for those that are."""

Finish = Callable[[Connection, Message], None]
"""Note what became of a message's picture."""


class Painter:
    """Draws what waits to be drawn. A picture that cannot be made becomes a line with its link.

    An alert's picture of which there is none to be made leaves the outbox without a word. What several messages want is
    drawn once, and is one file for all of them.
    """

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._drawing: dict[int, PictureSpec | None] = {}
        """By message."""
        self.under_way: set[asyncio.Task[None]] = set()

    async def run(self, waker: asyncio.Event) -> None:
        """Draw until cancelled; what is being drawn then is drawn again at the next start."""
        try:
            while True:
                waker.clear()
                wait = 60.0
                try:
                    await self.round()
                except StorageError as error:
                    log.error("cannot look for pictures to draw", error=str(error))  # noqa: TRY400
                    wait = 1.0
                except Exception:
                    log.exception("looking for pictures to draw failed in a way it should not")
                    wait = 1.0
                # `wait_for` would swallow a cancellation that comes together with a wake-up (Python 3.11).
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await waker.wait()
        finally:
            for task in self.under_way:
                task.cancel()
            await asyncio.gather(*self.under_way, return_exceptions=True)

    async def round(self) -> None:
        """Start drawing what there is room for."""
        if not (self._room(of_alerts=True) or self._room(of_alerts=False)):
            return
        waiting = await self._shared.database.read(lambda c: outbox.to_draw(c, skip=self._drawing, limit=LOOKED_AT))
        for message in waiting:
            spec = _spec(message)
            if not self._room(of_alerts=_of_alert(spec)):
                continue
            if any(_same(spec, other) for other in self._drawing.values()):
                continue  # It gets the picture that is being drawn.
            self._drawing[message.id] = spec
            task = asyncio.create_task(self._draw(message, spec), name=f"draw {message.id}")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    def _room(self, *, of_alerts: bool) -> bool:
        return sum(_of_alert(spec) == of_alerts for spec in self._drawing.values()) < AT_ONCE

    async def _draw(self, message: Message, spec: PictureSpec | None) -> None:
        try:
            try:
                file = await self._file(spec)
            except PictureError as error:
                if isinstance(error, NothingToDraw) and _of_alert(spec):
                    await self._shared.store(partial(_finish, message=message, spec=spec, finish=_left_out))
                    log.info("no picture to draw", target=message.target, reason=error.reason, why=str(error))
                    return
                finish = partial(_as_text, reason=str(error), language=self._shared.language)
                for each in await self._shared.store(partial(_finish, message=message, spec=spec, finish=finish)):
                    self._shared.count(each.target, "no_picture")
                    about = {"message": each.id, "target": each.target, "error": str(error)}
                    log.warning("a picture could not be made", **about)
            else:
                finish = partial(_as_file, file=file)
                await self._shared.store(partial(_finish, message=message, spec=spec, finish=finish))
        finally:
            # Before the wake-up: whoever looks then must see that there is room.
            del self._drawing[message.id]
            self._shared.wake()

    async def _file(self, spec: PictureSpec | None) -> str:
        if spec is None:
            raise PictureError("nobody said what to draw")
        try:
            content = await self._shared.draw(spec)
            return await asyncio.to_thread(self._shared.picture_store.write, content)
        except PictureError:
            raise
        except OSError as error:
            raise PictureError(f"it could not be stored: {error.strerror}") from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and cut_off():
                raise
            log.exception("drawing failed in a way it should not", kind=spec.kind)
            raise PictureError(f"{type(error).__name__}: {error}") from error


def _spec(message: Message) -> PictureSpec | None:
    return message.body.spec if isinstance(message.body, Picture) else None


def _of_alert(spec: PictureSpec | None) -> bool:
    return spec is not None and spec.kind == ALERT


def _same(one: PictureSpec | None, other: PictureSpec | None) -> bool:
    """Whether two would be drawn alike. Their links may differ: those belong to the messages."""
    return one is not None and other is not None and (one.kind, one.params) == (other.kind, other.params)


def _finish(connection: Connection, *, message: Message, spec: PictureSpec | None, finish: Finish) -> list[Message]:
    """Finish a message whose picture was drawn, and those that wait for the same; returns them all."""
    others = outbox.to_draw(connection, skip=[message.id], limit=LOOKED_AT)
    done = [message, *(other for other in others if _same(_spec(other), spec))]
    for each in done:
        finish(connection, each)
    return done


def _as_file(connection: Connection, message: Message, *, file: str) -> None:
    outbox.drawn(connection, message.id, file)


def _left_out(connection: Connection, message: Message) -> None:
    outbox.leave_out(connection, message.id)


def _as_text(connection: Connection, message: Message, *, reason: str, language: Language) -> None:
    outbox.draw_as_text(connection, message.id, render.write_missing_picture(_spec(message), reason, language))
