"""Tell errors in the reader's language.

They are raised, logged and kept as English sentences; the catalogue's section `errors` knows those that people read,
with their gaps, and what each is in other languages. What it does not know is somebody else's words, and quoted.
"""

from __future__ import annotations

import re
from functools import cache
from string import Formatter

from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, Language, load_texts, say

SENTENCES = ("errors", "problems", "cli", "findings", "api", "usage")
"""The sections of the catalogue whose texts are looked up by what they say in English."""
_HEARD_IN_CHATS = ("errors",)
_MAX_CHARS = 2000
"""Of a sentence that is looked up; a longer one is somebody else's words."""
_MAX_DEPTH = 6
"""An error may hold another one, as that may."""
_GAPS = {"page": r"https?://\S+?|the page", "status": r"\d{3}"} | dict.fromkeys(("seconds", "n", "m"), r"[\d.,]+")
"""What may stand in a gap of a name; anything where nothing else is said."""
_WORD = re.compile(r"[A-Za-z]{2,}")
_MIN_WORDS = 3
"""Of a sentence; what is shorter is a name or a code."""
_CODE = re.compile(r"\S+")


def tell_error(text: str, language: Language, *, sections: tuple[str, ...] = _HEARD_IN_CHATS) -> str:
    """Give an error's sentence in a language, as a part of another sentence: what is not known there is quoted.

    `sections` are those of the catalogue whose sentences it may be.
    """
    return _quote(tell_sentence(text, language, sections=sections), language)


def tell_sentence(text: str, language: Language, *, sections: tuple[str, ...] = SENTENCES) -> str:
    """Give a sentence of ours in a language; what it quotes is told in that language where it is known too.

    One that is not known stays as it is. `sections` are as for `tell_error`.
    """
    if language == FALLBACK_LANGUAGE or len(text) > _MAX_CHARS:
        return text
    return _tell(text, language, _patterns(sections), _MAX_DEPTH)


def _quote(told: str, language: Language) -> str:
    """Set a sentence of another language into quotes."""
    if language == FALLBACK_LANGUAGE or len(told) > _MAX_CHARS:
        return told
    script = load_texts(language)["language.script"]
    is_foreign = len(_WORD.findall(told)) >= _MIN_WORDS and not re.search(script, told) and not _CODE.fullmatch(told)
    return say("text.quoted", language, words=told) if is_foreign else told


def _tell(text: str, language: Language, patterns: list[tuple[str, re.Pattern[str]]], depth: int) -> str:
    for key, pattern in patterns if depth else ():
        if found := pattern.fullmatch(text):
            told = {gap: _tell(words, language, patterns, depth - 1) for gap, words in found.groupdict().items()}
            return say(key, language, **told)
    parts = text.split("; ")
    told_parts = [_tell(part, language, patterns, depth - 1) for part in parts] if depth and len(parts) > 1 else parts
    if told_parts == parts:
        return text
    return say("text.also", language).join(_quote(part, language) for part in told_parts)


@cache
def _patterns(sections: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    """Give the sentences by their keys, those that say most first."""
    texts = load_texts(FALLBACK_LANGUAGE).items()
    known = [(key, text) for key, text in texts if key.partition(".")[0] in sections]
    known.sort(key=lambda each: -sum(len(words) for words, *_ in Formatter().parse(each[1])))
    return [(key, re.compile("".join(_in_pattern(text)), re.DOTALL)) for key, text in known]


def _in_pattern(text: str) -> list[str]:
    found = []
    for words, gap, *_ in Formatter().parse(text):
        found.append(re.escape(words))
        if gap is not None:
            found.append(f"(?P<{gap}>{_GAPS.get(gap, '.+?')})")
    return found
