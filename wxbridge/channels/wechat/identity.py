"""Which room or contact a target means, also after a rename or a login that gave everything new ids. Pure.

What the configuration says comes first: an id, or a name that one entry alone has. Where that finds
nobody, what was remembered of the target helps: its id, its names, and for a room its members. Whatever
is found otherwise than by the configuration's own word carries a `Notice`, which the caller gives to the
master before the first use; where several fit alike, nothing is found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Generic

from wxbridge.channels.wechat.directory import Contact, Entry, Room, matches

ENOUGH = 0.6
"""The part of the people in either room that must be in both for a guess, from 0 to 1."""
LEAD = 0.2
"""How much more that must be than for the second best room."""
PEOPLE = 2
"""How many people besides the bot must be in both: with one, every chat with them would fit."""
SUSPECTS = 20
"""How many rooms are looked at closely, person by person, at most."""

_NEAR = 0.3
"""From which part of shared people on a room is offered as a candidate."""
_CANDIDATES = 5
_ALIKE = 0.5
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
        return wanted.strip() in {name.strip() for name in (self.id, *self.names)}


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
    return _resolve(_ROOMS, wanted, before, known)


def resolve_contact(wanted: str, before: Remembered | None, known: Known[Contact]) -> Found[Contact] | AddressProblem:
    """Find the contact that a target names by id, alias, WeChat id or name: the first of these that somebody has."""
    return _resolve(_CONTACTS, wanted, before, known)


def remember_room(found: Found[Room], before: Remembered | None, known: Known[Room]) -> Remembered:
    """Give what to remember of a room that was found; names of members that are not known now are kept."""
    names = {member.id: member.name for member in before.members} if before else {}
    names |= {person: name for person in found.entry.member_ids if (name := known.names.get(person, ""))}
    members = tuple(RememberedMember(person, names.get(person, "")) for person in _people(found.entry, known.account))
    return _remember(_ROOMS, found, known, members)


def remember_contact(found: Found[Contact], known: Known[Contact]) -> Remembered:
    """Give what to remember of a contact that was found."""
    return _remember(_CONTACTS, found, known, ())


def suspects(before: Remembered, known: Known[Room]) -> list[Room]:
    """Give the rooms that a lost one may have become, those of the likeliest size first; at most `SUSPECTS`.

    Their members' names are worth asking for before `resolve_room` is believed.
    """
    size = len(before.members)
    rooms = [room for room in _newcomers(before, known) if _may_reach(size, _size(room, known.account), _NEAR)]
    rooms.sort(key=lambda room: (room.topic not in before.names, abs(_size(room, known.account) - size), room.id))
    return rooms[:SUSPECTS]


def overlap(one: Sequence[RememberedMember], other: Sequence[RememberedMember]) -> tuple[int, float]:
    """Compare two rooms' people: how many are in both, and which part of all they are, from 0 to 1.

    People are the same by their id; those left over by their name, which several may share.
    """
    both = {member.id for member in one} & {member.id for member in other}
    names = (Counter(each.name for each in people if each.name and each.id not in both) for people in (one, other))
    common = len(both) + (next(names) & next(names)).total()
    everybody = len(one) + len(other) - common
    return common, common / everybody if everybody else 0.0


# ---------------------------------------------------------------- what rooms and contacts differ in


@dataclass(frozen=True)
class _Kind(Generic[Entry]):
    word: str
    keys: tuple[Callable[[Entry], str], ...]
    names: Callable[[Entry], tuple[str, ...]]
    again: Callable[[str, Remembered, Known[Entry]], Found[Entry] | AddressProblem | None]
    """Look for one whose id is gone; None where nothing is like it."""
    choose: Callable[[Remembered, Sequence[Entry], Known[Entry]], Entry | None]
    """Take the one among several that is the remembered one most likely."""
    unique: str
    """How to end an ambiguity."""
    command: str
    where: str = ""
    """What to ask oneself where one is unknown."""
    gone: str = ""
    """Why one that was there may not be there any more, and what to do."""


def _resolve(
    kind: _Kind[Entry], wanted: str, before: Remembered | None, known: Known[Entry]
) -> Found[Entry] | AddressProblem:
    named = sorted(matches(wanted, known.entries, kind.keys), key=lambda entry: entry.id)
    if len(named) == 1:
        return Found(named[0], _takes_over(kind, wanted, named[0], before, known))
    same = _same(before, known)
    if before is not None and same is not None and same in named:
        return Found(same, _one_of(kind, wanted, same, len(named)), before.guess)
    if named:
        # While the remembered one is there under another name, none of these is it.
        lost = before if same is None else None
        guess = None if lost is None else _guess(kind, wanted, lost, _new(lost, named, known), known)
        return guess or _ambiguous(kind, wanted, named)
    if before is None:
        return _unknown(kind, wanted, known)
    if same is not None:
        return Found(same, _called(kind, wanted, same, before), before.guess)
    return kind.again(wanted, before, known) or _gone(kind, wanted, before, known)


def _remember(
    kind: _Kind[Entry], found: Found[Entry], known: Known[Entry], members: tuple[RememberedMember, ...]
) -> Remembered:
    return Remembered(
        id=found.entry.id,
        account=known.account,
        names=kind.names(found.entry),
        members=members,
        seen=max((known.since.get(entry.id, 0) for entry in known.entries), default=0),
        guess=found.guess,
        told=found.notice.key if found.notice else "",
    )


def _same(before: Remembered | None, known: Known[Entry]) -> Entry | None:
    if before is None or before.account != known.account:
        return None
    return next((entry for entry in known.entries if entry.id == before.id), None)


def _new(before: Remembered, entries: Iterable[Entry], known: Known[Entry]) -> list[Entry]:
    """Leave out what was there beside the remembered one: that is certainly something else."""
    if before.account != known.account:
        return list(entries)
    # What nobody has counted (since 0) is never left out.
    return [entry for entry in entries if not 0 < known.since.get(entry.id, 0) <= before.seen]


def _newcomers(before: Remembered, known: Known[Entry]) -> list[Entry]:
    return sorted(_new(before, known.entries, known), key=lambda entry: entry.id)


# ---------------------------------------------------------------- rooms


def _room_again(wanted: str, before: Remembered, known: Known[Room]) -> Found[Room] | AddressProblem | None:
    rooms = _newcomers(before, known)
    topic = before.names[0].strip() if before.names else ""
    called = [room for room in rooms if topic and room.topic.strip() == topic]
    if len(called) == 1:
        return Found(called[0], _moved(_ROOMS, wanted, called[0]))
    guess = _guess(_ROOMS, wanted, before, called or rooms, known)
    if guess is not None:
        return guess
    near = called or _near(before, rooms, known)
    return _ambiguous_again(_ROOMS, wanted, before, near) if near else None


def _scores(before: Remembered, rooms: Iterable[Room], known: Known[Room], least: float) -> list[tuple[float, Room]]:
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
        _, score = overlap(before.members, [RememberedMember(person, known.names.get(person, "")) for person in people])
        if score >= least:
            found.append((score, room))
    return sorted(found, key=lambda pair: (-pair[0], pair[1].id))


def _best_room(before: Remembered, rooms: Sequence[Room], known: Known[Room]) -> Room | None:
    scores = _scores(before, rooms, known, ENOUGH - LEAD)
    if not scores or scores[0][0] < ENOUGH or min(len(before.members), _size(scores[0][1], known.account)) < PEOPLE:
        return None
    return None if len(scores) > 1 and scores[0][0] - scores[1][0] < LEAD else scores[0][1]


def _near(before: Remembered, rooms: Sequence[Room], known: Known[Room]) -> list[Room]:
    return [room for _, room in _scores(before, rooms, known, _NEAR)]


def _people(room: Room, account: str) -> list[str]:
    return [person for person in dict.fromkeys(room.member_ids) if person != account]


def _size(room: Room, account: str) -> int:
    return len(room.member_ids) - (account in room.member_ids)


def _may_reach(one: int, other: int, least: float) -> bool:
    """Tell whether rooms of these sizes can share this part of their people: cheap, and rules most rooms out."""
    return min(one, other) >= max(1, least * max(one, other))


# ---------------------------------------------------------------- contacts


def _contact_again(wanted: str, before: Remembered, known: Known[Contact]) -> Found[Contact] | AddressProblem | None:
    alias, handle, name = before.names if len(before.names) == 3 else ("", "", "")  # noqa: PLR2004 - as remembered
    people = _newcomers(before, known)
    # Two WeChat ids are two people, whatever they are called.
    others = [person for person in people if handle and person.handle and person.handle != handle]
    left = [person for person in people if person not in others]
    for value, key in ((handle, _handle), (alias, _alias), (name, _name)):
        found = [person for person in left if value and key(person) == value]
        if len(found) == 1:
            return Found(found[0], _moved(_CONTACTS, wanted, found[0]))
        if found:
            guess = _guess(_CONTACTS, wanted, before, found, known)
            return guess or _ambiguous_again(_CONTACTS, wanted, before, found)
    like = [person for person in others if {person.alias, person.name} & {alias, name} - {""}]
    return _ambiguous_again(_CONTACTS, wanted, before, like) if like else None


def _best_contact(before: Remembered, people: Sequence[Contact], _: Known[Contact]) -> Contact | None:
    found = [person for person in people if _contact_names(person) == before.names]
    return found[0] if len(found) == 1 else None


def _alias(contact: Contact) -> str:
    return contact.alias.strip()


def _handle(contact: Contact) -> str:
    return contact.handle.strip()


def _name(contact: Contact) -> str:
    return contact.name.strip()


def _contact_names(contact: Contact) -> tuple[str, ...]:
    return _alias(contact), _handle(contact), _name(contact)


# ---------------------------------------------------------------- what the master is told


def _takes_over(
    kind: _Kind[Entry], wanted: str, entry: Entry, before: Remembered | None, known: Known[Entry]
) -> Notice | None:
    """Say so where the configuration's own word now finds another one than was used; new ids alone are no news."""
    if before is None or before.id == entry.id:
        return None
    stood_in = before.guess or not before.was_called(wanted)
    another = _same(before, known) is not None or not _new(before, [entry], known)
    if not stood_in and not another:
        return None
    text = (
        f"messages for the {kind.word} {wanted!r} go to {entry} from now on: that is what jobs.yaml says. "
        f"Until now they went to {_before(before)}. If that is not meant, correct jobs.yaml."
    )
    return Notice(f"found {entry.id}", text)


def _one_of(kind: _Kind[Entry], wanted: str, entry: Entry, count: int) -> Notice:
    text = f"{count} {kind.word}s are called {wanted!r}; messages go on to the one used before, {entry}. {kind.unique}"
    return Notice(_key(kind, entry), text)


def _called(kind: _Kind[Entry], wanted: str, entry: Entry, before: Remembered) -> Notice:
    """Say what stands in for the configured one; the same key as where it was found first, so that it is told once."""
    if before.guess:
        text = f"no {kind.word} is called {wanted!r}; messages still go to the one that was guessed, {entry}."
    else:
        text = f"the {kind.word} {wanted!r} is called {entry} now; messages still go there."
    return Notice(_key(kind, entry), f"{text} {_write(kind, entry)}")


def _moved(kind: _Kind[Entry], wanted: str, entry: Entry) -> Notice:
    text = (
        f"the {kind.word} {wanted!r} is not there any more, but one called as it was at last, with a new id: "
        f"messages go to {entry} now. {_write(kind, entry)}"
    )
    return Notice(_key(kind, entry), text)


def _guess(
    kind: _Kind[Entry], wanted: str, before: Remembered, entries: Sequence[Entry], known: Known[Entry]
) -> Found[Entry] | None:
    entry = kind.choose(before, entries, known)
    if entry is None:
        return None
    reason = "most of its members are the same" if before.members else "all its names are the same"
    text = (
        f"{wanted!r} does not tell one {kind.word} any more. It was {_before(before)}; this is a guess: messages go "
        f"to {entry} now, because {reason}. Look whether that is right. {_write(kind, entry)}"
    )
    return Found(entry, Notice(_key(kind, entry), text), guess=True)


def _key(kind: _Kind[Entry], entry: Entry) -> str:
    return f"{entry.id} {' '.join(kind.names(entry))}"


def _write(kind: _Kind[Entry], entry: Entry) -> str:
    return f"Put {next((name for name in kind.names(entry) if name), entry.id)!r} into jobs.yaml."


def _before(before: Remembered) -> str:
    name = next((name for name in before.names if name), "")
    shown = f"{name} ({before.id})" if name else before.id
    return f"{shown} with {len(before.members)} members besides the bot" if before.members else shown


# ---------------------------------------------------------------- problems


def _ambiguous(kind: _Kind[Entry], wanted: str, named: Sequence[Entry]) -> AddressProblem:
    candidates = tuple(sorted(map(str, named)))
    text = (
        f"{len(named)} {kind.word}s are called {wanted!r}: {_listed(candidates)}. Messages wait. "
        f"{kind.unique} `{kind.command}` lists the ids."
    )
    return AddressProblem(_problem_key("several", named), text, candidates)


def _ambiguous_again(kind: _Kind[Entry], wanted: str, before: Remembered, near: Sequence[Entry]) -> AddressProblem:
    """Name what the lost one may be, in this order; none is like it enough, or several are."""
    candidates = tuple(map(str, near))
    text = (
        f"no {kind.word} is called {wanted!r} any more. It was {_before(before)}, and may be: {_listed(candidates)}. "
        f"Messages wait. Put the right one into jobs.yaml (`{kind.command}` lists the ids)."
    )
    return AddressProblem(_problem_key("perhaps", near), text, candidates)


def _gone(kind: _Kind[Entry], wanted: str, before: Remembered, known: Known[Entry]) -> AddressProblem:
    candidates = _close(kind, wanted, known)
    hint = f" Alike: {_listed(candidates)}." if candidates else ""
    text = (
        f"no {kind.word} is called {wanted!r} any more. It was {_before(before)}. {kind.gone} Messages wait.{hint} "
        f"`{kind.command}` lists the {len(known.entries)} known."
    )
    return AddressProblem("gone", text, candidates)


def _unknown(kind: _Kind[Entry], wanted: str, known: Known[Entry]) -> AddressProblem:
    candidates = _close(kind, wanted, known)
    hint = f"Did you mean {_listed(candidates)}? " if candidates else ""
    text = f"no {kind.word} is called {wanted!r}. {hint}`{kind.command}` lists the {len(known.entries)} known. "
    return AddressProblem("unknown", (text + kind.where).strip(), candidates)


def _problem_key(why: str, entries: Iterable[Contact | Room]) -> str:
    return " ".join([why, *sorted(entry.id for entry in entries)])


def _close(kind: _Kind[Entry], wanted: str, known: Known[Entry]) -> tuple[str, ...]:
    by_name: dict[str, list[Entry]] = {}
    for entry in sorted(known.entries, key=lambda entry: entry.id):
        for key in kind.keys:
            name = key(entry).strip().casefold()
            if name:
                by_name.setdefault(name, []).append(entry)
    wanted_name = wanted.strip().casefold()
    names = [name for name in by_name if len(wanted_name) > 1 and wanted_name in name][:_CANDIDATES]
    names += get_close_matches(wanted_name, list(by_name), n=_CANDIDATES, cutoff=_ALIKE)
    found = {entry.id: str(entry) for name in names for entry in by_name[name]}
    return tuple(list(found.values())[:_CANDIDATES])


def _listed(candidates: Sequence[str]) -> str:
    shown = ", ".join(candidates[:_CANDIDATES])
    more = len(candidates) - _CANDIDATES
    return f"{shown} and {more} more" if more > 0 else shown


_ROOMS: _Kind[Room] = _Kind(
    word="room",
    keys=(lambda room: room.id, lambda room: room.topic),
    names=lambda room: (room.topic,),
    again=_room_again,
    choose=_best_room,
    unique="Make the topics differ in WeChat, or put the id into jobs.yaml.",
    command="wxbridge rooms",
    where="Is the bot's account a member of it, and is it saved to its contacts?",
    gone="Was the bot taken out of it, or the room dissolved? Invite the bot again, or put another into jobs.yaml.",
)
_CONTACTS: _Kind[Contact] = _Kind(
    word="contact",
    keys=(lambda contact: contact.id, _alias, _handle, _name),
    names=_contact_names,
    again=_contact_again,
    choose=_best_contact,
    unique="Give them different aliases in WeChat, or put the id into jobs.yaml.",
    command="wxbridge contacts",
    gone="Are they no friend of the bot's account any more? Add them again, or put another contact into jobs.yaml.",
)
