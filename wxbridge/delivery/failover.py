"""When a target cannot be reached: its fallback takes over, once, in words composed for the fallback's limits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge.core.model import Body, Message, MessageState, Notification, NotificationKind, Picture, Priority, Text
from wxbridge.core.text import splitting
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery import failure_reports, outbox
from wxbridge.delivery.common import Lane, Shared
from wxbridge.delivery.outbox import Stored

log = structlog.get_logger()


async def take_over(shared: Shared, message: Message, reason: str) -> bool:
    """Have the fallback take over a message that was refused for good. False where there is none."""
    note = say("delivery.refused", shared.language, target=message.target, reason=reason)
    return await _hand_over(shared, message.notification_id, message.target, note, reason, refused=message.id)


class Watch:
    """Hands over what has waited longer than its target's `failover_after`, and tells what was given up."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._places: dict[str, tuple[float, int]] = {}
        """Where the last look at a target ended, so that what nobody can take over hides nothing behind it."""

    async def look(self, lane: Lane, *, now: float) -> None:
        """Look at the targets of a channel; call it every second or so."""
        shared = self._shared
        for name, target in lane.targets.items():
            if not target.fallback:
                continue
            before, after = now - target.failover_after, self._places.pop(name, (0.0, 0))
            overdue, place = await shared.database.read(
                partial(outbox.overdue, target=name, created_before=before, after=after)
            )
            if place:
                self._places[name] = place
            waited = format_duration(target.failover_after, shared.language)
            note = say("delivery.unreachable", shared.language, target=name, time=waited)
            for notification_id in overdue:
                await _hand_over(shared, notification_id, name, note, f"waited longer than {target.failover_after:g} s")
        await failure_reports.tell_noted(shared)


async def _hand_over(
    shared: Shared, notification_id: int, target: str, note: str, reason: str, *, refused: int | None = None
) -> bool:
    """Exchange what is left of a notification for a new one at the fallback, in one transaction.

    Nothing happens while a part of it is being sent: its outcome decides. `refused` is the part that was.
    """
    choices = _choices(shared, target)
    now = shared.clock.wall()

    def exchange(connection: Connection) -> tuple[str, int] | None:
        stored = outbox.stored(connection, notification_id)
        choice = next((each for each in choices if stored and each[1] not in stored.visited), None)
        left = _left(stored, refused) if stored else []
        if stored is None or choice is None or not left:
            return None
        lane, name = choice
        words = _mark(shared, stored, left) + note
        notification = Notification(
            source=stored.source,
            target=name,
            bodies=tuple(_bodies(shared, stored, left, lane, name, words)),
            priority=Priority(min(message.priority for message in left)),
            kind=stored.kind,
            content=stored.content,
            expires_after=lane.targets[name].expires_after,
            origin=notification_id,
        )
        ids = [message.id for message in left]
        outbox.close_all(connection, ids, MessageState.FAILED_OVER, now=now, error=f"{name} took over: {reason}")
        outbox.put(connection, [notification], now=now)
        return name, len(ids)

    done = await shared.store(exchange) if choices else None
    if done is None:
        return False
    fallback, count = done
    shared.metrics.messages.labels(target, "failed_over").inc(count)
    log.warning("the fallback takes over", target=target, fallback=fallback, messages=count, reason=reason)
    shared.wake()
    return True


def _left(stored: Stored, refused: int | None) -> list[Message]:
    """What is still to be sent of a notification; nothing while a part is under way whose outcome is open."""
    left = [message for message in stored.messages if message.state is MessageState.QUEUED or message.id == refused]
    under_way = any(m.state is MessageState.SENDING and m.id != refused for m in stored.messages)
    return [] if under_way else left


def _mark(shared: Shared, stored: Stored, left: Sequence[Message]) -> str:
    """The mark of a possible repeat, where what is handed over may have been sent; it stays with what was marked."""
    mark = say("delivery.repeat", shared.language)
    came_marked = len(stored.visited) > 1 and any(
        isinstance(message.body, Text) and mark in message.body.text for message in stored.messages
    )
    return mark if came_marked or any(message.maybe_sent for message in left) else ""


def _choices(shared: Shared, target: str) -> list[tuple[Lane, str]]:
    """The fallbacks of a target, those that are up first."""
    lane = shared.lane_of(target)
    names = lane.targets[target].fallback if lane else ()
    choices = [(its, name) for name in names if (its := shared.lane_of(name))]
    return sorted(choices, key=lambda choice: not choice[0].online)


def _bodies(shared: Shared, stored: Stored, left: Sequence[Message], lane: Lane, name: str, note: str) -> list[Body]:
    """The notification in other words; only what is left of it where a part was sent already."""
    if len(left) == len(stored.messages):
        bodies = _recomposed(shared, stored, name, note)
        if bodies and stored.kind is NotificationKind.OTHER:
            return [*bodies, *(message.body for message in left if isinstance(message.body, Picture))]
        if bodies:
            # Pictures that are drawn already need not be drawn again.
            drawn = {repr(m.body.spec): m.body for m in left if isinstance(m.body, Picture) and m.body.file}
            return [drawn.get(repr(body.spec), body) if isinstance(body, Picture) else body for body in bodies]
    texts = [message.body.text for message in left if isinstance(message.body, Text)]
    parts = splitting.split_message("\n".join([note, *texts]), lane.channel.capabilities, shared.language)
    pictures = [message.body for message in left if isinstance(message.body, Picture)]
    return [*map(Text, parts), *pictures]


def _recomposed(shared: Shared, stored: Stored, name: str, note: str) -> Sequence[Body]:
    """The notification composed afresh; nothing where that fails, for then its texts are handed over as they are."""
    try:
        return shared.recompose(stored.kind, stored.content, name, note)
    except Exception:
        log.exception("a notification cannot be composed again", notification=stored.id)
        return ()
