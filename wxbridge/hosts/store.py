"""Samples in the database: a row for a minute or so of one machine, its figures as columns.

The functions take a connection and run inside `Database.run`. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.schema import facts, forget_facts, host_samples, read_facts, remember_fact
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host, Sample, make_history

_FACT = "host:"
_TIMES = "at"
"""The column of times in a row, as seconds after the row's own."""
DEFAULT_INTERVAL_SECONDS = 10.0


@dataclass(frozen=True)
class KeptHost:
    """What is kept of a machine besides its samples."""

    every: float = DEFAULT_INTERVAL_SECONDS
    about: Mapping[str, float | str] = field(default_factory=dict)
    states: Mapping[str, Any] = field(default_factory=dict)
    """How its thresholds stand, as the service wrote it."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By figure, for charts."""
    exceeded: Mapping[str, str] = field(default_factory=dict)
    """The severities of those that are exceeded now, by figure."""
    local: bool = False
    """Whether it was the bridge's own machine."""
    sender: str = ""
    """Whose token brought it in."""


def save_host(connection: Connection, host: str, samples: Sequence[Sample], kept: KeptHost, now: float) -> None:
    """Store what was measured of a machine since the last time."""
    if samples:
        first = samples[0].at
        names = dict.fromkeys(name for sample in samples for name in sample.figures)
        columns: dict[str, list[float | None]] = {_TIMES: [round(sample.at - first, 2) for sample in samples]}
        columns |= {name: [_short(sample.figures.get(name)) for sample in samples] for name in names}
        same = (host_samples.c.host == host) & (host_samples.c.at == first)
        connection.execute(sa.delete(host_samples).where(same))
        connection.execute(sa.insert(host_samples).values(host=host, at=first, figures=columns))
    remember_fact(connection, f"{_FACT}{host}", vars(kept), now)


def _short(value: float | None) -> float | None:
    if value is None:
        return None
    return round(value, 2) if abs(value) < 1000 else round(value)  # noqa: PLR2004 - bytes are whole


def prune(connection: Connection, before: float, unheard_before: float) -> None:
    """Delete what was measured before a moment, and the machines that were last heard before another."""
    connection.execute(sa.delete(host_samples).where(host_samples.c.at < before))
    gone = facts.c.key.startswith(_FACT, autoescape=True) & (facts.c.at < unheard_before)
    connection.execute(sa.delete(facts).where(gone))


def delete_host(connection: Connection, host: str) -> None:
    """Delete all of a machine."""
    connection.execute(sa.delete(host_samples).where(host_samples.c.host == host))
    forget_facts(connection, [f"{_FACT}{host}"])


def read_kept(connection: Connection) -> dict[str, tuple[KeptHost, float]]:
    """Read what is kept of each machine, and when that was written."""
    return {name: (_kept(value), at) for name, (value, at) in read_facts(connection, _FACT).items()}


def _kept(value: Any) -> KeptHost:
    return KeptHost(**{key: value[key] for key in vars(KeptHost()) if key in value})


def read_samples(connection: Connection, since: float) -> dict[str, list[Sample]]:
    """Read what was measured since a moment, by machine, in the order of time."""
    query = sa.select(host_samples).where(host_samples.c.at >= since - 3600).order_by(host_samples.c.at)
    found: dict[str, list[Sample]] = {}
    for row in connection.execute(query):
        mine = found.setdefault(row.host, [])
        columns = {name: values for name, values in row.figures.items() if name != _TIMES}
        for index, offset in enumerate(row.figures.get(_TIMES, ())):
            if row.at + offset >= since:
                figures = {name: values[index] for name, values in columns.items() if values[index] is not None}
                mine.append(Sample(row.at + offset, figures))
    return found


def read_hosts(connection: Connection, now: float) -> list[Host]:
    """Read the machines as they were kept last, by name; for those who are not the running bridge."""
    known = read_kept(connection)
    found = read_samples(connection, now - MINUTES_KEPT_SECONDS)
    return [
        Host(
            name,
            make_history(found.get(name, ()), about.every),
            about.about,
            silent_since=about.states.get("silent", {}).get("since") if about.states else None,
            thresholds=about.thresholds,
            exceeded=about.exceeded,
        )
        for name, (about, _) in sorted(known.items())
    ]
