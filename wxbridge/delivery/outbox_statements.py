"""The statements of the outbox: functions that take a connection, and are put together to transactions by `Outbox`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts.sources.unknown import BODY
from wxbridge.core.bites import Bite
from wxbridge.core.frozen import replace
from wxbridge.core.model import (
    OPEN_STATES,
    Accepted,
    Message,
    MessageState,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
    Received,
    StoredAlong,
)
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import DRAWN, OPEN, OPEN_TEXT, PUT_BACK, messages, notifications, received, sends, sightings
from wxbridge.core.sql import least
from wxbridge.core.text.normalise import replace_surrogates
from wxbridge.delivery.outbox_queries import MERGEABLE, undrawn
from wxbridge.delivery.outbox_rows import (
    MESSAGE_COLUMNS,
    RepeatFinder,
    list_origins,
    message_of,
    message_rows,
    notification_row,
)

MAX_RETRY_WAIT_SECONDS = 3600.0
"""No retry is further away than this, so a longer wait means that the clock was set back."""
WAITED_TOO_LONG = "waited"
"""The error code of what a fallback took over because it could not leave in time: it may come back."""
MAX_PICTURES_LOOKED_AT = 200
MAX_ALIKE_PICTURES = 100
"""How many pictures that wait are looked at for those that are the same as one that was drawn."""


@dataclass(frozen=True)
class SentMessage:
    """That a message was sent: when, in seconds since the epoch, and the service's id of it, where it gave one."""

    message_id: int
    at: float
    receipt: str | None = None


@dataclass(frozen=True)
class PacedChats:
    """A channel whose attempts are counted, and the chat that each of its targets leads to."""

    channel: str
    chat_of: Mapping[str, str]


@dataclass(frozen=True)
class Replacement:
    """A notification that takes the place of messages that wait, and why; it is as old as `created_at` says."""

    notification: Notification
    message_ids: tuple[int, ...]
    reason: str
    created_at: float | None = None
    """None for now."""
    code: str | None = None
    """What is noted as the error code of the messages."""


@dataclass(frozen=True)
class MergeableNotification:
    """What a digest needs of a notification that waits."""

    kind: NotificationKind
    content: Any
    created_at: float
    message_ids: tuple[int, ...]
    priority: int
    recipient: str | None = None
    origin: int | None = None
    """The notification that it took over, where its target is a fallback and the other may have it back."""
    came_from: tuple[str, ...] = ()
    """The targets that may have it back, the last first."""


@dataclass(frozen=True)
class MissingPictureWords:
    """What is told in a chat of a picture that cannot be made."""

    mark: Callable[[Message], str | None]
    """A text that waits → the same, saying that its picture is missing; None where there is no room."""
    stand_in: Callable[[Message], str]
    """A picture that follows no text → what stands in for it."""


@dataclass(frozen=True)
class PutRequest:
    """What somebody wants stored in one transaction."""

    items: Sequence[Notification]
    received: Received | None = None
    also: StoredAlong | None = None
    received_id: int | None = None
    """What was received before, and led to it."""


# Built once: they are run for every alert.
_INSERT_NOTIFICATION = PreparedStatement(sa.insert(notifications))
_INSERT_MESSAGE = PreparedStatement(sa.insert(messages), columns=MESSAGE_COLUMNS)
_LAST_IDS = PreparedStatement(
    sa.select(
        sa.select(sa.func.coalesce(sa.func.max(notifications.c.id), 0)).scalar_subquery().label("notification"),
        sa.select(sa.func.coalesce(sa.func.max(messages.c.id), 0)).scalar_subquery().label("message"),
    )
)


def insert_requests(
    connection: Connection,
    requests: Sequence[PutRequest],
    *,
    now: float,
    dedupe_window: float = 0.0,
    created_at: float | None = None,
) -> list[Accepted]:
    """Store notifications for several who ask at the same time, with few statements; their answers, in order.

    `created_at` is `now` unless what is stored takes the place of something older.
    """
    created = now if created_at is None else created_at
    asked = [item for request in requests for item in request.items] if dedupe_window > 0 else []
    repeats = RepeatFinder(connection, asked, since=now - dedupe_window, now=now)
    # The transaction holds the write lock from its beginning, so nobody else takes these ids.
    ((notification_id, message_id),) = _LAST_IDS.rows(connection)
    rows: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    answers = []
    for request in requests:
        first, duplicates = message_id + 1, 0
        for item in request.items:
            if dedupe_window > 0 and repeats.is_repeat(item):
                duplicates += len(item.bodies)
                continue
            notification_id += 1
            notes.append(
                notification_row(item, number=notification_id, received_id=request.received_id, created_at=created)
            )
            rows += message_rows(
                item, first_id=message_id + 1, notification_id=notification_id, now=now, created_at=created
            )
            message_id += len(item.bodies)
        ids = tuple(range(first, message_id + 1))
        answers.append(Accepted(queued=len(ids), duplicates=duplicates, ids=ids))
    _INSERT_NOTIFICATION.run_many(connection, notes)
    _INSERT_MESSAGE.run_many(connection, rows)
    return answers


_TAKE = PreparedStatement(
    sa.update(messages)
    .where(messages.c.id == sa.bindparam("message_id"))
    .values(
        state=MessageState.SENDING,
        tries=messages.c.tries + 1,
        first_tried_at=sa.func.coalesce(messages.c.first_tried_at, sa.bindparam("at")),
        tried_at=sa.bindparam("at"),
    )
)


_INSERT_SEND = PreparedStatement(sa.insert(sends), columns=("channel", "chat", "at"))


def insert_send(connection: Connection, paced: PacedChats, target: str, now: float) -> int:
    """Count an attempt to send to a target; returns the number of its row."""
    return _INSERT_SEND.insert(connection, {"channel": paced.channel, "chat": paced.chat_of[target], "at": now})


@dataclass(frozen=True)
class TakenHeads:
    """The messages that were taken out to be sent, and the targets that have none that may leave now."""

    messages: Sequence[Message]
    quiet: tuple[str, ...]


def claim_heads(
    connection: Connection,
    targets: Sequence[str],
    now: float,
    limit: int,
    paced: PacedChats | None,
    only: Mapping[str, int] | None = None,
) -> TakenHeads:
    """Take the next message of each target, at most `limit` in all, and mark them as being sent (`Outbox.claim`)."""
    found = {target: _head(connection, target, now, (only or {}).get(target)) for target in targets}
    quiet = tuple(target for target, head in found.items() if head is None)
    heads = [head for head in found.values() if head is not None]
    heads.sort(key=lambda row: (row.priority, row.id))
    if paced is not None:
        first: dict[str, Any] = {}
        for head in heads:
            first.setdefault(paced.chat_of[head.target], head)
        heads = list(first.values())
    chosen = heads[:limit]
    _TAKE.run_many(connection, [{"message_id": row.id, "at": now} for row in chosen])
    taken = [replace(message_of(row), state=MessageState.SENDING, tries=row.tries + 1) for row in chosen]
    return TakenHeads(taken, quiet)


def _first_text(priority: Priority) -> Any:
    query = sa.select(messages.c.id).where(
        sa.text(OPEN_TEXT), messages.c.target == sa.bindparam("target"), messages.c.priority == int(priority)
    )
    return query.order_by(messages.c.id).limit(1).correlate(None).scalar_subquery()


def _first_picture(priority: Priority) -> Any:
    """The first picture that may leave. Pictures leave behind their texts, so a look at the first ones is enough."""
    drawn = (
        sa.select(messages.c.id, messages.c.follows, messages.c.state, messages.c.next_try_at)
        .where(sa.text(DRAWN), messages.c.target == sa.bindparam("target"), messages.c.priority == int(priority))
        .order_by(messages.c.id)
        .limit(MAX_PICTURES_LOOKED_AT)
        .correlate(None)
        .subquery()
    )
    own_text = messages.alias()
    is_untold = sa.exists().where(own_text.c.id == drawn.c.follows, own_text.c.state.in_(OPEN_STATES))
    now: sa.BindParameter[float] = sa.bindparam("now")
    query = sa.select(drawn.c.id).where(
        drawn.c.state == MessageState.QUEUED,
        sa.or_(drawn.c.next_try_at <= now, drawn.c.next_try_at > now + MAX_RETRY_WAIT_SECONDS),
        ~is_untold,
    )
    return query.order_by(drawn.c.id).limit(1).correlate(None).scalar_subquery()


_HEADS = PreparedStatement(
    sa.select(messages)
    .where(messages.c.id.in_([first(priority) for priority in Priority for first in (_first_text, _first_picture)]))
    .order_by(messages.c.priority, messages.c.id)
)
"""Of one target, for each priority: the first open text, which alone may leave, and the first picture that may."""


def _head(connection: Connection, target: str, now: float, only: int | None) -> Any:
    """The row of a target that may leave now; None where there is none. `only` is one that goes before all others."""
    if only is not None:
        query = sa.select(messages).where(messages.c.id == only, messages.c.state == MessageState.QUEUED)
        if row := connection.execute(query.where(messages.c.target == target)).first():
            return row if is_due(row.next_try_at, now) else None
    rows = _HEADS.rows(connection, {"target": target, "now": now})
    return next((row for row in rows if row.state == MessageState.QUEUED and is_due(row.next_try_at, now)), None)


def is_due(at: float, now: float) -> bool:
    """Tell whether what was put back until a time may go; also where that is so far away that the clock was set."""
    return at <= now or at > now + MAX_RETRY_WAIT_SECONDS


_DUE = PreparedStatement(
    sa.select(sa.func.min(messages.c.next_try_at).label("at")).where(
        sa.text(PUT_BACK),
        messages.c.target == sa.bindparam("target"),
        messages.c.next_try_at > sa.bindparam("now"),
        messages.c.next_try_at <= sa.bindparam("until"),
    )
)


def select_dues(connection: Connection, targets: Sequence[str], now: float) -> dict[str, float]:
    """Select when the earliest waiting retry of each target is due; targets without one are left out."""
    until = now + MAX_RETRY_WAIT_SECONDS
    found = {name: _DUE.rows(connection, {"target": name, "now": now, "until": until})[0].at for name in targets}
    return {name: at for name, at in found.items() if at is not None}


_RECORD_SENT = PreparedStatement(
    sa.update(messages)
    .where(messages.c.id == sa.bindparam("message_id"))
    .values(
        state=MessageState.SENT,
        settled_at=sa.bindparam("at"),
        receipt=sa.bindparam("receipt"),
        error=None,
        error_code=None,
    )
)


_FORGET_CONTENT = PreparedStatement(
    sa.update(notifications)
    .where(
        notifications.c.id
        == sa.select(messages.c.notification_id).where(messages.c.id == sa.bindparam("message_id")).scalar_subquery(),
        notifications.c.kind == NotificationKind.ALERT,
        sa.cast(notifications.c.content, sa.Text).not_like(f'%"{BODY}": "%'),
        ~sa.exists().where(
            messages.c.notification_id == notifications.c.id,
            messages.c.state.concat("").not_in((MessageState.SENT, MessageState.NO_PICTURE)),
        ),
    )
    .values(content=sa.null())
)
"""What an alert said is kept with the alert; its notification needs it no more once it is sent whole.

But for bodies of which a message shows a part: such an alert may have no identity, and is kept nowhere else."""


def record_sent(connection: Connection, sent: Sequence[SentMessage]) -> None:
    """Close messages that were sent; free where there are none."""
    rows = [
        {"message_id": each.message_id, "at": each.at, "receipt": replace_surrogates_or_none(each.receipt)}
        for each in sent
    ]
    _RECORD_SENT.run_many(connection, rows)
    _FORGET_CONTENT.run_many(connection, rows)


def close_messages(
    connection: Connection,
    message_ids: Sequence[int],
    state: MessageState,
    *,
    now: float,
    error: str,
    values: Mapping[str, Any] | None = None,
) -> int:
    """Close messages in a state that is not open, and set further `values`; returns how many."""
    all_values = {"state": state, "settled_at": now, "error": replace_surrogates(error), **(values or {})}
    return connection.execute(sa.update(messages).where(messages.c.id.in_(message_ids)).values(all_values)).rowcount


def replace_surrogates_or_none(text: str | None) -> str | None:
    """Make a text storable (`replace_surrogates`), if there is one."""
    return None if text is None else replace_surrogates(text)


def replace_messages(connection: Connection, replacement: Replacement, state: MessageState, *, now: float) -> None:
    """Close messages in a state that says who took over, and store the notification that takes their place."""
    values = {"error_code": replacement.code} if replacement.code else None
    close_messages(connection, replacement.message_ids, state, now=now, error=replacement.reason, values=values)
    insert_requests(connection, [PutRequest([replacement.notification])], now=now, created_at=replacement.created_at)


def select_mergeable(connection: Connection, target: str, limit: int) -> list[MergeableNotification]:
    """Select what a digest may replace, among the oldest `limit` messages of a target (`Outbox.merge`)."""
    ids = list(dict.fromkeys(connection.execute(MERGEABLE, {"target": target, "limit": limit}).scalars()))
    groups: dict[int, list[Any]] = {}
    columns = sa.select(
        messages.c.id, messages.c.notification_id, messages.c.state, messages.c.priority, messages.c.recipient
    )
    for row in connection.execute(columns.where(messages.c.notification_id.in_(ids)).order_by(messages.c.id)):
        groups.setdefault(row.notification_id, []).append(row)
    rows = connection.execute(sa.select(notifications).where(notifications.c.id.in_(ids))).all()
    waited = sa.select(messages.c.notification_id).where(
        messages.c.notification_id.in_([row.origin for row in rows if row.origin is not None]),
        messages.c.state == MessageState.FAILED_OVER,
        messages.c.error_code == WAITED_TOO_LONG,
    )
    origins = set(connection.execute(waited).scalars()) if any(row.origin is not None for row in rows) else set()
    found = [
        MergeableNotification(
            kind=NotificationKind(row.kind),
            content=row.content,
            created_at=row.created_at,
            message_ids=tuple(message.id for message in groups[row.id]),
            priority=min(message.priority for message in groups[row.id]),
            recipient=groups[row.id][0].recipient,
            origin=row.origin if row.origin in origins else None,
            came_from=tuple(list_origins(connection, row.origin)) if row.origin in origins else (),
        )
        for row in rows
        if all(message.state == MessageState.QUEUED for message in groups[row.id])
    ]
    return sorted(found, key=lambda each: (each.kind is not NotificationKind.DIGEST, each.message_ids))


def take_back(connection: Connection, target: str, fallbacks: Sequence[str], *, now: float, limit: int) -> int:
    """Queue again at a target what fallbacks took over and have not tried to send; returns how many messages.

    Digests are not among it: they may be of more than their origin.
    """
    waiting = (
        sa.select(messages.c.notification_id)
        .join(notifications, notifications.c.id == messages.c.notification_id)
        .where(
            sa.text(f"messages.{OPEN}"),
            messages.c.target.in_(fallbacks),
            notifications.c.origin.is_not(None),
            notifications.c.kind != NotificationKind.DIGEST,
        )
        .distinct()
        .limit(limit)
    )
    count = 0
    for notification_id in list(connection.execute(waiting).scalars()):
        own = connection.execute(sa.select(messages).where(messages.c.notification_id == notification_id)).all()
        if any(row.state != MessageState.QUEUED or row.maybe_sent for row in own):
            continue
        origin = _find_origin(connection, notification_id, target)
        is_kept = sa.and_(
            messages.c.notification_id == origin,
            messages.c.state == MessageState.FAILED_OVER,
            messages.c.error_code == WAITED_TOO_LONG,
            messages.c.expires_at > now,
        )
        values = {
            "state": MessageState.QUEUED,
            "settled_at": None,
            "error": None,
            "error_code": None,
            # As of what is retried: open rows were made before now.
            "created_at": least(messages.c.created_at, now),
            "next_try_at": now,
        }
        back = connection.execute(sa.update(messages).where(is_kept).values(values)).rowcount
        if back:
            ids = [row.id for row in own]
            close_messages(connection, ids, MessageState.FAILED_OVER, now=now, error=f"{target} is back")
            count += back
    return count


def _find_origin(connection: Connection, notification_id: int, target: str) -> int | None:
    """Find the notification of a target that another stands for, over any number of fallbacks."""
    columns = sa.select(notifications.c.origin, notifications.c.target)
    current: int | None = notification_id
    while current is not None:
        row = connection.execute(columns.where(notifications.c.id == current)).first()
        if row is None or (row.target == target and current != notification_id):
            return None if row is None else current
        current = row.origin
    return None


def spec_of(message: Message) -> PictureSpec | None:
    """Tell what is to be drawn for a message; None where that is nothing."""
    return message.body.spec if isinstance(message.body, Picture) else None


def is_drawn_alike(one: PictureSpec | None, other: PictureSpec | None) -> bool:
    """Tell whether two would be drawn alike. Their links may differ: those belong to the messages."""
    return one is not None and other is not None and (one.kind, one.params) == (other.kind, other.params)


def select_alike(connection: Connection, message: Message) -> list[Message]:
    """Select those that wait for the same picture as a message; it is the first of them."""
    others = map(message_of, connection.execute(undrawn([message.id], MAX_ALIKE_PICTURES)))
    return [message, *(other for other in others if is_drawn_alike(spec_of(other), spec_of(message)))]


def miss_pictures(
    connection: Connection, message: Message, words: MissingPictureWords, *, now: float, error: str
) -> list[Message]:
    """Close a picture that cannot be made, and those who wait for the same (`Outbox.miss_pictures`)."""
    alike = select_alike(connection, message)
    for each in alike:
        is_open = sa.and_(sa.text(OPEN), messages.c.id == each.id)
        followed = sa.select(messages.c.follows).where(messages.c.id == each.id)
        text = connection.execute(sa.select(messages).where(messages.c.id == followed.scalar_subquery())).first()
        if text is None:
            values = {"kind": "text", "text": replace_surrogates(words.stand_in(each)), "mentions": [], "tries": 0}
            connection.execute(sa.update(messages).where(is_open).values(state=MessageState.QUEUED, **values))
            continue
        if text.state == MessageState.QUEUED and not text.maybe_sent and (marked := words.mark(message_of(text))):
            connection.execute(sa.update(messages).where(messages.c.id == text.id).values(text=marked))
        settled = {"state": MessageState.NO_PICTURE, "settled_at": now, "error": replace_surrogates(error)}
        connection.execute(sa.update(messages).where(is_open).values(settled))
    return alike


def prune(connection: Connection, limit: int, *, before: float, sends_before: float) -> Bite[tuple[str, ...]]:
    """Forget what was settled before a moment, and what came in and was sent before it.

    Gives the picture files that no message names any longer, and counts notifications, or POSTs.
    """
    is_needed = sa.exists().where(
        messages.c.notification_id == notifications.c.id,
        sa.or_(messages.c.settled_at.is_(None), messages.c.settled_at >= before),
    )
    query = sa.select(notifications.c.id).where(notifications.c.created_at < before, ~is_needed)
    old = list(connection.execute(query.order_by(notifications.c.created_at).limit(limit)).scalars())
    files = sa.select(messages.c.picture_file).where(
        messages.c.notification_id.in_(old), messages.c.picture_file.is_not(None)
    )
    gone = set(connection.execute(files).scalars())
    connection.execute(sa.delete(messages).where(messages.c.notification_id.in_(old)))
    connection.execute(sa.delete(notifications).where(notifications.c.id.in_(old)))
    # They are numbered as they were made.
    oldest = sa.select(sends.c.id).order_by(sends.c.id).limit(limit)
    connection.execute(sa.delete(sends).where(sends.c.id.in_(oldest), sends.c.at < sends_before))
    came = sa.select(received.c.id).where(received.c.at < before).order_by(received.c.at).limit(limit)
    gone_ids = list(connection.execute(came).scalars())
    forgotten = connection.execute(sa.delete(received).where(received.c.id.in_(gone_ids))).rowcount
    connection.execute(sa.delete(sightings).where(sightings.c.received_id.in_(gone_ids)))
    named = sa.select(messages.c.picture_file).where(messages.c.picture_file.in_(gone))
    return Bite(tuple(sorted(gone - set(connection.execute(named).scalars()))), max(len(old), forgotten))
