"""When a target cannot be reached: its fallback takes over, once, in words composed for the fallback's limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge import compose, outbox
from wxbridge.delivery.common import Lane, Shared
from wxbridge.model import Body, Message, MessageState, Notification, Picture, Priority, Text
from wxbridge.outbox import Stored

log = structlog.get_logger()


async def tell_dead(shared: Shared, message: Message, reason: str) -> None:
    """Tell the person in charge that a message was given up."""
    line = compose.say("dead", shared.language, id=message.id, target=message.target, error=reason)
    await shared.tell(line, message.target)


async def take_over(shared: Shared, message: Message, reason: str) -> bool:
    """Have the fallback take over a message that was refused for good. False where there is none."""
    note = compose.say("refused", shared.language, target=message.target, reason=reason)
    return await _hand_over(shared, message.notification_id, message.target, note, reason, refused=message.id)


async def look(shared: Shared, lane: Lane) -> None:
    """Hand over what has waited longer than its target's `failover_after`."""
    now = shared.clock.wall()
    for name, target in lane.targets.items():
        if not target.fallback:
            continue
        before = now - target.failover_after
        overdue = await shared.database.read(partial(outbox.overdue, target=name, created_before=before))
        for notification_id in overdue:
            waited = compose.duration(max(60.0, target.failover_after), shared.language)
            note = compose.say("unreachable", shared.language, target=name, time=waited)
            await _hand_over(shared, notification_id, name, note, f"waited longer than {target.failover_after:g} s")


async def _hand_over(
    shared: Shared, notification_id: int, target: str, note: str, reason: str, *, refused: int | None = None
) -> bool:
    """Exchange what is left of a notification for a new one at the fallback, in one transaction.

    Nothing happens while a part of it is being sent: its outcome decides. `refused` is the part that was.
    """
    stored = await shared.database.read(lambda c: outbox.stored(c, notification_id))
    choice = _choose(shared, target, visited=stored.visited) if stored else None
    if stored is None or choice is None:
        return False
    lane, name = choice
    left = _left(stored, refused)
    if not left:
        return False
    notification = Notification(
        source=stored.source,
        target=name,
        bodies=tuple(_bodies(shared, stored, left, lane, name, note)),
        priority=Priority(min(message.priority for message in left)),
        kind=stored.kind,
        content=stored.content,
        expires_after=lane.targets[name].expires_after,
        origin=notification_id,
    )
    ids = [message.id for message in left]
    now = shared.clock.wall()

    def exchange(connection: Connection) -> bool:
        fresh = outbox.stored(connection, notification_id)
        if fresh is None or [message.id for message in _left(fresh, refused)] != ids:
            return False
        error = f"{name} took over: {reason}"
        outbox.close_all(connection, ids, MessageState.FAILED_OVER, now=now, error=error)
        outbox.put(connection, [notification], now=now)
        return True

    if not await shared.store(exchange):
        return False
    for _ in ids:
        shared.count(target, "failed_over")
    log.warning("the fallback takes over", target=target, fallback=name, messages=len(ids), reason=reason)
    shared.wake()
    return True


def _left(stored: Stored, refused: int | None) -> list[Message]:
    """What is still to be sent of a notification; nothing while a part is under way whose outcome is open."""
    left = [message for message in stored.messages if message.state is MessageState.QUEUED or message.id == refused]
    under_way = any(m.state is MessageState.SENDING and m.id != refused for m in stored.messages)
    return [] if under_way else left


def _choose(shared: Shared, target: str, visited: Sequence[str]) -> tuple[Lane, str] | None:
    """The first fallback that is up and was not tried yet; the first not tried where none is up."""
    lane = shared.lane_of(target)
    names = lane.targets[target].fallback if lane else ()
    choices = [(its, name) for name in names if name not in visited and (its := shared.lane_of(name))]
    return next((choice for choice in choices if choice[0].online), choices[0] if choices else None)


def _bodies(shared: Shared, stored: Stored, left: Sequence[Message], lane: Lane, name: str, note: str) -> list[Body]:
    """The notification in other words; only what is left of it where a part was sent already."""
    if len(left) == len(stored.messages):
        bodies = shared.recompose(stored.kind, stored.content, name, note)
        if bodies:
            # Pictures that are drawn already need not be drawn again.
            drawn = {repr(m.body.spec): m.body for m in left if isinstance(m.body, Picture) and m.body.file}
            return [drawn.get(repr(body.spec), body) if isinstance(body, Picture) else body for body in bodies]
    texts = [message.body.text for message in left if isinstance(message.body, Text)]
    parts = compose.parts("\n".join([note, *texts]), lane.channel.capabilities, shared.language)
    pictures = [message.body for message in left if isinstance(message.body, Picture)]
    return [*map(Text, parts), *pictures]
