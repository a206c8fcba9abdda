"""The shipped Grafana dashboard shows the bridge's own metrics: all of them, and none that do not exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics import MetricWrapperBase

from tests.support import REPOSITORY
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import ChannelState

FILE = REPOSITORY / "deploy" / "grafana" / "wxbridge.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES = [(panel["title"], query) for panel in PANELS for query in panel["targets"]]
EXPRESSIONS = [(title, str(query["expr"])) for title, query in QUERIES]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}

SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
    "info": ("_info",),
}
OF_PROMETHEUS = {"instance", "le"}
"""Labels that Prometheus adds, and those of a histogram's buckets."""
OF_EVERY_INFO = {"version"}
PROMTOOL = shutil.which("promtool")


def series() -> dict[str, tuple[str, set[str]]]:
    """Every series that a scrape can bring: the metric that it belongs to, and its labels."""
    metrics = Metrics()
    labels: dict[str, set[str]] = {
        each._name: set(each._labelnames) for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)
    }
    return {
        family.name + suffix: (family.name, labels.get(family.name, OF_EVERY_INFO) | OF_PROMETHEUS)
        for family in metrics.registry.collect()
        for suffix in SUFFIXES[family.type]
    }


def names(expression: str) -> set[str]:
    return set(re.findall(r"\bwxbridge_\w+", expression))


def labels(text: str) -> Iterator[str]:
    """The labels that an expression or a legend names."""
    for listed in re.findall(r"\bby \(([^)]*)\)", text):
        yield from (name.strip() for name in listed.split(","))
    yield from re.findall(r"(\w+)(?:=~|!~|!=|=)\"", text)
    yield from re.findall(r"\{\{(\w+)\}\}", text)


def test_every_kind_of_metric_is_known_here() -> None:
    assert {family.type for family in Metrics().registry.collect()} <= set(SUFFIXES)


@pytest.mark.parametrize(("title", "expression"), EXPRESSIONS)
def test_a_panel_asks_for_metrics_that_exist(title: str, expression: str) -> None:
    assert names(expression)
    assert names(expression) <= set(series()), title


def test_every_metric_is_on_the_dashboard() -> None:
    known = series()
    shown = {known[name][0] for _, expression in EXPRESSIONS for name in names(expression)}
    assert shown == {metric for metric, _ in known.values()}


@pytest.mark.parametrize(("title", "query"), QUERIES)
def test_a_panel_asks_for_labels_that_its_metrics_have(title: str, query: dict[str, Any]) -> None:
    known = series()
    for name in names(query["expr"]):
        assert set(labels(query["expr"])) <= known[name][1], title
        assert set(labels(query["legendFormat"])) <= known[name][1], title


def test_the_timeline_of_states_names_each_state_by_the_number_that_its_query_makes_of_it() -> None:
    [timeline] = [panel for panel in PANELS if panel["type"] == "state-timeline"]
    pairs = re.findall(r"(\d+) \* wxbridge_channel_state\{[^}]*state=\"(\w+)\"", timeline["targets"][0]["expr"])
    assert {state for _, state in pairs} == set(ChannelState)
    [mapping] = timeline["fieldConfig"]["defaults"]["mappings"]
    assert {code: words["text"] for code, words in mapping["options"].items()} == {
        code: state.replace("_", " ") for code, state in pairs
    }


def test_the_data_source_is_a_variable_and_every_variable_exists() -> None:
    assert VARIABLES["datasource"]["type"] == "datasource"
    assert VARIABLES["datasource"]["query"] == "prometheus"
    asked = [*PANELS, *(query for _, query in QUERIES), *(each for each in VARIABLES.values() if "datasource" in each)]
    assert {each["datasource"]["uid"] for each in asked} == {"${datasource}"}
    builtin = {"__rate_interval", "__interval", "__range", "__all"}
    used = set(re.findall(r"\$\{?(\w+)", FILE.read_text(encoding="utf-8")))
    assert used - builtin <= set(VARIABLES)


def test_grafana_can_place_every_panel() -> None:
    assert DASHBOARD["uid"] == "wxbridge"
    assert DASHBOARD["schemaVersion"] >= 38
    assert "id" not in DASHBOARD  # that of the Grafana where it was made
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: dict[tuple[int, int], str] = {}
    for panel in PANELS:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    for panel in PANELS:
        assert panel["description"]
        references = [query["refId"] for query in panel["targets"]]
        assert len(set(references)) == len(references)


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_prometheus_itself_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel_{index}", "expr": re.sub(r"\$__\w+", "5m", expression).replace("$", "any")}
        for index, (_, expression) in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run([str(PROMTOOL), "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
