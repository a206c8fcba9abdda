"""Finds what people mistype in YAML: full-width signs, tabs, quotes and brackets that nobody closes.

Each slip is named once, where it stands, and mended in the text, so that what is wrong elsewhere is found too, and
nothing is told that only follows from the slip. The scanner knows as much of YAML as jobs.yaml has: blocks, flows,
quotes, block scalars, comments.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

MAX_SLIPS = 200
"""Beyond it the file is no jobs.yaml."""
MAX_GROWTH = 2
"""By which mending may lengthen a text: what grows further is not understood."""
FREE_TEXTS = ("announce", "greeting", "text", "title", "comment", "summary")
"""Keys whose values people are shown: full-width quotes and commas are theirs."""

_BLANKS = " \t\u3000\u00a0"
_WIDE_BLANKS = "\u3000\u00a0"
_OPENING, _CLOSING = "“”„‟＂‘’", '”“‟＂’‘"'
_BRACKETS = {"{": "}", "[": "]"}
_WIDE_BRACKETS = {"｛": "{", "｝": "}", "［": "[", "］": "]"}
_NAMES = {"{": "brace", "}": "brace", "[": "bracket", "]": "bracket"}
_KEY_LINE = re.compile(r"(?:- +)?[\"']?[\w./ -]+[\"']?\s*[:：](?:\s|$|[^\x00-\x7f])|- ")
_NEXT_ENTRY = re.compile(r"\s*[\"'“]?[\w.-]+[\"'”]?\s*[:：]|\s*[}\]]|\s*(?:#.*)?$")
_NEXT_KEY = re.compile(r",\s*[\w.-]+\s*:")
_COMMENT = re.compile(r"\s#.*$")


@dataclass(frozen=True)
class Slip:
    """Something that was mistyped: its line (from 1), and what is to be said of it."""

    line: int
    text: str
    edits: tuple[tuple[int, int, int, str], ...] = field(compare=False)
    """What mends it: line from 0, column, how many characters go, what comes."""


def mend_slips(text: str) -> tuple[str, list[Slip]]:
    """Give a text with what was mistyped put right, with the same lines, and what that was."""
    lines = text.split("\n")
    found: dict[Slip, None] = {}
    for _ in range(MAX_SLIPS):
        slip = next(_Scanner(lines).scan(), None)
        if slip is None or sum(map(len, lines)) > MAX_GROWTH * (len(text) + 100):
            break
        found[slip] = None
        for number, column, length, instead in sorted(slip.edits, reverse=True):
            line = lines[number]
            lines[number] = line[:column] + instead + line[column + length :]
    return "\n".join(lines), sorted(found, key=lambda each: each.line)


@dataclass
class _Scanner:
    """Goes through lines once; `scan` gives what it finds, of which only the first is sure."""

    lines: list[str]
    stack: list[tuple[str, int]] = field(default_factory=list)
    """Brackets that are open: the sign, and its line."""
    quote: tuple[str, int, int] | None = None
    """The quote that is open: the sign, its line and column."""
    indents: list[int] = field(default_factory=list)
    """Of the blocks that the present line may belong to."""
    expects_block: bool = True
    """Whether the line before ends with a colon, so that a block begins here."""
    block_scalar: int | None = None
    """The indent of the line whose text goes on below."""
    text_indent: int = 0
    """That of the text's first line; 0 where there is none yet."""
    last: int = 0
    """The last line that is more than a comment."""
    key: str = ""
    """The key whose value is being read."""

    def scan(self) -> Iterator[Slip]:  # noqa: C901 - a line is one of many things
        """Give the slips of the lines."""
        for number, line in enumerate(self.lines):
            inside = bool(self.stack or self.quote)
            content = line.lstrip(_BLANKS)
            indent = len(line) - len(content)
            if self.block_scalar is not None:
                if not content or (blanks := len(line) - len(line.lstrip(" "))) > self.block_scalar:
                    self.text_indent = self.text_indent or (blanks if content else 0)
                    continue
                if indent > self.block_scalar:
                    yield self._wide_indent(number, line[:indent], self.text_indent or self.block_scalar + 2)
                self.block_scalar = None
            if inside:
                yield from self._check_goes_on(indent, content)
            elif content or "\t" in line:
                yield from self._check_indent(number, line, indent, content)
            if not content or (content[0] == "#" and not self.quote):
                continue
            if self.quote or self.stack:
                yield from self._scan_flow(number, 0 if self.quote else indent)
            else:
                yield from self._scan_block(number, indent)
            self.last = number
        if self.quote:
            yield self._unclosed_quote()
        elif self.stack:
            yield self._unclosed_bracket()

    # ------------------------------------------------ between lines

    def _check_goes_on(self, indent: int, content: str) -> Iterator[Slip]:
        """A quote or a bracket that is open ends where a line begins that cannot belong to it."""
        opened = self.quote[1] if self.quote else self.stack[0][1]
        outer = len(self.lines[opened]) - len(self.lines[opened].lstrip(_BLANKS))
        if not content or indent > outer:
            return
        if not _KEY_LINE.match(content) and not (self.quote and content[0] == "#"):
            return
        yield self._unclosed_quote() if self.quote else self._unclosed_bracket()

    def _check_indent(self, number: int, line: str, indent: int, content: str) -> Iterator[Slip]:
        before = line[:indent]
        if content.startswith("＃"):
            yield Slip(number + 1, "a full-width `＃` stands here; write `#`", ((number, indent, 1, "#"),))
        if "\t" in before or any(sign in before for sign in _WIDE_BLANKS):
            yield self._wide_indent(number, before, self._fit(before) if content else 0)

    @staticmethod
    def _wide_indent(number: int, before: str, width: int) -> Slip:
        text = (
            "a tab stands here; YAML is indented with blanks"
            if "\t" in before
            else "a full-width blank stands here; YAML is indented with ordinary ones"
        )
        return Slip(number + 1, text, ((number, 0, len(before), " " * width),))

    def _fit(self, before: str) -> int:
        """Tell how many blanks are meant by an indent that is none."""
        plain = before.replace("\u00a0", " ")
        widths = [
            len(plain.replace("\t", " " * n).replace("\u3000", " " * m)) for n, m in ((2, 1), (4, 2), (8, 1), (1, 1))
        ]
        inner = self.indents[-1] if self.indents else 0
        if self.expects_block and self.indents:
            return next((width for width in widths if width > inner), inner + 2)
        return next((width for width in widths if width in self.indents), inner)

    # ------------------------------------------------ blocks

    def _scan_block(self, number: int, indent: int) -> Iterator[Slip]:
        line = self.lines[number]
        while self.indents and self.indents[-1] > indent:
            self.indents.pop()
        may_be_key = self.expects_block or indent in self.indents
        column, is_item = indent, False
        if not self.indents or self.indents[-1] < indent:
            self.indents.append(indent)
        while column < len(line) and line[column] == "-" and line[column + 1 : column + 2] in ("", *_BLANKS):
            column, is_item, may_be_key = column + 1, True, True
            yield from self._check_blanks(number, column)
            column += len(line[column:]) - len(line[column:].lstrip(_BLANKS))
            if self.indents[-1] < column < len(line):
                self.indents.append(column)
        self.expects_block = column >= len(line) or line[column] == "#"
        if self.expects_block:
            return
        block = column if is_item else indent
        end = yield from self._scan_key(number, column, is_item=is_item, may_be_key=may_be_key)
        if end < 0:
            return
        yield from self._check_blanks(number, end)
        rest = line[end:].lstrip(_BLANKS)
        self.expects_block = not rest or rest.startswith("#")
        if rest[:1] in ("|", ">"):
            self.block_scalar, self.text_indent = block, 0
        elif not self.expects_block:
            yield from self._scan_value(number, len(line) - len(rest))

    def _scan_key(self, number: int, start: int, *, is_item: bool, may_be_key: bool) -> Generator[Slip, None, int]:  # noqa: PLR0911
        """Find the end of a key and its colon; -1 where the line has none, after its value was read."""
        line = self.lines[number]
        if line[start] in _OPENING or line[start] in "\"'":
            key_end = yield from self._scan_quoted(number, start)
            if key_end is None:
                return -1
            if line[key_end : key_end + 1] == "：":
                yield _wide_colon(number, key_end, line)
            if line[key_end : key_end + 1] == ":":
                self.key = line[start + 1 : key_end - 1]
                return key_end + 1
            return -1
        if line[start] in _BRACKETS or line[start] in _WIDE_BRACKETS:
            self.key = ""
            yield from self._scan_flow(number, start)
            return -1
        for column in range(start, len(line)):
            sign, after = line[column], line[column + 1 : column + 2]
            if sign == "#" and column and line[column - 1] in _BLANKS:
                return -1
            if sign == ":" and (after in ("", *_BLANKS)):
                self.key = line[start:column].strip()
                return column + 1
            if sign == "：" and may_be_key and self._is_key(line[start:column], line[column + 1 :], is_item=is_item):
                yield _wide_colon(number, column, line)
                return -1
        return -1

    @staticmethod
    def _is_key(word: str, rest: str, *, is_item: bool) -> bool:
        """Whether a word before a full-width colon is meant as a key."""
        if re.fullmatch(r"[A-Za-z_][\w.-]*\s*", word, re.ASCII):
            return True
        rest = _COMMENT.sub("", rest).strip()
        return len(word.split()) == 1 and (not is_item or rest[:1] in ("{", "[", ""))

    def _scan_value(self, number: int, column: int) -> Iterator[Slip]:
        sign = self.lines[number][column]
        if sign in "\"'" or (sign in _OPENING and not self._is_free_text(self.lines[number], column)):
            yield from self._scan_quoted(number, column)
        elif sign in _BRACKETS or sign in _WIDE_BRACKETS:
            yield from self._scan_flow(number, column)

    def _check_blanks(self, number: int, column: int) -> Iterator[Slip]:
        """Look at the blanks that begin at a column."""
        line = self.lines[number]
        blanks = line[column : len(line) - len(line[column:].lstrip(_BLANKS))]
        if column + len(blanks) >= len(line):
            return
        if any(sign in blanks for sign in _WIDE_BLANKS):
            text = "a full-width blank stands here; write an ordinary one"
            yield Slip(number + 1, text, ((number, column, len(blanks), " "),))
        if "\t" in blanks:
            yield Slip(number + 1, "a tab stands here; write a blank", ((number, column, len(blanks), " "),))

    # ------------------------------------------------ quotes

    def _scan_quoted(self, number: int, start: int) -> Generator[Slip, None, int | None]:
        """Find the end of what is quoted; None where that is on another line."""
        line = self.lines[number]
        if line[start] in _OPENING:
            yield self._wide_quotes(number, start)
            return None
        end = _end_of_quote(line, start + 1, line[start])
        if end is None:
            self.quote = (line[start], number, start)
        elif not re.match(r"\s*(?:[,，:：}\]｝］]|\s#|$)", line[end:]):
            yield self._early_end(number, start, end)
        return end

    def _early_end(self, number: int, start: int, end: int) -> Slip:
        """A quote that ends where the text goes on: it lacks its end, or the text has quotes in it."""
        line, sign = self.lines[number], self.lines[number][start]
        if found := self._wide_end(number, start, end):
            return found
        next_key = _NEXT_KEY.search(line, start, end) if self.stack else None
        if next_key:
            place = next_key.start()
            return Slip(number + 1, f"the quote {sign} that is opened here is not closed", ((number, place, 0, sign),))
        last = line.rfind(sign, 0, _closing_place(line, start + 1, depth=len(self.stack)) + 1)
        instead = "\\" + sign if sign == '"' else "''"
        inner = [column for column in range(start + 1, last) if line[column] == sign and line[column - 1] != "\\"]
        text = f"there is a quote {sign} within quotes; write {instead} for it, or the other kind of quotes around"
        return Slip(number + 1, text, tuple((number, column, 1, instead) for column in inner or [end - 1]))

    def _is_free_text(self, line: str, column: int) -> bool:
        """Whether full-width quotes at a column may be what people are shown: YAML can read it as it is."""
        hurt = r"[,\[\]{}]|: |:$|\s#" if self.stack else r": |:$"
        return self.key in FREE_TEXTS and not re.search(hurt, _COMMENT.sub("", line[column:]).rstrip("}] "))

    def _wide_quotes(self, number: int, start: int) -> Slip:
        line = self.lines[number]
        closing = [column for column in range(start + 1, len(line)) if line[column] in _CLOSING]
        ends = [column for column in closing if re.match(r"\s*(?:[,，:：}\]]|#|$)", line[column + 1 :])]
        end = ends[0] if ends else None
        inner = line[start + 1 : end]
        mark = "'" if '"' in inner or "\\" in inner else '"'
        edits = [(number, start, 1, mark)]
        if end is not None:
            edits.append((number, end, 1, mark))
        else:
            edits.append((number, _closing_place(line, start + 1, depth=len(self.stack)), 0, mark))
        return Slip(number + 1, "full-width quotes stand here; write \" or '", tuple(edits))

    def _unclosed_quote(self) -> Slip:
        assert self.quote  # noqa: S101
        sign, number, column = self.quote
        line = self.lines[number]
        if found := self._wide_end(number, column, len(line)):
            return found
        depth = sum(at == number for _, at in self.stack)
        place = _closing_place(line, column + 1, depth=depth)
        return Slip(number + 1, f"the quote {sign} that is opened here is not closed", ((number, place, 0, sign),))

    def _wide_end(self, number: int, start: int, end: int) -> Slip | None:
        """A quote that ends with a full-width one."""
        line = self.lines[number]
        for place in range(start + 1, end):
            if line[place] in "”＂’“‘" and re.match(r"\s*(?:[,，}\]]|#|$)", line[place + 1 :]):
                text = "full-width quotes stand here; write \" or '"
                return Slip(number + 1, text, ((number, place, 1, line[start]),))
        return None

    # ------------------------------------------------ flows

    def _scan_flow(self, number: int, column: int) -> Iterator[Slip]:  # noqa: C901, PLR0912 - a case for each sign
        """Go through a line in which something is open, or begins to be at the column."""
        line = self.lines[number]
        if self.quote:
            end = _end_of_quote(line, column, self.quote[0])
            if end is None:
                return
            self.quote, column = None, end
        has_colon, fresh = False, True
        while column < len(line):
            sign = line[column]
            if not self.stack and sign not in _BRACKETS and sign not in _WIDE_BRACKETS:
                if sign in "}]":
                    text = f"there is a closing {_NAMES[sign]} {sign} too many"
                    yield Slip(number + 1, text, ((number, column, 1, ""),))
                if sign not in _BLANKS:
                    return  # what follows is none of ours
            if sign == "#" and (not column or line[column - 1] in _BLANKS):
                return
            if fresh and sign in _BLANKS and sign != " ":
                yield from self._check_blanks(number, column)
            if sign in _BLANKS:
                column += 1
                continue
            if sign in _WIDE_BRACKETS and (fresh or sign in "｝］"):
                instead = _WIDE_BRACKETS[sign]
                text = f"a full-width {_NAMES[instead]} `{sign}` stands here; write `{instead}`"
                yield Slip(number + 1, text, ((number, column, 1, instead),))
            if fresh and (sign in "\"'" or (sign in _OPENING and not (has_colon and self._is_free_text(line, column)))):
                end = yield from self._scan_quoted(number, column)
                if end is None:
                    return
                column, fresh = end, False
                continue
            if sign in _BRACKETS:
                self.stack.append((sign, number))
                has_colon, fresh = False, True
            elif sign in "}]":
                yield from self._close(number, column, sign)
                has_colon, fresh = True, False
            elif sign == ",":
                has_colon, fresh = False, True
            elif sign == "，" and self._is_comma(line[column + 1 :], has_colon=has_colon):
                yield Slip(number + 1, "a full-width comma `，` stands here; write `,`", ((number, column, 1, ", "),))
            elif sign == ":" and (not fresh) and line[column + 1 : column + 2] in ("", *_BLANKS, *"\"'{[“"):
                self.key = re.split(r"[{\[,]", line[:column])[-1].strip(" \t\"'")
                has_colon, fresh = True, True
            elif sign == "：" and not has_colon and self.stack[-1][0] == "{" and not fresh:
                yield _wide_colon(number, column, line)
            else:
                fresh = False
            column += 1

    def _is_comma(self, rest: str, *, has_colon: bool) -> bool:
        """Whether a full-width comma is meant as one of YAML's."""
        if self.stack[-1][0] == "[":
            return not (has_colon and self.key in FREE_TEXTS)
        return bool(_NEXT_ENTRY.match(rest))

    def _close(self, number: int, column: int, sign: str) -> Iterator[Slip]:
        opened, at = self.stack[-1]
        if _BRACKETS[opened] == sign:
            self.stack.pop()
            return
        wanted = _BRACKETS[opened]
        if any(_BRACKETS[each] == sign for each, _ in self.stack):
            yield Slip(at + 1, _says_open(opened), ((number, column, 0, wanted),))
        text = f"the closing {_NAMES[sign]} `{sign}` stands where `{wanted}` is due"
        yield Slip(number + 1, text, ((number, column, 1, wanted),))

    def _unclosed_bracket(self) -> Slip:
        opened, at = self.stack[-1]
        line = self.lines[self.last]
        comment = _COMMENT.search(line)
        place = len(line[: comment.start() if comment else None].rstrip(_BLANKS))
        return Slip(at + 1, _says_open(opened), ((self.last, place, 0, _BRACKETS[opened]),))


def _says_open(sign: str) -> str:
    return f"the {_NAMES[sign]} {sign} that is opened here is not closed"


def _wide_colon(number: int, column: int, line: str) -> Slip:
    after = line[column + 1 : column + 2]
    blanks = len(line[column + 1 :]) - len(line[column + 1 :].lstrip(_WIDE_BLANKS))
    instead = ":" if after in ("", " ") and not blanks else ": "
    text = "a full-width colon `：` stands here; write `:` and a blank"
    return Slip(number + 1, text, ((number, column, 1 + blanks, instead),))


def _end_of_quote(line: str, start: int, sign: str) -> int | None:
    """Find where what is quoted ends, behind the closing sign; None where it does not in this line."""
    column = start
    while column < len(line):
        if line[column] == "\\" and sign == '"':
            column += 2
        elif line[column] == sign:
            if sign == "'" and line[column + 1 : column + 2] == "'":
                column += 2
                continue
            return column + 1
        else:
            column += 1
    return None


def _closing_place(line: str, start: int, *, depth: int) -> int:
    """Where a quote that nobody closed was most likely meant to end; `depth` brackets are open there."""
    comment = _COMMENT.search(line, start)
    end = len(line[: comment.start() if comment else None].rstrip(_BLANKS))
    if depth and (next_key := _NEXT_KEY.search(line, start, end)):
        return next_key.start()
    while depth and end > start and line[end - 1] in "}]":
        end, depth = len(line[: end - 1].rstrip(_BLANKS)), depth - 1
    return end
