"""Conversations as tables: who writes what, how each line ends in the log, and what comes back.

A table is a list of `Turn`s. Its messages are written one after another without waiting, since a chat is answered in
order: what nothing comes back to is proved by the answer to the next one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from wxbridge.core.text.i18n import say

from .bridge_harness import BridgeHarness, BridgeProcess

ROOM = "技术讨论群"
MOMENTS = {say("bot.moment", "en"), say("bot.moment", "zh")}
PICTURE = "[picture]"
"""An answer that is a picture."""


@dataclass(frozen=True)
class Turn:
    """A message and what becomes of it."""

    who: str
    says: str
    ends: str = ""
    """The outcomes of its lines as the log has them: `here answered`, `run refused`, `unknown`; none for talk."""
    answers: tuple[str, ...] = ()
    """A regular expression for each message that comes back, or `PICTURE`."""


def turn(who: str, says: str, ends: str = "", *answers: str) -> Turn:
    return Turn(who, says, ends, answers)


@dataclass(frozen=True)
class Answer:
    """What came back; `data` is a picture's."""

    text: str
    data: bytes = b""


def fits(answer: Answer, wanted: str) -> bool:
    if wanted == PICTURE:
        return bool(answer.data)
    return not answer.data and re.search(wanted, answer.text, re.MULTILINE | re.DOTALL) is not None


def outcomes(bridge: BridgeProcess, target: str) -> list[str]:
    """How the commands of a chat ended, as the bridge logged it."""
    return [
        f"{line['command'] or ''} {line['outcome']}".strip()
        for line in bridge.logs
        if line["event"] == "command" and line.get("target") == target
    ]


def compare(turns: Sequence[Turn], answers: Sequence[Answer], ended: Sequence[str]) -> None:
    """Fail with the first line of the table that went otherwise."""
    rest, logged = list(answers), list(ended)
    for each in turns:
        for wanted in each.answers:
            said = rest.pop(0) if rest else Answer("(nothing)")
            assert fits(said, wanted), f"{each.who}: {each.says!r}\n  wanted {wanted!r}\n  came {said.text!r}"
        for wanted in filter(None, each.ends.split(", ")):
            assert logged, f"{each.who}: {each.says!r} was not logged"
            assert logged.pop(0) == wanted, f"{each.who}: {each.says!r} ended as {ended} say"
    assert ([answer.text for answer in rest], logged) == ([], [])


async def hold(
    harness: BridgeHarness, bridge: BridgeProcess, turns: Sequence[Turn], *, contact: str = "", target: str = "ops"
) -> list[Answer]:
    """Have a conversation in the room, or directly with `contact`; gives what came back.

    In the room a message that begins with `@` mentions whoever it names.
    """
    place = {"contact": contact} if contact else {"room": ROOM}
    said = lambda: [  # noqa: E731 - short
        Answer(message.text or f"[{message.media.name}]", message.media.data if message.media else b"")
        for message in harness.simulator.world.messages(**place, sent_by_bot=True)
    ]
    before, logged = len(said()), len(outcomes(bridge, target))
    for each in turns:
        harness.simulator.world.say(each.says, **place, talker=harness.simulator.world.find_contact(each.who).id)
    return await compared(
        harness.until, bridge, turns, lambda: said()[before:], lambda: outcomes(bridge, target)[logged:]
    )


async def compared(
    until: Callable[[Callable[[], object]], object], bridge: BridgeProcess, turns: Sequence[Turn],
    said: Callable[[], list[Answer]], ended: Callable[[], list[str]],
) -> list[Answer]:  # fmt: skip
    """Wait for as much as a table has, and compare. On a slow machine there is also “one moment”."""

    def told() -> list[Answer]:
        return [answer for answer in said() if answer.text not in MOMENTS]

    many = sum(len(each.answers) for each in turns)
    lines = sum(len(list(filter(None, each.ends.split(", ")))) for each in turns)
    try:
        await until(lambda: len(told()) >= many)
        await bridge.until(lambda: len(ended()) >= lines)
    except (AssertionError, TimeoutError):
        compare(turns, told(), ended())
        raise
    compare(turns, told(), ended())
    return told()
