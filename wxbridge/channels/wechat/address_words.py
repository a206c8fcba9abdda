"""What the master is told where a target means another room or contact than jobs.yaml says, several, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MAX_CANDIDATES = 5
"""How many of those that may be meant are named."""


@dataclass(frozen=True)
class AddressWords:
    """The sentences about rooms, or about contacts. `entry` is one of them, shown by its name and id."""

    word: str
    unique: str
    """How to end an ambiguity."""
    command: str
    """What lists the ids."""
    why_gone: str
    """Why one that was there may not be there any more, and what to do."""
    where: str = ""
    """What to ask oneself where one is unknown."""

    def taken_over(self, wanted: str, entry: object, before: str) -> str:
        """Say that the configuration's own word finds another one than was used."""
        return (
            f"messages for the {self.word} {wanted!r} go to {entry} from now on: that is what jobs.yaml says. "
            f"Until now they went to {before}. If that is not meant, correct jobs.yaml."
        )

    def one_of_several(self, wanted: str, entry: object, count: int) -> str:
        """Say that several are called so, and the one used before is used."""
        return (
            f"{count} {self.word}s are called {wanted!r}; messages go on to the one used before, {entry}. {self.unique}"
        )

    def still_used(self, wanted: str, entry: object, name: str, *, guessed: bool) -> str:
        """Say what stands in for the configured one."""
        if guessed:
            text = f"no {self.word} is called {wanted!r}; messages still go to the one that was guessed, {entry}."
        else:
            text = f"the {self.word} {wanted!r} is called {entry} now; messages still go there."
        return f"{text} {_write(name)}"

    def moved(self, wanted: str, entry: object, name: str) -> str:
        """Say that one called as it was at last is used, with a new id."""
        return (
            f"the {self.word} {wanted!r} is not there any more, but one called as it was at last, with a new id: "
            f"messages go to {entry} now. {_write(name)}"
        )

    def guessed(self, wanted: str, entry: object, name: str, before: str, reason: str) -> str:
        """Say that it was guessed, and why so."""
        return (
            f"{wanted!r} does not tell one {self.word} any more. It was {before}; this is a guess: messages go "
            f"to {entry} now, because {reason}. Look whether that is right. {_write(name)}"
        )

    def several(self, wanted: str, candidates: Sequence[str]) -> str:
        """Say that several are called so."""
        return (
            f"{len(candidates)} {self.word}s are called {wanted!r}: {_listed(candidates)}. Messages wait. "
            f"{self.unique} `{self.command}` lists the ids."
        )

    def perhaps(self, wanted: str, before: str, candidates: Sequence[str]) -> str:
        """Say what the lost one may be."""
        return (
            f"no {self.word} is called {wanted!r} any more. It was {before}, and may be: {_listed(candidates)}. "
            f"Messages wait. Put the right one into jobs.yaml (`{self.command}` lists the ids)."
        )

    def gone(self, wanted: str, before: str, candidates: Sequence[str], count: int) -> str:
        """Say that it is lost, and what is called alike."""
        hint = f" Alike: {_listed(candidates)}." if candidates else ""
        return (
            f"no {self.word} is called {wanted!r} any more. It was {before}. {self.why_gone} Messages wait.{hint} "
            f"`{self.command}` lists the {count} known."
        )

    def unknown(self, wanted: str, candidates: Sequence[str], count: int) -> str:
        """Say that nobody is called so, and what is called alike."""
        hint = f"Did you mean {_listed(candidates)}? " if candidates else ""
        text = f"no {self.word} is called {wanted!r}. {hint}`{self.command}` lists the {count} known. "
        return (text + self.where).strip()


def _write(name: str) -> str:
    return f"Put {name!r} into jobs.yaml."


def _listed(candidates: Sequence[str]) -> str:
    shown = ", ".join(candidates[:MAX_CANDIDATES])
    more = len(candidates) - MAX_CANDIDATES
    return f"{shown} and {more} more" if more > 0 else shown


ROOM_WORDS = AddressWords(
    word="room",
    unique="Make the topics differ in WeChat, or put the id into jobs.yaml.",
    command="wxbridge rooms",
    where="Is the bot's account a member of it? Save it to its contacts, write something there, or use its id.",
    why_gone="Was the bot taken out of it, or the room dissolved? Invite the bot again, or put another into jobs.yaml.",
)
CONTACT_WORDS = AddressWords(
    word="contact",
    unique="Give them different aliases in WeChat, or put the id into jobs.yaml.",
    command="wxbridge contacts",
    why_gone="Are they no friend of the bot's account any more? Add them again, or put another contact into jobs.yaml.",
)
