"""Split a text into messages within a channel's limit: byte-exact, lossless, numbered."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from string import punctuation

from wxbridge.core.model import Capabilities
from wxbridge.core.text.i18n import Language, say

MAX_QUOTED_CHARS = 100
"""Of what somebody wrote, in an answer to it: nobody has the bot fill a room with it."""
MAX_PARTS = 5
"""How many messages one text may become; the rest stays in the database."""

_ROOM_FOR_NUMBER = len("(99/99) ")
_MAX_LINK_CHARS = 2048
"""How far beyond a cut a link is looked at; a longer one fits into no message anyway."""
# A link may hold any characters but spaces. Where what follows it runs on without a space, as in Chinese, and is too
# long for one message, at least the part that all programs take for a link stays whole.
_LINKS = (re.compile(r"https?://\S+", re.IGNORECASE), re.compile(r"https?://[!-~]+", re.IGNORECASE))


def shorten(text: str, limit: int = MAX_QUOTED_CHARS) -> str:
    """Put a text on one line, and cut it to `limit` characters, the last of which is `…` then."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def measure_length(text: str, unit: str) -> int:
    """Return how long a text is in a channel's unit: `bytes` of UTF-8, or `characters`."""
    return len(text.encode()) if unit == "bytes" else len(text)


def split_message(text: str, capabilities: Capabilities, language: Language) -> list[str]:
    """Split a text to a channel's limit, numbered, and cut what is more than `MAX_PARTS` messages."""
    limit, unit = capabilities.text_limit, capabilities.text_unit
    # A character takes a byte at least, so that an endless text need not be encoded to know that it is too long.
    if len(text) <= limit and measure_length(text, unit) <= limit:
        return [text]
    pieces = list(islice(cut_text(text, limit - _ROOM_FOR_NUMBER, unit), MAX_PARTS + 1))
    if len(pieces) > MAX_PARTS:
        kept = pieces[: MAX_PARTS - 1]
        pieces = [*kept, say("text.cut", language, n=len(text) - sum(map(len, kept)))]
    return [f"({index}/{len(pieces)}) {piece}" for index, piece in enumerate(pieces, 1)]


def cut_text(text: str, limit: int, unit: str) -> Iterator[str]:
    """Cut a text into pieces of at most `limit`; joined together they are the text again.

    Cuts fall after a newline where one is in the last half of a piece, else after a space, and never inside a
    character with its marks, an emoji sequence or a link that fits into one piece. A character that is longer than
    the limit is a piece of its own.
    """
    start = 0
    while start < len(text):
        fits = _fitting(text, start, limit, unit)
        end = fits if fits == len(text) else _good_cut(text, start, fits, limit, unit)
        yield text[start:end]
        start = end


def _fitting(text: str, start: int, limit: int, unit: str) -> int:
    """Return the furthest index at which a piece from `start` still fits; at least one character further."""
    if unit != "bytes":
        return max(start + 1, min(len(text), start + limit))
    whole = text[start : start + max(limit, 0)].encode()[: max(limit, 0)].decode(errors="ignore")
    return start + max(1, len(whole))


def _good_cut(text: str, start: int, fits: int, limit: int, unit: str) -> int:
    half = start + (fits - start) // 2
    for separator in ("\n", " "):
        found = text.rfind(separator, half, fits)
        if found > start and not _joined(text, found + 1, start):
            return found + 1
    link = _link_across(text, start, fits, limit, unit)
    if link:
        return link
    cut = fits
    while cut > start + 1 and _joined(text, cut, start):
        cut -= 1
    return fits if _joined(text, cut, start) else cut


def _link_across(text: str, start: int, fits: int, limit: int, unit: str) -> int:
    """Return where a link begins that a cut at `fits` would break although it fits into one piece; else 0."""
    for pattern in _LINKS:
        for link in pattern.finditer(text, start, min(len(text), fits + _MAX_LINK_CHARS)):
            if start < link.start() < fits < link.end() and measure_length(link[0], unit) <= limit:
                return link.start() if not _joined(text, link.start(), start) else 0
    return 0


def _joined(text: str, index: int, start: int) -> bool:
    """Whether the character at `index` belongs to the one before it (marks, emoji sequences, CR LF, syllables).

    So does what a backslash escapes, in markdown. The others are the extended grapheme clusters of Unicode Standard
    Annex 29, rules GB3 to GB13. `start` is where the piece begins, which is never inside such a cluster.
    """
    before, after = text[index - 1], text[index]
    if before < "\u0300" and after < "\u0300":
        return (before == "\r" and after == "\n") or (before == "\\" and after in punctuation)
    return (
        unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\u200d" in (before, after)
        or after in "\u200c\u0e33\u0eb3\uff9e\uff9f"  # marks that Unicode counts among letters and controls
        or before in "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u08e2"  # signs that stand before their letters
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"  # the tags of a regional flag
        or _one_syllable(before, after)
        or _inside_flag(text, index, start)
    )


def _one_syllable(before: str, after: str) -> bool:
    """Whether two letters are written as one: Korean letters of a syllable, or an Indic consonant after a virama."""
    if unicodedata.combining(before) == 9:  # noqa: PLR2004 - the canonical combining class of a virama
        return unicodedata.category(after) == "Lo"
    kind_before, kind_after = _jamo(before), _jamo(after)
    return (kind_before, kind_after) in {("L", "L"), ("L", "V"), ("L", "S"), ("V", "V"), ("V", "T"), ("T", "T"),
                                         ("S", "V"), ("S", "T")}  # fmt: skip


def _jamo(letter: str) -> str:
    """What a Korean letter is: leading (L), vowel (V), trailing (T), a whole syllable (S); empty for others."""
    if "\u1100" <= letter <= "\u115f" or "\ua960" <= letter <= "\ua97c":
        return "L"
    if "\u1160" <= letter <= "\u11a7" or "\ud7b0" <= letter <= "\ud7c6":
        return "V"
    if "\u11a8" <= letter <= "\u11ff" or "\ud7cb" <= letter <= "\ud7fb":
        return "T"
    return "S" if "\uac00" <= letter <= "\ud7a3" else ""


def _inside_flag(text: str, index: int, start: int) -> bool:
    """Whether `index` falls between the two letters of a flag: letters pair up from the first of their run."""
    if not "\U0001f1e6" <= text[index] <= "\U0001f1ff":
        return False
    first = index
    while first > start and "\U0001f1e6" <= text[first - 1] <= "\U0001f1ff":
        first -= 1
    return (index - first) % 2 == 1
