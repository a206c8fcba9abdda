"""`1`, `2`, `3` name the list just shown, and quotes and signs are those of any keyboard."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.bot.bot_harness import BOT, Talk, kind
from wxbridge.bot.command import Choices, ChooseOne, Command, Permission, Reply, number_lines
from wxbridge.core.model import Text


async def _list(command: Command) -> Reply:
    if command.words:
        return Reply((Text(f"one: {command.text}"),))
    text = "\n".join(number_lines(["list a1", "list b2", 'list "c c"']))
    return Reply((Text(text),), choices=Choices(("a1", "b2", '"c c"'), "list", ("stop", "echo")))


async def _which(command: Command) -> str:
    if not command.words:
        raise ChooseOne("which one?", Choices(("x", "y"), "which"))
    return f"chosen {command.text}"


async def _silences(_: Command) -> Reply:
    return Reply((Text("s1 s2"),), choices=Choices(("s1", "s2"), "", ("stop",)))


async def _echo(command: Command) -> str:
    return "|".join(command.words)


@pytest.fixture
def talk(make_talk: Any) -> Talk:
    made: Talk = make_talk()
    made.bot = made.make([
        kind("list", _list, "列表"), kind("which", _which, "哪个"), kind("echo", _echo, "复述"),
        kind("silences", _silences, "静默列表"), kind("stop", _echo, "停止", permission=Permission.ADMINS),
    ])  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/2", "one: b2"),
        (f"@{BOT} 3", 'one: "c c"'),
        ("/２。", "one: b2"),
        ("/2.", "one: b2"),
        ("/2、", "one: b2"),
        ("/2 6h", "one: b2 6h"),
        ("/list 2 6h", "one: b2 6h"),
        ("/列表 2", "one: b2"),
        ("/echo 3 x", "c c|x"),
        ("/3. list b2", "one: b2"),
        ("/4", "The list ends at 3; there is no 4."),
        ("/0", "The list ends at 3; there is no 0."),
        ("/which 1", "chosen 1"),
        ("/echo 7", "7"),
    ],
)
async def test_a_number_names_an_entry_of_the_list_just_shown(talk, line, answer):
    await talk.say("/list")
    assert await talk.say(line) == [answer]


async def test_in_a_direct_chat_the_number_alone_is_enough(talk):
    talk.channels.direct["wxid_zhang"] = "second"
    await talk.say("list", room=None)
    assert await talk.say("2", room=None) == ["one: b2"]


async def test_who_is_asked_which_one_answers_with_a_number(talk):
    assert await talk.say("/which") == ["which one?"]
    assert await talk.say("/2") == ["chosen y"]


async def test_the_list_just_shown_counts_and_each_chat_has_its_own(talk):
    await talk.say("/list")
    await talk.say("/which")
    assert await talk.say("/1") == ["chosen x"]
    assert await talk.say("/1", room="second-room") == []


async def test_without_a_list_a_number_is_no_command(talk):
    assert await talk.say("/2") == []
    assert (await talk.say(f"@{BOT} 2"))[0].startswith("I do not know “2”")


async def test_a_list_is_forgotten_after_a_while(talk):
    await talk.say("/list")
    talk.clock.time += 601
    assert await talk.say("/2") == []


async def test_a_number_gives_nobody_more_rights(talk):
    await talk.say("/list")
    (answer,) = await talk.say("/stop 2")
    assert "chat.admins" in answer


async def test_of_what_a_number_alone_would_end_a_command_is_wanted(talk):
    talk.channels.masters.add("wxid_zhang")
    await talk.say("/silences")
    assert await talk.say("/2") == []
    assert await talk.say("/stop 2") == ["s2"]


async def test_the_number_may_come_before_the_list_was_sent(talk):
    await talk.write("/list")
    await talk.write(f"@{BOT} 2")
    await talk.bot.wait_idle()
    assert (await talk.replies())[-1] == "one: b2"


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        (f"@{BOT}echo x", ["x"]),
        (f"@{BOT}复述 x", ["x"]),
        (f"@Alice@{BOT}echo x", ["x"]),
        (f"@{BOT}梁 echo x", []),
        (f"@{BOT}梁echo x", []),
        (f"mail echo@{BOT}echo x", []),
    ],
)
async def test_a_glued_name_that_the_gateway_does_not_take_for_a_mention_counts_before_a_command(talk, line, answers):
    assert await talk.say(line) == answers


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("/echo “a b” ‘c d’\u00a0e", "a b|c d|e"),
        ("／ｅｃｈｏ　ａ＝“ｂ　ｃ”", "a=ｂ　ｃ"),
        (f"@{BOT}echo x", "x"),
        ("/复述（x）［y］", "(x)[y]"),
    ],
)
async def test_signs_count_as_plain_ones_in_every_command(talk, line, answer):
    given = {"mentioned": True} if line.startswith("@") else {}
    assert await talk.say(line, **given) == [answer]
