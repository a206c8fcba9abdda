"""Tell errors in the reader's language.

They are raised, logged and kept as English sentences; the catalogue's section `errors` knows those that people read in
a chat, with their gaps, and what each is in other languages. What it does not know stays as it is.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, Language, load_texts, say

_SECTION = "errors."
_MAX_CHARS = 2000
"""Of a sentence that is looked up; a longer one is somebody else's words."""
_MAX_DEPTH = 6
"""An error may hold another one, as that may."""
_GAPS = {"page": r"https?://\S+?|the page", "status": r"\d{3}"} | dict.fromkeys(("seconds", "n", "m"), r"[\d.,]+")
"""What may stand in a gap of a name; anything where nothing else is said."""


def tell_error(text: str, language: Language) -> str:
    """Give an error's sentence in a language; what it quotes is told in that language where it is known too."""
    return text if language == FALLBACK_LANGUAGE or len(text) > _MAX_CHARS else _tell(text, language, _MAX_DEPTH)


def _tell(text: str, language: Language, depth: int) -> str:
    for name, pattern in _patterns() if depth else ():
        if found := pattern.fullmatch(text):
            told = {gap: _tell(words, language, depth - 1) for gap, words in found.groupdict().items()}
            return say(f"errors.{name}", language, **told)
    parts = text.split("; ")
    told_parts = [_tell(part, language, depth - 1) for part in parts] if depth and len(parts) > 1 else parts
    return "；".join(told_parts) if told_parts != parts else text


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Give the sentences by their names, those that say most first."""
    texts = load_texts(FALLBACK_LANGUAGE).items()
    known = [(key.removeprefix(_SECTION), text) for key, text in texts if key.startswith(_SECTION)]
    known.sort(key=lambda each: -sum(len(words) for words, *_ in Formatter().parse(each[1])))
    return [(name, re.compile("".join(_in_pattern(text)), re.DOTALL)) for name, text in known]


def _in_pattern(text: str) -> list[str]:
    found = []
    for words, gap, *_ in Formatter().parse(text):
        found.append(re.escape(words))
        if gap is not None:
            found.append(f"(?P<{gap}>{_GAPS.get(gap, '.+?')})")
    return found
