"""Who the targets mean: looked up, remembered, and told to the master where it is not what jobs.yaml says.

`check` alone takes up what is new: it runs when the directory is complete, tells the master, and remembers.
`resolve` uses what is certain or has been told, and has everything else wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

import structlog

from wxbridge.channels import ChannelContext
from wxbridge.channels.wechat.directory import Contact, Room, WechatDirectory
from wxbridge.channels.wechat.identity import (
    AddressProblem,
    Found,
    Known,
    Notice,
    Remembered,
    remember_contact,
    remember_room,
    resolve_contact,
    resolve_room,
    suspects,
)
from wxbridge.channels.wechat.identity_store import IdentityStore
from wxbridge.channels.wechat.room_members import RoomMembers
from wxbridge.channels.wechat.settings import WechatTarget
from wxbridge.channels.wechat.unlisted import UnlistedChats
from wxbridge.config.types import TargetSettings
from wxbridge.core.errors import BadAddress, NotReady, StorageError

log = structlog.get_logger()

Resolution = Found[Room] | Found[Contact] | AddressProblem


MASTER = "wechat.master"
"""What the contact in charge is called beside the targets."""
MAX_CACHED_RESULTS = 1000
_UNSURE = "which {} is meant is being looked up; the master is told before anything is sent there"


class TargetResolver:
    """The rooms and contacts behind the targets of one channel; `master` is the contact in charge."""

    def __init__(self, context: ChannelContext, directory: WechatDirectory, master: str | None) -> None:
        self._context = context
        self._directory = directory
        self._store = IdentityStore(context.database)
        self._wanted, self._names = _wanted(context, master)
        self._master = WechatTarget(contact=master).chat_key() if master else ""
        self._found: dict[str, Resolution] = {}
        self._found_at = (-1, -1)
        self._problems: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._next_waits = False

    def with_targets(self, context: ChannelContext, master: str | None) -> TargetResolver:
        """Return a resolver for new targets, keeping remembered identities and reported problems."""
        new = TargetResolver(context, self._directory, master)
        new._store, new._lock = self._store, self._lock
        new._problems = {chat: key for chat, key in self._problems.items() if chat in new._wanted}
        return new

    async def load(self) -> None:
        """Read what is remembered, once; where that fails, nothing is found until it is tried again."""
        try:
            await self._store.load()
        except StorageError as error:
            log.warning("wechat rooms and contacts not remembered", error=str(error))

    # Sending

    def resolve(self, target: WechatTarget, *, complete: bool) -> Room | Contact:
        """Give the room or contact to send to; `complete`: whether all rooms and contacts have been read.

        Raises:
            BadAddress: nobody, or several; the candidates are named.
            NotReady: it is not certain yet, or the master has not been told: `check` has to run.
        """
        if not self._store.loaded:
            raise NotReady("what is remembered of rooms and contacts has not been read yet")
        chat = target.chat_key()
        result = self._resolve(target)
        if isinstance(result, Found) and self._untold(chat, result):
            if not self._usable(chat, result):
                raise BadAddress(_text(result), candidates=(str(result.entry),))
            raise NotReady(_UNSURE.format("room" if target.room else "contact"))
        if isinstance(result, AddressProblem):
            # While a check runs, names of members may still come in that tell which it is.
            if self._store.get(chat) and (self._lock.locked() or not complete):
                raise NotReady("what was found before is not there yet; rooms and contacts are still being read")
            raise BadAddress(result.text, candidates=result.candidates)
        return result.entry

    def _resolve(self, target: WechatTarget) -> Resolution:
        at = self._directory.generation, self._store.version
        if at != self._found_at or len(self._found) > MAX_CACHED_RESULTS:
            self._found.clear()
            self._found_at = at
        chat = target.chat_key()
        if chat not in self._found:
            before = self._store.get(chat)
            self._found[chat] = (
                resolve_room(target.room, before, self._rooms())
                if target.room
                else resolve_contact(target.contact or "", before, self._contacts())
            )
        return self._found[chat]

    def _rooms(self) -> Known[Room]:
        directory = self._directory
        rooms = list(directory.rooms.values())
        return Known(rooms, directory.account, directory.names(), directory.since)

    def _contacts(self) -> Known[Contact]:
        directory = self._directory
        return Known(list(directory.contacts.values()), directory.account, since=directory.since)

    def _untold(self, chat: str, found: Found[Room] | Found[Contact]) -> Notice | None:
        before = self._store.get(chat)
        return None if found.notice is None or (before and before.told == found.notice.key) else found.notice

    def _usable(self, chat: str, found: Found[Room] | Found[Contact]) -> bool:
        # Who may be the wrong one cannot be asked whether he is the right one.
        return not (found.guess and chat == self._master)

    # Looking everything up

    async def check(self, members: RoomMembers, unlisted: UnlistedChats) -> None:
        """Look every target up: tell the master once what is not as jobs.yaml says, and remember the rest.

        Call it when all rooms and contacts have been read: what it finds is taken for what there is.
        """
        if self._next_waits:
            return  # It will see what this one would.
        self._next_waits = True
        try:
            await self._lock.acquire()
        finally:
            self._next_waits = False
        try:
            await self._check(members, unlisted)
        finally:
            self._lock.release()

    async def _check(self, members: RoomMembers, unlisted: UnlistedChats) -> None:
        await self.load()
        if self._store.loaded:
            for target in self._wanted.values():
                await unlisted.find_by_id(target)
            taken = [chat for chat in self._wanted if await self._take_up(chat, members)]
            rooms = [result.entry for _, result in self._certain(taken) if isinstance(result.entry, Room)]
            await members.learn_names(rooms)
            for chat, result in self._certain(taken):
                await self._remember(chat, result)

    def _certain(self, chats: Iterable[str]) -> Iterator[tuple[str, Found[Room] | Found[Contact]]]:
        """Give those that are found and told, as of now: the directory may have moved on meanwhile."""
        for chat in chats:
            result = self._resolve(self._wanted[chat])
            if isinstance(result, Found) and not self._untold(chat, result):
                yield chat, result

    async def _take_up(self, chat: str, members: RoomMembers) -> bool:
        """Deal with one chat; False where nobody is found."""
        result = self._resolve(self._wanted[chat])
        before = self._store.get(chat)
        if self._wanted[chat].room and before and (isinstance(result, AddressProblem) or result.guess):
            # Members without a name count as different: they are asked for before that decides.
            await members.learn_names(suspects(before, self._rooms()))
            result = self._resolve(self._wanted[chat])
        if isinstance(result, AddressProblem):
            await self._complain(chat, result.key, result.text)
            return False
        if not self._usable(chat, result) and self._untold(chat, result):
            await self._complain(chat, f"guess {result.entry.id}", _text(result))
            return False
        self._problems.pop(chat, None)
        notice = self._untold(chat, result)
        if notice:
            names, entry = self._names[chat], result.entry
            log.warning("wechat target found otherwise", targets=names, id=entry.id, guess=result.guess)
            if not await self._tell(chat, notice.text):
                return False
        return await self._remember(chat, result)

    async def _remember(self, chat: str, result: Found[Room] | Found[Contact]) -> bool:
        try:
            await self._store.put(chat, self._make_memory(result, self._store.get(chat)))
        except StorageError as error:
            log.warning("wechat target not remembered", targets=self._names[chat], error=str(error))
            return False
        return True

    def _make_memory(self, found: Found[Room] | Found[Contact], before: Remembered | None) -> Remembered:
        if isinstance(found.entry, Room):
            return remember_room(Found(found.entry, found.notice, found.guess), before, self._rooms())
        return remember_contact(Found(found.entry, found.notice, found.guess), self._contacts())

    async def _complain(self, chat: str, key: str, text: str) -> None:
        if self._problems.get(chat) == key:
            return
        self._problems[chat] = key
        for name in self._names[chat]:
            log.warning("wechat target not found", target=name, problem=text)
        if chat != self._master:  # He is the one who cannot be told.
            await self._tell(chat, text)

    async def _tell(self, chat: str, text: str) -> bool:
        names = self._names[chat]
        try:
            await self._context.tell_master(f"Target{'s' if len(names) > 1 else ''} {', '.join(names)}: {text}")
        except Exception:
            log.exception("master not told", targets=names)
            return False
        return True


def list_named(targets: Mapping[str, TargetSettings], master: str | None) -> dict[str, WechatTarget]:
    """Give the targets that name somebody, and the master where none of them is he."""
    # Whom `to: from-alert` means, each alert says.
    named = {name: target for name, target in targets.items() if isinstance(target, WechatTarget) and not target.to}
    if master and all(target.contact != master for target in named.values()):
        named[MASTER] = WechatTarget(contact=master)
    return named


def _wanted(context: ChannelContext, master: str | None) -> tuple[dict[str, WechatTarget], dict[str, list[str]]]:
    """Give the chats that targets name, and the targets of each: what is said twice is looked up once."""
    chats: dict[str, WechatTarget] = {}
    names: dict[str, list[str]] = {}
    for name, target in list_named(context.targets, master).items():
        chats[target.chat_key()] = target
        names.setdefault(target.chat_key(), []).append(name)
    return chats, names


def _text(found: Found[Room] | Found[Contact]) -> str:
    return found.notice.text if found.notice else f"{found.entry} is not certain"
