"""When alerts come faster than a target's pace lets them leave: what waits is merged into one digest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge.alerts.digest import Digest
from wxbridge.config.types import TargetSettings
from wxbridge.core.model import MessageState, Notification, NotificationKind, Priority
from wxbridge.delivery import outbox
from wxbridge.delivery.common import Lane, Shared
from wxbridge.delivery.outbox import Mergeable

log = structlog.get_logger()

AT_LEAST = 3
"""How many waiting alerts make a digest worth reading."""
BITE = 400
"""How many messages are merged in one transaction, so that alerts are taken in between; the next joins its digest."""
_AT_ONCE = 20_000
_COUNT_NO_FURTHER = 1_000_000


async def look(shared: Shared, lane: Lane) -> None:
    """Merge the alerts that wait for targets whose backlog would take longer than `digest_after`."""
    if not lane.pacer.counts:
        return
    waiting: dict[str, int] = {}
    for name, target in lane.targets.items():
        limit = _enough(lane, target, shared.clock.monotonic())
        waiting[name] = await shared.database.read(partial(outbox.count_mergeable, target=name, limit=limit))
    # The largest first: where all share the channel's pace, its digest may be all the relief that the others need.
    for name in sorted(waiting, key=lambda name: -waiting[name]):
        target, count = lane.targets[name], waiting[name]
        others = sum(waiting.values()) - count
        takes = lane.pacer.estimate(target.chat_key(), count, shared.clock.monotonic(), others=others)
        if target.digest_after and count >= AT_LEAST and takes > target.digest_after:
            merged = await _merge_all(shared, lane, name)
            waiting[name] = max(1, count - merged)
            _tell_merged(shared, name, merged)


async def _merge_all(shared: Shared, lane: Lane, target: str) -> int:
    merged = bite = await shared.database.run(partial(_merge, shared=shared, lane=lane, target=target))
    while bite >= BITE and merged < _AT_ONCE:
        bite = await shared.database.run(partial(_merge, shared=shared, lane=lane, target=target))
        merged += bite
    return merged


def _enough(lane: Lane, target: TargetSettings, now: float) -> int:
    """A count that takes longer than `digest_after`: nobody needs to count further."""
    count = AT_LEAST
    while count < _COUNT_NO_FURTHER and lane.pacer.estimate(target.chat_key(), count, now) <= (
        target.digest_after or 0
    ):
        count *= 2
    return count


def _tell_merged(shared: Shared, name: str, merged: int) -> None:
    if merged:
        shared.metrics.messages.labels(name, "merged").inc(merged)
        log.warning("a storm: waiting alerts are merged into a digest", target=name, messages=merged)
        shared.wake()


def _merge(connection: Connection, shared: Shared, lane: Lane, target: str) -> int:
    """In one transaction: the waiting notifications are closed as merged, and one digest takes their place.

    Where the alerts say who is meant, one for each of those.
    """
    chosen: dict[str | None, list[Mergeable]] = {}
    for each in outbox.mergeable(connection, target, limit=BITE):
        chosen.setdefault(each.recipient, []).append(each)
    return sum([_merge_for(connection, shared, lane, target, some) for some in chosen.values()])


def _merge_for(connection: Connection, shared: Shared, lane: Lane, target: str, chosen: Sequence[Mergeable]) -> int:
    if len(chosen) < AT_LEAST:
        return 0
    now = shared.clock.wall()
    digest = Digest()
    for each in chosen:
        digest.add(each.kind, each.content, at=each.created_at)
    content = digest.as_json()
    bodies = tuple(shared.recompose(NotificationKind.DIGEST, content, target, ""))
    if not bodies:
        return 0
    ids = [message_id for each in chosen for message_id in each.message_ids]
    merged = outbox.close_all(connection, ids, MessageState.MERGED, now=now, error="merged into a digest")
    settings = lane.targets[target]
    notification = Notification(
        source="digest",
        target=target,
        bodies=bodies,
        priority=Priority(min(each.priority for each in chosen)),
        kind=NotificationKind.DIGEST,
        content=content,
        expires_after=settings.expires_after,
        recipient=chosen[0].recipient,
    )
    # It takes the age of the oldest, so that a storm that never ends is still handed to the fallback in time.
    outbox.put(connection, [notification], now=now, created_at=min(each.created_at for each in chosen))
    return merged
