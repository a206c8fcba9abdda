"""Which configuration file is meant, and what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wxbridge.cli.reader import choose_language, choose_language_of

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

    choose_language_of(config_path(path))
    config = load(config_path(path), registry.plugin_settings(), environment)
    choose_language(config.language if "language" in config.model_fields_set else None)
    return config
