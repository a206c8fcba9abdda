"""The pretend WeChat: people, rooms, messages and the login, as plain state that does no input or output."""

from __future__ import annotations

import secrets
import string
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum

MENTION_END = "\u2005"
"""The four-per-em space that WeChat puts behind an `@name`."""

MAX_MESSAGES = 5000
"""How many messages are remembered; the oldest go first, with their pictures."""

MAX_TEXT = 100_000
"""The longest text a person may say, in characters."""

BOT_NAME = "小桥"
BOT_NICKNAME = "机器人"
"""What a person may type after `@` instead of the bot's name."""


class WorldError(ValueError):
    """Something was asked of the pretend WeChat that it cannot do; the text says what, in one sentence."""


class LoginState(StrEnum):
    """How far the bot's account has come."""

    STOPPED = "stopped"
    WAITING = "waiting"
    SCANNED = "scanned"
    LOGGED_IN = "logged_in"


class MessageKind(StrEnum):
    """What a message carries."""

    TEXT = "text"
    IMAGE = "image"
    FILE = "file"


class ChangeKind(StrEnum):
    """What an observer of the world is told about."""

    SCAN = "scan"
    LOGIN = "login"
    LOGOUT = "logout"
    STOPPED = "stopped"
    MESSAGE = "message"
    TOPIC = "topic"
    NAMES = "names"


class ScanStatus:
    """The numbers that Wechaty's scan event uses."""

    WAITING = 2
    SCANNED = 3
    CONFIRMED = 4


@dataclass(slots=True)
class SimulatedContact:
    """A person; `alias` is the remark that the bot's owner gave them, empty where there is none."""

    id: str
    name: str
    alias: str = ""
    weixin: str = ""


@dataclass(slots=True)
class SimulatedRoom:
    """A group chat; `aliases` are the names that members carry in this room only, by contact id."""

    id: str
    topic: str
    owner_id: str
    member_ids: list[str]
    aliases: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimulatedFile:
    """The bytes of a picture or a file; width and height are pixels, 0 for what is no picture."""

    name: str
    content_type: str
    data: bytes = field(repr=False)
    width: int = 0
    height: int = 0


@dataclass(frozen=True, slots=True)
class SimulatedMessage:
    """One message in a room (`room_id`), or between the bot and one contact (`room_id` is empty).

    `sequence` counts up by one per message; `timestamp` is seconds since 1970; `media` is set for
    pictures and files only; `mention_ids` are the contacts that the text mentions, as the client or
    the speaker said.
    """

    id: str
    sequence: int
    kind: MessageKind
    talker_id: str
    to_id: str
    room_id: str
    text: str
    mention_ids: tuple[str, ...]
    media: SimulatedFile | None
    timestamp: float
    sent_by_bot: bool

    @property
    def peer_id(self) -> str:
        """Give the contact on the other side of a direct chat, empty for a room's message."""
        if self.room_id:
            return ""
        return self.to_id if self.sent_by_bot else self.talker_id


@dataclass(frozen=True, slots=True)
class WorldChange:
    """One thing that happened; which fields are set depends on `kind`."""

    kind: ChangeKind
    message: SimulatedMessage | None = None
    contact_id: str = ""
    scan_status: int = 0
    room_id: str = ""
    old_topic: str = ""


Observer = Callable[[WorldChange], None]


def _random_id(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _new_contact_id() -> str:
    return f"wxid_{_random_id(string.ascii_lowercase + string.digits, 14)}"


def _new_room_id() -> str:
    return f"19221{_random_id(string.digits, 6)}@chatroom"


class World:
    """The state of one pretend WeChat, seen from the bot's account.

    Every method either does all it was asked or raises WorldError and changes nothing. Observers are
    called in the order of subscription, after the change is made.
    """

    def __init__(self) -> None:
        self.bot = SimulatedContact(id=_new_contact_id(), name=BOT_NAME, weixin="wxbridge")
        self.contacts: dict[str, SimulatedContact] = {}
        self.rooms: dict[str, SimulatedRoom] = {}
        self.unlisted: set[str] = set()
        """Ids that the gateway leaves out of its lists, as some do with rooms that are not saved to the contacts."""
        self.state = LoginState.STOPPED
        self.qrcode = ""
        self._messages: deque[SimulatedMessage] = deque(maxlen=MAX_MESSAGES)
        self._sequence = 0
        self._observers: list[Observer] = []

    def subscribe(self, observer: Observer) -> None:
        """Have `observer` called with every change from now on."""
        self._observers.append(observer)

    def _tell(self, change: WorldChange) -> None:
        for observer in self._observers:
            observer(change)

    # People and rooms

    def add_contact(self, name: str) -> SimulatedContact:
        """Make a friend of the bot.

        Raises:
            WorldError: the name is empty.
        """
        if not name.strip():
            raise WorldError("A contact needs a name.")
        contact = SimulatedContact(_new_contact_id(), name, weixin=f"wx_{_random_id(string.digits, 8)}")
        self.contacts[contact.id] = contact
        self._tell(WorldChange(ChangeKind.NAMES))
        return contact

    def add_room(self, topic: str, members: Iterable[str] | None = None) -> SimulatedRoom:
        """Make a group of the bot and `members` (ids or names; everybody when None).

        Raises:
            WorldError: the topic is empty or a member is unknown.
        """
        if not topic.strip():
            raise WorldError("A room needs a topic.")
        people = [self.find_contact(who).id for who in (self.contacts if members is None else members)]
        member_ids = list(dict.fromkeys([self.bot.id, *people]))
        room = SimulatedRoom(_new_room_id(), topic, people[0] if people else self.bot.id, member_ids)
        self.rooms[room.id] = room
        self._tell(WorldChange(ChangeKind.NAMES))
        return room

    def find_room(self, id_or_topic: str) -> SimulatedRoom:
        """Give the room with this id, or else with this topic.

        Raises:
            WorldError: there is none, or several rooms carry the topic.
        """
        if id_or_topic in self.rooms:
            return self.rooms[id_or_topic]
        found = [room for room in self.rooms.values() if room.topic == id_or_topic]
        if len(found) > 1:
            raise WorldError(f"{len(found)} rooms are called {id_or_topic!r}: give the id.")
        if not found:
            raise WorldError(f"There is no room {id_or_topic!r}.")
        return found[0]

    def find_contact(self, id_or_name: str) -> SimulatedContact:
        """Give the contact (or the bot) with this id, or else with this alias or name.

        Raises:
            WorldError: there is none, or several contacts carry the name.
        """
        everybody = {self.bot.id: self.bot, **self.contacts}
        if id_or_name in everybody:
            return everybody[id_or_name]
        found = [who for who in everybody.values() if id_or_name and id_or_name in (who.alias, who.name)]
        if len(found) > 1:
            raise WorldError(f"{len(found)} contacts are called {id_or_name!r}: give the id.")
        if not found:
            raise WorldError(f"There is no contact {id_or_name!r}.")
        return found[0]

    def name_in(self, contact_id: str, room_id: str = "") -> str:
        """Give the name a contact shows, in a room when one is given; the id where nobody knows it."""
        room = self.rooms.get(room_id)
        if room is not None and room.aliases.get(contact_id):
            return room.aliases[contact_id]
        who = self.bot if contact_id == self.bot.id else self.contacts.get(contact_id)
        return contact_id if who is None else who.name

    def conversation_name(self, message: SimulatedMessage) -> str:
        """Give the topic of the message's room, or the name of the contact of a direct chat."""
        room = self.rooms.get(message.room_id)
        return room.topic if room is not None else self.name_in(message.peer_id)

    def rename_room(self, room: str, topic: str, changer_id: str = "") -> SimulatedRoom:
        """Change a room's topic; `changer_id` is who did it, the room's owner by default.

        Raises:
            WorldError: the room is unknown or the topic is empty.
        """
        found = self.find_room(room)
        if not topic.strip():
            raise WorldError("A room needs a topic.")
        old, found.topic = found.topic, topic
        self._tell(
            WorldChange(ChangeKind.TOPIC, contact_id=changer_id or found.owner_id, room_id=found.id, old_topic=old)
        )
        return found

    def rename_contact(self, contact: str, *, name: str | None = None, alias: str | None = None) -> SimulatedContact:
        """Change a contact's own name, or the alias that the bot's account keeps for them.

        Raises:
            WorldError: the contact is unknown or the new name is empty.
        """
        found = self.find_contact(contact)
        if name is not None:
            if not name.strip():
                raise WorldError("A contact needs a name.")
            found.name = name
        if alias is not None:
            found.alias = alias
        self._tell(WorldChange(ChangeKind.NAMES))
        return found

    # The login

    def start(self) -> None:
        """A client started the gateway: ask for a scan, or say again who is logged in."""
        if self.state is LoginState.LOGGED_IN:
            self._tell(WorldChange(ChangeKind.LOGIN, contact_id=self.bot.id))
        elif self.state is LoginState.STOPPED:
            self._ask_for_scan()

    def stop(self) -> None:
        """A client stopped the gateway: the session ends, the next start wants a new scan."""
        self.state, self.qrcode = LoginState.STOPPED, ""
        self._tell(WorldChange(ChangeKind.STOPPED))

    def _ask_for_scan(self) -> None:
        self.state = LoginState.WAITING
        self.qrcode = f"https://login.weixin.qq.com/l/{_random_id(string.ascii_letters + string.digits, 10)}=="
        self._tell(WorldChange(ChangeKind.SCAN, scan_status=ScanStatus.WAITING))

    def refresh_qrcode(self) -> str:
        """Let the QR code expire and show the next one, as WeChat does every few minutes.

        Raises:
            WorldError: no QR code is being shown.
        """
        if self.state is not LoginState.WAITING:
            raise WorldError(f"No QR code is being shown: the login is {self.state}.")
        self._ask_for_scan()
        return self.qrcode

    def scan(self) -> None:
        """Scan the QR code with the pretend phone and confirm: the bot is logged in afterwards.

        Raises:
            WorldError: no QR code is being shown.
        """
        if self.state is not LoginState.WAITING:
            why = (
                "no client has started the gateway yet"
                if self.state is LoginState.STOPPED
                else f"the login is {self.state}"
            )
            raise WorldError(f"There is nothing to scan: {why}.")
        self.state = LoginState.SCANNED
        self._tell(WorldChange(ChangeKind.SCAN, scan_status=ScanStatus.SCANNED))
        self._tell(WorldChange(ChangeKind.SCAN, scan_status=ScanStatus.CONFIRMED))
        self.state, self.qrcode = LoginState.LOGGED_IN, ""
        self._tell(WorldChange(ChangeKind.LOGIN, contact_id=self.bot.id))

    def require_login(self) -> None:
        """Raise `WorldError` unless the bot is logged in."""
        if self.state is not LoginState.LOGGED_IN:
            raise WorldError(f"The bot is not logged in: the login is {self.state}.")

    def logout(self) -> None:
        """Log the bot out (as the phone's owner would) and show a fresh QR code.

        Raises:
            WorldError: the bot is not logged in.
        """
        self.require_login()
        self.state = LoginState.WAITING
        self._tell(WorldChange(ChangeKind.LOGOUT, contact_id=self.bot.id))
        self._ask_for_scan()

    def relogin_with_new_ids(self) -> None:
        """Give every room and contact, the bot too, a new id, as web-protocol WeChat does at each login.

        Names, topics and the history stay. Where the bot was logged in, a logout and a login are told.
        """
        was_logged_in, old_bot = self.state is LoginState.LOGGED_IN, self.bot.id
        people = {old: _new_contact_id() for old in (self.bot.id, *self.contacts)}
        rooms = {old: _new_room_id() for old in self.rooms}
        self.bot.id = people[self.bot.id]
        for contact in self.contacts.values():
            contact.id = people[contact.id]
        self.contacts = {contact.id: contact for contact in self.contacts.values()}
        for room in self.rooms.values():
            room.id = rooms[room.id]
            room.owner_id = people[room.owner_id]
            room.member_ids = [people[member] for member in room.member_ids]
            room.aliases = {people[who]: alias for who, alias in room.aliases.items()}
        self.rooms = {room.id: room for room in self.rooms.values()}
        renamed = [
            replace(
                message,
                talker_id=people.get(message.talker_id, message.talker_id),
                to_id=people.get(message.to_id, message.to_id),
                room_id=rooms.get(message.room_id, message.room_id),
                mention_ids=tuple(people.get(who, who) for who in message.mention_ids),
            )
            for message in self._messages
        ]
        self._messages = deque(renamed, maxlen=MAX_MESSAGES)
        if was_logged_in:
            self._tell(WorldChange(ChangeKind.LOGOUT, contact_id=old_bot))
            self._tell(WorldChange(ChangeKind.LOGIN, contact_id=self.bot.id))
        self._tell(WorldChange(ChangeKind.NAMES))

    # Messages

    def messages(
        self,
        room: str | None = None,
        contact: str | None = None,
        after: int = 0,
        *,
        sent_by_bot: bool | None = None,
    ) -> tuple[SimulatedMessage, ...]:
        """Give the messages, oldest first: of one room, or of the direct chat with one contact, or all.

        `after` leaves out those with a sequence up to it; `sent_by_bot` True leaves only the bot's own, False only
        other people's.

        Raises:
            WorldError: the room or the contact is unknown, or both were given.
        """
        if room is not None and contact is not None:
            raise WorldError("Give a room or a contact, not both.")
        found: Iterable[SimulatedMessage] = self._messages
        if room is not None:
            room_id = self.find_room(room).id
            found = (message for message in found if message.room_id == room_id)
        elif contact is not None:
            peer_id = self.find_contact(contact).id
            found = (message for message in found if message.peer_id == peer_id)
        return tuple(
            message for message in found if message.sequence > after and sent_by_bot in (None, message.sent_by_bot)
        )

    def message(self, message_id: str) -> SimulatedMessage:
        """Give one message by its id.

        Raises:
            WorldError: there is none (any more).
        """
        for message in reversed(self._messages):
            if message.id == message_id:
                return message
        raise WorldError(f"There is no message {message_id!r}.")

    def send(
        self,
        conversation_id: str,
        *,
        text: str = "",
        mention_ids: Iterable[str] = (),
        media: SimulatedFile | None = None,
    ) -> SimulatedMessage:
        """The bot sends a text, or a picture or file, to a room or contact by id.

        Raises:
            WorldError: the bot is not logged in, nobody has this id, or there is nothing to send.
        """
        self.require_login()
        if not text and media is None:
            raise WorldError("There is nothing to send.")
        is_room = conversation_id in self.rooms
        if not is_room and conversation_id not in self.contacts:
            raise WorldError(f"There is no room or contact with the id {conversation_id!r}.")
        return self._add(
            talker_id=self.bot.id,
            to_id="" if is_room else conversation_id,
            room_id=conversation_id if is_room else "",
            text=text,
            mention_ids=mention_ids,
            media=media,
        )

    def say(
        self,
        text: str,
        *,
        room: str | None = None,
        contact: str | None = None,
        talker: str | None = None,
        mention: bool | None = None,
        with_mention_ids: bool = True,
    ) -> SimulatedMessage:
        """A person says something in a room (by id or topic), or to the bot directly.

        `talker` is who speaks, by id or name; by default the room's first member, or the contact.
        `mention` True puts `@bot` in front where it is missing, False takes no notice of one, None looks
        for `@` and the bot's name (or 机器人). `with_mention_ids` False leaves the ids out of the payload,
        as gateways do that cannot tell.

        Raises:
            WorldError: neither or both of room and contact, an unknown name, somebody who is no member of
                the room, the bot itself, or a text that is empty or too long.
        """
        if (room is None) == (contact is None):
            raise WorldError("Give a room or a contact (one of them) to say something in.")
        if not text.strip():
            raise WorldError("There is no text to say.")
        if len(text) > MAX_TEXT:
            raise WorldError(f"The text has {len(text)} characters: {MAX_TEXT} is the most.")
        if room is None:
            who = self.find_contact(contact or "")
            if talker is not None and self.find_contact(talker).id != who.id:
                raise WorldError("In a direct chat only the contact itself can speak.")
            if who.id == self.bot.id:
                raise WorldError("The bot cannot be made to speak.")
            return self._add(talker_id=who.id, to_id=self.bot.id, room_id="", text=text)
        place = self.find_room(room)
        people = [member for member in place.member_ids if member != self.bot.id]
        if talker is None and not people:
            raise WorldError(f"Nobody but the bot is in {place.topic!r}.")
        talker_id = people[0] if talker is None else self._member(place, talker)
        text, mentioned = self._mention(text, place, mention)
        return self._add(
            talker_id=talker_id,
            to_id="",
            room_id=place.id,
            text=text,
            mention_ids=(self.bot.id,) if mentioned and with_mention_ids else (),
        )

    def _member(self, room: SimulatedRoom, talker: str) -> str:
        for member_id, alias in room.aliases.items():
            if alias == talker:
                return member_id
        who = self.find_contact(talker)
        if who.id == self.bot.id:
            raise WorldError("The bot cannot be made to speak.")
        if who.id not in room.member_ids:
            raise WorldError(f"{who.name} is not in {room.topic!r}.")
        return who.id

    def _mention(self, text: str, room: SimulatedRoom, mention: bool | None) -> tuple[str, bool]:  # noqa: FBT001 - private
        if mention is False:
            return text, False
        name = self.name_in(self.bot.id, room.id)
        for typed in (name, self.bot.name, BOT_NICKNAME):
            before, at, after = text.partition(f"@{typed}")
            if at and (not after or after[0].isspace()):
                return f"{before}@{name}{MENTION_END}{after[1:]}", True
            others = [self.name_in(each, room.id) for each in room.member_ids if each != self.bot.id]
            is_other = any(f"{typed}{after}".startswith(each) for each in others if each.startswith(typed))
            if at and not is_other and (not before or before.startswith("@")):
                # Chosen from the list of members, and the blank behind it taken out.
                return text, True
        return (f"@{name}{MENTION_END}{text}", True) if mention else (text, False)

    def _add(
        self,
        *,
        talker_id: str,
        to_id: str,
        room_id: str,
        text: str = "",
        mention_ids: Iterable[str] = (),
        media: SimulatedFile | None = None,
    ) -> SimulatedMessage:
        kind = MessageKind.TEXT if media is None else MessageKind.IMAGE if media.width else MessageKind.FILE
        self._sequence += 1
        message = SimulatedMessage(
            id=f"{secrets.choice('123456789')}{_random_id(string.digits, 18)}",
            sequence=self._sequence,
            kind=kind,
            talker_id=talker_id,
            to_id=to_id,
            room_id=room_id,
            text=text,
            mention_ids=tuple(mention_ids),
            media=media,
            timestamp=time.time(),
            sent_by_bot=talker_id == self.bot.id,
        )
        self._messages.append(message)
        self._tell(WorldChange(ChangeKind.MESSAGE, message=message))
        return message
