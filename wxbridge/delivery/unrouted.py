"""Alerts that found no target wait, and are routed again by the next configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import structlog
from sqlalchemy import Connection

from wxbridge.alerts.pipeline import NOBODY
from wxbridge.alerts.service import AlertService
from wxbridge.core.errors import StorageError
from wxbridge.core.model import MessageState, NotificationKind
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_statements import close_messages

log = structlog.get_logger()

MAX_MESSAGES_AT_ONCE = 1000


@dataclass(frozen=True)
class RoutedAgain:
    """The messages in whose place others are stored, in one transaction with those (`StoredAlong`)."""

    message_ids: tuple[int, ...]

    @classmethod
    def store_all(cls, connection: Connection, parts: Sequence[Self], *, now: float) -> None:
        """Close the messages."""
        ids = [message_id for part in parts for message_id in part.message_ids]
        close_messages(connection, ids, MessageState.FAILED_OVER, now=now, error="routed again")


async def route_waiting_again(outbox: Outbox, alerts: AlertService) -> int:
    """Route what waits for somebody by the configuration in use; gives how many alerts found somebody.

    Raises nothing: what cannot be routed or stored waits on.
    """
    found = 0
    try:
        waiting = await outbox.list_messages(states=[MessageState.QUEUED], target=NOBODY, limit=MAX_MESSAGES_AT_ONCE)
        for number in sorted({message.notification_id for message in waiting}):
            stored = await outbox.find_notification(number)
            if stored is None or stored.kind is not NotificationKind.ALERT or stored.content is None:
                continue
            ids = tuple(message.id for message in stored.messages if message.state is MessageState.QUEUED)
            if items := alerts.route_again(stored.content):
                await outbox.put(items, also=RoutedAgain(ids))
                found += 1
    except StorageError as error:
        log.warning("alerts that wait for a target cannot be routed now", error=str(error))
    except Exception:
        log.exception("an alert that waits for a target cannot be routed")
    if found:
        log.info("alerts that found no target are routed again", alerts=found)
    return found
