"""When alerts come faster than a target's pace lets them leave: what waits is merged into one digest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from wxbridge import outbox
from wxbridge.delivery.common import Lane, Shared
from wxbridge.digest import Digest
from wxbridge.model import MessageState, Notification, NotificationKind, Priority
from wxbridge.outbox import Stored

log = structlog.get_logger()

AT_LEAST = 3
"""How many waiting alerts make a digest worth reading."""


async def look(shared: Shared, lane: Lane) -> None:
    """Merge the alerts that wait for targets whose backlog would take longer than `digest_after`."""
    now = shared.clock.monotonic()
    for name, target in lane.targets.items():
        if not target.digest_after or not lane.pacer.counts:
            continue
        waiting = await shared.database.read(partial(outbox.count_mergeable, target=name))
        if waiting >= AT_LEAST and lane.pacer.estimate(target.chat_key(), waiting, now) > target.digest_after:
            merged = await shared.database.run(partial(_merge, shared=shared, lane=lane, target=name))
            for _ in range(merged):
                shared.count(name, "merged")
            log.warning("a storm: waiting alerts are merged into a digest", target=name, messages=merged)
            shared.wake()


def _merge(connection: Connection, shared: Shared, lane: Lane, target: str) -> int:
    """In one transaction: the waiting notifications are closed as merged, and one digest takes their place."""
    chosen = outbox.mergeable(connection, target)
    if len(chosen) < AT_LEAST:
        return 0
    now = shared.clock.wall()
    digest = Digest()
    for stored in chosen:
        digest.add(stored.kind, stored.content, at=stored.created_at)
    content = digest.as_json()
    merged = sum(
        outbox.close_all(
            connection,
            [message.id for message in stored.messages],
            MessageState.MERGED,
            now=now,
            error="merged into a digest",
        )
        for stored in chosen
    )
    settings = lane.targets[target]
    notification = Notification(
        source="digest",
        target=target,
        bodies=tuple(shared.recompose(NotificationKind.DIGEST, content, target, "")),
        priority=_priority(chosen),
        kind=NotificationKind.DIGEST,
        content=content,
        expires_after=settings.expires_after,
    )
    # It takes the age of the oldest, so that a storm that never ends is still handed to the fallback in time.
    outbox.put(connection, [notification], now=now, created_at=min(stored.created_at for stored in chosen))
    return merged


def _priority(chosen: Sequence[Stored]) -> Priority:
    return Priority(min(message.priority for stored in chosen for message in stored.messages))
