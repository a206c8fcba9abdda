"""From a monitor's POST to notifications in the outbox: parse, route, select, compose, store.

The answer waits for the commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from wxbridge.alerts import (
    notification_log,
    people,
    received,
    render,
    routing,
    rule_errors,
    serialization,
    store,
    told_before,
)
from wxbridge.alerts import pictures as alert_pictures
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.digest import Digest
from wxbridge.alerts.identity import identify
from wxbridge.alerts.intake import TEST_HEADER, as_test, prepare_group
from wxbridge.alerts.known_alerts import HeardGroup, KnownAlerts
from wxbridge.alerts.links import MAX_ALERTS_PER_LINK, AlertPages
from wxbridge.alerts.muting import held_by
from wxbridge.alerts.notification_log import LogUpdate, NotificationLog, PendingAlert
from wxbridge.alerts.pictures import AlertPictureOptions, PictureBudget
from wxbridge.alerts.received import RouteReasons
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import AskedTarget, RoutedGroup, RouteOptions, RouteTree
from wxbridge.alerts.severity import severity_of, worst_first
from wxbridge.alerts.silences import SilenceSet
from wxbridge.alerts.sources import ParseBody
from wxbridge.alerts.store import Hearing
from wxbridge.alerts.templates import Templates, render_or_explain
from wxbridge.config.people import PeopleSettings
from wxbridge.config.time_intervals import TimeInterval
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.frozen import replace
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Alert,
    AlertGroup,
    AlertStatus,
    Body,
    Capabilities,
    Notification,
    NotificationKind,
    NotificationSink,
    Priority,
    Severity,
    Text,
)
from wxbridge.core.severities import BUILT_IN, SeverityTable
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.splitting import split_message
from wxbridge.core.text.units import format_duration
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

log = structlog.get_logger()

MASTER = "master"
"""The target that stands for the person in charge."""
NOBODY = "nobody"
"""The target of what nobody is there for: it waits, and is routed again by the next configuration."""
MAX_BYTES_PARSED_AT_ONCE = 256 * 1024
"""Of a body; a larger one is parsed in a thread, so that nobody else waits."""
KEEP_SECONDS = 7 * 86400.0
"""How long alerts that ended are kept, where nothing is said."""
_UTC = ZoneInfo("UTC")
SILENCE_MARK = "🔕"
"""How the line begins that leads to where an alert can be silenced."""


@dataclass(frozen=True)
class AlertState:
    """What is remembered of alerts from one configuration to the next."""

    log: NotificationLog = field(default_factory=NotificationLog)
    silences: SilenceSet = field(default_factory=SilenceSet)
    pictures: PictureBudget = field(default_factory=PictureBudget)
    known: KnownAlerts = field(default_factory=KnownAlerts)
    link_key: bytes = b""
    """What signs links that silence; empty where there are none."""
    under_way: dict[int, Sequence[str]] = field(default_factory=dict)
    """The keys of what is just being stored, by the group that says it."""

    def list_under_way(self) -> set[str]:
        """List the keys of what is just being stored."""
        return {key for keys in self.under_way.values() for key in keys if key}


@dataclass(frozen=True)
class AlertSettings:
    """What the configuration says of alerts."""

    routes: RouteTree = field(default_factory=lambda: routing.compile_routes(()))
    intervals: Mapping[str, TimeInterval | Sequence[TimeInterval]] = field(default_factory=dict)
    timezone: ZoneInfo = _UTC
    targets: Mapping[str, Destination] = field(default_factory=dict)
    language: Language = "en"
    templates: Templates | None = None
    """None for the built-in texts alone."""
    pictures: AlertPictureOptions | None = None
    """None for the pictures that come with alerts alone."""
    sources: Mapping[str, ParseBody] = field(default_factory=dict)
    """By the name of the hook: `grafana`, `generic/uptime-kuma`."""
    keep: float = KEEP_SECONDS
    """Seconds for which alerts that ended are kept."""
    public_url: str = ""
    """Where people reach the bridge's own pages; empty where they do not."""
    server_token: str = ""
    """What opens the server: links that silence end where it changes."""
    severities: SeverityTable = BUILT_IN
    """What the words of senders mean, for how bad an alert is."""
    operators: Sequence[str] = (MASTER,)
    """The targets that get what no target takes; they need not exist."""
    people: PeopleSettings = field(default_factory=PeopleSettings)
    """How people are known, and whose turn it is."""


@dataclass(frozen=True)
class AlertPipeline:
    """Takes alerts in. One for a configuration."""

    settings: AlertSettings
    sink: NotificationSink
    state: AlertState = field(default_factory=AlertState)
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
    database: Database | None = None
    """Asked what fired before it was held back; without one, that is as if it never had."""
    metrics: Metrics = field(default_factory=Metrics)
    grafana: GrafanaAlerts | None = None
    """Asked why a rule fires that has no figures."""

    async def accept(
        self,
        source: str,
        body: bytes,
        headers: Mapping[str, str],
        to: Sequence[str] = (),
        instance: str = "",
    ) -> Accepted:
        """Store what a body says for its targets; `to` overrides the routes, and `instance` names the sender.

        Raises:
            BadBody: the body cannot be read.
            StorageError: it could not be stored; the sender should try again.
        """
        if len(body) > MAX_BYTES_PARSED_AT_ONCE:
            group = await asyncio.to_thread(self._parse, source, body, headers, instance)
        else:
            group = self._parse(source, body, headers, instance)
        return await self.accept_group(source, await rule_errors.explain(group, self.grafana), to)

    async def accept_group(self, source: str, group: AlertGroup, to: Sequence[str] = ()) -> Accepted:
        """Store what a group that was read from somewhere says; see `accept`.

        Raises:
            StorageError: it could not be stored; the sender should try again.
        """
        now, known = self.clock(), self.state.known
        if not group.is_news:
            log.info("no news", source=source, title=group.title[:120])
            return Accepted(queued=0, duplicates=0)
        heard = known.hear(told_before.set_comments_apart(known, group), now)
        group = heard.group
        silences = self.state.silences
        ended = silences.end_with(heard.list_resolved())
        self.state.under_way[id(heard)] = heard.keys
        try:
            if self.database is None or not self.database.is_server:
                return await self._accept(source, heard, list(self._route(group, to)), now)
            async with self.database.in_time():
                return await self._accept(source, heard, list(self._route(group, to)), now)
        except BaseException:
            known.undo(heard)
            silences.put_back(ended)
            raise
        finally:
            del self.state.under_way[id(heard)]

    def _parse(self, source: str, body: bytes, headers: Mapping[str, str], instance: str) -> AlertGroup:
        group = prepare_group(self.settings.sources[source](body, headers), instance, self.settings.severities)
        return as_test(group) if TEST_HEADER in headers else group

    async def _accept(self, source: str, heard: HeardGroup, routed: list[RoutedGroup], now: float) -> Accepted:
        group, known = heard.group, self.state.known
        dedupe = "" if group.dedupe is None else heard.said
        pending = await self._add_earlier_firings([self._pending_alerts(part, heard, now) for part in routed])
        selection = self.state.log.select_due([each for some in pending for each in some], now)
        is_due = iter(selection.due)
        notifications: list[Notification] = []
        composed: list[RoutedGroup] = []
        reasons = []
        absorbed = 0
        for part, some in zip(routed, pending, strict=True):
            due = self._keep_due(part, some, [next(is_due) for _ in some])
            told = (len(due.group.alerts) or 1) if due else 0
            reasons.append(self._reasons.routed(part, some, told))
            if due is None:
                absorbed += not any(each.held for each in some)
                continue
            due = replace(due, share=_share_key(due.group, group), group=told_before.mark_reminders(known, due, now))
            due = self._add_pictures(due, now)
            composed.append(due)
            # Where the log tells a repeat from news, it decides: also within the time of a sender's retries.
            notifications += self._notifications(due, "" if _is_logged(due) else dedupe, now)
        try:
            due_keys = [key for part in composed for alert in part.group.alerts if (key := identify(alert))]
            came_in = received.summarize(source, group, reasons, heard.news, due_keys)
            update = LogUpdate((group,), selection, self._hearings(heard, routed, now))
            accepted = await self.sink.put(notifications, received=came_in, also=update)
        except Exception:
            self.state.log.undo(selection)
            self._give_back_pictures(composed)
            raise
        for part in composed:
            told_before.note_told(known, part.group, part.place, now)
        if not accepted.queued:
            # A repeat of what was told brings no picture that would count.
            self._give_back_pictures(composed)
        accepted = replace(accepted, duplicates=accepted.duplicates + absorbed)
        log.info(
            "alert accepted",
            source=source, title=group.title[:120], alerts=len(group.alerts),
            to=[item.target for item in notifications], queued=accepted.queued, duplicates=accepted.duplicates,
        )  # fmt: skip
        return accepted

    async def notify_again(self, group: AlertGroup, target: str, options: RouteOptions) -> None:
        """Notify a target of what still fires (`Alert.is_reminder`), or was held back; `target` as `RoutedGroup.place`.

        Raises `StorageError`.
        """
        now = self.clock()
        dated = told_before.date_alerts(self.state.known, group, now)
        asked = AskedTarget.read(target)
        options = replace(options, mention=asked.mention or options.mention)
        part = self._add_pictures(RoutedGroup(asked.name, options, dated, recipient=asked.recipient), now)
        await self.sink.put(self._notifications(part, "", now))
        told_before.note_told(self.state.known, part.group, target, now)

    def route_again(self, content: Any) -> list[Notification]:
        """Compose a stored alert that found no target by the routes of now; empty where it still finds none."""
        parts = list(self._route(serialization.group_from_json(content), ()))
        if any(part.target == NOBODY for part in parts):
            return []
        now = self.clock()
        return [made for part in parts for made in self._notifications(self._add_pictures(part, now), "", now)]

    @cached_property
    def pages(self) -> AlertPages | None:
        """The bridge's own pages about alerts; None where people do not reach them."""
        settings, key = self.settings, self.state.link_key
        if not (settings.public_url and key):
            return None
        return AlertPages(settings.public_url, hmac.digest(key, settings.server_token.encode(), "sha256"))

    # ------------------------------------------------ to whom

    @cached_property
    def _reasons(self) -> RouteReasons:
        return RouteReasons(self.settings.routes)

    def _route(self, group: AlertGroup, to: Sequence[str]) -> Iterator[RoutedGroup]:
        """Give each target its part of the group; what nobody is to get goes to the operators."""
        targets = self.settings.targets
        if to:
            asked = list(map(AskedTarget.read, dict.fromkeys(to)))
            unknown = [each.name for each in asked if each.name not in targets]
            for each in asked:
                if each.name in targets:
                    options = RouteOptions(mention=each.mention)
                    yield RoutedGroup(
                        each.name, options, group, is_direct=True, reason="asked", recipient=each.recipient
                    )
            if unknown:
                yield from self._to_operators(group, "no_target", names=say_list(unknown, self.settings.language))
        else:
            split = routing.split_by_target(group, self.settings.routes)
            yield from split.parts
            if split.unrouted:
                yield from self._to_operators(split.unrouted, "unrouted")

    def _to_operators(self, group: AlertGroup, reason: str, **names: str) -> list[RoutedGroup]:
        to = [name for name in self.settings.operators if name in self.settings.targets] or [NOBODY]
        why = say(f"alerts.{reason}", "en", **names).rstrip(":")
        log.warning("an alert for the person in charge", why=why, title=group.title[:120], to=", ".join(to))
        self.metrics.without_target.labels(reason).inc(max(1, len(group.alerts)))
        note = say(f"alerts.{reason}", self.settings.language, **names)
        return [RoutedGroup(name, RouteOptions(), group, note=note, is_direct=True, reason=reason) for name in to]

    # ------------------------------------------------ whether now

    def _pending_alerts(self, part: RoutedGroup, heard: HeardGroup, now: float) -> list[PendingAlert]:
        pending = [
            notification_log.pending_alert(
                part.group, alert, part.place, part.options,
                held=self.held_by(part.group, alert, part.options, now), direct=part.is_direct,
            )
            for alert in part.group.alerts or (None,)
        ]  # fmt: skip
        known = self.state.known
        return [replace(each, is_told=told_before.is_told(known, each, heard, now)) for each in pending]

    def _hearings(self, heard: HeardGroup, routed: Sequence[RoutedGroup], now: float) -> dict[str, Hearing]:
        timeouts: dict[str, list[float]] = {}
        for part in routed:
            if part.options.resolve_timeout:
                for alert in part.group.alerts:
                    if alert.fingerprint:
                        key = store.alert_key(part.group, alert)
                        timeouts.setdefault(key, []).append(part.options.resolve_timeout)
        alerts = zip(heard.keys, heard.group.alerts, strict=True)
        return {key: self.state.known.hearing(key, alert, timeouts.get(key, ()), now) for key, alert in alerts if key}

    def held_by(self, group: AlertGroup, alert: Alert | None, options: RouteOptions, now: float) -> str | None:
        """Say why an alert (None for free text) may not be told now, in a few words; None where it may."""
        settings, silences = self.settings, self.state.silences
        if silences.is_empty and not options.mute and not options.active:
            return None
        labels = routing.labels_of(group, alert)
        return held_by(options, labels, silences, settings.intervals, settings.timezone, now)

    async def _add_earlier_firings(self, pending: list[list[PendingAlert]]) -> list[list[PendingAlert]]:
        """Add to what is held back now when its firing was told before that."""
        find = self.state.log.find
        held = {each.key for some in pending for each in some if each.held and not find(each.key, each.target)}
        if not held or self.database is None:
            return pending
        before = await self.database.read(lambda c: store.find_firing_since(c, held))
        return [
            [
                replace(each, seen_at=before[each.key][1])
                if each.held and each.key in before and before[each.key][0] == each.starts_at
                else each
                for each in some
            ]
            for some in pending
        ]

    def _keep_due(self, part: RoutedGroup, pending: Sequence[PendingAlert], due: Sequence[bool]) -> RoutedGroup | None:
        """Drop the alerts that must not be sent now, and count them; None where none is left."""
        if all(due):
            return part
        held = sum(1 for each, is_due in zip(pending, due, strict=True) if each.held and not is_due)
        for reason, count in (("held", held), ("repeat", due.count(False) - held)):
            if count:
                self.metrics.suppressed.labels(reason).inc(count)
                log.info("not told now", target=part.target, reason=reason, alerts=count)
        alerts = tuple(alert for alert, is_due in zip(part.group.alerts, due, strict=False) if is_due)
        still = told_before.list_still_firing(part.group, pending, due)
        return replace(part, group=replace(part.group, alerts=alerts, still=still)) if alerts else None

    # ------------------------------------------------ in which words

    def _notifications(self, part: RoutedGroup, dedupe: str, now: float) -> list[Notification]:
        """Compose one for the target; where the alert says who is meant, one for each of them."""
        destination = self.settings.targets.get(part.target)
        if part.recipient is not None or destination is None or destination.recipients(()) is None:
            return [self._notification(part, dedupe, now, part.recipient)]
        if destination.is_from_request:
            operators = self._to_operators(part.group, "no_key", target=part.target)
            return [self._notification(each, dedupe, now, None) for each in operators]
        divided = people.divide_by_person(part.group, destination.from_label)
        made = []
        for share in divided.shares:
            own = replace(part, group=share.group, share=part.share or _share_key(share.group, part.group))
            recipients = destination.recipients(self._resolve_names(share.names, now)) or ()
            made += [self._notification(own, dedupe, now, recipient) for recipient in recipients]
        if divided.unnamed is not None:
            operators = self._to_operators(divided.unnamed, "no_recipient", target=part.target)
            made += [self._notification(each, dedupe, now, None) for each in operators]
        return made

    def _find_mentions(self, part: RoutedGroup, destination: Destination | None, now: float) -> tuple[str, ...]:
        """Find who is mentioned, as the channel knows them."""
        if not (part.options.mention or part.options.mention_label):
            return ()
        names = (*part.options.mention, *people.find_all_named(part.group, part.options.mention_label))
        found = self._resolve_names(names, now)
        return tuple(dict.fromkeys(map(destination.known_as, found))) if destination else found

    def _resolve_names(self, names: tuple[str, ...], now: float) -> tuple[str, ...]:
        """Put those whose turn it is in place of the names of rosters."""
        settings = self.settings
        return settings.people.resolve(names, datetime.fromtimestamp(now, UTC), settings.timezone) if names else ()

    def _add_pictures(self, part: RoutedGroup, now: float) -> RoutedGroup:
        """Decide which pictures the part brings."""
        destination = self.settings.targets.get(part.target)
        settings, group = self.settings.pictures, part.group
        if settings is None or destination is None or not group.alerts:
            return part
        drawn = settings
        if not settings.reach(destination.capabilities):
            # What the alert itself links to is told as a link; nothing is drawn for nobody to see.
            drawn = replace(settings, grafana=False, prometheus=False)
        budget, at = self.state.pictures, datetime.fromtimestamp(now, UTC)
        asked = alert_pictures.ask_pictures(group, part.options.pictures, at, drawn)
        kept, refused = alert_pictures.limit_pictures(
            asked, lambda key: budget.admit(key, settings.storm, now), render.MAX_PICTURES_PER_GROUP
        )
        group = alert_pictures.give_pictures(group, kept)
        part = replace(part, group=group, pictures=tuple(each.key for each in kept))
        if not refused:
            return part
        self.metrics.pictures.labels("alert", "storm").inc(refused)
        if not budget.first_told(part.target, settings.storm, now):
            return part
        log.info("pictures left out in a storm", target=part.target, pictures=refused)
        language = self.settings.language
        time_span = format_duration(settings.storm.seconds, language)
        return replace(part, footer=say("alerts.picture_storm", language, n=settings.storm.count, time=time_span))

    def _give_back_pictures(self, routed: Sequence[RoutedGroup]) -> None:
        for part in routed:
            self.state.pictures.give_back(part.pictures, part.target if part.footer else None)

    def _notification(self, part: RoutedGroup, dedupe: str, now: float, recipient: str | None) -> Notification:
        group, name, language = part.group, part.target, self.settings.language
        destination = self.settings.targets.get(name)
        capabilities = destination.capabilities if destination else Capabilities(text_limit=2000)
        text = "\n".join(filter(None, (self._text(part, destination, now), part.footer)))
        format_ = destination.format if destination else "text"
        mentions = self._find_mentions(part, destination, now)
        bodies = render.build_bodies(text, group, capabilities, language, part.note, mentions, format_)
        whose = ":".join(filter(None, (group.source, name, recipient, part.share)))
        return Notification(
            source=group.source,
            target=name,
            bodies=tuple(bodies),
            priority=_priority(group),
            dedupe_key=f"{whose}:{dedupe}" if dedupe else None,
            dedupe_seconds=group.dedupe_seconds if dedupe else None,
            # What comes without times says the same at each firing; in between, its rule has said something else.
            dedupe_group=f"{whose}:{group.group_key}" if dedupe and group.dedupe_seconds is not None else None,
            kind=NotificationKind.ALERT,
            content=serialization.group_to_json(group),
            expires_after=destination.expires_after if destination else 86400.0,
            waits=None if destination else "no route matches, and nobody is in charge",
            recipient=recipient,
        )

    def _text(self, part: RoutedGroup, destination: Destination | None, now: float) -> str:
        lines = (self._fill_template(part, destination, now), self._write_silence_link(part, destination, now))
        return "\n".join(filter(None, lines))

    def _fill_template(self, part: RoutedGroup, destination: Destination | None, now: float) -> str:
        settings, at = self.settings, datetime.fromtimestamp(now, UTC)
        escape = render.escape_for(destination.capabilities, destination.format) if destination else None
        if settings.templates is None:
            text = write_text(part.group, settings.language, settings.timezone, at, self.pages)
            return escape(text) if escape else text
        name = part.options.template or (destination.template if destination else None)
        text, problem = render_or_explain(settings.templates, name, part.group, part.target, at, self.pages, escape)
        if problem:
            self.metrics.suppressed.labels("template").inc()
            log.error("a template failed", template=name, target=part.target, error=problem)
        return text

    def _write_silence_link(self, part: RoutedGroup, destination: Destination | None, now: float) -> str:
        """The line that leads to where this can be silenced, for those who can type no command; else empty."""
        if self.pages is None or destination is None or destination.capabilities.hears:
            return ""
        firing = [alert for alert in worst_first(part.group.alerts) if alert.status is not AlertStatus.RESOLVED]
        keys = [key for alert in firing if not alert.is_test and (key := identify(alert))]
        if not keys:
            return ""
        phrase = "links.silence" if len(firing) <= MAX_ALERTS_PER_LINK else "links.silence_worst"
        words = say(phrase, self.settings.language, n=MAX_ALERTS_PER_LINK)
        return f"{SILENCE_MARK} {words} {self.pages.silence(keys, part.target, now)}"

    def recompose(self, kind: NotificationKind, content: Any, target: str, note: str) -> list[Body]:
        """Say what a stored notification says for another target, with a note above it; empty where nothing is kept."""
        destination, language = self.settings.targets.get(target), self.settings.language
        if destination is None or content is None:
            return []
        if kind is NotificationKind.ALERT:
            group = serialization.group_from_json(content)
            text = self._text(RoutedGroup(target, RouteOptions(), group), destination, self.clock())
            return render.build_bodies(text, group, destination.capabilities, language, note, format=destination.format)
        if kind is NotificationKind.DIGEST:
            text = Digest.from_json(content).text(language, self.settings.timezone)
            whole = "\n".join(part for part in (note, text) if part)
            return [Text(part) for part in split_message(whole, destination.capabilities, language)]
        return render.recompose_text(content, destination, language, note)

    # ------------------------------------------------ what is pushed as it is

    async def push(self, to: Sequence[str], bodies: Sequence[Any], priority: Priority = Priority.ALERT) -> Accepted:
        """Store bodies for targets as they are; texts are split to the target's limit.

        Raises:
            BadBody: a target is unknown, or wants to be told by an alert whom it means.
            StorageError: it could not be stored.
        """
        targets = self.settings.targets
        unknown = [name for name in to if name not in targets]
        if unknown:
            raise BadBody(f"There is no target {unknown[0]!r}; there are {', '.join(sorted(targets)) or 'none'}.")
        if for_alerts := [name for name in to if targets[name].recipients(()) is not None]:
            is_open = targets[for_alerts[0]].is_from_request
            whom = "to the robot that a sender names in its address" if is_open else "to those whom an alert names"
            raise BadBody(f"The target {for_alerts[0]!r} sends {whom}, and this is no alert.")
        if self.database is not None and not self.database.is_in_touch():
            raise StorageError("this bridge was stopped, or cut off from its database, until now")
        language, now = self.settings.language, self.clock()

        def named(body: Any, destination: Destination) -> Any:
            if not isinstance(body, Text) or not body.mentions:
                return body
            return replace(body, mentions=tuple(map(destination.known_as, self._resolve_names(body.mentions, now))))

        return await self.sink.put(
            [
                render.make_notification(
                    "push", name, [named(body, targets[name]) for body in bodies], targets[name], language, priority
                )
                for name in dict.fromkeys(to)
            ]
        )


def _share_key(part: AlertGroup, whole: AlertGroup) -> str:
    """What tells a part of a group from the others that go to the same target, told in other ways or later."""
    if len(part.alerts) == len(whole.alerts):
        return ""
    keys = "".join(store.alert_key(part, alert) for alert in part.alerts)
    return hashlib.blake2b(keys.encode(), digest_size=8).hexdigest()


def _is_logged(part: RoutedGroup) -> bool:
    """Tell whether the notification log remembers that all of a part was told."""
    group = part.group
    return bool(part.options.repeat_interval and group.alerts and all(alert.fingerprint for alert in group.alerts))


def _priority(group: AlertGroup) -> Priority:
    is_critical = any(severity_of(alert) is Severity.CRITICAL for alert in group.alerts)
    return Priority.CRITICAL if is_critical else Priority.ALERT
