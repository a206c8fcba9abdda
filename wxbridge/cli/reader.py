"""Whose language the command line speaks: that of `language:` in jobs.yaml, else that of the environment."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from wxbridge.core.locale_language import language_of_environment

_LINE = re.compile(r"""^language[ ]*:[ ]+(["']?)([a-z]+)\1[ ]*(?:\#.*)?$""", re.MULTILINE)
_MAX_BYTES = 1_000_000
"""Of a file in which the line is looked for."""
_chosen: list[str] = []


def choose_language(language: str | None) -> None:
    """Speak a language from now on; for None that of the environment."""
    _chosen[:] = [language] if language else []


def choose_language_of(path: Path) -> None:
    """Speak the language that a file names in a whole `language:` line, also where the rest of it cannot be read."""
    found = None
    with suppress(OSError), path.open("rb") as file:
        found = _LINE.search(file.read(_MAX_BYTES).decode(errors="replace").replace("\r\n", "\n"))
    known = _languages() if found else ()
    choose_language(found[2] if found and found[2] in known else None)


def reader_language() -> str:
    """Tell which language to speak."""
    return _chosen[0] if _chosen else language_of_environment()


def _languages() -> tuple[str, ...]:
    from wxbridge.core.text.i18n import LANGUAGES

    return LANGUAGES


def tell(text: str) -> str:
    """Give a sentence of ours in the reader's language."""
    language = reader_language()
    if language == "en":
        return text
    from wxbridge.core.text.error_words import tell_sentence

    return tell_sentence(text, language)
