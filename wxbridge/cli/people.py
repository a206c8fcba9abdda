"""`rooms` and `contacts`: what the bridge has seen, for finding ids."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from wxbridge.channels.wechat import directory
from wxbridge.cli.common import ConfigOption, JsonOption, show, with_database
from wxbridge.config import Config
from wxbridge.database import Database

_NONE_YET = "none seen yet: start the bridge (`wxbridge run`) and scan its QR code"


def rooms(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the rooms that the account is in, with their ids."""

    async def read(_settings: Config, database: Database) -> list[dict[str, Any]]:
        found = await directory.list_rooms(database)
        return [asdict(room) | {"members": len(room.member_ids)} for room in found]

    show(
        with_database(config, read), as_json=as_json, columns=("id", "topic", "members"), empty=f"no rooms: {_NONE_YET}"
    )


def contacts(config: ConfigOption = None, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """List the account's contacts, with their ids."""

    async def read(_settings: Config, database: Database) -> list[dict[str, Any]]:
        return [asdict(contact) for contact in await directory.list_contacts(database)]

    rows = with_database(config, read)
    show(rows, as_json=as_json, columns=("id", "name", "alias", "handle"), empty=f"no contacts: {_NONE_YET}")
