"""`wxbridge schema` takes what `wxbridge check` takes: compared over all that is documented, and over mutants of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support import REPOSITORY
from wxbridge import registry
from wxbridge.config.editor_schema import write_editor_schema
from wxbridge.config.schema import load
from wxbridge.config.yaml_loader import _Loader
from wxbridge.core.errors import ConfigError

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
DOCUMENTED = {
    f"{page.name}:{text[: match.start()].count(chr(10)) + 1}": match[1]
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for match in re.finditer(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    if not re.match(r"# (alertmanager|prometheus)\.yml", match[1])
} | {str(path): (REPOSITORY / path).read_text(encoding="utf-8") for path in ("jobs.yaml", "deploy/jobs.yaml")}
VARIABLES = dict.fromkeys(re.findall(r"\$\{(\w+)", "".join(DOCUMENTED.values())), "x") | {
    "X": "x", "WECHATY_PUPPET_SERVICE_ENDPOINT": "127.0.0.1:1", "WXBRIDGE_LISTEN": "127.0.0.1:1",
    "INSPECTION_CRON": "* * * * *", "CHART_CRON": "* * * * *",
} | dict.fromkeys(("HEARTBEAT_URL", "GRAFANA_URL", "SIMULATOR_URL"), "http://a")  # fmt: skip
VALUES: list[Any] = [
    5, -1, 0, 1.5, "abc", "5", "true", "Yes", True, None, [], {}, ["a"], ["ops", "boss"], {"a": 1}, "${X}", "1h", "2x",
    "1h30m", "30/min", "@hourly", "* * * * *", "5 9-18 * * 1-5", "61 * * * *", "09:30", "http://a", "", [1, 2], [[]],
    "none", "auto", {"severity": "critical"}, ["a=~b"],
]  # fmt: skip


@cache
def schema() -> Any:
    models = registry.plugin_settings().model.model_json_schema(mode="validation")
    return jsonschema_rs.validator_for(write_editor_schema(models))


def complaints(data: Any, path: Path) -> list[str]:
    path.write_text(yaml.safe_dump(data, allow_unicode=True, sort_keys=False), encoding="utf-8")
    try:
        load(path, registry.plugin_settings(), VARIABLES)
    except ConfigError as error:
        return [problem.text for problem in error.problems]
    return []


def whole(text: str) -> dict[str, Any]:
    """A documented part with what it needs beside it."""
    data: dict[str, Any] = yaml.load(text, _Loader)
    data.setdefault("wechat", {"endpoint": "127.0.0.1:8788", "token": "x", "master": "主人"})
    targets = {name: {"channel": "wechat", "room": name} for name in ("ops", "boss", "db")}
    data["targets"] = targets | (data.get("targets") or {})
    data.pop("include", None)
    return data


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path in a tree."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_what_is_documented_is_accepted_as_it_is_written(name: str) -> None:
    data = yaml.load(DOCUMENTED[name], _Loader)
    assert [(list(error.instance_path), error.message) for error in schema().iter_errors(data)] == []


@given(st.data())
def test_what_check_accepts_the_schema_accepts(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    tree = whole(DOCUMENTED[data.draw(st.sampled_from(sorted(DOCUMENTED)))])
    *above, last = data.draw(st.sampled_from(list(places(tree))))
    part = tree
    for step in above:
        part = part[step]
    if data.draw(st.booleans()):
        part[last] = copy.deepcopy(data.draw(st.sampled_from(VALUES)))
    elif data.draw(st.booleans()):
        del part[last]
    elif isinstance(part, dict):
        part["nonsense"] = 1
    found = complaints(tree, tmp_path_factory.getbasetemp() / "schema.yaml")
    if not found:
        assert [(list(error.instance_path), error.message) for error in schema().iter_errors(tree)] == []


@pytest.mark.parametrize(
    "text",
    [
        "nonsense: 1",
        "targets: {a: {channel: console, nonsense: 1}}",
        "targets: {a: {room: x}}",
        "targets: {a: {channel: smoke}}",
        "targets: {a: {channel: wechat}}",
        "targets: {a: {channel: wechat, room: x, contact: y}}",
        "targets: {a: {channel: wecom_robot}}",
        "targets: {a: {channel: wecom_app}}",
        "targets: {a: {channel: wecom_bot}}",
        "targets: {a: {channel: dingtalk}}",
        "targets: {a: {channel: feishu}}",
        "targets: {a: {channel: ilink}}",
        "targets: {a: {channel: http}}",
        "targets: {a: {channel: apprise}}",
        "targets: {a: {channel: console, failover_after: 2x}}",
        "targets: {a: {channel: console, failover_after: 5}}",
        "targets: {a: {channel: console, pace: {chat: 0/s}}}",
        "targets: {a: {channel: console, pace: {chat: fast}}}",
        "targets: {a: {channel: console, commands: perhaps}}",
        "targets: {a: {channel: console, digest_count: 2}}",
        "targets: {a: {channel: console, fallback: {b: c}}}",
        "wechat: {token: x}",
        "wechat: {endpoint: nowhere, token: x}",
        "grafana: {url: grafana}",
        "language: fr",
        "keep: soon",
        "pictures: {pages: 0}",
        "routes: [{match: 5, to: a}]",
        "routes: [{match: {a: b}}]",
        "jobs: [{id: a, kind: text, text: x, to: a}]",
        "jobs: [{id: a, kind: text, text: x, to: a, cron: '* * *'}]",
        "jobs: [{id: a, kind: text, text: x, to: a, cron: '61 * * * *'}]",
        "jobs: [{id: a, kind: text, text: x, to: a, cron: '@sometimes'}]",
        "jobs: [{id: a, kind: text, text: x, to: a, cron: '@hourly', every: 1h}]",
        "jobs: [{id: a, kind: text, text: x, to: [], every: 1h}]",
        "jobs: [{id: a, kind: dance, to: a, every: 1h}]",
        "jobs: [{id: a, text: x, to: a, every: 1h}]",
        "jobs: [{kind: text, text: x, to: a, every: 1h}]",
        "jobs: [{id: a, kind: picture, to: a, every: 1h}]",
        "jobs: {a: b}",
    ],
)
def test_what_check_refuses_for_its_form_the_schema_refuses(tmp_path: Path, text: str) -> None:
    data = yaml.load(text, _Loader)
    assert complaints(data, tmp_path / "jobs.yaml")
    assert not schema().is_valid(data)


@pytest.mark.parametrize(
    "cron", ["5 9-18 * * 1-5", "@hourly", "@daily", "*/5 * * * *", "0 0 1 jan,Feb *", "0 9 * * mon-FRI", "0 0 last * *",
             "0 9 * * 7", "0-30/10 8,12 1-7 * sunday"],
)  # fmt: skip
def test_the_ways_to_write_cron(tmp_path: Path, cron: str) -> None:
    job = {"id": "a", "kind": "text", "text": "x", "to": "a", "cron": cron}
    data = {"targets": {"a": {"channel": "console"}}, "jobs": [job]}
    assert complaints(data, tmp_path / "jobs.yaml") == []
    assert schema().is_valid(data)
