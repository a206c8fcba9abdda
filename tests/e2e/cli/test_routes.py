from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from tests.support import REPOSITORY
from wxbridge.alerts import silences
from wxbridge.cli.reader import choose_language
from wxbridge.cli.routes import routes
from wxbridge.cli.silences import app
from wxbridge.config.schema import Config
from wxbridge.core.database import make_engine, sqlite_url

CONFIG = """\
timezone: Asia/Shanghai
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
  dba: {channel: wechat, room: DBA}
time_intervals:
  always: {times: "00:00-24:00"}
routes:
  - match: {team: db}
    to: dba
    mute_time_intervals: always
    routes:
      - match: ['severity=~"critical|page"']
        mention: [all]
        repeat_interval: 4h
        mute_time_intervals: []
        continue: true
      - {match: {shard: "7"}, to: [ops, dba], send_resolved: false, template: short}
  - {match: {severity: debug}, to: []}
  - {match: {severity: critical}, to: [ops]}
"""

Run = Callable[..., Result]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[..., Config]) -> Config:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    return read(CONFIG)


@pytest.fixture
def run(config: Config) -> Run:
    runner = CliRunner()

    def command(group: typer.Typer, *words: str) -> Result:
        return runner.invoke(group, words)

    return command


def rows(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        ("team=db", "dba"),
        ("team=db,severity=page,shard=7", "dba, ops"),
        ('{"team": "db", "shard": 7}', "ops, dba"),
        ("severity=debug", "nobody, on purpose"),
        ("team=web", "no route matches: goes to the operators"),
        ("{}", "no route matches: goes to the operators"),
    ],
)
def test_labels_are_tried_on_the_routes(run: Run, labels: str, answer: str) -> None:
    result = run(routes, "test", labels)
    assert (result.exit_code, result.stdout) == (0, f"{answer}\n")


@pytest.mark.parametrize(("page", "language"), [("docs/routing.md", "en"), ("docs/zh/routing.md", "zh")])
def test_the_output_that_the_documentation_shows_is_what_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, language: str
) -> None:
    blocks = re.findall(
        r"^```(\w+)\n(.*?)^```", (REPOSITORY / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    written = next(text for kind, text in blocks if kind == "yaml")
    targets = "targets: {ops: {channel: console}, boss: {channel: console}, db: {channel: console}}"
    (tmp_path / "jobs.yaml").write_text(f"language: {language}\n{targets}\n{written}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    try:
        done = CliRunner().invoke(routes, ["test", '{"severity": "critical", "team": "db"}'])
    finally:
        choose_language(None)
    assert done.stderr + done.stdout == next(text for kind, text in blocks if kind == "text")


def test_each_route_that_is_tried_says_why_it_matches_or_not(run: Run) -> None:
    assert run(routes, "test", "team=db,severity=critical").stderr.splitlines() == [
        'routes[0] {team="db"} matches: its own routes say where to',
        'routes[0].routes[0] {severity=~"critical|page"} matches: → dba; the next is tried too',
        'routes[0].routes[1] {shard="7"} does not match: shard="7" does not hold, there is no such label',
        "→ dba: told at once, mentions all, repeated every 4h",
    ]
    lines = run(routes, "test", "team=web,severity=critical").stderr.splitlines()
    assert lines[0] == 'routes[0] {team="db"} does not match: team="db" does not hold, it is "web"'
    assert lines[-1] == "→ ops: told at once"
    lines = run(routes, "test", "team=db,shard=7").stderr.splitlines()
    assert lines[-2:] == [
        "→ ops: now muted by always: held back, its end is not told, template short",
        "→ dba: now muted by always: held back, its end is not told, template short",
    ]


def test_what_holds_for_each_target_can_be_had_as_json(run: Run) -> None:
    found = rows(run(routes, "test", "team=db,severity=page", "--json"))
    assert found == [
        {
            "target": "dba", "route": "routes[0].routes[0]", "mention": ["all"], "repeat_interval": "4h",
            "send_resolved": True, "template": None, "mute_time_intervals": [], "active_time_intervals": [],
            "muted": None,
        }
    ]  # fmt: skip
    assert rows(run(routes, "test", "team=db", "--json"))[0]["muted"] == "muted by always"
    assert rows(run(routes, "test", "severity=debug", "--json")) == []


def test_a_silence_that_holds_is_named(run: Run, config: Config) -> None:
    assert rows(run(routes, "test", "team=db,severity=page", "--json"))[0]["muted"] is None
    assert not config.state_dir.exists()
    silence = run(app, "add", "team=db", "severity=page", "--for", "2h").stdout.strip()
    held = run(routes, "test", "team=db,severity=page")
    assert held.stderr.splitlines()[-1] == f"→ dba: now silence {silence}: held back, mentions all, repeated every 4h"
    assert rows(run(routes, "test", "team=db,severity=page", "--json"))[0]["muted"] == f"silence {silence}"
    assert "told at once" in run(routes, "test", "team=db,severity=critical").stderr
    run(app, "expire", silence)
    assert "told at once" in run(routes, "test", "team=db,severity=page").stderr


@pytest.mark.parametrize("labels", ["severity", "{", '{"a"', '["a"]'])
def test_labels_that_are_none_are_refused(run: Run, labels: str) -> None:
    result = run(routes, "test", labels)
    assert result.exit_code == 2
    assert result.stderr.startswith(("write labels as name=value", "the labels are not JSON"))


def test_a_silence_is_made_listed_and_ended(run: Run) -> None:
    before = time.time()
    made = run(app, "add", "team=db", 'severity!~"page|critical"', "--for", "2h", "--comment", "works", "--by", "张三")
    assert made.exit_code == 0
    silence = made.stdout.strip()
    (row,) = rows(run(app, "list", "--json"))
    assert row | {"starts": "", "created": "", "ends": ""} == {
        "id": silence, "state": "active", "matchers": ['team="db"', 'severity!~"page|critical"'], "by": "张三",
        "comment": "works", "starts": "", "created": "", "ends": "",
    }  # fmt: skip
    assert datetime.fromisoformat(row["ends"]).timestamp() == pytest.approx(before + 7200, abs=30)
    assert row["ends"].endswith("+08:00")
    assert rows(run(app, "--json")) == [row]
    assert silence in run(app).stdout
    ended = run(app, "expire", silence)
    assert (ended.exit_code, ended.stderr) == (0, "1 of 1 ended\n")
    assert run(app, "list").stderr == "no silences\n"
    assert [row["state"] for row in rows(run(app, "list", "--all", "--json"))] == ["expired"]
    again = run(app, "expire", silence, "nonsense")
    assert again.exit_code == 1
    assert f"there is no silence '{silence}' that is not over" in again.stderr
    assert again.stderr.endswith("0 of 2 ended\n")


def test_a_silence_may_end_at_a_time_of_the_configured_zone(run: Run, config: Config) -> None:
    assert run(app, "add", "a=b", "--until", "2999-12-31 18:00").exit_code == 0
    assert run(app, "add", "a=b", "--until", "2999-12-31T18:00:00+00:00").exit_code == 0
    assert run(app, "add", "a=b", "--until", "18:00").exit_code == 0
    soon, first, second = rows(run(app, "--json"))
    assert (first["ends"], second["ends"]) == ("2999-12-31 18:00:00+08:00", "3000-01-01 02:00:00+08:00")
    moment = datetime.fromisoformat(soon["ends"])
    assert moment.strftime("%H:%M") == "18:00"
    assert 0 < moment.timestamp() - time.time() <= 86400


def test_options_before_the_subcommand_hold_for_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("state_dir: other\n" + CONFIG, encoding="utf-8")
    silence = run(app, "-c", str(other), "add", "team=db", "--for", "2h").stdout.strip()
    assert rows(run(app, "--json")) == []
    assert [row["id"] for row in rows(run(app, "-c", str(other), "--json", "list"))] == [silence]
    assert run(app, "-c", str(other), "expire", silence).exit_code == 0
    assert rows(run(app, "--json", "-c", str(other), "list")) == []
    assert [row["id"] for row in rows(run(app, "--all", "--json", "list", "-c", str(other)))] == [silence]
    # What stands behind it counts.
    assert rows(run(app, "-c", str(other), "--all", "list", "-c", str(config.path), "--json")) == []
    for option in ("--json", "--all"):
        refused = run(app, option, "add", "team=db", "--for", "2h")
        assert refused.exit_code == 2
        assert f"{option} belongs to `silences list`" in refused.stderr
    assert rows(run(app, "--all", "--json")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["team=db"], "say how long: either --for 2h or --until 18:00"),
        (["team=db", "--for", "2h", "--until", "18:00"], "say how long"),
        (["team", "--for", "2h"], "'team' is no matcher; write one like"),
        (["team=db", "--for", "soon"], "'soon' is no duration"),
        (["team=db", "--until", "tomorrow"], "'tomorrow' is no time; write one like 18:00 or 2026-12-31 18:00"),
        (["team=db", "--until", "2001-01-01 10:00"], "over before it begins"),
        (['team=~".*"', "--for", "2h"], "this would silence everything"),
    ],
)
def test_what_is_no_silence_is_refused_in_words(run: Run, words: list[str], told: str) -> None:
    result = run(app, "add", *words)
    assert result.exit_code == 2
    assert told in result.stderr


def test_a_silence_of_the_command_line_is_one_for_the_bridge(run: Run, config: Config) -> None:
    run(app, "add", 'team=~"db|web"', "--for", "1h")
    holder = silences.SilenceSet()
    engine = make_engine(sqlite_url(config.state_dir))
    with engine.begin() as connection:
        holder.reload(connection, now=time.time())
    engine.dispose()
    assert holder.find({"team": "web"}, time.time())
    assert holder.find({"team": "x"}, time.time()) is None


def test_the_routes_are_shown_as_a_tree_from_the_top(run: Run, config_file: Callable[[str], Path]) -> None:
    config_file(
        "targets: {ops: {channel: console}, dba: {channel: console}}\noperators: [ops]\nroutes:\n"
        "  - match: {severity: critical}\n    to: [ops]\n    continue: true\n    routes:\n"
        "      - {match: ['team=~\"db|storage\"'], to: [dba, ops], repeat_interval: 1h}\n"
        "      - {match: {team: nobody}, to: []}\n"
        "  - {to: [ops]}\n"
    )
    shown = run(routes, "show")
    assert (shown.exit_code, shown.stdout.splitlines()) == (0, [
        "every alert; what no route matches goes to the operators: ops",
        '├─ {severity="critical"}  → ops  (the next is tried too)',
        '│  ├─ {team=~"db|storage"}  → dba, ops  (repeated every 1h)',
        '│  └─ {team="nobody"}  → nobody, on purpose',
        "└─ {}  → ops",
    ])  # fmt: skip
    (first, second) = rows(run(routes, "show", "--json"))
    assert second == {"matchers": [], "to": ["ops"], "continue": False, "routes": []}
    assert [inner["to"] for inner in first["routes"]] == [["dba", "ops"], []]
