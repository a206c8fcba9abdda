"""How notifications and messages lie in their tables, and which of them are repeats of what lies there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.chunks import in_chunks
from wxbridge.core.model import (
    Body,
    Message,
    MessageState,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Priority,
    Text,
)
from wxbridge.core.prepared import PreparedStatement, fill_up
from wxbridge.core.schema import messages, notifications
from wxbridge.core.text.normalise import clean_text, replace_surrogates

MAX_GROUPS = 16
"""How many groups one statement looks into."""
_KEYS_SINCE = PreparedStatement(
    sa.select(notifications.c.dedupe_key).where(
        notifications.c.dedupe_key.in_(sa.bindparam("keys", expanding=True)),
        notifications.c.dedupe_group.is_(None),
        notifications.c.created_at > sa.bindparam("since"),
    ),
    keys="keys",
)


@cache
def _newest_of(count: int) -> PreparedStatement:
    """Build the statement for the newest notifications of so many groups, each looked up at the end of its own."""
    newest = (
        sa.select(sa.func.max(notifications.c.id))
        .where(notifications.c.dedupe_group == sa.bindparam(f"group_{place}"))
        .scalar_subquery()
        for place in range(count)
    )
    columns = sa.select(notifications.c.dedupe_group, notifications.c.dedupe_key, notifications.c.created_at)
    return PreparedStatement(columns.where(notifications.c.id.in_(list(newest))))


MESSAGE_COLUMNS = (
    "id", "notification_id", "target", "priority", "state", "kind", "text", "format", "mentions", "picture_file",
    "picture_name", "picture_spec", "follows", "recipient", "created_at", "expires_at", "next_try_at", "settled_at",
    "error",
)  # fmt: skip
"""What `message_rows` writes."""


@dataclass(frozen=True)
class StoredNotification:
    """A notification as it lies in the database, with all its messages in order."""

    id: int
    source: str
    kind: NotificationKind
    content: Any
    created_at: float
    messages: tuple[Message, ...]
    visited: tuple[str, ...] = ()
    """The targets that this notification was meant for, before and now."""

    def readdress(
        self, target: str, bodies: Sequence[Body], *, expires_after: float, messages: Sequence[Message] = ()
    ) -> Notification:
        """Make a notification that says the same to another target, as urgent as the most urgent of its messages.

        Args:
            target: Whom it is for.
            bodies: What it says there.
            expires_after: Seconds for which it is worth sending.
            messages: Those that it stands for; all where none are given.
        """
        return Notification(
            source=self.source,
            target=target,
            bodies=tuple(bodies),
            priority=Priority(min(message.priority for message in messages or self.messages)),
            kind=self.kind,
            content=self.content,
            expires_after=expires_after,
        )


class RepeatFinder:
    """Tells which of some notifications repeat what was stored before, or one another; asks the database once for all.

    Args:
        connection: Holds the transaction that stores them.
        items: The notifications that may be asked about.
        since: What was stored no later than this is no longer repeated; seconds since the epoch.
        now: When they are stored.
    """

    def __init__(self, connection: Connection, items: Sequence[Notification], *, since: float, now: float) -> None:
        self._since = since
        self._now = now
        groups = {item.dedupe_group for item in items if item.dedupe_key and item.dedupe_group}
        keys = {item.dedupe_key for item in items if item.dedupe_key and not item.dedupe_group}
        # What lies in the future was just stored, before the clock was set back; `recover` and `shift_times` end that.
        self._keys = {row.dedupe_key for row in _KEYS_SINCE.rows_of(connection, list(keys), {"since": since})}
        self._newest: dict[str, tuple[str | None, float]] = {}
        for chunk in in_chunks(groups, MAX_GROUPS):
            filled = fill_up(chunk)
            named = {f"group_{place}": group for place, group in enumerate(filled)}
            for group, key, created_at in _newest_of(len(filled)).rows(connection, named):
                self._newest[group] = (key, created_at)

    def is_repeat(self, item: Notification) -> bool:
        """Tell whether it is a repeat; what is none counts as stored from now on."""
        if not item.dedupe_key:
            return False
        if item.dedupe_group:
            key, created_at = self._newest.get(item.dedupe_group, (None, 0.0))
            since = self._since if item.dedupe_seconds is None else max(self._since, self._now - item.dedupe_seconds)
            is_repeat = bool(key == item.dedupe_key and created_at > since)
            self._newest[item.dedupe_group] = (item.dedupe_key, created_at if is_repeat else self._now)
            return is_repeat
        is_repeat = item.dedupe_key in self._keys
        self._keys.add(item.dedupe_key)
        return is_repeat


def notification_row(item: Notification, *, number: int, received_id: int | None, created_at: float) -> dict[str, Any]:
    """Write a notification as a row of `notifications`."""
    return {
        "id": number,
        "created_at": created_at,
        "source": item.source,
        "target": item.target,
        "kind": item.kind,
        "origin": item.origin,
        "dedupe_key": item.dedupe_key,
        "dedupe_group": item.dedupe_group,
        "content": item.content,
        "received_id": received_id,
    }


def message_rows(
    item: Notification, *, first_id: int, notification_id: int, now: float, created_at: float
) -> list[dict[str, Any]]:
    """Write the bodies of a notification as rows of `messages`, numbered from `first_id` on."""
    rows: list[dict[str, Any]] = []
    text_id: int | None = None
    for message_id, body in enumerate(item.bodies, first_id):
        row: dict[str, Any] = {
            "id": message_id,
            "notification_id": notification_id,
            "target": item.target,
            "priority": int(item.priority),
            "state": MessageState.QUEUED,
            "error": item.waits,
            "settled_at": None,
            "created_at": created_at,
            "expires_at": now + item.expires_after,
            "next_try_at": created_at,
            "recipient": item.recipient,
        }
        if isinstance(body, Text):
            row |= {
                "kind": "text",
                "text": clean_text(replace_surrogates(body.text)),
                "format": body.format,
                "follows": None,
            }
            row |= {"mentions": list(body.mentions) or None, "picture_file": None, "picture_name": None,
                    "picture_spec": None}  # fmt: skip
            text_id = message_id
        else:
            row |= {"kind": "picture", "text": None, "format": None, "mentions": None, "follows": text_id}
            row |= {"picture_file": body.file, "picture_name": clean_text(replace_surrogates(body.name))}
            row |= {"picture_spec": asdict(body.spec) if body.spec else None}
        rows.append(row)
    return rows


def message_of(row: Any) -> Message:
    """Read a row of `messages`."""
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
        drawn_at=row.drawn_at,
        first_tried_at=row.first_tried_at,
        tried_at=row.tried_at,
    )


def select_stored(connection: Connection, notification_id: int) -> StoredNotification | None:
    """Read a notification with its messages; None where it was forgotten."""
    row = connection.execute(sa.select(notifications).where(notifications.c.id == notification_id)).first()
    if row is None:
        return None
    query = sa.select(messages).where(messages.c.notification_id == notification_id).order_by(messages.c.id)
    found = tuple(message_of(each) for each in connection.execute(query))
    visited = (row.target, *list_origins(connection, row.origin))
    kind = NotificationKind(row.kind)
    return StoredNotification(row.id, row.source, kind, row.content, row.created_at, found, visited)


def list_origins(connection: Connection, origin: int | None) -> Iterator[str]:
    """List the targets that a notification was taken over from, the last first; `origin` is what it took over."""
    columns = sa.select(notifications.c.target, notifications.c.origin)
    while origin is not None and (before := connection.execute(columns.where(notifications.c.id == origin)).first()):
        yield before.target
        origin = before.origin
