"""Plain text for a chat from what other services show: their markdown, and the HTML of a text card."""

from __future__ import annotations

import html
import re

# No pattern looks twice at what it did not take: `<` ends a tag, `[` the words of a link, `](` an address.
_TO = r"\(((?=[^)\s])[^)\s\]]*+(?:\](?!\()[^)\s\]]*+)*+)(?:\s++\"[^\"\n]*\")?\)"
_IMAGE = re.compile(rf"!\[([^\[\]\n]*+)\]{_TO}")
# Words right behind an address would be taken for a part of it.
_LINK = re.compile(rf"\[([^\[\]\n]*+)\]{_TO}(?=([\w@#\[])?)")
_FONT = re.compile(r"</?(?:font|text_tag|number_tag|i|b|u|strong|em|span)\b[^<>\n]*>", re.IGNORECASE)
_MENTION = re.compile(
    r"<at\s+(?:user_)?(?:id|ids|email)\s*=\s*[\"']?([^\"'<>\s]+)[\"']?\s*>(?:([^<]*)</at>)?", re.IGNORECASE
)
_MEMBER = re.compile(r"<@([^<>\s]+)>")
_BREAK = re.compile(r"<br\s*/?>|</(?:div|p|li|tr)>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]*>")
_HEADING = re.compile(r"^[ ]{0,3}#{1,6}[ ]+", re.MULTILINE)
_QUOTE = re.compile(r"^[ ]{0,3}>[ ]?", re.MULTILINE)
# Where the first has no end, no other on its line has one.
_STRONG = (re.compile(r"\*\*(?=\S)(?:(.+?)(?<=\S)\*\*|.+)"), re.compile(r"__(?=\S)(?:(.+?)(?<=\S)__|.+)"))
_CODE = re.compile(r"`([^`\n]+)`")
_RULE = re.compile(r"^[ ]{0,3}(?:-{3,}|\*{3,})[ ]*$\n?", re.MULTILINE)
_LINE_ENDS = re.compile(r"(?<! )[ ]+$", re.MULTILINE)
_MANY_LINES = re.compile(r"\n{3,}")


def markdown_to_text(text: str) -> str:
    """Write markdown (WeCom's, DingTalk's, Feishu's) as a person reads it: without marks, links as `words address`."""
    text = _MENTION.sub(_name_mentioned, _MEMBER.sub(r"@\1", _IMAGE.sub("", text)))
    text = _LINK.sub(_write_link, text)
    text = _FONT.sub("", _BREAK.sub("\n", text))
    text = _RULE.sub("", _HEADING.sub("", _QUOTE.sub("", text)))
    for mark in _STRONG:
        text = mark.sub(lambda strong: strong[1] or strong[0], text)
    return _tidy(_CODE.sub(r"\1", text))


def card_to_text(text: str) -> str:
    """Write the HTML of a text card as plain text, a line for each block."""
    return _tidy(html.unescape(_TAG.sub("", _BREAK.sub("\n", text))))


def find_markdown_images(text: str) -> list[str]:
    """Find the addresses of the pictures in a markdown text, in their order."""
    return [image[2] for image in _IMAGE.finditer(text)]


def _write_link(link: re.Match[str]) -> str:
    written = link[2] if link[1] in ("", link[2]) else f"{link[1]} {link[2]}"
    return f"{written} " if link[3] else written


def _name_mentioned(mention: re.Match[str]) -> str:
    return f"@{(mention[2] or '').strip() or mention[1]}"


def _tidy(text: str) -> str:
    return _MANY_LINES.sub("\n\n", _LINE_ENDS.sub("", text)).strip()
