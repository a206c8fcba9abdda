"""What came in and what became of it, the newest first: for the console's page.

An entry is one POST with the messages that it led to, or what the bridge said by itself (a job, a push, a digest).
The functions take a connection; `Outbox` calls them. A page costs the same however much is kept:
it goes on from a place (`TimelinePosition`), and what has no index is looked for within `MAX_NOTIFICATIONS_SEARCHED`
notifications at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.alerts.links import SHORT_KEY_BYTES, shorten_key
from wxbridge.core.model import OPEN_STATES, Message, MessageState, Received
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import NOT_TOLD, OPEN, messages, notifications, received, sightings
from wxbridge.core.text.normalise import replace_surrogates
from wxbridge.delivery.outbox_rows import message_of

ENTRIES_PER_PAGE = 40
"""Notifications and untold POSTs of one page."""
MAX_NOTIFICATIONS_SEARCHED = 50_000
"""Notifications that are searched for a text in one go."""
UNTOLD = "untold"
"""Stands for a state: what came in and led to no message."""
_MAX_TITLE_CHARS = 300
_MAX_TARGETS_PER_POST = 50
"""How many are told one by one."""


# ---------------------------------------------------------------- noting what came in


def record_received(connection: Connection, rows: Sequence[tuple[Received, int]], *, first: int, now: float) -> None:
    """Keep what came in: each with how many messages it led to, under the ids from `first` on."""
    _INSERT_RECEIVED.run_many(
        connection,
        [
            {
                "id": first + index, "at": now, "source": each.source, "alerts": each.alerts, "told": told,
                "title": replace_surrogates(each.title[:_MAX_TITLE_CHARS]),
                "routed": list(each.routed[:_MAX_TARGETS_PER_POST]),
            }
            for index, (each, told) in enumerate(rows)
        ],
    )  # fmt: skip
    seen = {
        (number_key(key), first + index)
        for index, (each, told) in enumerate(rows)
        for key in (*each.news, *(each.due if told else ()))
    }
    _INSERT_SIGHTING.run_many(connection, [{"alert": alert, "received_id": number} for alert, number in sorted(seen)])


def number_key(key: str) -> int:
    """Give the number that stands for an alert in `sightings`, by its key or what a short link says of it."""
    return int(shorten_key(key), 16)


_INSERT_RECEIVED = PreparedStatement(sa.insert(received))
_INSERT_SIGHTING = PreparedStatement(sa.insert(sightings))
_LAST_ID = PreparedStatement(sa.select(sa.func.coalesce(sa.func.max(received.c.id), 0).label("id")))


def next_id(connection: Connection) -> int:
    """The first id that `record_received` may give; hold the transaction until then."""
    return int(_LAST_ID.rows(connection)[0].id) + 1


# ---------------------------------------------------------------- reading it


@dataclass(frozen=True)
class TimelinePosition:
    """Where a page ends: the next one begins behind these ids."""

    notification: int
    received: int

    def __str__(self) -> str:
        return f"{self.notification}-{self.received}"

    @classmethod
    def read(cls, text: str) -> TimelinePosition | None:
        """Read what `str` wrote; None where it is something else."""
        parts = text.split("-")
        if len(parts) != 2 or not all(part.isascii() and part.isdecimal() and len(part) < 16 for part in parts):  # noqa: PLR2004 - two ids, below any count
            return None
        return cls(int(parts[0]), int(parts[1]))


@dataclass(frozen=True)
class TimelineFilter:
    """What to look for. Times are seconds since the epoch."""

    target: str = ""
    state: str = ""
    """A state of messages, `open` for all that is still to be sent, or `untold`."""
    text: str = ""
    since: float | None = None
    until: float | None = None

    @property
    def narrow(self) -> bool:
        """Whether it asks something of messages."""
        return bool(self.target or (self.state and self.state != UNTOLD))


@dataclass(frozen=True)
class TimelineNotification:
    """One notification with its messages."""

    id: int
    target: str
    source: str
    kind: str
    origin: int | None
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class TimelineEntry:
    """One thing that happened: `received` is what came in, None where the bridge spoke by itself."""

    at: float
    source: str
    title: str
    alerts: int
    routed: Sequence[Mapping[str, Any]]
    told: tuple[TimelineNotification, ...]
    received: int | None


@dataclass(frozen=True)
class TimelinePage:
    """A page of entries, the newest first, and where the next begins (None: there is no more)."""

    entries: tuple[TimelineEntry, ...]
    next: TimelinePosition | None
    searched_to: float | None = None
    """Where the search for a text stopped for now, although there is more."""


_NEWEST = TimelinePosition(10**14, 10**14)


def select_page(
    connection: Connection,
    asked: TimelineFilter,
    after: TimelinePosition | None = None,
    per_page: int = ENTRIES_PER_PAGE,
) -> TimelinePage:
    """Select a page of what matches `asked`, from `after` on."""
    place = after or _NEWEST
    low, exact = _lowest(connection, asked, place)
    notes = [] if asked.state == UNTOLD else _notes(connection, asked, place, low, per_page + 1)
    ended_early = not exact and len(notes) <= per_page
    searched_to = _time_of(connection, low) if ended_early else None
    quiet = [] if asked.narrow else _untold(connection, asked, place, searched_to, per_page + 1)
    merged = _merged(notes, quiet)
    shown, more = merged[:per_page], len(merged) > per_page
    ids = [row.id for row in shown if row.told is None]
    ends = TimelinePosition(
        min([place.notification, *ids]), min([place.received, *(row.id for row in shown if row.told is not None)])
    )
    if ids and not (asked.narrow or asked.text):
        # Without a question, a POST is shown with all that it led to, where the newest of that stands.
        ids += _rest(connection, shown)
    if ended_early and not more:
        ends = TimelinePosition(low, ends.received)
    entries = _entries(connection, shown, ids)
    return TimelinePage(tuple(entries), ends if more or ended_early else None, None if more else searched_to)


def select_entry(connection: Connection, message_id: int) -> TimelineEntry | None:
    """Select the entry that a message belongs to; None where there is no such message."""
    note = connection.execute(
        sa.select(*_NOTE)
        .join(messages, messages.c.notification_id == notifications.c.id)
        .where(messages.c.id == message_id)
    ).first()
    if note is None:
        return None
    return _entries(connection, [note], [note.id, *_rest(connection, [note])])[0]


def select_way(connection: Connection, short_key: str, limit: int) -> list[TimelineEntry]:
    """Select what came in of an alert that was news, with what became of it, the newest first; by its short key."""
    seen = sa.select(sightings.c.received_id).where(sightings.c.alert == number_key(short_key))
    chosen = list(connection.execute(seen.order_by(sightings.c.received_id.desc()).limit(limit)).scalars())
    its = sa.select(notifications.c.id).where(
        sa.text("received_id IS NOT NULL"), notifications.c.received_id.in_(chosen)
    )
    ids = list(connection.execute(its).scalars())
    posts = sa.select(received.c.id, received.c.id.label("received_id")).where(received.c.id.in_(chosen))
    shown = list(connection.execute(posts.order_by(received.c.id.desc())))
    return _entries(connection, shown, ids)


def select_sighted(connection: Connection, received_id: int, limit: int) -> list[str]:
    """Select the alerts of which something that came in had news, by what short links say of their keys."""
    query = sa.select(sightings.c.alert).where(sightings.c.received_id == received_id).limit(limit)
    return [f"{number:0{2 * SHORT_KEY_BYTES}x}" for number in connection.execute(query).scalars()]


_NOTE = (
    notifications.c.id,
    notifications.c.created_at.label("at"),
    notifications.c.received_id,
    sa.null().label("told"),
)


def _lowest(connection: Connection, asked: TimelineFilter, place: TimelinePosition) -> tuple[int, bool]:
    """The lowest notification that is looked at, and whether there is nothing more to find below it."""
    low = 0
    if asked.since is not None:
        # By the smallest id: what a fallback took over is newer than it says.
        low = connection.execute(first_since(asked.since)).scalar() or place.notification
    if not asked.text or asked.state == UNTOLD:
        return low, True
    newest = connection.execute(sa.select(sa.func.max(notifications.c.id))).scalar() or 0
    window = min(place.notification, newest + 1) - MAX_NOTIFICATIONS_SEARCHED
    return (window, False) if window > low else (low, True)


def first_since(moment: float) -> sa.Select[Any]:
    """Build the query for the first notification that was stored no earlier than a moment."""
    # The nothing that is added has SQLite go by time, and not over all ids from the first on.
    return sa.select(sa.func.min(notifications.c.id + 0)).where(notifications.c.created_at >= moment)


def _notes(connection: Connection, asked: TimelineFilter, place: TimelinePosition, low: int, limit: int) -> list[Any]:
    """The notifications that match, the newest first."""
    if not (asked.narrow or asked.text):
        query = _in_time(sa.select(*_NOTE), notifications.c.created_at, asked)
        query = query.where(notifications.c.id < place.notification, notifications.c.id >= low, ~_shown_before(place))
        return list(connection.execute(query.order_by(notifications.c.id.desc()).limit(limit)))
    number: Any = messages.c.notification_id
    target: Any = messages.c.target
    if asked.state not in ("", "sent"):
        # What is added to both keeps SQLite from walking over all messages: those in such a state are few, and have an
        # index.
        number, target = messages.c.notification_id + 0, target.concat("")
    ids = _in_time(sa.select(number).select_from(messages).distinct(), messages.c.created_at, asked)
    ids = ids.where(number < place.notification, number >= low)
    if asked.target:
        ids = ids.where(target == asked.target)
    if asked.state == "open":
        ids = ids.where(sa.text(f"messages.{OPEN}"))
    elif asked.state in OPEN_STATES:
        ids = ids.where(sa.text(f"messages.{OPEN}"), messages.c.state == asked.state)
    elif asked.state == MessageState.SENT:
        # Most are: they are found soonest from the newest on, and not by their state.
        ids = ids.where(messages.c.state.concat("") == asked.state)
    elif asked.state:
        ids = ids.where(messages.c.state == asked.state, messages.c.settled_at.is_not(None))
    if asked.text:
        ids = ids.where(messages.c.text.icontains(asked.text, autoescape=True))
    chosen = list(connection.execute(ids.order_by(number.desc()).limit(limit)).scalars())
    rows = connection.execute(sa.select(*_NOTE).where(notifications.c.id.in_(chosen)))
    return sorted(rows, key=lambda row: -row.id)


def _untold(
    connection: Connection, asked: TimelineFilter, place: TimelinePosition, since: float | None, limit: int
) -> list[Any]:
    """What came in and led to nothing, the newest first; not from before `since`."""
    columns = sa.select(received.c.id, received.c.at, received.c.id.label("received_id"), received.c.told)
    query: Any = _in_time(columns, received.c.at, asked).where(sa.text(NOT_TOLD), received.c.id < place.received)
    if since is not None:
        query = query.where(received.c.at >= since)
    if asked.text:
        query = query.where(received.c.title.icontains(asked.text, autoescape=True))
    return list(connection.execute(query.order_by(received.c.id.desc()).limit(limit)))


def _in_time(query: sa.Select[Any], at: Any, asked: TimelineFilter) -> sa.Select[Any]:
    if asked.since is not None:
        query = query.where(at >= asked.since)
    return query if asked.until is None else query.where(at <= asked.until)


def _merged(notes: Sequence[Any], quiet: Sequence[Any]) -> list[Any]:
    """Two lists, each with the newest first, in one. Neither changes its order, whatever its times say."""
    found: list[Any] = []
    left, right = list(notes)[::-1], list(quiet)[::-1]
    while left or right:
        found.append((left if left and (not right or left[-1].at >= right[-1].at) else right).pop())
    return found


def _shown_before(place: TimelinePosition) -> sa.ColumnElement[bool]:
    """Whether the POST of a notification led to a newer one, from before a place: it was shown there, whole."""
    newer = notifications.alias("newer")
    same = sa.select(sa.literal(1)).select_from(newer).where(
        sa.text("newer.received_id IS NOT NULL"),
        newer.c.received_id == notifications.c.received_id,
        newer.c.id >= place.notification,
    )  # fmt: skip
    return sa.exists(same)


def _rest(connection: Connection, shown: Sequence[Any]) -> list[int]:
    """The other notifications of the POSTs that are shown."""
    posts = {row.received_id for row in shown if row.told is None} - {None}
    if not posts:
        return []
    same = sa.select(notifications.c.id).where(
        sa.text("received_id IS NOT NULL"), notifications.c.received_id.in_(posts)
    )
    known = {row.id for row in shown if row.told is None}
    return [each for each in connection.execute(same).scalars() if each not in known]


def _time_of(connection: Connection, notification: int) -> float:
    at = sa.select(notifications.c.created_at).where(notifications.c.id >= notification)
    return float(connection.execute(at.order_by(notifications.c.id).limit(1)).scalar() or 0.0)


def _entries(connection: Connection, shown: Sequence[Any], ids: Sequence[int]) -> list[TimelineEntry]:
    """What is shown, with all that is told of it."""
    notes = _told(connection, ids)
    names = {row.received_id for row in shown} - {None}
    came = {row.id: row for row in connection.execute(sa.select(received).where(received.c.id.in_(names)))}
    # Those of one POST stand together, where the newest of them does.
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in shown:
        key = ("post", row.received_id) if row.received_id in came else ("note", row.id)
        groups.setdefault(key, [])
    for row, told in notes:
        key = ("post", row.received_id) if row.received_id in came else ("note", row.id)
        groups.setdefault(key, []).append((row, told))
    return [_entry(came.get(key[1]) if key[0] == "post" else None, some) for key, some in groups.items()]


def _entry(post: Any, notes: Sequence[tuple[Any, TimelineNotification]]) -> TimelineEntry:
    told = tuple(each for _, each in sorted(notes, key=lambda pair: pair[1].id))
    if post is not None:
        return TimelineEntry(post.at, post.source, post.title, post.alerts, post.routed, told, post.id)
    row = notes[0][0]
    return TimelineEntry(row.created_at, row.source, "", 0, (), told, None)


def _told(connection: Connection, ids: Iterable[int]) -> list[tuple[Any, TimelineNotification]]:
    chosen = list(ids)
    its: dict[int, list[Message]] = {}
    query = sa.select(messages).where(messages.c.notification_id.in_(chosen)).order_by(messages.c.id)
    for message in map(message_of, connection.execute(query)):
        its.setdefault(message.notification_id, []).append(message)
    columns = sa.select(
        notifications.c.id, notifications.c.created_at, notifications.c.source, notifications.c.target,
        notifications.c.kind, notifications.c.origin, notifications.c.received_id,
    )  # fmt: skip
    rows = connection.execute(columns.where(notifications.c.id.in_(chosen)).order_by(notifications.c.id.desc()))
    return [
        (row, TimelineNotification(row.id, row.target, row.source, row.kind, row.origin, tuple(its.get(row.id, ()))))
        for row in rows
    ]
