"""The documentation's configuration and commands work as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from wxbridge import registry
from wxbridge.cli.commands import app
from wxbridge.config import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
VARIABLES = dict.fromkeys(re.findall(r"\$\{(\w+)\}", README), "x")
VARIABLES["WECHATY_PUPPET_SERVICE_ENDPOINT"] = "127.0.0.1:8788"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_readmes_yaml_is_a_valid_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(text, encoding="utf-8")
    assert load(path, registry.plugin_settings(), VARIABLES).targets


def commands() -> list[str]:
    found = re.findall(r"wxbridge ([a-z]+(?: [a-z]+)?)", " ".join(re.findall(r"```sh.*?```", README, re.DOTALL)))
    return sorted({words for words in found if words.split()[0] != "is"})


@pytest.mark.parametrize("words", commands())
def test_a_command_that_the_readme_names_exists(words: str) -> None:
    command = get_command(app)
    first, _, second = words.partition(" ")
    assert first in command.commands, f"`wxbridge {words}`"
    subcommands = getattr(command.commands[first], "commands", None)
    assert subcommands is None or second in subcommands, f"`wxbridge {words}`"


def test_what_the_readme_shows_exists() -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link).exists(), link


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
