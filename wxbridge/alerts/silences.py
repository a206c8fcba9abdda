"""Silences: matchers and an end, kept in the database. What they match is held back until they are over.

The functions on the table take a connection and run inside `Database.run`; times are seconds since the epoch.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.core.matchers import Matcher, matches_all, parse_matcher
from wxbridge.core.prepared import PreparedStatement
from wxbridge.core.schema import silences
from wxbridge.core.text.normalise import replace_surrogates

log = structlog.get_logger()

_SILENCE_ID_BYTES = 4
_NO_LABELS = {"": ""}


@dataclass(frozen=True)
class Silence:
    """What is to be quiet, from when until when. Ended silences are kept for a while, to be read."""

    id: str
    """Eight hexadecimal digits."""
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    created_at: float
    created_by: str = ""
    comment: str = ""
    ends_with: str | None = None
    """The key of the alert with which it ends, where that is sooner; None for a silence that lasts until its end."""

    def state(self, now: float) -> str:
        """Where it stands: `pending`, `active` or `expired` (Alertmanager's words)."""
        if now >= self.ends_at:
            return "expired"
        return "active" if now >= self.starts_at else "pending"

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether all its matchers hold, whatever the time."""
        return matches_all(self.matchers, labels)


def silenced_by(all_silences: Iterable[Silence], labels: Mapping[str, str], now: float) -> Silence | None:
    """The silence that holds these labels (`routing.labels_of`) back now; of several, the one that ends last."""
    holding = [each for each in all_silences if each.starts_at <= now < each.ends_at and each.matches(labels)]
    return max(holding, key=lambda each: each.ends_at, default=None)


class SilenceSet:
    """The silences that are not over yet, in memory. Load it anew whenever the table may have changed."""

    def __init__(self) -> None:
        self._silences: tuple[Silence, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there are none."""
        return not self._silences

    def reload(self, connection: Connection, *, now: float) -> None:
        """Read the table. It may run in the database's thread: what others see changes at once, and whole."""
        self._silences = tuple(list_silences(connection, now=now))

    def end_with(self, keys: Sequence[str]) -> tuple[Silence, ...]:
        """Drop those that end with alerts which are over, by their keys, and return them; the table is not changed."""
        ended = tuple(each for each in self._silences if each.ends_with is not None and each.ends_with in keys)
        if ended:
            self._silences = tuple(each for each in self._silences if each not in ended)
        return ended

    def put_back(self, ended: tuple[Silence, ...]) -> None:
        """Take back what `end_with` did."""
        self._silences += ended

    def find(self, labels: Mapping[str, str], now: float) -> Silence | None:
        """Find the silence that holds these labels back now (`silenced_by`)."""
        return silenced_by(self._silences, labels, now) if self._silences else None


# ---------------------------------------------------------------- the table


def add(
    connection: Connection,
    matchers: Sequence[Matcher],
    *,
    ends_at: float,
    now: float,
    starts_at: float | None = None,
    created_by: str = "",
    comment: str = "",
    ends_with: str | None = None,
) -> Silence:
    """Keep a silence, from now on or from `starts_at`; with `ends_with` until that alert is over, if that is sooner.

    Raises:
        ValueError: it would be over before it begins, or its matchers hold for every alert.
    """
    begins = now if starts_at is None else starts_at
    if ends_at <= max(begins, now):
        raise ValueError("the silence would be over before it begins; give a later end")
    # As Alertmanager asks: an alert without any label must not fulfil it (api/v2, "postSilencesHandler").
    if matches_all(matchers, _NO_LABELS):
        raise ValueError('this would silence everything; give at least one matcher such as alertname="DiskFull"')
    while True:
        silence_id = secrets.token_hex(_SILENCE_ID_BYTES)
        if get(connection, silence_id) is None:
            break
    silence = Silence(
        silence_id, tuple(matchers), begins, ends_at, now, replace_surrogates(created_by), replace_surrogates(comment),
        ends_with,
    )  # fmt: skip
    row = {**vars(silence), "matchers": [str(matcher) for matcher in matchers]}
    connection.execute(sa.insert(silences).values(row))
    return silence


def list_silences(connection: Connection, *, now: float, expired: bool = False) -> list[Silence]:
    """The silences that are not over yet, those that end first at the top; with `expired`, all that are kept."""
    query = sa.select(silences).order_by(silences.c.ends_at, silences.c.id)
    if not expired:
        query = query.where(silences.c.ends_at > now)
    return [found for row in connection.execute(query) if (found := _silence(row))]


def get(connection: Connection, silence_id: str) -> Silence | None:
    """One silence, None where there is no such id."""
    row = connection.execute(sa.select(silences).where(silences.c.id == silence_id)).one_or_none()
    return _silence(row) if row else None


def expire(connection: Connection, silence_id: str, *, now: float) -> bool:
    """End a silence now. Tells whether there was one that was not over yet."""
    done = connection.execute(
        sa.update(silences)
        .where(silences.c.id == silence_id, silences.c.ends_at > now)
        .values(ends_at=now, starts_at=sa.case((silences.c.starts_at > now, now), else_=silences.c.starts_at)),
    )
    return done.rowcount > 0


def end_with(connection: Connection, keys: Iterable[str], *, now: float) -> None:
    """End the silences that end with alerts which are over, by their keys."""
    _END_WITH.run_many(connection, [{"of": key, "now": now} for key in keys])


_END_WITH = PreparedStatement(
    sa.update(silences)
    .where(silences.c.ends_with == sa.bindparam("of"), silences.c.ends_at > sa.bindparam("now"))
    .values(ends_at=sa.bindparam("now"))
)


def prune(connection: Connection, *, before: float) -> int:
    """Forget the silences that ended before a moment. Returns how many."""
    return connection.execute(sa.delete(silences).where(silences.c.ends_at < before)).rowcount


def _silence(row: Any) -> Silence | None:
    """Read a row; one that cannot be read (a newer wxbridge wrote it, say) silences nothing."""
    try:
        matchers = tuple(parse_matcher(text) for text in row.matchers)
    except ValueError as error:
        log.warning("a silence cannot be read and holds nothing back", id=row.id, error=str(error))
        return None
    return Silence(
        row.id, matchers, row.starts_at, row.ends_at, row.created_at, row.created_by, row.comment, row.ends_with
    )
