"""`wxbridge alerts`: what fires, for people and for scripts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime

import pytest
import typer
from typer.testing import CliRunner

from tests.support import free_port
from wxbridge import parts
from wxbridge.alerts import store
from wxbridge.alerts.sources import grafana_legacy
from wxbridge.cli import alerts as command
from wxbridge.config.schema import Config

POSTED = {"ruleId": 5, "ruleName": "磁盘快满了", "state": "alerting", "orgId": 1, "tags": {"severity": "critical"}}


@pytest.mark.parametrize("with_grafana", [False, True])
def test_what_fires_is_listed_and_who_did_not_answer_is_named(
    read: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, with_grafana: bool
) -> None:
    config = read(f'grafana: {{url: "http://127.0.0.1:{free_port()}"}}\n' if with_grafana else "")
    monkeypatch.setenv("WXBRIDGE_CONFIG", str(config.path))
    app = typer.Typer()
    app.command()(command.alerts)
    nothing = CliRunner().invoke(app, ["--json"])
    assert json.loads(nothing.stdout) == []

    database = parts.open_database(config)
    try:
        group = grafana_legacy.read(POSTED)
        asyncio.run(database.run(lambda c: store.record_seen(c, [group], now=time.time())))
    finally:
        database.close()
    found = CliRunner().invoke(app, ["--json"])
    [alert] = json.loads(found.stdout)
    assert (alert["title"], alert["status"], alert["labels"]["severity"]) == ("磁盘快满了", "firing", "critical")
    assert found.exit_code == (1 if with_grafana else 0)
    assert ("Grafana did not answer: Grafana at http" in found.stderr) is with_grafana
    shown = CliRunner().invoke(app, [], env={"COLUMNS": "200"}).stdout
    assert "磁盘快满了" in shown
    since = datetime.fromisoformat(alert["since"]).astimezone(config.timezone)
    assert since.isoformat(sep=" ", timespec="seconds") in shown
    for matchers, is_found in (
        (["severity=critical"], True),
        (["磁盘快满了"], True),
        (["severity=~crit.*", "alertname!=x"], True),
        (["severity=warning"], False),
        (["severity=critical", "nosuch=label"], False),
    ):
        rows = json.loads(CliRunner().invoke(app, [*matchers, "--json"]).stdout)
        assert bool(rows) is is_found, matchers
    assert CliRunner().invoke(app, ['severity=~"']).exit_code == 2
