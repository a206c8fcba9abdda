"""Whether a message is meant for the bot, and which lines of it are commands. Pure.

Three ways to be meant: a mention at the beginning or the end of a line (`@bot status`, `status @bot`), a prefix
(`/status`), or a direct chat. Everything else is talk among people and none of the bot's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from wxbridge.channels.mentions import is_everyone
from wxbridge.channels.wechat.mentions import SEPARATOR, without_quote
from wxbridge.core.model import Inbound
from wxbridge.core.text.normalise import normalise

MAX_LINES = 50
"""Of one message that are looked at."""

_AFTER_MENTION = r"[\s,:，：、]"
"""What may follow a mention besides the end."""
_WECHAT_MENTION = re.compile(rf"[@＠][^@＠{SEPARATOR}\n]{{1,64}}{SEPARATOR}\s*")
"""A mention of anybody, as WeChat writes it."""
_MENTION_BEFORE = re.compile(r"[@＠][^@＠\s]{1,64}\s*(?=[@＠])")
"""A mention of anybody, with another behind it."""
_TYPED_MENTION = re.compile(r"[@＠][^@＠\s]{1,64}(?:\s+|$)")
_TYPED_MENTION_LAST = re.compile(rf"(?:^|\s)[@＠][^@＠\s]{{1,64}}[\s{SEPARATOR}]*$")
_NAMED_PICTURE = re.compile(r"\[[^\[\]\n]{1,40}\]")
"""A picture or sticker as the channels name it (`[image]`), or one of WeChat's faces (`[捂脸]`)."""


class Addressing(StrEnum):
    """What made a line the bot's business."""

    DIRECT = "direct"
    MENTION = "mention"
    PREFIX = "prefix"


@dataclass(frozen=True)
class AddressedLine:
    """A line that may be a command: what was written, without mention and prefix. Empty for a mention alone."""

    text: str
    how: Addressing


def find_addressed_lines(inbound: Inbound, prefix: str) -> tuple[AddressedLine, ...]:
    """Give the lines of a message that are meant for the bot; none where it is not addressed. It never raises.

    A quoted message does not count. A mention counts for its own line and those below it; standing alone on the last
    line it counts for all. A prefix counts for its line. An empty `prefix` is none.
    """
    rows = [row.strip() for row in without_quote(inbound.text).splitlines()][:MAX_LINES]
    if inbound.room_id is None:
        spoken = _unmentioned(rows, inbound.called)
        if any(rows) and not any(spoken):
            return (AddressedLine("", Addressing.DIRECT),)
        return _with_words([_without_prefix(row, prefix, Addressing.DIRECT) for row in spoken])
    below = _below_mention(rows, inbound) if inbound.mentioned else []
    above = rows[: len(rows) - len(below)]
    found = [line for row in above if (line := _prefixed(row, prefix))]
    if inbound.mentioned and below and not any(below):
        return (*found, AddressedLine("", Addressing.MENTION))
    return _with_words([*found, *(_without_prefix(row, prefix, Addressing.MENTION) for row in below)])


def find_glued_lines(inbound: Inbound) -> tuple[AddressedLine, ...]:
    """Give the lines that begin with the bot's name and go on without a blank, though nobody says that it is meant.

    What follows may belong to another's name, so that only a command counts.
    """
    if inbound.room_id is None or inbound.mentioned or not inbound.called:
        return ()
    rows = [row.strip() for row in without_quote(inbound.text).splitlines()][:MAX_LINES]
    found = [_without_own(row, inbound.called) for row in rows if re.match("[@＠]", row)]
    return _with_words([AddressedLine(rest, Addressing.MENTION) for rest, is_own in found if is_own])


def _with_words(lines: list[AddressedLine]) -> tuple[AddressedLine, ...]:
    """Those with words in them: pictures, faces and signs ask for nothing."""
    return tuple(line for line in lines if any(map(str.isalnum, _NAMED_PICTURE.sub("", line.text))))


def _without_prefix(row: str, prefix: str, how: Addressing) -> AddressedLine:
    """A line that counts anyhow, with the prefix taken off where it has one."""
    found = _prefixed(row, prefix)
    return AddressedLine(found.text if found else row, how)


def _prefixed(row: str, prefix: str) -> AddressedLine | None:
    wanted, text = normalise(prefix).strip().casefold(), normalise(row)
    # The key of the slash writes 、 where a Chinese keyboard is on.
    if wanted == "/" and text.startswith("、"):
        text = f"/{text[1:]}"
    # What becomes longer as small letters is no prefix that anybody has set.
    if not wanted or text[: len(wanted)].casefold() != wanted:
        return None
    rest = row[len(wanted) :]
    if wanted[-1].isalnum():
        # A word has to end: `bot status`, not `bottom`.
        behind = re.match(rf"{_AFTER_MENTION}+", rest)
        if behind is None:
            return None
        rest = rest[behind.end() :]
    rest = rest.strip()
    return AddressedLine(rest, Addressing.PREFIX) if rest else None


def _unmentioned(rows: list[str], called: tuple[str, ...]) -> list[str]:
    """A direct chat's lines without a mention of the bot, which is of no use there; by habit some begin with one."""
    return [_without_own(row, called)[0] if called else _without_any(row, ())[0] for row in rows]


def _below_mention(rows: list[str], inbound: Inbound) -> list[str]:
    """The lines that a mention makes the bot's: from its line on, without it; none where it stands within talk."""
    says_own = bool(inbound.called) and any(
        _own(inbound.called).search(row) or _without_own(row, inbound.called)[1] for row in rows
    )
    for number, row in enumerate(rows):
        rest, found = _without_own(row, inbound.called) if says_own else _without_any(row, inbound.called)
        if not found:
            continue
        alone_at_the_end = not rest and number == len(rows) - 1
        return [*rows[:number], rest] if alone_at_the_end else [rest, *rows[number + 1 :]]
    # The gateway says that the bot was mentioned and the text does not say where: it was taken out, or the bot is
    # called otherwise by now.
    taken_out = not inbound.called or not any(re.search("[@＠]", row) for row in rows)
    return rows if taken_out else []


def _own(called: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"{_at_names(called)}(?:{_AFTER_MENTION}+|$)", re.IGNORECASE)


def _own_glued(called: tuple[str, ...]) -> re.Pattern[str]:
    """The bot's mention with something right behind it; where letters meet before others it is somebody else's name."""
    return re.compile(rf"{_at_names(called)}(?!(?<=[A-Za-z0-9])[A-Za-z0-9]\S*\s)", re.IGNORECASE)


def _at_names(called: tuple[str, ...]) -> str:
    return f"[@＠](?:{'|'.join(re.escape(name) for name in sorted(called, key=len, reverse=True))})"


def _without_own(row: str, called: tuple[str, ...]) -> tuple[str, bool]:
    """A line without the bot's mention at its beginning (behind those of others) or end; whether there was one.

    People do not type a blank behind a mention.
    """
    own = _own(called)
    at, found = _skip_mentions(row, own)
    rest = row[at:] if found else row
    for last in own.finditer(rest):
        if last.end() == len(rest) and not re.search(r"[A-Za-z0-9._+-]$", rest[: last.start()]):
            return rest[: last.start()].rstrip(), True
    if not found:
        at, found = _skip_mentions(row, _own_glued(called))
    return row[at:].strip() if found else rest.strip(), found


def _skip_mentions(row: str, own: re.Pattern[str]) -> tuple[int, bool]:
    """Where the mentions end that a line begins with; whether one of them is the bot's own."""
    at, found = 0, False
    while step := own.match(row, at) or _WECHAT_MENTION.match(row, at) or _MENTION_BEFORE.match(row, at):
        found = found or step.re is own
        at = step.end()
    return at, found


def _without_any(row: str, called: tuple[str, ...]) -> tuple[str, bool]:
    """A line without whoever is mentioned at its beginning, else at its end; whether there was somebody.

    Where the channel has taken the bot's mention out (`called` is empty), one at the end is somebody else's. Who tells
    everybody something asks nobody in particular, though gateways count the bot among them.
    """
    at = 0
    while step := _WECHAT_MENTION.match(row, at) or _TYPED_MENTION.match(row, at):
        if is_everyone(step[0].replace("＠", "@")):
            return row, False
        at = step.end()
    if at:
        return row[at:].strip(), True
    last = _TYPED_MENTION_LAST.search(row) if called else None
    return (row[: last.start()].rstrip(), True) if last else (row, False)
