"""How much one person is answered, and when it looks as if two bots talked to each other. Pure: the time is handed in.

Four things keep two bots from talking for ever: the channels leave out our own messages; nobody is answered more than
`chat.rate`; of lines that are no command only a few are answered; and who writes over and over what is no command, or
what our own answers begin with, is left alone for a while. Who waits for a picture writes a command many times.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from wxbridge.core.recent import RecentDict
from wxbridge.core.sliding_window import Rate, SlidingWindow

MAX_UNKNOWN = Rate(3, 60.0)
"""Lines of one person that are no command and are answered."""
MAX_SAME = Rate(5, 60.0)
"""How often somebody may write the same. Of a command the picture just made answers what is more."""
MAX_ECHOES = Rate(1, 60.0)
"""How often somebody may write what our own answers begin with: once is a copy, twice an echo."""
LEFT_ALONE_SECONDS = 600.0
"""For which somebody is left alone who goes beyond the last two."""
MIN_ECHO_CHARS = 12
"""Characters of an answer that have to be repeated to count as an echo; shorter ones may be anybody's words."""
MAX_ANSWERS_PER_CHAT = 20
"""That are remembered."""
MAX_REMEMBERED = 5000
"""People, and chats."""


class LimitDecision(StrEnum):
    """Whether to answer. The first of a kind is told, the rest is left in silence."""

    ANSWER = "answer"
    ANSWER_AGAIN = "answer_again"
    """With what was just answered to the same command."""
    TELL_LIMITED = "tell_limited"
    TELL_LEFT_ALONE = "tell_left_alone"
    SILENT = "silent"


@dataclass
class _SenderHistory:
    answered: SlidingWindow
    lines: deque[tuple[float, str]] = field(default_factory=deque)
    unknown: SlidingWindow = field(default_factory=lambda: SlidingWindow(MAX_UNKNOWN))
    echoes: SlidingWindow = field(default_factory=lambda: SlidingWindow(MAX_ECHOES))
    is_told: bool = False
    """Whether it was said that it is too much."""
    left_alone_until: float = 0.0


class SenderLimits:
    """Remembers what people wrote, by a key that tells one from another, and what was answered, by chat.

    `now` is in seconds of a clock that never goes back.
    """

    def __init__(self) -> None:
        self._senders = RecentDict[str, _SenderHistory](MAX_REMEMBERED)
        self._answers = RecentDict[str, deque[str]](MAX_REMEMBERED)

    def decide(self, sender: str, chat: str, line: str, now: float, *, rate: Rate, is_command: bool) -> LimitDecision:
        """Count a line and decide whether to answer it. A command is no echo: our answers tell people what to write."""
        known = self._history(sender, rate)
        if now < known.left_alone_until:
            return LimitDecision.SILENT
        if not known.answered.left(now):
            decision = LimitDecision.SILENT if known.is_told else LimitDecision.TELL_LIMITED
            known.is_told = True
            return decision
        known.is_told = False
        known.answered.note(now)
        while known.lines and known.lines[0][0] <= now - MAX_SAME.seconds:
            known.lines.popleft()
        text = _simplify(line)
        known.lines.append((now, text))
        is_echo = not is_command and self._is_echo(chat, text)
        is_same = sum(each == text for _, each in known.lines) > MAX_SAME.count
        if is_same and is_command:
            return LimitDecision.ANSWER_AGAIN
        if is_same or (is_echo and not known.echoes.left(now)):
            known.left_alone_until = now + LEFT_ALONE_SECONDS
            known.lines.clear()
            known.echoes = SlidingWindow(MAX_ECHOES)
            return LimitDecision.TELL_LEFT_ALONE
        if is_echo:
            known.echoes.note(now)
        # The first echo says nothing, so that there is nothing to repeat.
        return LimitDecision.SILENT if is_echo else LimitDecision.ANSWER

    def may_correct(self, sender: str, now: float, *, rate: Rate) -> bool:
        """Tell whether to say (again) that a line is no command; it counts as said."""
        unknown = self._history(sender, rate).unknown
        if not unknown.left(now):
            return False
        unknown.note(now)
        return True

    def note_answer(self, chat: str, text: str) -> None:
        """Remember what an answer begins with."""
        first = _simplify(text.split("\n", 1)[0])
        if len(first) < MIN_ECHO_CHARS:
            return
        known = self._answers.touch(chat, deque(maxlen=MAX_ANSWERS_PER_CHAT))
        if first not in known:
            known.append(first)

    def _is_echo(self, chat: str, text: str) -> bool:
        beginnings = self._answers.get(chat, ())
        return len(text) >= MIN_ECHO_CHARS and any(text.startswith(each[: 2 * MIN_ECHO_CHARS]) for each in beginnings)

    def _history(self, sender: str, rate: Rate) -> _SenderHistory:
        known = self._senders.touch(sender, _SenderHistory(SlidingWindow(rate)))
        known.answered.rate = rate
        return known


def _simplify(text: str) -> str:
    return " ".join(text.casefold().split())
