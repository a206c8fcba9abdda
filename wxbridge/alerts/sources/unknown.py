"""JSON that nobody has described: what usual words for a name, a state and a link say, and some lines of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

from wxbridge.alerts.sources import WEB_SCHEMES
from wxbridge.alerts.sources.documents import unpack_json
from wxbridge.core.json_values import as_text
from wxbridge.core.severities import SEVERITY_NAMES
from wxbridge.core.text import splitting

MAX_LINES_SHOWN = 9
"""Lines of such a body that people are shown, beside the headline and what else an alert has: 14 in all."""
MAX_CHARS_SHOWN = 900
"""Characters of all that is shown; whatever there is more is the console's."""
MAX_NAME_CHARS = 100
BODY = "body"
"""The annotation that has all of such a body, for the console; a message shows a part."""
_MAX_DEPTH = 4
"""How deep names, states and links are looked for."""
_MAX_LEAVES = 500
_MAX_VALUE_CHARS = 200
_OWN_CHARS = 60
"""Left for what is told besides: marks, words, times."""
_LEAST_CHARS = 200

_WORDS = {
    "name": "title subject headline alertname alerttitle alarmname alarm alert rulename alertrule rule eventname "
    "eventtitle checkname policyname monitorname monitorfriendlyname friendlyname triggername incidentname servicedesc "
    "name displayname summary",
    "thing": "event eventtype service servicename job jobname project projectname hostname host type",
    "state": "status state alertstatus alertstate alarmstatus alarmstate eventstatus eventstate incidentstatus "
    "currentstatus currentstate newstatus newstate newstatevalue checkstatus servicestate hoststate monitorcondition "
    "alerttypefriendlyname result conclusion outcome eventtype",
    "link": "link url href htmlurl weburl permalink detailurl detailsurl detaillink alerturl eventurl incidenturl "
    "dashboardurl consoleurl targeturl pageurl",
    "text": "message text description msg detail details content body reason output summary alertmessage alarmcontent",
    "subject": "host hostname instance ip service servicename cluster namespace environment env project app "
    "application region node device resource resourcename monitor check",
    "resolved": "resolved isresolved recovered isrecovered closed isclosed",
    "firing": "firing isfiring isalarm alarming triggered",
}
"""What the parts of an alert are usually called, the likeliest first: in small letters, without signs."""
_NAMES, _THINGS, _STATES, _LINKS, _TEXTS, _SUBJECTS, _IS_RESOLVED, _IS_FIRING = (
    tuple(words.split()) for words in _WORDS.values()
)
_LABELS = ("labels", "tags")
_MACHINE = re.compile(r"(?i:(?:^|_)(?:uu|gu)?id$|arn$|hash$|digest$|schema|version|slug)|(?<=[a-z])(?:ID|Id)$")
_PLAIN = re.compile(r"[\W_]+")

Leaf = tuple[tuple[str, ...], Any]
"""Where a value stands, by names, and the value."""


def find_parts(body: Mapping[str, Any], is_status: Callable[[Any], bool]) -> dict[str, Any]:
    """Find the parts of an alert in a body of any shape; `test` is true where it has no state that `is_status` knows.

    `text` is what people are shown, `body` (`BODY`) all of it. What stands less deep comes first.
    """
    leaves = sorted(_leaves(body), key=lambda leaf: len(leaf[0]))
    name = _find_name(leaves)
    link = _find(leaves, _LINKS, lambda value: isinstance(value, str) and value.startswith(WEB_SCHEMES))
    severity = _find(leaves, SEVERITY_NAMES, lambda value: isinstance(value, str) and _is_line(value))
    text = _find(leaves, _TEXTS, lambda value: isinstance(value, str) and bool(value.strip()))
    status = _find_status(leaves, is_status)
    labels = next((body[each] for each in _LABELS if isinstance(body.get(each), dict | list)), None)
    subjects = {path[-1]: value for path, value in leaves if _plain(path[-1]) in _SUBJECTS and _is_line(as_text(value))}
    paths = {found[0] for found in (name, link, severity, text, status) if found}
    rest = [leaf for leaf in leaves if leaf[0] not in paths and not (labels and leaf[0][0] in _LABELS)]
    # What only machines tell things apart by comes last.
    rest.sort(key=lambda leaf: _MACHINE.search(leaf[0][-1]) is not None)
    words = as_text(text[1]).strip() if text and text is not name else ""
    title = as_text(name[1]).strip() if name else ""
    if not title:
        title, _, words = words.partition("\n")
    shown = [words] if words else []
    shown += [f"{'.'.join(path)}: {splitting.shorten(as_text(value), _MAX_VALUE_CHARS)}" for path, value in rest]
    address = as_text(link[1]) if link else ""
    left = MAX_CHARS_SHOWN - _OWN_CHARS - len(title) - len(address)
    return {
        "title": title[:MAX_NAME_CHARS],
        "text": shorten("\n".join(shown), max(left, _LEAST_CHARS)),
        BODY: "\n".join(f"{'.'.join(path)}: {as_text(value)}" for path, value in leaves),
        "status": status[1] if status else None,
        "severity": severity[1] if severity else None,
        "labels": {**subjects, **({"labels": labels} if labels else {})},
        "link": address,
        "test": status is None,
    }


def says_more(body: Mapping[str, Any], is_status: Callable[[Any], bool], names: Container[str]) -> bool:
    """Whether a body says more than its text: it has a name, a state, or anything of `names`."""
    if any(name in names and value not in (None, "", [], {}) for name, value in body.items()):
        return True
    leaves = list(_leaves(body))
    return bool(_find_name(leaves) or _find_status(leaves, is_status))


def is_short(text: str) -> bool:
    """Whether a text can be told as it stands."""
    return len(text) <= MAX_CHARS_SHOWN and text.count("\n") < MAX_LINES_SHOWN


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """All that is no object and no list, in the order of the body; of lists of such, the list."""
    value = unpack_json(value)
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        items = [(as_text(name), inner) for name, inner in value.items()]
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        items = [(str(number), inner) for number, inner in enumerate(value[:_MAX_LEAVES], 1)]
    elif path and value not in (None, "", [], {}):
        yield path, ", ".join(as_text(inner) for inner in value) if isinstance(value, list) else value
    for name, inner in items:
        if len(path) >= _MAX_DEPTH:
            if inner not in (None, "", [], {}):
                yield (*path, name), inner
        else:
            yield from _leaves(inner, (*path, name))


def _find(leaves: list[Leaf], names: tuple[str, ...], fits: Callable[[Any], bool]) -> Leaf | None:
    """The first of some names, on the least deep level that has any of them."""
    by_name: dict[tuple[int, str], Leaf] = {}
    for leaf in leaves[:_MAX_LEAVES]:
        if fits(leaf[1]):
            by_name.setdefault((len(leaf[0]), _plain(leaf[0][-1])), leaf)
    found = (by_name.get((depth, name)) for depth in range(1, _MAX_DEPTH + 2) for name in names)
    return next((leaf for leaf in found if leaf), None)


def _find_name(leaves: list[Leaf]) -> Leaf | None:
    """What a body calls what it is about, else the kind of thing or the machine."""
    fits = lambda value: isinstance(value, str) and _is_line(value)  # noqa: E731 - said twice
    return _find(leaves, _NAMES, fits) or _find(leaves, _THINGS, fits)


def _find_status(leaves: list[Leaf], is_status: Callable[[Any], bool]) -> Leaf | None:
    # `incident.triggered` says what `triggered` does.
    word = _find(leaves, _STATES, lambda value: isinstance(value, str) and is_status(value.rpartition(".")[2]))
    if word:
        return word[0], word[1].rpartition(".")[2]
    for path, value in leaves:
        name = _plain(path[-1])
        if isinstance(value, bool) and (name in _IS_RESOLVED or name in _IS_FIRING):
            return path, "firing" if value is (name in _IS_FIRING) else "resolved"
    return None


def _plain(name: str) -> str:
    return _PLAIN.sub("", name).lower()


def _is_line(text: str) -> bool:
    return bool(text.strip()) and len(text) <= _MAX_VALUE_CHARS and "\n" not in text.strip()


def shorten(text: str, most: int = MAX_CHARS_SHOWN, max_lines: int = MAX_LINES_SHOWN) -> str:
    """Keep the first lines of a text that come to at most so many characters, and mark that there are more."""
    lines = [line for line in text.split("\n") if line.strip()]
    kept = "\n".join(lines[:max_lines])
    if len(kept) > most:
        return f"{kept[: most - 1].rstrip()}…"
    return kept if len(lines) <= max_lines else f"{kept}\n…"
