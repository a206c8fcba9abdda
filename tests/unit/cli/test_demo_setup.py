"""The demo takes a configuration as it is, but for what is real."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from wxbridge.cli.commands import app
from wxbridge.cli.demo_setup import DemoSetup, record
from wxbridge.core.database import Database, sqlite_url
from wxbridge.hosts.samples import Sample
from wxbridge.hosts.store import KeptHost, save_host


def test_a_demo_never_uses_the_database_of_real_bridges(config_file: Callable[[str], Path]) -> None:
    path = config_file(
        'database: "postgresql://db.example.com/wxbridge"\n'
        'wechat: {endpoint: "gateway.example.com:8788", token: t, master: boss}\n'
        "targets: {ops: {channel: wechat, room: Ops}}\nroutes: [{to: [ops]}]\n"
    )
    config = DemoSetup("wechat", None, 8788, 8789).configure(path)
    assert config.database is None
    assert config.state_dir == path.parent / "state" / "demo"


def test_a_demo_in_an_empty_folder_keeps_everything_in_its_own_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = DemoSetup("wechat", None, 8788, 8789).configure(None)
    assert [config.state_dir, config.base] == [tmp_path / "wxbridge-demo"] * 2


def test_commands_beside_a_demo_find_its_hosts_and_tell_how_to_start_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WXBRIDGE_CONFIG", raising=False)
    setup = DemoSetup("wechat", None, 8788, 8789)
    config = setup.configure(None)
    config.state_dir.mkdir()
    record(config.state_dir, setup)
    database = Database.open(sqlite_url(config.state_dir))
    samples = [Sample(time.time() - 10, {"cpu": 42.0})]
    asyncio.run(database.run(lambda c: save_host(c, "of-the-demo", samples, KeptHost(), time.time())))
    database.close()
    run = CliRunner()
    assert json.loads(run.invoke(app, ["host", "--json"]).stdout)[0]["name"] == "of-the-demo"
    assert "42" in run.invoke(app, ["host"]).stdout
    for words in (["status"], ["send", next(iter(config.targets)), "hi"]):
        done = run.invoke(app, words)
        assert "`wxbridge demo`" in done.output
        assert "wxbridge run" not in done.output
