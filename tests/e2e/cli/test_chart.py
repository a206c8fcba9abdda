"""`wxbridge chart`: what an alert's chart is made of, and the chart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from wxbridge.cli.commands import app

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)


def explained(*words: str) -> dict[str, Any]:
    done = RUNNER.invoke(app, ["chart", *words, "--explain"])
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_expression_is_explained_without_any_configuration() -> None:
    labels = {"alertname": "Load", "instance": "db-1:9100", "severity": "page"}
    found = explained("--expr", "node_load1 > 4", "--labels", json.dumps(labels), "--for", "10m")
    assert list(found) == ["queries", "thresholds", "filter", "range", "why"]
    assert found["queries"] == ["node_load1"]
    assert (found["thresholds"], found["filter"]) == ([4.0], {"instance": "db-1:9100"})
    assert found["range"]["end"] - found["range"]["start"] == pytest.approx(2400, abs=10)
    assert found["why"] == "the outer comparison (> 4) became the threshold"


class Namesakes(BaseHTTPRequestHandler):
    """A Prometheus with two rules of one name."""

    def do_GET(self) -> None:
        rules = [
            {"type": "alerting", "name": "Load", "query": f"node_load1 > {limit}", "labels": {"severity": severity}}
            for limit, severity in ((4, "warning"), (8, "page"))
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"status": "success", "data": {"groups": [{"rules": rules}]}}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def namesakes() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Namesakes) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_where_several_rules_have_a_name_it_is_told_which_is_taken(namesakes: str) -> None:
    words = ["chart", "--rule", "Load", "--prometheus", namesakes, "--explain"]
    done = RUNNER.invoke(app, words)
    assert json.loads(done.stdout)["thresholds"] == [4]
    assert "2 rules are called Load; --labels tells which is meant. Taken is node_load1 > 4, of:" in done.stderr
    assert 'node_load1 > 8  {"severity": "page"}' in done.stderr
    other = RUNNER.invoke(app, [*words, "--labels", '{"severity": "page"}'])
    assert json.loads(other.stdout)["thresholds"] == [8]


def test_several_instances_are_explained_together() -> None:
    labels = json.dumps([{"instance": "a:1", "job": "x"}, {"instance": "b:1", "job": "x"}])
    found = explained("--expr", "up == 0", "--labels", labels)
    assert (found["queries"], found["filter"]) == (["up"], {"job": "x"})


def test_what_is_not_understood_is_drawn_whole() -> None:
    found = explained("--expr", "node_load1 >", "--last", "1h")
    assert found["queries"] == ["node_load1 >"]
    assert found["why"].startswith("drawn whole: ")
    assert found["range"]["end"] - found["range"]["start"] == 3600


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give one of --expr and --rule"),
        (["--expr", "up", "--rule", "Up"], "give one of --expr and --rule"),
        (["--expr", "up", "--labels", "instance=a"], "is no JSON object"),
        (["--expr", "up", "--for", "long"], "is no duration"),
        (["--expr", "up", "--prometheus", "here"], "is no web address"),
        (["--expr", "up"], "no Prometheus"),
        (["--rule", "Up", "--explain"], "no Prometheus"),
    ],
)
def test_wrong_usage_is_told(words: list[str], said: str) -> None:
    assert_refused(["chart", *words], said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://127.0.0.1:1/", "--theme", "pink"], "'pink' is not one of"),
        (["http://127.0.0.1:1/", "--timezone", "Foo/Bar"], "'Foo/Bar' is no time zone; write one like"),
        (["ftp://127.0.0.1/x"], "'ftp://127.0.0.1/x' is no http or https address"),
    ],
)
def test_what_no_page_can_be_drawn_with_is_refused_at_once(words: list[str], said: str) -> None:
    assert_refused(["render", *words, "-o", "x.png"], said)


def assert_refused(words: list[str], said: str) -> None:
    done = RUNNER.invoke(app, words)
    assert done.exit_code == 2
    assert said in " ".join(done.output.replace("│", " ").split())
