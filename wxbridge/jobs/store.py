"""Every statement on jobs: the last run of each, the runs that ended, and the jobs that are muted.

The functions take a connection and run inside `Database.run` or `Database.read`; times are seconds since the epoch
unless they are `datetime`s. A running bridge and `wxbridge jobs` share these tables.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.schema import job_history, job_mutes, job_runs


@dataclass(frozen=True)
class JobRun:
    """How the last run of a job ended. `ok` is None while it is running."""

    job: str
    started_at: float
    seconds: float | None
    ok: bool | None
    error: str | None
    told: bool = False
    """Whether somebody was told that the job fails."""


@dataclass(frozen=True)
class EndedRun:
    """A run that ended, of any age that is kept."""

    job: str
    started_at: float
    seconds: float
    ok: bool
    error: str | None
    picture_file: str | None
    """The first picture that it made, a name below the picture store; it may be forgotten before the run is."""


@dataclass(frozen=True)
class Mute:
    """A job's scheduled runs are passed over until a moment."""

    job: str
    until: float
    by: str
    at: float
    """When it was muted."""


@dataclass(frozen=True)
class JobStatus:
    """A configured job, its next run and its last."""

    id: str
    kind: str
    to: tuple[str, ...]
    next_run: datetime | None
    """The first that its mute does not pass over; None where it never runs again."""
    last: JobRun | None
    mute: Mute | None = None
    running_since: float | None = None
    """When the run began that is under way; None where none is."""


@dataclass(frozen=True)
class FailureCount:
    """How many runs of a job failed in a period."""

    job: str
    runs: int
    failed: int
    error: str
    """Why the last one failed."""


def record_run(connection: Connection, run: JobRun, picture_file: str | None = None, *, before: float) -> None:
    """Store how a run ended, and delete the runs that began before `before`."""
    connection.execute(sa.delete(job_runs).where(job_runs.c.job == run.job))
    connection.execute(sa.insert(job_runs).values(**vars(run)))
    connection.execute(
        sa.insert(job_history).values(
            job=run.job,
            started_at=run.started_at,
            seconds=run.seconds or 0.0,
            ok=bool(run.ok),
            error=run.error,
            picture_file=picture_file,
        )
    )
    connection.execute(sa.delete(job_history).where(job_history.c.started_at < before))


def read_last_runs(connection: Connection) -> dict[str, JobRun]:
    """Read the last run of each job, by id."""
    return {row.job: JobRun(**row._asdict()) for row in connection.execute(sa.select(job_runs))}


def read_history(connection: Connection, job: str | None = None, *, limit: int = 100) -> list[EndedRun]:
    """Read the runs that ended, of one job or of all, the newest first."""
    return _select_newest(connection, [] if job is None else [job_history.c.job == job], limit)


def _select_newest(connection: Connection, where: Iterable[sa.ColumnElement[bool]], limit: int) -> list[EndedRun]:
    columns = [column for column in job_history.c if column.name != "id"]
    query = sa.select(*columns).where(*where).order_by(job_history.c.started_at.desc(), job_history.c.id.desc())
    return [EndedRun(**row._asdict()) for row in connection.execute(query.limit(limit))]


def count_failures(connection: Connection, since: float, until: float) -> tuple[int, list[FailureCount]]:
    """Count the runs that began from `since` to before `until`: all, and by job where some failed, the worst first."""
    within = sa.and_(job_history.c.started_at >= since, job_history.c.started_at < until)
    failed = sa.func.sum(sa.case((job_history.c.ok, 0), else_=1))
    counts = connection.execute(
        sa.select(job_history.c.job, sa.func.count().label("runs"), failed.label("failed"))
        .where(within)
        .group_by(job_history.c.job)
    ).all()
    found = []
    for row in counts:
        if row.failed:
            why = sa.select(job_history.c.error).where(
                within, job_history.c.job == row.job, job_history.c.ok.is_(False)
            )
            error = connection.execute(why.order_by(job_history.c.started_at.desc()).limit(1)).scalar()
            found.append(FailureCount(row.job, row.runs, row.failed, error or ""))
    return sum(row.runs for row in counts), sorted(found, key=lambda each: (-each.failed, each.job))


def list_failures(connection: Connection, since: float, *, limit: int) -> list[EndedRun]:
    """List the runs that began since a moment and failed, the newest first."""
    return _select_newest(connection, [job_history.c.started_at >= since, job_history.c.ok.is_(False)], limit)


# ---------------------------------------------------------------- muted jobs


def read_mutes(connection: Connection, *, now: float) -> dict[str, Mute]:
    """Read the mutes that hold at a moment, by job."""
    rows = connection.execute(sa.select(job_mutes).where(job_mutes.c.until > now))
    return {row.job: Mute(**row._asdict()) for row in rows}


def add_mute(connection: Connection, wanted: Mute) -> None:
    """Store a mute in place of the job's earlier one, and delete those that are over."""
    connection.execute(
        sa.delete(job_mutes).where(sa.or_(job_mutes.c.job == wanted.job, job_mutes.c.until <= wanted.at))
    )
    connection.execute(sa.insert(job_mutes).values(**vars(wanted)))


def remove_mute(connection: Connection, job: str, *, now: float) -> bool:
    """Delete a job's mute; False where it was not muted."""
    was_muted = job in read_mutes(connection, now=now)
    connection.execute(sa.delete(job_mutes).where(job_mutes.c.job == job))
    return was_muted


# ---------------------------------------------------------------- which one is meant


_CHANGE_MARK = sa.select(
    *(
        column.scalar_subquery()
        for column in (
            sa.select(sa.func.max(job_history.c.id)),
            sa.select(sa.func.max(job_runs.c.started_at)),
            sa.select(sa.func.max(job_mutes.c.at)),
            sa.select(sa.func.count()).select_from(job_mutes),
        )
    )
)


def read_change_mark(connection: Connection) -> Hashable:
    """Read something that changes whenever a job ends, is muted or unmuted."""
    return tuple(connection.execute(_CHANGE_MARK).one())


def match_job_id(wanted: str, ids: Iterable[str]) -> str | None:
    """Find the job that is meant, ignoring case; None where there is none, or more than one."""
    known = list(ids)
    if wanted in known:
        return wanted
    alike = [each for each in known if each.casefold() == wanted.casefold()]
    return alike[0] if len(alike) == 1 else None


def similar_job_ids(wanted: str, ids: Iterable[str]) -> list[str]:
    """Find up to three ids that may have been meant, the likeliest first."""
    from difflib import get_close_matches  # for a slip alone

    by_fold = {each.casefold(): each for each in ids}
    close = get_close_matches(wanted.casefold(), by_fold, n=3, cutoff=0.6)
    inside = [fold for fold in by_fold if wanted and wanted.casefold() in fold]
    return [by_fold[fold] for fold in dict.fromkeys([*close, *inside])][:3]
