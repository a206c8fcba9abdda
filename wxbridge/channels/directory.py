"""The rooms and contacts that channels have seen, as the database holds them; works beside a running bridge."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from wxbridge.core.schema import contacts, rooms


def list_rooms(connection: Connection) -> list[dict[str, Any]]:
    """The rooms that each channel's account is in now, by topic: channel, id, topic, and how many members are known."""
    query = sa.select(rooms).where(rooms.c.present).order_by(rooms.c.channel, rooms.c.topic, rooms.c.id)
    return [
        {"channel": row.channel, "id": row.id, "topic": row.topic, "member_ids": list(row.member_ids)}
        | {"members": len(row.member_ids)}
        for row in connection.execute(query)
    ]


def list_contacts(connection: Connection) -> list[dict[str, Any]]:
    """The contacts of each channel's account, by name: channel, id, name, alias and handle."""
    query = sa.select(contacts).where(contacts.c.present)
    query = query.order_by(contacts.c.channel, contacts.c.name, contacts.c.id)
    return [
        {"channel": row.channel, "id": row.id, "name": row.name, "alias": row.alias, "handle": row.handle}
        for row in connection.execute(query)
    ]
