"""Statements that run for every alert: compiled by SQLAlchemy once, and run on the driver's own connection.

The driver keeps their text prepared. A statement stays with its owner; here is only the quick way of running it.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect
from sqlalchemy.engine.default import DefaultDialect

MAX_KEYS = 512
"""How many values a list of keys holds at most (`PreparedStatement.rows_of`)."""

_DOUBLE = 701
"""How PostgreSQL calls the type of a number with a fraction, without which SQLAlchemy reads none; others ignore it."""

T = TypeVar("T")
Processor = Callable[[Any], Any]
Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class _Compiled:
    """A statement in the words of one dialect."""

    text: str
    names: Sequence[str]
    """Of the parameters, in their order."""
    is_positional: bool
    fixed: Parameters
    """The values that stand in the statement itself."""
    before: Mapping[str, Processor]
    """What a value is turned into before the driver gets it."""
    after: Sequence[tuple[int, Processor]]
    """What a column's value is turned into, by its place."""
    make_row: Callable[[Sequence[Any]], Any]

    def bind(self, parameters: Parameters) -> Any:
        """Give what the driver wants."""
        values = {**self.fixed, **parameters}
        for name, process in self.before.items():
            values[name] = process(values[name])
        return [values[name] for name in self.names] if self.is_positional else values

    def row(self, given: Sequence[Any]) -> Any:
        """Give a row of the driver as SQLAlchemy would, with its columns as attributes."""
        if self.after:
            given = list(given)
            for place, process in self.after:
                given[place] = process(given[place])
        return self.make_row(given)


class PreparedStatement:
    """A statement that is run often.

    Args:
        statement: SQLAlchemy's. A list of keys in it is `bindparam(NAME, expanding=True)`.
        columns: Of an insert, the columns that are given; all without it.
        keys: The name of the list of keys, where it has one.
    """

    def __init__(self, statement: sa.Executable, *, columns: Sequence[str] | None = None, keys: str = "") -> None:
        self._statement: Any = statement
        self._columns = columns
        self._keys = keys
        self._compiled: dict[tuple[str, int], _Compiled] = {}

    def run(self, connection: Connection, parameters: Parameters) -> int:
        """Run it for what it changes; returns how many rows those were."""
        compiled = self._find(connection, 0)
        return int(_cursor(connection).execute(compiled.text, compiled.bind(parameters)).rowcount)

    def insert(self, connection: Connection, parameters: Parameters) -> int:
        """Run it, the insert of one row that is given a number; returns that."""
        compiled = self._find(connection, 0)
        cursor, dialect = _cursor(connection), cast("DefaultDialect", connection.dialect)
        cursor.execute(compiled.text, compiled.bind(parameters))
        # Where the driver does not tell the number, SQLAlchemy has the statement return it.
        return int(cursor.lastrowid if dialect.postfetch_lastrowid else cursor.fetchone()[0])

    def run_many(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Run it for each row; free where there is none."""
        if rows:
            compiled = self._find(connection, 0)
            _cursor(connection).executemany(compiled.text, [compiled.bind(row) for row in rows])

    def rows(self, connection: Connection, parameters: Parameters | None = None) -> list[Any]:
        """Run it for what it selects."""
        return self._select(connection, self._find(connection, 0), parameters or {})

    def rows_of(self, connection: Connection, keys: Sequence[Any], parameters: Parameters | None = None) -> list[Any]:
        """Run it for what it selects of some keys; free where there are none."""
        found: list[Any] = []
        for start in range(0, len(keys), MAX_KEYS):
            chunk = keys[start : start + MAX_KEYS]
            filled = fill_up(chunk)
            compiled = self._find(connection, len(filled))
            named = {f"{self._keys}_{place}": key for place, key in enumerate(filled, 1)}
            found += self._select(connection, compiled, {**(parameters or {}), **named})
        return found

    def _select(self, connection: Connection, compiled: _Compiled, parameters: Parameters) -> list[Any]:
        return list(map(compiled.row, _cursor(connection).execute(compiled.text, compiled.bind(parameters)).fetchall()))

    def _find(self, connection: Connection, size: int) -> _Compiled:
        dialect = connection.dialect
        found = self._compiled.get((dialect.name, size))
        if found is None:
            found = self._compiled[dialect.name, size] = self._compile(dialect, size)
        return found

    def _compile(self, dialect: Dialect, size: int) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        given = {name: each.value for name, each in compiled.binds.items() if not each.required}
        unknown = dict.fromkeys(compiled.binds.keys() - given.keys())
        # Lists are written out, for which every parameter needs a value.
        state = compiled.construct_expanded_state(unknown | ({self._keys: [None] * size} if size else {}))
        columns = list(getattr(self._statement, "selected_columns", ()))
        after = ((place, column.type.dialect_impl(dialect).result_processor(dialect, _DOUBLE))
                 for place, column in enumerate(columns))  # fmt: skip
        before = ((name, each.type.dialect_impl(dialect).bind_processor(dialect))
                  for name, each in compiled.binds.items())  # fmt: skip
        names = state.positiontup or list(state.parameters)
        return _Compiled(
            text=state.statement,
            names=names,
            is_positional=compiled.positional,
            fixed=state.parameters,
            before={name: process for name, process in before if process and name in names},
            after=[(place, process) for place, process in after if process],
            make_row=_make_row_type([column.key for column in columns]) if columns else tuple,
        )


def fill_up(keys: Sequence[T]) -> Sequence[T]:
    """Repeat the last of some keys until there are 1, 2, 4, … of them, so that only a few texts are prepared.

    A key that is named twice is found once. There is one at least.
    """
    return [*keys, *[keys[-1]] * ((1 << (len(keys) - 1).bit_length()) - len(keys))]


def _make_row_type(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    row: Any = namedtuple("Row", names)  # type: ignore[misc] # noqa: PYI024 - its fields are the statement's
    return row._make


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


def run_text(connection: Connection, text: str) -> None:
    """Run a statement that has neither parameters nor rows, such as `SAVEPOINT`."""
    _cursor(connection).execute(text)
