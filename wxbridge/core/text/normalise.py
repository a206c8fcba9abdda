"""Make texts comparable and storable, whatever a keyboard or a monitor made of them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_BLANKS = (0x09, 0xA0, 0x1680, *range(0x2000, 0x200C), 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)
_ASCII = _FULL_WIDTH | dict.fromkeys(_BLANKS, 0x20)
_QUOTES = str.maketrans("“”„＂", '""""')
_SINGLE_QUOTES = str.maketrans("‘’", "''")
_SINGLE_QUOTED = re.compile(r"(?<![^\s=~,，＝～{｛])'((?:[^'\\]|\\.)*+)'(?![^\s=~!,，＝～！}｝])", re.DOTALL)
"""A whole name or value in single quotes."""
_MATCHER_SIGNS = str.maketrans("＝！～，｛｝", "=!~,{}")
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
QUOTED = re.compile(r'((?<!\\)"(?:[^"\\]|\\.)*+")', re.DOTALL)
"""A part in double quotes; split by it, a text is alternately what is outside of quotes and what is inside."""

MAX_REMEMBERED_CHARS = 200
"""Of a name whose form is kept: those of thousands of dashboards are compared with each word."""


def normalise(text: str) -> str:
    """Write full-width letters, digits and signs as ASCII, and every blank as a space. The length stays."""
    return text.translate(_ASCII)


def normalise_matchers(text: str) -> str:
    """Write quotes as `"`, also single ones around a value, and outside of them the signs of matchers as ASCII."""
    text = _SINGLE_QUOTED.sub(lambda found: _requote(found[1]), text.translate(_SINGLE_QUOTES))
    pieces = QUOTED.split(text.translate(_QUOTES))
    return "".join(piece if index % 2 else piece.translate(_MATCHER_SIGNS) for index, piece in enumerate(pieces))


def _requote(text: str) -> str:
    return '"' + re.sub(r'\\.|"', lambda found: found[0] if len(found[0]) > 1 else '\\"', text) + '"'


def simplify(text: str) -> str:
    """Write a text in Unicode's compatibility form (NFKC), with single spaces."""
    return " ".join(unicodedata.normalize("NFKC", normalise(text)).split())


def fold(text: str) -> str:
    """Return what names are compared by: without regard to case, width and blanks."""
    return _fold_name(text) if len(text) <= MAX_REMEMBERED_CHARS else simplify(text).casefold()


@lru_cache(maxsize=20_000)
def _fold_name(name: str) -> str:
    return simplify(name).casefold()


def clean_text(text: str) -> str:
    """Take out what nobody sees and what turns a line around; line ends become newlines, tabs become spaces.

    That is C0 (but the newline), DEL, C1, and the signs that embed, override and isolate directions (U+202A to U+202E,
    U+2066 to U+2069). The joiners of emoji stay.
    """
    if not _UNSEEN.search(text):
        return text
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))


def has_visible_sign(text: str) -> bool:
    """Whether anything of a text is seen: blanks and signs without a width (U+200B, U+FEFF) are not."""
    return any(sign.isprintable() and not sign.isspace() for sign in text)


def replace_surrogates(text: str) -> str:
    """Write a text as UTF-8 can hold it: monitors do send halves of surrogate pairs, and no database takes them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
