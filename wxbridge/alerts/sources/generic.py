"""Bodies of any shape: wxbridge's own simple one, and what a mapping in jobs.yaml makes of another's.

`/hooks/generic` takes `{title, text, status, severity, labels, values, link, image, starts_at, ends_at}`, also a list
of such as `alerts`, as JSON or as a form; `/hooks/generic/NAME` takes what the mapping NAME describes
(`settings.BodyMapping`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, tzinfo
from functools import cache
from typing import Any

from wxbridge.alerts.sources import (
    MAX_ALERTS_PER_BODY,
    UPDATE,
    UPDATED_BY,
    WEB_SCHEMES,
    ParseBody,
    as_free_text,
    base_address,
    by_content,
    picture_at,
    short_hash,
    strip_state,
    unknown,
)
from wxbridge.alerts.sources.documents import drop_macros, read_document, unpack_json
from wxbridge.alerts.sources.presets import PRESETS
from wxbridge.alerts.sources.robots import name_without_state
from wxbridge.alerts.sources.status_words import is_known_status, read_status
from wxbridge.config.expressions import Find, compiled
from wxbridge.config.hooks import BodyMapping
from wxbridge.core.json_values import (
    as_labels,
    as_number,
    as_text,
)
from wxbridge.core.model import LABEL_SEPARATOR, Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text.moments import read_moment, read_span

NAME = "generic"

MAX_MAPPED_ALERTS = 5_000
"""How many alerts of one body are read by a mapping, which takes longer; what is above counts as truncated."""

MAX_TITLE_CHARS_SHOWN, MAX_TEXT_CHARS_SHOWN, MAX_TEXT_LINES_SHOWN = 150, 450, 6
"""Of the title and the text of a sender whose mapping ships: with all else it comes to 12 lines."""
_MAX_VALUE_CHARS = 200

_TEXTS = ("text", "message", "body", "content", "desp")
"""Names under which senders have the text."""
_KNOWN = ("title", "text", "status", "severity", "labels", "values", "link", "image", "id")
_SAYS_MORE = frozenset(name for name in _KNOWN if name not in _TEXTS)
_TIMES = {"starts_at": ("starts_at", "startsAt"), "ends_at": ("ends_at", "endsAt"), "duration": ("duration",)}
"""The names that times have in a body of our own shape; alone they say nothing."""
_OWN = frozenset((*_KNOWN, *_TEXTS, *(name for names in _TIMES.values() for name in names)))
"""All that a body of our own shape has."""
_TEST = re.compile(r"\W*(test|testing|测试)\W*", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{64,}={0,2}")


# ---------------------------------------------------------------- the simple body


def parse(body: bytes, headers: Mapping[str, str]) -> AlertGroup:
    """Read a body of our own shape, or of one that ships: JSON, a form, or a plain text.

    Raises:
        BadBody: it says nothing, or is no text.
    """
    return _parser_of_shipped()(body, headers)


@cache
def _parser_of_shipped() -> ParseBody:
    return parser({})


def _read(data: Any, timezone: tzinfo) -> AlertGroup:
    items, truncated = _listed(data, MAX_ALERTS_PER_BODY)
    if items is not None:
        title = as_text(data.get("title")).strip() if isinstance(data, dict) else ""
        alerts = [
            _simple(item, timezone) or _unknown(NAME, item, timezone) or _alert(NAME, {"title": _shown(item)}, timezone)
            for item in items
        ]
        return _group(NAME, title, alerts, truncated)
    text = _text_of(data) if isinstance(data, dict) else ""
    if text and not unknown.says_more(data, is_known_status, _SAYS_MORE):
        return as_free_text(NAME, text)
    alert = _simple(data, timezone) or _unknown(NAME, data, timezone)
    return _group(NAME, alert.title, [alert]) if alert else as_free_text(NAME, data)


def _text_of(item: Mapping[str, Any]) -> str:
    """The text of a body of our own shape, by whichever name it has."""
    return next((words for name in _TEXTS if (words := _words(item.get(name)))), "")


def _listed(data: Any, most: int) -> tuple[list[Any] | None, int]:
    """The items of a body that carries several alerts, and how many there are beyond `most`."""
    items = unpack_json(data.get("alerts")) if isinstance(data, dict) else data
    if not isinstance(items, list) or not any(isinstance(item, dict) and _told_of(item) for item in items):
        return None, 0
    return items[:most], max(0, len(items) - most)


def _told_of(item: dict[str, Any]) -> bool:
    return any(_words(item.get(name)) for name in (*_KNOWN, *_TEXTS))


def _simple(item: Any, timezone: tzinfo) -> Alert | None:
    """Read one alert; None where there is nothing but a text, or not even that."""
    if not isinstance(item, dict) or not any(_words(item.get(name)) for name in _KNOWN if name != "text"):
        return None
    parts = {name: item.get(name) for name in _KNOWN if name in item} | {"text": _text_of(item)}
    if not _words(parts.get("status")) and isinstance(state := item.get("state"), str) and is_known_status(state):
        parts["status"] = state
    if not _words(parts.get("title")):
        if item.keys() - _OWN:
            return None
        # An alert without a title is told by its first line.
        first, _, rest = _words(parts.get("text")).partition("\n")
        if not first:
            return None
        parts |= {"title": first, "text": rest}
    parts |= {name: item[name] for name in ("recovery_value",) if name in item}
    for part, names in _TIMES.items():
        parts[part] = next((item[name] for name in names if _words(item.get(name))), None)
    return _alert(NAME, parts | {"picture": parts.get("image")}, timezone)


def _unknown(source: str, item: Any, timezone: tzinfo) -> Alert | None:
    """Read what nothing fits; None where nothing in it is known to be a name or a text, or it is short as it stands."""
    if not isinstance(item, dict):
        return None
    parts = unknown.find_parts(item, is_known_status)
    if not parts["title"]:
        if unknown.is_short(as_free_text(source, item).text or ""):
            return None
        parts["title"] = source
    # `ALARM: cpu` and `OK: cpu` are one alert.
    parts["id"] = short_hash([name_without_state(parts["title"]) or parts["title"], _labels(parts["labels"])])
    return _alert(source, parts, timezone)


# ---------------------------------------------------------------- mappings


def parsers(mappings: Mapping[str, BodyMapping], timezone: tzinfo = UTC) -> dict[str, ParseBody]:
    """What reads `/hooks/generic/NAME`, by `generic/NAME`: the mappings of jobs.yaml, before those that ship.

    Times without a zone are in `timezone`.
    """
    return {f"{NAME}/{name}": mapped(each, name, timezone) for name, each in {**PRESETS, **mappings}.items()}


def parser(mappings: Mapping[str, BodyMapping], timezone: tzinfo = UTC) -> ParseBody:
    """Make the parser of `/hooks/generic`. It knows the bodies of mappings that have a shape: see `parsers`.

    A mapping of jobs.yaml without one that takes the place of another is for bodies of the other's shape.
    """
    known = {**PRESETS, **mappings}
    shapes = [
        (compiled(shape), _reader(mapping, name, timezone))
        for name, mapping in known.items()
        if (shape := mapping.shape or (PRESETS[name].shape if name in PRESETS else None))
    ]

    def parse_any(body: bytes, headers: Mapping[str, str]) -> AlertGroup:
        data = read_document(body, headers)
        known = next((read for has_shape, read in shapes if has_shape(data)), None)
        return known(data) if known else by_content.read_known(data) or _read(drop_macros(data), timezone)

    return parse_any


def mapped(mapping: BodyMapping, source: str = NAME, timezone: tzinfo = UTC) -> ParseBody:
    """Make the parser of a mapping. Its alerts are of `source`, which routes can match.

    The parser raises `BadBody` where the body cannot be read. Its expressions are compiled once, here.
    """
    read = _reader(mapping, source, timezone)
    return lambda body, headers: read(read_document(body, headers))


def _reader(mapping: BodyMapping, source: str, timezone: tzinfo) -> Callable[[Any], AlertGroup]:
    """Make what reads a decoded body by a mapping."""
    several = compiled(mapping.alerts) if mapping.alerts else None
    is_test = compiled(mapping.test) if mapping.test else None
    find_parts = _parts_finder(mapping)
    bound = _shorten_text if mapping.shape else dict

    def read(data: Any) -> AlertGroup:
        found = several(data) if several else None
        items = found if isinstance(found, list) else [data]
        parts = [
            # What a test button sends is told by the macros in it.
            bound(find_parts(drop_macros(item)))
            | {"test": bool(is_test and is_test(item) is True), "once": mapping.once}
            for item in items[:MAX_MAPPED_ALERTS]
        ]
        if not any(_words(part.get("title")) or part["test"] for part in parts):
            texts = [words for part in parts if (words := _words(part.get("text")))]
            alert = None if texts else _unknown(source, data, timezone)
            return _group(source, alert.title, [alert]) if alert else as_free_text(source, "\n\n".join(texts) or data)
        alerts = [
            _alert(source, part, timezone)
            if _words(part.get("title")) or part["test"]
            else _unknown(source, item, timezone) or _alert(source, part | {"title": _shown(item)}, timezone)
            for part, item in zip(parts, items, strict=False)
        ]
        return _group(source, alerts[0].title, alerts, max(0, len(items) - MAX_MAPPED_ALERTS))

    return read


def _shorten_text(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the rest of a long title and text to the console."""
    title, text = " ".join(_words(parts.get("title")).split()), _words(parts.get("text"))
    shown = unknown.shorten(text, MAX_TEXT_CHARS_SHOWN, MAX_TEXT_LINES_SHOWN)
    short = {**parts, "title": unknown.shorten(title, MAX_TITLE_CHARS_SHOWN)}
    return short if shown == text else {**short, "text": shown, unknown.BODY: text}


_PARTS = (
    "title", "text", "status", "severity", "link", "picture", "id", "sender", "starts_at", "ends_at", "duration",
    "update", "by",
)  # fmt: skip
"""The parts of a mapping of which each is one expression; the others may be several."""


def _parts_finder(mapping: BodyMapping) -> Callable[[Any], dict[str, Any]]:
    single: dict[str, Find] = {}
    by_name: dict[str, dict[str, Find]] = {}
    for part in (*_PARTS, "labels", "annotations", "values", "recovery_value"):
        given = getattr(mapping, part)
        if isinstance(given, str):
            single[part] = compiled(given)
        elif given:
            by_name[part] = {name: compiled(text) for name, text in given.items()}

    def find(document: Any) -> dict[str, Any]:
        found = {part: look(document) for part, look in single.items()}
        for part, looks in by_name.items():
            parts = {name: look(document) for name, look in looks.items()}
            found[part] = {name: value for name, value in parts.items() if value not in (None, "")}
        return found

    return find


# ---------------------------------------------------------------- parts of an alert


def _alert(source: str, parts: Mapping[str, Any], timezone: tzinfo) -> Alert:
    """Put an alert together from what was found, of any type."""
    read = read_status(parts.get("status"))
    title, text, link = (_words(parts.get(name)) for name in ("title", "text", "link"))
    labels = _labels(parts.get("labels"))
    # The name of an alert is not its severity, nor is what makes two of them the same.
    identity = _words(parts.get("id")) or short_hash([strip_state(title), labels])
    says_test = _TEST.fullmatch(read.state) is not None
    is_test = not read.fires or says_test or parts.get("test") is True
    sender = _words(parts.get("sender"))
    severity = _words(parts.get("severity"))
    update = _words(parts.get("update"))
    annotations = _annotations(parts.get("annotations")) | {
        "message": text,
        UPDATE: update,
        UPDATED_BY: _words(parts.get("by")) if update else "",
        unknown.BODY: _words(parts.get("body")),
    }
    is_over = read.status is AlertStatus.RESOLVED
    starts_at = read_moment(parts.get("starts_at"), timezone)
    is_sure = starts_at is not None and read_moment(parts.get("starts_at")) is not None
    # Where a mapping tells the figure at the end, the others are those that it fired with.
    values = "recovery_value" if is_over and "recovery_value" in parts else "values"
    return Alert(
        source=source,
        status=read.status,
        state="" if says_test else read.state,
        title=title,
        labels=labels | {"severity": severity} if severity else labels,
        annotations={name: words for name, words in annotations.items() if words},
        values=_values(parts.get(values)),
        starts_at=starts_at,
        ends_at=read_moment(parts.get("ends_at"), timezone) if is_over else None,
        duration=None if is_sure else read_span(parts.get("duration")),
        # Uptime Kuma has "https://" where there is no address.
        link=link if link not in ("", *WEB_SCHEMES) else None,
        picture=picture_at(_picture(parts.get("picture"))),
        fingerprint="" if is_test else identity,
        sender=base_address(sender).partition("/")[0] or sender,
        is_test=is_test,
        is_once=parts.get("once") is True and bool(_words(parts.get("id"))),
        repeated=tuple(labels.repeated),
    )


def _group(source: str, title: str, alerts: list[Alert], truncated: int = 0) -> AlertGroup:
    """Make a group of what is news; without any alert where all of them only go on."""
    alerts, (one, *_) = [alert for alert in alerts if _is_news(alert)], alerts
    if not alerts:
        return AlertGroup(source, "", title or one.title)
    one = alerts[0]
    key = one.fingerprint if len(alerts) == 1 else short_hash([alert.fingerprint for alert in alerts])
    return AlertGroup(source, key, title or one.title, tuple(alerts), truncated)


def _is_news(alert: Alert) -> bool:
    # The state of what only goes on is the word that says so.
    return not alert.is_test or read_status(alert.state).is_news


def _words(value: Any) -> str:
    """A part as text. An expression gives false where it finds nothing, and that is no text."""
    return "" if value is False else as_text(value).strip()


def _shown(item: Any) -> str:
    return _words(item) or "?"


def _annotations(value: Any) -> dict[str, str]:
    """Texts by name, the items of a list between commas."""
    given = unpack_json(value)
    return {
        str(name): ", ".join(filter(None, map(_words, content))) if isinstance(content, list) else _words(content)
        for name, content in (given.items() if isinstance(given, dict) else ())
    }


_TAGS = ("tags", "labels")
_TAG = re.compile(r"\w[=:]")
"""Of a text below one of `_TAGS`: that it is written as tags are (`k=v,k=v`, `k:v, k:v`)."""


class _Labels(dict[str, str]):
    """Labels as they are read: of what comes again, all values are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.repeated: dict[str, None] = {}

    def add(self, name: str, text: str) -> None:
        """Add a value, which may be one of several; an empty one says that there is such a tag."""
        before = self.get(name, "")
        if not before:
            self[name] = text
        elif text and text not in before.split(LABEL_SEPARATOR):
            self[name] = f"{before}{LABEL_SEPARATOR}{text}"
            self.repeated[name] = None


def _labels(value: Any) -> _Labels:
    """Labels from an object, or from tags in one of the ways that monitors write them."""
    value = unpack_json(value)
    labels = _Labels()
    if not isinstance(value, dict):
        for name, text in _tags(value):
            labels.add(name, text)
        return labels
    for name, content in value.items():
        content = unpack_json(content)  # noqa: PLW2901 - the same, read
        if isinstance(content, dict):
            labels.update(as_labels(content))
        elif isinstance(content, list) or (name in _TAGS and _TAG.search(as_text(content))):
            for tag, text in _tags(content):
                labels.add(tag, text)
        else:
            labels[as_text(name)] = as_text(content).strip()
    for name in [name for name, text in labels.items() if not text]:
        del labels[name]
    return labels


def _tags(value: Any) -> Iterable[tuple[str, str]]:
    """`k=v,k=v` and `k:v, k:v`, as one text or as a list; `{tag|name|key: …, value: …}` in a list."""
    for tag in value if isinstance(value, list) else as_text(value).split(","):
        if isinstance(tag, dict):
            name = next((as_text(tag[key]) for key in ("tag", "name", "key") if tag.get(key)), "")
            text = as_text(tag.get("value"))
        else:
            words = as_text(tag)
            sign = re.search("[=:]", words)
            name, text = (words[: sign.start()], words[sign.end() :]) if sign else (words, "")
        if name.strip():
            yield name.strip(), text.strip()


def _values(value: Any) -> tuple[Value, ...]:
    """Figures from an object by name, from a list of `{name, value, unit}`, or a single one."""
    value = unpack_json(value)
    if isinstance(value, dict):
        return tuple(_value(as_text(name), figure) for name, figure in value.items())
    if isinstance(value, list):
        return tuple(_value("value", figure) for figure in value)
    return () if _words(value) == "" else (_value("value", value),)


def _value(name: str, figure: Any) -> Value:
    unit = ""
    labels: Mapping[str, str] = {}
    if isinstance(figure, dict):
        names = (as_text(figure[key]).strip() for key in ("name", "metric") if figure.get(key))
        name, unit, labels = next(names, name), as_text(figure.get("unit")).strip(), _labels(figure.get("labels"))
        figure = figure.get("value")
    number = as_number(figure)
    text = " ".join(as_text(figure).split())[:_MAX_VALUE_CHARS] if number is None and figure is not None else None
    return Value(" ".join(name.split()), number, text, labels, unit)


def _picture(value: Any) -> str:
    """An address as it is; bytes in base64 as a `data:` address."""
    text = _words(value)
    if text.startswith(("data:", *WEB_SCHEMES)):
        return text
    joined = "".join(text.split())
    return f"data:image/png;base64,{joined}" if _BASE64.fullmatch(joined) else text
