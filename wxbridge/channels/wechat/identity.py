"""Which room or contact a target means, also after a rename or a login that gave everything new ids. Pure.

What the configuration says comes first: an id, or a name that one entry alone has. Where that finds
nobody, what was remembered of the target helps: its id, its names, and for a room its members. Whatever
is found otherwise than by the configuration's own word carries a `Notice`, which the caller gives to the
master before the first use; where several fit alike, nothing is found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Generic

from wxbridge.channels.wechat.address_words import CONTACT_WORDS, MAX_CANDIDATES, ROOM_WORDS, AddressWords
from wxbridge.channels.wechat.directory import Contact, Entry, Room, matches
from wxbridge.channels.wechat.names import fold_name

MIN_SHARED_FOR_GUESS = 0.6
"""The part of the people in either room that must be in both for a guess, from 0 to 1."""
MIN_LEAD = 0.2
"""How much more that must be than for the second best room."""
MIN_PEOPLE = 2
"""How many people besides the bot must be in both: with one, every chat with them would fit."""
MAX_SUSPECTS = 20
"""How many rooms are looked at closely, person by person."""
MIN_SHARED_FOR_CANDIDATE = 0.3
"""From which part of shared people on a room is offered as a candidate."""
MIN_NAME_LIKENESS = 0.5
"""How much alike a name must be to be offered, from 0 to 1."""


@dataclass(frozen=True)
class RememberedMember:
    """Somebody in a room; the name is empty where it is not known."""

    id: str
    name: str = ""


@dataclass(frozen=True)
class Remembered:
    """What a target was found to be."""

    id: str
    account: str
    """The bot's own id then: another account's ids mean nothing."""
    names: tuple[str, ...] = ()
    """A room's topic; a contact's alias, WeChat id and name."""
    members: tuple[RememberedMember, ...] = ()
    """Of a room, without the bot."""
    seen: int = 0
    """The newest `Known.since` at that time: what is not newer is known to be something else."""
    guess: bool = False
    """Whether it was guessed by its members."""
    told: str = ""
    """The key of the notice that the master has been given."""

    def was_called(self, wanted: str) -> bool:
        """Tell whether this was its id or one of its names."""
        return fold_name(wanted) in {fold_name(name) for name in (self.id, *self.names)}


@dataclass(frozen=True)
class Known(Generic[Entry]):
    """What there is now. Ids are unique; the order does not matter."""

    entries: Sequence[Entry]
    account: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    """What people are called, by id."""
    since: Mapping[str, int] = field(default_factory=dict)
    """A number that grows with every id that is seen for the first time, by id."""


@dataclass(frozen=True)
class Notice:
    """What the master has to be told before the first use; once for each key."""

    key: str
    text: str


@dataclass(frozen=True)
class Found(Generic[Entry]):
    """The one that is meant. `guess`: only its members say so."""

    entry: Entry
    notice: Notice | None = None
    guess: bool = False


@dataclass(frozen=True)
class AddressProblem:
    """Nobody, or several; `key` is equal for what need not be told twice."""

    key: str
    text: str
    candidates: tuple[str, ...] = ()


def resolve_room(wanted: str, before: Remembered | None, known: Known[Room]) -> Found[Room] | AddressProblem:
    """Find the room that a target names by id or topic; `before` is what it was found to be the last time.

    White space around a name does not count.
    """
    return _ROOMS.resolve(wanted, before, known)


def resolve_contact(wanted: str, before: Remembered | None, known: Known[Contact]) -> Found[Contact] | AddressProblem:
    """Find the contact that a target names by id, alias, WeChat id or name: the first of these that somebody has."""
    return _CONTACTS.resolve(wanted, before, known)


def remember_room(found: Found[Room], before: Remembered | None, known: Known[Room]) -> Remembered:
    """Give what to remember of a room that was found; names of members that are not known now are kept."""
    names = {member.id: member.name for member in before.members} if before else {}
    names |= {person: name for person in found.entry.member_ids if (name := known.names.get(person, ""))}
    members = tuple(RememberedMember(person, names.get(person, "")) for person in _people(found.entry, known.account))
    return _ROOMS.remember(found, known, members)


def remember_contact(found: Found[Contact], known: Known[Contact]) -> Remembered:
    """Give what to remember of a contact that was found."""
    return _CONTACTS.remember(found, known, ())


def suspects(before: Remembered, known: Known[Room]) -> list[Room]:
    """Give the rooms that a lost one may have become, those of the likeliest size first; at most `MAX_SUSPECTS`.

    Their members' names are worth asking for before `resolve_room` is believed.
    """
    size = len(before.members)
    rooms = [
        room
        for room in _select_newcomers(before, known)
        if _may_reach(size, _size(room, known.account), MIN_SHARED_FOR_CANDIDATE)
    ]
    rooms.sort(key=lambda room: (room.topic not in before.names, abs(_size(room, known.account) - size), room.id))
    return rooms[:MAX_SUSPECTS]


def overlap(one: Sequence[RememberedMember], other: Sequence[RememberedMember]) -> tuple[int, float]:
    """Compare two rooms' people: how many are in both, and which part of all they are, from 0 to 1.

    People are the same by their id; those left over by their name, which several may share.
    """
    both = {member.id for member in one} & {member.id for member in other}
    names = (Counter(each.name for each in people if each.name and each.id not in both) for people in (one, other))
    common = len(both) + (next(names) & next(names)).total()
    everybody = len(one) + len(other) - common
    return common, common / everybody if everybody else 0.0


# ---------------------------------------------------------------- what rooms and contacts have in common


class _Rules(ABC, Generic[Entry]):
    """How entries of one kind are found, and what the master is told of it."""

    words: AddressWords
    keys: tuple[Callable[[Entry], str], ...]
    """What an entry can be named by, in the order of precedence."""

    @abstractmethod
    def names(self, entry: Entry) -> tuple[str, ...]:
        """Give what is remembered of an entry's names."""

    @abstractmethod
    def find_again(self, wanted: str, before: Remembered, known: Known[Entry]) -> Found[Entry] | AddressProblem | None:
        """Look for one whose id is gone; None where nothing is like it."""

    @abstractmethod
    def choose(self, before: Remembered, entries: Sequence[Entry], known: Known[Entry]) -> Entry | None:
        """Take the one among several that is the remembered one most likely."""

    def resolve(self, wanted: str, before: Remembered | None, known: Known[Entry]) -> Found[Entry] | AddressProblem:
        """Find what is wanted; `before` is what it was found to be the last time."""
        named = sorted(matches(wanted, known.entries, self.keys), key=lambda entry: entry.id)
        if len(named) == 1:
            return Found(named[0], self._notice_of_change(wanted, named[0], before, known))
        same = _find_same(before, known)
        if before is not None and same is not None and same in named:
            text = self.words.one_of_several(wanted, same, len(named))
            return Found(same, Notice(self._key(same), text), before.guess)
        if named:
            # While the remembered one is there under another name, none of these is it.
            lost = before if same is None else None
            guess = None if lost is None else self.guess(wanted, lost, _select_new(lost, named, known), known)
            return guess or self._problem_several(wanted, named)
        if before is None:
            return self._problem_unknown(wanted, known)
        if same is not None:
            # The same key as where it was found first, so that it is told once.
            text = self.words.still_used(wanted, same, self._name(same), guessed=before.guess)
            return Found(same, Notice(self._key(same), text), before.guess)
        return self.find_again(wanted, before, known) or self._problem_gone(wanted, before, known)

    def remember(self, found: Found[Entry], known: Known[Entry], members: tuple[RememberedMember, ...]) -> Remembered:
        """Give what to remember of an entry that was found."""
        return Remembered(
            id=found.entry.id,
            account=known.account,
            names=self.names(found.entry),
            members=members,
            seen=max((known.since.get(entry.id, 0) for entry in known.entries), default=0),
            guess=found.guess,
            told=found.notice.key if found.notice else "",
        )

    def guess(
        self, wanted: str, before: Remembered, entries: Sequence[Entry], known: Known[Entry]
    ) -> Found[Entry] | None:
        """Take the likeliest of several, with a notice that says so; None where none is likely enough."""
        entry = self.choose(before, entries, known)
        if entry is None:
            return None
        reason = "most of its members are the same" if before.members else "all its names are the same"
        text = self.words.guessed(wanted, entry, self._name(entry), _describe(before), reason)
        return Found(entry, Notice(self._key(entry), text), guess=True)

    def moved(self, wanted: str, entry: Entry) -> Found[Entry]:
        """Take one that is called as the remembered one was, with a new id."""
        return Found(entry, Notice(self._key(entry), self.words.moved(wanted, entry, self._name(entry))))

    def problem_perhaps(self, wanted: str, before: Remembered, near: Sequence[Entry]) -> AddressProblem:
        """Name what the lost one may be, in this order; none is like it enough, or several are."""
        candidates = tuple(map(str, near))
        text = self.words.perhaps(wanted, _describe(before), candidates)
        return AddressProblem(_problem_key("perhaps", near), text, candidates)

    def _notice_of_change(
        self, wanted: str, entry: Entry, before: Remembered | None, known: Known[Entry]
    ) -> Notice | None:
        """Say so where the configuration's own word now finds another one than was used; new ids alone are no news."""
        if before is None or before.id == entry.id:
            return None
        stood_in = before.guess or not before.was_called(wanted)
        is_another = _find_same(before, known) is not None or not _select_new(before, [entry], known)
        if not stood_in and not is_another:
            return None
        return Notice(f"found {entry.id}", self.words.taken_over(wanted, entry, _describe(before)))

    def _problem_several(self, wanted: str, named: Sequence[Entry]) -> AddressProblem:
        candidates = tuple(sorted(map(str, named)))
        return AddressProblem(_problem_key("several", named), self.words.several(wanted, candidates), candidates)

    def _problem_gone(self, wanted: str, before: Remembered, known: Known[Entry]) -> AddressProblem:
        candidates = self._similar(wanted, known)
        text = self.words.gone(wanted, _describe(before), candidates, len(known.entries))
        return AddressProblem("gone", text, candidates)

    def _problem_unknown(self, wanted: str, known: Known[Entry]) -> AddressProblem:
        candidates = self._similar(wanted, known)
        return AddressProblem("unknown", self.words.unknown(wanted, candidates, len(known.entries)), candidates)

    def _similar(self, wanted: str, known: Known[Entry]) -> tuple[str, ...]:
        """Give those whose names are like this one, the likeliest first."""
        by_name: dict[str, list[Entry]] = {}
        for entry in sorted(known.entries, key=lambda entry: entry.id):
            for key in self.keys:
                name = key(entry).strip().casefold()
                if name:
                    by_name.setdefault(name, []).append(entry)
        wanted_name = wanted.strip().casefold()
        names = [name for name in by_name if len(wanted_name) > 1 and wanted_name in name][:MAX_CANDIDATES]
        names += get_close_matches(wanted_name, list(by_name), n=MAX_CANDIDATES, cutoff=MIN_NAME_LIKENESS)
        found = {entry.id: str(entry) for name in names for entry in by_name[name]}
        return tuple(list(found.values())[:MAX_CANDIDATES])

    def _key(self, entry: Entry) -> str:
        return f"{entry.id} {' '.join(self.names(entry))}"

    def _name(self, entry: Entry) -> str:
        """Give what to write into jobs.yaml."""
        return next((name for name in self.names(entry) if name), entry.id)


def _problem_key(why: str, entries: Iterable[Contact | Room]) -> str:
    return " ".join([why, *sorted(entry.id for entry in entries)])


def _describe(before: Remembered) -> str:
    name = next((name for name in before.names if name), "")
    shown = f"{name} ({before.id})" if name else before.id
    return f"{shown} with {len(before.members)} members besides the bot" if before.members else shown


def _find_same(before: Remembered | None, known: Known[Entry]) -> Entry | None:
    if before is None or before.account != known.account:
        return None
    return next((entry for entry in known.entries if entry.id == before.id), None)


def _select_new(before: Remembered, entries: Iterable[Entry], known: Known[Entry]) -> list[Entry]:
    """Leave out what was there beside the remembered one: that is certainly something else."""
    if before.account != known.account:
        return list(entries)
    # What nobody has counted (since 0) is never left out.
    return [entry for entry in entries if not 0 < known.since.get(entry.id, 0) <= before.seen]


def _select_newcomers(before: Remembered, known: Known[Entry]) -> list[Entry]:
    return sorted(_select_new(before, known.entries, known), key=lambda entry: entry.id)


# ---------------------------------------------------------------- rooms


class _RoomRules(_Rules[Room]):
    """Rooms: named by id or topic, known again by their members."""

    words = ROOM_WORDS
    keys = (lambda room: room.id, lambda room: room.topic)

    def names(self, entry: Room) -> tuple[str, ...]:
        return (entry.topic,)

    def find_again(self, wanted: str, before: Remembered, known: Known[Room]) -> Found[Room] | AddressProblem | None:
        rooms = _select_newcomers(before, known)
        topic = fold_name(before.names[0]) if before.names else ""
        called = [room for room in rooms if topic and fold_name(room.topic) == topic]
        if len(called) == 1:
            return self.moved(wanted, called[0])
        guess = self.guess(wanted, before, called or rooms, known)
        if guess is not None:
            return guess
        near = called or [room for _, room in _score_rooms(before, rooms, known, MIN_SHARED_FOR_CANDIDATE)]
        return self.problem_perhaps(wanted, before, near) if near else None

    def choose(self, before: Remembered, entries: Sequence[Room], known: Known[Room]) -> Room | None:
        scores = _score_rooms(before, entries, known, MIN_SHARED_FOR_GUESS - MIN_LEAD)
        if not scores or scores[0][0] < MIN_SHARED_FOR_GUESS:
            return None
        best, room = scores[0]
        if min(len(before.members), _size(room, known.account)) < MIN_PEOPLE:
            return None
        return None if len(scores) > 1 and best - scores[1][0] < MIN_LEAD else room


def _score_rooms(
    before: Remembered, rooms: Iterable[Room], known: Known[Room], least: float
) -> list[tuple[float, Room]]:
    """Give the rooms that share at least this part of the remembered people, the best first."""
    ids = {member.id for member in before.members}
    names = {member.name for member in before.members if member.name}
    found = []
    for room in rooms:
        people = _people(room, known.account)
        # Comparing is dear, counting is cheap, and there may be thousands of rooms.
        like = sum(person in ids or known.names.get(person) in names for person in people)
        if not _may_reach(len(ids), len(people), least) or like < least * max(len(ids), len(people)):
            continue
        members = [RememberedMember(person, known.names.get(person, "")) for person in people]
        _, score = overlap(before.members, members)
        if score >= least:
            found.append((score, room))
    return sorted(found, key=lambda pair: (-pair[0], pair[1].id))


def _people(room: Room, account: str) -> list[str]:
    return [person for person in dict.fromkeys(room.member_ids) if person != account]


def _size(room: Room, account: str) -> int:
    return len(room.member_ids) - (account in room.member_ids)


def _may_reach(one: int, other: int, least: float) -> bool:
    """Tell whether rooms of these sizes can share this part of their people: cheap, and rules most rooms out."""
    return min(one, other) >= max(1, least * max(one, other))


# ---------------------------------------------------------------- contacts


class _ContactRules(_Rules[Contact]):
    """Contacts: named by id, alias, WeChat id or name, known again by their WeChat id."""

    words = CONTACT_WORDS
    keys = (
        lambda contact: contact.id,
        lambda contact: contact.alias.strip(),
        lambda contact: contact.handle.strip(),
        lambda contact: contact.name.strip(),
    )

    def names(self, entry: Contact) -> tuple[str, ...]:
        return entry.alias.strip(), entry.handle.strip(), entry.name.strip()

    def find_again(
        self, wanted: str, before: Remembered, known: Known[Contact]
    ) -> Found[Contact] | AddressProblem | None:
        alias, handle, name = before.names if len(before.names) == 3 else ("", "", "")  # noqa: PLR2004 - as remembered
        people = _select_newcomers(before, known)
        # Two WeChat ids are two people, whatever they are called.
        others = [person for person in people if handle and person.handle and person.handle != handle]
        left = [person for person in people if person not in others]
        # By the WeChat id first, then by the alias, then by the name.
        for value, index in ((handle, 1), (alias, 0), (name, 2)):
            found = [person for person in left if value and self.names(person)[index] == value]
            if len(found) == 1:
                return self.moved(wanted, found[0])
            if found:
                return self.guess(wanted, before, found, known) or self.problem_perhaps(wanted, before, found)
        like = [person for person in others if {person.alias, person.name} & {alias, name} - {""}]
        return self.problem_perhaps(wanted, before, like) if like else None

    def choose(self, before: Remembered, entries: Sequence[Contact], known: Known[Contact]) -> Contact | None:  # noqa: ARG002 - names alone decide
        found = [person for person in entries if self.names(person) == before.names]
        return found[0] if len(found) == 1 else None


_ROOMS = _RoomRules()
_CONTACTS = _ContactRules()
