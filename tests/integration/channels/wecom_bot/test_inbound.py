"""What people write to the bot, as the bridge hears it, and how their chats are remembered."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.channels.wecom_bot.bot_harness import FAST, GROUP, USER, bot_fixture
from wxbridge.channels.wecom_bot import inbound
from wxbridge.channels.wecom_bot.directory import BotDirectory
from wxbridge.core.errors import StorageError
from wxbridge.core.model import ChannelState
from wxbridge.core.schema import contacts, rooms

__all__ = ["bot_fixture"]

LANE = "wecom_bot:main"


async def test_a_message_in_a_group_is_heard_without_the_mention_and_is_one_log_line(bot):
    await bot.online()
    with structlog.testing.capture_logs() as logs:
        msgid = await bot.server.say("@小桥 status\nnow", group=GROUP, user="lisi")
        await bot.until(lambda: bot.inbox)
    (heard,) = bot.inbox
    assert (heard.id, heard.text, heard.channel, heard.mentioned) == (msgid, "status\nnow", LANE, True)
    assert (heard.room_id, heard.room_topic, heard.sender_id) == (GROUP, "(lisi)", "lisi")
    (line,) = [line for line in logs if line["event"] == "message"]
    assert {key: line[key] for key in ("room", "topic", "sender", "name", "text", "log_level")} == {
        "room": GROUP, "topic": "(lisi)", "sender": "lisi", "name": "lisi", "text": "status\nnow", "log_level": "info",
    }  # fmt: skip


async def test_a_direct_message_counts_as_addressed(bot):
    await bot.online()
    await bot.server.say("@someone else", user=USER)
    await bot.until(lambda: bot.inbox)
    assert (bot.inbox[0].room_id, bot.inbox[0].mentioned, bot.inbox[0].text) == (None, True, "@someone else")


async def test_a_message_that_comes_twice_is_heard_once(bot):
    await bot.online()
    for _ in range(3):
        await bot.server.say("once", msgid="same")
    bot.server.drop()
    await bot.until(lambda: bot.server.connections == 2 and bot.states[-1] is ChannelState.ONLINE)
    await bot.server.say("once", msgid="same")
    await bot.server.say("then", msgid="other")
    await bot.until(lambda: len(bot.inbox) > 1)
    assert [heard.text for heard in bot.inbox] == ["once", "then"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"msgtype": "voice", "voice": {"content": "打开 状态"}}, "打开 状态"),
        ({"msgtype": "image", "image": {"url": "https://example.com/x", "aeskey": "k"}}, "[image]"),
        ({"msgtype": "file", "file": {"url": "https://example.com/x"}}, "[file]"),
        ({"msgtype": "location"}, "[location]"),
        (
            {
                "msgtype": "mixed",
                "mixed": {
                    "msg_item": [
                        {"msgtype": "text", "text": {"content": "look"}},
                        {"msgtype": "image", "image": {"url": "https://example.com/x"}},
                        {"msgtype": "text", "text": {"content": "here"}},
                        "rubbish",
                    ]
                },
            },
            "look [image] here",
        ),
    ],
)
async def test_what_is_no_text_is_heard_as_what_it_says(bot, body, text):
    await bot.online()
    await bot.server.say("", more=body)
    await bot.until(lambda: bot.inbox)
    assert bot.inbox[0].text == text


async def test_a_quote_is_in_the_log_and_not_in_the_command(bot):
    await bot.online()
    quote = {"msgtype": "text", "text": {"content": "[FIRING] disk full"}}
    with structlog.testing.capture_logs() as logs:
        await bot.server.say("@bot silence 2h", group=GROUP, more={"quote": quote})
        await bot.until(lambda: bot.inbox)
    assert bot.inbox[0].text == "silence 2h"
    assert [line["quoted"] for line in logs if line["event"] == "message"] == ["[FIRING] disk full"]


async def test_entering_a_chat_and_other_events_say_nothing(bot):
    await bot.online()
    for kind in ("enter_chat", "feedback_event", "template_card_event", "never_heard_of"):
        await bot.server.event(kind)
    await bot.server.say("hello")
    await bot.until(lambda: bot.inbox)
    assert [heard.text for heard in bot.inbox] == ["hello"]


async def test_a_handler_that_fails_does_not_end_the_hearing(bot):
    bot.make()
    heard = []

    async def fails(message):
        heard.append(message.text)
        bot.server.changed.set()
        raise RuntimeError("a bug")

    task = asyncio.create_task(bot.channel.run(fails, bot._status))
    bot.tasks.append(task)
    await bot.state(ChannelState.ONLINE)
    await bot.server.say("one")
    await bot.server.say("two")
    await bot.until(lambda: len(heard) == 2)


@pytest.mark.parametrize(
    ("said", "name", "text"),
    [
        ("@小桥 status", None, "status"),
        ("@小桥\u2005status", None, "status"),
        ("status", None, "status"),
        ("@小桥", None, ""),
        (" ＠小桥  a @b", None, "a @b"),
        ("@Ops Bot status", "Ops Bot", "status"),
        ("status @Ops Bot", "Ops Bot", "status"),
        ("@Ops Botty status", "Ops Bot", "Botty status"),
        ("@Ops Bot状态", "Ops Bot", "状态"),
        ("@小桥status", "小桥", "status"),
        ("mail me@example.com", None, "mail me@example.com"),
    ],
)
def test_the_mention_is_taken_out(said, name, text):
    assert inbound.remove_mention(said, name) == text


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from", "userid", "msgtype", "text", "content", "mixed", "msg_item", "quote", "chatid", "create_time"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["from", "msgtype", "text", "mixed", "quote", "chatid", "create_time"]), _JSON))
def test_no_body_breaks_the_reader(body):
    said = inbound.read_message(body, bot_name=None)
    assert said is None or said.user
    assert inbound.read_message({**body, "from": {"userid": "u"}}, bot_name="b").user == "u"


# ---------------------------------------------------------------- discovery


async def _listed(bot):
    def read(connection):
        found = sa.select(rooms.c.id, rooms.c.topic, rooms.c.present).where(rooms.c.channel == LANE)
        people = sa.select(contacts.c.id, contacts.c.name).where(contacts.c.channel == LANE)
        return [tuple(row) for row in connection.execute(found)], [tuple(row) for row in connection.execute(people)]

    return await bot.database.read(read)


async def test_chats_that_wrote_are_listed_with_what_is_known_of_them(bot):
    await bot.online()
    for user in ("lisi", "wangwu", "lisi"):
        await bot.server.say("@bot hi", group=GROUP, user=user)
    await bot.server.say("hi", user=USER)
    await bot.until(lambda: len(bot.inbox) == 4)
    assert await _listed(bot) == ([(GROUP, "(lisi, wangwu)", True)], [(USER, USER)])


async def test_what_was_known_is_known_after_a_restart_and_another_bot_begins_anew(bot):
    directory = BotDirectory(bot.database, LANE, "bot-1")
    await directory.remember("lisi", GROUP)
    again = BotDirectory(bot.database, LANE, "bot-1")
    await again.load()
    assert again.topic(GROUP) == "(lisi)"
    other = BotDirectory(bot.database, LANE, "bot-2")
    await other.load()
    assert (other.topic(GROUP), await _listed(bot)) == ("", ([], []))


async def test_a_large_group_is_told_by_a_few(bot):
    directory = BotDirectory(bot.database, LANE, "bot-1")
    for number in range(60):
        await directory.remember(f"u{number}", GROUP)
    assert directory.topic(GROUP) == "(u0, u1, u2, u3, u4…)"


async def test_a_database_that_takes_nothing_costs_no_message(bot, monkeypatch):
    await bot.online(FAST)
    await bot.server.say("zero", user="wangwu")
    await bot.until(lambda: bot.inbox)
    run, broken = bot.database.run, [True]

    async def sometimes(fn):
        if broken[0]:
            raise StorageError("disk full")
        return await run(fn)

    monkeypatch.setattr(bot.database, "run", sometimes)
    await bot.server.say("one", user=USER)
    await bot.until(lambda: len(bot.inbox) == 2)
    assert (await _listed(bot))[1] == [("wangwu", "wangwu")]
    broken[0] = False
    await bot.server.say("two", user=USER)
    await bot.until(lambda: len(bot.inbox) == 3)
    assert sorted((await _listed(bot))[1]) == [("wangwu", "wangwu"), (USER, USER)]
