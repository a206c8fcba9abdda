"""`rooms` and `contacts`: what the bridge has seen, for finding ids."""

from __future__ import annotations

from typing import Any

from wxbridge.channels import directory
from wxbridge.cli.common import ConfigOption, JsonOption, show, with_database

_NONE_YET = "none seen yet: start the bridge (`wxbridge run`) and scan its QR code"


def rooms(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the rooms that the account is in, with their ids."""
    rows = with_database(config, lambda _, database: database.read(directory.list_rooms))
    columns = ("id", "topic", "members", "channel") if _several(rows) else ("id", "topic", "members")
    show(rows, as_json=as_json, columns=columns, empty=f"no rooms: {_NONE_YET}")


def contacts(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the account's contacts, with their ids."""
    rows = with_database(config, lambda _, database: database.read(directory.list_contacts))
    columns = ("id", "name", "alias", "handle", "channel") if _several(rows) else ("id", "name", "alias", "handle")
    show(rows, as_json=as_json, columns=columns, empty=f"no contacts: {_NONE_YET}")


def _several(rows: list[dict[str, Any]]) -> bool:
    return len({row["channel"] for row in rows}) > 1
