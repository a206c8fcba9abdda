"""What fires now, of all who know: Alertmanager, Grafana, and what the bridge was told. Each alert once.

`merge_firing` is pure; `look` asks all of them at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from wxbridge.alerts import notification_log
from wxbridge.alerts.acknowledgements import Ack
from wxbridge.alerts.listing import ListedAlert, read_listing
from wxbridge.alerts.severity import severity_of, severity_rank
from wxbridge.core.http import ApiError
from wxbridge.core.model import Alert, AlertGroup, AlertStatus
from wxbridge.monitors.alertmanager import Alertmanager

_NONE_THERE = 404
"""What a Grafana without unified alerting answers: nothing of its fires, and nothing is missing."""


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

    @property
    def key(self) -> str:
        """The one that stands for it."""
        return self.keys[0]

    @property
    def quiet(self) -> bool:
        """Whether something holds it back."""
        return bool(self.silenced_by) or self.inhibited


@dataclass(frozen=True)
class FiringOverview:
    """What fires, the worst first, and who did not answer: name → why."""

    alerts: tuple[FiringAlert, ...]
    missing: Mapping[str, str] = field(default_factory=dict)


async def look(
    bridge: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]],
    acks: Callable[[], Awaitable[Mapping[str, Ack]]],
    alertmanager: Alertmanager | None = None,
    grafana: Alertmanager | None = None,
) -> FiringOverview:
    """Ask all of them at once. A server that does not answer is told of in `missing`.

    Args:
        bridge: `Board.firing`.
        acks: `Board.acks`.
        alertmanager: None where it is not configured.
        grafana: `Alertmanager.of_grafana`; None likewise.

    Raises:
        StorageError: the bridge's own database could not be read.
    """
    missing: dict[str, str] = {}

    async def ask(name: str, server: Alertmanager | None) -> list[ListedAlert] | None:
        try:
            return await read_listing(await server.alerts(), name.lower()) if server else None
        except ApiError as error:
            if not (name == "Grafana" and error.status == _NONE_THERE):
                missing[name] = str(error)
            return None

    theirs, grafanas, own, acked = await asyncio.gather(
        ask("Alertmanager", alertmanager), ask("Grafana", grafana), bridge(), acks()
    )
    return FiringOverview(merge_firing(theirs, grafanas, own, acked), missing)


def merge_firing(
    alertmanager: Sequence[ListedAlert] | None,
    grafana: Sequence[ListedAlert] | None,
    bridge: Sequence[Mapping[str, Any]],
    acks: Mapping[str, Ack] | None = None,
) -> tuple[FiringAlert, ...]:
    """One list of what three know, without repeating an alert: the worst first, then what began last, quiet ones last.

    An alert is the same where its monitor and fingerprint are, or where another place has one with just these labels
    (Grafana may hand its alerts to Alertmanager). What a server lists is newer than what the bridge was told.

    Args:
        alertmanager: None where it was not asked, or did not answer.
        grafana: Likewise.
        bridge: As `Board.firing` gives it.
        acks: By key.
    """
    asked = {name for name, found in (("alertmanager", alertmanager), ("grafana", grafana)) if found is not None}
    found: dict[str, FiringAlert] = {}
    for each in (
        *_listed(ReportedBy.ALERTMANAGER, alertmanager or ()),
        *_listed(ReportedBy.GRAFANA, grafana or ()),
        *_told(bridge, asked),
    ):
        known = found.get(each.key)
        found[each.key] = _joined(known, each) if known else each
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


def as_json(firing: FiringAlert) -> dict[str, Any]:
    """As plain JSON, for pages."""
    alert = firing.alert
    return {
        "key": firing.key,
        "source": alert.source,
        "status": alert.status.value,
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
        key = notification_log.alert_key(AlertGroup(each.alert.source, "", ""), each.alert)
        places = frozenset({place})
        yield FiringAlert((key,), each.alert, places, each.alert.starts_at, each.silenced_by, each.inhibited)


def _told(alerts: Iterable[Mapping[str, Any]], asked: set[str]) -> Iterator[FiringAlert]:
    for each in alerts:
        starts_at = _moment(each.get("starts_at"))
        alert = Alert(
            source=each["source"],
            status=AlertStatus(each["status"]),
            title=each["title"],
            labels=each["labels"],
            annotations=each["annotations"],
            starts_at=starts_at,
            link=each.get("link"),
        )
        silence = each.get("silenced_by")
        yield FiringAlert(
            (each["key"],),
            alert,
            frozenset({ReportedBy.BRIDGE}),
            starts_at or _moment(each.get("first_seen")),
            (silence,) if silence else (),
            unlisted=alert.source in asked,
        )


def _joined(one: FiringAlert, other: FiringAlert) -> FiringAlert:
    """Two of the same: a server's words, and the bridge's key, under which it is remembered."""
    first, second = (
        (other, one) if ReportedBy.BRIDGE in other.places and ReportedBy.BRIDGE not in one.places else (one, other)
    )
    return replace(
        one,
        keys=tuple(dict.fromkeys((*first.keys, *second.keys))),
        places=one.places | other.places,
        since=one.since or other.since,
        silenced_by=tuple(dict.fromkeys((*one.silenced_by, *other.silenced_by))),
        inhibited=one.inhibited or other.inhibited,
        unlisted=one.unlisted and other.unlisted,
    )


def _identity(alert: Alert) -> frozenset[tuple[str, str]]:
    """What tells an alert in any place; empty where it has no name."""
    labels = {(name, value) for name, value in alert.labels.items() if value and not name.startswith("__")}
    return frozenset(labels) if alert.labels.get("alertname") else frozenset()


def _acked(each: FiringAlert, acks: Mapping[str, Ack]) -> FiringAlert:
    found = [acks[key] for key in each.keys if key in acks and acks[key].holds(each.alert.starts_at)]
    return replace(each, ack=max(found, key=lambda ack: ack.at)) if found else each


def _order(each: FiringAlert) -> tuple[bool, int, bool, float, str]:
    return (
        each.quiet,
        severity_rank(severity_of(each.alert.labels)),
        each.alert.status is not AlertStatus.FIRING,
        -each.since.timestamp() if each.since else 0.0,
        each.key,
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
