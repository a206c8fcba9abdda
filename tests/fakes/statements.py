"""Every statement that a program gives to SQLite, with its plan, and how much SQLite did for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

STEPS_AT_ONCE = 50
"""Of SQLite's virtual machine; finer than that nothing is counted."""


@dataclass
class Statement:
    """A statement, by its text: with parameters that it had, and the most steps that one run of it took."""

    text: str
    parameters: Any
    steps: int = 0
    plan: tuple[str, ...] = ()


class StatementRecorder:
    """What all connections made within `recording` were given, by its text."""

    def __init__(self) -> None:
        self.statements: dict[str, Statement] = {}

    def note(self, connection: sqlite3.Connection, text: str, parameters: Any) -> Statement:
        """Note a statement that is about to run."""
        if text not in self.statements:
            found = self.statements[text] = Statement(text, parameters)
            if text.lstrip().split(maxsplit=1)[0] in ("SELECT", "UPDATE", "DELETE", "INSERT", "WITH"):
                cursor = sqlite3.Cursor(connection)
                cursor.row_factory = None
                found.plan = tuple(row[3] for row in cursor.execute(f"EXPLAIN QUERY PLAN {text}", parameters))
        return self.statements[text]


class _RecordedConnection(sqlite3.Connection):
    def __init__(self, recorder: StatementRecorder, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.recorder = recorder
        self.present: Statement | None = None
        self.steps = 0
        self.set_progress_handler(self._count, STEPS_AT_ONCE)

    def _count(self) -> int:
        if self.present is not None:
            self.steps += STEPS_AT_ONCE
            self.present.steps = max(self.present.steps, self.steps)
        return 0

    def cursor(self, factory: Any = None) -> Any:
        return super().cursor(factory or _RecordedCursor)


class _RecordedCursor(sqlite3.Cursor):
    connection: _RecordedConnection

    def execute(self, text: str, parameters: Any = (), /) -> Any:
        self._begin(text, parameters)
        return super().execute(text, parameters)

    def executemany(self, text: str, rows: Any, /) -> Any:
        rows = list(rows)
        self._begin(text, rows[0] if rows else ())
        return super().executemany(text, rows)

    def _begin(self, text: str, parameters: Any) -> None:
        connection = self.connection
        connection.present = None
        statement = connection.recorder.note(connection, text, parameters)
        connection.present, connection.steps = statement, 0


@contextmanager
def recording() -> Iterator[StatementRecorder]:
    """Record what connections are given that are made from now on."""
    recorder = StatementRecorder()
    with patch("sqlite3.dbapi2.connect", partial(sqlite3.connect, factory=partial(_RecordedConnection, recorder))):
        yield recorder


def recorder_of(connection: Any) -> StatementRecorder:
    """The recorder of one of SQLAlchemy's connections that was made within `recording`."""
    recorder: StatementRecorder = connection.connection.dbapi_connection.recorder
    return recorder
