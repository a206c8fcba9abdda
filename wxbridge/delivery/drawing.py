"""The loop that draws pictures ahead of sending, so that no text waits for one."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from wxbridge import compose, outbox
from wxbridge.delivery.common import Shared, cut_off
from wxbridge.errors import PictureError, StorageError
from wxbridge.model import Message, Picture, PictureSpec

log = structlog.get_logger()

AT_ONCE = 2
"""How many pictures are drawn at the same time."""


class Painter:
    """Draws what waits to be drawn. A picture that cannot be made becomes a line with its link."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._drawing: set[int] = set()
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
        room = AT_ONCE - len(self.under_way)
        if room <= 0:
            return
        waiting = await self._shared.database.read(lambda c: outbox.to_draw(c, skip=self._drawing, limit=room))
        for message in waiting:
            self._drawing.add(message.id)
            task = asyncio.create_task(self._draw(message), name=f"draw {message.id}")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _draw(self, message: Message) -> None:
        spec = message.body.spec if isinstance(message.body, Picture) else None
        try:
            file = await self._file(spec)
            await self._shared.store(lambda c: outbox.drawn(c, message.id, file))
        except PictureError as error:
            line = compose.picture_missing(spec, str(error), self._shared.language)
            self._shared.count(message.target, "no_picture")
            log.warning("a picture could not be made", message=message.id, target=message.target, error=str(error))
            await self._shared.store(lambda c: outbox.draw_as_text(c, message.id, line))
        finally:
            self._drawing.discard(message.id)
            self._shared.wake()

    async def _file(self, spec: PictureSpec | None) -> str:
        if spec is None:
            raise PictureError("nobody said what to draw")
        try:
            content = await self._shared.draw(spec)
            suffix = outbox.suffix_of(content)
            return await asyncio.to_thread(outbox.save_picture, self._shared.pictures_dir, content, suffix)
        except PictureError:
            raise
        except OSError as error:
            raise PictureError(f"it could not be stored: {error.strerror}") from error
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and cut_off():
                raise
            log.exception("drawing failed in a way it should not", kind=spec.kind)
            raise PictureError(f"{type(error).__name__}: {error}") from error
