"""When a target cannot be reached: its fallback takes over, once, in words composed for the fallback's limits."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from wxbridge.core.model import Body, Message, MessageState, Notification, NotificationKind, Picture, Priority, Text
from wxbridge.core.text import splitting
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery import failure_reports
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox_queries import OverduePlace
from wxbridge.delivery.outbox_rows import StoredNotification
from wxbridge.delivery.outbox_statements import Replacement

log = structlog.get_logger()


async def hand_over_refused(context: DeliveryContext, message: Message, reason: str) -> bool:
    """Have the fallback take over a message that was refused for good. False where there is none."""
    note = say("delivery.refused", context.language, target=message.target, reason=reason)
    return await _hand_over(context, message.notification_id, message.target, note, reason, refused=message.id)


class FailoverWatch:
    """Hands over what has waited longer than its target's `failover_after`, and tells what was given up."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._places: dict[str, OverduePlace] = {}
        """Where the last look at a target ended, so that what nobody can take over hides nothing behind it."""

    async def look(self, lane: Lane, *, now: float) -> None:
        """Look at the targets of a channel; call it every second or so."""
        context = self._context
        for name, target in lane.targets.items():
            if not target.fallback:
                continue
            before, after = now - target.failover_after, self._places.pop(name, (0.0, 0))
            overdue = await context.outbox.select_overdue(name, created_before=before, after=after)
            if overdue.next_place:
                self._places[name] = overdue.next_place
            waited = format_duration(target.failover_after, context.language)
            note = say("delivery.unreachable", context.language, target=name, time=waited)
            for notification_id in overdue.ids:
                await _hand_over(
                    context, notification_id, name, note, f"waited longer than {target.failover_after:g} s"
                )
        await failure_reports.report_failures(context)


async def _hand_over(
    context: DeliveryContext, notification_id: int, target: str, note: str, reason: str, *, refused: int | None = None
) -> bool:
    """Exchange what is left of a notification for a new one at the fallback, in one transaction.

    Nothing happens while a part of it is being sent: its outcome decides. `refused` is the message that was.
    """
    choices = _choices(context, target)
    now = context.clock.wall()

    def compose(stored: StoredNotification) -> Replacement | None:
        choice = next((each for each in choices if each[1] not in stored.visited), None)
        left = _select_left(stored, refused)
        if choice is None or not left:
            return None
        lane, name = choice
        words = _mark(context, stored, left) + note
        notification = Notification(
            source=stored.source,
            target=name,
            bodies=tuple(_bodies(context, stored, left, lane, name, words)),
            priority=Priority(min(message.priority for message in left)),
            kind=stored.kind,
            content=stored.content,
            expires_after=lane.targets[name].expires_after,
            origin=notification_id,
        )
        return Replacement(notification, tuple(message.id for message in left), f"{name} took over: {reason}")

    outbox = context.outbox
    done = await context.insist(outbox.hand_over, notification_id, compose, now=now) if choices else None
    if done is None:
        return False
    fallback, count = done.notification.target, len(done.message_ids)
    context.metrics.messages.labels(target, "failed_over").inc(count)
    log.warning("the fallback takes over", target=target, fallback=fallback, messages=count, reason=reason)
    outbox.wake()
    return True


def _select_left(stored: StoredNotification, refused: int | None) -> list[Message]:
    """Select what is still to be sent of a notification; nothing while a part is under way whose outcome is open."""
    left = [message for message in stored.messages if message.state is MessageState.QUEUED or message.id == refused]
    under_way = any(m.state is MessageState.SENDING and m.id != refused for m in stored.messages)
    return [] if under_way else left


def _mark(context: DeliveryContext, stored: StoredNotification, left: Sequence[Message]) -> str:
    """The mark of a possible repeat, where what is handed over may have been sent; it stays with what was marked."""
    mark = say("delivery.repeat", context.language)
    came_marked = len(stored.visited) > 1 and any(
        isinstance(message.body, Text) and mark in message.body.text for message in stored.messages
    )
    return mark if came_marked or any(message.maybe_sent for message in left) else ""


def _choices(context: DeliveryContext, target: str) -> list[tuple[Lane, str]]:
    """The fallbacks of a target, those that are up first."""
    lane = context.lane_of(target)
    names = lane.targets[target].fallback if lane else ()
    choices = [(its, name) for name in names if (its := context.lane_of(name))]
    return sorted(choices, key=lambda choice: not choice[0].is_up(choice[1]))


def _bodies(
    context: DeliveryContext, stored: StoredNotification, left: Sequence[Message], lane: Lane, name: str, note: str
) -> list[Body]:
    """The notification in other words; only what is left of it where a part was sent already."""
    if len(left) == len(stored.messages):
        bodies = _recomposed(context, stored, name, note)
        if bodies and stored.kind is NotificationKind.OTHER:
            return [*bodies, *(message.body for message in left if isinstance(message.body, Picture))]
        if bodies:
            # Pictures that are drawn already need not be drawn again.
            drawn = {repr(m.body.spec): m.body for m in left if isinstance(m.body, Picture) and m.body.file}
            return [drawn.get(repr(body.spec), body) if isinstance(body, Picture) else body for body in bodies]
    texts = [message.body.text for message in left if isinstance(message.body, Text)]
    parts = splitting.split_message("\n".join([note, *texts]), lane.channel.capabilities, context.language)
    pictures = [message.body for message in left if isinstance(message.body, Picture)]
    return [*map(Text, parts), *pictures]


def _recomposed(context: DeliveryContext, stored: StoredNotification, name: str, note: str) -> Sequence[Body]:
    """The notification composed afresh; nothing where that fails, for then its texts are handed over as they are."""
    try:
        return context.composer.recompose(stored.kind, stored.content, name, note)
    except Exception:
        log.exception("a notification cannot be composed again", notification=stored.id)
        return ()
