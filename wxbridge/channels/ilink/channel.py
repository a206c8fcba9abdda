"""The ilink channel: one person's login, what they write, and what is written to them while their window is open."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import structlog

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.connected import Backoff, SeenIds, StatusTracker, handle_each
from wxbridge.channels.ilink.client import (
    DEAD_LOGIN,
    TEXT_ITEM,
    Credentials,
    IlinkClient,
    IlinkFault,
    IlinkRefusal,
)
from wxbridge.channels.ilink.inbound import IlinkMessage, read_message
from wxbridge.channels.ilink.login import POLL_SECONDS, log_in
from wxbridge.channels.ilink.settings import CAPABILITIES, IlinkSettings, IlinkTarget, lanes
from wxbridge.channels.ilink.store import PersonState, PersonStore
from wxbridge.channels.ilink.window import RESERVED_MESSAGES, SendWindow
from wxbridge.channels.uploads import read_picture
from wxbridge.core.errors import (
    Held,
    NotReady,
    Offline,
    Permanent,
    SendError,
    StorageError,
    Throttled,
    Transient,
    Unknown,
)
from wxbridge.core.model import (
    ChannelState,
    ChannelStatus,
    Inbound,
    OnInbound,
    OnStatus,
    Outgoing,
    Priority,
    Receipt,
    SendWindowState,
    Text,
    WantedDigits,
)
from wxbridge.core.recent import RecentDict
from wxbridge.core.sliding_window import Rate, SlidingWindow
from wxbridge.core.text.i18n import say

log = structlog.get_logger()

T = TypeVar("T")

STORED_LOGIN_SECONDS = 5.0
"""Between looks for a login that another process has stored."""
LOOK_AT_WINDOW_SECONDS = 60.0
MESSAGES_AT_ONCE = 3
"""How many messages go one by one before what else comes is merged."""
COLLECT_SECONDS = 10.0
"""For which it is collected."""
MAX_UNSHOWN_SENDS = 3
"""How often one message is sent that the service takes and does not show."""
RATE_PAUSE_SECONDS = 300.0
UNSHOWN_PAUSE_SECONDS = 60.0
RESERVED_RETRY_SECONDS = 5.0
_REPEAT_PAUSE_SECONDS = 1.0
_CLOSED_WORDS = ("prepare failed", "unknown error")
_RATE_WORDS = ("rate limited", "freq limit")
_CLOSED_CODES, _RATE_CODES = (-3,), (-12,)
_BAD_REQUEST = -2
_MAX_REMEMBERED = 200


@dataclass(frozen=True)
class IlinkTiming:
    """Seconds between tries; tests have shorter ones."""

    poll: float = POLL_SECONDS
    backoff: float = 2.0
    backoff_most: float = 60.0


class IlinkChannel:
    """One person; implements `model.Channel`. The context's lane (`ilink:NAME`) says who.

    ONLINE while the person may be written to. WAITING_FOR_WORD where they have not written for too long, or too much
    was written to them: messages wait as in an outage, and the fallback takes over.
    """

    capabilities = CAPABILITIES

    def __init__(
        self,
        context: ChannelContext,
        timing: IlinkTiming | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not isinstance(context.settings, IlinkSettings):
            raise TypeError("the section ilink is missing")
        self._settings: IlinkSettings = context.settings
        self._context = context
        self._person = context.lane.partition(":")[2]
        self._timing = timing or IlinkTiming()
        self._clock, self._monotonic = clock, monotonic
        self._client = IlinkClient(self._settings)
        self._store = PersonStore(context.database, self._person)
        self._state = PersonState()
        self._status = StatusTracker("ilink", channel=context.lane)
        self._seen = SeenIds()
        self._inbox: asyncio.Queue[IlinkMessage] = asyncio.Queue()
        self._digits: asyncio.Future[str] | None = None
        self._was_wrong = False
        """Whether digits were typed before, and were not right."""
        self._unshown = RecentDict[str, int](_MAX_REMEMBERED)
        self._not_shown = 0
        self._is_hidden = False
        """Whether what was sent last was taken and not shown."""
        self._sent_at: deque[float] = deque(maxlen=_MAX_REMEMBERED)
        """When messages were sent; monotonic seconds."""

    @property
    def status(self) -> ChannelStatus:
        """The present state."""
        return self._status.current

    # ------------------------------------------------ another configuration

    def keeps(self, context: ChannelContext) -> bool:
        """Tell whether the login can go on: the same person at the same place."""
        new = context.settings
        if not isinstance(new, IlinkSettings) or context.lane != self._context.lane:
            return False
        return (new.url, new.cdn, new.client_version) == (
            self._settings.url, self._settings.cdn, self._settings.client_version,
        )  # fmt: skip

    def adopt(self, context: ChannelContext) -> None:
        """Go on with other targets and limits; only where it `keeps`."""
        if isinstance(context.settings, IlinkSettings):
            self._settings, self._context = context.settings, context
            self._show_window()

    # ------------------------------------------------ staying logged in

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay logged in until cancelled; `on_inbound` is awaited for one message after the other."""
        self._status.listener = on_status
        tasks = [
            asyncio.create_task(
                handle_each(self._inbox, partial(self._hear, on_inbound)), name=f"{self._context.lane} hear"
            ),
            asyncio.create_task(self._watch_window(), name=f"{self._context.lane} window"),
        ]
        backoff = Backoff(self._timing.backoff, self._timing.backoff_most)
        try:
            self._state = await self._insist(self._store.load)
            while True:
                if self._state.credentials is None:
                    await self._log_in()
                try:
                    await self._poll(backoff)
                except StorageError as error:
                    log.warning("ilink state not written", channel=self._context.lane, error=str(error))
                    await asyncio.sleep(backoff.next_pause())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1.0)
            if self._state.credentials is not None:
                with suppress(IlinkFault, IlinkRefusal, TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._client.notify(self._state.credentials, is_start=False)
            await self._client.close()
            self._status.set(ChannelState.STOPPED)

    async def _log_in(self) -> None:
        """Show codes until the person has confirmed one, here or in another process."""
        self._status.set(ChannelState.CONNECTING, detail=f"asking {self._settings.url} for a code")
        here = asyncio.create_task(log_in(self._client, self, poll_seconds=self._timing.poll))
        elsewhere = asyncio.create_task(self._find_stored_login())
        try:
            done, _ = await asyncio.wait((here, elsewhere), return_when=asyncio.FIRST_COMPLETED)
            if elsewhere in done:
                self._state = elsewhere.result()
            else:
                self._state = self._state.logged_in(here.result())
                await self._insist(lambda: self._store.save(self._state))
        finally:
            for task in (here, elsewhere):
                task.cancel()
            await asyncio.wait((here, elsewhere), timeout=1.0)
        if self._state.credentials is not None:
            with suppress(IlinkFault, IlinkRefusal):
                await self._client.notify(self._state.credentials, is_start=True)

    async def _find_stored_login(self) -> PersonState:
        """Wait until another process has stored a login."""
        while True:
            await asyncio.sleep(min(STORED_LOGIN_SECONDS, self._timing.poll))
            with suppress(StorageError):
                found = await self._store.load()
                if found.credentials is not None:
                    return found

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Read or store the state, however long it takes: a login that is lost would need another scan."""
        while True:
            try:
                return await work()
            except StorageError as error:
                log.warning("ilink state not read or written", channel=self._context.lane, error=str(error))
                await asyncio.sleep(self._timing.backoff)

    async def _poll(self, backoff: Backoff) -> None:
        """Hear what the person writes, until the login is over. Raises `StorageError`."""
        self._show_window()
        seconds = self._timing.poll
        while (login := self._state.credentials) is not None:
            if await self._was_replaced(login):
                return
            try:
                updates = await self._client.read_updates(login, self._state.cursor, seconds)
            except IlinkRefusal as error:
                if error.code == DEAD_LOGIN:
                    await self._end_login()
                    return
                await self._wait_unreachable(f"iLink refuses to be asked: {error}", backoff)
                continue
            except IlinkFault as error:
                await self._wait_unreachable(str(error), backoff)
                continue
            backoff.reset()
            seconds = min(updates.poll_seconds or seconds, self._timing.poll)
            await self._take(updates.messages, updates.cursor)
            self._show_window()

    async def _was_replaced(self, login: Credentials) -> bool:
        """Take over a newer login that another process has stored."""
        stored = await self._store.load()
        if stored.credentials is None or stored.credentials == login:
            return False
        self._state = stored
        return True

    async def _wait_unreachable(self, why: str, backoff: Backoff) -> None:
        if backoff.failures:
            self._status.set(ChannelState.UNREACHABLE, detail=why)
        await asyncio.sleep(backoff.next_pause())

    async def _end_login(self) -> None:
        """The token is dead: another scan is needed."""
        self._state = self._state.logged_out()
        detail = "iLink has ended the login (the person may have bound another program): a new scan is needed"
        self._status.set(ChannelState.LOGGED_OUT, detail=detail)
        await self._insist(lambda: self._store.save(self._state))

    # ------------------------------------------------ the login's view

    def show_code(self, address: str) -> None:
        """Show the code wherever codes are shown."""
        detail = f"{self._person} has to scan the code with WeChat"
        self._status.set(ChannelState.WAITING_FOR_SCAN, detail=detail, qrcode=address)

    def show_scanned(self) -> None:
        """Say that the tap is awaited."""
        self._status.set(ChannelState.SCANNED, detail=f"{self._person} has to confirm on the phone")

    def show_failure(self, why: str) -> None:
        """Say why there is no code."""
        self._status.set(ChannelState.UNREACHABLE, detail=why)

    async def ask_digits(self, *, is_wrong: bool) -> str:
        """Wait until somebody types the digits of the phone; see `type_digits`."""
        wrong = "the digits were wrong; " if is_wrong else ""
        detail = f"{wrong}the phone shows digits: type them on the login page, or run `wxbridge login {self._person}`"
        self._status.set(ChannelState.SCANNED, detail=detail)
        self._digits, self._was_wrong = asyncio.get_running_loop().create_future(), is_wrong
        return await self._digits

    @property
    def wanted_digits(self) -> WantedDigits:
        """Whether the digits of the phone are waited for; see `manager.DigitsChannel`."""
        if self._digits is None or self._digits.done():
            return WantedDigits.NONE
        return WantedDigits.OTHERS if self._was_wrong else WantedDigits.FIRST

    def type_digits(self, digits: str) -> bool:
        """Take the digits that the phone shows; False where nobody has asked for them."""
        if self._digits is None or self._digits.done():
            return False
        self._digits.set_result(digits.strip())
        self._status.set(ChannelState.SCANNED, detail="the digits are being looked at")
        return True

    # ------------------------------------------------ what the person writes

    async def _take(self, raw: tuple[dict[str, Any], ...], cursor: str) -> None:
        """Take the messages of a poll, and store the place behind them. Raises `StorageError`."""
        login = self._state.credentials
        state = replace(self._state, cursor=cursor)
        news = []
        for message in filter(None, map(read_message, raw)):
            if login is None or message.user_id != login.user_id or not self._seen.add(message.id):
                continue
            token = message.context_token or state.context_token
            state = replace(state, context_token=token, window=SendWindow(self._clock()))
            news.append(message)
        if state != self._state:
            # First here: what is sent meanwhile counts too.
            self._state = state
            self._show_window()
            await self._store.save(state)
        for message in news:
            self._inbox.put_nowait(message)

    async def _hear(self, on_inbound: OnInbound, message: IlinkMessage) -> None:
        log.info(
            "message", room=None, topic=None, sender=message.user_id, name=self._person, text=message.text,
            channel=self._context.lane,
        )  # fmt: skip
        if message.text:
            await on_inbound(
                Inbound(
                    channel=self._context.lane, id=message.id, sender_id=message.user_id, sender_name=self._person,
                    room_id=None, room_topic=None, text=message.text, mentioned=True, at=message.at,
                )
            )  # fmt: skip

    async def show_typing(self, inbound: Inbound, *, is_on: bool) -> None:  # noqa: ARG002 - there is one chat
        """Show the person that an answer is being made, or no longer; see `model.TypingChannel`."""
        login = self._state.credentials
        if login is None:
            return
        try:
            await self._client.show_typing(login, self._state.context_token, is_on=is_on)
        except IlinkFault as error:
            log.debug("typing not shown", channel=self._context.lane, error=str(error))
        except IlinkRefusal as error:
            if error.code == DEAD_LOGIN and self._state.credentials == login:
                await self._end_login()

    async def prove_alive(self, address: Any) -> None:  # noqa: ARG002 - there is one person
        """Ask for something that nobody sees and that costs nothing; see `model.ProvableChannel`."""
        login = self._state.credentials
        if login is None:
            raise Offline(f"{self._person} is logged out")
        try:
            await self._client.read_config(login, self._state.context_token)
        except IlinkFault as error:
            raise Offline(f"iLink gives no sign of life: {error}") from error
        except IlinkRefusal as error:
            # A no is a sign of life too.
            if error.code == DEAD_LOGIN:
                raise await self._refused(error) from error

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:  # noqa: ARG002 - there is one chat
        """Give the targets that mean the chat with this person."""
        return tuple(name for name, target in self._context.targets.items() if isinstance(target, IlinkTarget))

    # ------------------------------------------------ the window

    def _left(self) -> int:
        return self._state.window.left(self._clock(), self._settings.window, self._settings.window_messages)

    def _note_window(self, **changes: Any) -> None:
        self._state = replace(self._state, window=replace(self._state.window, **changes))

    def _show_window(self) -> None:
        """Show whether the person may be written to."""
        login = self._state.credentials
        if login is None:
            return
        account = f"{self._person} ({login.bot_id})"
        if self._left():
            detail = "WeChat takes messages and does not show them (a restriction of the account)"
            self._status.set(ChannelState.ONLINE, account=account, detail=detail if self._is_hidden else "")
        else:
            detail = f"waiting for {self._person} to write: WeChat lets the bot answer for a day, ten messages at most"
            self._status.set(ChannelState.WAITING_FOR_WORD, detail=detail, account=account)

    async def _watch_window(self) -> None:
        """Notice that the window has closed, and ask the person to write before it does."""
        while True:
            await asyncio.sleep(min(LOOK_AT_WINDOW_SECONDS, self._timing.poll))
            if self._status.current.state not in (ChannelState.ONLINE, ChannelState.WAITING_FOR_WORD):
                continue
            self._show_window()
            if self._left() > RESERVED_MESSAGES and self._state.window.asks_for_silence(self._clock()):
                await self._ask_to_write()

    async def _ask_to_write(self) -> None:
        try:
            self._note_window(asked=self._state.window.asked + 1)
            await self._deliver(_write_text(say("ilink.write", self._context.language)), "")
        except (SendError, StorageError) as error:
            log.info("nobody was asked to write", channel=self._context.lane, error=str(error))

    def check_priority(self, priority: int) -> None:
        """Keep the last message for what is critical, and some seconds for alerts to be merged in.

        Raises:
            NotReady: what is left is kept for what is more important.
            Held: some were just sent; what comes meanwhile is one message instead of many.
        """
        if priority == Priority.CRITICAL or not self._left():
            return
        if self._left() <= RESERVED_MESSAGES:
            raise NotReady(
                f"the last message that {self._person} may get until they write is kept for critical alerts",
                retry_after=RESERVED_RETRY_SECONDS,
            )
        if priority >= Priority.ALERT:
            pace = self._settings.pace.chat
            limits = [Rate(MESSAGES_AT_ONCE, COLLECT_SECONDS)]
            # Of the pace too the last place is kept, so that what is critical goes at once.
            limits += [Rate(pace.count - RESERVED_MESSAGES, pace.seconds)] if pace and pace.count > 1 else []
            wait = max(SlidingWindow(limit, self._sent_at).wait(self._monotonic()) for limit in limits)
            if wait > 0:
                raise Held("what else comes now is merged, as few messages may be sent", retry_after=wait)

    def count_singly(self) -> int:
        """Tell how many waiting messages go one by one; see `model.WindowedChannel`."""
        spare = self._left() - RESERVED_MESSAGES
        # While the window is closed, what waits is for the next one.
        return max(1, min(MESSAGES_AT_ONCE, spare // 2)) if spare > 0 else MESSAGES_AT_ONCE

    def describe_window(self) -> SendWindowState:
        """Tell what is left of the window; see `model.WindowedChannel`."""
        left, opened_at = self._left(), self._state.window.opened_at
        seconds = self._settings.window - (self._clock() - opened_at) if left and opened_at is not None else 0.0
        return SendWindowState(left, max(0.0, seconds), self._not_shown)

    # ------------------------------------------------ sending

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:  # noqa: ARG002
        """Send a text or picture to the person.

        Raises:
            Offline: not logged in, or the window is closed: nothing was sent.
            Unknown: no clear answer, twice.
            Throttled, Transient, Permanent: what the service's answer means.
        """
        login = self._state.credentials
        if login is None or not self._status.is_online or not self._left():
            raise Offline(f"{self._person} cannot be written to ({self._status.describe()})")
        if isinstance(body, Text):
            text = body.text
            asking = f"\n\n{say('ilink.write', self._context.language)}"
            asks = self._state.window.asks_for_few(self._left())
            asks &= len(text) + len(asking) <= CAPABILITIES.text_limit
            receipt = await self._deliver(_write_text(text + asking if asks else text), body.text)
            if asks:
                self._note_window(is_asked=True)
                await self._save()
            return receipt
        content = await read_picture(body)
        try:
            item = await self._client.upload_picture(login, content)
        except IlinkFault as error:
            raise Transient(str(error)) from error
        except IlinkRefusal as error:
            raise await self._refused(error) from error
        return await self._deliver(item, hashlib.sha256(content).hexdigest())

    async def _deliver(self, item: dict[str, Any], content: str) -> Receipt:
        """Send an item; a lost answer is asked for once more, with the same id, which the service takes once."""
        login, client_id = self._state.credentials, secrets.token_hex(16)
        if login is None:
            raise Offline(f"{self._person} is logged out")
        for is_last in (False, True):
            try:
                message_id = await self._client.send_item(login, item, client_id, self._state.context_token)
            except IlinkRefusal as error:
                raise await self._refused(error) from error
            except IlinkFault as error:
                if not error.was_sent:
                    raise Offline(str(error)) from error
                if is_last:
                    await self._note_sent()
                    raise Unknown(str(error)) from error
                await asyncio.sleep(_REPEAT_PAUSE_SECONDS)
            else:
                break
        if not message_id:
            # After a lost answer this says nothing: the service takes an id once.
            if is_last:
                await self._note_sent()
                raise Unknown("iLink's answer was lost, and the second one says nothing")
            raise self._note_unshown(content)
        self._is_hidden = False
        await self._note_sent()
        return Receipt(message_id)

    def _note_unshown(self, content: str) -> SendError:
        """Count a message that was taken and, as far as is known, not shown; after the third time it is given up."""
        key = hashlib.sha256(content.encode()).hexdigest()
        count = self._unshown.pop(key, 0) + 1
        why = "iLink took the message and gave it no id: WeChat does not show it"
        log.warning("ilink message taken, not shown", channel=self._context.lane, count=count)
        self._not_shown += 1
        self._is_hidden = True
        self._show_window()
        if count >= MAX_UNSHOWN_SENDS:
            return Permanent(why, code="not_shown")
        self._unshown[key] = count
        return Throttled(why, code="not_shown", retry_after=UNSHOWN_PAUSE_SECONDS)

    async def _note_sent(self) -> None:
        self._note_window(sent=self._state.window.sent + 1)
        self._sent_at.append(self._monotonic())
        await self._save()
        self._show_window()

    async def _save(self) -> None:
        """Store the state, where the database takes it: what counts is in memory."""
        with suppress(StorageError):
            await self._store.save(self._state)

    async def _refused(self, error: IlinkRefusal) -> SendError:
        """Say what the service's no means, and take note of it."""
        code, words = str(error.code), error.words.lower()
        if error.code == DEAD_LOGIN:
            await self._end_login()
            return Offline("iLink has ended the login: a new scan is needed", code=code)
        if error.code in _RATE_CODES or any(word in words for word in _RATE_WORDS):
            return Throttled(f"iLink: {error}", code=code, retry_after=RATE_PAUSE_SECONDS)
        if error.code in _CLOSED_CODES or (error.code == _BAD_REQUEST and any(word in words for word in _CLOSED_WORDS)):
            self._note_window(is_refused=True)
            await self._save()
            self._show_window()
            return Offline(f"{self._person} has to write first (iLink: {error})", code=code)
        return Permanent(f"iLink: {error}", code=code)


def _write_text(text: str) -> dict[str, Any]:
    return {"type": TEXT_ITEM, "text_item": {"text": text}}


PLUGIN = ChannelPlugin(
    target=IlinkTarget,
    create=IlinkChannel,
    capabilities=CAPABILITIES,
    section="ilink",
    settings=IlinkSettings,
    lanes=lanes,
)
