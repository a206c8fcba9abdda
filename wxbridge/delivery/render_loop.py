"""The loop that draws pictures ahead of sending, so that no text waits for one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from wxbridge.core.errors import NothingToDraw, PictureError, StorageError
from wxbridge.core.model import Message, PictureSpec
from wxbridge.delivery.context import DeliveryContext, is_cancelled
from wxbridge.delivery.missing_pictures import miss_pictures
from wxbridge.delivery.outbox_statements import is_drawn_alike, spec_of

log = structlog.get_logger()

MAX_DRAWINGS = 2
"""How many pictures of alerts are drawn at the same time, and how many others: a dashboard takes longer."""
ALERT_KIND = "alert"
"""The kind of picture that is left out in peace where there is nothing to draw."""
MAX_MESSAGES_LOOKED_AT = 100
"""How many messages are looked at for pictures that are not the same."""
IDLE_SECONDS = 60.0
RETRY_SECONDS = 1.0


class RenderLoop:
    """Draws what waits to be drawn. A picture that cannot be made is missing, which its text may say.

    An alert's picture of which there is none to be made leaves the outbox without a word. What several messages want is
    drawn once, and is one file for all of them.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._drawing: dict[int, PictureSpec | None] = {}
        """By message."""
        self.waker = asyncio.Event()
        """Set it to have the loop look again."""
        self.under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Draw until cancelled; what is being drawn then is drawn again at the next start."""
        try:
            while True:
                self.waker.clear()
                wait = IDLE_SECONDS
                try:
                    await self.round()
                except StorageError as error:
                    log.error("cannot look for pictures to draw", error=str(error))  # noqa: TRY400
                    wait = RETRY_SECONDS
                except Exception:
                    log.exception("looking for pictures to draw failed in a way it should not")
                    wait = RETRY_SECONDS
                # `wait_for` would swallow a cancellation that comes together with a wake-up (Python 3.11).
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self.waker.wait()
        finally:
            for task in self.under_way:
                task.cancel()
            await asyncio.gather(*self.under_way, return_exceptions=True)

    async def round(self) -> None:
        """Start drawing what there is room for."""
        if not (self._has_room(of_alerts=True) or self._has_room(of_alerts=False)):
            return
        waiting = await self._context.outbox.select_undrawn(skip=list(self._drawing), limit=MAX_MESSAGES_LOOKED_AT)
        for message in waiting:
            spec = spec_of(message)
            if not self._has_room(of_alerts=_is_of_alert(spec)):
                continue
            if any(is_drawn_alike(spec, other) for other in self._drawing.values()):
                continue  # It gets the picture that is being drawn.
            self._drawing[message.id] = spec
            task = asyncio.create_task(self._draw(message, spec), name=f"draw {message.id}")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    def _has_room(self, *, of_alerts: bool) -> bool:
        return sum(_is_of_alert(spec) == of_alerts for spec in self._drawing.values()) < MAX_DRAWINGS

    async def _draw(self, message: Message, spec: PictureSpec | None) -> None:
        context, outbox = self._context, self._context.outbox
        try:
            try:
                file = await self._file(spec)
            except PictureError as error:
                if isinstance(error, NothingToDraw) and _is_of_alert(spec):
                    await context.insist(outbox.leave_out_picture, message)
                    log.info("no picture to draw", target=message.target, reason=error.reason, why=str(error))
                    return
                await miss_pictures(context, message, str(error))
            else:
                await context.insist(outbox.record_picture, message, file)
        finally:
            # Before the wake-up: whoever looks then must see that there is room.
            del self._drawing[message.id]
            self._context.outbox.wake()

    async def _file(self, spec: PictureSpec | None) -> str:
        if spec is None:
            raise PictureError("nobody said what to draw")
        try:
            content = await self._context.drawer.draw(spec)
            return await self._context.picture_store.keep(content)
        except PictureError:
            raise
        except StorageError as error:
            raise PictureError(str(error)) from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            log.exception("drawing failed in a way it should not", kind=spec.kind)
            raise PictureError(f"{type(error).__name__}: {error}") from error


def _is_of_alert(spec: PictureSpec | None) -> bool:
    return spec is not None and spec.kind == ALERT_KIND
