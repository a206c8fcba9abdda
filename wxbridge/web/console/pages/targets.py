"""Where messages go: how each target is, what waits for it, and how much more it may be sent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from wxbridge.config.types import TargetSettings
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody
from wxbridge.delivery.context import Lane
from wxbridge.web.api_models import PushBody
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit, choose_tone
from wxbridge.web.push import store_push

MIN_WINDOW_SECONDS = 60.0
"""Of a chat's window whose rest is shown: of what fills again within seconds there is nothing to see."""


@dataclass(frozen=True)
class PaceLeft:
    """What is left of a rate: `rate` as it is written (`30/min`), of which `left` may go now."""

    rate: str
    count: int
    left: int
    own: bool = False
    """Whether it is the target's own, and not shared with the whole channel."""


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    services = visit.services
    waiting = {row.target: row for row in await services.outbox.count_backlog()}
    statuses, targets = services.channels.statuses(), services.channels.targets
    rows = []
    for name, target in targets.items():
        lane, status, row = services.lanes.find(target.lane()), statuses.get(target.lane()), waiting.get(name)
        rows.append({
            "name": name,
            "channel": target.lane(),
            "address": _write_address(target),
            "fallback": target.fallback,
            "paces": list(_paces_left(lane, target)) if lane else [],
            "is_unpaced": lane is not None and not lane.pacer.counts,
            "takes_pictures": lane is None or lane.channel.capabilities.pictures != "none",
            "status": status,
            "tone": choose_tone(status.state) if status else "bad",
            "waiting": row.waiting if row else 0,
            "oldest_at": row.oldest_at if row else None,
        })  # fmt: skip
    return {"rows": rows, "gone": [row for name, row in waiting.items() if name not in targets]}


def _paces_left(lane: Lane, target: TargetSettings) -> Iterator[PaceLeft]:
    now = time.monotonic()
    for rate, left in lane.pacer.windows_left(now).items():
        yield PaceLeft(rate, int(rate.partition("/")[0]), left)
    for chat_rate, left in lane.pacer.chat_windows_left(target.chat_key(), now).items():
        if chat_rate.seconds >= MIN_WINDOW_SECONDS:
            yield PaceLeft(str(chat_rate), chat_rate.count, left, own=bool(target.pace))


def _write_address(target: TargetSettings) -> str:
    """Write where a target leads to: a room, a contact; empty where the address is a secret."""
    values = [getattr(target, key, None) for key in target.address_keys]
    return ", ".join(
        ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        for value in values
        if value and not isinstance(value, SecretStr)
    )


async def _test(visit: PageVisit, form: ConsoleForm) -> str:
    name, text = form.text("target", 200), form.text("text")
    if name not in visit.services.channels.targets:
        raise BadBody(visit.say("timeline.no_target", target=name))
    if not text and form.picture is None:
        raise BadBody(visit.say("targets.nothing"))
    await store_push(visit.services, PushBody.read({"to": [name], "text": text, "image": form.picture}))
    await visit.record(form, AuditAction.SENT, name)
    return visit.say("targets.queued", target=name)


PAGE = ConsolePage(_show, {"test": _test})
