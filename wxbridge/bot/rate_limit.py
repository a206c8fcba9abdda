"""How much one person is answered, and when it looks as if two bots talked to each other. Pure: the time is handed in.

Four things keep two bots from talking for ever: the channels leave out our own messages; nobody is answered more than
`rate`; of lines that are no command only `UNKNOWN_AT_MOST` are answered; and who writes the same thing over and over,
or what our own answers begin with, is not answered for a while (the breaker).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum

from wxbridge.config.types import Rate

SAME_AT_MOST = 5
"""How often somebody may ask the same within `WITHIN` seconds; a person who waits for something asks three times."""
UNKNOWN_AT_MOST = 3
"""How many lines of one person that are no command are answered within `WITHIN` seconds."""
ECHOES_AT_MOST = 2
"""How often somebody may write what our own answers begin with: once is a copy, twice an echo."""
WITHIN = 60.0
PAUSE = 600.0
"""Seconds that the breaker leaves somebody unanswered."""
_BEGINNING = 12
"""Characters of an answer that have to be repeated to count as an echo; shorter ones may be anybody's words."""
_ANSWERS = 20
"""Answers that are remembered for each chat."""
_PEOPLE = 5000
"""People and chats that are remembered."""


class Verdict(StrEnum):
    """Whether to answer. The first of a kind is told, the rest is left in silence."""

    ANSWER = "answer"
    TELL_LIMITED = "tell_limited"
    TELL_TRIPPED = "tell_tripped"
    SILENT = "silent"


@dataclass
class _Person:
    asked: deque[float] = field(default_factory=deque)
    lines: deque[tuple[float, str]] = field(default_factory=deque)
    unknown: deque[float] = field(default_factory=deque)
    echoes: deque[float] = field(default_factory=deque)
    told: bool = False
    """Whether it was said that it is too much."""
    until: float = 0.0
    """Until when the breaker is open."""


class Limits:
    """What is remembered of people, by a key that tells one from another, and of our answers, by chat."""

    def __init__(self) -> None:
        self._people: OrderedDict[str, _Person] = OrderedDict()
        self._answers: OrderedDict[str, deque[str]] = OrderedDict()

    def ask(self, person: str, chat: str, line: str, now: float, *, rate: Rate, command: bool) -> Verdict:
        """Count a line and tell whether to answer it; `now` is in seconds of a clock that never goes back.

        A line that is a `command` is no echo: our answers tell people what to write.
        """
        known = self._person(person)
        if now < known.until:
            return Verdict.SILENT
        _forget(known.asked, now - rate.seconds)
        if len(known.asked) >= rate.count:
            verdict = Verdict.SILENT if known.told else Verdict.TELL_LIMITED
            known.told = True
            return verdict
        known.told = False
        known.asked.append(now)
        while known.lines and known.lines[0][0] <= now - WITHIN:
            known.lines.popleft()
        text = " ".join(line.casefold().split())
        known.lines.append((now, text))
        if not command and self._is_echo(chat, text):
            known.echoes.append(now)
        _forget(known.echoes, now - WITHIN)
        same = sum(1 for _, each in known.lines if each == text)
        if same > SAME_AT_MOST or len(known.echoes) >= ECHOES_AT_MOST:
            known.until = now + PAUSE
            known.lines.clear()
            known.echoes.clear()
            return Verdict.TELL_TRIPPED
        # The first echo says nothing, so that there is nothing to repeat.
        return Verdict.SILENT if known.echoes and known.echoes[-1] == now else Verdict.ANSWER

    def may_correct(self, person: str, now: float) -> bool:
        """Whether to tell somebody (again) that a line is no command; it counts as told."""
        known = self._person(person).unknown
        _forget(known, now - WITHIN)
        if len(known) >= UNKNOWN_AT_MOST:
            return False
        known.append(now)
        return True

    def answered(self, chat: str, text: str) -> None:
        """Remember what an answer begins with."""
        first = " ".join(text.split("\n", 1)[0].casefold().split())
        if len(first) < _BEGINNING:
            return
        known = self._answers.setdefault(chat, deque(maxlen=_ANSWERS))
        self._answers.move_to_end(chat)
        if first not in known:
            known.append(first)
        if len(self._answers) > _PEOPLE:
            self._answers.popitem(last=False)

    def _is_echo(self, chat: str, text: str) -> bool:
        beginnings = self._answers.get(chat, ())
        return len(text) >= _BEGINNING and any(text.startswith(each[: 2 * _BEGINNING]) for each in beginnings)

    def _person(self, key: str) -> _Person:
        known = self._people.setdefault(key, _Person())
        self._people.move_to_end(key)
        if len(self._people) > _PEOPLE:
            self._people.popitem(last=False)
        return known


def _forget(times: deque[float], before: float) -> None:
    while times and times[0] <= before:
        times.popleft()
