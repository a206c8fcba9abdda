"""The list of commands is there at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "asyncio", "pydantic", "sqlalchemy", "structlog", "yaml"}


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
        "wxbridge.cli", "wxbridge.cli.commands", "wxbridge.cli.exits", "wxbridge.cli.help_texts",
        "wxbridge.cli.reader", "wxbridge.cli.settings", "wxbridge.core", "wxbridge.core.errors",
        "wxbridge.core.locale_language", "wxbridge.core.text", "wxbridge.core.text.i18n",
    }  # fmt: skip
