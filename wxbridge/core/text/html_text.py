"""Plain text from whole HTML documents, such as mails; for the few tags of a card see `markup.card_to_text`."""

from __future__ import annotations

import re
from html import unescape

_BLOCKS = frozenset({
    "address", "blockquote", "br", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "table", "tr", "ul",
})  # fmt: skip
_UNSEEN = frozenset({"head", "script", "style", "title", "template"})
_RAW = frozenset({"script", "style"})
"""In which nothing is a tag but their own end."""
# The standard library's parser takes time by the square of what has no end; this looks at each character a few times.
_TAG = re.compile(
    r"""<!--|<(?:(/?)([a-z][^\s/<>"']*)|[/!?])(?:(?:[^<>"']|"[^"]*"|'[^']*')*+>|[^<>]*+>)""", re.IGNORECASE
)


class _TextOfHtml:
    """Collects what a reader of HTML sees, a block a line."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._unseen = 0
        self._pre = 0

    def read(self, html: str) -> None:
        """Read a document. What begins as a tag or a comment and has no end is text."""
        at, end_of_comments = 0, html.rfind("-->")
        while tag := _TAG.search(html, at):
            is_comment = tag[0] == "<!--"
            if is_comment and end_of_comments < tag.start():
                self._add(html[at : tag.end()])
                at = tag.end()
                continue
            self._add(html[at : tag.start()])
            at = html.index("-->", tag.start() + 2) + 3 if is_comment else tag.end()
            name = (tag[2] or "").lower()
            if tag[1]:
                self._end(name)
            elif name:
                self._begin(name)
                if name in _RAW:
                    end = re.compile(rf"</{name}", re.IGNORECASE).search(html, at)
                    at = end.start() if end else len(html)
        self._add(html[at:])

    def _begin(self, name: str) -> None:
        self._unseen += name in _UNSEEN
        self._pre += name == "pre"
        if name in _BLOCKS:
            self.words.append("\n")
        elif name in ("td", "th"):
            self.words.append(" ")
        if name == "li":
            self.words.append("- ")

    def _end(self, name: str) -> None:
        self._unseen = max(0, self._unseen - (name in _UNSEEN))
        self._pre = max(0, self._pre - (name == "pre"))
        if name in _BLOCKS and name != "br":
            self.words.append("\n")

    def _add(self, data: str) -> None:
        """Keep the words; line ends count within `pre` alone."""
        if data and not self._unseen:
            text = unescape(data)
            self.words.append(text if self._pre else re.sub(r"\s+", " ", text))


def html_to_text(html: str) -> str:
    """Write HTML as the text that its reader sees, without blank lines."""
    reader = _TextOfHtml()
    reader.read(html)
    lines = (line.strip() for line in "".join(reader.words).split("\n"))
    return "\n".join(line for line in lines if line)
