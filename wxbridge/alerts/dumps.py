"""What templates of alerts write by mistake: whole maps of Go's (`map[a:b c:d]`) and Grafana's lists of values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from wxbridge.alerts.sources.grafana_values import read_values
from wxbridge.core.json_values import as_number
from wxbridge.core.model import Value
from wxbridge.core.text.figures import write_label_figure
from wxbridge.core.text.units import format_number

_MAP = "map["
_START = re.compile(r"(?<![A-Za-z0-9_])map\[")
_NAME = re.compile(r"[A-Za-z_][\w./-]{0,200}:")
_DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}
_FIGURE = r"\[ var='[^'\n]{0,200}' (?:(?!\[ var=)[^\n]){0,2000}? \]"
_VALUE_LIST = re.compile(rf"{_FIGURE}(?:, {_FIGURE})*")
_CAPTION = re.compile(
    r"[\s,，;；、(（]*(?<![A-Za-z])(?:all )?(?:labels?|tags|values?|标签|值)\s*[:：=]?\s*$", re.IGNORECASE
)
_MAX_CAPTION_CHARS = 40
_WORD = re.compile(r"\w")
MAX_DUMPS = 20
"""How many of them in a line are looked at."""
MAX_MAP_CHARS = 5000
"""Of one map; what is longer stays as it is."""


def has_dump(texts: Iterable[str]) -> bool:
    """Whether any of some texts may hold a map."""
    return any(_MAP in text for text in texts)


def leave_out_dumps(text: str, labels: Mapping[str, str], values: Sequence[Value] = ()) -> str:
    """Leave out of a text the maps that repeat an alert's labels or values; what stands only in a map stays.

    A list of Grafana's (`[ var='A' labels={…} value=1 ]`) is told as its figures.
    """
    if "[ var='" in text:
        text = _VALUE_LIST.sub(lambda found: _write_values(found[0]), text)
    if _MAP not in text:
        return text
    return "\n".join(line for each in text.split("\n") if (line := _clean_line(each, labels, values)) is not None)


def _write_values(words: str) -> str:
    values = read_values({"valueString": words})
    written = [value.text if value.number is None else format_number(value.number) for value in values]
    return ", ".join(each for each in written if each) or words


def _clean_line(line: str, labels: Mapping[str, str], values: Sequence[Value]) -> str | None:
    """Clean a line; None where nothing is left of it."""
    place = 0
    for _ in range(MAX_DUMPS):
        start = _START.search(line, place)
        if start is None:
            break
        end, entries = _read_map(line, start.end())
        if entries is None:
            place = start.end()
            continue
        before, behind = line[: start.start()], line[end:]
        new = [each for each in entries if not _is_known(*each, labels, values)]
        if new:
            before = f"{before.rstrip().removesuffix('=').rstrip()}: " if before.rstrip().endswith("=") else before
            before += ", ".join(f"{name}={write_label_figure(value)}" for name, value in new)
        else:
            before = (before[:-_MAX_CAPTION_CHARS] + _CAPTION.sub("", before[-_MAX_CAPTION_CHARS:])).rstrip()
            if not (_WORD.search(before) or _WORD.search(behind)):
                return None
            behind = behind if before else behind.lstrip()
        line, place = before + behind, len(before)
    return line


def _read_map(line: str, start: int) -> tuple[int, list[tuple[str, str]] | None]:
    """Read `a:b c:d` behind its bracket; a value may hold blanks, colons and further maps.

    Returns where the map ends, and its entries; None where it is no such map.
    """
    depth, names = 0, list[int]()
    for place in range(start, min(len(line), start + MAX_MAP_CHARS)):
        sign = line[place]
        if sign == "]" and depth == 0:
            if not names and place > start:
                break
            ends = [*names[1:], place] if names else []
            return place + 1, [_read_entry(line[at:end]) for at, end in zip(names, ends, strict=True)]
        depth += _DEPTHS.get(sign, 0)
        if depth == 0 and (place == start or sign == " "):
            entry = _NAME.match(line, place if place == start else place + 1)
            if entry:
                names.append(entry.start())
            elif place == start:
                break
    return start, None


def _read_entry(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition(":")
    return name, value


def _is_known(name: str, value: str, labels: Mapping[str, str], values: Sequence[Value]) -> bool:
    """Whether an entry says nothing new: a label, a figure that is told, or what is for machines."""
    number = as_number(value)
    is_told = number is not None and any(each.number == number for each in values)
    return name.startswith("__") or not value.strip() or labels.get(name) == value or is_told
