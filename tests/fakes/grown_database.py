"""A database as years of alerts leave it: the newest alert copied, with all that belongs to it, over and told."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

_AT = ":now - (:more - number) * :step - 3 * 86400"
COPIED = {
    "received": {"id": "id + number", "at": _AT},
    "notifications": {
        "id": "id + number", "created_at": _AT, "received_id": "received_id + number",
        "dedupe_key": "dedupe_key || ':' || (id + number)",
    },
    "messages": {
        "id": "id + number", "notification_id": "notification_id + number", "created_at": _AT, "next_try_at": _AT,
        "settled_at": f"{_AT} + 1", "state": "'sent'",
    },
    "episodes": {
        "id": "id + number", "key": "lower(hex(randomblob(16)))", "started_at": _AT, "ended_at": f"{_AT} + 300",
    },
    "alerts": {
        "key": "lower(hex(randomblob(16)))", "status": "'resolved'", "first_seen": _AT, "updated_at": f"{_AT} + 300",
        "over_at": "NULL",
    },
}  # fmt: skip
"""What is copied, by table: how its columns differ from those of the newest row."""
FIRING = {"episodes": {"ended_at": "NULL"}, "alerts": {"status": "'firing'"}}
"""How columns differ where all that is copied still fires."""


SECONDS = 25 * 86400.0
"""Within which they came, the last of them three days ago: less than they are kept."""


def grow(path: Path, size: int, *, is_firing: bool = False) -> None:
    """Copy what is in a database that no bridge has open until so many alerts are kept; it has one at least.

    They are over, or still fire.
    """
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous=OFF", "cache_size=-400000", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN IMMEDIATE")
        kept = int(connection.execute("SELECT count(*) FROM alerts").fetchone()[0])
        for table, changed in COPIED.items() if kept < size else ():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = changed | (FIRING.get(table, {}) if is_firing else {})
            chosen = ", ".join(values.get(column, column) for column in columns)
            connection.execute(
                "WITH RECURSIVE numbers(number) AS "
                "(SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < :more) "
                f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen} FROM numbers, "
                f"(SELECT * FROM {table} ORDER BY rowid DESC LIMIT 1)",
                {"more": size - kept, "now": time.time(), "step": SECONDS / size},
            )
        connection.execute("COMMIT")
