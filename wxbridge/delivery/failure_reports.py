"""Tells the person in charge what was given up: at once, then together, and also where the bridge was killed between.

What died is noted in the database until it was told, one small fact for each message. A crash between telling and
forgetting the note tells a line twice; none is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.core.errors import StorageError
from wxbridge.core.model import Message, MessageState, NotificationKind
from wxbridge.core.schema import facts, read_facts, remember_fact
from wxbridge.core.text.i18n import say
from wxbridge.delivery import outbox
from wxbridge.delivery.common import Shared

log = structlog.get_logger()

OURS = "wxbridge"
"""The source of what the bridge says of itself."""
TOLD_ONE_BY_ONE = 3
GATHER = 60.0
"""Seconds after a line about a target in which what else died there is gathered for the next."""
_DEAD = "dead:"
"""Facts about messages that are still to be told, by message."""
_TOLD = "told dead:"
"""When the last line about a target was told, by target."""
_CHUNK = 500


def note_dead(connection: Connection, message: Message, reason: str, *, now: float) -> None:
    """Note that a message was given up; in the transaction that settles it, so that no crash comes between.

    Not where the message was itself such a line: where nobody can be told, telling of that would never end.
    """
    stored = outbox.stored(connection, message.notification_id)
    if stored and stored.source == OURS and stored.kind is NotificationKind.OTHER:
        log.error("a line for the person in charge could not be delivered", message=message.id, target=message.target)
        return
    about = {"target": message.target, "error": reason, "expired": message.state is MessageState.EXPIRED}
    remember_fact(connection, f"{_DEAD}{message.id}", about, now)


async def tell_now(shared: Shared) -> None:
    """`tell_noted`, where the next look tells it if this cannot."""
    try:
        await tell_noted(shared)
    except StorageError as error:  # it is noted: the next look tells it
        log.warning("what was given up cannot be told now", error=str(error))


async def tell_noted(shared: Shared) -> None:
    """Tell what is noted, target by target; call it every second or so. Raises `StorageError`."""
    if not await shared.database.read(partial(read_facts, prefix=_DEAD)):
        return
    now = shared.clock.wall()
    for target, dead in (await shared.database.run(partial(_due, now=now))).items():
        for line in _lines(shared, target, dead):
            await shared.tell(line, target)
        await shared.store(partial(_forget, ids=list(dead)))


def _due(connection: Connection, now: float) -> dict[str, dict[int, Any]]:
    """What is to be told now: by target, and by message. From now on its target counts as told."""
    dead: dict[str, dict[int, Any]] = {}
    for message_id, (about, _) in read_facts(connection, _DEAD).items():
        dead.setdefault(about["target"], {})[int(message_id)] = about
    told = read_facts(connection, _TOLD)
    # A clock that was set must not make anybody wait for an hour.
    due = {target: dead[target] for target in dead if abs(now - told.get(target, (None, 0.0))[1]) >= GATHER}
    for target in due:
        remember_fact(connection, f"{_TOLD}{target}", {}, now)
    return {target: dict(sorted(each.items())) for target, each in due.items()}


def _lines(shared: Shared, target: str, dead: dict[int, Any]) -> list[str]:
    """Each message where they are few, else how many, with the first and its error."""
    language = shared.language
    each = [
        say("delivery.dead", language, id=message_id, target=target, error=about["error"])
        for message_id, about in dead.items()
    ]
    if len(each) <= TOLD_ONE_BY_ONE:
        return each
    if all(about["expired"] for about in dead.values()):
        return [say("delivery.many_expired", language, target=target, n=len(dead), first=next(iter(dead)))]
    return [f"{each[0]}\n{say('text.more', language, n=len(each) - 1)}"]


def _forget(connection: Connection, ids: Sequence[int]) -> None:
    for start in range(0, len(ids), _CHUNK):
        keys = [f"{_DEAD}{message_id}" for message_id in ids[start : start + _CHUNK]]
        connection.execute(sa.delete(facts).where(facts.c.key.in_(keys)))
