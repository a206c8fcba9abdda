"""When alerts come faster than a target's pace lets them leave: what waits is merged into one digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from wxbridge.alerts.digest import Digest
from wxbridge.config.types import Pace
from wxbridge.core.model import Notification, NotificationKind, Priority, WindowedChannel
from wxbridge.delivery.context import DeliveryContext, Lane
from wxbridge.delivery.outbox_statements import MergeableNotification, Replacement

log = structlog.get_logger()

MIN_ALERTS_PER_DIGEST = 3
"""How many waiting alerts make a digest worth reading."""
ALERTS_TOLD_SINGLY = 3
"""How many of a storm that is merged for its count are told singly first."""
MESSAGES_PER_ALERT = 4
"""A text and its pictures: how far is counted for `digest_count`."""
MAX_MESSAGES_PER_MERGE = 400
"""How many messages are merged in one transaction, so that alerts are taken in between; the next joins its digest."""
MAX_MESSAGES_PER_LOOK = 20_000
MAX_MESSAGES_COUNTED = 1_000_000


async def merge_storms(context: DeliveryContext, lane: Lane) -> None:
    """Merge alerts that would take longer than `digest_after`, and those of which `digest_count` wait for a chat.

    Where a channel may send little, also those that are more than it has to spare.
    """
    singly = lane.channel.count_singly() if isinstance(lane.channel, WindowedChannel) else None
    if singly is None and not lane.pacer.counts:
        return
    waiting: dict[str, int] = {}
    in_chat: Counter[str] = Counter()
    for name, target in lane.targets.items():
        limit = max(_count_limit(lane, name, context.clock.monotonic()), target.digest_count * MESSAGES_PER_ALERT)
        counts = await context.outbox.count_mergeable(name, limit=limit)
        waiting[name] = counts.messages
        in_chat[lane.chats[name]] += counts.notifications
    # The largest first: where all share the channel's pace, its digest may be all the relief that the others need.
    for name in sorted(waiting, key=lambda name: -waiting[name]):
        target, count = lane.targets[name], waiting[name]
        others = sum(waiting.values()) - count
        takes = lane.pacer.estimate(lane.chats[name], count, context.clock.monotonic(), others=others)
        is_scarce = singly is not None and count > singly
        is_paced = lane.pacer.counts and target.pace != Pace()
        if not target.digest_after or count < MIN_ALERTS_PER_DIGEST or not (is_scarce or is_paced):
            continue
        is_late = is_scarce or takes > target.digest_after
        if is_late or in_chat[lane.chats[name]] >= target.digest_count:
            merged = await _merge_all(context, lane, name, singly=0 if is_late else ALERTS_TOLD_SINGLY)
            waiting[name] = max(1, count - merged)
            _report_merged(context, name, merged)


async def _merge_all(context: DeliveryContext, lane: Lane, target: str, *, singly: int) -> int:
    compose = partial(_compose, context, lane, target, singly)
    merged = 0
    while merged < MAX_MESSAGES_PER_LOOK:
        now = context.clock.wall()
        count = await context.outbox.merge(target, compose, now=now, limit=MAX_MESSAGES_PER_MERGE)
        merged += count
        if count < MAX_MESSAGES_PER_MERGE:
            break
    return merged


def _count_limit(lane: Lane, name: str, now: float) -> int:
    """Find a count that takes longer than `digest_after`: nobody needs to count further."""
    count, patience = MIN_ALERTS_PER_DIGEST, lane.targets[name].digest_after or 0
    while count < MAX_MESSAGES_COUNTED and lane.pacer.estimate(lane.chats[name], count, now) <= patience:
        count *= 2
    return count


def _report_merged(context: DeliveryContext, name: str, merged: int) -> None:
    if merged:
        context.metrics.messages.labels(name, "merged").inc(merged)
        log.warning("a storm: waiting alerts are merged into a digest", target=name, messages=merged)
        context.outbox.wake()


def _compose(
    context: DeliveryContext, lane: Lane, target: str, singly: int, waiting: Sequence[MergeableNotification]
) -> list[Replacement]:
    """Compose the digest that takes the place of what waits; one for each person where the alerts say who is meant.

    What a fallback took over has one for each target that it came from, so that it can go back there; where that would
    be too few, it is among the rest. The first `singly` alerts are left alone.
    """
    left = _without_first(waiting, singly)
    counts = Counter((each.recipient, each.came_from) for each in left)
    have_one = {(each.recipient, each.came_from) for each in left if each.kind is NotificationKind.DIGEST}
    chosen: dict[tuple[str | None, tuple[str, ...]], list[MergeableNotification]] = {}
    for each in left:
        key = (each.recipient, each.came_from)
        is_enough = counts[key] >= MIN_ALERTS_PER_DIGEST or key in have_one
        some = each if is_enough else replace(each, origin=None, came_from=())
        chosen.setdefault(key if is_enough else (each.recipient, ()), []).append(some)
    composed = [_digest(context, lane, target, some) for some in chosen.values() if len(some) >= MIN_ALERTS_PER_DIGEST]
    return [each for each in composed if each.notification.bodies]


def _without_first(waiting: Sequence[MergeableNotification], count: int) -> list[MergeableNotification]:
    """Leave out the first alerts; where a digest waits, only what came before all that is in it is among them."""
    digest = next((each for each in waiting if each.kind is NotificationKind.DIGEST), None)
    alerts = [each for each in waiting if each.kind is not NotificationKind.DIGEST]
    first = [each for each in alerts if digest is None or each.created_at <= digest.created_at][:count]
    return [each for each in waiting if each not in first]


def _digest(context: DeliveryContext, lane: Lane, target: str, chosen: Sequence[MergeableNotification]) -> Replacement:
    digest = Digest()
    for each in chosen:
        digest.add(each.kind, each.content, at=each.created_at)
    content = digest.as_json()
    notification = Notification(
        source="digest",
        target=target,
        bodies=tuple(context.composer.recompose(NotificationKind.DIGEST, content, target, "")),
        priority=Priority(min(each.priority for each in chosen)),
        kind=NotificationKind.DIGEST,
        content=content,
        expires_after=lane.targets[target].expires_after,
        recipient=chosen[0].recipient,
        origin=chosen[0].origin,
    )
    return Replacement(
        notification,
        tuple(message_id for each in chosen for message_id in each.message_ids),
        "merged into a digest",
        # It takes the age of the oldest, so that a storm that never ends is still handed to the fallback in time.
        created_at=min(each.created_at for each in chosen),
    )
