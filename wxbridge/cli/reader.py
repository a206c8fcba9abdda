"""Whose language the command line speaks: that of `language:` in jobs.yaml, else that of the environment."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from wxbridge.core.locale_language import language_of_environment
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, LANGUAGES, has_text, say

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
    with suppress(OSError):
        # What comes through a pipe can be read only once.
        if path.is_file():
            with path.open("rb") as file:
                found = _LINE.search(file.read(_MAX_BYTES).decode(errors="replace").replace("\r\n", "\n"))
    choose_language(found[2] if found and found[2] in LANGUAGES else None)


def reader_language() -> str:
    """Tell which language to speak: English where the terminal's encoding has no letters for another."""
    language = _chosen[0] if _chosen else language_of_environment()
    return language if language == FALLBACK_LANGUAGE or _has_letters(sys.stdout, sys.stderr) else FALLBACK_LANGUAGE


def _has_letters(*streams: TextIO | None) -> bool:
    try:
        for stream in streams:
            "字".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeError:
        return False
    return True


def tell(text: str) -> str:
    """Give a sentence of ours in the reader's language."""
    language = reader_language()
    if language == FALLBACK_LANGUAGE:
        return text
    from wxbridge.core.text.error_words import tell_sentence

    return tell_sentence(text, language)


def name_state(word: str) -> str:
    """Give a state, as the database and JSON have it, in the reader's language; a monitor's own word stays."""
    language = reader_language()
    keys = (
        f"terminal.state.{word}",
        f"console.timeline.state.{word}",
        f"bot.status.channel.{word}",
        f"console.doctor.{word}",
    )
    known = next((key for key in keys if has_text(key)), None)
    return word if known is None or language == FALLBACK_LANGUAGE else say(known, language)


def name_part(name: str) -> str:
    """Give what a row of `status` or `doctor` is about (`bridge`, `target ops`) in the reader's language."""
    kind, blank, which = name.partition(" ")
    return f"{phrase(key)}{blank}{which}" if has_text(key := f"terminal.part.{kind}") else name


def phrase(key: str, **fields: object) -> str:
    """Give a text of the catalogue in the reader's language."""
    return say(key, reader_language(), **fields)
