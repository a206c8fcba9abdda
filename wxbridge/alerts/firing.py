"""What fires now, of all who know: Alertmanager, Grafana, and what the bridge was told. Each alert once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from wxbridge.alerts import routing
from wxbridge.alerts.affected import list_places
from wxbridge.alerts.listing import ListedAlert
from wxbridge.alerts.severity import rank_of, severity_name
from wxbridge.alerts.store import Ack, SeenAlert, alert_key
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import Alert, AlertGroup, AlertStatus

_BRIDGE_LABELS = {"source", "status"}
"""Labels that only the bridge knows."""
_MAX_LABEL_CHARS = 500
"""Of a label that a chat's expressions are held against."""
_NO_SUCH_VALUE = "no such value 0_0"


class ReportedBy(StrEnum):
    """Who says that an alert fires."""

    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"
    BRIDGE = "bridge"
    """It was posted here, and has not resolved since."""


@dataclass(frozen=True)
class FiringAlert:
    """An alert that fires."""

    keys: tuple[str, ...]
    """Its keys in the table `alerts`, by `alert_key`; several where more than one monitor posted it."""
    alert: Alert
    places: frozenset[ReportedBy]
    since: datetime | None = None
    """When it began, or where nobody said, when the bridge first saw it."""
    silenced_by: tuple[str, ...] = ()
    """Ids of silences: the bridge's have eight digits, Alertmanager's and Grafana's are UUIDs."""
    inhibited: bool = False
    unlisted: bool = False
    """Whether the bridge saw it, but its monitor, which was asked, does not list it: its end may be on the way."""
    ack: Ack | None = None
    posted: Alert | None = None
    """All that was posted of it here, where it was."""

    @property
    def key(self) -> str:
        """The one that stands for it."""
        return self.keys[0]

    @property
    def quiet(self) -> bool:
        """Whether something holds it back."""
        return bool(self.silenced_by) or self.inhibited

    @cached_property
    def severity(self) -> str:
        """How bad it is, by name (`severity_name`)."""
        return severity_name(self.alert)

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels that routes and the bridge's silences see."""
        return routing.labels_of(AlertGroup(self.alert.source, "", self.alert.title), self.alert)

    def fulfils(self, matchers: Iterable[Matcher]) -> bool:
        """Tell whether all matchers hold for it; expressions are held against its labels' first characters."""
        labels = self.labels
        short = {name: value[:_MAX_LABEL_CHARS] for name, value in labels.items()}
        return all(matcher.matches(short if matcher.is_expression else labels) for matcher in matchers)

    def silencing_matchers(self) -> list[Matcher]:
        """Give what silences it and not its kind elsewhere: its name with what says where, else all its labels."""
        labels = {name: value for name, value in self.alert.labels.items() if value and not name.startswith("__")}
        if "alertname" not in labels and ReportedBy.ALERTMANAGER in self.places:
            chosen = labels
        else:
            # To the bridge, a title is the name of what has none.
            chosen = {"alertname": labels.get("alertname") or self.alert.title} | (list_places(labels) or labels)
        return [Matcher(name, "=", value) for name, value in chosen.items()]


@dataclass(frozen=True)
class FiringOverview:
    """What fires, the worst first, and who did not answer: name → why."""

    alerts: tuple[FiringAlert, ...]
    missing: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    """How many more fire, mentioned longest ago: too many to be looked through."""


def merge_firing(
    alertmanager: Sequence[ListedAlert] | None,
    grafana: Sequence[ListedAlert] | None,
    bridge: Sequence[SeenAlert],
    acks: Mapping[str, Ack] | None = None,
) -> tuple[FiringAlert, ...]:
    """One list of what three know, without repeating an alert: the worst first, then what began last, quiet ones last.

    An alert is the same where its monitor and fingerprint are, or where another place has one with just these labels
    (Grafana may hand its alerts to Alertmanager). What a server lists is newer than what the bridge was told.

    Args:
        alertmanager: None where it was not asked, or did not answer.
        grafana: Likewise.
        bridge: What was posted here and has not resolved.
        acks: By key.
    """
    asked = {name for name, found in (("alertmanager", alertmanager), ("grafana", grafana)) if found is not None}
    found: dict[str, FiringAlert] = {}
    for each in (
        *_listed(ReportedBy.ALERTMANAGER, alertmanager or ()),
        *_listed(ReportedBy.GRAFANA, grafana or ()),
        *_posted(bridge, asked),
    ):
        # Those who list alerts do not say their own name.
        names = (each.key, _listed_key(each.alert)) if asked else ()
        key = next((name for name in names if _other_place(found.get(name), each)), each.key)
        known = found.get(key)
        found[key] = _joined(known, each) if known else each
    alike: dict[frozenset[tuple[str, str]], list[FiringAlert]] = {}
    for each in found.values():
        # Two of one place with the same labels are two: rules of one name, say.
        twins = alike.setdefault(_identity(each.alert) or frozenset({("", each.key)}), [])
        twin = next((at for at, other in enumerate(twins) if not other.places & each.places), None)
        if twin is None:
            twins.append(each)
        else:
            twins[twin] = _joined(twins[twin], each)
    every = [_acked(each, acks or {}) for twins in alike.values() for each in twins]
    return tuple(sorted(every, key=_order))


def covers_everything(matchers: Iterable[Matcher]) -> bool:
    """Tell whether matchers hold for whatever has no such label, or for whatever has any: they say nothing."""
    saying = [matcher for matcher in matchers if matcher.name != "status"]
    any_value = {matcher.name: _NO_SUCH_VALUE for matcher in saying}
    return any(all(matcher.matches(labels) for matcher in saying) for labels in ({}, any_value))


def speaks_of_bridge_labels(matchers: Iterable[Matcher]) -> bool:
    """Tell whether matchers ask for labels that only the bridge knows.

    Elsewhere such a label is absent, and `source!=grafana` would hold for everything.
    """
    return any(matcher.name in _BRIDGE_LABELS for matcher in matchers)


def speaks_of_grafana(matchers: Sequence[Matcher], alerts: Iterable[FiringAlert]) -> bool:
    """Tell whether matchers hold for an alert of Grafana's, by labels that Grafana knows too."""
    if speaks_of_bridge_labels(matchers):
        return False
    return any(each.alert.source == ReportedBy.GRAFANA and each.fulfils(matchers) for each in alerts)


def as_json(firing: FiringAlert) -> dict[str, Any]:
    """As plain JSON, for pages."""
    alert = firing.alert
    return {
        "key": firing.key,
        "source": alert.source,
        "status": alert.status.value,
        "state": alert.state,
        "severity": severity_name(alert),
        "title": alert.title,
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "since": firing.since.isoformat() if firing.since else None,
        "link": alert.link,
        "places": sorted(place.value for place in firing.places),
        "silenced_by": list(firing.silenced_by),
        "inhibited": firing.inhibited,
        "unlisted": firing.unlisted,
        "acked_by": firing.ack.by if firing.ack else None,
        "acked_comment": firing.ack.comment if firing.ack else None,
    }


# ---------------------------------------------------------------- one of them


def _listed(place: ReportedBy, alerts: Iterable[ListedAlert]) -> Iterator[FiringAlert]:
    for each in alerts:
        key = _listed_key(each.alert)
        places = frozenset({place})
        yield FiringAlert((key,), each.alert, places, each.alert.starts_at, each.silenced_by, each.inhibited)


def _other_place(known: FiringAlert | None, each: FiringAlert) -> bool:
    return known is not None and not known.places & each.places


def _listed_key(alert: Alert) -> str:
    """The key of an alert as a server lists it, who does not say its own name."""
    return alert_key(AlertGroup(alert.source, "", ""), replace(alert, sender=""))


def _posted(alerts: Iterable[SeenAlert], asked: set[str]) -> Iterator[FiringAlert]:
    for each in alerts:
        found = of_posted(each)
        if found is not None:
            yield replace(found, unlisted=True) if found.alert.source in asked else found


def of_posted(each: SeenAlert) -> FiringAlert | None:
    """Make what a server would list of an alert that was posted here; None of free text."""
    posted = each.alert
    if posted is None:
        return None
    # What a server lists says no more of an alert than this.
    alert = Alert(
        source=posted.source,
        status=AlertStatus.RESOLVED if each.is_over else posted.status,
        title=posted.title,
        labels=posted.labels,
        annotations=posted.annotations,
        starts_at=posted.starts_at and posted.starts_at.astimezone(UTC),
        link=posted.link,
        fingerprint=posted.fingerprint,
    )
    return FiringAlert(
        (each.key,),
        alert,
        frozenset({ReportedBy.BRIDGE}),
        alert.starts_at or datetime.fromtimestamp(int(each.first_seen), UTC),
        (each.silenced_by,) if each.silenced_by else (),
        posted=posted,
    )


def _joined(one: FiringAlert, other: FiringAlert) -> FiringAlert:
    """Two of the same: a server's words, and the bridge's key, under which it is remembered."""
    first, second = (
        (other, one) if ReportedBy.BRIDGE in other.places and ReportedBy.BRIDGE not in one.places else (one, other)
    )
    # Legacy rules are listed without their tags.
    alert = replace(one.alert, labels={**other.alert.labels, **one.alert.labels})
    return replace(
        one,
        alert=alert,
        keys=tuple(dict.fromkeys((*first.keys, *second.keys))),
        places=one.places | other.places,
        since=one.since or other.since,
        silenced_by=tuple(dict.fromkeys((*one.silenced_by, *other.silenced_by))),
        inhibited=one.inhibited or other.inhibited,
        unlisted=one.unlisted and other.unlisted,
        posted=one.posted or other.posted,
    )


def _identity(alert: Alert) -> frozenset[tuple[str, str]]:
    """What tells an alert in any place; empty where it has no name."""
    labels = {(name, value) for name, value in alert.labels.items() if value and not name.startswith("__")}
    return frozenset(labels) if alert.labels.get("alertname") else frozenset()


def _acked(each: FiringAlert, acks: Mapping[str, Ack]) -> FiringAlert:
    found = [acks[key] for key in each.keys if key in acks and acks[key].holds(each.alert.starts_at)]
    return replace(each, ack=max(found, key=lambda ack: ack.at)) if found else each


def _order(each: FiringAlert) -> tuple[bool, float, bool, float, str]:
    return (
        each.quiet,
        rank_of(each.alert),
        each.alert.status is not AlertStatus.FIRING,
        -each.since.timestamp() if each.since else 0.0,
        each.key,
    )
