"""The notes of what was given up and is still to be told: a fact for each message, kept until somebody was told of it.

The functions take a connection and run in a transaction of the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.core.model import Message, MessageState, NotificationKind
from wxbridge.core.schema import facts, forget_facts, notifications, read_facts, remember_fact

log = structlog.get_logger()

OWN_SOURCE = "wxbridge"
"""The source of what the bridge says of itself."""
GATHER_SECONDS = 60.0
"""After a line about a target, what else dies there is gathered for so long for the next."""
_DEAD = "dead:"
"""Facts about messages that are still to be told, by message."""
_TOLD = "told dead:"
"""When the last line about a target was told, by target."""
MISSING_PICTURES_PAUSE_SECONDS = 3600.0
"""Between two lines of why pictures are missing, of the same cause."""
MAX_MISSING_CAUSES = 10
"""Of one such pause that are told; more are logged only."""
_MISSING = "told missing pictures:"
"""When it was told why pictures are missing, by cause."""


@dataclass(frozen=True)
class FailureNote:
    """A message that was given up, and why."""

    message_id: int
    error: str
    is_expired: bool


def note_failure(connection: Connection, message: Message, error: str, *, now: float) -> None:
    """Note that a message was given up; in the transaction that settles it, so that no crash comes between.

    Not where the message was itself such a line: where nobody can be told, telling of that would never end.
    """
    query = sa.select(notifications.c.source, notifications.c.kind).where(notifications.c.id == message.notification_id)
    stored = connection.execute(query).first()
    if stored and stored.source == OWN_SOURCE and stored.kind == NotificationKind.OTHER:
        log.error("a line for the person in charge could not be delivered", message=message.id, target=message.target)
        return
    about = {"target": message.target, "error": error, "expired": message.state is MessageState.EXPIRED}
    remember_fact(connection, f"{_DEAD}{message.id}", about, now)


def has_notes(connection: Connection) -> bool:
    """Tell whether anything is still to be told."""
    query = sa.select(facts.c.key).where(facts.c.key.startswith(_DEAD, autoescape=True))
    return connection.execute(query.limit(1)).first() is not None


def take_due(connection: Connection, *, now: float) -> Mapping[str, Sequence[FailureNote]]:
    """Select what is to be told now, by target, in order of messages. From now on its target counts as told."""
    notes: dict[str, list[FailureNote]] = {}
    for message_id, (about, _) in read_facts(connection, _DEAD).items():
        note = FailureNote(int(message_id), about["error"], about["expired"])
        notes.setdefault(about["target"], []).append(note)
    told: Mapping[str, tuple[Any, float]] = read_facts(connection, _TOLD)
    # A clock that was set must not make anybody wait for an hour.
    due = [target for target in notes if abs(now - told.get(target, (None, 0.0))[1]) >= GATHER_SECONDS]
    for target in due:
        remember_fact(connection, f"{_TOLD}{target}", {}, now)
    return {target: sorted(notes[target], key=lambda note: note.message_id) for target in due}


def forget(connection: Connection, message_ids: Sequence[int]) -> None:
    """Forget what was told."""
    forget_facts(connection, (f"{_DEAD}{message_id}" for message_id in message_ids))


def note_missing_cause(connection: Connection, cause: str, *, now: float) -> bool:
    """Note why a picture is missing; tell whether somebody is to be told now. From now on it counts as told."""
    causes: Mapping[str, tuple[Any, float]] = read_facts(connection, _MISSING)
    # A clock that was set must not make anybody wait for longer.
    old = [each for each, (_, at) in causes.items() if abs(now - at) >= MISSING_PICTURES_PAUSE_SECONDS]
    forget_facts(connection, [f"{_MISSING}{each}" for each in old])
    if cause in causes.keys() - set(old) or len(causes) - len(old) >= MAX_MISSING_CAUSES:
        return False
    remember_fact(connection, f"{_MISSING}{cause}", {}, now)
    return True
