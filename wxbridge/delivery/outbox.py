"""The durable queue: one row is one message on the wire. Every statement that writes it is here.

A message is *open* while it is queued or being sent, and settled for good in every other state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.bites import Bite, work_in_bites
from wxbridge.core.database import Database
from wxbridge.core.frozen import replace
from wxbridge.core.model import (
    Accepted,
    Message,
    MessageState,
    Notification,
    Picture,
    Received,
    StoredAlong,
)
from wxbridge.core.schema import OPEN, forget_facts, messages, notifications, read_facts, remember_fact, sends
from wxbridge.core.sql import greatest, least
from wxbridge.core.text.normalise import replace_surrogates
from wxbridge.delivery import failure_notes, timeline
from wxbridge.delivery import outbox_statements as statements
from wxbridge.delivery.failure_notes import FailureNote
from wxbridge.delivery.outbox_queries import OutboxQueries
from wxbridge.delivery.outbox_rows import StoredNotification, message_of, select_stored
from wxbridge.delivery.outbox_statements import (
    MergeableNotification,
    MissingPictureWords,
    PacedChats,
    PutRequest,
    Replacement,
    SentMessage,
    replace_surrogates_or_none,
)

MAX_EXPIRED_AT_ONCE = 1000
MAX_TAKEN_BACK_AT_ONCE = 1000
_TROUBLE = "in trouble since:"
"""Facts that tell since when a target cannot be reached, by target."""


@dataclass(frozen=True)
class ClaimedMessage:
    """A message that was taken out to be sent, and the row of `sends` that counts the attempt; None without a pace."""

    message: Message
    send_id: int | None


@dataclass(frozen=True)
class ClaimResult:
    """What was taken out to be sent, and the targets of which nothing may leave now."""

    messages: tuple[ClaimedMessage, ...]
    quiet: tuple[str, ...]


class Outbox(OutboxQueries):
    """The queue of messages on their way to WeChat. Times are seconds since the epoch.

    Every method raises `StorageError` where the database refuses, and has then changed nothing. Those that write are on
    disk when they return; who asks while a commit is under way shares the next (`Database.run_batched`).
    """

    def __init__(
        self, database: Database, *, dedupe_window: float = 0.0, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(database)
        self.dedupe_window = dedupe_window
        """Seconds within which a notification with the same dedupe key is a repeat."""
        self._clock = clock
        self._stir: Sequence[Callable[[Collection[str] | None], None]] = ()
        self._render_waker: asyncio.Event | None = None

    # ------------------------------------------------ putting in

    async def put(
        self, items: Sequence[Notification], *, received: Received | None = None, also: StoredAlong | None = None
    ) -> Accepted:
        """Store notifications, the POST that led to them, and what else belongs to the same transaction.

        Those with a dedupe key that was stored within `dedupe_window` are left out.
        """
        if not items and received is None and also is None:
            return Accepted(0, 0)
        return await self._put(PutRequest(items, received, also))

    async def put_beside(self, notification_id: int, item: Notification) -> Accepted:
        """Store a notification as a further one of the POST that another, which is stored, came from."""
        query = sa.select(notifications.c.received_id).where(notifications.c.id == notification_id)
        rows = await self._rows(query)
        return await self._put(PutRequest([item], received_id=rows[0].received_id if rows else None))

    async def _put(self, request: PutRequest) -> Accepted:
        targets = {item.target for item in request.items}
        # Before it is stored: the look for what may be sent comes behind it, and is under way when it is answered.
        for stir in self._stir if targets else ():
            stir(targets)
        accepted = await self._database.run_batched(self._store_requests, request)
        bodies = [body for item in request.items for body in item.bodies]
        # The loop that draws has nothing to do for texts, and there may be thousands a second.
        if any(isinstance(body, Picture) and body.file is None for body in bodies):
            self._wake_drawing()
        return accepted

    def _store_requests(self, connection: Connection, requests: Sequence[PutRequest]) -> list[Accepted]:
        now = self._clock()
        # What came in gets its id before what it leads to, which names it.
        came = [index for index, request in enumerate(requests) if request.received]
        first = timeline.next_id(connection) if came else 0
        numbered = list(requests)
        for number, index in enumerate(came, first):
            numbered[index] = replace(requests[index], received_id=number)
        answers = statements.insert_requests(connection, numbered, now=now, dedupe_window=self.dedupe_window)
        received = [
            (request.received, answer.queued)
            for request, answer in zip(requests, answers, strict=True)
            if request.received
        ]
        timeline.record_received(connection, received, first=first, now=now)
        parts: dict[type[StoredAlong], list[StoredAlong]] = {}
        for request in requests:
            if request.also:
                parts.setdefault(type(request.also), []).append(request.also)
        for owner, some in parts.items():
            owner.store_all(connection, some, now=now)
        return answers

    def connect(self, *, render_waker: asyncio.Event, stir: Sequence[Callable[[Collection[str] | None], None]]) -> None:
        """Have the loops of delivery woken from now on when something is put in.

        `stir` are called with the targets that there is something for, or with None for all.
        """
        self._render_waker, self._stir = render_waker, stir

    def wake(self) -> None:
        """Have every loop of delivery look at everything again."""
        self._wake_drawing()
        for stir in self._stir:
            stir(None)

    def _wake_drawing(self) -> None:
        if self._render_waker is not None:
            self._render_waker.set()

    # ------------------------------------------------ taking messages out

    async def claim(
        self,
        targets: Sequence[str],
        *,
        now: float,
        limit: int,
        paced: PacedChats | None = None,
        sent: Sequence[SentMessage] = (),
        only: Mapping[str, int] | None = None,
    ) -> ClaimResult:
        """Take the next message of each target, at most `limit` in all, and mark them as being sent.

        Per target and priority texts leave in order; a picture leaves once it is drawn and its text is settled, and
        holds nobody up. Across targets the more urgent leave first. Where attempts are counted (`paced`), of several
        targets in one chat only one gets its turn.

        `sent` are messages of earlier claims, which are recorded as sent in the same transaction. `only` names, by
        target, a message whose outcome is not known: while it waits, no other of its target goes.
        """

        def work(connection: Connection) -> ClaimResult:
            statements.record_sent(connection, sent)
            # What was put in since it was asked is due too.
            at = max(now, self._clock())
            taken = statements.claim_heads(connection, targets, at, limit, paced, only)
            claimed = [
                ClaimedMessage(each, statements.insert_send(connection, paced, each.target, at) if paced else None)
                for each in taken.messages
            ]
            return ClaimResult(tuple(claimed), taken.quiet)

        return await self._database.run(work, is_patient=True, is_leaders=True)

    async def select_dues(self, targets: Sequence[str], *, now: float) -> Mapping[str, float]:
        """Select when the earliest retry of each target is due that waits for a time, by target."""
        return await self._database.read(partial(statements.select_dues, targets=targets, now=now))

    async def recover(self, *, now: float) -> int:
        """Take up what an earlier process left; returns how many messages it was sending.

        Those are queued again, marked as a possible repeat. What was stored in the future, by a clock that was set back
        since, counts as just stored.
        """
        ahead = sa.select(notifications.c.id).where(notifications.c.created_at > now)
        created = messages.c.created_at

        def work(connection: Connection) -> int:
            interrupted = connection.execute(
                sa.update(messages)
                .where(sa.text(OPEN), messages.c.state == MessageState.SENDING)
                .values(state=MessageState.QUEUED, maybe_sent=True)
            ).rowcount
            connection.execute(
                sa.update(messages)
                .where(sa.text(OPEN), messages.c.notification_id.in_(ahead), created > now)
                .values(created_at=now, next_try_at=now, expires_at=messages.c.expires_at - created + now)
            )
            connection.execute(sa.update(notifications).where(notifications.c.created_at > now).values(created_at=now))
            return interrupted

        return await self._database.run(work, is_leaders=True)

    async def shift_times(self, *, by: float, since: float) -> None:
        """Let what waits, and what is new, keep its age after the clock was set back by so many seconds (on: negative).

        Without that a new alert would pass for the repeat of an older one, and fallbacks and retries would come late.
        """
        created = notifications.c.created_at
        times = (messages.c.created_at, messages.c.next_try_at, messages.c.expires_at)

        def work(connection: Connection) -> None:
            connection.execute(sa.update(sends).where(sends.c.at > since).values(at=sends.c.at - by))
            shifted = {column.name: column - by for column in times}
            connection.execute(sa.update(messages).where(sa.text(OPEN)).values(shifted))
            connection.execute(sa.update(notifications).where(created > since).values(created_at=created - by))

        await self._database.run(work, is_leaders=True)

    # ------------------------------------------------ settling

    async def record_sent(self, sent: Sequence[SentMessage]) -> None:
        """Close messages that were sent."""
        await self._database.run(partial(statements.record_sent, sent=sent), is_patient=True)

    async def put_back(
        self,
        message_id: int,
        *,
        at: float,
        error: str,
        code: str | None = None,
        is_try_spent: bool = True,
        maybe_sent: bool = False,
        send_id: int | None = None,
    ) -> None:
        """Queue a message again for `at`.

        `is_try_spent` says whether the attempt counts as a try. `send_id` is the attempt, where it never reached the
        service and takes no place in the pace.
        """
        values: dict[str, Any] = {
            "state": MessageState.QUEUED,
            "next_try_at": at,
            "error": replace_surrogates(error),
            "error_code": replace_surrogates_or_none(code),
        }
        if not is_try_spent:
            values["tries"] = greatest(messages.c.tries - 1, 0)
        if maybe_sent:
            values["maybe_sent"] = True

        def work(connection: Connection) -> None:
            connection.execute(sa.update(messages).where(messages.c.id == message_id).values(values))
            if send_id is not None:
                connection.execute(sa.delete(sends).where(sends.c.id == send_id))

        await self._database.run(work, is_leaders=True)

    async def give_up(
        self, message: Message, state: MessageState, *, now: float, error: str, code: str | None = None
    ) -> None:
        """Close a message unsent, in a state that is not open, and note that somebody is to be told."""

        def work(connection: Connection) -> None:
            values = {"error_code": replace_surrogates_or_none(code)}
            statements.close_messages(connection, [message.id], state, now=now, error=error, values=values)
            failure_notes.note_failure(connection, message, error, now=now)

        await self._database.run(work, is_leaders=True)

    async def close(
        self, message_ids: Sequence[int], state: MessageState, *, now: float, error: str, code: str | None = None
    ) -> int:
        """Close messages in a state that is not open, and tell nobody; returns how many."""
        close = partial(statements.close_messages, message_ids=message_ids, state=state, now=now, error=error)
        return await self._database.run(
            partial(close, values={"error_code": replace_surrogates_or_none(code)}), is_leaders=True
        )

    async def expire(self, *, now: float) -> list[Message]:
        """Close the queued messages that are no longer worth sending, and note that somebody is to be told.

        At most `MAX_EXPIRED_AT_ONCE` of them, those that have expired longest; returns them.
        """
        query = sa.select(messages).where(
            sa.text(OPEN), messages.c.state == MessageState.QUEUED, messages.c.expires_at <= now
        )
        if not await self._rows(query.limit(1)):
            return []

        def work(connection: Connection) -> list[Message]:
            expired = []
            rows = connection.execute(query.order_by(messages.c.expires_at).limit(MAX_EXPIRED_AT_ONCE)).all()
            for row in rows:
                error = f"expired after waiting; last: {row.error}" if row.error else "expired while waiting"
                state = MessageState.UNKNOWN if row.maybe_sent else MessageState.EXPIRED
                statements.close_messages(connection, [row.id], state, now=now, error=error)
                message = replace(message_of(row), state=state, settled_at=now, error=error)
                failure_notes.note_failure(connection, message, error, now=now)
                expired.append(message)
            return expired

        return await self._database.run(work, is_leaders=True)

    async def retry(self, message_ids: Sequence[int], *, now: float, expires_after: float) -> int:
        """Queue settled messages again, or open ones at once, for `expires_after` seconds; returns how many."""
        statement = (
            sa.update(messages)
            .where(messages.c.id.in_(message_ids), messages.c.state != MessageState.SENDING)
            .values(
                state=MessageState.QUEUED,
                # What is open was made before now, also where the clock was set back since it was settled.
                created_at=least(messages.c.created_at, now),
                next_try_at=now,
                tries=0,
                settled_at=None,
                receipt=None,
                expires_at=greatest(messages.c.expires_at, now + expires_after),
            )
        )
        count = await self._execute(statement)
        self.wake()
        return count

    async def drop(self, message_ids: Sequence[int], *, now: float) -> int:
        """Close queued messages unsent, on a person's word; returns how many."""
        statement = (
            sa.update(messages)
            .where(messages.c.id.in_(message_ids), messages.c.state == MessageState.QUEUED)
            .values(state=MessageState.DEAD, settled_at=now, error="dropped by hand", error_code="dropped")
        )
        count = await self._execute(statement)
        self.wake()
        return count

    async def _execute(self, statement: sa.Update) -> int:
        return await self._database.run(lambda connection: connection.execute(statement).rowcount)

    # ------------------------------------------------ telling what was given up

    async def has_failure_notes(self) -> bool:
        """Tell whether something that was given up is still to be told."""
        return await self._database.read(failure_notes.has_notes)

    async def take_failure_notes(self, *, now: float) -> Mapping[str, Sequence[FailureNote]]:
        """Select what was given up and is to be told now, by target, which from now on counts as told."""
        return await self._database.run(partial(failure_notes.take_due, now=now), is_leaders=True)

    async def forget_failure_notes(self, message_ids: Sequence[int]) -> None:
        """Forget what was told."""
        await self._database.run(partial(failure_notes.forget, message_ids=message_ids), is_leaders=True)

    # ------------------------------------------------ exchanging what waits

    async def hand_over(
        self, notification_id: int, compose: Callable[[StoredNotification], Replacement | None], *, now: float
    ) -> Replacement | None:
        """Exchange what is left of a notification for another one, at a fallback.

        `compose` decides, on the database's thread; None where nothing is to happen, or the notification is gone.
        """

        def work(connection: Connection) -> Replacement | None:
            stored = select_stored(connection, notification_id)
            replacement = compose(stored) if stored else None
            if replacement:
                statements.replace_messages(connection, replacement, MessageState.FAILED_OVER, now=now)
            return replacement

        return await self._database.run(work, is_leaders=True)

    async def take_back(self, target: str, fallbacks: Sequence[str], *, now: float) -> int:
        """Queue again at a target what fallbacks took over and have not tried to send; returns how many."""
        work = partial(statements.take_back, target=target, fallbacks=fallbacks, now=now, limit=MAX_TAKEN_BACK_AT_ONCE)
        return await self._database.run(work, is_leaders=True)

    # ------------------------------------------------ since when targets are in trouble

    async def read_troubles(self) -> Mapping[str, float]:
        """Read since when targets are in trouble (`record_trouble`)."""
        found = await self._database.read(lambda connection: read_facts(connection, _TROUBLE))
        return {target: float(since) for target, (since, _) in found.items()}

    async def record_trouble(self, target: str, since: float) -> None:
        """Store since when a target is in trouble."""
        await self._database.run(lambda c: remember_fact(c, f"{_TROUBLE}{target}", since, since), is_leaders=True)

    async def forget_trouble(self, target: str) -> None:
        """Store that a target is well."""
        await self._database.run(lambda c: forget_facts(c, [f"{_TROUBLE}{target}"]), is_leaders=True)

    async def merge(
        self,
        target: str,
        compose: Callable[[Sequence[MergeableNotification]], Sequence[Replacement]],
        *,
        now: float,
        limit: int,
    ) -> int:
        """Exchange alerts that wait for a target for digests; returns how many messages were merged.

        `compose` gets, on the database's thread, the notifications of which nothing was sent or is being sent. Only
        those of the oldest `limit` messages, so that a storm of any size is merged in bites. An earlier digest has the
        age of the oldest that it replaced, so it is among them, and comes first.
        """

        def work(connection: Connection) -> int:
            replacements = compose(statements.select_mergeable(connection, target, limit))
            for replacement in replacements:
                statements.replace_messages(connection, replacement, MessageState.MERGED, now=now)
            return sum(len(replacement.message_ids) for replacement in replacements)

        return await self._database.run(work, is_leaders=True)

    # ------------------------------------------------ pictures

    async def record_picture(self, message: Message, file: str) -> None:
        """Note the file of a picture that was drawn, also for those who wait for the same."""

        def work(connection: Connection) -> None:
            ids = [each.id for each in statements.select_alike(connection, message)]
            values = {"picture_file": file, "drawn_at": self._clock()}
            connection.execute(sa.update(messages).where(messages.c.id.in_(ids)).values(values))

        await self._database.run(work, is_leaders=True)

    async def miss_pictures(
        self, message: Message, words: MissingPictureWords, *, now: float, error: str, send_id: int | None = None
    ) -> list[Message]:
        """Close a picture that cannot be made, and those who wait for the same; returns them all.

        The text that it follows says so where it has not been tried yet, and a picture that follows none becomes a line
        of text. `send_id` is the attempt, where it never reached the service and takes no place in the pace. What was
        settled meanwhile stays as it is.
        """

        def work(connection: Connection) -> list[Message]:
            if send_id is not None:
                connection.execute(sa.delete(sends).where(sends.c.id == send_id))
            return statements.miss_pictures(connection, message, words, now=now, error=error)

        return await self._database.run(work, is_leaders=True)

    async def note_missing_cause(self, cause: str, *, now: float) -> bool:
        """Note why a picture is missing; tell whether that was told nobody within the hour."""
        return await self._database.run(partial(failure_notes.note_missing_cause, cause=cause, now=now))

    async def leave_out_picture(self, message: Message) -> None:
        """Forget a picture of which there is none to be drawn, and those who wait for the same."""

        def work(connection: Connection) -> None:
            ids = [each.id for each in statements.select_alike(connection, message)]
            connection.execute(sa.delete(messages).where(sa.text(OPEN), messages.c.id.in_(ids)))

        await self._database.run(work, is_leaders=True)

    # ------------------------------------------------ forgetting

    def prune(self, *, before: float, sends_before: float) -> AsyncIterator[Bite[tuple[str, ...]]]:
        """Forget notifications whose messages were all settled before a moment, in bites; see `statements.prune`."""
        work = partial(statements.prune, before=before, sends_before=sends_before)
        return work_in_bites(self._database, work)
