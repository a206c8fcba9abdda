"""The list of commands: complete, true to the commands, and there at once."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

from wxbridge.cli.commands import COMMANDS, load_command

HEAVY = {"aiohttp", "asyncio", "pydantic", "sqlalchemy", "yaml"}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_of_a_command_what_its_own_help_begins_with(name: str) -> None:
    command = load_command(name)
    assert command.name == name
    assert " ".join(inspect.cleandoc(command.help).partition("\n\n")[0].split()) == COMMANDS[name][1]


@pytest.mark.parametrize("words", [["--help"], ["--version"]])
def test_what_runs_no_command_loads_none(words: list[str]) -> None:
    code = (
        "import json, sys\n"
        "sys.argv[0] = 'wxbridge'\n"
        "from wxbridge.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("wxbridge.")} == {
        "wxbridge.cli", "wxbridge.cli.commands", "wxbridge.cli.common", "wxbridge.cli.reader",
        "wxbridge.cli.settings",         "wxbridge.core", "wxbridge.core.errors",
        "wxbridge.core.locale_language",
    }  # fmt: skip
