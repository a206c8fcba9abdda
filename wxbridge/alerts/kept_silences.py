"""Silences wherever they are kept: by the bridge, by Alertmanager, by Grafana; those of one request are one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from wxbridge.alerts.silences import Silence
from wxbridge.core.matchers import Matcher
from wxbridge.monitors.alertmanager import GettableSilence

_SAME_END = timedelta(seconds=2)
"""How far the ends of two silences may lie apart that one request made in several places."""
_FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class SilenceRequest:
    """What is to be silenced: alerts that fulfil all matchers. Times are seconds since the epoch."""

    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    created_by: str = ""
    comment: str = ""
    in_alertmanager: bool = False
    """Whether Alertmanager is to keep it too, where it is configured; likewise `in_grafana`."""
    in_grafana: bool = False
    ends_with: str | None = None
    """The key of the alert with which it ends, where that is sooner; such a silence is the bridge's alone."""


@dataclass(frozen=True)
class SilenceMade:
    """A silence that is kept from now on."""

    silence: Silence
    """The bridge's own."""
    ids_elsewhere: tuple[str, ...] = ()
    """What Alertmanager and Grafana call it, where they keep it."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Who does not keep it although they were asked to, and why."""

    @property
    def id(self) -> str:
        """What to call it by."""
        return next(iter(self.ids_elsewhere), self.silence.id)


@dataclass(frozen=True)
class KeptSilence:
    """A silence wherever it is kept: by the bridge, by Alertmanager, by Grafana, or by several of them."""

    matchers: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    created_by: str = ""
    comment: str = ""
    ids_here: tuple[str, ...] = ()
    ids_in_alertmanager: tuple[str, ...] = ()
    ids_in_grafana: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """All ids that it may be called by, the one that is shown first."""
        return (*self.ids_in_alertmanager, *self.ids_in_grafana, *self.ids_here)

    @property
    def places(self) -> tuple[str, ...]:
        """Where it is kept, of `bridge`, `alertmanager` and `grafana`."""
        ids = {"bridge": self.ids_here, "alertmanager": self.ids_in_alertmanager, "grafana": self.ids_in_grafana}
        return tuple(place for place, some in ids.items() if some)

    def is_part_of(self, other: KeptSilence) -> bool:
        """Tell whether both were made by one request, in different places."""
        if self.ends_at is None or other.ends_at is None or frozenset(self.matchers) != frozenset(other.matchers):
            return False
        return abs(self.ends_at - other.ends_at) <= _SAME_END and not set(self.places) & set(other.places)


@dataclass(frozen=True)
class SilenceOverview:
    """The silences that are not over, those that end first at the top, and who did not answer: name → why."""

    silences: tuple[KeptSilence, ...]
    missing: Mapping[str, str] = field(default_factory=dict)


def join_silences(
    own: Iterable[Silence], alertmanagers: Iterable[GettableSilence], grafanas: Iterable[GettableSilence]
) -> tuple[KeptSilence, ...]:
    """One list of what three places keep, those that end first at the top."""
    found: list[KeptSilence] = []
    for each in (
        *(replace(_gotten(one), ids_in_alertmanager=(one.id,)) for one in alertmanagers),
        *(replace(_gotten(one), ids_in_grafana=(one.id,)) for one in grafanas),
        *map(_own, own),
    ):
        part = next((at for at, other in enumerate(found) if each.is_part_of(other)), None)
        if part is None:
            found.append(each)
        else:
            found[part] = replace(
                found[part],
                ids_here=found[part].ids_here or each.ids_here,
                ids_in_grafana=found[part].ids_in_grafana or each.ids_in_grafana,
            )
    return tuple(sorted(found, key=lambda each: each.ends_at or _FOREVER))


def _gotten(each: GettableSilence) -> KeptSilence:
    return KeptSilence(each.matchers, each.starts_at, each.ends_at, each.created_by, each.comment)


def _own(each: Silence) -> KeptSilence:
    return KeptSilence(
        tuple(str(matcher) for matcher in each.matchers),
        moment_of(each.starts_at),
        moment_of(each.ends_at),
        each.created_by,
        each.comment,
        ids_here=(each.id,),
    )


def moment_of(seconds: float) -> datetime:
    """Give the moment of so many seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
