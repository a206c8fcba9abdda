"""`doctor`: a table of what the bridge needs from outside, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict

import typer

from wxbridge.cli.common import FAILED, ConfigOption, JsonOption, database_of, read_config_in_use, show
from wxbridge.cli.reader import name_part, tell
from wxbridge.config.schema import Config
from wxbridge.core import logging
from wxbridge.core.database import DATABASE_FILE
from wxbridge.core.errors import StorageError
from wxbridge.core.findings import Finding, FindingState


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Look at all that the bridge needs: state directory, gateway, rooms, Grafana, Prometheus, browser, font.

    Exit code 1 where something is bad; a warning is none.
    """
    from wxbridge.doctor import worst

    logging.configure("auto", "error")
    findings = examined(read_config_in_use(config))
    rows = [
        asdict(finding)
        | {"found": tell(finding.found), "advice": tell(finding.advice)}
        | ({} if as_json else {"name": name_part(finding.name)})
        for finding in findings
    ]
    show(rows, as_json=as_json,
         columns=("name", "state", "found", "advice"), empty="nothing to look at")  # fmt: skip
    if worst(findings) is FindingState.BAD:
        raise typer.Exit(FAILED)


def examined(settings: Config) -> Sequence[Finding]:
    """Run every check, on the database of the running or the last bridge where there is one."""
    from wxbridge.doctor import examine

    async def run() -> list[Finding]:
        # Opening it would make one where there is none.
        if not settings.database and not (settings.state_dir / DATABASE_FILE).exists():
            return await examine(settings, None)
        try:
            with database_of(settings) as database:
                return await examine(settings, database)
        except StorageError as error:
            trouble = Finding("database", FindingState.BAD, str(error), "see the state directory")
            return [trouble, *await examine(settings, None)]

    return asyncio.run(run())
