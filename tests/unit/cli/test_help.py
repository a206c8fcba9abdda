"""What the commands say of themselves: all of it is in the catalogue, and nothing else is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command

from wxbridge.cli import reader
from wxbridge.cli.commands import COMMANDS, app, load_command
from wxbridge.cli.help_texts import describe
from wxbridge.cli.init import CHANNELS
from wxbridge.core.findings import FindingState
from wxbridge.core.model import AlertStatus, ChannelState, MessageState
from wxbridge.core.text.i18n import LANGUAGES, load_texts

CHINESE = re.compile("[\u3400-\u9fff]")


@pytest.fixture(autouse=True)
def _language() -> Iterator[None]:
    yield
    reader.choose_language(None)


def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from walk(each, (*path, name))


def all_commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    root = get_command(app)
    describe(root)
    yield (), root
    for name in COMMANDS:
        yield from walk(load_command(name), (name,))


@pytest.mark.parametrize("name", COMMANDS)
def test_what_the_code_says_of_a_command_is_what_its_help_begins_with(name: str) -> None:
    reader.choose_language("en")
    command = load_command(name)
    assert command.name == name
    for path, each in walk(command, (name,)):
        if hasattr(each, "commands"):
            continue
        about = inspect.cleandoc(each.callback.__doc__).partition("\n\n")[0]
        assert " ".join(about.split()) == each.help.partition("\n\n")[0], path


def test_every_command_takes_a_configuration_file_after_its_name() -> None:
    for path, command in all_commands():
        # The options of sendmail are another program's, read by itself.
        if hasattr(command, "commands") or path == ("sendmail",):
            continue
        assert [param.name for param in command.params if "-c" in param.opts] == ["config"], path


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_command_and_option_has_its_help_and_every_help_its_command(language: str) -> None:
    reader.choose_language(language)
    texts, used = load_texts(language), set()
    for path, command in all_commands():
        said = {"about": command.help}
        for each in command.params:
            said |= {each.name: each.help, f"{each.name}_default": each.show_default}
        for name, text in said.items():
            keys = [".".join(("help", *path, name)), f"help.any.{name}"]
            key = next((key for key in keys if key in texts), None)
            if key is None:
                assert name.endswith("_default"), f"{path} {name} has no help"
                continue
            used.add(key)
            assert text == texts[key]
            assert language != "zh" or CHINESE.search(text), f"{path} {name}: {text}"
    # `--help` is typer's own, and so are the words around.
    others = {key for key in texts if key.startswith("help.words.")} | {"help.any.help"}
    assert {key for key in texts if key.startswith("help.")} == used | others


def test_what_may_be_chosen_is_named_in_the_help() -> None:
    for language in LANGUAGES:
        texts = load_texts(language)
        assert all(state in texts["help.outbox.list.state"] for state in MessageState)
        assert all(channel in texts["help.init.channel"] for channel in CHANNELS)


def test_headings_and_states_are_chinese_in_chinese() -> None:
    english = load_texts("en")
    for key, text in load_texts("zh").items():
        has_words = re.search("[A-Za-z]{2}", re.sub(r"\{\w*\}", "", english[key]))
        if has_words and key.startswith(("terminal.", "help.", "usage.", "log.")) and english[key].strip() != "and":
            assert CHINESE.search(text) or key == "usage.value_error", f"{key}: {text}"
    reader.choose_language("zh")
    others = ("active", "pending", "expired", "running", "stopped", "waiting")
    for state in (*MessageState, *ChannelState, *FindingState, *AlertStatus, *others):
        assert CHINESE.search(reader.name_state(state)), state
    assert reader.name_state("NoData") == "NoData"
    assert reader.name_part("target ops") == "目标 ops"
    assert reader.name_part("ilink 张三") == "ilink 张三"
    reader.choose_language("en")
    assert reader.name_state("failed_over") == "failed_over"
