"""`wxbridge template render`: what people see of a template before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from wxbridge.cli import sample_alerts as samples
from wxbridge.cli.templates import app

JOBS = """\
language: zh
timezone: Asia/Shanghai
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
routes:
  - {to: [ops]}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    return tmp_path


def render(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["render", *arguments])


def test_a_template_is_filled_with_a_sample_without_a_configuration(here: Path) -> None:
    (here / "my.j2").write_text("{{ target }}: {{ title }}")
    done = render("my.j2", "--sample", "grafana", "--target", "dba")
    assert (done.exit_code, done.stdout) == (0, "dba: [Alerting] Test notification\n")


@pytest.mark.parametrize("sample", samples.SAMPLES)
def test_every_sample_can_be_shown_in_the_built_in_words(here: Path, sample: str) -> None:
    (here / "my.j2").write_text("{{ builtin }}")
    for status in ("firing", "resolved"):
        done = render("my.j2", "--sample", sample, "--status", status)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.strip()


def test_a_template_is_filled_with_a_body_of_one_s_own(here: Path) -> None:
    (here / "my.j2").write_text("{{ title }} {{ alerts[0].status }}")
    (here / "body.json").write_text('{"title": "Backup of db-1", "status": "ok"}')
    assert render("my.j2", "--file", "body.json").stdout == "Backup of db-1 resolved\n"
    (here / "body.json").write_text('{"event_name": "CPU", "event_value": "1", "event_id": "1"}')
    assert render("my.j2", "--file", "body.json", "--sample", "zabbix").stdout == "CPU firing\n"
    assert render("my.j2", "--file", "body.json").stdout == "CPU firing\n"


def test_what_cannot_be_filled_in_is_said(here: Path) -> None:
    (here / "my.j2").write_text("x")
    (here / "empty.json").write_text("")
    for words, code, said in (
        (["--sample", "nagios"], 2, "there is no sample 'nagios'; there are grafana, grafana-unified, "),
        (["--status", "over"], 2, "--status is firing or resolved, not 'over'"),
        (["--file", "none.json"], 2, "none.json cannot be read: No such file"),
        (["--file", "empty.json"], 1, "empty.json cannot be read: The body is empty"),
    ):
        done = render("my.j2", *words)
        assert (done.exit_code, said in done.stderr) == (code, True), done.stderr


def test_the_language_and_the_folder_are_those_of_the_configuration(here: Path) -> None:
    (here / "jobs.yaml").write_text(JOBS, encoding="utf-8")
    (here / "templates").mkdir()
    (here / "templates" / "mine.j2").write_text("{{ language }} {{ 60|duration }} {{ now.tzinfo }}")
    assert render("mine", "--sample", "grafana").stdout == "zh 1分钟 Asia/Shanghai\n"
    assert render("mine", "--sample", "grafana", "--language", "en").stdout == "en 1 min Asia/Shanghai\n"


def test_a_configuration_that_cannot_be_read_is_not_needed_but_one_that_was_named_is(here: Path) -> None:
    (here / "jobs.yaml").write_text("nonsense: 1\n")
    (here / "my.j2").write_text("x")
    done = render("my.j2", "--sample", "grafana")
    assert (done.exit_code, done.stdout) == (0, "x\n")
    assert "jobs.yaml is not used" in done.stderr
    assert render("my.j2", "-c", "jobs.yaml").exit_code != 0


def test_a_broken_template_is_told_with_its_line_and_fails(here: Path) -> None:
    (here / "my.j2").write_text("a\n{{ nothing }}")
    done = render("my.j2", "--sample", "grafana")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "my.j2:2: 'nothing' is undefined" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("absent.j2",), "there is no file absent.j2"),
        (("my.j2", "--sample", "nagios"), "there is no sample 'nagios'; there are grafana"),
        (("my.j2", "--language", "fr"), "there is no language 'fr'"),
    ],
)
def test_what_was_typed_wrong_is_told(here: Path, arguments: tuple[str, ...], words: str) -> None:
    (here / "my.j2").write_text("x")
    done = render(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr
