"""One alert, whole: what its monitor says, when it fired, and its way through the bridge, each step with its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wxbridge.alerts.alert_text import write_value
from wxbridge.alerts.firing import of_posted
from wxbridge.alerts.links import SHORT_KEY_BYTES, shorten_key
from wxbridge.alerts.sources import WEB_SCHEMES
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import OPEN_STATES, Alert, AlertStatus, Message, MessageState, Picture
from wxbridge.delivery.timeline import TimelineEntry
from wxbridge.web.console.overview import read_overview
from wxbridge.web.console.page import ConsolePage, PageVisit
from wxbridge.web.console.pages import alerts
from wxbridge.web.console.pages.timeline import TONES, describe_routed

MAX_POSTS_SHOWN = 20
"""Of those in which it had news, the newest."""
MAX_EPISODES_SHOWN = 20
_KEY_CHARS = (2 * SHORT_KEY_BYTES, 32)


@dataclass(frozen=True)
class WayStep:
    """One step of an alert's way through the bridge."""

    at: float | None
    """Seconds since the epoch; None where it is still to come."""
    name: str
    """The phrase `alert.step.NAME` says what it is."""
    words: str = ""
    tone: str = "quiet"
    message: int | None = None


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    key = visit.query.get("key", "")
    if len(key) not in _KEY_CHARS or not set(key) <= set("0123456789abcdef"):
        raise WxbridgeError(visit.say("alert.none"))
    short, services = shorten_key(key), visit.services
    seen = next(iter(await services.alerts.list_seen([short])), None)
    overview = await read_overview(visit)
    listed = next((each for each in overview.alerts if any(one.startswith(short) for one in each.keys)), None)
    posted = of_posted(seen) if seen else None
    found = listed or posted
    if found is None:
        raise WxbridgeError(visit.say("alert.none"))
    whole = seen.alert if seen and seen.alert else found.alert
    is_over = posted is not None and listed is None and posted.alert.status is AlertStatus.RESOLVED
    episodes = await services.alerts.list_episodes(found.keys, limit=MAX_EPISODES_SHOWN)
    entries = await services.outbox.read_way(short, limit=MAX_POSTS_SHOWN)
    described = alerts.describe_alert(visit, found)
    return {
        "a": {**described, **({"picture": ""} if is_over else {})},
        "is_over": is_over,
        "heard_at": seen.updated_at if seen else None,
        "values": [write_value(value, visit.language) for value in whole.values],
        "labels": sorted(whole.labels.items()),
        "annotations": sorted(whole.annotations.items()),
        "links": list(_list_links(whole)),
        "silence": services.alerts.find_silence(found.labels),
        "episodes": episodes,
        "way": [_describe_post(visit, each, short) for each in entries],
        "missing": overview.missing,
    }


def _list_links(alert: Alert) -> Iterator[tuple[str, str]]:
    """List the web addresses of an alert, each once, by what it is."""
    told: set[str] = set()
    for name, address in (*alert.links.items(), ("monitor", alert.link or "")):
        # An address is a monitor's word: nothing but the web is a link.
        if address not in told and address.startswith(WEB_SCHEMES):
            told.add(address)
            yield name, address


def _describe_post(visit: PageVisit, entry: TimelineEntry, short_key: str) -> Mapping[str, Any]:
    """Describe one POST and what became of it: its own steps, then those of each target's messages."""
    steps = [WayStep(entry.at, "received", visit.say("alert.from_source", source=entry.source, n=entry.alerts))]
    targets: dict[str, list[WayStep]] = {}
    for told in entry.told:
        found = targets.setdefault(told.target, [])
        if told.origin:
            found.append(WayStep(told.messages[0].created_at if told.messages else None, "taken_over"))
        for message in told.messages:
            found += _list_steps(visit, message)
    return {
        "at": entry.at, "steps": steps, "targets": targets, "source": entry.source,
        "routed": [describe_routed(visit, each, short_key) for each in entry.routed],
    }  # fmt: skip


def _list_steps(visit: PageVisit, message: Message) -> Iterator[WayStep]:
    """List the steps of a message, in their order."""
    is_picture = isinstance(message.body, Picture)
    what = visit.say("alert.picture" if is_picture else "alert.text")
    if not is_picture:
        yield WayStep(message.created_at, "rendered", what)
    yield WayStep(message.created_at, "queued", what, message=message.id)
    if is_picture and message.drawn_at is not None:
        yield WayStep(message.drawn_at, "drawn", what)
    if message.first_tried_at is not None:
        yield WayStep(message.first_tried_at, "tried", what)
    if message.tries > 1 and message.tried_at is not None:
        yield WayStep(message.tried_at, "tried_again", visit.say("timeline.tries", n=message.tries))
    if message.state not in OPEN_STATES:
        receipt = visit.say("alert.receipt", id=message.receipt) if message.receipt else ""
        answer = visit.tell(message.error) if message.error else receipt
        words = f"{message.error_code} {answer}" if message.error_code else answer
        state = visit.say(f"timeline.state.{message.state}")
        yield WayStep(
            message.settled_at, "answered", " · ".join(filter(None, (what, state, words))), TONES[message.state]
        )
    elif message.error:
        yield WayStep(None, "waits", visit.tell(message.error), "warn")
    elif message.state is MessageState.QUEUED:
        yield WayStep(None, "waits", "", "soon")


PAGE = ConsolePage(_show)
