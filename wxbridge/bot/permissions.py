"""Who somebody is, and where: roles from what others cannot choose, and the target that a chat is.

In a room everybody chooses the name that is shown, so the name of a message proves nothing. A word of `chat.admins`
or `chat.promql` means a person where it is the sender's own id, or where it finds exactly one *contact* of the bot's
account, by remark (which the bot's owner gives), WeChat id or name, and that contact has the sender's id. A word that
found somebody by a name of his own choosing is remembered: it does not move on to another contact while the first
one is still there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.bot.command import Permission
from wxbridge.channels.wechat.directory import Contact, matches
from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.model import Inbound
from wxbridge.core.schema import contacts, read_facts, remember_fact

log = structlog.get_logger()

FACT = "chat:person:"
"""What a word was found to mean: `FACT` + channel + `:` + word."""


@dataclass(frozen=True)
class Standing:
    """What somebody may do. `doubts`: by role, why a word that seems to be theirs does not count."""

    roles: frozenset[str] = frozenset()
    doubts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By role: one of `stranger`, `several` and `other`, and the word."""


@dataclass(frozen=True)
class _Known:
    """What the database knows of the people that some words may mean, on one channel."""

    people: Sequence[Contact]
    before: Mapping[str, str]
    """The id that a word meant, by word."""


async def standing(
    database: Database, inbound: Inbound, lists: Mapping[Permission, Sequence[str]], *, master: bool
) -> Standing:
    """Find the roles of a message's sender; `lists` has the words of each permission.

    Raises:
        StorageError: the contacts cannot be read, or what a word means cannot be kept.
    """
    words = sorted({word.strip() for listed in lists.values() for word in listed if word.strip()})
    known = await database.read(lambda c: _read(c, inbound.channel, words)) if words else _Known((), {})
    roles, doubts, found = {"master"} if master else set(), {}, {}
    for permission, listed in lists.items():
        for word in map(str.strip, listed):
            doubt = _doubt(word, inbound, known)
            if doubt is None:
                roles.add(permission.value)
                found[word] = inbound.sender_id
            elif doubt:
                doubts[permission.value] = doubt, word
    await _keep(database, inbound.channel, {w: i for w, i in found.items() if known.before.get(w) != i and w != i})
    return Standing(frozenset(roles), {role: why for role, why in doubts.items() if role not in roles})


_GIVEN: Sequence[Callable[[Contact], str]] = (lambda person: person.id, lambda person: person.alias)


def _meant(word: str, people: Sequence[Contact]) -> list[Contact]:
    """Whom a word may mean: by what they cannot choose first; of what they choose, nothing goes before the other."""
    return matches(word, people, _GIVEN) or [
        person for person in people if word in (person.handle.strip(), person.name.strip())
    ]


def _doubt(word: str, inbound: Inbound, known: _Known) -> str | None:
    """Why a word does not mean the sender: `` where it is somebody else's; None where it does mean them."""
    if not word:
        return ""
    if word == inbound.sender_id:
        return None
    found = _meant(word, known.people)
    if len(found) > 1:
        return "several" if any(person.id == inbound.sender_id for person in found) else ""
    if not found or found[0].id != inbound.sender_id:
        return "stranger" if word == inbound.sender_name.strip() else ""
    before = known.before.get(word)
    moved = before is not None and before != inbound.sender_id
    if moved and found[0].alias.strip() != word and any(person.id == before for person in known.people):
        return "other"
    if moved:
        log.warning("a listed person has another id", word=word, before=before, id=inbound.sender_id)
    return None


def _read(connection: Connection, channel: str, words: Sequence[str]) -> _Known:
    prefix = f"{FACT}{channel}:"
    before = {word: str(value) for word, (value, _) in read_facts(connection, prefix).items() if word in words}
    names: list[sa.ColumnElement[bool]] = [
        sa.func.trim(column).in_(words) for column in (contacts.c.alias, contacts.c.handle, contacts.c.name)
    ]
    anyone = sa.or_(contacts.c.id.in_([*words, *before.values()]), *names)
    query = sa.select(contacts).where(contacts.c.channel == channel, contacts.c.present, anyone)
    return _Known([_contact(row) for row in connection.execute(query)], before)


def _contact(row: Any) -> Contact:
    return Contact(row.id, row.name, row.alias, row.handle)


async def _keep(database: Database, channel: str, found: Mapping[str, str]) -> None:
    def write(connection: Connection) -> None:
        for word, person in found.items():
            remember_fact(connection, f"{FACT}{channel}:{word}", person, time.time())

    if found:
        await database.run(write)


# ---------------------------------------------------------------- where


@runtime_checkable
class KnowsChats(Protocol):
    """A channel that people write in, and that can tell which targets mean a message's chat."""

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:
        """The targets, in their order. Raises `Offline` where it cannot be told yet."""


def target_of(
    channel: object, inbound: Inbound, targets: Mapping[str, TargetSettings], master: str
) -> str | None:  # fmt: skip
    """Give the target whose chat a message was written in, where commands are answered there; else None.

    They are where the target has `commands: true`, and in the direct chat that the target named `master` means.

    Raises:
        Offline: it cannot be told yet.
    """
    names = channel.targets_of(inbound) if isinstance(channel, KnowsChats) else ()
    open_ones = [name for name in names if name in targets and targets[name].commands]
    own = [master] if master in names and inbound.room_id is None else []
    return next(iter([*open_ones, *own]), None)


def is_master(channel: object, inbound: Inbound, master: str) -> bool:
    """Tell whether a message's sender is who the target named `master` means, wherever it was written.

    Raises:
        Offline: it cannot be told yet.
    """
    if not isinstance(channel, KnowsChats):
        return False
    return master in channel.targets_of(replace(inbound, room_id=None, room_topic=None))
