"""One message, whole: what led to it, what the service said, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.alerts.sources.unknown import BODY
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Message
from wxbridge.web.console.page import ConsolePage, PageVisit, read_number
from wxbridge.web.console.pages.timeline import change, describe_entry

MAX_ALERTS_SHOWN = 20
MIN_KEY_CHARS = 16
"""Of a key whose end is shown: what is shorter is not shown at all."""


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    number = read_number(visit.query.get("id", ""))
    entry = None if number is None else await visit.services.outbox.find_timeline_entry(number)
    if entry is None:
        raise WxbridgeError(visit.say("message.none"))
    found = describe_entry(visit, entry)
    this = next(each for each in found["messages"] if each["it"].id == number)
    stored = await visit.services.outbox.find_notification(this["it"].notification_id)
    sighted = await visit.services.outbox.list_sighted(entry.received, limit=MAX_ALERTS_SHOWN) if entry.received else []
    seen = [each for each in await visit.services.alerts.list_seen(sighted) if each.alert]
    # What was sent whole is kept with its alerts alone.
    kept = stored.content if stored and stored.content else {"alerts": [vars(each.alert) for each in seen]}
    return {
        "alerts": [(each.key, each.alert.title) for each in seen if each.alert],
        "entry": found,
        "m": this,
        "bodies": _list_bodies(kept),
        "others": [each for each in found["messages"] if each is not this],
        "recipient": _name_recipient(visit, this["it"]),
        "targets": sorted(
            name
            for name, target in visit.services.channels.targets.items()
            if name != this["it"].target and target.recipients((), {}) is None
        ),
    }


def _list_bodies(content: Any) -> list[str]:
    """List what senders said of which a message shows a part."""
    alerts = content.get("alerts") if isinstance(content, dict) else None
    found = ((alert.get("annotations") or {}).get(BODY) for alert in alerts or () if isinstance(alert, dict))
    return [body for body in found if body]


def _name_recipient(visit: PageVisit, message: Message) -> str:
    """Name whom a message is for; a robot's key is a secret, of which the end tells which it is."""
    target, recipient = visit.services.channels.targets.get(message.target), message.recipient or ""
    if target is None or not target.is_from_request:
        return recipient
    key = recipient.partition(" ")[0]
    return f"…{key[-4:]}" if len(key) > MIN_KEY_CHARS else "…"


PAGE = ConsolePage(_show, {"change": change})
