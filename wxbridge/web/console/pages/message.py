"""One message, whole: what led to it, what the service said, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.core.errors import WxbridgeError
from wxbridge.web.console.page import Page, Visit
from wxbridge.web.console.pages.timeline import change, shown


async def _show(visit: Visit) -> Mapping[str, Any]:
    number = visit.query.get("id", "")
    fits = number.isascii() and number.isdecimal() and len(number) < 16  # noqa: PLR2004 - beyond any id
    entry = await visit.console.outbox.find_timeline_entry(int(number)) if fits else None
    if entry is None:
        raise WxbridgeError(visit.say("message.none"))
    found = shown(visit, entry)
    this = next(each for each in found["messages"] if each["it"].id == int(number))
    return {
        "entry": found,
        "m": this,
        "others": [each for each in found["messages"] if each is not this],
        "targets": sorted(target.name for target in visit.console.targets() if target.name != this["it"].target),
    }


PAGE = Page("message", _show, "", {"change": change}, within="timeline")
