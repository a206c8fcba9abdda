"""What came in, where it was routed and why, and what became of each message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody
from wxbridge.core.model import Message, MessageState, NotificationKind, Picture, Text
from wxbridge.delivery.timeline import UNTOLD, TimelineEntry, TimelineFilter, TimelinePosition
from wxbridge.web.console.overview import describe_overview
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit

RETRY_EXPIRES_AFTER_SECONDS = 86400.0
"""For which a message that is queued again is worth sending, as from the command line."""
STATES = (*MessageState, "open", UNTOLD)
TONES = {
    MessageState.SENT: "good", MessageState.QUEUED: "soon", MessageState.SENDING: "soon", MessageState.DEAD: "bad",
    MessageState.EXPIRED: "bad", MessageState.UNKNOWN: "warn", MessageState.FAILED_OVER: "quiet",
    MessageState.MERGED: "quiet", MessageState.NO_PICTURE: "warn",
}  # fmt: skip
_FIELDS = ("target", "state", "text", "since", "until")


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    asked = _filter(visit)
    after = TimelinePosition.read(visit.query.get("after", ""))
    given = {name: visit.query.get(name, "") for name in _FIELDS}
    reading = visit.services.outbox.read_timeline(asked, after)
    if after is None and not any(given.values()):
        # Together, as the overview waits for monitors.
        found, overview = await asyncio.gather(reading, describe_overview(visit))
    else:
        found, overview = await reading, None
    return {
        "overview": overview,
        "entries": [describe_entry(visit, each) for each in found.entries],
        "next": found.next,
        "searched_to": found.searched_to,
        "older": after is not None,
        "given": given,
        "kept": {name: value for name, value in given.items() if value},
        "targets": sorted({*visit.services.channels.targets} | ({asked.target} - {""})),
        "states": STATES,
        "tones": TONES,
    }


def _filter(visit: PageVisit) -> TimelineFilter:
    query = visit.query
    state = query.get("state", "")
    return TimelineFilter(
        target=query.get("target", ""),
        state=state if state in STATES else "",
        text=query.get("text", "").strip()[:200],
        since=_read_moment(visit, query.get("since", "")),
        until=_read_moment(visit, query.get("until", "")),
    )


def _read_moment(visit: PageVisit, written: str) -> float | None:
    """Read what a browser's field for a time holds, in the configured zone; None for what is none."""
    try:
        moment = datetime.fromisoformat(written[:32])
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=visit.config.timezone)).timestamp()


def describe_entry(visit: PageVisit, entry: TimelineEntry) -> Mapping[str, Any]:
    """Describe an entry as the templates take it."""
    messages = [describe_message(message) for told in entry.told for message in told.messages]
    title = entry.title or next((each["first"] for each in messages if each["first"]), "")
    return {
        "id": f"post-{entry.received}" if entry.received else f"note-{entry.told[0].id if entry.told else 0}",
        "at": entry.at,
        "came_in": entry.received is not None,
        "source": entry.source,
        "job": entry.source.startswith("job:"),
        "title": title or visit.say("timeline.untitled"),
        "alerts": entry.alerts,
        "routed": [describe_routed(visit, each) for each in entry.routed],
        "kinds": {told.kind for told in entry.told},
        "taken_over": any(told.origin for told in entry.told),
        "messages": messages,
    }


def describe_message(message: Message) -> Mapping[str, Any]:
    """Describe a message as the templates take it."""
    body = message.body
    text = body.text if isinstance(body, Text) else ""
    return {
        "it": message,
        "text": text,
        "first": text.strip().partition("\n")[0][:120],
        "picture": body.file if isinstance(body, Picture) else None,
        "is_picture": isinstance(body, Picture),
        "tone": TONES[message.state],
        "can_retry": message.state not in (MessageState.SENDING, MessageState.SENT, MessageState.QUEUED),
        "can_hurry": message.state is MessageState.QUEUED and message.tries > 0,
        "can_drop": message.state is MessageState.QUEUED,
    }


def describe_routed(visit: PageVisit, part: Mapping[str, Any], short_key: str = "") -> Mapping[str, Any]:
    """Say why a part went where it did (the routes with what they match, or a sentence), and what held it back.

    With an alert's `short_key` that is told of this alone, where it is known.
    """
    by: Sequence[Mapping[str, Any]] = part.get("by", ())
    routes = [
        (each["route"] if each["matches"] else visit.say("why.everything", route=each["route"]), each["matches"])
        for each in by
    ]
    if part.get("why"):
        routes = [(visit.say(f"why.{part['why']}"), [])]
    return {
        "target": part.get("target", ""), "alerts": part.get("alerts", 0), "told": part.get("told", 0),
        "routes": routes, "held": _say_held(visit, part, short_key),
    }  # fmt: skip


def _say_held(visit: PageVisit, part: Mapping[str, Any], short_key: str) -> str:
    # Rows of earlier versions never have keys.
    held, keys = part.get("held", ()), part.get("held_keys")
    is_whole = not part.get("told") and (keys is None or sum(map(len, keys.values())) == part.get("alerts"))
    if keys and short_key:
        held, is_whole = [name for name in held if short_key in keys[name]], True
    return visit.say("timeline.held" if is_whole else "timeline.held_in_part", what=", ".join(held)) if held else ""


async def change(visit: PageVisit, form: ConsoleForm) -> str:
    """Retry, drop or hand on one message. Raises `WxbridgeError`."""
    outbox, message_id, do = visit.services.outbox, form.number("id"), form.text("do", 20)
    if do == "send-to":
        target = form.text("to", 200)
        await _hand_on(visit, message_id, target)
        await visit.record(form, AuditAction.HANDED_ON, f"{message_id} → {target}")
        return visit.say("timeline.handed_on", id=message_id, target=target)
    if do == "retry":
        changed = await outbox.retry([message_id], now=visit.now, expires_after=RETRY_EXPIRES_AFTER_SECONDS)
    elif do == "drop":
        changed = await outbox.drop([message_id], now=visit.now)
    else:
        raise BadBody(visit.say("no_such_action"))
    if not changed:
        raise BadBody(visit.say(f"timeline.not_{do}", id=message_id))
    await visit.record(form, AuditAction.RETRIED if do == "retry" else AuditAction.DROPPED, str(message_id))
    return visit.say(f"timeline.{do}_done", id=message_id)


async def _hand_on(visit: PageVisit, message_id: int, target: str) -> None:
    """Notify another target of what a message belongs to, in words composed for it.

    Raises:
        BadBody: the message or the target is gone.
        StorageError: it could not be stored.
    """
    outbox, alerts = visit.services.outbox, visit.services.alerts
    destination = alerts.settings.targets.get(target)
    if destination is None or destination.recipients(()) is not None:
        raise BadBody(visit.say("timeline.no_target", target=target))
    found = await outbox.get_messages([message_id])
    stored = await outbox.find_notification(found[0].notification_id) if found else None
    if stored is None:
        raise BadBody(f"Message {message_id} or the target {target} is gone.")
    bodies = alerts.recompose(stored.kind, stored.content, target, "")
    if not bodies:
        bodies = [message.body for message in stored.messages]
    elif stored.kind is NotificationKind.OTHER:
        bodies += [message.body for message in stored.messages if isinstance(message.body, Picture)]
    item = stored.readdress(target, bodies, expires_after=destination.expires_after)
    await outbox.put_beside(stored.id, item)


PAGE = ConsolePage(_show, {"message": change})
