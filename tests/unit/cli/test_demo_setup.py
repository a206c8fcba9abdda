"""The demo takes a configuration as it is, but for what is real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wxbridge.cli.demo_setup import DemoSetup


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
