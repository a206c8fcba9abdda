"""`run`, `simulator`, `check`, `status`, `schema`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from wxbridge.cli.common import (
    FAILED,
    WRONG_USAGE,
    ConfigOption,
    JsonOption,
    fail,
    local,
    print_json,
    read_config,
    say,
    show,
)
from wxbridge.cli.reader import name_part, name_state, phrase, tell
from wxbridge.cli.serving import LogOptions, run_bridge, stop_signals
from wxbridge.config.schema import Config
from wxbridge.core import logging
from wxbridge.core.errors import ConfigError, Problem
from wxbridge.core.output import write_in_background
from wxbridge.core.state_lock import is_held

LogFormatOption = Annotated[str, typer.Option("--log-format")]
LogLevelOption = Annotated[str, typer.Option("--log-level")]


def read_log_options(log_format: str, log_level: str) -> LogOptions:
    """Read what the options of a service say of its log. Exit code 2 where that is not allowed."""
    options = LogOptions(log_format, log_level)
    if not options.are_known():
        raise fail("--log-format is auto, text or json; --log-level is debug, info, warning or error", WRONG_USAGE)
    return options


def run(config: ConfigOption = None, log_format: LogFormatOption = "auto", log_level: LogLevelOption = "info") -> None:
    """Run the bridge until SIGTERM or Ctrl-C. A changed configuration is taken over; SIGHUP has it read at once."""
    run_bridge(config, read_log_options(log_format, log_level))


def simulator(
    token: str | None = None,
    host: str = "127.0.0.1",
    gateway_port: Annotated[int, typer.Option(min=0, max=65535)] = 8788,
    page_port: Annotated[int, typer.Option(min=0, max=65535)] = 8789,
    auto_scan: Annotated[bool, typer.Option("--auto-scan")] = False,  # noqa: FBT002
    room: list[str] | None = None,
    contact: list[str] | None = None,
    config: ConfigOption = None,  # noqa: ARG001 - `cli.main` has read its language
) -> None:
    """Run the WeChat that ships with wxbridge: a gateway, and a page to look at and to talk in."""
    from wxbridge.simulator import DEFAULT_TOKEN, PortTakenError, Simulator, serve

    write_in_background()

    async def until_stopped() -> None:
        stop = stop_signals()
        serving = asyncio.create_task(
            serve(
                Simulator(
                    token=token or DEFAULT_TOKEN, host=host, gateway_port=gateway_port, page_port=page_port,
                    auto_scan=auto_scan, rooms=room or (), contacts=contact or (),
                ),
            ),
        )  # fmt: skip
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, stopping):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await serving

    try:
        asyncio.run(until_stopped())
    except PortTakenError as error:
        raise fail(str(error)) from None


def check(
    config: ConfigOption = None,
    strict: Annotated[bool, typer.Option("--strict")] = False,  # noqa: FBT002
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Check the configuration; says everything that is wrong, each with its line."""
    try:
        settings = _read_whole_config(config)
    except ConfigError as error:
        if as_json:
            print_json([_as_row(problem, "error") for problem in error.problems])
            raise typer.Exit(WRONG_USAGE) from None
        raise
    doubts = list(_find_doubts(settings))
    if as_json and not strict:
        print_json([_as_row(problem, "warning") for problem, _ in doubts])
        return
    if not as_json:
        counts = f"{len(settings.targets)} targets, {len(settings.routes)} routes, {len(settings.jobs)} jobs"
        say(f"{settings.path}: {counts}: all well")
        for _, line in doubts:
            say(line)
    if strict:
        _check_around(settings, as_json=as_json)


def _read_whole_config(path: Path | None) -> Config:
    """Load the configuration. Raises `ConfigError`, also where it was cut short."""
    from wxbridge.config.schema import find_missing_parts

    settings = read_config(path)
    if problems := find_missing_parts(settings):
        raise ConfigError(problems)
    return settings


def _find_doubts(settings: Config) -> Iterator[tuple[Problem, str]]:
    """Find what is allowed and can hardly be meant, each with the line that says it to a person."""
    from wxbridge.parts import operators_of

    for oddity in _find_oddities(settings):
        yield oddity, f"warning: {oddity.file}:{oddity.line}: {tell(oddity.text)}"
    if operators_of(settings):
        return
    text = "nobody hears of what the bridge itself suffers; name targets in `operators:`, or wechat.master"
    yield Problem(str(settings.path), 1, text), f"warning: {text}"
    if all(route.match for route in settings.routes):
        text = "no route takes everything and nobody is in charge: an alert that no route matches reaches nobody"
        yield Problem(str(settings.path), 1, text), f"hint: {text}"


def _find_oddities(settings: Config) -> Iterator[Problem]:
    """Find what can be used and is hardly meant so, each with its line."""
    from wxbridge.alerts.template_checks import check_template, list_templates
    from wxbridge.alerts.template_folder import TemplateError
    from wxbridge.alerts.templates import Templates
    from wxbridge.jobs.kinds.text import find_unknown

    yield from settings.find_oddities()
    folder = Templates(settings.templates, settings.language, settings.timezone)
    for each in list_templates(settings, folder):
        try:
            check_template(folder, each.name)
        except TemplateError as error:
            text = f"the template {each.name!r}: {error}; until then the built-in text is sent"
            yield settings.warn_at(each.path, text)
    for index, job in enumerate(settings.jobs):
        source = getattr(job, "text", None)
        for name, _ in find_unknown(source) if isinstance(source, str) else ():
            text = f"the text of job `{job.id}` asks for `{name}`, which there is not; it knows `now` and `host`"
            yield settings.warn_at(("jobs", index, "text"), text)


def _as_row(problem: Problem, severity: str) -> dict[str, Any]:
    return {"file": problem.file, "line": problem.line, "severity": severity, "text": tell(problem.text)}


def _check_around(settings: Config, *, as_json: bool) -> None:
    """Say what is wrong around the bridge. Exit code 1 where something is bad."""
    from wxbridge.cli.doctor import examined
    from wxbridge.core.findings import FindingState
    from wxbridge.doctor import worst

    logging.configure("auto", "error")
    findings = examined(settings)
    if as_json:
        severities = {FindingState.BAD: "error", FindingState.WARN: "warning"}
        rows = [_as_row(problem, "warning") for problem, _ in _find_doubts(settings)]
        for finding in findings:
            if finding.state in severities:
                text = f"{finding.name}: {finding.found}" + (f"; {finding.advice}" if finding.advice else "")
                rows.append(_as_row(Problem(str(settings.path), 1, text), severities[finding.state]))
        print_json(rows)
    for finding in findings if not as_json else ():
        if finding.state is not FindingState.OK:
            what = phrase("text.also").join(tell(each) for each in (finding.found, finding.advice) if each)
            state, name, place = name_state(finding.state), name_part(finding.name), _tell_place(settings, finding.name)
            say(phrase("terminal.finding", state=state, name=name, what=what, place=place))
    if worst(findings) is FindingState.BAD:
        raise typer.Exit(FAILED)
    if as_json:
        return
    verdict = "all well" if worst(findings) is FindingState.OK else "it can work"
    say(f"{len(findings)} things looked at around it: {verdict}")


def _tell_place(config: Config, name: str) -> str:
    """Tell where it stands in the file that a finding is about: `job ID`, `graph NAME`, `target NAME`; else nothing."""
    kind, _, which = name.partition(" ")
    ids = [job.id for job in config.jobs]
    if kind == "job" and which in ids:
        path: tuple[str | int, ...] = ("jobs", ids.index(which))
    elif kind in ("graph", "target") and which:
        path = (f"{kind}s", which)
    else:
        return ""
    place = config.warn_at(path, "")
    return f" ({place.file}:{place.line})"


_WELL = ("running", "waiting", "online", "waiting_for_word", "leader", "standby")
"""Words for parts of which nobody has to mend anything."""


def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Tell how the bridge is: running or not, each channel's state, what waits. Exit code 1 where it is not well."""
    from wxbridge.cli.common import command_to_start, with_database
    from wxbridge.core.leadership import fact_of_bridge, list_bridges, read_leader
    from wxbridge.core.schema import read_fact, read_facts
    from wxbridge.delivery.outbox_queries import OutboxQueries

    as_told = str if as_json else tell

    async def read(settings: Config, database: Any) -> list[dict[str, Any]]:
        running = is_held(settings.state_dir)
        fact = fact_of_bridge(settings.state_dir, is_shared=database.is_server)
        about = await database.read(lambda c: read_fact(c, fact)) or {}
        started = local(about.get("started"), settings) or ""
        rows: list[dict[str, Any]] = [
            {
                "part": "bridge",
                "state": "running" if running else "stopped",
                "detail": f"{about.get('url', '')} pid {about.get('pid', '')} since {started}"
                if running
                else f"start it with `{command_to_start(settings)}`",
            },
        ]
        anywhere = running
        if database.is_server:
            leader, names = await database.read(lambda c: (read_leader(c), list_bridges(c)))
            anywhere = leader is not None and leader.name in names
            for name in names:
                leads = leader is not None and name == leader.name
                since = {"since": local(leader.since, settings)} if leader and leads else {}
                rows.append(
                    {"part": f"bridge {name}", "state": "leader" if leads else "standby", "detail": "", **since}
                )
        for name, (value, at) in (await database.read(lambda c: read_facts(c, "channel:"))).items():
            state = value["state"] if anywhere else "stopped"
            detail = " ".join(text for text in (value["account"], as_told(value["detail"])) if text)
            rows.append({"part": name, "state": state, "detail": detail, "since": local(at, settings)})
        for target, count, created in await OutboxQueries(database).count_backlog():
            detail = f"{count} waiting, the oldest since {local(created, settings)}"
            rows.append({"part": f"outbox {target}", "state": "waiting", "detail": detail})
        return rows

    rows = with_database(config, read)
    shown = rows if as_json else [row | {"part": name_part(row["part"])} for row in rows]
    show(shown, as_json=as_json, columns=("part", "state", "detail", "since"), empty="")
    if rows[0]["state"] != "running" or any(row["state"] not in _WELL for row in rows):
        raise typer.Exit(FAILED)


def schema(config: ConfigOption = None) -> None:  # noqa: ARG001 - `cli.main` has read its language
    """Print the JSON Schema of jobs.yaml, for editors."""
    from wxbridge import registry
    from wxbridge.config.editor_schema import write_editor_schema

    document = write_editor_schema(registry.plugin_settings().model.model_json_schema(mode="validation"))
    print_json(document)
