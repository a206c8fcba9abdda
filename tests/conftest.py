"""What several test directories share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from wxbridge import registry
from wxbridge.config import Config, load

settings.register_profile("wxbridge", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("wxbridge")

REPOSITORY = Path(__file__).parent.parent

SMALL = """\
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
routes:
  - {to: [ops]}
"""


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[[str], Path]:
    """Write a jobs.yaml and give its path."""

    def write(text: str = SMALL) -> Path:
        path = tmp_path / "jobs.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def read(config_file: Callable[[str], Path]) -> Callable[..., Config]:
    """Load a configuration from its text, with `variables` as the environment."""

    def load_text(text: str = SMALL, **variables: str) -> Config:
        return load(config_file(text), registry.plugin_settings(), variables)

    return load_text


def payload_bytes(name: str) -> bytes:
    """A sample of what a monitor sends: `grafana/legacy_ok`."""
    return (REPOSITORY / "tests" / "payloads" / f"{name}.json").read_bytes()
