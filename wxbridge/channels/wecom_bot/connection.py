"""One long connection: subscribe, stay alive, ask and be answered. It does not connect again; its channel does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import aiohttp
import structlog

from wxbridge.channels.wecom_bot.frames import EVENT, MESSAGE, PING, SUBSCRIBE, Frame, build, new_req_id, parse, text
from wxbridge.core.leadership import ensure_leading
from wxbridge.core.tls import make_tls_context

log = structlog.get_logger()

MAX_FRAME_BYTES = 8 * 1024 * 1024
"""Of one frame that is read; a larger one ends the connection."""


class BotConnectionFault(Exception):
    """The connection did not do what it was asked. `str(error)` is fit to be shown."""


class BotRequestNotSent(BotConnectionFault):
    """The request never left: nobody listens, or the connection was gone before."""


class BotNoAnswer(BotConnectionFault):
    """The request went out and no answer came: it may have been done."""


class BotConnectionLost(BotConnectionFault):
    """The connection ended: cut, closed, or silent for too long."""


class BotTakenOver(BotConnectionFault):
    """Another connection of the same bot took over."""


class SubscriptionRefused(BotConnectionFault):
    """The subscription was answered with a code."""

    def __init__(self, code: int | None, words: str) -> None:
        super().__init__(f"{code} {words}".strip())
        self.code = code


@dataclass(frozen=True)
class BotTiming:
    """The channel's times, in seconds; the defaults are for real life, tests bring their own."""

    connect: float = 15.0
    """For the connection, and for the answer to the subscription."""
    answer: float = 5.0
    """For the answer to a message: after that it may have been sent, or not."""
    upload: float = 30.0
    """For the answer to each chunk of a picture; a slow line takes a while for half a megabyte."""
    upload_pause: float = 0.5
    """Before a chunk is tried again; then twice as long."""
    ping: float = 30.0
    pong: float = 10.0
    """For the answer to a ping; two in a row without one, and the connection is given up."""
    backoff: float = 1.0
    """The first pause after a failure; it doubles, is jittered, and ends at `backoff_most`."""
    backoff_most: float = 30.0
    steady: float = 30.0
    """A connection that lasted as long as this was a good one: the pauses begin anew."""
    unauthorised: float = 60.0
    """Between two tries with a secret that was refused."""
    takeover: float = 600.0
    """How long another connection of the bot is left alone: subscribing would end it. It doubles each time."""
    takeover_most: float = 3600.0
    close: float = 1.0
    """For the connection to end in good order."""


class BotConnection:
    """A subscribed connection. `on_callback` is called with every callback frame, on the event loop."""

    def __init__(self, url: str, timing: BotTiming, on_callback: Callable[[Frame], None], ca: Path | None) -> None:
        self._url = url
        self._timing = timing
        self._on_callback = on_callback
        self._ca = ca
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._waiting: dict[str, asyncio.Future[Frame]] = {}
        self._ended: asyncio.Future[BotConnectionFault] = asyncio.get_running_loop().create_future()
        self._reader: asyncio.Task[None] | None = None
        self._pinger: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()
        """Set to have the connection tested at once."""
        self._heard = asyncio.Event()
        """Set at every frame."""

    async def open(self, bot_id: str, secret: str) -> None:
        """Connect and subscribe; call `close` whatever comes of it.

        Raises:
            BotRequestNotSent: it was not reached.
            SubscriptionRefused: it does not want this bot.
            BotNoAnswer, BotConnectionLost, BotTakenOver: it fell silent, or ended.
        """
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with asyncio.timeout(self._timing.connect):
                self._socket = await self._http.ws_connect(
                    self._url,
                    ssl=await asyncio.to_thread(make_tls_context, self._ca) if self._url.startswith("wss:") else True,
                    max_msg_size=MAX_FRAME_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self._timing.close),
                )
        except TimeoutError:
            raise BotRequestNotSent(f"no connection within {self._timing.connect:g} s") from None
        except aiohttp.WSServerHandshakeError as error:
            raise BotRequestNotSent(f"it answers HTTP {error.status}, not a long connection; check `ws_url`") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BotRequestNotSent(str(error) or repr(error)) from None
        self._reader = asyncio.create_task(self._read(self._socket), name="wecom bot read")
        body = {"bot_id": bot_id, "secret": secret}
        answer = await self.request(SUBSCRIBE, body, seconds=self._timing.connect)
        if answer.errcode != 0:
            raise SubscriptionRefused(answer.errcode, answer.errmsg)
        self._pinger = asyncio.create_task(self._ping(), name="wecom bot ping")

    async def serve(self) -> NoReturn:
        """Stay until the connection ends.

        Raises:
            BotConnectionLost, BotTakenOver: why it ended.
        """
        raise await asyncio.shield(self._ended)

    async def close(self) -> None:
        """End the connection and all that runs for it; takes a second or so at the most."""
        self.give_up(BotConnectionLost("the connection was closed by wxbridge"))
        for task in (self._pinger, self._reader):
            if task is not None:
                task.cancel()
                await asyncio.wait({task}, timeout=self._timing.close)
        if self._socket is not None:
            with suppress(TimeoutError, aiohttp.ClientError, OSError):
                async with asyncio.timeout(self._timing.close):
                    await self._socket.close()
        if self._http is not None:
            await self._http.close()

    def give_up(self, fault: BotConnectionFault) -> None:
        """End `serve` with a fault; nothing happens where it has ended. Requests under way are without an answer."""
        if self._ended.done():
            return
        self._ended.set_result(fault)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BotNoAnswer(f"the connection ended before the answer: {fault}"))

    # Asking

    async def request(self, cmd: str, body: Mapping[str, Any] | None, *, seconds: float | None = None) -> Frame:
        """Send a request and give its answer, whatever its code; waits `seconds` at the most.

        Raises:
            BotRequestNotSent: it never left.
            BotNoAnswer: none came in time; it may have been done.
        """
        socket, limit = self._socket, seconds or self._timing.answer
        if socket is None or socket.closed or self._ended.done():
            raise BotRequestNotSent("the connection is gone")
        req_id = new_req_id(cmd)
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._waiting[req_id] = answer
        try:
            async with asyncio.timeout(limit):
                await _write(socket, build(cmd, req_id, body))
                return await answer
        except TimeoutError:
            self._doubt.set()
            raise BotNoAnswer(f"no answer to {cmd} within {limit:g} s") from None
        finally:
            del self._waiting[req_id]
            if answer.done() and not answer.cancelled():
                answer.exception()

    # Reading

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        fault = "it was cut off"
        try:
            while True:
                message = await socket.receive()
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    self._heard.set()
                    self._take(message.data)
                    continue
                if message.type is aiohttp.WSMsgType.ERROR:
                    fault = str(message.data) or repr(message.data)
                elif socket.close_code not in (None, aiohttp.WSCloseCode.ABNORMAL_CLOSURE):
                    fault = f"WeCom closed it ({socket.close_code})"
                break
        except (aiohttp.ClientError, OSError) as error:
            fault = str(error) or repr(error)
        finally:
            self.give_up(BotConnectionLost(fault))

    def _take(self, raw: str | bytes) -> None:
        frame = parse(raw)
        if frame is None:
            log.warning("wecom bot frame not read", size=len(raw), start=str(raw[:80]))
            return
        answer = self._waiting.get(frame.req_id) if not frame.cmd else None
        if answer is not None:
            if not answer.done():
                answer.set_result(frame)
        elif frame.cmd == EVENT and _event(frame) == "disconnected_event":
            self.give_up(BotTakenOver("another connection of this bot took over"))
        elif frame.cmd in (MESSAGE, EVENT):
            try:
                self._on_callback(frame)
            except Exception:
                log.exception("wecom bot callback failed", cmd=frame.cmd)
        else:
            log.debug("wecom bot frame ignored", cmd=frame.cmd, req_id=frame.req_id, errcode=frame.errcode)

    # Staying alive

    async def _ping(self) -> None:
        timing, silent = self._timing, 0
        while True:
            if not silent:
                with suppress(TimeoutError):
                    async with asyncio.timeout(timing.ping):
                        await self._doubt.wait()
            self._doubt.clear()
            self._heard.clear()
            try:
                await self.request(PING, None, seconds=timing.pong)
            except BotRequestNotSent:
                self.give_up(BotConnectionLost("it was cut off"))
                return
            except BotNoAnswer:
                # An upload on a slow line may hold the ping up: whatever is heard is life.
                silent = 0 if self._heard.is_set() else silent + 1
                self._doubt.clear()
            else:
                silent = 0
            if silent > 1:
                self.give_up(BotConnectionLost(f"two pings were not answered within {timing.pong:g} s each"))
                return


async def _write(socket: aiohttp.ClientWebSocketResponse, frame: str) -> None:
    ensure_leading()
    try:
        await socket.send_str(frame)
    except ConnectionError as error:
        # aiohttp says this before it writes; any other fault comes while it waits for what was written to leave.
        if "closing transport" in str(error):
            raise BotRequestNotSent("the connection is gone") from None
        raise BotNoAnswer(f"the connection ended while it was being sent: {error}") from None


def _event(frame: Frame) -> str:
    event = frame.body.get("event")
    return text(event.get("eventtype")) if isinstance(event, dict) else ""
