"""What the commands say of themselves, in the reader's language: the section `help` of the catalogue.

`help.jobs.mute.about` is what a command does, `help.jobs.mute.length` what a parameter of it is, and
`help.host.disk_default` what is taken where none is given; `help.any` has what several commands share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from wxbridge.cli.reader import reader_language, tell
from wxbridge.core.text.i18n import load_texts

Function = TypeVar("Function", bound=Callable[..., Any])

_RICH_WORDS = {
    "arguments": "ARGUMENTS_PANEL_TITLE",
    "options": "OPTIONS_PANEL_TITLE",
    "commands": "COMMANDS_PANEL_TITLE",
    "error": "ERRORS_PANEL_TITLE",
    "aborted": "ABORTED_TEXT",
    "default": "DEFAULT_STRING",
    "variable": "ENVVAR_STRING",
    "required": "REQUIRED_LONG_STRING",
    "try": "RICH_HELP",
}
"""What typer says around our texts, and where it keeps it."""


def find_help(name: str, path: str = "") -> str:
    """Find a text of the help; empty where there is none. `path` is the command's, such as `jobs.mute.`."""
    texts = load_texts(reader_language())
    return texts.get(f"help.{path}{name}") or texts.get(f"help.any.{name}", "")


def describe(command: Any, path: str = "") -> None:
    """Have a command of typer's, its parameters and its subcommands say what they are."""
    command.help = find_help("about", path)
    for parameter in command.params:
        parameter.help = find_help(parameter.name, path)
        parameter.show_default = find_help(f"{parameter.name}_default", path) or parameter.show_default
    for name, each in getattr(command, "commands", {}).items():
        describe(each, f"{path}{name}.")


class _Translated:
    """What typer adds of its own to a command's help."""

    def get_usage(self, ctx: Any) -> str:
        """Give the line of the usage."""
        usage: str = super().get_usage(ctx)  # type: ignore[misc]
        return usage.replace("Usage: ", find_help("words.usage"), 1)

    def get_help_option(self, ctx: Any) -> Any:
        """Give the option `--help`."""
        option = super().get_help_option(ctx)  # type: ignore[misc]
        if option is not None:
            option.help = find_help("help")
        return option

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help."""
        _translate_rich()
        super().format_help(ctx, formatter)  # type: ignore[misc]


class TranslatedCommand(_Translated, TyperCommand):
    """A command whose help is in the reader's language."""


class TranslatedGroup(_Translated, TyperGroup):
    """Several commands below one name, whose help is in the reader's language."""


class CommandSet(typer.Typer):
    """Commands as they are declared; their help is in the reader's language once `describe` has seen them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": TranslatedGroup, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Function], Function]:
        """Declare a command."""
        return super().command(name, cls=TranslatedCommand, **options)


@contextmanager
def translated_mistakes() -> Iterator[None]:
    """Have what typer says of a wrong command line be in the reader's language."""
    try:
        yield
    except Exception as error:
        if hasattr(error, "format_message"):
            said = tell(error.format_message())
            error.format_message = lambda: said
            _translate_rich()
        raise


def _translate_rich() -> None:
    from typer import rich_utils  # brings rich

    class FoldingHighlighter(rich_utils.OptionHighlighter):
        """Has a text that is long and without blanks go on in the next line, where rich would cut it."""

        def __call__(self, text: Any) -> Any:
            shown = super().__call__(text)
            shown.overflow = "fold"
            return shown

    rich_utils.highlighter = FoldingHighlighter()
    for word, constant in _RICH_WORDS.items():
        setattr(rich_utils, constant, find_help(f"words.{word}"))
