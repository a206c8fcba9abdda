"""When a target cannot be reached: its fallback takes over, once, in words composed for the fallback's limits."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from wxbridge.alerts.pipeline import NOBODY
from wxbridge.core.frozen import replace
from wxbridge.core.model import Body, Message, MessageState, NotificationKind, Picture, Text
from wxbridge.core.text import splitting
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import say
from wxbridge.core.text.units import format_duration
from wxbridge.delivery import failure_reports
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox_queries import OverduePlace
from wxbridge.delivery.outbox_rows import StoredNotification
from wxbridge.delivery.outbox_statements import WAITED_TOO_LONG, Replacement

log = structlog.get_logger()

MAX_ORPHANS_AT_ONCE = 200
"""Of the alerts that wait for a target that is gone; the others follow a minute later."""


async def hand_over_refused(context: DeliveryContext, message: Message, reason: str) -> bool:
    """Have the fallback take over a message that was refused for good. False where there is none."""
    return await _hand_over_settled(context, message, "delivery.refused", reason)


async def hand_over_unknown(context: DeliveryContext, message: Message, reason: str) -> bool:
    """Have the fallback take over, marked, what may have been sent and is not repeated. False where there is none."""
    return await _hand_over_settled(context, message, "delivery.unconfirmed", reason)


async def _hand_over_settled(context: DeliveryContext, message: Message, phrase: str, reason: str) -> bool:
    note = say(phrase, context.language, target=message.target, reason=tell_error(reason, context.language))
    return await _hand_over(context, message.notification_id, message.target, note, reason, settled=message.id)


async def hand_over_orphans(context: DeliveryContext) -> None:
    """Have the operators get alerts that wait for targets which are not configured any more, saying so.

    The oldest `MAX_ORPHANS_AT_ONCE` of each target; where nobody is in charge they wait, as all else does. Raises
    `StorageError`.
    """
    operators = [(lane, name) for name in context.operators.names if (lane := context.lane_of(name))]
    if not operators:
        return
    for target in await context.outbox.list_targets_of_alerts():
        if target == NOBODY or context.lane_of(target):
            continue
        note = say("delivery.target_gone", context.language, target=target)
        for notification_id in await context.outbox.list_waiting_alerts(target, limit=MAX_ORPHANS_AT_ONCE):
            await _hand_over(context, notification_id, target, note, "it is not configured", operators=operators)


class FailoverWatch:
    """Hands over what has waited longer than its target's `failover_after`, and tells what was given up."""

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._places: dict[str, OverduePlace] = {}
        """Where the last look at a target ended, so that what nobody can take over hides nothing behind it."""

    async def note_troubles(self, lane: Lane) -> None:
        """Note which targets cannot be reached, and take back what waits at the fallbacks of those that can again."""
        context = self._context
        for name in lane.targets:
            if not await context.troubles.look(name, is_up=lane.is_up(name)):
                continue
            fallbacks = _list_fallbacks(context, name)
            if not fallbacks:
                continue
            back = await context.outbox.take_back(name, fallbacks, now=context.clock.wall())
            back += await _take_back_digests(context, lane, name, fallbacks)
            if back:
                log.info("what the fallbacks have not sent is taken back", target=name, messages=back)
                context.outbox.wake()

    async def hand_over_unknown(self, *, now: float) -> None:
        """Hand over what may have been sent and has expired, and tell the operators. Raises `StorageError`."""
        context = self._context
        for message in await context.outbox.select_expiring_unknown(now=now):
            reason = message.error or ""
            if await hand_over_unknown(context, message, reason):
                about = {"id": message.id, "target": message.target, "error": reason}
                await context.operators.tell(say("delivery.dead", context.language, **about), message.target)

    async def look(self, lane: Lane, *, now: float) -> None:
        """Look at the targets of a channel; call it every second or so."""
        context = self._context
        for name, target in lane.targets.items():
            if not target.fallback or context.troubles.seconds(name) < target.failover_after:
                continue
            if lane.is_up(name) and lane.pacer.wait(lane.chats[name], context.clock.monotonic()):
                continue  # it waits for the pace, and its trouble may be over
            if not any(_is_healthy(context, its, fallback) for its, fallback in _choices(context, name)):
                continue
            before, after = now - target.failover_after, self._places.pop(name, (0.0, 0))
            overdue = await context.outbox.select_overdue(name, created_before=before, after=after)
            if overdue.next_place:
                self._places[name] = overdue.next_place
            waited = format_duration(target.failover_after, context.language)
            note = say("delivery.unreachable", context.language, target=name, time=waited)
            for notification_id in overdue.ids:
                reason = f"waited longer than {target.failover_after:g} s"
                await _hand_over(context, notification_id, name, note, reason)
        await failure_reports.report_failures(context)


async def _take_back_digests(context: DeliveryContext, lane: Lane, target: str, fallbacks: Sequence[str]) -> int:
    """Have a target send the digests that fallbacks made of what they took over from it and have not tried to send."""
    if lane.targets[target].recipients((), {}) is not None:
        return 0  # it is told by each alert whom it means, and a digest does not tell

    def compose(stored: StoredNotification) -> Replacement | None:
        is_untried = all(each.state is MessageState.QUEUED and not each.maybe_sent for each in stored.messages)
        is_ours = is_untried and target in stored.visited[1:]
        bodies = _recomposed(context, stored, target, _mark(context, stored, stored.messages)) if is_ours else ()
        if not bodies:
            return None
        notification = stored.readdress(target, bodies, expires_after=lane.targets[target].expires_after)
        ids = tuple(message.id for message in stored.messages)
        return Replacement(notification, ids, f"{target} is back", created_at=stored.created_at)

    found = await context.outbox.list_digests_taken_over(fallbacks)
    done = [await context.outbox.hand_over(digest, compose, now=context.clock.wall()) for digest in found]
    return sum(len(each.message_ids) for each in done if each)


async def _hand_over(
    context: DeliveryContext,
    notification_id: int,
    target: str,
    note: str,
    reason: str,
    *,
    settled: int | None = None,
    operators: Sequence[tuple[Lane, str]] = (),
) -> bool:
    """Exchange what is left of a notification for a new one at the fallback, in one transaction.

    Nothing happens while a part of it is being sent: its outcome decides. `settled` is the message that will not be
    tried again; what merely waits is handed only to a fallback that is well, or to the `operators`.
    """
    choices = operators or [
        choice for choice in _choices(context, target) if settled is not None or _is_healthy(context, *choice)
    ]
    now = context.clock.wall()

    def compose(stored: StoredNotification) -> Replacement | None:
        choice = next((each for each in choices if each[1] not in stored.visited), None)
        left = _select_left(stored, settled)
        if choice is None or not left:
            return None
        lane, name = choice
        words = _mark(context, stored, left) + note
        bodies = _bodies(context, stored, left, lane, name, words)
        expires_after = lane.targets[name].expires_after
        moved = stored.readdress(name, bodies, expires_after=expires_after, messages=left)
        notification = replace(moved, origin=notification_id)
        code = WAITED_TOO_LONG if settled is None and not operators else None
        ids = tuple(message.id for message in left)
        return Replacement(notification, ids, f"{name} took over: {reason}", code=code)

    outbox = context.outbox
    if operators:
        done = await outbox.hand_over(notification_id, compose, now=now)
    else:
        done = await context.insist(outbox.hand_over, notification_id, compose, now=now) if choices else None
    if done is None:
        return False
    doubt = context.doubts.get(target)
    if doubt and doubt.message_id in done.message_ids:
        del context.doubts[target]
    fallback, count = done.notification.target, len(done.message_ids)
    context.metrics.messages.labels(target, "failed_over").inc(count)
    log.warning("the fallback takes over", target=target, fallback=fallback, messages=count, reason=reason)
    outbox.wake()
    return True


def _select_left(stored: StoredNotification, settled: int | None) -> list[Message]:
    """Select what is still to be sent of a notification; nothing while a part is under way whose outcome is open."""
    left = [message for message in stored.messages if message.state is MessageState.QUEUED or message.id == settled]
    under_way = any(m.state is MessageState.SENDING and m.id != settled for m in stored.messages)
    return [] if under_way else left


def _mark(context: DeliveryContext, stored: StoredNotification, left: Sequence[Message]) -> str:
    """The mark of a possible repeat, where what is handed over may have been sent; it stays with what was marked."""
    mark = say("delivery.repeat", context.language)
    came_marked = len(stored.visited) > 1 and any(
        isinstance(message.body, Text) and mark in message.body.text for message in stored.messages
    )
    return mark if came_marked or any(message.maybe_sent for message in left) else ""


def _choices(context: DeliveryContext, target: str) -> list[tuple[Lane, str]]:
    """The fallbacks of a target, and theirs in turn; those that are well first."""
    choices = [(its, name) for name in _list_fallbacks(context, target) if (its := context.lane_of(name))]
    return sorted(choices, key=lambda choice: not _is_healthy(context, *choice))


def _is_healthy(context: DeliveryContext, lane: Lane, target: str) -> bool:
    return lane.is_up(target) and not context.troubles.is_failing(target)


def _list_fallbacks(context: DeliveryContext, target: str) -> list[str]:
    """List the fallbacks of a target and theirs in turn, without the target itself."""
    found: dict[str, None] = {target: None}
    left = [target]
    while left:
        lane = context.lane_of(name := left.pop(0))
        new = [each for each in (lane.targets[name].fallback if lane else ()) if each not in found]
        found |= dict.fromkeys(new)
        left += new
    return [name for name in found if name != target]


def _bodies(
    context: DeliveryContext, stored: StoredNotification, left: Sequence[Message], lane: Lane, name: str, note: str
) -> list[Body]:
    """The notification in other words; only what is left of it where a part was sent already."""
    if all(message in left or message.state is MessageState.NO_PICTURE for message in stored.messages):
        bodies = _recomposed(context, stored, name, note)
        if bodies and stored.kind is NotificationKind.OTHER:
            return [*bodies, *(message.body for message in left if isinstance(message.body, Picture))]
        if bodies:
            # Pictures that are drawn already need not be drawn again.
            drawn = {repr(m.body.spec): m.body for m in left if isinstance(m.body, Picture) and m.body.file}
            return [drawn.get(repr(body.spec), body) if isinstance(body, Picture) else body for body in bodies]
    texts = [message.body.text for message in left if isinstance(message.body, Text)]
    parts = splitting.split_message("\n".join([note, *texts]), lane.capabilities[name], context.language)
    pictures = [message.body for message in left if isinstance(message.body, Picture)]
    return [*map(Text, parts), *pictures]


def _recomposed(context: DeliveryContext, stored: StoredNotification, name: str, note: str) -> Sequence[Body]:
    """The notification composed afresh; nothing where that fails, for then its texts are handed over as they are."""
    try:
        return context.composer.recompose(stored.kind, stored.content, name, note)
    except Exception:
        log.exception("a notification cannot be composed again", notification=stored.id)
        return ()
