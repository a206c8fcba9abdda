"""Which words of `run` are read without the command line; all others, the wrong ones too, are the command line's."""

from __future__ import annotations

from pathlib import Path

import pytest

from wxbridge.cli.serving import LogOptions, read_run_options


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], (None, LogOptions())),
        (["run", "-c", "a.yaml"], (Path("a.yaml"), LogOptions())),
        (["run", "--config", "a.yaml", "--log-format", "json"], (Path("a.yaml"), LogOptions("json"))),
        (["run", "--log-level", "debug"], (None, LogOptions(level="debug"))),
    ],
)
def test_plain_words_are_read(words: list[str], expected: object) -> None:
    assert read_run_options(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--help"], ["run", "-c"], ["run", "-c", "--log-level"], ["run", "--log-level", "loud"],
        ["run", "--log-format", "xml"], ["run", "--config=a.yaml"], ["run", "a.yaml"], ["run", "-c", ""],
        ["run", "--nonsense", "1"], ["check"], [],
    ],
)  # fmt: skip
def test_all_else_is_left_to_the_command_line(words: list[str]) -> None:
    assert read_run_options(words) is None
