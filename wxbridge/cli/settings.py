"""Which configuration file is meant, and what it says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from wxbridge.cli.reader import choose_language, choose_language_of

if TYPE_CHECKING:  # `--help` needs none of it
    from wxbridge.config.schema import Config


def config_path(path: Path | None) -> Path:
    """The configuration file that is meant."""
    return path or Path(os.environ.get("WXBRIDGE_CONFIG") or "jobs.yaml")


def find_named_config(words: Sequence[str]) -> Path | None:
    """Find the file that a command line names with `-c` or `--config`, before anything else is read of it."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if word == "--":
            break
        name, sign, value = word.partition("=")
        if name in ("-c", "--config"):
            return Path(value if sign else following)
        if word.startswith("-c"):
            return Path(word[2:])
    return None


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
