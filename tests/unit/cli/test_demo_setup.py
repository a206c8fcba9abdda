"""The demo takes a configuration as it is, but for what is real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wxbridge.cli.demo_setup import DemoSetup, configure


def test_a_demo_never_uses_the_database_of_real_bridges(config_file: Callable[[str], Path]) -> None:
    path = config_file(
        'database: "postgresql://db.example.com/wxbridge"\n'
        'wechat: {endpoint: "gateway.example.com:8788", token: t, master: boss}\n'
        "targets: {ops: {channel: wechat, room: Ops}}\nroutes: [{to: [ops]}]\n"
    )
    config = configure(path, DemoSetup("wechat", None, 8788, 8789))
    assert config.database is None
    assert config.state_dir == path.parent / "state" / "demo"
