"""Which configuration file is meant, and what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `--help` needs none of it
    from wxbridge.config.schema import Config


def config_path(path: Path | None) -> Path:
    """The configuration file that is meant."""
    return path or Path(os.environ.get("WXBRIDGE_CONFIG") or "jobs.yaml")


def read_config(path: Path | None, environment: Mapping[str, str] | None = None) -> Config:
    """Load the configuration file.

    Raises:
        ConfigError: with everything that is wrong; it makes the exit code 2.
    """
    from wxbridge import registry
    from wxbridge.config.schema import load

    return load(config_path(path), registry.plugin_settings(), environment)
