"""Plain text from whole HTML documents, such as mails; for the few tags of a card see `markup.card_to_text`."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BLOCKS = frozenset({
    "address", "blockquote", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "table", "tr", "ul",
})  # fmt: skip
_UNSEEN = frozenset({"head", "script", "style", "title", "template"})


class _TextOfHtml(HTMLParser):
    """Collects what a reader of HTML sees, a block a line."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._unseen = 0
        self._pre = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the parser's
        """Begin a line with a block, and see nothing of what is not for readers."""
        self._unseen += tag in _UNSEEN
        self._pre += tag == "pre"
        if tag in _BLOCKS:
            self.words.append("\n")
        elif tag in ("td", "th"):
            self.words.append(" ")
        if tag == "li":
            self.words.append("- ")

    def handle_endtag(self, tag: str) -> None:
        """End a line with a block."""
        self._unseen = max(0, self._unseen - (tag in _UNSEEN))
        self._pre = max(0, self._pre - (tag == "pre"))
        if tag in _BLOCKS and tag != "br":
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        """Keep the words; line ends count within `pre` alone."""
        if not self._unseen:
            self.words.append(data if self._pre else re.sub(r"\s+", " ", data))


def html_to_text(html: str) -> str:
    """Write HTML as the text that its reader sees, without blank lines."""
    reader = _TextOfHtml()
    reader.feed(html)
    reader.close()
    lines = (line.strip() for line in "".join(reader.words).split("\n"))
    return "\n".join(line for line in lines if line)
