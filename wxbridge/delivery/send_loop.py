"""One loop for each channel: takes messages out of the outbox, at the channel's pace, and settles their outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from wxbridge.alerts.render import is_within_limit, stand_in
from wxbridge.core.errors import (
    BadAddress,
    Held,
    NotReady,
    Offline,
    Permanent,
    PictureError,
    SendError,
    StorageError,
    Throttled,
    Transient,
    Unknown,
)
from wxbridge.core.frozen import replace
from wxbridge.core.leadership import ensure_leading, send_only_while
from wxbridge.core.model import (
    Message,
    MessageState,
    Outgoing,
    Picture,
    PictureFile,
    ProvableChannel,
    Receipt,
    Text,
    WindowedChannel,
)
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.delivery import failover, failure_reports
from wxbridge.delivery.captions import PictureCaptions
from wxbridge.delivery.context import DeliveryContext, Lane, OutcomeInDoubt, is_cancelled
from wxbridge.delivery.missing_pictures import miss_pictures
from wxbridge.delivery.outbox import ClaimResult
from wxbridge.delivery.outbox_queries import NO_ADDRESS
from wxbridge.delivery.outbox_statements import MAX_RETRY_WAIT_SECONDS, PacedChats, SentMessage, is_due
from wxbridge.pictures.store import content_type_of

log = structlog.get_logger()

UNKNOWN_PAUSES_SECONDS = (1.0, 5.0, 30.0, 120.0, 300.0)
"""Before each repeat of what may have been sent; the last is that of all further ones."""
MAX_TRIES = 8
"""How many attempts a passing fault gets before a message is given up."""
MAX_SENDS_UNDER_WAY = 64
"""How many messages of one channel are under way at the same time, each to another target."""
ADDRESS_RETRY_SECONDS = 30.0
"""Between looks for a room or contact that could not be found."""
MAX_PUBLISH_TRIES = 3
"""How many attempts the store gets for a picture before its link stands in for it."""
MAX_BACKOFF_SECONDS = 120.0
LOOP_TURNS_UNTIL_CLAIM = 3
"""Turns of the event loop in which a woken loop comes to claiming."""
SETTLE_TIMEOUT_SECONDS = 2.0
"""What messages under way get to settle when the bridge stops."""
STORAGE_RETRY_SECONDS = 1.0
MIN_WAIT_SECONDS = 0.01


@dataclass(frozen=True)
class SendUnderWay:
    """A message that is being sent, and how the attempt was counted."""

    message: Message
    chat: str
    at: float
    """Monotonic seconds."""
    send_id: int | None
    """The row of `sends`; None without a pace."""


@dataclass(frozen=True, eq=False)
class UnrecordedSend:
    """A message that was sent, which the next look into the outbox is to record."""

    sent: SentMessage
    recorded: asyncio.Future[None]


class SendLoop:
    """Sends for one channel."""

    def __init__(self, context: DeliveryContext, lane: Lane) -> None:
        self._context = context
        self._lane = lane
        # Asked once, and not of each message: `isinstance` of a protocol looks at every method of it.
        self._windowed = lane.channel if isinstance(lane.channel, WindowedChannel) else None
        self._captions = PictureCaptions(context.outbox, context.language, lane.chats)
        self._next: dict[str, int] = {}
        """The picture whose caption was just sent, by target."""
        self._busy: dict[str, int] = {}
        """The message that is under way, by target."""
        self._stirred = set(lane.targets)
        """The targets that something may be sent to; of all others it is known that nothing may, until a time of
        `_dues` or until they are stirred."""
        self._dues: dict[str, float] = {}
        """When what was put back is due, the earliest of each target; seconds since the epoch."""
        self._is_due_known = False
        """Whether `_dues` has all of them."""
        self._unrecorded: list[UnrecordedSend] = []
        self._waker = asyncio.Event()
        self._closing = False
        self.rested = asyncio.Event()
        """Set once it is asked, and no look into the outbox is under way any more."""
        self.under_way: set[asyncio.Task[None]] = set()

    def stir(self, targets: Collection[str] | None = None) -> None:
        """Have the loop look again: at some targets, or at all and whatever was put back."""
        stirred = self._lane.targets.keys() if targets is None else self._lane.targets.keys() & targets
        self._is_due_known &= targets is not None
        if stirred or targets is None:
            self._stirred |= stirred
            self._waker.set()

    def look_at_states(self) -> None:
        """Have the loop look again where something waits for a target that is up: an account comes back unannounced."""
        if any(name not in self._busy and self._lane.is_up(name) for name in self._stirred):
            self._waker.set()

    def close(self) -> None:
        """Take up nothing more."""
        self._closing = True
        self._waker.set()

    async def run(self) -> None:
        """Send until cancelled; what is under way then gets a moment to settle."""
        try:
            while True:
                self._waker.clear()
                try:
                    wait = await self.round()
                except StorageError as error:
                    self._context.metrics.storage_errors.inc()
                    log.error("cannot take messages out of the outbox", error=str(error))  # noqa: TRY400
                    wait = STORAGE_RETRY_SECONDS
                except Exception:  # whatever it is, the channel's other messages must not wait for ever
                    log.exception("taking messages out of the outbox failed in a way it should not")
                    wait = STORAGE_RETRY_SECONDS
                if wait != 0:
                    # `wait_for` would swallow a cancellation that comes together with a wake-up (Python 3.11).
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await self._waker.wait()
        finally:
            if self.under_way:
                # A send that is cut off here would be repeated at the next start, so let it finish.
                await asyncio.wait(self.under_way, timeout=SETTLE_TIMEOUT_SECONDS)
                for task in self.under_way:
                    task.cancel()

    async def round(self) -> float | None:
        """Start sending what may go now; returns the seconds after which to look again, None for when woken."""
        lane, clock = self._lane, self._context.clock
        if self._closing:
            self.rested.set()
            return None
        if lane.is_online:
            self._context.been_online.add(lane.name)
        now, wall = clock.monotonic(), clock.wall()
        self._stir_due(wall)
        waits = {
            name: self._seconds_until_ready(name, now)
            for name in self._stirred
            if name not in self._busy and lane.is_up(name)
        }
        ready = [name for name, wait in waits.items() if not wait]
        later = min((wait for wait in waits.values() if wait), default=None)
        budget = lane.pacer.budget(now)
        room = MAX_SENDS_UNDER_WAY - len(self.under_way)
        limit = room if budget is None else min(room, budget)
        if not ready or limit <= 0:
            return await self._seconds_until_due(wall, later)
        # Taken out before it is looked: what is put in meanwhile stirs them again.
        self._stirred -= set(ready)
        quiet: Collection[str] = ()
        try:
            claim = await self._claim(ready, wall, limit)
            quiet = claim.quiet
        finally:
            self._stirred |= set(ready) - set(quiet)
        for claimed in claim.messages:
            message = claimed.message
            chat = lane.chats[message.target]
            lane.pacer.note(chat, now)
            self._busy[message.target] = message.id
            attempt = SendUnderWay(message, chat, now, claimed.send_id)
            task = asyncio.create_task(self._send(attempt), name=f"send {message.id}")
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
        if claim.messages:
            return 0.0
        return await self._seconds_until_due(wall, later)

    def _stir_due(self, wall: float) -> None:
        due = [name for name, at in self._dues.items() if is_due(at, wall)]
        for name in due:
            del self._dues[name]
            # Others of the target may be due later: they are looked for once there is nothing else to do.
            self._is_due_known = False
        self._stirred.update(due)

    async def _seconds_until_due(self, wall: float, later: float | None) -> float | None:
        """Until the first that waits for a time may go; `later` is when a pace lets something go."""
        if not self._is_due_known:
            self._is_due_known = True
            try:
                found = await self._context.outbox.select_dues(list(self._lane.targets), now=wall)
            except BaseException:
                self._is_due_known = False
                raise
            for name, at in found.items():
                self._note_due(name, at)
        waits = [at - wall for at in self._dues.values()] + ([] if later is None else [later])
        return max(MIN_WAIT_SECONDS, min(waits)) if waits else None

    def _note_due(self, target: str, at: float) -> None:
        self._dues[target] = min(at, self._dues.get(target, at))

    def _seconds_until_ready(self, target: str, now: float) -> float:
        doubt = self._context.doubts.get(target)
        return max(self._lane.pacer.wait(self._lane.chats[target], now), doubt.due - now if doubt else 0.0)

    async def _claim(self, ready: list[str], wall: float, limit: int) -> ClaimResult:
        """ClaimResult, and record in the same commit what was sent since the last look."""
        lane = self._lane
        unrecorded, self._unrecorded = self._unrecorded, []
        outcome: BaseException = asyncio.CancelledError()
        try:
            claim = await self._context.outbox.claim(
                ready,
                now=wall,
                limit=limit,
                # Several targets may lead into one chat: its pace allows one, and the next after another look.
                paced=PacedChats(lane.name, lane.chats) if lane.pacer.counts else None,
                sent=[each.sent for each in unrecorded],
                only=self._next
                | {name: each.message_id for name, each in self._context.doubts.items() if name in ready},
            )
        except BaseException as error:
            outcome = error
            raise
        else:
            for each in unrecorded:
                if not each.recorded.done():
                    each.recorded.set_result(None)
            return claim
        finally:
            for each in unrecorded:
                if not each.recorded.done():
                    each.recorded.set_exception(StorageError(f"not recorded: {outcome}"))

    async def _send(self, attempt: SendUnderWay) -> None:
        """One attempt, and what follows from its outcome. The target stays busy until that is stored."""
        message = attempt.message
        send_only_while(self._context.may_send)
        try:
            await self._attempt(attempt)
        except Exception as error:
            # A mistake of ours: the message must neither block its target for ever nor pass for sent.
            log.exception("an outcome could not be dealt with", message=message.id, target=message.target)
            now, text = self._context.clock.wall(), f"{type(error).__name__}: {error}"
            await self._give_up(message, MessageState.UNKNOWN, text, "internal", now)
            self._context.metrics.dead.labels(message.target, "internal").inc()
        finally:
            if task := asyncio.current_task():
                # Now, and not in a callback: whoever is woken counts what is under way.
                self.under_way.discard(task)
            self._free(message)

    async def _attempt(self, attempt: SendUnderWay) -> None:
        message = attempt.message
        self._next.pop(message.target, None)
        try:
            channel, address = self._lane.channel, self._lane.targets[message.target].address(message.recipient)
            if self._windowed is not None:
                self._windowed.check_priority(message.priority)
            if message.maybe_sent and isinstance(channel, ProvableChannel):
                await channel.prove_alive(address)
            is_scarce = self._lane.capabilities[message.target].is_scarce
            if not is_scarce and (caption := await self._captions.caption_of(message)):
                ensure_leading()
                await channel.send(address, Text(caption))
                await self._captioned(message)
                return
            outgoing = await self._outgoing(message)
            ensure_leading()
            receipt = await channel.send(address, *outgoing)
        except PictureError as error:
            self._lane.pacer.forget(attempt.chat, attempt.at)
            await miss_pictures(self._context, message, str(error), attempt.send_id)
        except SendError as error:
            await self._failed(attempt, error)
        except (Exception, asyncio.CancelledError) as error:  # a bug in a channel must not stop the others
            if isinstance(error, asyncio.CancelledError) and is_cancelled():
                raise
            log.exception("a channel failed in a way it should not", channel=self._lane.name, message=message.id)
            await self._broken(message, Unknown(f"{type(error).__name__}: {error}"))
        else:
            await self._sent(message, receipt)

    async def _captioned(self, message: Message) -> None:
        """The attempt went into saying whose picture it is; the picture itself has the next, before all others."""
        self._next[message.target] = message.id
        self._captions.note_captioned(message)
        now = self._context.clock.wall()
        put_back = self._context.outbox.put_back
        await self._context.insist(put_back, message.id, at=now, error="", is_try_spent=False)

    async def _failed(self, attempt: SendUnderWay, error: SendError) -> None:
        """The kind of the error says whether a retry can help."""
        message = attempt.message
        self._note_trouble(message, error)
        match error:
            case Offline() | Held():
                await self._not_reached(attempt, error, wait=error.retry_after)
            case BadAddress() if message.recipient is not None:
                # An alert named somebody whom nobody here knows; waiting would only hold up the others whom it names.
                await self._refused(message, error)
            case BadAddress():
                await self._not_reached(attempt, error, wait=ADDRESS_RETRY_SECONDS)
            case Throttled():
                await self._back(message, error, wait=error.retry_after, is_try_spent=False)
            case Unknown():
                await self._unknown(message, error)
            case Permanent():
                await self._refused(message, error)
            case _ if message.tries >= MAX_TRIES and not message.maybe_sent:
                await self._refused(message, error)
            case _:
                await self._back(message, error, wait=backoff(message.tries))

    def _note_trouble(self, message: Message, error: SendError) -> None:
        """Note whether the target is in trouble: by the message's own fault it is not, nor where it is held back."""
        troubles = self._context.troubles
        if isinstance(error, Permanent) or (isinstance(error, BadAddress) and message.recipient is not None):
            troubles.note_answer(message.target)
        elif not isinstance(error, Held):
            troubles.note_failure(message.target)

    async def _sent(self, message: Message, receipt: Receipt) -> None:
        now = self._context.clock.wall()
        self._context.troubles.note_answer(message.target)
        self._context.doubts.pop(message.target, None)
        self._captions.note_sent(message)
        await self._record(message, SentMessage(message.id, now, receipt.id))
        self._context.count(message.target, "sent")
        self._context.metrics.lag.labels(message.target).observe(max(0.0, now - message.created_at))
        log.info("sent", message=message.id, target=message.target, tries=message.tries, receipt=receipt.id)
        if receipt.note:
            await self._remark(message, receipt.note)

    async def _remark(self, message: Message, note: str) -> None:
        """Tell what the service said of a message that it took, such as whom it could not reach."""
        log.warning("sent, with a remark", message=message.id, target=message.target, remark=note)
        language = self._context.language
        told = tell_error(note, language)
        line = say("delivery.remark", language, id=message.id, target=message.target, note=told)
        with suppress(StorageError):
            await self._context.operators.tell(line, message.target)

    async def _record(self, message: Message, sent: SentMessage) -> None:
        """Store that a message was sent: with the next claim, in one commit, where one follows at once."""
        unrecorded = UnrecordedSend(sent, asyncio.get_running_loop().create_future())
        self._unrecorded.append(unrecorded)
        # The target's next message may be claimed: in the transaction that settles this one.
        self._free(message)
        for _ in range(LOOP_TURNS_UNTIL_CLAIM):
            await asyncio.sleep(0)
        if unrecorded not in self._unrecorded:
            with suppress(StorageError):
                await unrecorded.recorded
                return
        else:
            self._unrecorded.remove(unrecorded)
        await self._context.insist(self._context.outbox.record_sent, [sent])

    def _free(self, message: Message) -> None:
        if self._busy.get(message.target) == message.id:
            del self._busy[message.target]
        self.stir((message.target,))

    async def _outgoing(self, message: Message) -> tuple[Outgoing, tuple[str, ...]]:
        body = message.body
        if isinstance(body, Text):
            return replace(body, text=self._marked(message, body)), body.mentions
        try:
            path = await self._context.picture_store.fetch(str(body.file))
        except StorageError as error:
            raise Offline(f"the picture cannot be read now: {error}") from None
        try:
            size = path.stat().st_size
        except OSError as error:
            raise Permanent(f"the picture file {path.name} is gone: {error.strerror}") from None
        kind = content_type_of(path.name)
        if self._lane.capabilities[message.target].pictures == "file":
            return PictureFile(str(path), body.name, kind, size), ()
        found = await self._published(message, path, kind)
        return (found if isinstance(found, Text) else PictureFile(str(path), body.name, kind, size, found)), ()

    async def _published(self, message: Message, path: Path, kind: str) -> str | Text:
        """The picture's address; where the channel can be given none, the text that stands in for it.

        Raises:
            Transient: the store may take it at another try.
            PictureError: the store does not take it.
        """
        language, spec = self._context.language, message.body.spec if isinstance(message.body, Picture) else None
        shown = self._lane.capabilities[message.target].pictures != "none"
        if self._context.publisher is None or not shown:
            words = say("delivery.not_published" if shown else "delivery.no_pictures", language)
            return Text(stand_in(words, spec))
        try:
            return await self._context.publisher.address(path, kind)
        except PictureError as error:
            if error.retry and message.tries < MAX_PUBLISH_TRIES:
                raise Transient(str(error)) from None
            raise

    def _marked(self, message: Message, body: Text) -> str:
        """The text, marked where it may be a repeat that the service does not absorb, and where there is room."""
        capabilities = self._lane.capabilities[message.target]
        absorbed = self._context.clock.wall() - message.next_try_at < capabilities.repeats_absorbed / 2
        if not message.maybe_sent or absorbed:
            return body.text
        mark = say("delivery.repeat", self._context.language)
        if body.text.startswith(mark):
            return body.text  # a fallback's, which was marked where it was composed
        marked = mark + body.text
        return marked if is_within_limit(marked, body.format, capabilities) else body.text

    async def _not_reached(self, attempt: SendUnderWay, error: SendError, *, wait: float) -> None:
        """Nothing went to the service: neither a try nor a place in the pace is spent."""
        self._lane.pacer.forget(attempt.chat, attempt.at)
        await self._back(attempt.message, error, wait=wait, is_try_spent=False, send_id=attempt.send_id)

    async def _back(
        self, message: Message, error: SendError, *, wait: float, is_try_spent: bool = True, send_id: int | None = None
    ) -> None:
        at = self._context.clock.wall() + min(wait, MAX_RETRY_WAIT_SECONDS)
        code = NO_ADDRESS if isinstance(error, BadAddress) else error.code
        put_back = self._context.outbox.put_back
        await self._context.insist(
            put_back, message.id, at=at, error=str(error), code=code, is_try_spent=is_try_spent, send_id=send_id
        )
        # Only now: a look at what is due that came before found nothing of it.
        self._note_due(message.target, at)
        self._context.count(message.target, "retried" if is_try_spent else "waited")
        about = {"message": message.id, "target": message.target, "error": str(error), "code": error.code}
        if isinstance(error, Held) or not self._lane.is_up(message.target):
            write = log.debug  # an outage has its own line, where it begins and where it ends
        elif isinstance(error, NotReady):
            write = log.info
        else:
            write = log.warning
        write("not sent, will try again", **about, after=round(wait, 1))

    async def _unknown(self, message: Message, error: Unknown) -> None:
        """No clear answer: repeat, marked, with growing pauses, until it expires; it is not called sent."""
        self._context.count(message.target, "unknown")
        before = self._context.doubts.get(message.target)
        count = before.count + 1 if before and before.message_id == message.id else 1
        wait = UNKNOWN_PAUSES_SECONDS[min(count, len(UNKNOWN_PAUSES_SECONDS)) - 1]
        self._context.doubts[message.target] = OutcomeInDoubt(message.id, count, self._context.clock.monotonic() + wait)
        at = self._context.clock.wall() + wait
        await self._context.insist(
            self._context.outbox.put_back,
            message.id,
            at=at,
            error=str(error),
            code=error.code,
            is_try_spent=not error.is_cut,
            maybe_sent=True,
        )
        self._note_due(message.target, at)
        about = {"message": message.id, "target": message.target, "error": str(error)}
        log.warning("no clear answer, will repeat it, marked", **about, after=wait)

    async def _broken(self, message: Message, error: Unknown) -> None:
        """A mistake of ours in the middle of sending: repeat once, marked; then others have to see to it."""
        if not message.maybe_sent:
            await self._unknown(message, error)
            return
        self._context.doubts.pop(message.target, None)
        self._context.count(message.target, "unknown")
        now, line = self._context.clock.wall(), str(error)
        if await failover.hand_over_unknown(self._context, message, line):
            about = {"id": message.id, "target": message.target, "error": line}
            with suppress(StorageError):
                await self._context.operators.tell(
                    say("delivery.dead", self._context.language, **about), message.target
                )
            return
        log.error("no answer twice, given up", message=message.id, target=message.target, error=line)
        await self._give_up(message, MessageState.UNKNOWN, line, error.code, now)

    async def _refused(self, message: Message, error: SendError) -> None:
        """Refused for good: the fallback takes the notification; where there is none, the message is dead."""
        self._context.doubts.pop(message.target, None)
        if await failover.hand_over_refused(self._context, message, str(error)):
            return
        now = self._context.clock.wall()
        self._context.count(message.target, "dead")
        self._context.metrics.dead.labels(message.target, error.code or type(error).__name__).inc()
        about = {"message": message.id, "target": message.target, "error": str(error), "code": error.code}
        log.error("given up", **about, tries=message.tries)
        await self._give_up(message, MessageState.DEAD, str(error), error.code, now)

    async def _give_up(self, message: Message, state: MessageState, error: str, code: str | None, now: float) -> None:
        """Close a message, note in the same commit that somebody is to be told, and tell it."""
        await self._context.insist(self._context.outbox.give_up, message, state, now=now, error=error, code=code)
        await failure_reports.try_report_failures(self._context)


def backoff(tries: int) -> float:
    """Compute the seconds before the next attempt: 1, 2, 4 … with jitter, so that targets do not march in step."""
    return min(MAX_BACKOFF_SECONDS, 2.0 ** (tries - 1)) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
