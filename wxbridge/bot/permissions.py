"""Tell who somebody is, and where: roles from what others cannot choose, and the target that a chat is.

In a room everybody chooses the name that is shown, so the name of a message proves nothing. A word of `chat.admins`
or `chat.promql` means a person where it is the sender's own id, or where it finds exactly one *contact* of the bot's
account, by remark (which the bot's owner gives), WeChat id or name, and that contact has the sender's id. A word that
found somebody by a name of his own choosing is remembered: it does not move on to another contact while the first
one is still there.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from wxbridge.alerts.pipeline import MASTER
from wxbridge.bot.command import Permission
from wxbridge.channels.wechat.directory import Contact
from wxbridge.config.types import TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.model import Inbound
from wxbridge.core.schema import contacts, read_facts, remember_fact

log = structlog.get_logger()

FACT_PREFIX = "chat:person:"
"""What a word was found to mean: this + channel + `:` + word."""


@dataclass(frozen=True)
class RoleDoubt:
    """Why a word that seems to be somebody's does not count: `stranger`, `several` or `other`, and the word."""

    kind: str
    word: str


@dataclass(frozen=True)
class SenderRoles:
    """What somebody may do."""

    roles: frozenset[str] = frozenset()
    doubts: Mapping[str, RoleDoubt] = field(default_factory=dict)
    """By role that the person does not have."""


@dataclass(frozen=True)
class _KnownPeople:
    """What the database knows of the people that some words may mean, on one channel."""

    people: Sequence[Contact]
    meant_before: Mapping[str, str]
    """The id that a word meant, by word."""


async def find_roles(
    database: Database, inbound: Inbound, lists: Mapping[Permission, Sequence[str]], *, is_master: bool
) -> SenderRoles:
    """Find the roles of a message's sender; `lists` has the words of each permission.

    Raises:
        StorageError: the contacts cannot be read, or what a word means cannot be kept.
    """
    words = sorted({word.strip() for listed in lists.values() for word in listed if word.strip()})
    known = _KnownPeople((), {})
    if words:
        known = await database.read(lambda c: _read_people(c, inbound.channel, words))
    roles, doubts, meant = {"master"} if is_master else set(), {}, set()
    for permission, listed in lists.items():
        for word in map(str.strip, listed):
            doubt = _doubt(word, inbound, known)
            if doubt is None:
                roles.add(permission.value)
                meant.add(word)
            elif doubt:
                doubts[permission.value] = RoleDoubt(doubt, word)
    news = [word for word in meant if inbound.sender_id not in (word, known.meant_before.get(word))]
    if news:
        await database.run(lambda c: _remember_meaning(c, inbound, news))
    return SenderRoles(frozenset(roles), {role: why for role, why in doubts.items() if role not in roles})


def _find_meant(word: str, people: Sequence[Contact]) -> list[Contact]:
    """Find whom a word may mean: by what they cannot choose first; what they choose is all alike."""
    for names in (
        lambda person: (person.id,),
        lambda person: (person.alias,),
        lambda person: (person.handle, person.name),
    ):
        if found := [person for person in people if word in map(str.strip, names(person))]:
            return found
    return []


def _doubt(word: str, inbound: Inbound, known: _KnownPeople) -> str | None:
    """Tell why a word does not mean the sender: empty where it is somebody else's, None where it does mean them."""
    if not word:
        return ""
    if word == inbound.sender_id:
        return None
    found = _find_meant(word, known.people)
    if len(found) > 1:
        return "several" if any(person.id == inbound.sender_id for person in found) else ""
    if not found or found[0].id != inbound.sender_id:
        return "stranger" if word == inbound.sender_name.strip() else ""
    before = known.meant_before.get(word)
    moved = before is not None and before != inbound.sender_id
    if moved and found[0].alias.strip() != word and any(person.id == before for person in known.people):
        return "other"
    if moved:
        log.warning("a listed person has another id", word=word, before=before, id=inbound.sender_id)
    return None


def _read_people(connection: Connection, channel: str, words: Sequence[str]) -> _KnownPeople:
    facts = read_facts(connection, f"{FACT_PREFIX}{channel}:")
    before = {word: str(value) for word, (value, _) in facts.items() if word in words}
    names: list[sa.ColumnElement[bool]] = [
        sa.func.trim(column).in_(words) for column in (contacts.c.alias, contacts.c.handle, contacts.c.name)
    ]
    anyone = sa.or_(contacts.c.id.in_([*words, *before.values()]), *names)
    query = sa.select(contacts).where(contacts.c.channel == channel, contacts.c.present, anyone)
    people = [Contact(row.id, row.name, row.alias, row.handle) for row in connection.execute(query)]
    return _KnownPeople(people, before)


def _remember_meaning(connection: Connection, inbound: Inbound, words: Iterable[str]) -> None:
    for word in words:
        remember_fact(connection, f"{FACT_PREFIX}{inbound.channel}:{word}", inbound.sender_id, time.time())


# ---------------------------------------------------------------- where


@runtime_checkable
class ChatChannel(Protocol):
    """A channel that people write in, and that can tell which targets mean a message's chat."""

    def targets_of(self, inbound: Inbound) -> tuple[str, ...]:
        """List the targets, in their order. Raises `Offline` where it cannot be told yet."""


def find_target(channel: object, inbound: Inbound, targets: Mapping[str, TargetSettings]) -> str | None:
    """Find the target whose chat a message was written in, where commands are answered there; else None.

    They are where the target has `commands: true`, and in the direct chat that the target `master` means.

    Raises:
        Offline: it cannot be told yet.
    """
    names = channel.targets_of(inbound) if isinstance(channel, ChatChannel) else ()
    open_ones = [name for name in names if name in targets and targets[name].commands]
    own = [MASTER] if MASTER in names and inbound.room_id is None else []
    return next(iter([*open_ones, *own]), None)


def is_master(channel: object, inbound: Inbound) -> bool:
    """Tell whether a message's sender is who the target `master` means, wherever it was written.

    Raises:
        Offline: it cannot be told yet.
    """
    if not isinstance(channel, ChatChannel):
        return False
    return MASTER in channel.targets_of(replace(inbound, room_id=None, room_topic=None))
