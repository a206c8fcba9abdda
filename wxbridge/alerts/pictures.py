"""Which picture an alert gets: its own, the Grafana panel that it names, or a chart of its rule; else none, in peace.

`choose_pictures` decides, at once and without asking anybody, and fixes the times; the renderer draws, later.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from wxbridge.alerts.panels import panel_of, panel_spec
from wxbridge.alerts.severity import is_failed_rule, worst_first
from wxbridge.alerts.sources import GRAFANAS_OWN, rule_name_of
from wxbridge.config.types import DEFAULT_PICTURE_STORM, Rate
from wxbridge.core.frozen import replace
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Capabilities, PictureSpec
from wxbridge.core.pictures import ALERT, ChartRequest, PanelAddress, Theme
from wxbridge.core.text.i18n import FALLBACK_LANGUAGE, Language, say
from wxbridge.monitors.rule_links import expr_of

MAX_INSTANCES_PER_CHART = 500
"""How many firing instances of one rule are told to its chart, which shows the worst ten and counts the others."""
_OF_PROMETHEUS = "alertmanager"
"""Whose alerts come from rules that Prometheus knows by name; of others only a link to Prometheus tells the rule."""
_GRAFANA_RULE = re.compile(r"/alerting/grafana/(?P<uid>[A-Za-z0-9_-]{1,64})/view(?:\?orgId=(?P<org>\d{1,12}))?")
"""In the link of an alert of Grafana's. Nothing else is taken from it, so that an alert cannot lead anywhere else."""


@dataclass(frozen=True)
class AlertPictureOptions:
    """What pictures of alerts can be made of, how they look, and how many there may be."""

    grafana: bool = False
    """Whether there is one to get panels from; likewise `prometheus`, for charts."""
    prometheus: bool = False
    timezone: str | None = None
    language: Language = FALLBACK_LANGUAGE
    theme: Theme | None = None
    storm: Rate = DEFAULT_PICTURE_STORM
    published: bool = False
    """Whether channels that take addresses only can be given pictures."""

    def reach(self, capabilities: Capabilities) -> bool:
        """Tell whether a channel can be given pictures."""
        return capabilities.pictures == "file" or (capabilities.pictures == "url" and self.published)


# ---------------------------------------------------------------- deciding


@dataclass(frozen=True)
class AskedPicture:
    """A picture that alerts of a group ask for, not composed yet: in a storm most are asked for in vain."""

    key: Hashable
    """What tells it from other pictures, also from those of other moments and groups."""
    alert: Alert
    """Who is to have it: the worst of those that share it."""
    compose: Callable[[], PictureSpec]


def choose_pictures(group: AlertGroup, ways: Sequence[str], now: datetime, settings: AlertPictureOptions) -> AlertGroup:
    """Give alerts of a group the picture to be drawn for them, in `Alert.picture`; the others get none."""
    return give_pictures(group, ask_pictures(group, ways, now, settings))


def ask_pictures(
    group: AlertGroup, ways: Sequence[str], now: datetime, settings: AlertPictureOptions
) -> list[AskedPicture]:
    """List the pictures that the alerts of a group ask for, that of the worst first.

    Alerts that would have the same picture share one: an image's address, a panel with its variables, a rule, whose
    chart shows all its firing instances (those that are over, where none fires). The worst of them has it.
    """
    shared: dict[Hashable, list[Alert]] = {}
    for alert in worst_first(group.alerts):
        if found := next(_materials(alert, ways, settings), None):
            _, material = found
            key = _hashed(material) if isinstance(material, PictureSpec) else material
            shared.setdefault(key, []).append(alert)
    asked = []
    for common, alerts in shared.items():
        first = alerts[0]
        # An image shows the same at any time, unless something else is drawn where it cannot be had.
        is_timeless = first.picture is not None and all(way == "image" for way, _ in _materials(first, ways, settings))
        shown = None if is_timeless else (tuple(ways), now, tuple(alert.fingerprint for alert in alerts))
        asked.append(AskedPicture((common, shown), first, partial(_spec, alerts, ways, now, settings)))
    return asked


def give_pictures(group: AlertGroup, asked: Iterable[AskedPicture]) -> AlertGroup:
    """Give alerts of a group the pictures that they asked for, in `Alert.picture`; the others get none."""
    specs = {id(each.alert): each.compose() for each in asked}
    return group.with_alerts([replace(alert, picture=specs.get(id(alert))) for alert in group.alerts])


def image_of(alert: Alert) -> PictureSpec | None:
    """The picture that came with an alert; of one for which it was decided already, what came with it then."""
    spec = alert.picture
    if spec is None or spec.kind != ALERT:
        return spec
    first = next((each for each in spec.params["tries"] if each["way"] == "image"), None)
    return PictureSpec(first["kind"], first["params"], spec.link) if first else None


def _materials(
    alert: Alert, ways: Sequence[str], settings: AlertPictureOptions
) -> Iterator[tuple[str, PictureSpec | PanelAddress | ChartRequest]]:
    """Give what a picture of an alert can be made of, in the order of the ways."""
    for way in _ways_of(alert, ways):
        if way == "image" and (image := image_of(alert)) is not None:
            yield way, image
        elif way == "panel" and settings.grafana and (panel := panel_of(alert)) is not None:
            yield way, panel
        elif way == "chart" and (rule := _rule_of(alert, settings)) is not None:
            yield way, rule


def _ways_of(alert: Alert, ways: Sequence[str]) -> Sequence[str]:
    """Of a rule that could not be evaluated there is nothing to be drawn: its panel shows the same error.

    A test has no rule, and its panel is made up.
    """
    return [way for way in ways if way == "image"] if alert.is_test or is_failed_rule(alert) else ways


def _rule_of(alert: Alert, settings: AlertPictureOptions) -> ChartRequest | None:
    """The rule that an alert comes from, as a chart is asked for: Grafana's own, or Prometheus's; None without any."""
    link = alert.links.get("generator") or alert.link or ""
    name = alert.labels.get("alertname", "")
    if settings.grafana:
        number = alert.annotations.get("__ruleId__", "")
        if number.isascii() and number.isdigit():
            return ChartRequest(rule=name, grafana_number=int(number), org=alert.annotations.get("__orgId__", ""))
        found = _GRAFANA_RULE.search(link)
        if found is not None:
            return ChartRequest(rule=rule_name_of(alert.labels), grafana_uid=found["uid"], org=found["org"] or "")
    expr = expr_of(link)
    if settings.prometheus and (expr is not None or (name and alert.source == _OF_PROMETHEUS)):
        return ChartRequest(expr or "", name)
    return None


def _instances(alert: Alert, rule: ChartRequest) -> list[dict[str, str]]:
    """The labels that tell which of its rule's series an alert is of; those of what it measured, where it has them."""
    if not (rule.grafana_uid or rule.grafana_number):
        return [dict(alert.labels)]
    if alert.status is AlertStatus.NO_DATA or alert.labels.get("alertname") in GRAFANAS_OWN:
        return []
    measured = [{**alert.labels, **value.labels} for value in alert.values if value.labels]
    # Labels of a legacy rule are its own, and never those of its series.
    return measured if measured or rule.grafana_number else [dict(alert.labels)]


def _spec(alerts: Sequence[Alert], ways: Sequence[str], now: datetime, settings: AlertPictureOptions) -> PictureSpec:
    firing = [alert for alert in alerts if alert.status is not AlertStatus.RESOLVED]
    shown = firing or list(alerts)
    first = shown[0]
    whole = replace(
        first,
        starts_at=min((each.starts_at for each in shown if each.starts_at), default=None),
        ends_at=None if firing else max((each.ends_at for each in shown if each.ends_at), default=None),
    )
    tries = []
    for way, material in _materials(first, ways, settings):
        match material:
            case PictureSpec():
                spec = material
            case PanelAddress():
                language = say("language.locale", settings.language)
                look = {"timezone": settings.timezone, "language": language, "theme": settings.theme}
                spec = panel_spec(material, whole, now, **look)
            case ChartRequest():
                spec = _chart(material, whole, shown, now, settings).to_spec()
        tries.append({"way": way, "kind": spec.kind, "params": dict(spec.params)})
    image = image_of(first)
    link = (image.link if image and "image" in ways else None) or first.links.get("panel") or first.link
    return PictureSpec(ALERT, {"tries": tries}, link=link)


def _chart(
    rule: ChartRequest, whole: Alert, shown: Sequence[Alert], now: datetime, settings: AlertPictureOptions
) -> ChartRequest:
    over = whole.status is AlertStatus.RESOLVED
    return replace(
        rule,
        instances=tuple(labels for each in shown[:MAX_INSTANCES_PER_CHART] for labels in _instances(each, rule)),
        more=max(0, len(shown) - MAX_INSTANCES_PER_CHART),
        at=now.timestamp(),
        firing_since=whole.starts_at.timestamp() if whole.starts_at else None,
        resolved_at=(whole.ends_at or now).timestamp() if over else None,
        timezone=settings.timezone,
        language=settings.language,
        theme=settings.theme,
    )


# ---------------------------------------------------------------- how many


@dataclass
class PictureBudget:
    """How many pictures alerts may still bring: at most `Rate.count` different ones in any `Rate.seconds`.

    Times are seconds since the epoch.
    """

    _taken: dict[Hashable, float] = field(default_factory=dict)
    """When which picture was admitted, in the order of time."""
    _told: dict[str, float] = field(default_factory=dict)

    def admit(self, key: Hashable, rate: Rate, now: float) -> bool:
        """Whether a picture may be drawn. The same for another target costs nothing."""
        taken = self._taken
        # A clock that was set back leaves none of its future behind.
        while taken and not now - rate.seconds < taken[first := next(iter(taken))] <= now:
            del taken[first]
        if key not in taken:
            if len(taken) >= rate.count:
                return False
            taken[key] = now
        return True

    def give_back(self, keys: Iterable[Hashable], target: str | None) -> None:
        """Take back what was admitted, and what a target was told of a storm, for a message that is not sent."""
        for key in keys:
            self._taken.pop(key, None)
        if target is not None:
            self._told.pop(target, None)

    def first_told(self, target: str, rate: Rate, now: float) -> bool:
        """Whether a target is to be told now that pictures are left out: once in each storm."""
        last = self._told.get(target)
        self._told[target] = now
        return last is None or not last <= now < last + rate.seconds


def _hashed(spec: PictureSpec) -> str:
    words = json.dumps([spec.kind, dict(spec.params)], default=str)
    return hashlib.blake2b(words.encode(errors="replace"), digest_size=16).hexdigest()


def limit_pictures(
    asked: Sequence[AskedPicture], admit: Callable[[Hashable], bool], most: int
) -> tuple[list[AskedPicture], int]:
    """Keep of the pictures that a group asks for the first `most`, as far as they are admitted.

    Returns them, and how many were not admitted. What is above `most` is not counted: no group brings more.
    """
    first = asked[:most]
    kept = [each for each in first if admit(each.key)]
    return kept, len(first) - len(kept)
