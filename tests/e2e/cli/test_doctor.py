"""`wxbridge doctor` and `check --strict`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
import typer
from typer.testing import CliRunner, Result

from wxbridge.cli import doctor as command
from wxbridge.cli import service
from wxbridge.core.findings import Finding, FindingState

app = typer.Typer()
app.command()(command.doctor)
app.command()(service.check)


@pytest.fixture
def run(config_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run a command with findings as given."""

    def go(*words: str, findings: list[Finding]) -> Result:
        async def examine(*_: object) -> list[Finding]:
            return findings

        monkeypatch.setattr("wxbridge.doctor.examine", examine)
        return CliRunner().invoke(app, [*words, "-c", str(config_file())])

    yield go
    structlog.reset_defaults()


WELL = Finding("font", FindingState.OK, "Noto")
SO_SO = Finding("bridge", FindingState.WARN, "it does not run", "start it")
BAD = Finding("gateway", FindingState.BAD, "not reached", "correct it")


def test_the_table_says_what_was_found_and_what_to_do(run: Callable[..., Result]) -> None:
    done = run("doctor", findings=[WELL, SO_SO, BAD])
    assert done.exit_code == 1
    for words in ("font", "ok", "Noto", "it does not run", "start it", "gateway", "bad", "correct it"):
        assert words in done.stdout


def test_json_is_a_list_and_a_warning_is_no_failure(run: Callable[..., Result]) -> None:
    done = run("doctor", "--json", findings=[WELL, SO_SO])
    assert done.exit_code == 0
    assert json.loads(done.stdout)[1] == {
        "name": "bridge", "state": "warn", "found": "it does not run", "advice": "start it",
    }  # fmt: skip


def test_check_looks_around_only_when_it_is_strict(run: Callable[..., Result]) -> None:
    assert run("check", findings=[BAD]).exit_code == 0
    done = run("check", "--strict", findings=[WELL, BAD])
    assert done.exit_code == 1
    assert "bad: gateway: not reached; correct it" in done.output
    assert "Noto" not in done.output
    assert run("check", "--strict", findings=[WELL, SO_SO]).exit_code == 0
