"""Rules in every state in a real Grafana, and what the program told of them: the texts and pictures of one room.

The program runs as a user would run it, with a simulated WeChat. Whichever alerting the Grafana has is taken.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from bench.common import TOKEN, Place, free_port, until_answers, wxbridge
from bench.grafana_api import Api
from bench.grafana_dashboards import Board, Generation, Json

if TYPE_CHECKING:
    from wxbridge.simulator.world import SimulatedMessage

LIMIT = 200.0
"""Seconds in which all has to be told: rules are evaluated each 10 s, and Grafana notifies some time later."""
SETTLED = 40.0
"""Seconds without a message after which no more is awaited."""
NAME = "bench-rules"
"""Uid of the dashboard and the contact point."""
FOLDER = "bench-folder"
"""Uid of the folder that unified rules are in."""

BROKEN_SOURCE = "bench-broken"
"""Name and uid of a Prometheus that nobody can reach."""


@dataclass(frozen=True)
class Rule:
    """One rule, and what is to be told of it."""

    title: str
    scenario: str = "csv_metric_values"
    """Of TestData; empty for a query of a Prometheus that nobody can reach."""
    above: float = 10
    hold: str = "0s"
    panel: bool = False
    """Whether it has a panel, whose picture is to come; unified rules without one are drawn as a chart."""
    told: str = ""
    """A pattern in its text, in small letters; empty where nothing is to be told."""
    drawn: bool = False


RULES = (
    Rule("Bench fires on a panel", panel=True, told="42", drawn=True),
    Rule("Bench fires without a panel", told="42", drawn=True),
    Rule("Bench has no data", "no_data_points", told="no data"),
    Rule("Bench is broken", "", told="error|could not be evaluated"),
    Rule("Bench is pending", hold="1h"),
    Rule("Bench is quiet", above=100),
)


@dataclass
class Told:
    """What came into the room."""

    texts: list[str] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    last: float = 0.0
    """When, on the clock of `time.monotonic`."""
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, message: SimulatedMessage) -> None:
        """Take what the simulator hands over."""
        self.last = time.monotonic()
        self._came.set()
        if message.media is not None:
            self.pictures.append(message.media.data)
        else:
            self.texts.append(message.text)

    async def everything(self) -> None:
        """Wait until every rule was told and nothing more comes for a while."""
        quiet = False
        while not (quiet and all(map(self.right, RULES))):
            self._came.clear()
            quiet = False
            try:
                await asyncio.wait_for(self._came.wait(), SETTLED)
            except TimeoutError:
                quiet = True

    def right(self, rule: Rule) -> bool:
        """Whether a rule's state was told, or rightly not."""
        texts = [text.lower() for text in self.texts if rule.title.lower() in text.lower()]
        return any(re.search(rule.told, text) for text in texts) if rule.told else not texts


def rules_board(generation: Generation, *, legacy: bool) -> Board:
    """Make the dashboard: one panel, or, where rules live in panels, one for each of them."""
    board = Board(generation, NAME, "Bench: rules")
    for rule in RULES if legacy else RULES[:1]:
        if legacy:
            source: Json = {} if rule.scenario else {"datasource": generation.refer(BROKEN_SOURCE, "prometheus")}
            board.add("graph", title=rule.title, targets=[_query(rule)], alert=_legacy_rule(rule), **source)
        else:
            board.add("stat", title=rule.title)
    return board


def _query(rule: Rule) -> Json:
    if not rule.scenario:
        return {"refId": "A", "expr": "up"}
    return {"refId": "A", "scenarioId": rule.scenario, "stringInput": "42,42,42,42", "alias": "value"}


def _legacy_rule(rule: Rule) -> Json:
    condition = {
        "type": "query", "query": {"params": ["A", "1h", "now"]}, "reducer": {"type": "last", "params": []},
        "evaluator": {"type": "gt", "params": [rule.above]}, "operator": {"type": "and"},
    }  # fmt: skip
    return {
        "name": rule.title, "conditions": [condition], "for": rule.hold, "frequency": "10s", "handler": 1,
        "noDataState": "no_data", "executionErrorState": "alerting", "notifications": [{"uid": NAME}],
    }  # fmt: skip


def _unified_rule(rule: Rule, source: str, run: str) -> Json:
    source = source if rule.scenario else BROKEN_SOURCE
    steps = [
        {"refId": "A", "datasourceUid": source, "relativeTimeRange": {"from": 600, "to": 0}, "model": _query(rule)},
        _step("B", {"type": "reduce", "expression": "A", "reducer": "last"}),
        _step("C", {"type": "math", "expression": f"$B > {rule.above:g}"}),
    ]
    annotations = {"__dashboardUid__": NAME, "__panelId__": "1"} if rule.panel else {}
    return {
        "uid": "bench-" + rule.title.removeprefix("Bench ").replace(" ", "-"), "title": rule.title, "orgID": 1,
        "folderUID": FOLDER, "ruleGroup": rule.title, "condition": "C", "data": steps, "for": rule.hold,
        "noDataState": "NoData", "execErrState": "Error", "annotations": annotations, "labels": {"bench": run},
    }  # fmt: skip


def _step(name: str, model: Json) -> Json:
    source = {"type": "__expr__", "uid": "__expr__"}
    times = {"from": 600, "to": 0}
    model = {"refId": name, "datasource": source} | model
    return {"refId": name, "datasourceUid": "__expr__", "relativeTimeRange": times, "model": model}


@asynccontextmanager
async def rules(api: Api, generation: Generation, hook: str) -> AsyncIterator[Board]:
    """Have the rules in Grafana, notifying a hook, within the block; gives the dashboard. What it made is gone then."""
    await api.set_source(BROKEN_SOURCE, "prometheus", "http://127.0.0.1:1")
    policies = await api.ask("GET", "/api/v1/provisioning/policies", missing=True)
    board = rules_board(generation, legacy=not policies)
    put = _unified(api, board, hook, policies) if policies else _legacy(api, board, hook)
    async with put:
        yield board


@asynccontextmanager
async def _legacy(api: Api, board: Board, hook: str) -> AsyncIterator[None]:
    await _forget_legacy(api)
    settings = {"url": hook, "httpMethod": "POST"}
    await api.ask(
        "POST", "/api/alert-notifications", {"uid": NAME, "name": NAME, "type": "webhook", "settings": settings}
    )
    await api.ask("POST", "/api/dashboards/db", {"dashboard": board.json, "overwrite": True})
    try:
        yield
    finally:
        await _forget_legacy(api)


async def _forget_legacy(api: Api) -> None:
    await api.ask("DELETE", f"/api/dashboards/uid/{NAME}", missing=True)
    await api.ask("DELETE", f"/api/alert-notifications/uid/{NAME}", missing=True)


@asynccontextmanager
async def _unified(api: Api, board: Board, hook: str, policies: Json) -> AsyncIterator[None]:
    run = str(urlsplit(hook).port)  # in its label, since Grafana does not notify twice of what an earlier run told
    await _forget_unified(api, policies)
    await api.ask("POST", "/api/folders", {"uid": FOLDER, "title": "Bench"})
    await api.ask("POST", "/api/dashboards/db", {"dashboard": board.json, "overwrite": True})
    point = {"uid": NAME, "name": NAME, "type": "webhook", "settings": {"url": hook, "httpMethod": "POST"}}
    await api.ask("POST", "/api/v1/provisioning/contact-points", point)
    route = {
        "receiver": NAME, "object_matchers": [["bench", "=", run]], "group_by": ["alertname", "bench"],
        "group_wait": "1s", "group_interval": "10s", "repeat_interval": "4h",
    }  # fmt: skip
    await api.ask("PUT", "/api/v1/provisioning/policies", policies | {"routes": [*_others(policies), route]})
    for rule in RULES:
        await api.ask("POST", "/api/v1/provisioning/alert-rules", _unified_rule(rule, board.generation.source, run))
        path = f"/api/v1/provisioning/folder/{FOLDER}/rule-groups/{rule.title}"
        group = await api.ask("GET", path)
        await api.ask("PUT", path, group | {"interval": 10})
    try:
        yield
    finally:
        await _forget_unified(api, policies)


def _others(policies: Json) -> list[Json]:
    return [route for route in policies.get("routes") or [] if route.get("receiver") != NAME]


async def _forget_unified(api: Api, policies: Json) -> None:
    for rule in RULES:
        uid = _unified_rule(rule, "", "")["uid"]
        await api.ask("DELETE", f"/api/v1/provisioning/alert-rules/{uid}", missing=True)
    await api.ask("PUT", "/api/v1/provisioning/policies", policies | {"routes": _others(policies)})
    await api.ask("DELETE", f"/api/v1/provisioning/contact-points/{NAME}", missing=True)
    await api.ask("DELETE", f"/api/folders/{FOLDER}", missing=True)


@dataclass(frozen=True)
class RulesOutcome:
    """What was told of the rules, and how long it took from the first text to the last message."""

    board: Board
    told: Told
    log: str
    """What the program wrote."""
    seconds: float


async def tell_rules(api: Api, generation: Generation, url: str, token: str) -> RulesOutcome:
    """Run the program with the rules until nothing more comes."""
    from wxbridge.simulator import Simulator

    told = Told()
    async with Place() as place, Simulator(token=TOKEN, auto_scan=True, on_message=told.note) as simulator:
        port = free_port()
        config = place.path / "jobs.yaml"
        config.write_text(_configuration(place.path, port, simulator.endpoint, url, token), encoding="utf-8")
        process = await place.spawn(*wxbridge("run", "-c", str(config)))
        await until_answers(process, port, "/readyz?channels=all", limit=60)
        async with rules(api, generation, f"http://127.0.0.1:{port}/hooks/grafana") as board:
            began = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(LIMIT):
                    await told.everything()
            seconds = max(0.0, told.last - began)
            log = process.log.read_text(encoding="utf-8", errors="replace")
    return RulesOutcome(board, told, log, seconds)


def _configuration(folder: Path, port: int, gateway: str, url: str, token: str) -> str:
    settings = {
        "timezone": "UTC", "state_dir": str(folder / "state"), "server": {"listen": f"127.0.0.1:{port}"},
        "wechat": {"endpoint": gateway, "token": TOKEN, "master": "主人", "pace": "none"},
        "grafana": {"url": url, "token": token},
        "targets": {"ops": {"channel": "wechat", "room": "技术讨论群"}},
        "routes": [{"to": ["ops"]}],
    }  # fmt: skip
    return yaml.safe_dump(json.loads(json.dumps(settings)), allow_unicode=True)
