"""Tells again what still fires, and tells what was held back once its silence or muted time is over.

One service of the bridge. It goes by the database and by the present configuration, so that both a restart and a
changed route hold; after a long downtime each alert is told once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from wxbridge.alerts import acknowledgements, history, notification_log, routing, silences
from wxbridge.alerts.muting import MuteSettings, held_by
from wxbridge.alerts.notification_log import LogEntry, NotificationLog, PendingAlert, SeenAlert
from wxbridge.alerts.routing import RouteOptions
from wxbridge.alerts.silences import SilenceSet
from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.model import AlertGroup, AlertStatus

log = structlog.get_logger()

LOOK_EVERY = 5.0
"""Seconds between two looks."""
_TIDY_EVERY = 720
"""Looks."""
AT_ONCE = 500
"""How many alerts one look deals with."""
STALE_AFTER = 7 * 86400.0
"""Seconds. Some monitors speak only when something changes: an alert is believed to fire for long, but not for ever."""

TellAgain = Callable[[AlertGroup, str, RouteOptions], Awaitable[None]]
"""Store alerts for a target, not as anybody's retry. Raises `StorageError`. A target that is gone is passed over."""


@dataclass(frozen=True)
class _Due:
    """Something that was looked at: what goes to its target if it is to be told, and what becomes of its row."""

    row: LogEntry
    alert: SeenAlert
    sighting: PendingAlert | None
    """None where it is not to be told by the present routes."""


class Reminders:
    """The service. `rules` is asked at every look, so that it follows a reloaded configuration."""

    def __init__(
        self,
        database: Database,
        ledger: NotificationLog,
        silences: SilenceSet,
        *,
        rules: Callable[[], MuteSettings],
        tell_again: TellAgain,
        stale_after: float = STALE_AFTER,
        keep: Callable[[], float] = lambda: STALE_AFTER,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._ledger = ledger
        self._silences = silences
        self._rules = rules
        self._tell_again = tell_again
        self._stale_after = stale_after
        self._keep = keep
        self._clock = clock

    async def run(self) -> None:
        """Look every few seconds until cancelled, and forget what is old from time to time."""
        looks = 0
        while True:
            try:
                await self.look()
                if looks % _TIDY_EVERY == 0:
                    await self.tidy()
                looks += 1
            except StorageError as error:
                log.error("cannot look after what is to be told again", error=str(error))  # noqa: TRY400
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> int:
        """Tell what is due. Returns how many alerts were told, counted for each target.

        Raises:
            StorageError: the database could not be read, or did not take it; what is left is due at the next look.
        """
        now = self._clock()
        found = await self._database.read(lambda c: notification_log.list_due(c, now=now, limit=AT_ONCE))
        acked = (
            await self._database.read(lambda c: acknowledgements.of(c, {row.key for row, _ in found})) if found else {}
        )
        quiet: dict[notification_log.LogKey, LogEntry | None] = {}
        groups: dict[tuple[str, RouteOptions, str, str, str], list[_Due]] = {}
        for stored_row, alert in found:
            place = (stored_row.key, stored_row.target)
            row = self._ledger.known(*place)
            if row != stored_row:
                # Something newer is just being stored; or it is no longer known, and the row is to go.
                if row is None:
                    quiet[place] = None
                continue
            due = self._due(row, alert, now) if alert else None
            if due is None or due.sighting is None:
                quiet[place] = None
            elif self._is_stale(due, now):
                quiet[place] = replace(row, due_at=None)
            elif row.held is None and row.key in acked and acked[row.key].holds(_start(due.alert)):
                # It counts as told, so that the monitor's own repeats are not told either.
                quiet[place] = replace(row, told_at=now, due_at=now + (due.sighting.telling.repeat_interval or 0.0))
            else:
                group = due.alert.group
                # Alerts of one group go together; a free text is one of its own.
                which = group.group_key if due.alert.alert else row.key
                key = (row.target, due.sighting.telling, group.source, which, group.title)
                groups.setdefault(key, []).append(due)
        if quiet:
            await self._store(self._ledger.change(quiet))
        return sum([await self._tell(dues, now) for dues in groups.values()])

    async def tidy(self) -> None:
        """Forget alerts that ended, or were not heard of, longer ago than what is kept; episodes and silences too.

        Raises:
            StorageError: the database did not take it.
        """
        before = self._clock() - self._keep()
        unheard = self._clock() - max(self._keep(), self._stale_after)
        keys: list[str] = [""]
        while keys:  # in bites, so that alerts are taken in between
            keys = await self._database.run(
                lambda c: notification_log.prune(c, resolved_before=before, unheard_before=unheard)
            )
            self._ledger.forget(keys)
        while await self._database.run(lambda c: history.prune(c, before=before)):
            pass
        await self._database.run(lambda c: silences.prune(c, before=before))
        await self._database.run(lambda c: acknowledgements.prune(c, before=unheard))

    def _due(self, row: LogEntry, alert: SeenAlert, now: float) -> _Due:
        """Decide anew, by the routes of today, how a target is told of an alert."""
        rules = self._rules()
        labels = routing.labels_of(alert.group, alert.alert)
        telling: RouteOptions | None = RouteOptions() if row.direct else None
        for decision in () if row.direct else routing.find_targets(rules.routes, labels) or ():
            if decision.target == row.target:
                telling = decision.telling
        if telling is None or not (row.held or telling.repeat_interval):
            return _Due(row, alert, None)
        held = held_by(rules, self._silences, labels, telling, now)
        made = notification_log.pending_alert(
            alert.group, alert.alert, row.target, telling, held=held, direct=row.direct
        )
        return _Due(row, alert, replace(made, key=row.key))

    def _is_stale(self, due: _Due, now: float) -> bool:
        # What was held back was never told: that is done once, however old it is.
        fires = due.alert.alert is not None and due.alert.alert.status is not AlertStatus.RESOLVED
        return fires and due.row.held is None and due.alert.updated_at < now - self._stale_after

    async def _tell(self, dues: Sequence[_Due], now: float) -> int:
        """Tell of alerts of one group together, then note that they are known; a crash in between tells twice."""
        plan = self._ledger.weigh([due.sighting for due in dues if due.sighting], now)
        telling = [due for due, tell in zip(dues, plan.tell, strict=True) if tell]
        try:
            if telling:
                first = telling[0]
                alerts = tuple(due.alert.alert for due in telling if due.alert.alert)
                await self._tell_again(
                    replace(first.alert.group, alerts=alerts),
                    first.row.target,
                    first.sighting.telling if first.sighting else RouteOptions(),
                )
        except StorageError:
            self._ledger.undo(plan)
            raise
        except Exception:
            self._ledger.undo(plan)
            log.exception("could not be told again", to=dues[0].row.target)
            later = {
                (due.row.key, due.row.target): replace(due.row, due_at=now + notification_log.HELD_AGAIN)
                for due in dues
            }
            await self._store(self._ledger.change(later))
            return 0
        await self._store(plan)
        if telling:
            log.info("told again", to=telling[0].row.target, alerts=len(telling), held=telling[0].row.held)
        return len(telling)

    async def _store(self, plan: notification_log.Selection) -> None:
        gone = [key for (key, _), row in plan.changes.items() if row is None]

        def store(connection: Connection) -> None:
            notification_log.store_entries(connection, plan.changes)
            notification_log.forget_held(connection, gone)

        try:
            await self._database.run(store)
        except StorageError:
            self._ledger.undo(plan)
            raise


def _start(alert: SeenAlert) -> datetime | None:
    return alert.alert.starts_at if alert.alert else None
