"""The one warm browser: the system's Chromium, driven by Playwright, a fresh context for every shot.

It starts with the first shot, is replaced when it crashes, and is closed after a while without shots (the
browser and its driver hold some 300 MB). The flags and the way of waiting follow shared/facts/rendering.md,
but for one thing that turned out otherwise: a header added by `context.route` travels on with a redirect to
another host, and one added by `route.fetch` is lost on a redirect within the host. So the credentials are
put on through the DevTools protocol, which asks again at every hop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from wxbridge.core.closing import Closing
from wxbridge.core.errors import PictureError, PictureTimeout
from wxbridge.core.memory import read_free_bytes
from wxbridge.pictures.pages.capture import (
    Capture,
    ShotProgress,
    cookies_of,
    explain_error,
    format_seconds,
    open_context,
)
from wxbridge.pictures.pages.program import INSTALL, find_browser
from wxbridge.pictures.pages.shot import Shot

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, Error, Playwright

log = structlog.get_logger(__name__)

_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-client-side-phishing-detection",
    "--disable-quic",
    "--no-first-run",
    "--no-pings",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--mute-audio",
    "--font-render-hinting=none",
    "--force-color-profile=srgb",
    "--disable-dev-shm-usage",  # Docker's /dev/shm has 64 MB
)
USUAL_SHOTS, MAX_SHOTS = 2, 4
_BYTES_PER_SHOT = 700 * 2**20
"""Free memory for each page that is open; a large dashboard takes some 400 MB of it."""
_CLOSE_SECONDS = 5.0
_CANCEL_SECONDS = 1.0
"""That a shot which is given up may take to close its page; then that goes on behind its back."""
_OPEN_SECONDS = 10.0
"""To open a page in the browser; one that takes longer hangs, and is replaced."""
_CRASH_WORDS = (
    "has been closed",
    "crashed",
    "Connection closed",
    "Browser closed",
    "Session closed",
    "Target closed",
)


def count_shots(free_bytes: int | None = None) -> int:
    """Tell how many pages are shot side by side: two, one where memory is scarce, up to four where there is plenty."""
    free = read_free_bytes() if free_bytes is None else free_bytes
    return max(1, min(MAX_SHOTS, free // _BYTES_PER_SHOT)) if free else USUAL_SHOTS


class _BrowserCrashed(Exception):
    """The browser, its driver or the page's renderer died during a shot."""


class _RunningBrowser:
    """A running browser with its driver."""

    def __init__(self, playwright: Playwright, chromium: Chromium, pid: int | None, trusted: frozenset[str]) -> None:
        self.playwright = playwright
        self.chromium = chromium
        self.pid = pid
        self.trusted = trusted
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        chromium.on("disconnected", lambda _: self.lost())

    def lost(self) -> None:
        """Take note that it is of no use any more."""
        _set(self.gone)

    @property
    def alive(self) -> bool:
        return not self.gone.done() and self.chromium.is_connected()

    async def close(self) -> None:
        """Close browser and driver; a browser that does not answer is killed."""
        if not await _quietly(self.chromium.close()) and self.pid is not None and self.chromium.is_connected():
            with contextlib.suppress(OSError):
                os.kill(self.pid, 9)
        await _quietly(self.playwright.stop())
        self.lost()


async def _quietly(closing: Awaitable[Any]) -> bool:
    """Wait for something to close, whatever becomes of it; tells whether it closed in time."""
    from playwright.async_api import Error

    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closing
    except TimeoutError:
        return False
    except (Error, OSError, RuntimeError) as error:  # it is dead already
        log.debug("browser.close", error=str(error))
    return True


class Browser(Closing):
    """One warm browser for all shots. Use from one event loop; `close()` it in the end.

    Args:
        executable: The browser to drive; found by `find_browser` when not given.
        idle: Seconds without a shot after which it is closed (the next shot starts it again).
        shots: How many shots are taken at once; further ones wait, within their deadlines. By itself as many as
            memory allows, see `count_shots`.
    """

    def __init__(
        self,
        executable: Path | None = None,
        *,
        idle: float = 300.0,
        shots: int | None = None,
    ) -> None:
        self._executable = executable
        self._idle = idle
        self._slots = asyncio.Semaphore(shots or count_shots())
        self._lock = asyncio.Lock()
        self._session: _RunningBrowser | None = None
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._trusted: frozenset[str] = frozenset()
        self._sandbox = hasattr(os, "geteuid") and os.geteuid() != 0  # as root Chromium has none

    @property
    def pid(self) -> int | None:
        """The process id of the running browser; None while there is none."""
        return self._session.pid if self._session and self._session.alive else None

    async def shoot(self, shot: Shot) -> bytes:
        """Shoot a page as PNG, once it is ready (see `readiness`); never a blank picture.

        A browser or renderer that dies meanwhile is replaced, and the shot taken again, once.

        Raises:
            LoginPage: a login page came instead, or the page answered 401.
            PictureError: a sentence that says what went wrong; `retry` tells whether another attempt may
            help.
        """
        progress = ShotProgress(asyncio.get_running_loop().time() + shot.deadline)
        self._enter()
        try:
            async with asyncio.timeout_at(progress.until), self._slots:
                for last in (False, True):
                    try:
                        return await self._attempt(shot, progress)
                    except _BrowserCrashed:
                        log.warning("browser.crashed", page=shot.name, again=not last)
                raise PictureError(f"the browser crashed twice while shooting {shot.name}", retry=True)
        except TimeoutError:
            late = f"{shot.name} could not be shot within {format_seconds(shot.deadline)}"
            raise PictureTimeout(f"{late}: time ran out while {progress.doing}") from None
        finally:
            self._leave()

    async def close(self) -> None:
        """Close the browser for good, and wait until its processes are gone."""
        self._closed = True
        self._cancel_timer()
        async with self._lock:
            await self._stop()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # ------------------------------------------------------------ the browser's life

    def _enter(self) -> None:
        if self._closed:
            raise PictureError("the browser has been closed: the bridge is stopping")
        self._users += 1
        self._cancel_timer()

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0 and not self._closed:
            later = asyncio.get_running_loop().call_later
            self._timer = later(self._idle, lambda: self._spawn(self._stop_if_unused()))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it gets it; where nobody does, asyncio is not to complain

    async def _stop_if_unused(self) -> None:
        async with self._lock:
            if self._users == 0:
                log.info("browser.idle", seconds=self._idle)
                await self._stop()

    async def _stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ready(self) -> _RunningBrowser:
        # Shielded: a shot that is cancelled while the browser starts must not leave half a browser behind.
        return await asyncio.shield(self._spawn(self._start()))

    async def _start(self) -> _RunningBrowser:
        async with self._lock:
            if self._closed:
                raise PictureError("the browser has been closed: the bridge is stopping")
            if self._session is not None and self._session.alive and self._session.trusted == self._trusted:
                return self._session
            await self._stop()
            self._session = await self._launch()
            return self._session

    async def _launch(self) -> _RunningBrowser:
        executable = find_browser(self._executable)
        if executable is None:
            named = self._executable or os.environ.get("WXBRIDGE_BROWSER")
            what = f"there is no browser at {named}" if named else "no Chromium, Chrome or Edge is installed"
            raise PictureError(f"{what}: `{INSTALL}`, or say where one is with `pictures: browser:`")
        from playwright.async_api import Error, async_playwright

        trusted = self._trusted
        flags = [*_FLAGS, *([f"--ignore-certificate-errors-spki-list={','.join(sorted(trusted))}"] if trusted else [])]
        try:
            playwright = await async_playwright().start()
        except Exception as error:  # its own type says nothing, and a small Debian lacks a library of its driver
            raise PictureError(
                f"the browser's driver does not start ({error}); "
                "a small Debian lacks a library of it: `apt install libatomic1`"
            ) from error
        try:
            chromium = await self._launch_chromium(playwright, executable, flags)
            return _RunningBrowser(playwright, chromium, await _pid(chromium), trusted)
        except BaseException as error:
            await _quietly(playwright.stop())
            if isinstance(error, Error):
                raise PictureError(f"{executable} does not start: {_why_not(error)}", retry=True) from None
            raise

    async def _launch_chromium(self, playwright: Playwright, executable: Path, flags: list[str]) -> Chromium:
        from playwright.async_api import Error

        while True:
            try:
                return await playwright.chromium.launch(
                    executable_path=executable,
                    headless=True,
                    args=flags,
                    chromium_sandbox=self._sandbox,
                    handle_sigint=False,  # the bridge closes it in its own order
                    handle_sigterm=False,
                    handle_sighup=False,
                    timeout=30_000,
                )
            except Error as error:
                if not self._sandbox or "sandbox" not in error.message.lower():
                    raise
                # Containers commonly forbid user namespaces, without which Chromium has no sandbox.
                log.warning("browser.no_sandbox", browser=str(executable))
                self._sandbox = False

    def _discard(self, session: _RunningBrowser) -> None:
        """Give up a browser that hangs: the next shot gets another one."""
        log.warning("browser.hangs", pid=session.pid)
        session.lost()
        self._spawn(self._replace(session))

    async def _replace(self, session: _RunningBrowser) -> None:
        async with self._lock:
            if self._session is session:
                await self._stop()

    # ------------------------------------------------------------ one shot

    async def _attempt(self, shot: Shot, progress: ShotProgress) -> bytes:
        """Take a shot, and notice at once when the browser or the page's renderer dies."""
        progress.doing = "starting the browser"
        if shot.trust_key and shot.trust_key not in self._trusted:
            self._trusted |= {shot.trust_key}  # another browser is needed; a running shot is taken again in it
        session = await self._ready()
        crashed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        work: asyncio.Task[bytes] = self._spawn(self._in_context(session, shot, progress, crashed))
        try:
            waited: set[asyncio.Future[Any]] = {work, session.gone, crashed}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work}, timeout=_CANCEL_SECONDS)
        if not work.done() or work.cancelled():
            raise _BrowserCrashed
        return work.result()

    async def _in_context(
        self, session: _RunningBrowser, shot: Shot, progress: ShotProgress, crashed: asyncio.Future[None]
    ) -> bytes:
        from playwright.async_api import Error

        context: BrowserContext | None = None
        try:
            progress.doing = "opening a page in the browser"
            context = await self._open(session, shot)
            page = await context.new_page()
            page.on("crash", lambda _: _set(crashed))
            png = await Capture(page, shot, progress).take()
            if shot.auth and shot.auth.keep:
                shot.auth.keep(await cookies_of(context, shot.auth))
            return png  # noqa: TRY300 - what follows is for errors only
        except Error as error:
            if crashed.done() or not session.alive or any(text in error.message for text in _CRASH_WORDS):
                if not crashed.done():
                    session.lost()
                raise _BrowserCrashed from None
            raise explain_error(error, shot) from None
        finally:
            if context is not None and session.alive and not await _quietly(context.close()):
                self._discard(session)

    async def _open(self, session: _RunningBrowser, shot: Shot) -> BrowserContext:
        """Open a context; a browser that cannot even do that is replaced."""
        opening: asyncio.Task[BrowserContext] = self._spawn(open_context(session.chromium, shot))
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                return await asyncio.shield(opening)
        except TimeoutError:
            self._discard(session)
            raise _BrowserCrashed from None
        except asyncio.CancelledError:
            self._spawn(_close_when_open(opening))
            raise


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _close_when_open(opening: asyncio.Task[BrowserContext]) -> None:
    """Close a context that nobody waits for any more."""
    await asyncio.wait({opening}, timeout=_OPEN_SECONDS)
    if opening.done() and not opening.cancelled() and opening.exception() is None:
        await _quietly(opening.result().close())


async def _pid(chromium: Chromium) -> int | None:
    """Ask the browser for its process id, by which one that hangs can be ended."""
    from playwright.async_api import Error

    try:
        devtools = await chromium.new_browser_cdp_session()
        found = await devtools.send("SystemInfo.getProcessInfo")
        await devtools.detach()
        return next((int(info["id"]) for info in found["processInfo"] if info["type"] == "browser"), None)
    except Error:
        return None


def _why_not(error: Error) -> str:
    """The line of Playwright's long launch error that says why."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "cannot" in line.lower()]
    return (telling or lines or ["no reason was given"])[-1][:300]
