"""What a demo is configured with; other commands find a running one by what it has noted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from wxbridge.cli.settings import config_path, read_config
from wxbridge.config.schema import Config
from wxbridge.config.server import LOOPBACK
from wxbridge.core.errors import ConfigError, Problem
from wxbridge.core.state_lock import PRIVATE_FILE, find_holder, is_held

DEMO_STATE = Path("wxbridge-demo")
"""The state directory of a demo in a folder that has no jobs.yaml."""
PERSON = "张三"
"""Whose private chat a demo of iLink is."""
_RECORD = "demo.json"
"""Below the state directory: what a demo was started with."""
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class DemoSetup:
    """What a demo was started with, for the commands beside it."""

    channel: str
    listen: str | None
    gateway_port: int
    page_port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables of the shipped jobs.yaml, as they were set for the demo."""
    pid: int = 0

    def configure(self, path: Path | None) -> Config:
        """Make the configuration: a file's, pointed at the simulator. Raises `ConfigError`."""
        settings = _point_at_simulator(path, self)
        if self.channel == "ilink":
            return _convert_to_ilink(settings, f"http://127.0.0.1:{self.page_port}")
        return settings


def read_environment() -> dict[str, str]:
    """Give the variables of the shipped jobs.yaml that are set."""
    names = _VARIABLE.findall(shipped_jobs().read_text(encoding="utf-8"))
    return {name: os.environ[name] for name in names if name in os.environ}


def shipped_jobs() -> Path:
    """The jobs.yaml that ships with wxbridge: in the package when installed, beside it in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "jobs.yaml"
    return inside if inside.exists() else package.parent / "jobs.yaml"


def _has_no_file(path: Path | None) -> bool:
    return path is None and not os.environ.get("WXBRIDGE_CONFIG") and not config_path(None).exists()


def _point_at_simulator(path: Path | None, setup: DemoSetup) -> Config:
    from wxbridge.simulator import DEFAULT_TOKEN

    # Port 0 is any free one, which is not known before the simulator has it.
    endpoint = f"127.0.0.1:{setup.gateway_port or 1}"
    alone = _has_no_file(path)
    environment: dict[str, str] = {
        "INSPECTION_CRON": "* * * * *",
        "CHART_CRON": "* * * * *",
        "GRAFANA_URL": f"http://127.0.0.1:{setup.page_port}/demo",
        "SIMULATOR_URL": f"http://127.0.0.1:{setup.page_port}",
        **os.environ,
        **(setup.environment if alone else {}),
        "WECHATY_PUPPET_SERVICE_ENDPOINT": endpoint,
        "WECHATY_PUPPET_SERVICE_TOKEN": DEFAULT_TOKEN,
    }
    if setup.listen:
        environment["WXBRIDGE_LISTEN"] = setup.listen
    chosen = shipped_jobs() if alone else config_path(path)
    settings = read_config(chosen, environment)
    wechat = settings.section("wechat")
    if wechat is None:
        raise ConfigError([Problem(str(chosen), 1, "the demo needs a `wechat:` section")])
    real = wechat.endpoint.rpartition(":")[0] not in LOOPBACK
    # What waits in a real bridge's database must not be "delivered" to the simulator.
    state = Path.cwd() / DEMO_STATE if alone else settings.state_dir / "demo" if real else settings.state_dir
    # The shipped file stands in the package: what its jobs keep does not belong there.
    place = {"path": state / chosen.name} if alone else {}
    simulated = wechat.model_copy(
        update={"endpoint": endpoint, "token": type(wechat.token)(DEFAULT_TOKEN)},
    )
    server = settings.server.model_copy(update={"listen": setup.listen}) if setup.listen else settings.server
    # Also where it is shared: a demo has a SQLite of its own, and leads.
    changed = {"wechat": simulated, "state_dir": state, "server": server, "database": None, **place}
    return settings.model_copy(update=changed)


def _convert_to_ilink(settings: Config, url: str) -> Config:
    """Have every target of the WeChat gateway be the private chat with one person, at a pretend iLink."""
    from wxbridge.channels.ilink.settings import IlinkSettings, IlinkTarget

    wechat = settings.section("wechat")
    section = IlinkSettings.model_validate(
        {"people": [PERSON], "master": PERSON, "greeting": wechat.greeting, "url": url, "cdn": f"{url}/c2c"}
    )
    targets = {
        name: IlinkTarget(channel="ilink", person=PERSON, commands=target.commands)
        if target.channel == "wechat"
        else target
        for name, target in settings.targets.items()
    }
    converted = settings.model_copy(update={"wechat": None, "ilink": section, "targets": targets})
    return converted.naming({"ilink", *(target.channel for target in targets.values())})


# ---------------------------------------------------------------- the running demo, for other commands


def find_config(path: Path | None) -> Config | None:
    """Find the configuration of the demo that other commands are meant to look at; None where there is none.

    That is the demo of this folder where there is no jobs.yaml, running or not, and one that runs on the state
    directory of the file. Raises `ConfigError`.
    """
    if _has_no_file(path):
        setup = _read_record(DEMO_STATE)
        return setup.configure(None) if setup else None
    settings = read_config(path)
    setup = _read_record(settings.state_dir)
    return (
        setup.configure(path)
        if setup and is_held(settings.state_dir) and find_holder(settings.state_dir) == setup.pid
        else settings
    )


def _read_record(state_dir: Path) -> DemoSetup | None:
    try:
        return DemoSetup(**json.loads((state_dir / _RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def record(state_dir: Path, setup: DemoSetup) -> None:
    """Note what a demo was started with. Where that cannot be written, other commands do without."""
    with suppress(OSError):
        path = state_dir / _RECORD
        path.touch(PRIVATE_FILE)
        path.write_text(json.dumps(asdict(setup)), encoding="utf-8")
