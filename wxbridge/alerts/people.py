"""Whom an alert concerns: those whom its labels name, and whose turn it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wxbridge.core.model import Alert, AlertGroup

MAX_NAMES_PER_ALERT = 20
"""That a label may name; more are left out."""
MAX_NAME_CHARS = 64
_BETWEEN = re.compile(r"[,，、;；|\n]+")
_EVERYBODY = ("all", "所有人")
"""Whom no label may mean: what a monitor sends does not decide to call everybody."""


def find_named(alert: Alert, labels: Sequence[str]) -> tuple[str, ...]:
    """Find the people whom an alert names: in the first of some labels or annotations that it has, between commas."""
    for label in labels:
        if text := alert.labels.get(label) or alert.annotations.get(label):
            names = (name.strip().removeprefix("@").strip() for name in _BETWEEN.split(text))
            kept = [
                name for name in names if name and name.casefold() not in _EVERYBODY and len(name) <= MAX_NAME_CHARS
            ]
            return tuple(dict.fromkeys(kept))[:MAX_NAMES_PER_ALERT]
    return ()


def find_all_named(group: AlertGroup, labels: Sequence[str]) -> tuple[str, ...]:
    """Find the people whom the alerts of a group name, each once."""
    return tuple(dict.fromkeys(name for alert in group.alerts for name in find_named(alert, labels)))


@dataclass(frozen=True)
class PersonalShare:
    """What of a group some people are told, by the names that it gives them."""

    group: AlertGroup
    names: tuple[str, ...]


@dataclass(frozen=True)
class DividedGroup:
    """A group divided among those whom it names, and what of it names nobody."""

    shares: tuple[PersonalShare, ...]
    unnamed: AlertGroup | None


def divide_by_person(group: AlertGroup, labels: Sequence[str]) -> DividedGroup:
    """Divide a group among the people whom it names as a whole, else whom its alerts name, each with their own."""
    if group.recipients:
        return DividedGroup((PersonalShare(group, group.recipients),), None)
    if not group.alerts:
        return DividedGroup((), group)
    alerts_of: dict[str, list[int]] = {}
    unnamed: list[int] = []
    for place, alert in enumerate(group.alerts):
        names = find_named(alert, labels)
        for name in names:
            alerts_of.setdefault(name, []).append(place)
        unnamed += [] if names else [place]
    # Who is told the same is told together: a service may take several in one message.
    names_of: dict[tuple[int, ...], list[str]] = {}
    for name, places in alerts_of.items():
        names_of.setdefault(tuple(places), []).append(name)
    shares = [PersonalShare(_take(group, places), tuple(names)) for places, names in names_of.items()]
    return DividedGroup(tuple(shares), _take(group, unnamed) if unnamed else None)


def _take(group: AlertGroup, places: Sequence[int]) -> AlertGroup:
    return group.with_alerts([group.alerts[place] for place in places])
