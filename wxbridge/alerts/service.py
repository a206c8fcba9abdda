"""What the chat, the console, the API and the hooks ask of alerts: taking them in, what fires, silences, acks.

Everything is structured: texts for people are made by those who ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Self

from wxbridge.alerts import history, notification_log, routing, silences, store
from wxbridge.alerts.firing import FiringAlert, FiringOverview, merge_firing, of_posted
from wxbridge.alerts.history import Episode
from wxbridge.alerts.intake import name_severity, prepare_group
from wxbridge.alerts.kept_silences import (
    KeptSilence,
    SilenceMade,
    SilenceOverview,
    SilenceRequest,
    join_silences,
    moment_of,
)
from wxbridge.alerts.known_alerts import KnownAlerts
from wxbridge.alerts.links import AlertPages, SilenceLink
from wxbridge.alerts.listing import ListedAlert, read_legacy_rules, read_listing
from wxbridge.alerts.pictures import AlertPictureOptions, choose_pictures
from wxbridge.alerts.pipeline import AlertPipeline, AlertSettings, AlertState
from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.store import SeenAlert
from wxbridge.config.routes import PICTURE_WAYS
from wxbridge.config.schema import Config
from wxbridge.config.types import WebSource
from wxbridge.core.chunks import in_chunks
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody
from wxbridge.core.http import ApiError
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Alert,
    AlertGroup,
    Body,
    Notification,
    NotificationKind,
    NotificationSink,
    PictureSpec,
    Priority,
)
from wxbridge.core.schema import ensure_secret, read_fact
from wxbridge.monitors.alertmanager import Alertmanager, GettableSilence
from wxbridge.monitors.grafana_alerts import ALERTMANAGER_PATH, GrafanaAlerts
from wxbridge.monitors.patience import PatientQuestion

MAX_FIRING_LISTED = 10_000
"""Of what was posted here: how many alerts that fire are looked through."""
_LINK_KEY = "alerts:link_key"
"""The fact that holds what signs links which silence."""
_HTTP_NOT_FOUND = 404
"""What a Grafana answers whose alerting is of the other kind, or none: nothing of it fires, and nothing is missing."""


@dataclass(frozen=True)
class AlertMonitors:
    """The monitors that are asked what fires, beside what they have posted; one for a configuration."""

    alertmanager: Alertmanager | None = None
    grafana: GrafanaAlerts | None = None

    @cached_property
    def alerts_of(self) -> Mapping[str, PatientQuestion[list[ListedAlert]]]:
        """What fires at each, by its name."""
        return {
            name: PatientQuestion(partial(_list_alerts, server, name), f"{server.address.server} has not answered yet")
            for name, server in self._by_name.items()
        }

    @cached_property
    def silences_of(self) -> Mapping[str, PatientQuestion[list[GettableSilence]]]:
        """The silences of each, by its name."""
        return {
            name: PatientQuestion(server.list_silences, f"{server.address.server} has not answered yet")
            for name, server in self._by_name.items()
        }

    @property
    def _by_name(self) -> Mapping[str, Alertmanager]:
        found: dict[str, Alertmanager | None] = {"alertmanager": self.alertmanager, "grafana": self.grafana}
        return {name: server for name, server in found.items() if server is not None}

    @classmethod
    def of(cls, config: Config) -> Self:
        """Make clients of those that are configured. Nothing is asked yet."""
        return cls.of_sources(config.alertmanager, config.grafana)

    @classmethod
    def of_sources(cls, alertmanager: WebSource | None, grafana: WebSource | None) -> Self:
        """Make clients of what is configured. An Alertmanager that is Grafana's own counts as Grafana.

        What is given for it then counts: the token that may silence.
        """
        if alertmanager and grafana and alertmanager.url == grafana.url + ALERTMANAGER_PATH:
            grafana, alertmanager = alertmanager.model_copy(update={"url": grafana.url}), None
        return cls(Alertmanager(alertmanager) if alertmanager else None, GrafanaAlerts(grafana) if grafana else None)

    async def close(self) -> None:
        """Let go of their connections."""
        for name in self._by_name:
            self.alerts_of[name].close()
            self.silences_of[name].close()
        async with AsyncExitStack() as stack:
            for monitor in (self.alertmanager, self.grafana):
                if monitor is not None:
                    stack.push_async_callback(monitor.close)


class AlertService:
    """Takes alerts in, and tells and changes what is known of them. One for as long as a bridge runs.

    Args:
        database: Where alerts, silences and acks are kept.
        sink: Where notifications are put.
        settings: What the configuration says; `configure` exchanges it.
        monitors: Who is asked besides; they are closed by `close`.
        state: What is remembered; `load` reads it from the database.
        metrics: Counts what a target is not told, and pictures that a storm left out.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        sink: NotificationSink,
        settings: AlertSettings | None = None,
        *,
        monitors: AlertMonitors | None = None,
        state: AlertState | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.clock = clock
        self._sink = sink
        self._metrics = metrics or Metrics()
        self._monitors = monitors or AlertMonitors()
        self._retired: list[AlertMonitors] = []
        self._pipeline = self._make_pipeline(settings or AlertSettings(), state or AlertState())

    def _make_pipeline(self, settings: AlertSettings, state: AlertState) -> AlertPipeline:
        return AlertPipeline(
            settings, self._sink, state, clock=self.clock, database=self.database, metrics=self._metrics,
            grafana=self._monitors.grafana,
        )  # fmt: skip

    # ------------------------------------------------ its life

    @property
    def settings(self) -> AlertSettings:
        """What the present configuration says of alerts."""
        return self._pipeline.settings

    @property
    def pages(self) -> AlertPages | None:
        """The bridge's own pages about alerts; None where people do not reach them."""
        return self._pipeline.pages

    @property
    def state(self) -> AlertState:
        """What is remembered from one configuration to the next."""
        return self._pipeline.state

    def configure(self, settings: AlertSettings, monitors: AlertMonitors) -> None:
        """Go on with another configuration; what is being taken in is taken in by the old one.

        The monitors of the old one are closed by `close_retired`.
        """
        self._retired.append(self._monitors)
        self._monitors = monitors
        self._pipeline = self._make_pipeline(settings, self.state)

    async def load(self) -> None:
        """Read what is remembered, at a start. Raises `StorageError`."""
        state = AlertState(
            log=await self.database.read(notification_log.load),
            known=await self.database.read(partial(KnownAlerts.load, now=self.clock())),
            link_key=await self._load_link_key(),
        )
        self._pipeline = self._make_pipeline(self.settings, state)
        await self.reload_silences()

    async def _load_link_key(self) -> bytes:
        """Read what signs links, or make it."""
        found = await self.database.read(lambda c: read_fact(c, _LINK_KEY))
        if found is None:
            found = await self.database.run(lambda c: ensure_secret(c, _LINK_KEY, self.clock()))
        return bytes.fromhex(found)

    async def renew(self, keys: Collection[str]) -> set[str]:
        """Read again what another bridge has written of some alerts (`*`: of all), and the silences.

        What is just being taken in here stays as it is: it is returned, to be read again once it is stored.

        Raises:
            StorageError: the database could not be read; nothing has changed.
        """
        before = self.state
        if "*" in keys:
            await self.load()
            return before.list_under_way()
        later: set[str] = set()
        if keys:
            known, entries = await self.database.read(
                lambda c: (KnownAlerts.read(c, keys), notification_log.read_entries(c, keys))
            )
            later = before.list_under_way() & set(keys)
            idle = set(keys) - later
            before.known.renew(idle, known)
            before.log.renew(idle, [entry for entry in entries if entry.key in idle])
        await self.reload_silences()
        return later

    async def reload_silences(self) -> None:
        """Read again what another process may have changed. Raises `StorageError`."""
        await self.database.read(lambda c: self.state.silences.reload(c, now=self.clock()))

    async def shift_times(self, by: float) -> None:
        """Go on after the clock was set back by so many seconds (on: negative). Raises `StorageError`."""
        await self.database.run(lambda c: store.shift_times(c, by))
        self.state.known.shift_times(by)

    async def close_retired(self) -> None:
        """Let go of the connections of earlier configurations, once nobody uses them any more."""
        while self._retired:
            await self._retired.pop().close()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.close_retired()
        await self._monitors.close()

    # ------------------------------------------------ taking in

    async def accept(
        self, source: str, body: bytes, headers: Mapping[str, str], to: Sequence[str] = (), instance: str = ""
    ) -> Accepted:
        """Store what a POST says for its targets; `to` overrides the routes, and `instance` names its sender.

        Raises:
            BadBody: the body cannot be read.
            StorageError: it could not be stored; the sender should try again.
        """
        return await self._pipeline.accept(source, body, headers, to, instance)

    async def accept_group(self, group: AlertGroup, to: Sequence[str] = ()) -> Accepted:
        """Store what a group says that was read elsewhere; `to` overrides the routes. Raises `StorageError`."""
        return await self._pipeline.accept_group(
            group.source, prepare_group(group, severities=self.settings.severities), to
        )

    async def push(self, to: Sequence[str], bodies: Sequence[Body], priority: Priority = Priority.ALERT) -> Accepted:
        """Store bodies for targets as they are; texts are split to the target's limit.

        Raises:
            BadBody: a target is unknown, or wants to be told by an alert whom it means.
            StorageError: it could not be stored.
        """
        return await self._pipeline.push(to, bodies, priority)

    async def notify_again(self, group: AlertGroup, target: str, options: RouteOptions) -> None:
        """Notify a target of what still fires, or was held back. Raises `StorageError`."""
        await self._pipeline.notify_again(group, target, options)

    def held_by(self, group: AlertGroup, alert: Alert | None, options: RouteOptions, now: float) -> str | None:
        """Say why an alert (None for free text) may not be told now, in a few words; None where it may."""
        return self._pipeline.held_by(group, alert, options, now)

    def route_again(self, content: Any) -> list[Notification]:
        """Compose a stored alert that found no target by the routes of now; empty where it still finds none."""
        return self._pipeline.route_again(content)

    def recompose(self, kind: NotificationKind, content: Any, target: str, note: str) -> list[Body]:
        """Say what a stored notification says for another target, with a note above it; empty where nothing is kept."""
        return self._pipeline.recompose(kind, content, target, note)

    # ------------------------------------------------ what fires

    async def list_firing(self) -> list[SeenAlert]:
        """List the alerts that fire by what was posted here, with the silence that holds each back.

        Of more than `MAX_FIRING_LISTED` those that were mentioned last.

        Raises:
            StorageError: the database could not be read.
        """
        now, find = self.clock(), self.state.silences.find
        found = []
        # Some at a time: in between others have the database, and the event loop.
        for keys in in_chunks(await self.database.read(partial(store.list_firing_keys, limit=MAX_FIRING_LISTED))):
            for each in await self.database.read(partial(store.read_firing, keys=keys)):
                silence = find(routing.labels_of(each.group, each.alert), now)
                found.append(replace(each, silenced_by=silence.id) if silence else each)
        return found

    def read_silence_link(self, link: str) -> SilenceLink | None:
        """Read the last part of the address of a page that silences, good or no longer; None where it is not ours."""
        pages = self.pages
        return pages.read(link, self.settings.targets) if pages else None

    async def find_posted(self, short_keys: Sequence[str]) -> list[FiringAlert]:
        """Find what was posted here, by what short links say of the keys; also what is over. Raises `StorageError`."""
        return [posted for each in await self.list_seen(short_keys) if (posted := of_posted(each)) is not None]

    async def list_seen(self, short_keys: Sequence[str]) -> list[SeenAlert]:
        """List what was posted of alerts last, by what short links say of their keys. Raises `StorageError`."""
        return await self.database.read(lambda c: store.find_by_short_keys(c, short_keys))

    async def list_episodes(self, keys: Sequence[str], *, limit: int) -> list[Episode]:
        """List when an alert fired, by its keys, the last at the top. Raises `StorageError`."""
        return await self.database.read(lambda c: history.list_episodes(c, keys, limit=limit))

    def find_silence(self, labels: Mapping[str, str]) -> Silence | None:
        """Find the bridge's own silence that holds labels back now (`FiringAlert.labels`)."""
        return self.state.silences.find(labels, self.clock())

    async def count_firing(self) -> int:
        """Count what was posted here and fires. Raises `StorageError`."""
        return await self.database.read(store.count_firing)

    async def read_change_mark(self) -> Hashable:
        """Read something that changes whenever alerts, silences or acks do. Raises `StorageError`."""
        return await self.database.read(store.read_change_mark)

    async def overview(self, patience: float | None = None) -> FiringOverview:
        """Ask all who know, at once, what fires; a server that does not answer is told of in `missing`.

        With `patience`, a server that takes longer than so many seconds is told of as it answered last.

        Raises:
            StorageError: the bridge's own database could not be read.
        """
        missing: dict[str, str] = {}

        async def ask(name: str, question: PatientQuestion[list[ListedAlert]] | None) -> list[ListedAlert] | None:
            try:
                listed = await question.answer(patience) if question else None
                words = self.settings.severities
                return listed and [replace(each, alert=name_severity(each.alert, words)) for each in listed]
            except ApiError as error:
                if not (name == "Grafana" and error.status == _HTTP_NOT_FOUND):
                    missing[name] = str(error)
                return None

        theirs, grafanas, own, acks = await asyncio.gather(
            ask("Alertmanager", self._monitors.alerts_of.get("alertmanager")),
            ask("Grafana", self._monitors.alerts_of.get("grafana")),
            self.list_firing(),
            self.database.read(store.read_acks),
        )
        # Of thousands it takes as long as the event loop must not be held up.
        merged = await asyncio.to_thread(merge_firing, theirs, grafanas, own, acks)
        left_out = await self.count_firing() - len(own) if len(own) >= MAX_FIRING_LISTED else 0
        return FiringOverview(merged, missing, max(0, left_out))

    async def acknowledge(self, keys: Sequence[str], by: str, comment: str = "") -> None:
        """Note who looks after an alert, by its keys; it is not repeated until it resolves. Raises `StorageError`."""
        await self.database.run(lambda c: store.add_acks(c, keys, by=by, comment=comment, now=self.clock()))

    def preview_picture(self, each: FiringAlert, settings: AlertPictureOptions, at: datetime) -> PictureSpec | None:
        """Tell which picture an alert would bring; nobody is asked."""
        # What was posted says more than what is listed.
        alert = each.posted or each.alert
        group = AlertGroup(alert.source, "", alert.title, (alert,))
        return choose_pictures(group, PICTURE_WAYS, at, settings).alerts[0].picture

    # ------------------------------------------------ silences

    async def list_own_silences(self) -> list[Silence]:
        """List the bridge's own silences that are not over. Raises `StorageError`."""
        return await self.database.read(lambda c: silences.list_silences(c, now=self.clock()))

    async def list_silences(self, patience: float | None = None) -> SilenceOverview:
        """List the silences of the bridge, of Alertmanager and of Grafana; what one request made is one.

        `patience` is as for `overview`.

        Of Grafana nobody is told where it does not answer: what fires is asked there too, and tells so.

        Raises:
            StorageError: the database could not be read.
        """
        missing: dict[str, str] = {}

        async def ask(name: str) -> Sequence[GettableSilence]:
            question = self._monitors.silences_of.get(name.lower())
            try:
                return await question.answer(patience) if question else ()
            except ApiError as error:
                if name != "Grafana":
                    missing[name] = str(error)
                return ()

        own, theirs, grafanas = await asyncio.gather(
            self.list_own_silences(),
            ask("Alertmanager"),
            ask("Grafana"),
        )
        return SilenceOverview(join_silences(own, theirs, grafanas), missing)

    async def silence(self, request: SilenceRequest) -> SilenceMade:
        """Keep a silence here, and in Alertmanager and Grafana where the request says so.

        Raises:
            BadBody: it would be over before it begins, or silence everything.
            StorageError: it could not be stored.
        """
        starts_at, ends_at, now = request.starts_at, request.ends_at, self.clock()
        try:
            # Ours first: it refuses what Alertmanager would, and is what counts here.
            made = await self.database.run(
                lambda c: silences.add(
                    c, request.matchers, starts_at=starts_at, ends_at=ends_at,
                    created_by=request.created_by, comment=request.comment, now=now, ends_with=request.ends_with,
                )
            )  # fmt: skip
        except ValueError as error:
            raise BadBody(f"{error}.") from None
        await self.reload_silences()
        monitors, ids, problems = self._monitors, [], {}
        for name, server in (
            ("Alertmanager", monitors.alertmanager if request.in_alertmanager else None),
            ("Grafana", monitors.grafana if request.in_grafana else None),
        ):
            begin, end, by, comment = moment_of(starts_at), moment_of(ends_at), request.created_by, request.comment
            try:
                ids += [await server.add_silence(request.matchers, begin, end, by, comment)] if server else []
            except ApiError as error:
                # A Grafana of legacy alerting has no silences.
                if not (name == "Grafana" and error.status == _HTTP_NOT_FOUND):
                    problems[name] = str(error)
        return SilenceMade(made, tuple(ids), problems)

    async def unsilence(self, silence: KeptSilence) -> bool:
        """End a silence now, wherever it is kept; False where it was over already.

        Raises:
            ApiError: Alertmanager or Grafana did not end it, and nothing has changed here.
            StorageError: the database did not take it.
        """
        # There first: where it fails, it goes on holding here, and the error says so.
        ended = [
            await server.expire_silence(one)
            for server, some in (
                (self._monitors.alertmanager, silence.ids_in_alertmanager),
                (self._monitors.grafana, silence.ids_in_grafana),
            )
            for one in some
            if server
        ]
        ended += [await self.unsilence_here(one) for one in silence.ids_here]
        return any(ended)

    async def unsilence_here(self, silence_id: str) -> bool:
        """End one of the bridge's own silences; False where there is none of that id that is not over.

        Raises:
            StorageError: the database did not take it.
        """
        done = await self.database.run(lambda c: silences.expire(c, silence_id, now=self.clock()))
        await self.reload_silences()
        return done


async def _list_alerts(server: Alertmanager, source: str) -> list[ListedAlert]:
    """List what fires at a server; in a Grafana without an Alertmanager, the rules of its legacy alerting."""
    try:
        return await read_listing(await server.list_alerts(), source)
    except ApiError as error:
        if not isinstance(server, GrafanaAlerts) or error.status != _HTTP_NOT_FOUND:
            raise
        return read_legacy_rules(await server.list_legacy_rules())
