"""The rooms and contacts that channels have seen, to be copied into jobs.yaml."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from wxbridge.channels import directory
from wxbridge.web.console.page import ConsolePage, PageVisit

MAX_SHOWN = 200
"""Of each; who looks for more writes a few letters of it."""
_PLAIN = re.compile(r"[^\W\d_][\w-]*(?: [\w-]+)*")
_WORDS = ("true", "false", "yes", "no", "on", "off", "null")


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    wanted = visit.query.get("text", "").strip().lower()
    database = visit.services.database
    rooms, contacts = await database.read(lambda c: (directory.list_rooms(c), directory.list_contacts(c)))
    found = [_room(each) for each in rooms if _is_found(wanted, each["topic"], each["id"])]
    people = [
        _contact(each)
        for each in contacts
        if _is_found(wanted, each["name"], each["alias"], each["handle"], each["id"])
    ]
    return {
        "rooms": found[:MAX_SHOWN], "people": people[:MAX_SHOWN],
        "more_rooms": max(0, len(found) - MAX_SHOWN), "more_people": max(0, len(people) - MAX_SHOWN),
        "wanted": visit.query.get("text", "").strip(), "any": bool(rooms or contacts),
    }  # fmt: skip


def _is_found(wanted: str, *texts: str) -> bool:
    return not wanted or any(wanted in text.lower() for text in texts)


def _room(room: Mapping[str, Any]) -> Mapping[str, Any]:
    topic = room["topic"] or room["id"]
    return {**room, "line": _write_line(topic, room["channel"], "room", topic)}


def _contact(contact: Mapping[str, Any]) -> Mapping[str, Any]:
    name = contact["alias"] or contact["name"] or contact["id"]
    return {**contact, "line": _write_line(name, contact["channel"], "contact", name)}


def _write_line(name: str, channel: str, kind: str, value: str) -> str:
    """Write a line for `targets:` in jobs.yaml."""
    key = re.sub(r"[^\w-]+", "-", name.strip()).strip("-").lower() or kind
    bot = channel.partition(":")[2]
    account = f"bot: {_write_scalar(bot)}, " if bot else ""
    return f"{_write_scalar(key)}: {{channel: {channel.partition(':')[0]}, {account}{kind}: {_write_scalar(value)}}}"


def _write_scalar(value: str) -> str:
    """Write a value as YAML takes it for itself."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


PAGE = ConsolePage(_show)
