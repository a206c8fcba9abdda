"""The one database: its tables, and the thread that alone touches it.

SQLite in WAL mode with full sync: a commit that returned is on disk. All work goes through one
thread, and whoever waits at the same moment shares one transaction, so that a storm costs few
fsyncs. The schema is alembic's (`migrations/`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event

from wxbridge.errors import StorageError

T = TypeVar("T")

metadata = sa.MetaData()

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("target", sa.String, nullable=False),
    sa.Column("dedupe_key", sa.String),
    sa.Column("content", sa.JSON),
)
sa.Index("notifications_dedupe", notifications.c.dedupe_key, notifications.c.created_at)

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
    sa.Column("mentions", sa.JSON),
    sa.Column("picture_file", sa.String),
    sa.Column("picture_name", sa.String),
    sa.Column("picture_spec", sa.JSON),
    sa.Column("follows", sa.Integer),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, server_default="0"),
    sa.Column("maybe_sent", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("settled_at", sa.Float),
    sa.Column("receipt", sa.String),
    sa.Column("error_code", sa.String),
    sa.Column("error", sa.Text),
)
# The claim query reads open rows of one target in order; settled rows must not slow it down.
sa.Index(
    "messages_open",
    messages.c.target,
    messages.c.priority,
    messages.c.id,
    sqlite_where=messages.c.state.in_(("queued", "sending")),
    postgresql_where=messages.c.state.in_(("queued", "sending")),
)
sa.Index("messages_settled", messages.c.state, messages.c.settled_at)
sa.Index("messages_notification", messages.c.notification_id)

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
)

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

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.JSON, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)
