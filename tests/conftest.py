"""What several test directories share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support import SMALL

from wxbridge import registry
from wxbridge.config import Config, load

settings.register_profile(
    "wxbridge",
    # More than usual: WXBRIDGE_EXAMPLES=5000 make test
    max_examples=int(os.environ.get("WXBRIDGE_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("wxbridge")


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
