"""Moves a state from SQLite to PostgreSQL: every table, in one transaction, into a database that is empty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from wxbridge.core.database import make_engine, migrate
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.schema import facts, metadata

ROWS_AT_ONCE = 500
_OF_A_PROCESS = ("bridge", "leader", "order:")
"""How facts begin that are of a running bridge, and not of the state."""


class TransferError(WxbridgeError):
    """A state that cannot be moved; nothing was changed."""


def transfer(source_url: str, target_url: str) -> dict[str, int]:
    """Copy every table; gives the number of rows of each. What is copied stays as it is.

    The source is brought to the newest schema first, as a start would.

    Raises:
        TransferError: there is no such source, or the target holds a state already.
        UnusableState: one of them is of a newer wxbridge.
    """
    source_path = Path(source_url.removeprefix("sqlite:///"))
    if not source_url.startswith("sqlite:///") or not source_path.is_file():
        raise TransferError(f"there is no SQLite database {source_path}")
    source, target = make_engine(source_url), make_engine(target_url)
    try:
        migrate(source)
        migrate(target)
        return _copy(source, target)
    except sa.exc.DBAPIError as error:
        raise TransferError(f"the state cannot be moved: {' '.join(str(error.orig).split())}") from error
    finally:
        source.dispose()
        target.dispose()


def _copy(source: Engine, target: Engine) -> dict[str, int]:
    counts: dict[str, int] = {}
    with source.connect() as reading, target.connect() as writing:
        reading.info["write"] = False
        with reading.begin(), writing.begin():
            for table in metadata.sorted_tables:
                if _is_filled(writing, table):
                    raise TransferError(f"the target holds a state already: its table {table.name} is not empty")
            for table in metadata.sorted_tables:
                counts[table.name] = _copy_table(reading, writing, table)
                _continue_numbers(writing, table)
    return counts


def _is_filled(connection: Connection, table: sa.Table) -> bool:
    query = sa.select(sa.literal(1)).select_from(table)
    if table is facts:
        query = query.where(*(facts.c.key.not_like(f"{beginning}%") for beginning in _OF_A_PROCESS))
    return connection.execute(query.limit(1)).first() is not None


def _copy_table(reading: Connection, writing: Connection, table: sa.Table) -> int:
    count = 0
    rows = reading.execute(sa.select(table).execution_options(yield_per=ROWS_AT_ONCE))
    for some in rows.mappings().partitions():
        values: list[dict[str, Any]] = [dict(row) for row in some]
        if table is facts:
            values = [row for row in values if not row["key"].startswith(_OF_A_PROCESS)]
        if values:
            writing.execute(sa.insert(table), values)
            count += len(values)
    return count


def _continue_numbers(connection: Connection, table: sa.Table) -> None:
    """Have PostgreSQL go on numbering rows behind those that were copied."""
    number = table.c.get("id")
    if number is None or not isinstance(number.type, sa.Integer):
        return
    last = connection.execute(sa.select(sa.func.max(number))).scalar()
    if last is not None:
        connection.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(table.name, "id"), last)))
