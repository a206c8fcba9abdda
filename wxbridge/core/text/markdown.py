"""Plain texts where a service takes only Markdown: a reader sees the characters that were written.

A backslash before a punctuation character makes it an ordinary one (CommonMark 2.4); Tencent's own monitoring writes
to WeCom's robots so, and webhooks for DingTalk. Feishu wants an entity in its place (`&#42;`). Only what would mean
something where it stands gets one, so that nearly every alert goes as it is, and reads well where a client knows
neither.
"""

from __future__ import annotations

import re

_INDENTS = str.maketrans({" ": "\u00a0", "\t": "\u2003"})
"""Four spaces would begin a block of code, and fewer would vanish."""
_START = re.compile(r"(\d+(?=[.)](\s|$))|(?=[-+=#](\W|$))|(?=[>|]|:-))")
"""What begins a list, a heading, a quote, a rule or a table; the backslash goes after a list's number."""
_INLINE = re.compile(
    r"(?P<address>https?://[^\s<>\"'，。；、（）【】]+)"
    r"|\\(?=[!-/:-@\[-`{-~]|$)"  # a backslash that would take the next character's meaning, or break the line
    r"|`"
    r"|(?<!\s)\*|\*(?!\s)"
    r"|(?<![^\W_])_+|_+(?![^\W_])"  # not within a word: cpu_usage
    r"|\](?=[(\[:])"
    r"|<(?=[A-Za-z/!?@])"
    r"|(?P<paired>~+|\$)"
    r"|&(?=#?\w+;)"
)

BACKSLASH, ENTITY = "backslash", "entity"
"""How a dialect writes a character that means nothing."""


def escape_markdown(text: str, how: str = BACKSLASH, *, line_end: str = "  \n") -> str:
    """Write a text so that Markdown shows it as it is: characters, line ends and indentation.

    Addresses (`https://…`) stay as they are, as clients link them. With backslashes at most three times as many bytes
    come out. Two spaces before a line's end break the line where a single `line_end` would be a blank.
    """
    lines = [_escape_line(line, how) for line in text.replace("\r\n", "\n").split("\n")]
    return line_end.join(lines).replace("\n  \n", "\n\n") if line_end != "\n" else "\n".join(lines)


def _escape_line(line: str, how: str) -> str:
    body = line.lstrip(" \t")
    indent = line[: len(line) - len(body)].translate(_INDENTS)
    body = body.rstrip(" \t")
    start = _START.match(body)
    if start:
        return f"{indent}{start[1] or ''}{_literal(body[start.end()], how)}{_escape(body[start.end() + 1 :], how)}"
    return indent + _escape(body, how)


def _escape(text: str, how: str) -> str:
    # One alone means nothing: `~5 min`, `$5`.
    pairs = {sign for sign in "~$" if text.count(sign) > 1}

    def write(found: re.Match[str]) -> str:
        is_alone = found["paired"] and found[0][0] not in pairs
        return found[0] if found["address"] or is_alone else _literal(found[0], how)

    return _INLINE.sub(write, text)


def _literal(characters: str, how: str) -> str:
    return "".join(f"&#{ord(each)};" if how == ENTITY else f"\\{each}" for each in characters)
