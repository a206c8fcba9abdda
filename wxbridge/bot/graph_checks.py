"""What `wxbridge doctor` and `check --strict` look at in Grafana for jobs and graphs: is what they name there?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wxbridge.bot.commands.graph_names import NoSuchPanel, find_panels
from wxbridge.bot.commands.graph_requests import PANEL_KEYS, DashboardAddress
from wxbridge.bot.commands.graphs import read_address
from wxbridge.config.schema import Config
from wxbridge.core.errors import PictureError
from wxbridge.core.findings import Finding, FindingState
from wxbridge.jobs.kinds.screenshot import ScreenshotJob
from wxbridge.monitors.dashboards import Dashboard, Dashboards
from wxbridge.monitors.grafana import Grafana


@dataclass(frozen=True)
class NamedDashboard:
    """A dashboard that a job or a graph names, and what of it."""

    name: str
    """Who names it: `job inspection`."""
    address: DashboardAddress
    panels: tuple[str, ...]
    variables: tuple[str, ...]


async def check_dashboards(config: Config) -> list[Finding]:
    """Check that the dashboards, panels, variables and organisations are there, and can be read by the account.

    A wrong one is a finding of its own; all that are right are one together.
    """
    if config.grafana is None:
        return []
    async with Grafana(config.grafana) as grafana:
        named = list(_list_named(config, grafana))
        if not named:
            return []
        dashboards = Dashboards(grafana)
        try:
            await dashboards.search("", 1)
        except PictureError as error:
            return [Finding("dashboards", FindingState.WARN, f"they cannot be looked at: {error}")]
        found = await asyncio.gather(*(_check_named(each, dashboards) for each in named))
    problems = [finding for findings in found for finding in findings]
    right = sum(not findings for findings in found)
    words = f"{right} of the {len(named)} that jobs and graphs name are there, with their panels and variables"
    return [*problems, *([Finding("dashboards", FindingState.OK, words)] if right else [])]


def _list_named(config: Config, grafana: Grafana) -> Iterator[NamedDashboard]:
    for job in config.jobs:
        address = read_address(grafana, job.url, job.org) if isinstance(job, ScreenshotJob) else None
        if address is not None:
            yield _name(f"job {job.id}", address, (), getattr(job, "variables", ()))
    for name, graph in (config.section("graphs") or {}).items():
        if address := read_address(grafana, graph.url, graph.org):
            yield _name(f"graph {name}", address, map(str, graph.panel), graph.vars)


def _name(name: str, address: DashboardAddress, panels: Iterable[str], variables: Iterable[str]) -> NamedDashboard:
    # What repeats of a panel are called is made at run time.
    in_address = (address.query.get(key, "").partition("-clone-")[0] for key in PANEL_KEYS)
    return NamedDashboard(
        name,
        address,
        tuple(panels) or tuple(filter(None, in_address)),
        tuple(dict.fromkeys([*address.values, *(each.removeprefix("var-") for each in variables)])),
    )


async def _check_named(named: NamedDashboard, dashboards: Dashboards) -> list[Finding]:
    uid, org = named.address.uid, named.address.org
    try:
        model = await dashboards.find(uid, org)
    except PictureError as error:
        return [Finding(named.name, FindingState.BAD, str(error), "correct its `url` or `org`, or let the account in")]
    where = f"the dashboard {uid}" + (f" of organisation {org}" if org else "")
    if model is None:
        missing = f"there is no dashboard {uid}" + (f" in organisation {org}" if org else "")
        return [Finding(named.name, FindingState.BAD, missing, "correct its `url`, or let the account see it")]
    panels = [each for each in named.panels if not _has_panel(model, each)]
    variables = [each for each in named.variables if model.find_variable(each) is None]
    findings = []
    if panels:
        known = ", ".join(f"{each.id} {each.title}".strip() for each in model.panels[:20]) or "none"
        wrong = f"{where} has no panel {', '.join(panels)}"
        findings.append(Finding(named.name, FindingState.BAD, wrong, f"there are: {known}"))
    if variables:
        known = ", ".join(each.name for each in model.variables) or "none"
        wrong = f"{where} has no variable {', '.join(variables)}"
        findings.append(Finding(named.name, FindingState.WARN, wrong, f"there are: {known}"))
    return findings


def _has_panel(model: Dashboard, panel: str) -> bool:
    try:
        return bool(find_panels(model, [panel], {}))
    except NoSuchPanel:
        return False
