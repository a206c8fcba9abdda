"""What is known of alerts, as people and programs ask for it: what fires, and what is silenced."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from wxbridge.alerts import acknowledgements as acks
from wxbridge.alerts import notification_log, routing, silences
from wxbridge.alerts.acknowledgements import Ack
from wxbridge.alerts.notification_log import SeenAlert
from wxbridge.alerts.pipeline import AlertState
from wxbridge.alerts.silences import Silence
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody
from wxbridge.core.matchers import parse_matchers


class Board:
    """Reads and changes what the database holds of alerts, and keeps the bridge's memory in step."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.memory = AlertState()

    async def load(self) -> None:
        """Read everything, at a start. Raises `StorageError`."""
        self.memory = AlertState(await self._database.read(notification_log.load))
        await self.read_again()

    async def read_again(self) -> None:
        """Read again what others may have changed. Raises `StorageError`."""
        await self._database.read(lambda c: self.memory.silences.reload(c, now=time.time()))

    async def silences(self) -> list[Mapping[str, Any]]:
        """The silences that are not over, as plain JSON. Raises `StorageError`."""
        now = time.time()
        return [_silence(each, now) for each in await self._database.read(lambda c: silences.list_silences(c, now=now))]

    async def add_silence(
        self, matchers: Sequence[str], starts_at: float, ends_at: float, by: str, comment: str
    ) -> Mapping[str, Any]:
        """Keep a silence; times in seconds since the epoch.

        Raises:
            BadBody: a matcher is none, or they would silence everything.
            StorageError: it could not be stored.
        """
        now = time.time()
        try:
            parsed = parse_matchers(list(matchers))
            made = await self._database.run(
                lambda c: silences.add(
                    c, parsed, starts_at=starts_at, ends_at=ends_at, created_by=by, comment=comment, now=now
                )
            )
        except ValueError as error:
            raise BadBody(f"{error}.") from None
        await self.read_again()
        return _silence(made, now)

    async def expire_silence(self, silence_id: str) -> bool:
        """End a silence now; False where there is none of that id that is not over. Raises `StorageError`."""
        done = await self._database.run(lambda c: silences.expire(c, silence_id, now=time.time()))
        await self.read_again()
        return done

    async def firing(self) -> list[Mapping[str, Any]]:
        """The alerts that fire now, as plain JSON. Raises `StorageError`."""
        now = time.time()
        return [self._alert(each, now) for each in await self._database.read(notification_log.list_firing)]

    async def acks(self) -> Mapping[str, Ack]:
        """Who looks after which alert, by key. Raises `StorageError`."""
        return await self._database.read(acks.of)

    async def ack(self, keys: Sequence[str], by: str, comment: str) -> None:
        """Note who looks after an alert, by its keys; it is not repeated until it resolves. Raises `StorageError`."""
        await self._database.run(lambda c: acks.add(c, keys, by=by, comment=comment, now=time.time()))

    def _alert(self, each: SeenAlert, now: float) -> Mapping[str, Any]:
        alert = each.alert
        assert alert is not None, "free text does not fire"  # noqa: S101 - `notification_log.list_firing` leaves it out
        silence = self.memory.silences.by(routing.labels_of(each.group, alert), now)
        return {
            "key": each.key,
            "source": alert.source,
            "status": alert.status.value,
            "title": alert.title,
            "labels": dict(alert.labels),
            "annotations": dict(alert.annotations),
            "starts_at": alert.starts_at.isoformat() if alert.starts_at else None,
            "first_seen": _moment(each.first_seen),
            "updated_at": _moment(each.updated_at),
            "link": alert.link,
            "silenced_by": silence.id if silence else None,
        }


def _silence(each: Silence, now: float) -> Mapping[str, Any]:
    return {
        "id": each.id,
        "state": each.state(now),
        "matchers": [str(matcher) for matcher in each.matchers],
        "starts_at": _moment(each.starts_at),
        "ends_at": _moment(each.ends_at),
        "created_at": _moment(each.created_at),
        "created_by": each.created_by,
        "comment": each.comment,
    }


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
