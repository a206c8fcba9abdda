"""Plain texts in a service that only takes Markdown: `aibot_send_msg` refuses the type `text` (40008).

A backslash before a punctuation character makes it an ordinary one (CommonMark 2.4). Only what would mean something
where it stands gets one, so that nearly every alert goes as it is, and reads well where a client knows no backslash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_INDENTS = str.maketrans({" ": "\u00a0", "\t": "\u2003"})
"""Four spaces would begin a block of code, and fewer would vanish."""
_ADDRESS = re.compile(r"https?://[^\s<>\"'，。；、（）【】]+")
_START = re.compile(r"(\d+(?=[.)](\s|$))|(?=[-+=#](\W|$))|(?=[>|]|:-))")
"""What begins a list, a heading, a quote, a rule or a table; the backslash goes after a list's number."""
_INLINE = re.compile(
    r"\\(?=[!-/:-@\[-`{-~]|$)"  # a backslash that would take the next character's meaning, or break the line
    r"|`"
    r"|(?<!\s)\*|\*(?!\s)"
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # not within a word: cpu_usage
    r"|\](?=[(\[:])"
    r"|<(?=[A-Za-z/!?])"
    r"|~{2,}|~(?=.*~)|(?<=\S)~"
    r"|\$(?=.*\$)"
    r"|&(?=#?\w+;)"
)

EVERYONE = ("all", "@all", "所有人", "@所有人")


def escape_markdown(text: str) -> str:
    """Write a text so that Markdown shows it as it is: characters, line ends and indentation.

    Addresses (`https://…`) stay as they are, as clients link them. At most three times as many bytes come out.
    """
    # Two spaces before a line's end break the line where a single line end would be a space.
    return "  \n".join(map(_line, text.replace("\r\n", "\n").split("\n"))).replace("\n  \n", "\n\n")


def _line(line: str) -> str:
    body = line.lstrip(" \t")
    indent = line[: len(line) - len(body)].translate(_INDENTS)
    body = body.rstrip(" \t")
    start = _START.match(body)
    if start:
        return f"{indent}{start[1]}\\{body[start.end()]}{_inline(body[start.end() + 1 :])}"
    return indent + _inline(body)


def _inline(text: str) -> str:
    parts, end = [], 0
    for address in _ADDRESS.finditer(text):
        parts += [_escaped(text[end : address.start()]), address[0]]
        end = address.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return _INLINE.sub(lambda found: "".join(f"\\{character}" for character in found[0]), text)


def add_mentions(text: str, mentions: Sequence[str]) -> str:
    """Put mentions before a text that is Markdown already.

    `<@userid>` is what WeCom's other robots take for a mention; the long connection's document names none, so
    it may be shown as it stands. There is nothing for everyone: `@所有人` is only written.
    """
    names = dict.fromkeys(
        "@所有人" if name.strip() in EVERYONE else f"<@{name.strip().removeprefix('@')}>"
        for name in mentions
        if name.strip()
    )
    return f"{' '.join(names)} {text}" if names else text
