"""One loop for each channel: takes messages out of the outbox, at the channel's pace, and settles their outcome."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from sqlalchemy import Connection

from wxbridge.alerts import render
from wxbridge.core.errors import (
    BadAddress,
    Offline,
    Permanent,
    PictureError,
    SendError,
    StorageError,
    Throttled,
    Transient,
    Unknown,
)
from wxbridge.core.model import Message, MessageState, Outgoing, Picture, PictureFile, Receipt, Text
from wxbridge.core.text.i18n import say
from wxbridge.core.text.splitting import measure_length
from wxbridge.delivery import failover, failure_reports, outbox
from wxbridge.delivery.common import Lane, Shared, cut_off
from wxbridge.pictures.store import content_type_of

log = structlog.get_logger()

TRIES = 8
"""How many attempts a passing fault gets before a message is given up."""
AT_ONCE = 64
"""How many messages of one channel are under way at the same time, each to another target."""
ADDRESS_RETRY = 30.0
"""Seconds between looks for a room or contact that could not be found."""
PUBLISH_TRIES = 3
"""How many attempts the store gets for a picture before its link stands in for it."""
_TURNS = 3
"""Turns of the event loop in which a woken sender comes to claiming."""
SETTLE_LIMIT = 2.0
"""Seconds that messages under way get to settle when the bridge stops."""


@dataclass(frozen=True)
class Attempt:
    """A message that is being sent, and how the attempt was counted."""

    message: Message
    chat: str
    at: float
    """Monotonic seconds."""
    send_id: int | None
    """The row of `sends`; None without a pace."""


Claimed = list[tuple[Message, int | None]]
"""Messages to send, each with its row of `sends`."""


@dataclass(frozen=True, eq=False)
class Delivered:
    """A message that was sent, which the next look into the outbox is to note."""

    sent: outbox.Sent
    noted: asyncio.Future[None]


class Sender:
    """Sends for one channel."""

    def __init__(self, shared: Shared, lane: Lane) -> None:
        self._shared = shared
        self._lane = lane
        self._busy: dict[str, int] = {}
        """The message that is under way, by target."""
        self._delivered: list[Delivered] = []
        self._waker = asyncio.Event()
        self.closing = False
        """Whether it is asked to take up nothing more."""
        self.rested = asyncio.Event()
        """Set once it is asked, and no look into the outbox is under way any more."""
        self.under_way: set[asyncio.Task[None]] = set()

    async def run(self, waker: asyncio.Event) -> None:
        """Send until cancelled; what is under way then gets a moment to settle."""
        self._waker = waker
        try:
            while True:
                waker.clear()
                try:
                    wait = await self.round()
                except StorageError as error:
                    self._shared.metrics.storage_errors.inc()
                    log.error("cannot take messages out of the outbox", error=str(error))  # noqa: TRY400
                    wait = 1.0
                except Exception:  # whatever it is, the channel's other messages must not wait for ever
                    log.exception("taking messages out of the outbox failed in a way it should not")
                    wait = 1.0
                if wait != 0:
                    # `wait_for` would swallow a cancellation that comes together with a wake-up (Python 3.11).
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await waker.wait()
        finally:
            if self.under_way:
                # A send that is cut off here would be repeated at the next start, so let it finish.
                await asyncio.wait(self.under_way, timeout=SETTLE_LIMIT)
                for task in self.under_way:
                    task.cancel()

    async def round(self) -> float | None:
        """Start sending what may go now; returns the seconds after which to look again, None for when woken."""
        lane, clock = self._lane, self._shared.clock
        if self.closing:
            self.rested.set()
            return None
        if not lane.online:
            return None
        self._shared.been_online.add(lane.name)
        now = clock.monotonic()
        waits = {
            name: lane.pacer.wait(target.chat_key(), now)
            for name, target in lane.targets.items()
            if name not in self._busy
        }
        ready = [name for name, wait in waits.items() if not wait]
        later = min((wait for wait in waits.values() if wait), default=None)
        budget = lane.pacer.budget(now)
        room = AT_ONCE - len(self.under_way)
        limit = room if budget is None else min(room, budget)
        if not ready or limit <= 0:
            return later
        wall = clock.wall()
        batch, due = await self._look(ready, wall, limit)
        for message, send_id in batch:
            chat = lane.targets[message.target].chat_key()
            lane.pacer.note(chat, now)
            self._busy[message.target] = message.id
            task = asyncio.create_task(self._send(Attempt(message, chat, now, send_id)), name=f"send {message.id}")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
        if batch:
            return 0.0
        waiting = [wait for wait in (later, None if due is None else due - wall) if wait is not None]
        return max(0.01, min(waiting)) if waiting else None

    async def _look(self, ready: list[str], wall: float, limit: int) -> tuple[Claimed, float | None]:
        """Claim, and note in the same commit what was delivered since the last look."""
        delivered, self._delivered = self._delivered, []
        outcome: BaseException = asyncio.CancelledError()

        def work(connection: Connection) -> tuple[Claimed, float | None]:
            outbox.settle_sent(connection, [each.sent for each in delivered])
            return self._claim(connection, ready, wall, limit)

        try:
            found = await self._shared.database.run(work)
        except BaseException as error:
            outcome = error
            raise
        else:
            for each in delivered:
                if not each.noted.done():
                    each.noted.set_result(None)
            return found
        finally:
            for each in delivered:
                if not each.noted.done():
                    each.noted.set_exception(StorageError(f"not noted: {outcome}"))

    def _claim(self, connection: Connection, ready: list[str], wall: float, limit: int) -> tuple[Claimed, float | None]:
        lane = self._lane
        paced = lane.pacer.counts
        # Several targets may lead into one chat: its pace allows one, and the next after another look.
        chat_of = (lambda target: lane.targets[target].chat_key()) if paced else None
        batch: Claimed = []
        for message in outbox.claim(connection, ready, now=wall, limit=limit, chat_of=chat_of):
            chat = lane.targets[message.target].chat_key()
            batch.append((message, outbox.note_send(connection, lane.name, chat, now=wall) if paced else None))
        return batch, None if batch else outbox.next_due(connection, ready, now=wall)

    async def _send(self, attempt: Attempt) -> None:
        """One attempt, and what follows from its outcome. The target stays busy until that is stored."""
        message = attempt.message
        try:
            await self._attempt(attempt)
        except Exception as error:
            # A mistake of ours: the message must neither block its target for ever nor pass for sent.
            log.exception("an outcome could not be dealt with", message=message.id, target=message.target)
            now, text = self._shared.clock.wall(), f"{type(error).__name__}: {error}"
            await self._give_up(message, MessageState.UNKNOWN, text, "internal", now)
            self._shared.metrics.dead.labels(message.target, "internal").inc()
        finally:
            if task := asyncio.current_task():
                # Now, and not in a callback: whoever is woken counts what is under way.
                self.under_way.discard(task)
            self._free(message)
            self._waker.set()

    async def _attempt(self, attempt: Attempt) -> None:
        message = attempt.message
        try:
            address = self._lane.targets[message.target].address(message.recipient)
            receipt = await self._lane.channel.send(address, *await self._outgoing(message))
        except SendError as error:
            await self._failed(attempt, error)
        except (Exception, asyncio.CancelledError) as error:  # a bug in a channel must not stop the others
            if isinstance(error, asyncio.CancelledError) and cut_off():
                raise
            log.exception("a channel failed in a way it should not", channel=self._lane.name, message=message.id)
            await self._unknown(message, Unknown(f"{type(error).__name__}: {error}"))
        else:
            await self._sent(message, receipt)

    async def _failed(self, attempt: Attempt, error: SendError) -> None:
        """The kind of the error says whether a retry can help."""
        message = attempt.message
        match error:
            case Offline():
                await self._not_reached(attempt, error, wait=error.retry_after)
            case BadAddress() if message.recipient is not None:
                # An alert named somebody whom nobody here knows; waiting would only hold up the others whom it names.
                await self._refused(message, error)
            case BadAddress():
                await self._not_reached(attempt, error, wait=ADDRESS_RETRY)
            case Throttled():
                await self._back(message, error, wait=error.retry_after, spent=False)
            case Unknown():
                await self._unknown(message, error)
            case Permanent():
                await self._refused(message, error)
            case _ if message.tries >= TRIES:
                await self._refused(message, error)
            case _:
                await self._back(message, error, wait=backoff(message.tries))

    async def _sent(self, message: Message, receipt: Receipt) -> None:
        now = self._shared.clock.wall()
        await self._note(message, outbox.Sent(message.id, now, receipt.id))
        self._shared.count(message.target, "sent")
        self._shared.metrics.lag.labels(message.target).observe(max(0.0, now - message.created_at))
        log.info("sent", message=message.id, target=message.target, tries=message.tries, receipt=receipt.id)
        if receipt.note:
            await self._remark(message, receipt.note)

    async def _remark(self, message: Message, note: str) -> None:
        """Tell what the service said of a message that it took, such as whom it could not reach."""
        log.warning("sent, with a remark", message=message.id, target=message.target, remark=note)
        line = say("delivery.remark", self._shared.language, id=message.id, target=message.target, note=note)
        with suppress(StorageError):
            await self._shared.tell(line, message.target)

    async def _note(self, message: Message, sent: outbox.Sent) -> None:
        """Store that a message was sent: with the next claim, in one commit, where one follows at once."""
        delivered = Delivered(sent, asyncio.get_running_loop().create_future())
        self._delivered.append(delivered)
        # The target's next message may be claimed: in the transaction that settles this one.
        self._free(message)
        self._waker.set()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        if delivered not in self._delivered:
            with suppress(StorageError):
                await delivered.noted
                return
        else:
            self._delivered.remove(delivered)
        await self._shared.store(lambda c: outbox.settle_sent(c, [sent]))

    def _free(self, message: Message) -> None:
        if self._busy.get(message.target) == message.id:
            del self._busy[message.target]

    async def _outgoing(self, message: Message) -> tuple[Outgoing, tuple[str, ...]]:
        body = message.body
        if isinstance(body, Text):
            return replace(body, text=self._marked(message, body)), body.mentions
        path = self._shared.picture_store.path_of(str(body.file))
        try:
            size = path.stat().st_size
        except OSError as error:
            raise Permanent(f"the picture file {path.name} is gone: {error.strerror}") from None
        kind = content_type_of(path.name)
        if self._lane.channel.capabilities.pictures == "file":
            return PictureFile(str(path), body.name, kind, size), ()
        found = await self._published(message, path, kind)
        return (found if isinstance(found, Text) else PictureFile(str(path), body.name, kind, size, found)), ()

    async def _published(self, message: Message, path: Path, kind: str) -> str | Text:
        """The picture's address; where it gets none, the text that stands in for it: a picture less is no lost alert.

        Raises:
            Transient: the store may take it at another try.
        """
        language, spec = self._shared.language, message.body.spec if isinstance(message.body, Picture) else None
        shown = self._lane.channel.capabilities.pictures != "none"
        if self._shared.publish is None or not shown:
            words = say("delivery.not_published" if shown else "delivery.no_pictures", language)
            return Text(f"{words}\n🔗 {spec.link}" if spec and spec.link else words)
        try:
            return await self._shared.publish(path, kind)
        except PictureError as error:
            if error.retry and message.tries < PUBLISH_TRIES:
                raise Transient(str(error)) from None
            self._shared.count(message.target, "no_picture")
            log.warning("a picture could not be published", message=message.id, target=message.target, error=str(error))
            return Text(render.write_missing_picture(spec, str(error), language))

    def _marked(self, message: Message, body: Text) -> str:
        """The text, marked where it may be a repeat that the service does not absorb, and where there is room."""
        capabilities = self._lane.channel.capabilities
        absorbed = self._shared.clock.wall() - message.next_try_at < capabilities.repeats_absorbed / 2
        if not message.maybe_sent or absorbed:
            return body.text
        limit = capabilities.formats.get(body.format, capabilities.text_limit)
        marked = say("delivery.repeat", self._shared.language) + body.text
        return marked if measure_length(marked, capabilities.text_unit) <= limit else body.text

    async def _not_reached(self, attempt: Attempt, error: SendError, *, wait: float) -> None:
        """Nothing went to the service: neither a try nor a place in the pace is spent."""
        self._lane.pacer.forget(attempt.chat, attempt.at)
        await self._back(attempt.message, error, wait=wait, spent=False, send_id=attempt.send_id)

    async def _back(
        self, message: Message, error: SendError, *, wait: float, spent: bool = True, send_id: int | None = None
    ) -> None:
        at = self._shared.clock.wall() + min(wait, outbox.LONGEST_WAIT)
        code = outbox.NO_ADDRESS if isinstance(error, BadAddress) else error.code

        def store(connection: Connection) -> None:
            outbox.put_back(connection, message.id, at=at, error=str(error), code=code, spent=spent)
            if send_id is not None:
                outbox.forget_send(connection, send_id)

        await self._shared.store(store)
        self._shared.count(message.target, "retried" if spent else "waited")
        about = {"message": message.id, "target": message.target, "error": str(error), "code": error.code}
        log.warning("not sent, will try again", **about, after=round(wait, 1))

    async def _unknown(self, message: Message, error: SendError) -> None:
        """No answer: repeat once, marked; a second silence is final, and is not called sent."""
        self._shared.count(message.target, "unknown")
        now = self._shared.clock.wall()
        if not message.maybe_sent:
            at = now + backoff(1)
            await self._shared.store(
                lambda c: outbox.put_back(c, message.id, at=at, error=str(error), code=error.code, maybe_sent=True)
            )
            log.warning("no answer, repeating once", message=message.id, target=message.target, error=str(error))
            return
        log.error("no answer twice, given up", message=message.id, target=message.target, error=str(error))
        await self._give_up(message, MessageState.UNKNOWN, str(error), error.code, now)

    async def _refused(self, message: Message, error: SendError) -> None:
        """Refused for good: the fallback takes the notification; where there is none, the message is dead."""
        if await failover.take_over(self._shared, message, str(error)):
            return
        now = self._shared.clock.wall()
        self._shared.count(message.target, "dead")
        self._shared.metrics.dead.labels(message.target, error.code or type(error).__name__).inc()
        about = {"message": message.id, "target": message.target, "error": str(error), "code": error.code}
        log.error("given up", **about, tries=message.tries)
        await self._give_up(message, MessageState.DEAD, str(error), error.code, now)

    async def _give_up(self, message: Message, state: MessageState, error: str, code: str | None, now: float) -> None:
        """Close a message, note in the same commit that somebody is to be told, and tell it."""

        def store(connection: Connection) -> None:
            outbox.settle(connection, message.id, state, now=now, error=error, code=code)
            failure_reports.note_dead(connection, message, error, now=now)

        await self._shared.store(store)
        await failure_reports.tell_now(self._shared)


def backoff(tries: int) -> float:
    """Seconds before the next attempt: 1, 2, 4 … at most 120, with jitter so that targets do not march in step."""
    return min(120.0, 2.0 ** (tries - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
