"""`jobs list`, `jobs run ID`, `jobs mute ID 2h` and `jobs unmute ID`."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from wxbridge.cli.common import (
    WRONG_USAGE,
    ConfigOption,
    JsonOption,
    fail,
    local,
    record,
    say,
    show,
    who,
    with_database,
)
from wxbridge.cli.help_texts import CommandSet
from wxbridge.cli.reader import phrase, tell
from wxbridge.config.schema import Config
from wxbridge.config.types import parse_duration
from wxbridge.core import logging
from wxbridge.core.audit import AuditAction
from wxbridge.core.database import Database
from wxbridge.core.state_lock import is_held
from wxbridge.jobs import store
from wxbridge.jobs.store import JobStatus

JobId = Annotated[str, typer.Argument(metavar="ID")]

app = CommandSet(no_args_is_help=True)


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the jobs: when they run next, how the last run went, and until when they are muted."""

    async def read(settings: Config, database: Database) -> list[dict[str, Any]]:
        from wxbridge import parts
        from wxbridge.delivery.outbox import Outbox

        async with parts.make_renderer(settings) as pictures:
            scheduler = parts.make_scheduler(settings, database, Outbox(database), pictures)
            return [_row(job, settings) for job in await scheduler.list_jobs()]

    rows = with_database(config, read)
    if not as_json:
        rows = [row | {"last_result": _tell_result(row["last_result"])} for row in rows]
    columns = ("id", "kind", "to", "next_run", "last_run", "last_result", "muted_until")
    show(rows, as_json=as_json, columns=columns, empty="no jobs in the file")


def _row(job: JobStatus, settings: Config) -> dict[str, Any]:
    """One job as `jobs list` shows it."""
    last, mute = job.last, job.mute
    return {
        "id": job.id,
        "kind": job.kind,
        "to": ", ".join(job.to),
        "next_run": job.next_run.isoformat(sep=" ", timespec="seconds") if job.next_run else None,
        "last_run": local(last.started_at, settings) if last else None,
        "last_result": None if last is None else "ok" if last.ok else f"failed: {last.error}",
        "muted_until": local(mute.until, settings) if mute else None,
        "muted_by": mute.by if mute else None,
        "seconds": round(last.seconds, 2) if last and last.seconds is not None else None,
    }


def _tell_result(result: str | None) -> str | None:
    if result is None or result == "ok":
        return result and phrase("terminal.jobs.ok")
    return phrase("terminal.jobs.failed", error=tell(result.removeprefix("failed: ")))


@app.command("run")
def run(job_id: JobId, config: ConfigOption = None) -> None:
    """Run a job now, muted or not, and queue what it makes; the running bridge delivers it."""
    logging.configure("auto", "warning")

    async def work(settings: Config, database: Database) -> int:
        from wxbridge import parts
        from wxbridge.delivery.outbox import Outbox

        async with parts.make_renderer(settings) as pictures:
            scheduler = parts.make_scheduler(settings, database, Outbox(database), pictures)
            accepted = await scheduler.run_job(job_id)
        await record(settings, database, AuditAction.RAN, job_id)
        if not is_held(settings.state_dir):
            say("no bridge is running: what was queued is sent when one runs")
        return accepted.queued

    queued = with_database(config, work)
    say(f"{job_id}: {queued} messages queued")


@app.command("mute")
def mute(
    job_id: JobId,
    length: Annotated[str, typer.Argument(metavar="LENGTH")],
    by: str | None = None,
    config: ConfigOption = None,
) -> None:
    """Pass over a job's scheduled runs for some time; a running bridge does so from now on."""
    try:
        seconds = parse_duration(length)
    except ValueError as error:
        raise fail(str(error), WRONG_USAGE) from None
    if not seconds:
        raise fail("a job is muted for longer than that; `wxbridge jobs unmute ID` lets it run again", WRONG_USAGE)

    async def work(settings: Config, database: Database) -> str | None:
        _known(settings, job_id)
        now = time.time()
        wanted = store.Mute(job_id, now + seconds, who(by), now)
        await database.run(lambda c: store.add_mute(c, wanted))
        await record(settings, database, AuditAction.MUTED, job_id, by)
        return local(wanted.until, settings)

    say(f"{job_id}: muted until {with_database(config, work)}")


@app.command("unmute")
def unmute(job_id: JobId, config: ConfigOption = None) -> None:
    """Let a job run at its times again."""

    async def work(settings: Config, database: Database) -> bool:
        was_muted: bool = await database.run(lambda c: store.remove_mute(c, job_id, now=time.time()))
        if not was_muted:
            # One that jobs.yaml no longer has may be unmuted.
            _known(settings, job_id)
        else:
            await record(settings, database, AuditAction.UNMUTED, job_id)
        return was_muted

    say(f"{job_id}: {'runs at its times again' if with_database(config, work) else 'was not muted'}")


def _known(settings: Config, job_id: str) -> None:
    ids = [job.id for job in settings.jobs]
    if job_id not in ids:
        like = store.similar_job_ids(job_id, ids)
        raise fail(
            f"there is no job {job_id!r}; "
            + (f"did you mean {' or '.join(like)}?" if like else "see `wxbridge jobs list`")
        )
