"""Work on the database that may be long, such as throwing away what is old: in bites, so that others get in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection

from wxbridge.core.database import Database

T = TypeVar("T")

BITE_SECONDS = 0.005
"""What a bite takes of the database's thread, roughly."""
FIRST_BITE = 50
MIN_BITE = 10
MAX_BITE = 1000
"""Rows."""


@dataclass(frozen=True)
class Bite(Generic[T]):
    """What was done at once, for how many rows."""

    done: T
    count: int


async def work_in_bites(database: Database, work: Callable[[Connection, int], Bite[T]]) -> AsyncIterator[Bite[T]]:
    """Call `work(connection, limit)` in a transaction of its own until there was less to do than `limit`.

    After each bite others have the database for as long as that took. Raises `StorageError`.
    """
    limit, took, count = FIRST_BITE, 0.0, FIRST_BITE

    def bite(connection: Connection) -> Bite[T]:
        nonlocal took
        began = time.perf_counter()
        done = work(connection, limit)
        took = time.perf_counter() - began
        return done

    while count >= limit:
        bitten = await database.run(bite, is_patient=True)
        yield bitten
        count = bitten.count
        if count >= limit:
            await asyncio.sleep(max(took, BITE_SECONDS))
            limit = count = min(MAX_BITE, max(MIN_BITE, round(limit * BITE_SECONDS / max(took, BITE_SECONDS / 2))))
