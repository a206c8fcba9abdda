"""The durable queue: one row is one message on the wire. Every statement on it is here.

The functions take a connection and run inside `Database.run`; they do no I/O of their own.
A message is *open* while it is queued or being sent, and settled for good in every other state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

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
    Text,
)
from wxbridge.core.schema import DRAWN, OPEN, OPEN_TEXT, PUT_BACK, TO_DRAW, messages, notifications, received, sends
from wxbridge.core.text.normalise import replace_surrogates

_PICTURES_LOOKED_AT = 200
_SETTLED = tuple(state for state in MessageState if state not in OPEN_STATES)
_CHUNK = 500
NO_ADDRESS = "no_address"
"""The error code of what waits because its room or contact cannot be told."""
LONGEST_WAIT = 300.0
"""Seconds. No retry is further away than this, so a longer wait means that the clock was set back."""


# Built once: they are run for every alert.
_INSERT_NOTIFICATION = sa.insert(notifications)
_INSERT_MESSAGE = sa.insert(messages)
_NEWEST_IDS = (
    sa.select(sa.func.max(notifications.c.id))
    .where(notifications.c.dedupe_group.in_(sa.bindparam("groups", expanding=True)))
    .group_by(notifications.c.dedupe_group)
)
_NEWEST_OF_GROUPS = sa.select(
    notifications.c.dedupe_group, notifications.c.dedupe_key, notifications.c.created_at
).where(notifications.c.id.in_(_NEWEST_IDS))
_SUCH_SINCE = sa.select(notifications.c.dedupe_key).where(
    notifications.c.dedupe_key.in_(sa.bindparam("keys", expanding=True)),
    notifications.c.created_at > sa.bindparam("since"),
)
_LAST_IDS = sa.select(
    sa.select(sa.func.coalesce(sa.func.max(notifications.c.id), 0)).scalar_subquery(),
    sa.select(sa.func.coalesce(sa.func.max(messages.c.id), 0)).scalar_subquery(),
)


def put(
    connection: Connection,
    items: Iterable[Notification],
    *,
    now: float,
    dedupe_window: float = 0,
    created_at: float | None = None,
) -> Accepted:
    """Store notifications and their messages; those with a dedupe key seen within the window are left out.

    `created_at` is `now` unless what is stored takes the place of something older.
    """
    return put_all(connection, [list(items)], now=now, dedupe_window=dedupe_window, created_at=created_at)[0]


def put_all(
    connection: Connection,
    requests: Sequence[Sequence[Notification]],
    *,
    now: float,
    dedupe_window: float = 0,
    created_at: float | None = None,
    came_in: Sequence[int | None] | None = None,
) -> list[Accepted]:
    """`put` for several who ask at the same time, with few statements; their answers, in order.

    `came_in` names, for each of them, what came in and led to it (`timeline.note`).
    """
    asked = [item for items in requests for item in items] if dedupe_window > 0 else []
    seen = _Seen(connection, asked, now - dedupe_window, now)
    # The transaction holds the write lock from its beginning, so nobody else takes these ids.
    notification_id, message_id = connection.execute(_LAST_IDS).one()
    rows: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    answers = []
    for place, items in enumerate(requests):
        post = came_in[place] if came_in else None
        ids: list[int] = []
        duplicates = 0
        for item in items:
            if dedupe_window > 0 and seen.is_repeat(item):
                duplicates += len(item.bodies)
                continue
            notification_id += 1
            notes.append(_note(item, notification_id, now if created_at is None else created_at, post))
            text_id: int | None = None
            for body in item.bodies:
                message_id += 1
                row = _row(item, body, now) | {"id": message_id, "notification_id": notification_id}
                row["follows"] = text_id if isinstance(body, Picture) else None
                if created_at is not None:
                    row |= {"created_at": created_at, "next_try_at": created_at}
                rows.append(row)
                ids.append(message_id)
                if isinstance(body, Text):
                    text_id = message_id
        answers.append(Accepted(queued=len(ids), duplicates=duplicates, ids=tuple(ids)))
    if notes:
        connection.execute(_INSERT_NOTIFICATION, notes)
    if rows:
        connection.execute(_INSERT_MESSAGE, rows)
    return answers


class _Seen:
    """What of some notifications was stored before, among them too; asks the database once for all."""

    def __init__(self, connection: Connection, items: Sequence[Notification], since: float, now: float) -> None:
        self._since = since
        self._now = now
        groups = {item.dedupe_group for item in items if item.dedupe_key and item.dedupe_group}
        keys = {item.dedupe_key for item in items if item.dedupe_key and not item.dedupe_group}
        # What lies in the future was just stored, before the clock was set back; `mend_times` and `shift_times`
        # end that.
        self._keys: set[str] = set()
        self._newest: dict[str, tuple[str | None, float]] = {}
        if keys:
            found = connection.execute(_SUCH_SINCE, {"keys": list(keys), "since": since})
            self._keys = {row.dedupe_key for row in found}
        if groups:
            newest = connection.execute(_NEWEST_OF_GROUPS, {"groups": list(groups)})
            self._newest = {row.dedupe_group: (row.dedupe_key, row.created_at) for row in newest}

    def is_repeat(self, item: Notification) -> bool:
        """Whether it is a repeat; what is none counts as stored from now on."""
        if not item.dedupe_key:
            return False
        if item.dedupe_group:
            key, created_at = self._newest.get(item.dedupe_group, (None, 0.0))
            repeat = key == item.dedupe_key and created_at > self._since
            self._newest[item.dedupe_group] = (item.dedupe_key, created_at if repeat else self._now)
            return repeat
        repeat = item.dedupe_key in self._keys
        self._keys.add(item.dedupe_key)
        return repeat


def _note(item: Notification, notification_id: int, created_at: float, post: int | None) -> dict[str, Any]:
    return {
        "id": notification_id,
        "created_at": created_at,
        "source": item.source,
        "target": item.target,
        "kind": item.kind,
        "origin": item.origin,
        "dedupe_key": item.dedupe_key,
        "dedupe_group": item.dedupe_group,
        "content": item.content,
        "received_id": post,
    }


def _storable_or_none(text: str | None) -> str | None:
    return None if text is None else replace_surrogates(text)


def _row(item: Notification, body: Text | Picture, now: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "target": item.target,
        "priority": int(item.priority),
        "state": MessageState.DEAD if item.dead else MessageState.QUEUED,
        "error": item.dead,
        "settled_at": now if item.dead else None,
        "created_at": now,
        "expires_at": now + item.expires_after,
        "next_try_at": now,
        "text": None,
        "format": None,
        "mentions": None,
        "picture_file": None,
        "picture_name": None,
        "picture_spec": None,
        "recipient": item.recipient,
    }
    if isinstance(body, Text):
        about = {"format": body.format, "mentions": list(body.mentions)}
        return row | {"kind": "text", "text": replace_surrogates(body.text)} | about
    return row | {
        "kind": "picture",
        "picture_file": body.file,
        "picture_name": replace_surrogates(body.name),
        "picture_spec": asdict(body.spec) if body.spec else None,
    }


def _message(row: Any) -> Message:
    spec = PictureSpec(**row.picture_spec) if row.picture_spec else None
    body: Text | Picture
    if row.kind == "text":
        body = Text(row.text, tuple(row.mentions or ()), row.format or "text")
    else:
        body = Picture(row.picture_file, spec, row.picture_name or "picture.png")
    return Message(
        id=row.id,
        notification_id=row.notification_id,
        target=row.target,
        priority=row.priority,
        state=MessageState(row.state),
        body=body,
        created_at=row.created_at,
        expires_at=row.expires_at,
        next_try_at=row.next_try_at,
        tries=row.tries,
        maybe_sent=row.maybe_sent,
        recipient=row.recipient,
        settled_at=row.settled_at,
        receipt=row.receipt,
        error_code=row.error_code,
        error=row.error,
    )


# ---------------------------------------------------------------- taking messages out


_TAKE = (
    sa.update(messages)
    .where(messages.c.id == sa.bindparam("message_id"))
    .values(state=MessageState.SENDING, tries=messages.c.tries + 1)
)


def claim(
    connection: Connection,
    targets: Sequence[str],
    *,
    now: float,
    limit: int,
    chat_of: Callable[[str], str] | None = None,
) -> list[Message]:
    """Take the next message of each target, at most `limit` in all, and mark them as being sent.

    Per target and priority texts leave in order; a picture leaves once it is drawn and its text is settled, and
    holds nobody up. Across targets the more urgent leave first. With `chat_of`, which tells a target's chat, of
    several targets in one chat only one gets its turn.
    """
    heads = [head for target in targets if (head := _head(connection, target, now))]
    heads.sort(key=lambda row: (row.priority, row.id))
    if chat_of is not None:
        first: dict[str, Any] = {}
        for head in heads:
            first.setdefault(chat_of(head.target), head)
        heads = list(first.values())
    chosen = heads[:limit]
    if chosen:
        connection.execute(_TAKE, [{"message_id": row.id} for row in chosen])
    return [replace(_message(row), state=MessageState.SENDING, tries=row.tries + 1) for row in chosen]


def _first_text(priority: Priority) -> Any:
    query = sa.select(messages.c.id).where(
        sa.text(OPEN_TEXT),
        messages.c.target == sa.bindparam("target"),
        messages.c.priority == int(priority),
    )
    return query.order_by(messages.c.id).limit(1).correlate(None).scalar_subquery()


def _first_picture(priority: Priority) -> Any:
    """The first picture that may leave. Pictures leave behind their texts, so a look at the first ones is enough."""
    drawn = (
        sa.select(messages.c.id, messages.c.follows, messages.c.state, messages.c.next_try_at)
        .where(
            sa.text(DRAWN),
            messages.c.target == sa.bindparam("target"),
            messages.c.priority == int(priority),
        )
        .order_by(messages.c.id)
        .limit(_PICTURES_LOOKED_AT)
        .correlate(None)
        .subquery()
    )
    own_text = messages.alias()
    untold = sa.exists().where(own_text.c.id == drawn.c.follows, own_text.c.state.in_(OPEN_STATES))
    now: sa.BindParameter[float] = sa.bindparam("now")
    query = sa.select(drawn.c.id).where(
        drawn.c.state == MessageState.QUEUED,
        sa.or_(drawn.c.next_try_at <= now, drawn.c.next_try_at > now + LONGEST_WAIT),
        ~untold,
    )
    return query.order_by(drawn.c.id).limit(1).correlate(None).scalar_subquery()


_HEADS = (
    sa.select(messages)
    .where(messages.c.id.in_([first(priority) for priority in Priority for first in (_first_text, _first_picture)]))
    .order_by(messages.c.priority, messages.c.id)
)
"""Of one target, for each priority: the first open text, which alone may leave, and the first picture that may."""


def _head(connection: Connection, target: str, now: float) -> Any:
    """The row of a target that may leave now; None where there is none."""
    rows = connection.execute(_HEADS, {"target": target, "now": now})
    return next((row for row in rows if row.state == MessageState.QUEUED and _due(row.next_try_at, now)), None)


def _due(at: float, now: float) -> bool:
    return at <= now or at > now + LONGEST_WAIT


def next_due(connection: Connection, targets: Sequence[str], *, now: float) -> float | None:
    """When the earliest waiting retry of these targets is due; None where nothing waits for a time."""
    found: float | None = connection.execute(
        sa.select(sa.func.min(messages.c.next_try_at)).where(
            sa.text(PUT_BACK),
            messages.c.target.in_(targets),
            messages.c.next_try_at > now,
            messages.c.next_try_at <= now + LONGEST_WAIT,
        ),
    ).scalar()
    return found


def shift_times(connection: Connection, *, by: float, since: float) -> None:
    """The clock was set back by so many seconds (on, where negative): let what waits, and what is new, keep its age.

    Without that a new alert would pass for the repeat of an older one, and fallbacks and retries would come late.
    """
    created = notifications.c.created_at
    connection.execute(
        sa.update(messages)
        .where(sa.text(OPEN))
        .values(
            created_at=messages.c.created_at - by,
            next_try_at=messages.c.next_try_at - by,
            expires_at=messages.c.expires_at - by,
        ),
    )
    connection.execute(sa.update(notifications).where(created > since).values(created_at=created - by))


def shift_sends(connection: Connection, *, by: float, since: float) -> None:
    """The clock was set back, or with a negative `by` on: let the attempts to send keep their age."""
    connection.execute(sa.update(sends).where(sends.c.at > since).values(at=sends.c.at - by))


def mend_times(connection: Connection, *, now: float) -> None:
    """At a start: what was stored in the future, by a clock that was set back since, counts as just stored."""
    ahead = sa.select(notifications.c.id).where(notifications.c.created_at > now)
    connection.execute(
        sa.update(messages)
        .where(sa.text(OPEN), messages.c.notification_id.in_(ahead), messages.c.created_at > now)
        .values(created_at=now, next_try_at=now, expires_at=messages.c.expires_at - messages.c.created_at + now),
    )
    connection.execute(sa.update(notifications).where(notifications.c.created_at > now).values(created_at=now))


def recover(connection: Connection) -> int:
    """After a crash: what was being sent is queued again, marked as a possible repeat. Returns how many."""
    return connection.execute(
        sa.update(messages)
        .where(sa.text(OPEN), messages.c.state == MessageState.SENDING)
        .values(state=MessageState.QUEUED, maybe_sent=True),
    ).rowcount


# ---------------------------------------------------------------- settling


@dataclass(frozen=True)
class Sent:
    """That a message was sent: when, in seconds since the epoch, and the service's id of it, where it gave one."""

    message_id: int
    at: float
    receipt: str | None = None


_SETTLE_SENT = (
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


def settle_sent(connection: Connection, sent: Sequence[Sent]) -> None:
    """Close messages that were sent; free where there are none."""
    if sent:
        rows = [asdict(each) | {"receipt": _storable_or_none(each.receipt)} for each in sent]
        connection.execute(_SETTLE_SENT, rows)


def settle(
    connection: Connection,
    message_id: int,
    state: MessageState,
    *,
    now: float,
    receipt: str | None = None,
    error: str | None = None,
    code: str | None = None,
) -> None:
    """Close a message for good, in a state that is not open."""
    connection.execute(
        sa.update(messages)
        .where(messages.c.id == message_id)
        .values(
            state=state,
            settled_at=now,
            receipt=_storable_or_none(receipt),
            error=_storable_or_none(error),
            error_code=_storable_or_none(code),
        ),
    )


def put_back(
    connection: Connection,
    message_id: int,
    *,
    at: float,
    error: str,
    code: str | None = None,
    spent: bool = True,
    maybe_sent: bool = False,
) -> None:
    """Queue a message again for `at`. `spent` says whether the attempt counts as a try."""
    values: dict[str, Any] = {
        "state": MessageState.QUEUED,
        "next_try_at": at,
        "error": replace_surrogates(error),
        "error_code": _storable_or_none(code),
    }
    if not spent:
        values["tries"] = sa.func.max(messages.c.tries - 1, 0)
    if maybe_sent:
        values["maybe_sent"] = True
    connection.execute(sa.update(messages).where(messages.c.id == message_id).values(values))


def expire(connection: Connection, *, now: float, limit: int = 1000) -> list[Message]:
    """Close queued messages that are no longer worth sending, the oldest `limit` of them, and return them."""
    rows = connection.execute(
        sa.select(messages)
        .where(
            sa.text(OPEN),
            messages.c.state == MessageState.QUEUED,
            messages.c.expires_at <= now,
        )
        .order_by(messages.c.expires_at)
        .limit(limit),
    ).all()
    gone = []
    for row in rows:
        reason = f"expired after waiting; last: {row.error}" if row.error else "expired while waiting"
        settle(connection, row.id, MessageState.EXPIRED, now=now, error=reason, code=row.error_code)
        gone.append(replace(_message(row), state=MessageState.EXPIRED, settled_at=now, error=reason))
    return gone


def any_expired(connection: Connection, *, now: float) -> bool:
    """Whether `expire` has something to do."""
    query = sa.select(messages.c.id).where(
        sa.text(OPEN),
        messages.c.state == MessageState.QUEUED,
        messages.c.expires_at <= now,
    )
    return connection.execute(query.limit(1)).first() is not None


# ---------------------------------------------------------------- whole notifications


@dataclass(frozen=True)
class Stored:
    """A notification as it lies in the database, with all its messages in order."""

    id: int
    source: str
    kind: NotificationKind
    content: Any
    created_at: float
    messages: tuple[Message, ...]
    visited: tuple[str, ...] = ()
    """The targets that this notification was meant for, before and now."""


def stored(connection: Connection, notification_id: int) -> Stored | None:
    """Read a notification; None where it was forgotten."""
    row = connection.execute(sa.select(notifications).where(notifications.c.id == notification_id)).first()
    if row is None:
        return None
    query = sa.select(messages).where(messages.c.notification_id == notification_id).order_by(messages.c.id)
    found = tuple(_message(each) for each in connection.execute(query))
    visited, origin = [row.target], row.origin
    while origin is not None:
        before = connection.execute(
            sa.select(notifications.c.target, notifications.c.origin).where(notifications.c.id == origin),
        ).first()
        if before is None:
            break
        visited.append(before.target)
        origin = before.origin
    kind = NotificationKind(row.kind)
    return Stored(row.id, row.source, kind, row.content, row.created_at, found, tuple(visited))


def overdue(
    connection: Connection,
    target: str,
    *,
    created_before: float,
    after: tuple[float, int] = (0.0, 0),
    limit: int = 200,
) -> tuple[list[int], tuple[float, int] | None]:
    """The notifications of a target that have waited since before a moment; greetings are never among them.

    Looks at `limit` messages behind the place `after`; also returns the place to go on from, None at the end.
    """
    created, at = messages.c.created_at, sa.tuple_(messages.c.created_at, messages.c.id)
    rows = connection.execute(
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
    ).all()
    found = {
        row.notification_id: None
        for row in rows
        if row.state == MessageState.QUEUED and row.kind != NotificationKind.GREETING
    }
    return list(found), (rows[-1].created_at, rows[-1].id) if len(rows) == limit else None


def close_all(
    connection: Connection, message_ids: Sequence[int], state: MessageState, *, now: float, error: str
) -> int:
    """Close messages, in a state that says who took over; returns how many."""
    return connection.execute(
        sa.update(messages)
        .where(messages.c.id.in_(message_ids))
        .values(state=state, settled_at=now, error=replace_surrogates(error)),
    ).rowcount


def _waiting_to_merge(target: str) -> sa.Select[Any]:
    return (
        sa.select(messages.c.notification_id)
        .join(notifications, notifications.c.id == messages.c.notification_id)
        .where(
            sa.text(f"messages.{OPEN}"),
            messages.c.target == target,
            notifications.c.kind.in_((NotificationKind.ALERT, NotificationKind.DIGEST)),
            notifications.c.content.is_not(None),
        )
    )


def count_mergeable(connection: Connection, target: str, *, limit: int) -> int:
    """How many messages of alerts and digests wait for a target; counts no further than `limit`."""
    some = _waiting_to_merge(target).limit(limit).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()


@dataclass(frozen=True)
class Mergeable:
    """What a digest needs of a notification that waits."""

    kind: NotificationKind
    content: Any
    created_at: float
    message_ids: tuple[int, ...]
    priority: int
    recipient: str | None = None


def mergeable(connection: Connection, target: str, *, limit: int) -> list[Mergeable]:
    """The notifications of a target of which nothing was sent or is being sent: what a digest may replace.

    Only those of the oldest `limit` messages, so that a storm of any size is merged in bites. An earlier digest
    has the age of the oldest that it replaced, so it is among them, and comes first.
    """
    query = _waiting_to_merge(target).order_by(messages.c.created_at, messages.c.id).limit(limit)
    ids = list(dict.fromkeys(connection.execute(query).scalars()))
    groups: dict[int, list[Any]] = {}
    columns = sa.select(
        messages.c.id, messages.c.notification_id, messages.c.state, messages.c.priority, messages.c.recipient
    )
    for row in connection.execute(columns.where(messages.c.notification_id.in_(ids)).order_by(messages.c.id)):
        groups.setdefault(row.notification_id, []).append(row)
    found = [
        Mergeable(
            kind=NotificationKind(row.kind),
            content=row.content,
            created_at=row.created_at,
            message_ids=tuple(message.id for message in groups[row.id]),
            priority=min(message.priority for message in groups[row.id]),
            recipient=groups[row.id][0].recipient,
        )
        for row in connection.execute(sa.select(notifications).where(notifications.c.id.in_(ids)))
        if all(message.state == MessageState.QUEUED for message in groups[row.id])
    ]
    return sorted(found, key=lambda each: (each.kind is not NotificationKind.DIGEST, each.message_ids))


def waits_since_before(connection: Connection, targets: Sequence[str], *, moment: float) -> bool:
    """Whether something that was created before a moment is still to be sent to one of these targets."""
    query = sa.select(messages.c.id).where(
        sa.text(OPEN),
        messages.c.target.in_(targets),
        messages.c.created_at <= moment,
    )
    return connection.execute(query.limit(1)).first() is not None


def outage_counts(connection: Connection, targets: Sequence[str], *, began: float, ended: float) -> tuple[int, int]:
    """Of the messages that were created before an outage's end: sent, and taken over, since it began."""
    found = connection.execute(
        sa.select(messages.c.state, sa.func.count())
        .where(
            messages.c.state.in_((MessageState.SENT, MessageState.FAILED_OVER)),
            messages.c.settled_at >= began,
            messages.c.target.in_(targets),
            messages.c.created_at <= ended,
        )
        .group_by(messages.c.state),
    )
    count = {row[0]: row[1] for row in found}
    return count.get(MessageState.SENT, 0), count.get(MessageState.FAILED_OVER, 0)


# ---------------------------------------------------------------- pictures


def to_draw(connection: Connection, *, skip: Iterable[int], limit: int) -> list[Message]:
    """The pictures that wait to be drawn, the most urgent first."""
    rows = connection.execute(
        sa.select(messages)
        .where(
            sa.text(TO_DRAW),
            messages.c.id.not_in(list(skip)),
        )
        .order_by(messages.c.priority, messages.c.id)
        .limit(limit),
    )
    return [_message(row) for row in rows]


def drawn(connection: Connection, message_id: int, file: str) -> None:
    """Note the file of a picture that was drawn."""
    connection.execute(sa.update(messages).where(messages.c.id == message_id).values(picture_file=file))


def draw_as_text(connection: Connection, message_id: int, text: str) -> None:
    """Turn a picture that cannot be made into a line of text, unless it was settled meanwhile."""
    connection.execute(
        sa.update(messages)
        .where(sa.text(OPEN), messages.c.id == message_id)
        .values(kind="text", text=replace_surrogates(text), mentions=[]),
    )


def leave_out(connection: Connection, message_id: int) -> None:
    """Forget a picture of which there is none to be drawn, unless it was settled meanwhile."""
    connection.execute(sa.delete(messages).where(sa.text(OPEN), messages.c.id == message_id))


def picture_files(connection: Connection) -> set[str]:
    """The picture files that messages name."""
    return set(
        connection.execute(sa.select(messages.c.picture_file).where(messages.c.picture_file.is_not(None))).scalars(),
    )


# ---------------------------------------------------------------- pace


def note_send(connection: Connection, channel: str, chat: str, *, now: float) -> int:
    """Count an attempt to send, so that the pace holds across a restart; returns its id."""
    done = connection.execute(sa.insert(sends).values(channel=channel, chat=chat, at=now))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


def forget_send(connection: Connection, send_id: int) -> None:
    """Take an attempt back that never reached the service."""
    connection.execute(sa.delete(sends).where(sends.c.id == send_id))


def recent_sends(connection: Connection, channel: str, *, since: float) -> list[tuple[str, float]]:
    """The attempts of a channel since a moment, oldest first: chat and time."""
    rows = connection.execute(
        sa.select(sends.c.chat, sends.c.at).where(sends.c.channel == channel, sends.c.at > since).order_by(sends.c.at),
    )
    return [(row.chat, row.at) for row in rows]


# ---------------------------------------------------------------- looking and mending


def listing(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    target: str | None = None,
    since: float | None = None,
    limit: int = 100,
) -> list[Message]:
    """Messages, the newest first."""
    query = sa.select(messages).order_by(messages.c.id.desc()).limit(limit)
    if states:
        query = query.where(messages.c.state.in_(states))
    if target:
        query = query.where(messages.c.target == target)
    if since is not None:
        query = query.where(messages.c.created_at >= since)
    return [_message(row) for row in connection.execute(query)]


def read(connection: Connection, query: sa.Select[Any]) -> list[Message]:
    """The messages that a query on the whole table gives."""
    return [_message(row) for row in connection.execute(query)]


def get(connection: Connection, message_ids: Sequence[int]) -> list[Message]:
    """Messages by id, in order of id; those that do not exist are left out."""
    rows = connection.execute(sa.select(messages).where(messages.c.id.in_(message_ids)).order_by(messages.c.id))
    return [_message(row) for row in rows]


def retry(connection: Connection, message_ids: Sequence[int], *, now: float, expires_after: float) -> int:
    """Queue settled messages again, or open ones at once; returns how many."""
    return connection.execute(
        sa.update(messages)
        .where(messages.c.id.in_(message_ids), messages.c.state != MessageState.SENDING)
        .values(
            state=MessageState.QUEUED,
            next_try_at=now,
            tries=0,
            settled_at=None,
            receipt=None,
            expires_at=sa.func.max(messages.c.expires_at, now + expires_after),
        ),
    ).rowcount


def drop(connection: Connection, message_ids: Sequence[int], *, now: float) -> int:
    """Close queued messages unsent, on a person's word; returns how many."""
    return connection.execute(
        sa.update(messages)
        .where(messages.c.id.in_(message_ids), messages.c.state == MessageState.QUEUED)
        .values(state=MessageState.DEAD, settled_at=now, error="dropped by hand", error_code="dropped"),
    ).rowcount


def counts(connection: Connection) -> list[tuple[str, str, int, float]]:
    """For each target and state: how many messages, and when the oldest was created."""
    rows = connection.execute(
        sa.select(
            messages.c.target,
            messages.c.state,
            sa.func.count(),
            sa.func.min(messages.c.created_at),
        ).group_by(messages.c.target, messages.c.state),
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def tally(connection: Connection, *, since: float, until: float) -> dict[tuple[str, str], int]:
    """How many messages were settled from `since` until before `until`, by target and state."""
    rows = connection.execute(
        sa.select(messages.c.target, messages.c.state, sa.func.count())
        .where(
            sa.text("settled_at IS NOT NULL"),  # as the index has it
            messages.c.state.in_(_SETTLED),
            messages.c.settled_at >= since,
            messages.c.settled_at < until,
        )
        .group_by(messages.c.target, messages.c.state),
    )
    return {(row[0], row[1]): row[2] for row in rows}


def settled(connection: Connection, states: Sequence[str], *, since: float, limit: int) -> list[Message]:
    """The messages that came to one of these states since a moment, the latest first."""
    rows = connection.execute(
        sa.select(messages)
        .where(
            sa.text("settled_at IS NOT NULL"),  # as the index has it
            messages.c.state.in_(states),
            messages.c.settled_at >= since,
        )
        .order_by(messages.c.settled_at.desc(), messages.c.id.desc())
        .limit(limit)
    )
    return [_message(row) for row in rows]


def backlog(connection: Connection) -> list[tuple[str, int, float]]:
    """For each target with open messages: how many, and when the oldest was created."""
    rows = connection.execute(
        sa.select(messages.c.target, sa.func.count(), sa.func.min(messages.c.created_at))
        .where(sa.text(OPEN))
        .group_by(messages.c.target),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def prune(connection: Connection, *, before: float, sends_before: float, limit: int = 1000) -> tuple[int, list[str]]:
    """Forget notifications whose messages were all settled before a moment, at most `limit` of them.

    Returns how many were forgotten, and the picture files that no message names any longer.
    """
    still_needed = sa.exists().where(
        messages.c.notification_id == notifications.c.id,
        sa.or_(messages.c.settled_at.is_(None), messages.c.settled_at >= before),
    )
    query = sa.select(notifications.c.id).where(notifications.c.created_at < before, ~still_needed)
    old = list(connection.execute(query.order_by(notifications.c.created_at).limit(limit)).scalars())
    files = sa.select(messages.c.picture_file).where(
        messages.c.notification_id.in_(old),
        messages.c.picture_file.is_not(None),
    )
    gone = set(connection.execute(files).scalars())
    connection.execute(sa.delete(messages).where(messages.c.notification_id.in_(old)))
    connection.execute(sa.delete(notifications).where(notifications.c.id.in_(old)))
    connection.execute(sa.delete(sends).where(sends.c.at < sends_before))
    came = sa.select(received.c.id).where(received.c.at < before).order_by(received.c.at).limit(limit)
    connection.execute(sa.delete(received).where(received.c.id.in_(came)))
    named = sa.select(messages.c.picture_file).where(messages.c.picture_file.in_(gone))
    return len(old), sorted(gone - set(connection.execute(named).scalars()))
