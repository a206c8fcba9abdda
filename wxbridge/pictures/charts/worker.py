"""Drawing charts in a process of its own, started when first needed, so that the event loop never waits.

The process imports matplotlib once (a second or two, the first time on a machine more: it lists the fonts), draws one
picture after another, and is ended when it has been idle, when a picture takes too long, and with the bridge: it stops
at the end of its input. In a thread, matplotlib held the event loop for 40 ms (shared/facts/rendering.md).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import struct
import sys
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import structlog

from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import PictureError, PictureTimeout
from wxbridge.pictures.charts.chart import Chart, packed

log = structlog.get_logger()

DEADLINE = 20.0
"""Seconds for one picture, with the wait for its turn, where it has no deadline of its own."""
IDLE = 300.0
"""Seconds after which an unused process is ended."""
_LENGTH = struct.Struct(">I")
_HEAD = struct.Struct(">cI")
_DRAWN, _BOXES, _REFUSED = b"d", b"b", b"r"
"""What came of it: a picture; a picture with boxes in place of letters; a sentence that says why there is none."""
_CLOSE_LIMIT = 2.0


class Charts:
    """Has charts drawn, one at a time. Use from one event loop, and `close()` in the end.

    Args:
        fonts: A directory of ours in which matplotlib may keep its list of the system's fonts; without one it looks
            for a place itself, and where home is not writable it makes the list anew with each process.
        deadline: Seconds for one picture.
        idle: Seconds after which the unused process is ended.
    """

    def __init__(self, *, fonts: Path | None = None, deadline: float = DEADLINE, idle: float = IDLE) -> None:
        self._fonts = fonts
        self._deadline = deadline
        self._idle = idle
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[Any]] = set()
        self._warned = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        """The process that draws, while there is one."""
        return None if self._process is None else self._process.pid

    async def draw(self, *charts: Chart, title: str = "", columns: int = 0) -> bytes:
        """Draw one chart, or several as `chart.draw_many` does.

        Raises:
            PictureError: the chart cannot be drawn (no retry); it took too long, or the process died (retry).
        """
        return await self._asked("charts", (charts, title, columns))

    async def bars(self, params: Mapping[str, Any]) -> bytes:
        """Draw what `bars.render` draws. Raises as `draw` does."""
        return await self._asked("bars", dict(params))

    async def _asked(self, what: str, given: Any) -> bytes:
        limit = seconds_left(self._deadline)
        try:
            async with asyncio.timeout(limit):
                request = await asyncio.to_thread(_request, what, given)
                async with self._turn:
                    return await self._exchange(request)
        except TimeoutError:
            raise PictureTimeout(f"the chart was not drawn within {limit:.3g} s") from None

    async def warm(self) -> None:
        """Start the process, so that the first picture need not wait for its imports."""
        async with self._turn:
            await self._started()

    async def close(self) -> None:
        """End the process, after the picture that it is drawing."""
        async with self._turn:
            if self._timer is not None:
                self._timer.cancel()
            await self._end()
        ending = self._ending - {asyncio.current_task()}
        if ending:
            await asyncio.wait(ending, timeout=_CLOSE_LIMIT)

    async def _exchange(self, request: bytes) -> bytes:
        process = await self._started()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        whole = False
        try:
            process.stdin.write(_LENGTH.pack(len(request)))
            process.stdin.write(request)
            await process.stdin.drain()
            kind, length = _HEAD.unpack(await process.stdout.readexactly(_HEAD.size))
            answer = await process.stdout.readexactly(length)
            whole = True
        except (asyncio.IncompleteReadError, ConnectionError):
            raise PictureError("the process that draws charts died; see its memory limit", retry=True) from None
        finally:
            if not whole:
                # Given up or dead: what it answers next would be this picture.
                self._kill()
        self._rest()
        if kind == _REFUSED:
            raise PictureError(answer.decode())
        if kind == _BOXES and not self._warned:
            self._warned = True
            log.warning(
                "charts have letters that no font here can draw; install one with Chinese letters, such as "
                "fonts-wqy-microhei or fonts-noto-cjk"
            )
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._timer is not None:
            self._timer.cancel()
        if self._process is not None and self._process.returncode is None:
            return self._process
        # One thread for numpy's linear algebra, which is not used: others cost memory.
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"}
        if self._fonts is not None:
            environment["MPLCONFIGDIR"] = str(self._fonts)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", f"from {__name__} import main; main()"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise PictureError(
                f"the process that draws charts cannot be started: {error.strerror or error}", retry=True
            ) from None
        return self._process

    def _rest(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._idle, self._end_idle)

    def _end_idle(self) -> None:
        if self._turn.locked():
            return
        self._keep(self.close())

    def _keep(self, ending: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(ending)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        self._keep(process.wait())

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await process.wait()
            self._process = None
        except TimeoutError:
            self._kill()


def _request(what: str, given: Any) -> bytes:
    if what == "charts":
        charts, title, columns = given
        given = [packed(chart) for chart in charts], title, columns
    return pickle.dumps((what, given), protocol=pickle.HIGHEST_PROTOCOL)


# ---------------------------------------------------------------- the process


def main() -> None:
    """Be the process: read requests, write answers, until the input ends."""
    import gc
    import logging
    import signal

    # A Ctrl-C in the terminal is the bridge's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):
        os.nice(5)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints may end up among the answers
    import matplotlib as mpl

    mpl.rcdefaults()  # not what a matplotlibrc in this directory says
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from wxbridge.pictures.charts.fonts import fonts

    fonts()
    while (request := _read(requests)) is not None:
        kind, answer = _answer(request)
        answers.write(_HEAD.pack(kind, len(answer)))
        answers.write(answer)
        answers.flush()
        del request, answer
        gc.collect()


def _read(requests: BinaryIO) -> bytes | None:
    head = requests.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    request = requests.read(length)
    return request if len(request) == length else None


def _answer(request: bytes) -> tuple[bytes, bytes]:
    from wxbridge.pictures.charts import bars, drawing

    try:
        what, given = pickle.loads(request)  # noqa: S301 - from our own parent
        if what == "bars":
            return _DRAWN, bars.render(given)
        charts, title, columns = given
        picture = drawing.render(charts, title=title, columns=columns)
        return (_BOXES if drawing.has_unwritable(charts, title) else _DRAWN), picture
    except PictureError as error:
        return _REFUSED, str(error).encode()
    except Exception as error:  # noqa: BLE001 - one picture that fails leaves the next one its process
        return _REFUSED, f"the chart cannot be drawn: {type(error).__name__}: {error}".encode()
