"""What can be asked of the outbox: every statement that reads it and changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.database import Database
from wxbridge.core.model import OPEN_STATES, Message, MessageState, NotificationKind
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import OPEN, PUT_BACK, TO_DRAW, messages, notifications, received, sends
from wxbridge.delivery import timeline
from wxbridge.delivery.outbox_rows import StoredNotification, message_of, select_stored
from wxbridge.delivery.timeline import TimelineEntry, TimelineFilter, TimelinePage, TimelinePosition

NO_ADDRESS = "no_address"
"""The error code of what waits because its room or contact cannot be told."""
_IS_SETTLED = sa.text("settled_at IS NOT NULL")
"""To the letter as the index has it."""
_SETTLED_STATES = tuple(state for state in MessageState if state not in OPEN_STATES)
_RARE_STATES = tuple(state for state in _SETTLED_STATES if state is not MessageState.SENT)


class TargetBacklog(NamedTuple):
    """What waits for a target: how many messages, and when the oldest was created (seconds since the epoch)."""

    target: str
    waiting: int
    oldest_at: float


class SendAttempt(NamedTuple):
    """An attempt to send that counts for a channel's pace: to which chat, and when (seconds since the epoch)."""

    chat: str
    at: float


@dataclass(frozen=True)
class MergeableCounts:
    """How many messages wait that a digest may replace, and of how many notifications they are."""

    messages: int
    notifications: int


@dataclass(frozen=True)
class OutageCounts:
    """What became of messages in an outage of a channel."""

    sent: int
    failed_over: int


OverduePlace = tuple[float, int]
"""Where a look at overdue messages ends: creation time and id of the last of them."""


_WAITING_ALERTS = (
    sa.select(messages.c.target, notifications.c.id)
    .join(notifications, notifications.c.id == messages.c.notification_id)
    .where(
        sa.text(f"messages.{OPEN}"),
        messages.c.state == MessageState.QUEUED,
        notifications.c.kind.in_((NotificationKind.ALERT, NotificationKind.DIGEST)),
    )
)


@dataclass(frozen=True)
class OverdueNotifications:
    """Notifications that have waited too long, and where the next look goes on; None at the end."""

    ids: tuple[int, ...]
    next_place: OverduePlace | None


class OutboxQueries:
    """Reads the outbox. Times are seconds since the epoch; every method raises `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _messages(self, query: sa.Select[Any]) -> list[Message]:
        return await self._database.read(lambda connection: [message_of(row) for row in connection.execute(query)])

    async def _rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda connection: connection.execute(query).all())

    # ------------------------------------------------ for people

    async def list_messages(
        self, *, states: Sequence[str] = (), target: str | None = None, since: float | None = None, limit: int = 100
    ) -> list[Message]:
        """List messages, the newest first; `since` is when they were created."""
        # Messages are numbered as their notifications are; what is numerous is walked over from the newest on.
        newest: Any = messages.c.notification_id
        queries: list[sa.Select[Any]] = []
        if not states or MessageState.SENT in states:
            query = sa.select(messages).order_by(newest.desc(), messages.c.id.desc())
            if states:
                query = query.where(messages.c.state == MessageState.SENT)
            if target:
                query = query.where(messages.c.target == target)
            if since is not None:
                query = query.where(newest >= timeline.first_since(since).scalar_subquery())
            queries.append(query)
        for condition, such in ((sa.text(OPEN), OPEN_STATES), (_IS_SETTLED, _RARE_STATES)):
            if some := set(states) & set(such):
                # Those are few, and have an index; what is added keeps SQLite from walking over all others.
                query = sa.select(messages).where(condition, messages.c.state.in_(some))
                if target:
                    query = query.where(messages.c.target.concat("") == target)
                queries.append(query.order_by((newest + 0).desc(), messages.c.id.desc()))
        found: list[Message] = []
        for query in queries:
            recent = query if since is None else query.where(messages.c.created_at >= since)
            found += await self._messages(recent.limit(limit))
        return sorted(found, key=lambda each: (each.notification_id, each.id), reverse=True)[:limit]

    async def list_digests_taken_over(self, fallbacks: Sequence[str]) -> list[int]:
        """List the digests that wait at fallbacks and are of what those took over, the oldest first."""
        query = _WAITING_ALERTS.with_only_columns(notifications.c.id).where(
            messages.c.target.in_(fallbacks),
            notifications.c.kind == NotificationKind.DIGEST,
            notifications.c.origin.is_not(None),
        )
        return [row.id for row in await self._rows(query.distinct().order_by(notifications.c.id))]

    async def list_targets_of_alerts(self) -> list[str]:
        """List the targets for which alerts wait."""
        query = _WAITING_ALERTS.with_only_columns(messages.c.target).distinct()
        return [row.target for row in await self._rows(query.order_by(messages.c.target))]

    async def list_waiting_alerts(self, target: str, *, limit: int) -> list[int]:
        """List the notifications of alerts that wait for a target, the oldest first."""
        query = _WAITING_ALERTS.with_only_columns(notifications.c.id).where(messages.c.target == target).distinct()
        return [row.id for row in await self._rows(query.order_by(notifications.c.id).limit(limit))]

    async def list_in_doubt(self) -> list[Message]:
        """List what may have been sent and waits to be repeated, the oldest first."""
        query = sa.select(messages).where(sa.text(OPEN), messages.c.maybe_sent, messages.c.state == MessageState.QUEUED)
        return sorted(await self._messages(query), key=lambda each: each.id)

    async def get_messages(self, message_ids: Sequence[int]) -> list[Message]:
        """Get messages by id, in order of id; those that do not exist are left out."""
        return await self._messages(sa.select(messages).where(messages.c.id.in_(message_ids)).order_by(messages.c.id))

    async def find_notification(self, notification_id: int) -> StoredNotification | None:
        """Read a notification with its messages; None where it was forgotten."""
        return await self._database.read(partial(select_stored, notification_id=notification_id))

    async def read_timeline(
        self, asked: TimelineFilter, after: TimelinePosition | None = None, per_page: int = timeline.ENTRIES_PER_PAGE
    ) -> TimelinePage:
        """Read a page of what came in and what became of it, the newest first, from `after` on."""
        return await self._database.read(partial(timeline.select_page, asked=asked, after=after, per_page=per_page))

    async def find_timeline_entry(self, message_id: int) -> TimelineEntry | None:
        """Read the entry that a message belongs to; None where there is no such message."""
        return await self._database.read(partial(timeline.select_entry, message_id=message_id))

    async def list_sighted(self, received_id: int, *, limit: int) -> list[str]:
        """List the alerts of which something that came in had news, by what short links say of their keys."""
        return await self._database.read(lambda c: timeline.select_sighted(c, received_id, limit))

    async def read_way(self, short_key: str, *, limit: int) -> list[TimelineEntry]:
        """Read what came in of an alert that was news, with what became of it, the newest first."""
        return await self._database.read(lambda c: timeline.select_way(c, short_key, limit))

    async def read_change_mark(self) -> Hashable:
        """Read something that changes whenever the outbox does."""
        return tuple((await self._rows(_CHANGE_MARK))[0])

    async def is_changed_elsewhere(self) -> bool:
        """Tell whether another process has written to the database since the last call."""
        return await self._database.changed_elsewhere()

    async def find_dedupe_keys(self, keys: Collection[str]) -> set[str]:
        """Find those of some dedupe keys under which a notification is stored that has no dedupe group."""
        query = sa.select(notifications.c.dedupe_key).where(
            notifications.c.dedupe_key.in_(keys), notifications.c.dedupe_group.is_(None)
        )
        return {row.dedupe_key for row in await self._rows(query)}

    # ------------------------------------------------ counting

    async def count_backlog(self) -> list[TargetBacklog]:
        """Count the open messages of each target that has any."""
        query = sa.select(messages.c.target, sa.func.count(), sa.func.min(messages.c.created_at))
        rows = await self._rows(query.where(sa.text(OPEN)).group_by(messages.c.target))
        return [TargetBacklog(*row) for row in rows]

    async def count_settled(self, *, since: float, until: float) -> Mapping[tuple[str, str], int]:
        """Count the messages that were settled from `since` until before `until`, by target and state."""
        rows = await self._rows(
            sa.select(messages.c.target, messages.c.state, sa.func.count())
            .where(
                _IS_SETTLED,
                messages.c.state.in_(_SETTLED_STATES),
                messages.c.settled_at >= since,
                messages.c.settled_at < until,
            )
            .group_by(messages.c.target, messages.c.state),
        )
        return {(row[0], row[1]): row[2] for row in rows}

    async def list_settled(self, states: Sequence[str], *, since: float, limit: int) -> list[Message]:
        """List the messages that came to one of these states since a moment, the latest first."""
        return await self._messages(
            sa.select(messages)
            .where(_IS_SETTLED, messages.c.state.in_(states), messages.c.settled_at >= since)
            .order_by(messages.c.settled_at.desc(), messages.c.id.desc())
            .limit(limit)
        )

    async def list_attempts(self, channel: str, *, since: float) -> list[SendAttempt]:
        """List a channel's attempts to send since a moment, the oldest first."""
        query = sa.select(sends.c.chat, sends.c.at).where(sends.c.channel == channel, sends.c.at > since)
        return [SendAttempt(*row) for row in await self._rows(query.order_by(sends.c.at))]

    async def list_picture_files(self) -> set[str]:
        """List the picture files that messages name."""
        query = sa.select(messages.c.picture_file).where(messages.c.picture_file.is_not(None))
        return {row.picture_file for row in await self._rows(query)}

    # ------------------------------------------------ for delivery

    async def select_undrawn(self, *, skip: Collection[int], limit: int) -> list[Message]:
        """Select the pictures that wait to be drawn, the most urgent first; `skip` names messages to leave out."""
        return await self._messages(undrawn(skip, limit))

    async def select_overdue(
        self, target: str, *, created_before: float, after: OverduePlace = (0.0, 0), limit: int = 200
    ) -> OverdueNotifications:
        """Select a target's notifications that have waited since before a moment; greetings are never among them.

        Looks at `limit` messages behind the place `after`.
        """
        created, at = messages.c.created_at, sa.tuple_(messages.c.created_at, messages.c.id)
        rows = await self._rows(
            sa.select(messages.c.id, messages.c.notification_id, created, messages.c.state, notifications.c.kind)
            .join(notifications, notifications.c.id == messages.c.notification_id)
            .where(
                sa.text(f"messages.{OPEN}"),
                messages.c.target == target,
                created <= created_before,
                created >= after[0],
                at > sa.tuple_(*after),
            )
            .order_by(created, messages.c.id)
            .limit(limit),
        )
        found = {
            row.notification_id: None
            for row in rows
            if row.state == MessageState.QUEUED and row.kind != NotificationKind.GREETING
        }
        return OverdueNotifications(tuple(found), (rows[-1].created_at, rows[-1].id) if len(rows) == limit else None)

    async def select_expiring_unknown(self, *, now: float, limit: int = 200) -> list[Message]:
        """Select messages that may have been sent, are no longer worth repeating, and wait."""
        query = sa.select(messages).where(
            sa.text(OPEN),
            messages.c.state == MessageState.QUEUED,
            messages.c.expires_at <= now,
            messages.c.maybe_sent.is_(True),
        )
        return await self._messages(query.order_by(messages.c.expires_at).limit(limit))

    async def find_last_sent(self, targets: Collection[str], recipient: str | None) -> int | None:
        """Find the notification of which the latest message was sent to some targets that lead into one chat."""
        query = sa.select(messages.c.notification_id).where(
            _IS_SETTLED,
            messages.c.state == MessageState.SENT,
            messages.c.target.in_(targets),
            messages.c.recipient.is_(None) if recipient is None else messages.c.recipient == recipient,
        )
        rows = await self._rows(query.order_by(messages.c.settled_at.desc(), messages.c.id.desc()).limit(1))
        return int(rows[0].notification_id) if rows else None

    async def has_open(self, target: str) -> bool:
        """Tell whether anything waits for a target."""
        query = sa.select(messages.c.id).where(sa.text(OPEN), messages.c.target == target).limit(1)
        return bool(await self._rows(query))

    async def count_mergeable(self, target: str, *, limit: int) -> MergeableCounts:
        """Count the messages of alerts and digests that wait for a target, no further than `limit`."""
        asked = {"target": target, "limit": limit}
        (row,) = await self._database.read(lambda connection: _COUNT_MERGEABLE.rows(connection, asked))
        return MergeableCounts(row.messages, row.notifications)

    async def is_drained(self, targets: Collection[str], *, moment: float) -> bool:
        """Tell whether all that was created no later than a moment has left for these targets.

        A target whose room or contact nobody knows any longer may never get its messages: it is not looked at.
        """

        def find(connection: Connection) -> bool:
            lost = sa.select(messages.c.target).where(
                sa.text(PUT_BACK), messages.c.target.in_(targets), messages.c.error_code == NO_ADDRESS
            )
            known = set(targets) - set(connection.execute(lost.distinct()).scalars())
            waiting = sa.select(messages.c.id).where(
                sa.text(OPEN), messages.c.target.in_(known), messages.c.created_at <= moment
            )
            return connection.execute(waiting.limit(1)).first() is None

        return await self._database.read(find)

    async def count_outage(self, targets: Collection[str], *, began: float, ended: float) -> OutageCounts:
        """Count the messages created before an outage's end that were sent, or taken over, since it began."""
        rows = await self._rows(
            sa.select(messages.c.state, sa.func.count())
            .where(
                messages.c.state.in_((MessageState.SENT, MessageState.FAILED_OVER)),
                messages.c.settled_at >= began,
                messages.c.target.in_(targets),
                messages.c.created_at <= ended,
            )
            .group_by(messages.c.state),
        )
        counts = {row[0]: row[1] for row in rows}
        return OutageCounts(counts.get(MessageState.SENT, 0), counts.get(MessageState.FAILED_OVER, 0))


def undrawn(skip: Collection[int], limit: int) -> sa.Select[Any]:
    """Build the query for the pictures that wait to be drawn, the most urgent first."""
    query = sa.select(messages).where(sa.text(TO_DRAW), messages.c.id.not_in(list(skip)))
    return query.order_by(messages.c.priority, messages.c.id).limit(limit)


MERGEABLE = (
    sa.select(messages.c.notification_id)
    .join(notifications, notifications.c.id == messages.c.notification_id)
    .where(
        sa.text(f"messages.{OPEN}"),
        messages.c.target == sa.bindparam("target"),
        notifications.c.kind.in_((NotificationKind.ALERT, NotificationKind.DIGEST)),
        notifications.c.content.is_not(None),
    )
    # The order of the index that has open messages alone.
    .order_by(messages.c.created_at, messages.c.id)
    .limit(sa.bindparam("limit"))
)
"""The notifications of the messages for `target` that a digest may replace, the first `limit`."""
_SOME_MERGEABLE = MERGEABLE.subquery()
_COUNT_MERGEABLE = PreparedStatement(
    sa.select(
        sa.func.count().label("messages"),
        sa.func.count(sa.distinct(_SOME_MERGEABLE.c.notification_id)).label("notifications"),
    ).select_from(_SOME_MERGEABLE)
)


def _latest_settled(state: MessageState) -> Any:
    return sa.select(sa.func.max(messages.c.settled_at)).where(
        messages.c.state == state, messages.c.settled_at.is_not(None)
    )


_TRIES = sa.func.sum(messages.c.tries + sa.case((messages.c.state == MessageState.SENDING, 1000), else_=0))
_CHANGE_MARK = sa.select(
    *(
        each.scalar_subquery()
        for each in (
            sa.select(sa.func.max(messages.c.id)),
            sa.select(sa.func.max(received.c.id)),
            sa.select(sa.func.count()).select_from(messages).where(sa.text(OPEN)),
            sa.select(_TRIES).where(sa.text(OPEN)),
            *map(_latest_settled, _SETTLED_STATES),
        )
    )
)
