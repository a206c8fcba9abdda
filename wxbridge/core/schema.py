"""The tables of the one database, and the facts that processes leave each other."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.chunks import in_chunks
from wxbridge.core.lean_imports import stand_ins

# SQLite's dialect brings its other drivers, 0.4 MB.
with stand_ins({f"sqlalchemy.dialects.sqlite.{name}": ModuleType(name) for name in ("aiosqlite", "pysqlcipher")}):
    import sqlalchemy.dialects.sqlite

SCHEMA_VERSION = "0008"
"""The newest migration. Kept here so that a start with nothing to migrate need not import alembic."""

metadata = sa.MetaData()

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("origin", sa.Integer),
    sa.Column("dedupe_key", sa.String),
    sa.Column("dedupe_group", sa.String),
    sa.Column("content", sa.JSON(none_as_null=True)),
    sa.Column("received_id", sa.Integer),
)


def _partial(name: str, condition: str, *columns: sa.Column[Any]) -> None:
    """An index of the rows that fulfil a condition, such as those still to do, so that others slow nothing down.

    Only SQLite's condition is named: PostgreSQL's, which stands in the migrations, would load its dialect, 2 MB.
    SQLite takes a partial index only where the query repeats its condition to the letter.
    """
    sa.Index(name, *columns, sqlite_where=sa.text(condition))


sa.Index("notifications_created", notifications.c.created_at)
_partial(
    "notifications_dedupe",
    "dedupe_key IS NOT NULL AND dedupe_group IS NULL",
    notifications.c.dedupe_key,
    notifications.c.created_at,
)
_partial("notifications_dedupe_group", "dedupe_group IS NOT NULL", notifications.c.dedupe_group, notifications.c.id)
_partial("notifications_received", "received_id IS NOT NULL", notifications.c.received_id)

OPEN = "state IN ('queued', 'sending')"
"""The condition of rows that are still to do."""
OPEN_TEXT = f"{OPEN} AND kind = 'text'"
DRAWN = f"{OPEN} AND kind = 'picture' AND picture_file IS NOT NULL"
"""The condition of pictures that can be sent."""
TO_DRAW = f"{OPEN} AND kind = 'picture' AND picture_file IS NULL"
PUT_BACK = f"{OPEN} AND next_try_at > created_at"
"""The condition of rows that wait for a time."""

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("notification_id", sa.ForeignKey("notifications.id", ondelete="CASCADE"), nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("text", sa.Text),
    sa.Column("format", sa.String),
    sa.Column("mentions", sa.JSON(none_as_null=True)),
    sa.Column("picture_file", sa.String),
    sa.Column("picture_name", sa.String),
    sa.Column("picture_spec", sa.JSON(none_as_null=True)),
    sa.Column("follows", sa.Integer),
    sa.Column("recipient", sa.String),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("maybe_sent", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("settled_at", sa.Float),
    sa.Column("receipt", sa.String),
    sa.Column("error_code", sa.String),
    sa.Column("error", sa.Text),
    sa.Column("drawn_at", sa.Float),
    sa.Column("first_tried_at", sa.Float),
    sa.Column("tried_at", sa.Float),
)

_partial("messages_texts", OPEN_TEXT, messages.c.target, messages.c.priority, messages.c.id)
_partial("messages_drawn", DRAWN, messages.c.target, messages.c.priority, messages.c.id)
_partial("messages_to_draw", TO_DRAW, messages.c.priority, messages.c.id)
_partial("messages_waiting", OPEN, messages.c.target, messages.c.created_at)
_partial("messages_put_back", PUT_BACK, messages.c.target, messages.c.next_try_at)
_partial("messages_expiring", OPEN, messages.c.expires_at)
_partial("messages_settled", "settled_at IS NOT NULL", messages.c.state, messages.c.settled_at, messages.c.target)
_partial("messages_pictures", "picture_file IS NOT NULL", messages.c.picture_file)
sa.Index("messages_notification", messages.c.notification_id)
sa.Index("messages_target", messages.c.target, messages.c.notification_id)

sends = sa.Table(
    "sends",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("channel", sa.String, nullable=False),
    sa.Column("chat", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
sa.Index("sends_channel", sends.c.channel, sends.c.at)

rooms = sa.Table(
    "rooms",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("member_ids", sa.JSON, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
)

contacts = sa.Table(
    "contacts",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("alias", sa.String, nullable=False),
    sa.Column("handle", sa.String, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("present", sa.Boolean, nullable=False),
    sa.Column("since", sa.Integer, nullable=False, server_default="0"),
)

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("chat", sa.String, primary_key=True),
    sa.Column("id", sa.String, nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("members", sa.JSON, nullable=False),
    sa.Column("account", sa.String, nullable=False),
    sa.Column("seen", sa.Integer, nullable=False),
    sa.Column("guess", sa.Boolean, nullable=False),
    sa.Column("told", sa.String, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("starts_at", sa.Float),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("said_every", sa.Float),
    sa.Column("over_at", sa.Float),
)
"""What monitors said last of each alert. `content` is an `AlertGroup` with this one alert."""
FIRING = "status <> 'resolved'"
"""The condition of alerts that fire or have no data."""
ENDED = "status = 'resolved'"
# No index has the status as a column: most alerts are over, and an alert's key finds it sooner.
_partial("alerts_firing", FIRING, alerts.c.updated_at)
_partial("alerts_ended", ENDED, alerts.c.updated_at)
_partial("alerts_over", "over_at IS NOT NULL", alerts.c.over_at)

told = sa.Table(
    "told",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("target", sa.String, primary_key=True),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("starts_at", sa.Float),
    sa.Column("told_at", sa.Float),
    sa.Column("due_at", sa.Float),
    sa.Column("held", sa.String),
    sa.Column("statement", sa.String),
)
"""What a target was told last of an alert, and when it is to be told again. Only where its route repeats, or where
it was held back (`held`: by a silence or a muted time)."""
_partial("told_due", "due_at IS NOT NULL", told.c.due_at)

silences = sa.Table(
    "silences",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("matchers", sa.JSON, nullable=False),
    sa.Column("starts_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("created_by", sa.String, nullable=False),
    sa.Column("comment", sa.String, nullable=False),
    sa.Column("ends_with", sa.String),
)
"""`ends_with` is the key of an alert: the silence ends with it, where that is sooner."""
sa.Index("silences_ends", silences.c.ends_at)

job_runs = sa.Table(
    "job_runs",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float),
    sa.Column("ok", sa.Boolean),
    sa.Column("error", sa.Text),
    sa.Column("told", sa.Boolean, nullable=False, server_default=sa.false()),
)

job_history = sa.Table(
    "job_history",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.String, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
    sa.Column("ok", sa.Boolean, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("picture_file", sa.String),
)
"""Every run of a job that ended, for summaries and for the page."""
sa.Index("job_history_job", job_history.c.job, job_history.c.started_at)
sa.Index("job_history_started", job_history.c.started_at)

job_mutes = sa.Table(
    "job_mutes",
    metadata,
    sa.Column("job", sa.String, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
"""Jobs that do not run until a moment."""

episodes = sa.Table(
    "episodes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("name", sa.String, nullable=False),
    sa.Column("severity", sa.String, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
)
"""From when to when each alert fired; `key` is that of `alerts`."""
sa.Index("episodes_key", episodes.c.key, episodes.c.ended_at, episodes.c.started_at)
sa.Index("episodes_started", episodes.c.started_at)
# Without what still fires: SQLite would look for that here, and read all of it for a few keys.
_partial("episodes_ended", "ended_at IS NOT NULL", episodes.c.ended_at)

acks = sa.Table(
    "acks",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("comment", sa.String, nullable=False),
)
"""Who looks after an alert; `key` is that of `alerts`."""

received = sa.Table(
    "received",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("title", sa.String, nullable=False),
    sa.Column("alerts", sa.Integer, nullable=False),
    sa.Column("routed", sa.JSON, nullable=False),
    sa.Column("told", sa.Integer, nullable=False, server_default="0"),
)
"""What came in, and how it was routed; the notifications it led to name it. `told` counts the messages of these."""
sa.Index("received_at", received.c.at)
sightings = sa.Table(
    "sightings",
    metadata,
    sa.Column("alert", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("received_id", sa.Integer, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
"""In what came in an alert had news. `alert` is the first 48 bits of its key in `alerts`: as many as short links have,
and rows of a dozen bytes, for there are many."""
sa.Index("sightings_received", sightings.c.received_id)
NOT_TOLD = "told = 0"
"""The condition of what came in and led to nothing."""
_partial("received_untold", NOT_TOLD, received.c.id)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("by", sa.String, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("via", sa.String, nullable=False),
)
"""Who did what; the rows are numbered as it was done."""
sa.Index("audit_at", audit.c.at)
sa.Index("audit_by", audit.c.by, audit.c.id)
sa.Index("audit_action", audit.c.action, audit.c.id)
sa.Index("audit_by_action", audit.c.by, audit.c.action, audit.c.id)

asked = sa.Table(
    "asked",
    metadata,
    sa.Column("channel", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
    sa.Column("done_at", sa.Float),
)
"""Commands that somebody wrote in a chat; `content` is an `Inbound`."""
_partial("asked_open", "done_at IS NULL", asked.c.at)

host_samples = sa.Table(
    "host_samples",
    metadata,
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("figures", sa.JSON, nullable=False),
)
"""What was measured of each host."""
sa.Index("host_samples_at", host_samples.c.at)

picture_parts = sa.Table(
    "picture_parts",
    metadata,
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""The bytes of pictures, where bridges on several machines share the database; else they are files."""
sa.Index("picture_parts_at", picture_parts.c.at)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


def remember_fact(connection: Connection, key: str, value: Any, now: float) -> None:
    """Keep a small fact for other processes (`wxbridge status`)."""
    forget_facts(connection, [key])
    connection.execute(sa.insert(facts).values(key=key, value=value, at=now))


def forget_facts(connection: Connection, keys: Iterable[str]) -> None:
    """Forget some facts."""
    for some in in_chunks(keys):
        connection.execute(sa.delete(facts).where(facts.c.key.in_(some)))


def read_fact(connection: Connection, key: str) -> Any:
    """The value of a fact; None where there is none."""
    return connection.scalar(sa.select(facts.c.value).where(facts.c.key == key))


def read_facts(connection: Connection, prefix: str) -> dict[str, tuple[Any, float]]:
    """The facts whose key begins with a prefix: value, and when it was noted (seconds since the epoch)."""
    rows = connection.execute(sa.select(facts).where(facts.c.key.startswith(prefix, autoescape=True)))
    return {row.key.removeprefix(prefix): (row.value, row.at) for row in rows}


def ensure_secret(connection: Connection, key: str, now: float) -> str:
    """Read a secret of our own (64 hexadecimal digits), or make it where no bridge has done so yet."""
    if (found := read_fact(connection, key)) is None:
        remember_fact(connection, key, found := secrets.token_hex(32), now)
    return str(found)
