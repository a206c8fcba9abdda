"""`jobs list` and `jobs run ID`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from wxbridge import logs, schedule
from wxbridge.cli.common import ConfigOption, JsonOption, local, say, show, with_database
from wxbridge.config import Config
from wxbridge.database import Database

app = typer.Typer(help="Scheduled jobs.", no_args_is_help=True)


@app.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the jobs: when they run next and how the last run went."""
    from wxbridge.jobs.scheduler import last_runs

    async def read(settings: Config, database: Database) -> list[dict[str, Any]]:
        runs = await database.read(last_runs)
        now = datetime.now(settings.timezone)
        rows = []
        for job in settings.jobs:
            last = runs.get(job.id)
            following = schedule.next_run(job.trigger(settings.timezone, now), now)
            rows.append(
                {
                    "id": job.id,
                    "kind": job.kind,
                    "to": ", ".join(job.to),
                    "next_run": following.isoformat(sep=" ", timespec="seconds") if following else None,
                    "last_run": local(last.started_at, settings) if last else None,
                    "last_result": None if last is None else "ok" if last.ok else f"failed: {last.error}",
                    "seconds": round(last.seconds, 2) if last and last.seconds is not None else None,
                },
            )
        return rows

    show(with_database(config, read), as_json=as_json,
         columns=("id", "kind", "to", "next_run", "last_run", "last_result"), empty="no jobs in the file")  # fmt: skip


@app.command("run")
def run(job_id: Annotated[str, typer.Argument(metavar="ID")], config: ConfigOption = None) -> None:
    """Run a job now and queue what it makes; the running bridge delivers it."""
    logs.configure("auto", "warning")

    async def work(settings: Config, database: Database) -> int:
        from wxbridge import app as bridge

        async with bridge.make_pictures(settings) as pictures:

            async def put(items: Any) -> Any:
                return await bridge.put(database, items)

            accepted = await bridge.make_jobs(settings, database, pictures, put).run_job(job_id)
        if not bridge.is_running(settings.state_dir):
            say("no bridge is running: what was queued is sent when one runs")
        return accepted.queued

    queued = with_database(config, work)
    say(f"{job_id}: {queued} messages queued")
