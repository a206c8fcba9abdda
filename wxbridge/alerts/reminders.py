"""Notifies again of what still fires, and of what was held back once its silence or muted time is over.

One service of the bridge. It goes by the database and by the present configuration, so that both a restart and a
changed route hold; after a long downtime each alert is told once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge.alerts import history, notification_log, routing, silences, store
from wxbridge.alerts.known_alerts import OWN_SILENCE_SECONDS
from wxbridge.alerts.notification_log import LogEntry, LogKey, PendingAlert, Selection
from wxbridge.alerts.routing import AskedTarget, RouteOptions
from wxbridge.alerts.service import AlertService
from wxbridge.alerts.store import SeenAlert
from wxbridge.core.bites import work_in_bites
from wxbridge.core.errors import StorageError
from wxbridge.core.model import Alert, AlertStatus

log = structlog.get_logger()

LOOK_EVERY_SECONDS = 5.0
_TIDY_EVERY_LOOKS = 12
MAX_ALERTS_PER_LOOK = 500


@dataclass(frozen=True)
class _DueAlert:
    """Something that was looked at: what is known of it, and how its target is told if it is to be."""

    entry: LogEntry
    alert: SeenAlert
    pending: PendingAlert


class Reminders:
    """The service. It asks for the present settings at every look, so that it follows a reloaded configuration."""

    def __init__(self, alerts: AlertService) -> None:
        self._alerts = alerts
        self._database = alerts.database
        self._looked_at = alerts.clock()

    async def run(self) -> None:
        """Look every few seconds until cancelled, and forget what is old from time to time."""
        looks = 0
        while True:
            try:
                await self.look()
                if looks % _TIDY_EVERY_LOOKS == 0:
                    await self.tidy()
                looks += 1
            except StorageError as error:
                log.error("cannot look after what is to be told again", error=str(error))  # noqa: TRY400
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def look(self) -> int:
        """Notify of what is due. Returns how many alerts were told, counted for each target.

        Raises:
            StorageError: the database could not be read, or did not take it; what is left is due at the next look.
        """
        now, memory = self._alerts.clock(), self._alerts.state.log
        before, self._looked_at = self._looked_at, now
        found = await self._database.read(lambda c: notification_log.list_due(c, now=now, limit=MAX_ALERTS_PER_LOOK))
        keys = {entry.key for entry, _ in found}
        acked = await self._database.read(lambda c: store.read_acks(c, keys)) if found else {}
        quiet: dict[LogKey, LogEntry | None] = {}
        groups: dict[tuple[str, RouteOptions, str, str, str], list[_DueAlert]] = {}
        for stored, alert in found:
            place = (stored.key, stored.target)
            entry = memory.find(*place)
            if entry != stored:
                # Something newer is just being stored; or it is no longer known, and the row is to go.
                if entry is None:
                    quiet[place] = None
                continue
            due = self._decide(entry, alert, now) if alert else None
            if due is None:
                quiet[place] = None
            elif alert and alert.is_over and entry.held is None:
                # What was held back was never told: that is done once, however old it is.
                quiet[place] = replace(entry, due_at=None)
            elif entry.held is None and entry.key in acked and acked[entry.key].holds(due.alert.starts_at):
                # It counts as told, so that the monitor's own repeats are not told either.
                quiet[place] = replace(entry, told_at=now, due_at=now + (due.pending.options.repeat_interval or 0.0))
            else:
                group = due.alert.group
                # Alerts of one group go together; a free text is one of its own.
                which = group.group_key if due.alert.alert else entry.key
                groups.setdefault((entry.target, due.pending.options, group.source, which, group.title), []).append(due)
        if quiet:
            await self._store(memory.change(quiet))
        told = sum([await self._notify(dues, now) for dues in groups.values()])
        # What was due before it was over is told. By the time of the last look: the clock may have been set a moment
        # ago, and the stored times not be mended yet.
        await self._end_unheard(min(before, now))
        return told

    async def tidy(self) -> None:
        """Forget alerts that ended, or were not heard of, longer ago than what is kept; episodes and silences too.

        Raises:
            StorageError: the database did not take it.
        """
        now, keep = self._alerts.clock(), self._alerts.settings.keep
        before, unheard = now - keep, now - max(keep, OWN_SILENCE_SECONDS)
        forget = partial(store.prune_alerts, resolved_before=before, unheard_before=unheard)
        async for forgotten in work_in_bites(self._database, forget):
            self._alerts.state.log.forget(forgotten.done)
            self._alerts.state.known.forget(forgotten.done)
        self._alerts.state.known.forget_ended(now)
        async for _ in work_in_bites(self._database, partial(history.prune, before=before)):
            pass
        await self._database.run(lambda c: silences.prune(c, before=before))
        await self._database.run(lambda c: store.prune_acks(c, before=unheard))

    def _decide(self, entry: LogEntry, alert: SeenAlert, now: float) -> _DueAlert | None:
        """Decide anew, by the routes of today, how a target is told of an alert; None where it is not."""
        options: RouteOptions | None = RouteOptions() if entry.direct else None
        if not entry.direct:
            labels = routing.labels_of(alert.group, alert.alert)
            for found in routing.find_targets(self._alerts.settings.routes, labels) or ():
                if found.target == entry.target:
                    options = found.options
        if options is None or not (entry.held or options.repeat_interval):
            return None
        held = self._alerts.held_by(alert.group, alert.alert, options, now)
        pending = notification_log.pending_alert(
            alert.group, alert.alert, entry.target, options, held=held, direct=entry.direct
        )
        return _DueAlert(entry, alert, replace(pending, key=entry.key))

    async def _end_unheard(self, now: float) -> None:
        """End what its sender has been silent of for too long."""
        while await self._database.read(lambda c: store.has_unheard(c, now=now)):
            keys = await self._database.run(lambda c: store.end_unheard(c, now=now))
            self._alerts.state.known.end(keys)
            self._alerts.state.silences.end_with(keys)
            log.info("taken to be over: their senders have been silent", alerts=len(keys))

    async def _notify(self, dues: Sequence[_DueAlert], now: float) -> int:
        """Notify of alerts of one group together, then note that they are known; a crash in between tells twice."""
        memory = self._alerts.state.log
        selection = memory.select_due([due.pending for due in dues], now)
        chosen = [due for due, is_due in zip(dues, selection.due, strict=True) if is_due]
        try:
            if chosen:
                first = chosen[0]
                alerts = tuple(_told_again(due.alert.alert, due.entry) for due in chosen if due.alert.alert)
                group = replace(first.alert.group, alerts=alerts)
                await self._alerts.notify_again(group, first.entry.target, first.pending.options)
        except StorageError:
            memory.undo(selection)
            raise
        except Exception:
            memory.undo(selection)
            log.exception("could not be told again", to=AskedTarget.read(dues[0].entry.target).name)
            later = {
                (due.entry.key, due.entry.target): replace(due.entry, due_at=now + notification_log.HELD_AGAIN_SECONDS)
                for due in dues
            }
            await self._store(memory.change(later))
            return 0
        await self._store(selection)
        if chosen:
            name = AskedTarget.read(chosen[0].entry.target).name
            log.info("told again", to=name, alerts=len(chosen), held=chosen[0].entry.held)
        return len(chosen)

    async def _store(self, selection: Selection) -> None:
        gone = [key for (key, _), entry in selection.changes.items() if entry is None]

        def store_changes(connection: Connection) -> None:
            notification_log.store_entries(connection, selection.changes)
            notification_log.forget_held(connection, gone)

        try:
            await self._database.run(store_changes)
        except StorageError:
            self._alerts.state.log.undo(selection)
            raise


def _told_again(alert: Alert, entry: LogEntry) -> Alert:
    """What was held back is told for the first time."""
    is_reminder = entry.held is None and alert.status is not AlertStatus.RESOLVED
    return replace(alert, is_reminder=True) if is_reminder else alert
