"""Examines what the bridge needs from outside: is it there, does it let us in, and what to do if not.

What is looked at of a channel stands on its plug-in, of a monitor in `monitors.checks`, of pictures in
`pictures.checks`, of dashboards that are named in `bot.graph_checks`; here are the runner and what is left. A check
changes nothing, sends nothing, and does not call the heartbeat.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from pathlib import Path

import aiohttp

from wxbridge.alerts.template_checks import check_template, list_templates
from wxbridge.alerts.template_folder import TemplateError
from wxbridge.alerts.templates import Templates
from wxbridge.bot.graph_checks import check_dashboards
from wxbridge.channels import ChannelPlugin, CheckContext
from wxbridge.channels.checks import look_up_fact, probe_target
from wxbridge.config.schema import Config
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import StorageError, describe_error
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.leadership import fact_of_bridge, list_bridges, read_leader
from wxbridge.monitors.checks import check_alertmanager, check_grafana, check_prometheus
from wxbridge.pictures.checks import BROWSER_LIMIT_SECONDS, check_browser, check_font
from wxbridge.registry import CHANNELS, needs_browser

CHECK_LIMIT_SECONDS = 10.0
"""What a check may take; the browser has `BROWSER_LIMIT_SECONDS`."""
MIN_POSTGRESQL = 14
"""The first version that ends sessions which are silent (`idle_session_timeout`)."""
ANSWER_LIMIT_SECONDS = 5.0
MIN_FREE_BYTES = 200 * 1024 * 1024
"""That should be free for database and pictures."""

Check = Callable[[Config, Database | None], Awaitable[list[Finding]]]
"""`database` is None where no bridge has ever run on the state directory."""


async def examine(
    config: Config, database: Database | None, checks: Mapping[str, Check] | None = None
) -> list[Finding]:
    """Run all checks at once; their findings in the order of the table. It raises nothing."""
    chosen = CHECKS if checks is None else checks
    found = await asyncio.gather(*(_run_check(name, check, config, database) for name, check in chosen.items()))
    return [finding for findings in found for finding in findings]


async def _run_check(name: str, check: Check, config: Config, database: Database | None) -> list[Finding]:
    limit = BROWSER_LIMIT_SECONDS if name == "browser" else CHECK_LIMIT_SECONDS
    try:
        async with asyncio.timeout(limit):
            return await check(config, database)
    except TimeoutError:
        return [Finding(name, FindingState.BAD, f"no answer within {limit:g} seconds")]
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        return [Finding(name, FindingState.BAD, f"it could not be looked at: {type(error).__name__}: {error}")]


# ---------------------------------------------------------------- this machine


async def check_state_dir(config: Config, _database: Database | None) -> list[Finding]:
    """Check that the state directory can be written to, and has room."""
    folder = config.state_dir
    there = _find_nearest(folder)
    user = f"let the user {os.getuid()} write there, or set `state_dir`"
    room = "make room: on a full disk no alert is taken"
    advice = {errno.ENOSPC: room, errno.EROFS: "mount its file system writable, or set `state_dir`"}
    if not there.is_dir():
        return [Finding("state_dir", FindingState.BAD, f"{there} is no folder", user)]
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        elif not os.access(there, os.W_OK | os.X_OK):
            why = errno.EROFS if os.statvfs(there).f_flag & os.ST_RDONLY else errno.EACCES
            raise OSError(why, os.strerror(why))  # noqa: TRY301 - told as what trying it raises
    except OSError as error:
        found = f"{there} cannot be written to: {error.strerror}"
        return [Finding("state_dir", FindingState.BAD, found, advice.get(error.errno or 0, user))]
    free = shutil.disk_usage(there).free
    found = f"{folder}{'' if there == folder else ' (will be made)'}, {free // 2**20} MB free"
    if free < MIN_FREE_BYTES:
        return [Finding("state_dir", FindingState.WARN, found, room)]
    return [Finding("state_dir", FindingState.OK, found)]


def _find_nearest(folder: Path) -> Path:
    """Give a folder, or the nearest one above that is there."""
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


def _find_archive(base: Path, pattern: str) -> Path:
    """Give the folder of an archive that has no date in its name."""
    path = base / Path(pattern).expanduser()
    return Path(*itertools.takewhile(lambda part: "%" not in part, path.parent.parts))


async def check_archives(config: Config, _database: Database | None) -> list[Finding]:
    """Check that the folders in which jobs keep their pictures can be written to."""
    findings = []
    for job in config.jobs:
        pattern = getattr(job, "archive", None)
        if not pattern:
            continue
        folder = _find_archive(config.base, pattern)
        there = _find_nearest(folder)
        name = f"archive {job.id}"
        if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            findings.append(Finding(name, FindingState.OK, str(folder)))
        else:
            advice = "let the bridge write there, or set `archive` to a path below the state directory"
            findings.append(Finding(name, FindingState.WARN, f"{folder} cannot be written to", advice))
    return findings


async def check_database(config: Config, database: Database | None) -> list[Finding]:
    """Check PostgreSQL where it is configured: its version, and who leads."""
    if config.database is None or database is None:
        return []
    try:
        version, leader, names = await database.read(
            lambda c: (c.exec_driver_sql("SHOW server_version_num").scalar(), read_leader(c), list_bridges(c))
        )
    except StorageError as error:
        return [
            Finding("database", FindingState.BAD, str(error), "see whether PostgreSQL runs, and `database:` is right")
        ]
    major = int(version or 0) // 10_000
    if major < MIN_POSTGRESQL:
        advice = f"a stopped bridge would lead for ever: take PostgreSQL {MIN_POSTGRESQL} or newer"
        return [Finding("database", FindingState.BAD, f"PostgreSQL {major}", advice)]
    who = f"{leader.name} leads" if leader and leader.name in names else "nobody leads"
    return [Finding("database", FindingState.OK, f"PostgreSQL {major}, {len(names)} bridges are connected, {who}")]


async def check_bridge(config: Config, database: Database | None) -> list[Finding]:
    """Check that the bridge answers; where it does not run, that it could listen."""
    about = await look_up_fact(database, fact_of_bridge(config.state_dir, is_shared=config.database is not None))
    if about:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_LIMIT_SECONDS)) as session,
                session.get(f"{about.get('url')}/readyz") as answer,
            ):
                if answer.status == 200:  # noqa: PLR2004 - HTTP
                    return [Finding("bridge", FindingState.OK, f"runs at {about.get('url')}")]
                return [Finding("bridge", FindingState.BAD, f"{about.get('url')} takes no alerts", "see its log")]
    server = config.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((server.host, server.port))
    except OSError as error:
        found = f"it does not run, and cannot listen on {server.listen}: {describe_error(error)}"
        return [Finding("bridge", FindingState.BAD, found, "free the port, or set `server.listen` to another")]
    return [Finding("bridge", FindingState.WARN, "it does not run", "start it with `wxbridge run`")]


# ---------------------------------------------------------------- channels, monitors, pictures


async def probe_targets(config: Config, database: Database | None) -> list[Finding]:
    """Check that robots, applications and other services let each target in. Nobody sees anything of it."""
    wanted = [name for name, target in config.targets.items() if CHANNELS[target.channel].has_probe]
    if not wanted:
        return []
    async with AsyncExitStack() as stack:
        if database is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database = stack.enter_context(closing(Database.open(sqlite_url(Path(folder)))))
        return await asyncio.gather(*(probe_target(CHANNELS, config, database, name) for name in wanted))


def _channel_checks() -> dict[str, Check]:
    """List the checks of all channels; the probe of targets in place of the first channel that has one."""
    found: dict[str, Check] = {}
    for name, plugin in CHANNELS.items():
        if plugin.has_probe:
            found.setdefault("channels", probe_targets)
        found |= {each: partial(_check_channel, name, plugin, each) for each in plugin.checks}
    return found


async def _check_channel(
    name: str, plugin: ChannelPlugin, check: str, config: Config, database: Database | None
) -> list[Finding]:
    targets = {each: target for each, target in config.targets.items() if target.channel == name}
    section = config.section(plugin.section) if plugin.section else None
    return await plugin.checks[check](CheckContext(section, targets, database))


# ---------------------------------------------------------------- templates


async def check_templates(config: Config, _database: Database | None) -> list[Finding]:
    """Check that the templates that targets and routes name are there, and ask for nothing that there is not."""
    folder = Templates(config.templates, config.language, config.timezone)
    findings = []
    for name in sorted(each.name for each in list_templates(config, folder)):
        try:
            check_template(folder, name)
        except TemplateError as error:
            advice = f"until then the built-in text is sent; try `wxbridge template render {name}`"
            findings.append(Finding(f"template {name}", FindingState.WARN, str(error), advice))
        else:
            findings.append(
                Finding(f"template {name}", FindingState.OK, str(config.templates / (folder.find(name) or name)))
            )
    return findings


CHECKS: dict[str, Check] = {
    "state_dir": check_state_dir,
    "database": check_database,
    "archives": check_archives,
    "bridge": check_bridge,
    **_channel_checks(),
    "grafana": lambda config, _database: check_grafana(config.grafana),
    "dashboards": lambda config, _database: check_dashboards(config),
    "prometheus": lambda config, _database: check_prometheus(config.prometheus),
    "alertmanager": lambda config, _database: check_alertmanager(config.alertmanager),
    "browser": lambda config, _database: check_browser(config, is_needed=needs_browser(config)),
    "font": lambda _config, _database: check_font(),
    "templates": check_templates,
}
"""Every check, by the name that stands in for its findings where it fails itself."""


def worst(findings: Sequence[Finding]) -> FindingState:
    """Find the worst state among findings; ok where there are none."""
    order = (FindingState.BAD, FindingState.WARN, FindingState.OK)
    return min((finding.state for finding in findings), key=order.index, default=FindingState.OK)
