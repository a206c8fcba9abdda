"""Alerts → plain text made for a phone. Pure: the moment and the zone are handed in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from wxbridge.alerts.affected import sort_affected
from wxbridge.alerts.annotations import tidy_text
from wxbridge.alerts.dumps import has_dump
from wxbridge.alerts.intake import count_values
from wxbridge.alerts.links import NO_LINKS, AlertPages, ShownLinks, links_of
from wxbridge.alerts.severity import (
    EMOJI,
    MESSAGE_EMOJI,
    emoji_of,
    find_severity,
    find_spokesman,
    is_failed_rule,
    own_word_of,
    severity_name,
    word_of,
    worst_first,
)
from wxbridge.alerts.sources import UPDATE, UPDATED_BY, strip_times
from wxbridge.alerts.sources.grafana_legacy import is_legacy
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.severities import find_severity_labels
from wxbridge.core.text.figures import write_figures, write_label_figure
from wxbridge.core.text.i18n import Language, has_text, say
from wxbridge.core.text.normalise import has_visible_sign
from wxbridge.core.text.splitting import shorten
from wxbridge.core.text.units import format_duration, format_moment, format_number, format_quantity, infer_unit
from wxbridge.core.text.words import has_word

MAX_VALUES_SHOWN = 20
"""Of one alert."""
MAX_HEADLINE_CHARS = 100
"""Of a headline that is made here."""
MAX_LABELS_SHOWN = 5
"""How many labels of one alert, or of a group, are written out."""
MAX_LABELS_OF_GRAFANA_SHOWN = 10
MAX_ANNOTATIONS_SHOWN = 4
"""How many annotations are written out besides the summary, the description and the message."""
MAX_ALERTS_IN_FULL = 5
"""How many alerts of a group are written out."""
MAX_ALERTS_IN_LINES = 15
"""How many more alerts of a group get a line each."""
MAX_STILL_NAMED = 5
"""How many alerts are named that fire still, and came along with news."""
REMINDER_MARK = "↻"
"""Of what a target was told before, and still fires."""
LINK_MARK, GRAPH_MARK = "🔗", "📈"
"""How the line of an address begins; behind the second stand words before it."""
_MAX_LINE_CHARS = 120
"""Of a line for one alert."""
_MAX_ANNOTATION_CHARS = 300
"""Of an annotation that is not the alert's own message."""
_MAX_CHARS_SEARCHED = 4000
"""How many characters of what is shown are searched for a label that need not be shown again."""

_HIDDEN_LABELS = {
    "alertname", "grafana_folder", "prometheus", "prometheus_replica", "replica", "ref_id",
    "unit", "threshold",
}  # fmt: skip
_MAIN_ANNOTATIONS = ("summary", "description", "message")
_HIDDEN_ANNOTATIONS = {
    "unit", "threshold", "image", "imageurl", "orgid", "org_id", "panelid", "panel_id", "alertid", "alert_id",
    "dashboardid", "dashboard_id", "grafana_state_reason", "time", "step", "body",
    UPDATE, UPDATED_BY,
    "notify_users_obj",
}  # fmt: skip
_STATES_FOR_SEVERITIES = frozenset(("ok", "up"))
_UID = re.compile(r"(?:^|_)uid(?:_|$)|[a-z](?:UID|Uid)$")
_ONLY_A_LINK = re.compile(r"https?://\S.*", re.IGNORECASE)
_COUNTED_TITLE = re.compile(r"(?:FIRING|RESOLVED):(\d+)")
_ACTION_SEPARATOR = re.compile(r",\s+|\s+and\s+")
_CHANGED_SEVERITY = re.compile(r"changed severity from (.+) to (.+)")
_BETWEEN_WORDS = re.compile(r"[\s,]+")
_COMPARED = re.compile(r"[<>=!≤≥≠]")


@dataclass(frozen=True)
class _TextReader:
    """For whom a text is made, and when."""

    language: Language
    timezone: tzinfo
    now: datetime
    pages: AlertPages | None = None


@dataclass(frozen=True)
class _SharedParts:
    """What all alerts of a group have in common, and is told once above them."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    links: ShownLinks = NO_LINKS
    has_severity: bool = False
    """Whether they are equally bad by the same word."""


_NOTHING_SHARED = _SharedParts()


def write_text(
    group: AlertGroup, language: Language, timezone: tzinfo, now: datetime, pages: AlertPages | None = None
) -> str:
    """What a group says, whole: its alert, or its alerts worst first; the body in words where there is none.

    The text depends on nothing else. Of a large group only the worst alerts are written out, the rest is counted.
    `pages` are the bridge's own about alerts, where people reach it.
    """
    reader = _TextReader(language, timezone, now, pages)
    if not group.alerts:
        # What is a picture alone is told by it alone.
        return f"{MESSAGE_EMOJI} {group.title}\n{group.text or ''}".strip() if group.title or group.text else ""
    if len(group.alerts) > 1:
        return _write_group(group, reader)
    (alert,) = group.alerts
    title = write_headline(group, language)
    head = [write_lead(alert, title, language)]
    if alert.title not in title:
        head.append(alert.title)
    more = [say("text.more", language, n=group.truncated)] if group.truncated else []
    return "\n".join([*head, *_write_details(alert, reader, "\n".join(head)), *more, *_write_still(group, language)])


def write_lead(alert: Alert, title: str, language: Language) -> str:
    """A headline: the mark and the word of an alert, which say how bad it is, before a title.

    The word is left out where the title begins with it.
    """
    mark, word = emoji_of(alert), word_of(alert, language)
    return f"{mark} {word} · {title}" if word and not _begins_with(title, word) else f"{mark} {title}"


def _begins_with(text: str, word: str) -> bool:
    """Whether a text begins with a word, signs apart."""
    return re.match(rf"[\W_]*{re.escape(word)}(?![A-Za-z])", text, re.IGNORECASE) is not None


def write_headline(group: AlertGroup, language: Language) -> str:
    """The title of a group, without its mark: the sender's own where there is one, with counts where it has none.

    Of Grafana's rules without a title of the user's own: the rules' names, and what is told of them.
    """
    alerts, own = group.alerts, group.title.strip()
    if len(alerts) == 1 and not (group.source == "grafana" or own.startswith("[")):
        own = alerts[0].title.strip()
    name = _same(alert.title for alert in alerts)
    if group.source == "grafana" and own in ("", name) and not own.startswith("["):
        return _write_rules(group, language)
    title = own or name or _same(alert.labels.get("alertname", "") for alert in alerts)
    title = title if has_visible_sign(title) else ""
    if not title and all(alert.is_test for alert in alerts):
        title = say("alerts.test_message", language, source=group.source)
    if not title:
        title = say("alerts.untitled", language) if len(alerts) == 1 else say("alerts.count", language, n=len(alerts))
    counted = [int(count) for count in _COUNTED_TITLE.findall(title)]
    # A title that counts what is not here is the title of more than this part of the group.
    if sum(counted) == len(alerts) + group.truncated or (len(alerts) == 1 and not counted):
        return title
    return title + say("alerts.counts", language, counts=write_counts(alerts, language))


def _write_rules(group: AlertGroup, language: Language) -> str:
    alerts = group.alerts
    names = list(dict.fromkeys(alert.title for alert in alerts if alert.title))
    name = say("alerts.and", language).join(names) or say("alerts.untitled", language)
    if len(names) > 1 and len(name) > MAX_HEADLINE_CHARS // 2:
        name = say("alerts.count", language, n=len(alerts))
    state = say("alerts.rule_failed", language) if all(map(is_failed_rule, alerts)) else ""
    counts = write_counts(alerts, language) if len(alerts) + len(group.still) > 1 else ""
    still = say("alerts.still_firing", language, n=len(group.still)) if group.still else ""
    words = [word for word in (state, counts, still) if word]
    behind = say("alerts.counts", language, counts=say("alerts.and", language).join(words)) if words else ""
    behind = shorten(behind, MAX_HEADLINE_CHARS // 2) if len(behind) > MAX_HEADLINE_CHARS // 2 else behind
    before = len(word_of(find_spokesman(alerts), language)) + len(" · ")
    return shorten(name, MAX_HEADLINE_CHARS - before - len(behind)) + behind


def _write_state(alert: Alert, language: Language) -> str:
    """What the sender says of an alert's state besides: in our words where it is one of Grafana's reasons."""
    if not alert.state:
        return ""
    if is_failed_rule(alert):
        return say("alerts.rule_failed", language)
    if alert.source == "grafana" and has_text(f"alerts.grafana_reason.{alert.state}"):
        return say(f"alerts.grafana_reason.{alert.state}", language)
    if has_text(f"alerts.outcome.{alert.state}"):
        return say(f"alerts.outcome.{alert.state}", language)
    return say("alerts.state", language, state=alert.state)


def _write_update(alert: Alert, language: Language) -> str:
    """What somebody has done with a problem, and who: in our words where they are Zabbix's."""
    done = alert.annotations.get(UPDATE, "")
    if not done:
        return ""
    actions = [_write_action(word, language) for word in _ACTION_SEPARATOR.split(done) if word]
    words = say("alerts.and", language).join(actions)
    who = alert.annotations.get(UPDATED_BY, "")
    return say("alerts.updated_by", language, who=who, update=words) if who else words


def _write_action(word: str, language: Language) -> str:
    changed = _CHANGED_SEVERITY.fullmatch(word)
    if changed:
        return say("alerts.update.changed_severity", language, before=changed[1], after=changed[2])
    key = f"alerts.update.{word.replace(' ', '_')}"
    return say(key, language) if has_text(key) else word


def write_counts(alerts: Iterable[Alert], language: Language) -> str:
    """How many are in which state: `2 firing, 1 resolved`."""
    found = Counter(alert.status for alert in alerts)
    return say("alerts.and", language).join(
        say(f"alerts.{status.value}", language, n=found[status]) for status in EMOJI if found[status]
    )


def write_value(value: Value, language: Language, unit: str = "", known: Mapping[str, str] | None = None) -> str:
    """`metric: value`, with the labels that tell it from its neighbours.

    `unit` is that of the alert, where the value has none; `known` are labels that are told elsewhere.
    """
    labels = ", ".join(
        f"{name}={write_label_figure(value.labels[name])}"
        for name in sort_affected(value.labels)
        if (known or {}).get(name) != value.labels[name] and not _is_in(value.labels[name], value.name)
    )
    return f"{value.name}: {write_figure(value, language, unit)}" + (f" ({labels})" if labels else "")


def write_severity(alert: Alert, language: Language, shown: str = "") -> list[str]:
    """How bad an alert is: the sender's own word, else ours, where no line of `shown` begins with it."""
    own = own_word_of(alert)
    severity = find_severity(alert, own)
    word = say(f"alerts.severity.{severity}", language) if severity else ""
    if own.strip().casefold() in ("", severity, word.casefold()):
        return [word] if word and not any(_begins_with(line, word) for line in shown.split("\n")) else []
    # Icinga has the state for a severity too: what is over is "OK".
    if _is_in(own, shown) or (severity is None and own.strip().casefold() in _STATES_FOR_SEVERITIES):
        return []
    # A number says nothing without its name.
    name = find_severity_labels(alert.labels, alert.source)[0]
    return [f"{name}={own}" if own.strip().isdecimal() else shorten(own, _MAX_LINE_CHARS)]


def write_labels_of(alert: Alert, language: Language, shown: str = "", most: int = MAX_LABELS_SHOWN) -> str:
    """An alert's severity and at most a handful of its labels, as `write_severity` and `write_labels` have them."""
    severity = write_severity(alert, language, shown[:_MAX_CHARS_SEARCHED])
    return write_labels(_without_severity(alert), shown, most, first=severity)


def _without_severity(alert: Alert) -> Mapping[str, str]:
    told = find_severity_labels(alert.labels, alert.source)
    return {name: text for name, text in alert.labels.items() if name not in told}


def write_labels(
    labels: Mapping[str, str],
    shown: str = "",
    most: int = MAX_LABELS_SHOWN,
    whole: Mapping[str, str] | None = None,
    first: Sequence[str] = (),
) -> str:
    """At most a handful of labels, what is affected first: `instance=host-1, job=web`; before them words of others.

    Left out are those of machines, those of an exporter that measured another object, and those whose value stands in
    `shown` already. `whole` are all labels of the alert, where `labels` are some of them.
    """
    looked_at = shown[:_MAX_CHARS_SEARCHED]
    words = list(first)
    for name in sort_affected(labels, whole):
        if len(words) >= most:
            break
        value = write_label_figure(labels[name])
        is_shown = _is_in(value, looked_at) or _is_named(name, value, looked_at)
        if value and not _is_machine(name, _HIDDEN_LABELS) and not is_shown:
            words.append(f"{name}={shorten(value, _MAX_LINE_CHARS)}")
    return ", ".join(words)


def write_times(alert: Alert, language: Language, timezone: tzinfo, now: datetime) -> str:
    """Since when and for how long, in local time: `since 14:05 (12 min)`; empty where the sender did not say."""
    start, end = alert.starts_at, alert.ends_at
    try:
        if alert.status is AlertStatus.RESOLVED:
            if start is None or end is None or (end - start).total_seconds() < 1:
                at = format_moment(end, timezone, now) if end else ""
                return say("alerts.resolved_at", language, time=at) if at else _sent_at(alert, language)
            span = format_duration((end - start).total_seconds(), language)
            began, ended = format_moment(start, timezone, now), format_moment(end, timezone, start)
            key = "alerts.lasted" if not began.endswith(ended) else "alerts.lasted_at"
            return say(key, language, span=span, start=began, end=ended)
        if start is None:
            return _sent_at(alert, language)
        time = format_moment(start, timezone, now)
    except OverflowError:
        return ""
    seconds = (now - start).total_seconds()
    mark = f"{REMINDER_MARK} " if alert.is_reminder else ""
    # Clocks differ: what begins a little later than now begins now.
    if seconds < 1:
        return mark + say("alerts.since", language, time=time)
    return mark + say("alerts.since_for", language, time=time, span=format_duration(seconds, language))


def _sent_at(alert: Alert, language: Language) -> str:
    """The time that Open-Falcon wrote, by its own clock, and which notification of the event this is."""
    time, step = alert.annotations.get("time", ""), alert.annotations.get("step", "")
    if not time:
        return ""
    key = "alerts.sent_again_at" if step not in ("", "0", "1") else "alerts.sent_at"
    return say(key, language, time=time, step=step)


# ---------------------------------------------------------------- one alert


def _write_details(alert: Alert, reader: _TextReader, shown: str, shared: _SharedParts = _NOTHING_SHARED) -> list[str]:
    """The lines below an alert's title. `shown` is what the reader has seen so far."""
    language = reader.language
    state = _write_state(alert, language)
    lines = [state] if state and state not in shown.partition("\n")[0] else []
    lines.append(_write_update(alert, language))
    lines += _write_values(alert, language, shown)
    own = {name: text for name, text in alert.annotations.items() if name not in shared.annotations}
    told = _told_labels(alert) if has_dump(own.values()) else alert.labels
    lines += _write_annotations(own, alert, told, shown)
    labels = {name: text for name, text in _without_severity(alert).items() if name not in shared.labels}
    is_told = shared.has_severity or (shared is not _NOTHING_SHARED and alert.status is not AlertStatus.FIRING)
    severity = [] if is_told else write_severity(alert, language, shown)
    if labels or severity:
        lines.append(write_labels(labels, "\n".join([shown, *lines]), _most_labels([alert]), alert.labels, severity))
    lines.append(write_times(alert, language, reader.timezone, reader.now))
    lines += _write_links(links_of(alert, reader.pages), language, shared.links)
    return [line for line in lines if line]


def _write_links(links: ShownLinks, language: Language, shared: ShownLinks = NO_LINKS) -> Iterator[str]:
    """Each address in a line, but for those that were told above."""
    if links.main and not _is_same_address(links.main, shared.main):
        yield f"{LINK_MARK} {links.main}"
    if links.graph and not _is_same_address(links.graph, shared.graph):
        yield f"{GRAPH_MARK} {say('links.graph', language)} {links.graph}"


def _is_same_address(one: str, other: str) -> bool:
    """Tell whether two addresses differ at most in the time that they show."""
    return one == other or (bool(one and other) and strip_times(one) == strip_times(other))


def _told_labels(alert: Alert) -> dict[str, str]:
    """The labels of an alert without those that there is no room for: a text that has them need not lose them."""
    shown = [name for name in sort_affected(alert.labels) if not _is_machine(name, _HIDDEN_LABELS)]
    left = set(shown[_most_labels([alert]) :])
    return {name: text for name, text in alert.labels.items() if name not in left}


def _most_labels(alerts: Sequence[Alert]) -> int:
    """How many labels of alerts are written out, at most.

    Of Grafana's more than of others: its own title has them all, which gives way to the rule's name. Its legacy rules
    have tags, for routing: they do not say what is affected.
    """
    if any(alert.source != "grafana" for alert in alerts):
        return MAX_LABELS_SHOWN
    if all(map(is_legacy, alerts)):
        return int(any(own_word_of(alert) for alert in alerts))
    return MAX_LABELS_OF_GRAFANA_SHOWN


def _is_line(text: str, shown: str) -> bool:
    """Whether a text is what a line says behind its emoji."""
    return any(line.partition(" ")[2] == text for line in shown.split("\n"))


def _unit(alert: Alert) -> str:
    return alert.annotations.get("unit") or alert.labels.get("unit") or ""


def _write_values(alert: Alert, language: Language, shown: str) -> Iterator[str]:
    unit = _unit(alert)
    known = dict(alert.labels) if alert.starts_at else {}
    # Where nothing else tells the series of a rule apart, the alert is called by its metric's name.
    known |= {name: text for value in alert.values for name, text in value.labels.items() if _is_line(text, shown)}
    for value in alert.values[:MAX_VALUES_SHOWN]:
        yield write_value(value, language, unit, known)
    if len(alert.values) > MAX_VALUES_SHOWN:
        yield say("text.more", language, n=count_values(alert.values) - MAX_VALUES_SHOWN)
    threshold = (alert.annotations.get("threshold") or alert.labels.get("threshold") or "").strip()
    if threshold:
        yield say("alerts.threshold", language, value=_write_threshold(threshold, alert, unit, language))


def _write_threshold(text: str, alert: Alert, unit: str, language: Language) -> str:
    """In the unit of the alert's values, where they have one unit."""
    try:
        limit = float(text)
    except ValueError:
        return text
    units = {infer_unit(value, unit) for value in alert.values} or {unit}
    return format_quantity(limit, units.pop(), language) if len(units) == 1 else format_number(limit)


def write_figure(value: Value, language: Language, unit: str = "") -> str:
    """What a value amounts to, in words; `unit` is that of the alert, where the value has none."""
    if value.number is None:
        return write_figures(value.text or say("alerts.no_value", language))
    # `4.2 < 10` says more than the number: the sender's threshold is in it.
    if value.text and _COMPARED.search(value.text):
        return write_figures(value.text)
    return format_quantity(value.number, infer_unit(value, unit), language)


def find_summary(annotations: Mapping[str, str]) -> str:
    """Find the annotation that says first what an alert is about; empty where none does."""
    return next((name for name in _MAIN_ANNOTATIONS if annotations.get(name)), "")


def _write_annotations(
    annotations: Mapping[str, str], alert: Alert, labels: Mapping[str, str], shown: str
) -> Iterator[str]:
    """The annotations in the sender's words, each once: what the title or another of them says is not repeated.

    They are those of `alert`, or what it shares with others; `labels` are told beside them.
    """
    said = shown
    names = [name for name in _MAIN_ANNOTATIONS if name in annotations]
    for name in names:
        text = tidy_text(annotations[name], alert, labels)
        if text and text not in said:
            said = f"{said}\n{text}"
            yield text
    others = 0
    for name, annotation in annotations.items():
        text = tidy_text(annotation, alert, labels)
        if (
            name in _MAIN_ANNOTATIONS
            or not text
            or others == MAX_ANNOTATIONS_SHOWN
            or _is_machine(name, _HIDDEN_ANNOTATIONS)
        ):
            continue
        if (
            _ONLY_A_LINK.fullmatch(text)
            or labels.get(name) == text
            or _is_in(text[:_MAX_CHARS_SEARCHED], said[:_MAX_CHARS_SEARCHED])
        ):
            continue
        others += 1
        yield f"{name}: {text if len(text) <= _MAX_ANNOTATION_CHARS else text[: _MAX_ANNOTATION_CHARS - 1] + '…'}"


# ---------------------------------------------------------------- several alerts


def _write_group(group: AlertGroup, reader: _TextReader) -> str:
    alerts = worst_first(group.alerts)
    shared = _SharedParts(
        find_common([alert.labels for alert in alerts]),
        find_common([alert.annotations for alert in alerts]),
        _share_links(links_of(alert, reader.pages) for alert in alerts),
        _same(map(own_word_of, alerts)) != "" and _same(map(severity_name, alerts)) != "",
    )
    title = write_headline(group, reader.language)
    head = [write_lead(find_spokesman(alerts), title, reader.language)]
    name = _same(alert.title for alert in alerts)
    if name and name not in title:
        head.append(name)
    head += _write_annotations(shared.annotations, alerts[0], shared.labels, "\n".join(head))
    severity = write_severity(alerts[0], reader.language, "\n".join(head)) if shared.has_severity else []
    labels = find_common([_without_severity(alert) for alert in alerts])
    head.append(write_labels(labels, "\n".join(head), _most_labels(alerts), alerts[0].labels, severity))
    head += _write_links(shared.links, reader.language)
    blocks = ["\n".join(line for line in head if line)]
    blocks += ["\n".join(_write_member(alert, reader, shared, name)) for alert in alerts[:MAX_ALERTS_IN_FULL]]
    rest = [
        _write_short(alert, reader, shared, name)
        for alert in alerts[MAX_ALERTS_IN_FULL : MAX_ALERTS_IN_FULL + MAX_ALERTS_IN_LINES]
    ]
    left = max(0, len(alerts) - MAX_ALERTS_IN_FULL - MAX_ALERTS_IN_LINES) + group.truncated
    if left:
        rest.append(say("text.more", reader.language, n=left))
    rest += _write_still(group, reader.language)
    return "\n\n".join([*blocks, *(["\n".join(rest)] if rest else [])])


def _write_still(group: AlertGroup, language: Language) -> list[str]:
    """What fires besides, by name, in a line."""
    if not group.still:
        return []
    alerts = [*group.alerts, *group.still]
    shared = _SharedParts(find_common([alert.labels for alert in alerts]))
    name = _same(alert.title for alert in alerts)
    names = [_name_member(alert, language, shared, name) for alert in group.still[:MAX_STILL_NAMED]]
    more = len(group.still) - len(names)
    words = say("alerts.and", language).join([*names, *([say("text.more", language, n=more)] if more else [])])
    return [f"{REMINDER_MARK} {say('alerts.still', language, names=words)}"]


def _share_links(links: Iterator[ShownLinks]) -> ShownLinks:
    """The worst alert's addresses, where those of all differ at most in the time that they show."""
    shared = next(links)
    for each in links:
        # Mostly they differ soon, and the others need not be looked at.
        if shared == NO_LINKS:
            break
        shared = ShownLinks(
            shared.main if _is_same_address(shared.main, each.main) else "",
            shared.graph if _is_same_address(shared.graph, each.graph) else "",
        )
    return shared


def _write_member(alert: Alert, reader: _TextReader, shared: _SharedParts, name: str) -> list[str]:
    """An alert of a group: what tells it from the others, and what they do not share."""
    head = _lead_member(alert, _name_member(alert, reader.language, shared, name), reader, shared)
    return [head, *_write_details(alert, reader, f"{name}\n{head}", shared)]


def _write_short(alert: Alert, reader: _TextReader, shared: _SharedParts, name: str) -> str:
    """An alert of a group in a line: what it is, its first value, since when."""
    words = [_name_member(alert, reader.language, shared, name)]
    if alert.values:
        words.append(f"{alert.values[0].name}: {write_figure(alert.values[0], reader.language, _unit(alert))}")
    if not name:
        labels = {key: text for key, text in _without_severity(alert).items() if key not in shared.labels}
        words.append(write_labels(labels, words[0], 2, alert.labels))
    if alert.starts_at and alert.status is not AlertStatus.RESOLVED:
        with suppress(OverflowError):
            words.append(format_moment(alert.starts_at, reader.timezone, reader.now))
    line = _lead_member(alert, " · ".join(word for word in words if word), reader, shared)
    return shorten(line, _MAX_LINE_CHARS)


def _lead_member(alert: Alert, name: str, reader: _TextReader, shared: _SharedParts) -> str:
    """The mark of an alert of a group, and its word where it is not that of all, before its name."""
    is_told = shared.has_severity if alert.status is AlertStatus.FIRING else alert.status is AlertStatus.RESOLVED
    return f"{emoji_of(alert)} {name}" if is_told else write_lead(alert, name, reader.language)


def _name_member(alert: Alert, language: Language, shared: _SharedParts, name: str) -> str:
    """The alert's title, or where all have the same, the labels that they do not share."""
    if not name:
        return alert.title or say("alerts.untitled", language)
    labels = {key: text for key, text in _without_severity(alert).items() if key not in shared.labels}
    # Series of one rule may differ in what was measured alone.
    measured = next((", ".join(value.labels.values()) for value in alert.values if value.labels), "")
    return write_labels(labels, whole=alert.labels) or measured or name


def find_common(each: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of them have alike."""
    alike = dict(each[0]) if each else {}
    for one in each:
        for name in [name for name, text in alike.items() if one.get(name) != text]:
            del alike[name]
        if not alike:
            break
    return alike


def _same(texts: Iterable[str]) -> str:
    """The text that they all are; empty where they differ."""
    found = ""
    for index, text in enumerate(texts):
        if index == 0:
            found = text
        elif text != found:
            return ""
    return found


# ---------------------------------------------------------------- words


def _is_machine(name: str, names: set[str]) -> bool:
    return name.startswith("__") or name.lower() in names or bool(_UID.search(name))


def _is_in(value: str, text: str) -> bool:
    """Whether the words of a value all stand in a text; one character is too little to tell."""
    if len(value) <= 1 or len(value) > len(text):
        return False
    return all(has_word(text, word, also="_") for word in value.split())


def _is_named(name: str, value: str, text: str) -> bool:
    """Whether a value of one character stands in a text beside its name, where it cannot be there by chance."""
    return len(value) == 1 and f"{name}={value}" in _BETWEEN_WORDS.split(text)
