"""Drawing charts in a process of its own, started when first needed, so that the event loop never waits.

The process finds the fonts once, draws one picture after another, and is ended when it has been idle, when a picture
takes too long, and with the bridge, also where that is killed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from wxbridge.core.closing import Closing
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import PictureError, PictureTimeout, describe_error
from wxbridge.pictures.charts.chart import Chart, PackedChart, pack_chart

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

log = structlog.get_logger()

DEADLINE_SECONDS = 20.0
"""For one picture, with the wait for its turn, where it has no deadline of its own."""
IDLE_SECONDS = 300.0
"""After which an unused process is ended."""
_MAX_CLOSE_SECONDS = 2.0


@dataclass(frozen=True)
class DrawnChart:
    """What the process answers."""

    png: bytes
    has_boxes: bool = False
    """Whether there are boxes in place of letters that no font here can draw."""


@dataclass(frozen=True)
class _ChartProcess:
    """The process that draws, and the executor whose only one it is."""

    executor: concurrent.futures.ProcessPoolExecutor
    process: BaseProcess


class ChartWorker(Closing):
    """Has charts drawn, one at a time. Use from one event loop, and `close()` in the end.

    Args:
        deadline: Seconds for one picture.
        idle: Seconds after which the unused process is ended.
    """

    def __init__(self, *, deadline: float = DEADLINE_SECONDS, idle: float = IDLE_SECONDS) -> None:
        self._deadline = deadline
        self._idle = idle
        self._turn = asyncio.Lock()
        self._running: _ChartProcess | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closing: asyncio.Task[None] | None = None
        self._warned = False

    @property
    def pid(self) -> int | None:
        """The process that draws, while there is one."""
        return None if self._running is None else self._running.process.pid

    async def draw(self, *charts: Chart, title: str = "", columns: int = 0) -> bytes:
        """Draw one chart, or several as `drawing.draw_packed` does.

        Raises:
            PictureError: the chart cannot be drawn (no retry); it took too long, or the process died (retry).
        """

        async def drawn() -> DrawnChart:
            packed = await asyncio.to_thread(lambda: [pack_chart(chart) for chart in charts])
            found: DrawnChart = await self._run(_draw_charts, packed, title, columns)
            return found

        return await self._within_deadline(drawn)

    async def bars(self, params: Mapping[str, Any]) -> bytes:
        """Draw a picture of the kind `bars`. Raises as `draw` does."""
        return await self._within_deadline(lambda: self._run(_draw_bars, dict(params)))

    async def close(self) -> None:
        """End the process, after the picture that it is drawing."""
        async with self._turn:
            self._stop_timer()
            running, self._running = self._running, None
            if running is None:
                return
            try:
                async with asyncio.timeout(_MAX_CLOSE_SECONDS):
                    await asyncio.to_thread(running.executor.shutdown)
            except TimeoutError:
                running.process.kill()

    async def _within_deadline(self, draw: Callable[[], Any]) -> bytes:
        limit = seconds_left(self._deadline)
        try:
            async with asyncio.timeout(limit):
                drawn: DrawnChart = await draw()
        except TimeoutError:
            raise PictureTimeout(f"the chart was not drawn within {limit:.3g} s") from None
        if drawn.has_boxes and not self._warned:
            self._warned = True
            log.warning(
                "charts have letters that no font here can draw; install one with Chinese letters, such as "
                "fonts-wqy-microhei or fonts-noto-cjk"
            )
        return drawn.png

    async def _run(self, task: Callable[..., Any], *given: Any) -> Any:
        """Run a task in the process, once it is its turn."""
        async with self._turn:
            self._stop_timer()
            is_done = False
            try:
                if self._running is None:
                    self._running = await asyncio.to_thread(_start_process)
                answer = await asyncio.get_running_loop().run_in_executor(self._running.executor, task, *given)
                is_done = True
            except concurrent.futures.BrokenExecutor:
                raise PictureError("the process that draws charts died; see its memory limit", retry=True) from None
            except PictureError:
                is_done = True
                raise
            except OSError as error:
                reason = describe_error(error)
                raise PictureError(f"the process that draws charts cannot be started: {reason}", retry=True) from None
            finally:
                if is_done:
                    self._timer = asyncio.get_running_loop().call_later(self._idle, self._close_idle)
                else:
                    self._kill()  # given up or dead: what it draws is nobody's
        return answer

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _close_idle(self) -> None:
        if not self._turn.locked():
            self._closing = asyncio.ensure_future(self.close())

    def _kill(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.process.kill()
            running.executor.shutdown(wait=False, cancel_futures=True)


def _start_process() -> _ChartProcess:
    spawning = multiprocessing.get_context("spawn")
    # Named in full: only with this is that half of the library read.
    executor = concurrent.futures.ProcessPoolExecutor(1, mp_context=spawning, initializer=_prepare_process)
    before = set(multiprocessing.active_children())
    executor.submit(os.getpid)  # starts it
    (process,) = set(multiprocessing.active_children()) - before
    return _ChartProcess(executor, process)


# ---------------------------------------------------------------- in the process


def _prepare_process() -> None:
    """Make this the process that draws."""
    # A Ctrl-C in the terminal is the bridge's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        os.nice(5)
    # Standard output is the bridge's: nothing that a library prints may end up in it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _end_with_parent() -> None:
    """End this process when the bridge is gone, also where it was killed and said nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _draw_charts(charts: list[PackedChart], title: str, columns: int) -> DrawnChart:
    from wxbridge.pictures.charts import drawing  # brings Pillow, which the bridge itself needs seldom

    return _guarded(
        lambda: DrawnChart(
            drawing.draw_packed(charts, title=title, columns=columns), drawing.has_unwritable(charts, title)
        )
    )


def _draw_bars(params: Mapping[str, Any]) -> DrawnChart:
    from wxbridge.pictures.charts import bars

    return _guarded(lambda: DrawnChart(bars.draw_bars(params)))


def _guarded(draw: Callable[[], DrawnChart]) -> DrawnChart:
    try:
        return draw()
    except PictureError:
        raise
    except Exception as error:  # noqa: BLE001 - one picture that fails leaves the next one its process
        raise PictureError(f"the chart cannot be drawn: {type(error).__name__}: {error}") from None
    finally:
        gc.collect()
