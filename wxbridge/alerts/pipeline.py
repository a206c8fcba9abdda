"""From a monitor's POST to rows in the outbox: parse, route, compose, store. The answer waits for the commit."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import structlog

from wxbridge.alerts import muting, notification_log, received, render, routing, serialization
from wxbridge.alerts import notifications as notify
from wxbridge.alerts import pictures as alert_pictures
from wxbridge.alerts.alert_text import text_of
from wxbridge.alerts.digest import Digest
from wxbridge.alerts.notification_log import LogUpdate, NotificationLog, PendingAlert
from wxbridge.alerts.notifications import Destination
from wxbridge.alerts.pictures import AlertPictureOptions, PictureBudget
from wxbridge.alerts.received import RouteReasons
from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.silences import SilenceSet
from wxbridge.alerts.sources import Parse
from wxbridge.alerts.templates import Templates, text_for
from wxbridge.config.types import STORM, Rate
from wxbridge.core.errors import BadBody
from wxbridge.core.model import (
    Accepted,
    Alert,
    AlertGroup,
    Body,
    Capabilities,
    Notification,
    NotificationKind,
    NotificationSink,
    Priority,
    Text,
)
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.splitting import split_message
from wxbridge.core.text.units import format_duration

log = structlog.get_logger()

MASTER = "master"
"""The target that stands for the person in charge."""
NOBODY = "nobody"
"""The target of what nobody is there for; such messages are dead from the start, and listed."""

_PLAINLY = RouteOptions()

FiringSince = Callable[[Collection[str]], Awaitable[Mapping[str, tuple[float | None, float]]]]


@dataclass(frozen=True)
class AlertState:
    """What is remembered of alerts from one configuration to the next."""

    ledger: NotificationLog = field(default_factory=NotificationLog)
    silences: SilenceSet = field(default_factory=SilenceSet)
    pictures: PictureBudget = field(default_factory=PictureBudget)


@dataclass(frozen=True)
class AlertPictureSettings:
    """What the configuration says of alerts' pictures."""

    look: AlertPictureOptions = field(default_factory=AlertPictureOptions)
    storm: Rate = STORM
    published: bool = False
    """Whether channels that take addresses only can be given pictures."""


@dataclass(frozen=True)
class AlertSettings(muting.MuteSettings):
    """What the configuration says of alerts."""

    targets: Mapping[str, Destination] = field(default_factory=dict)
    language: Language = "en"
    templates: Templates | None = None
    """None for the built-in texts alone."""
    pictures: AlertPictureSettings | None = None
    """None for the pictures that come with alerts alone."""


@dataclass(frozen=True)
class _Part:
    """What of a group goes to one target in one way."""

    target: str
    group: AlertGroup
    telling: RouteOptions = _PLAINLY
    note: str = ""
    """A line above the text."""
    below: str = ""
    """A line below it."""
    direct: bool = False
    """Whether it goes there whatever the routes say."""
    why: str = ""
    """In a word why it goes there, where no route said so."""
    share: str = ""
    """What tells it from other parts of the same group; empty where it is all of it."""


@dataclass(frozen=True)
class AlertPipeline:
    """Takes alerts in. One for a configuration."""

    sources: Mapping[str, Parse]
    rules: AlertSettings
    sink: NotificationSink
    memory: AlertState = field(default_factory=AlertState)
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
    firing_since: FiringSince | None = None
    """`notification_log.find_firing_since` on the database."""
    suppressed: Callable[[str, int], None] = lambda _reason, _count: None
    """Count alerts that a target was not told of, by reason."""
    without_picture: Callable[[int], None] = lambda _count: None
    """Count pictures that a storm left out."""

    async def accept(
        self,
        source: str,
        body: bytes,
        headers: Mapping[str, str],
        to: Sequence[str] = (),
    ) -> Accepted:
        """Store what a body says for its targets; `to` overrides the routes.

        Raises:
            BadBody: the body cannot be read.
            StorageError: it could not be stored; the sender should try again.
        """
        group = self.sources[source](body, headers)
        dedupe = group.dedupe or hashlib.sha256(body).hexdigest()
        now = self.clock()
        parts = list(self._parts(group, to))
        sightings = await self._seen_before([self._sightings(part, now) for part in parts])
        plan = self.memory.ledger.weigh([each for some in sightings for each in some], now)
        told = iter(plan.tell)
        notifications: list[Notification] = []
        brought: list[_Part] = []
        absorbed = 0
        routed = []
        for part, some in zip(parts, sightings, strict=True):
            left, repeats = self._left(part, some, told)
            absorbed += repeats
            its_told = len(left.group.alerts) or 1 if left else 0
            routed.append(self._reasons.routed(part.target, part.group, some, its_told, part.why))
            if left is not None:
                its = self._with_pictures(replace(left, share=_share(left.group, group)), now)
                brought.append(its)
                # Where the ledger tells a repeat from news, it decides: also within the time of a sender's retries.
                notifications += self._notifications(its, "" if _in_ledger(left) else dedupe, now)
        try:
            came_in = received.summarize(source, group, routed)
            accepted = await self.sink.put(notifications, received=came_in, also=LogUpdate((group,), plan))
        except Exception:
            self.memory.ledger.undo(plan)
            self._give_back(brought)
            raise
        if not accepted.queued:
            # A repeat of what was told brings no picture that would count.
            self._give_back(brought)
        accepted = replace(accepted, duplicates=accepted.duplicates + absorbed)
        log.info(
            "alert accepted",
            source=source, title=group.title[:120], alerts=len(group.alerts),
            to=[item.target for item in notifications], queued=accepted.queued, duplicates=accepted.duplicates,
        )  # fmt: skip
        return accepted

    async def tell_again(self, group: AlertGroup, target: str, telling: RouteOptions) -> None:
        """Tell a target of what still fires, or was held back. Raises `StorageError`."""
        now = self.clock()
        part = self._with_pictures(_Part(target, group, telling), now)
        await self.sink.put(self._notifications(part, "", now))

    # ------------------------------------------------ to whom

    @cached_property
    def _reasons(self) -> RouteReasons:
        return RouteReasons(self.rules.routes)

    def _parts(self, group: AlertGroup, to: Sequence[str]) -> Iterator[_Part]:
        """Each target with its part of the group; what nobody is to get goes to the master."""
        targets = self.rules.targets
        if to:
            unknown = [name for name in to if name not in targets]
            for name in dict.fromkeys(to):
                if name in targets:
                    yield _Part(name, group, direct=True, why="asked")
            if unknown:
                yield self._for_master(group, "no_target", names=", ".join(unknown))
        else:
            division = routing.split_by_target(group, self.rules.routes)
            for part in division.parts:
                yield _Part(part.target, part.group, part.telling)
            if division.unrouted:
                yield self._for_master(division.unrouted, "unrouted")

    def _for_master(self, group: AlertGroup, reason: str, **names: str) -> _Part:
        name = MASTER if MASTER in self.rules.targets else NOBODY
        why = say(f"alerts.{reason}", "en", **names).rstrip(":")
        log.warning("an alert for the person in charge", why=why, title=group.title[:120], to=name)
        return _Part(name, group, note=say(f"alerts.{reason}", self.rules.language, **names), direct=True, why=reason)

    # ------------------------------------------------ whether now

    def _sightings(self, part: _Part, now: float) -> list[PendingAlert]:
        return [
            notification_log.pending_alert(
                part.group, alert, part.target, part.telling,
                held=self._held(part, alert, now), direct=part.direct,
            )
            for alert in part.group.alerts or (None,)
        ]  # fmt: skip

    def _held(self, part: _Part, alert: Alert | None, now: float) -> str | None:
        labels = routing.labels_of(part.group, alert)
        return muting.held_by(self.rules, self.memory.silences, labels, part.telling, now)

    async def _seen_before(self, sightings: list[list[PendingAlert]]) -> list[list[PendingAlert]]:
        """Add to what is held back now whether its firing was told before that."""
        known = self.memory.ledger.known
        held = {each.key for some in sightings for each in some if each.held and not known(each.key, each.target)}
        if not held or self.firing_since is None:
            return sightings
        before = await self.firing_since(held)
        return [
            [
                replace(each, seen_at=before[each.key][1])
                if each.held and each.key in before and before[each.key][0] == each.starts_at
                else each
                for each in some
            ]
            for some in sightings
        ]

    def _left(self, part: _Part, sightings: Sequence[PendingAlert], told: Iterator[bool]) -> tuple[_Part | None, int]:
        """What of a part is told now, None for nothing; and whether it was all a repeat (1) or not (0)."""
        verdicts = [next(told) for _ in sightings]
        if all(verdicts):
            return part, 0
        held = sum(1 for each, tell in zip(sightings, verdicts, strict=True) if each.held and not tell)
        quiet = verdicts.count(False) - held
        for reason, count in (("held", held), ("repeat", quiet)):
            if count:
                self.suppressed(reason, count)
                log.info("not told now", target=part.target, reason=reason, alerts=count)
        alerts = tuple(alert for alert, tell in zip(part.group.alerts, verdicts, strict=False) if tell)
        if not alerts:
            return None, int(held == 0)
        return replace(part, group=replace(part.group, alerts=alerts)), 0

    # ------------------------------------------------ in which words

    def _notifications(self, part: _Part, dedupe: str, now: float) -> list[Notification]:
        """One for the target; where the alert says who is meant, one for each of them."""
        destination = self.rules.targets.get(part.target)
        recipients = destination.recipients(part.group.recipients) if destination else None
        if recipients is None:
            return [self._notification(part, dedupe, now, None)]
        if recipients:
            return [self._notification(part, dedupe, now, recipient) for recipient in recipients]
        master = self._for_master(part.group, "no_recipient", target=part.target)
        return [self._notification(master, dedupe, now, None)]

    def _with_pictures(self, part: _Part, now: float) -> _Part:
        """Decide which pictures the part brings."""
        destination = self.rules.targets.get(part.target)
        rules, group, ways = self.rules.pictures, part.group, part.telling.pictures
        if rules is None or destination is None or not group.alerts:
            return part
        look = rules.look
        if not _shows_pictures(destination.capabilities, rules):
            # What the alert itself links to is told as a link; nothing is drawn for nobody to see.
            look = replace(look, grafana=False, prometheus=False)
        group = alert_pictures.choose_pictures(group, ways, datetime.fromtimestamp(now, UTC), look)
        budget = self.memory.pictures
        group, refused = alert_pictures.limit_pictures(
            group, lambda spec: budget.admit(spec, rules.storm, now), render.PICTURES_AT_MOST
        )
        if not refused:
            return replace(part, group=group)
        self.without_picture(refused)
        log.info("pictures left out in a storm", target=part.target, pictures=refused)
        if not budget.first_told(part.target, rules.storm, now):
            return replace(part, group=group)
        language = self.rules.language
        time_span = format_duration(rules.storm.seconds, language)
        line = say("alerts.picture_storm", language, n=rules.storm.count, time=time_span)
        return replace(part, group=group, below=line)

    def _give_back(self, parts: Sequence[_Part]) -> None:
        if self.rules.pictures is not None:
            for part in parts:
                specs = [alert.picture for alert in part.group.alerts if alert.picture]
                self.memory.pictures.give_back(specs, part.target if part.below else None)

    def _notification(self, part: _Part, dedupe: str, now: float, recipient: str | None) -> Notification:
        group, name = part.group, part.target
        destination = self.rules.targets.get(name)
        capabilities = destination.capabilities if destination else Capabilities(text_limit=2000)
        text = "\n".join(filter(None, (self._text(part, destination, now), part.below)))
        whose = ":".join(word for word in (group.source, name, recipient, part.share) if word)
        return Notification(
            source=group.source,
            target=name,
            bodies=tuple(
                render.bodies(
                    text,
                    group,
                    capabilities,
                    self.rules.language,
                    part.note,
                    part.telling.mention,
                    destination.format if destination else "text",
                )
            ),
            priority=_priority(group),
            dedupe_key=f"{whose}:{dedupe}" if dedupe else None,
            # A body without times says the same at each firing; in between, its rule has said something else.
            dedupe_group=None if group.dedupe or not dedupe else f"{whose}:{group.group_key}",
            kind=NotificationKind.ALERT,
            content=serialization.as_json(group),
            expires_after=destination.expires_after if destination else 86400.0,
            dead=None if destination else "no route matches, and there is no master to tell",
            recipient=recipient,
        )

    def _text(self, part: _Part, destination: Destination | None, now: float) -> str:
        rules, at = self.rules, datetime.fromtimestamp(now, UTC)
        if rules.templates is None:
            return text_of(part.group, rules.language, rules.timezone, at)
        name = part.telling.template or (destination.template if destination else None)
        text, problem = text_for(rules.templates, name, part.group, part.target, at)
        if problem:
            self.suppressed("template", 1)
            log.error("a template failed", template=name, target=part.target, error=problem)
        return text

    def recompose(self, kind: NotificationKind, content: Any, target: str, note: str) -> list[Body]:
        """Say what a stored notification says for another target, with a note above it; empty where nothing is kept."""
        destination, language = self.rules.targets.get(target), self.rules.language
        if destination is None or content is None:
            return []
        if kind is NotificationKind.ALERT:
            group = serialization.from_json(content)
            text = self._text(_Part(target, group), destination, self.clock())
            return render.bodies(text, group, destination.capabilities, language, note, format=destination.format)
        if kind is NotificationKind.DIGEST:
            text = Digest.from_json(content).text(language, self.rules.timezone)
            whole = "\n".join(part for part in (note, text) if part)
            return [Text(part) for part in split_message(whole, destination.capabilities, language)]
        return notify.again(content, destination, language, note)

    # ------------------------------------------------ what is pushed as it is

    async def push(self, to: Sequence[str], bodies: Sequence[Any], priority: Priority = Priority.ALERT) -> Accepted:
        """Store bodies for targets as they are; texts are split to the target's limit.

        Raises:
            BadBody: a target is unknown, or wants to be told by an alert whom it means.
            StorageError: it could not be stored.
        """
        targets = self.rules.targets
        unknown = [name for name in to if name not in targets]
        if unknown:
            raise BadBody(f"There is no target {unknown[0]!r}; there are {', '.join(sorted(targets)) or 'none'}.")
        if for_alerts := [name for name in to if targets[name].recipients(()) is not None]:
            raise BadBody(f"The target {for_alerts[0]!r} sends to those whom an alert names, and this is no alert.")
        return await self.sink.put(
            [
                notify.notification("push", name, bodies, targets[name], self.rules.language, priority)
                for name in dict.fromkeys(to)
            ]
        )


def _share(part: AlertGroup, whole: AlertGroup) -> str:
    """What tells a part of a group from the others that go to the same target, told in other ways or later."""
    if len(part.alerts) == len(whole.alerts):
        return ""
    keys = "".join(notification_log.alert_key(part, alert) for alert in part.alerts)
    return hashlib.blake2b(keys.encode(), digest_size=8).hexdigest()


def _shows_pictures(capabilities: Capabilities, rules: AlertPictureSettings) -> bool:
    return capabilities.pictures == "file" or (capabilities.pictures == "url" and rules.published)


def _in_ledger(part: _Part) -> bool:
    """Whether the ledger remembers that all of a part was told."""
    group = part.group
    return bool(part.telling.repeat_interval and group.alerts and all(alert.fingerprint for alert in group.alerts))


_URGENT = {"critical", "page", "emergency", "disaster", "fatal", "p0"}


def _priority(group: AlertGroup) -> Priority:
    severities = {alert.labels.get("severity", "").lower() for alert in group.alerts}
    return Priority.CRITICAL if severities & _URGENT else Priority.ALERT
