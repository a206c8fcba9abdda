"""What the bot sends: texts, pictures, and what WeCom's answers mean."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.integration.channels.wecom_bot.bot_harness import FAST, GROUP, USER, bot_fixture, target
from wxbridge.channels.wecom_bot.answers import WAKE, classify
from wxbridge.channels.wecom_bot.frames import parse
from wxbridge.channels.wecom_bot.markdown import add_mentions, escape_markdown
from wxbridge.channels.wecom_bot.media import CHUNK_BYTES
from wxbridge.channels.wecom_bot.settings import CAPABILITIES, MAX_MARKDOWN_BYTES, MAX_TEXT_BYTES
from wxbridge.core.errors import BadAddress, Offline, Permanent, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import ChannelState, PictureFile, Text

__all__ = ["bot_fixture"]

SEND, CHUNKS, FINISH = "aibot_send_msg", "aibot_upload_media_chunk", "aibot_upload_media_finish"
INIT = "aibot_upload_media_init"


async def test_a_text_goes_to_a_group_and_to_a_person(bot):
    channel = await bot.online()
    receipt = await channel.send(target(GROUP), Text("部署完成 100%"))
    await channel.send(target(USER, chat_type="single"), Text("hello"))
    await channel.send(target(GROUP, chat_type="group"), Text("again"))
    assert [(sent.chat, sent.kind, sent.text, sent.chat_type) for sent in bot.server.sent] == [
        (GROUP, "markdown", "部署完成 100%", 0),
        (USER, "markdown", "hello", 1),
        (GROUP, "markdown", "again", 2),
    ]
    assert receipt.id == bot.server.frames[1]["headers"]["req_id"]


async def test_a_markdown_text_goes_as_it_is_and_a_plain_one_is_escaped(bot):
    channel = await bot.online()
    await channel.send(target(), Text("**bold**", format="markdown"))
    await channel.send(target(), Text("**not bold**"))
    assert bot.texts == ["**bold**", r"\*\*not bold\*\*"]


async def test_mentions_stand_before_the_text(bot):
    channel = await bot.online()
    await channel.send(target(), Text("disk full"), ("zhangsan", "@lisi", "all", "zhangsan"))
    assert bot.texts == ["<@zhangsan> <@lisi> @所有人 disk full"]
    assert add_mentions("x", ["", " "]) == "x"


async def test_the_longest_plain_text_goes_whatever_it_is_made_of(bot):
    channel = await bot.online()
    for piece in ("*", "\n", "\t\n", "中", "a\n", " "):
        text = "x" + piece * ((MAX_TEXT_BYTES - 2) // len(piece.encode())) + "x"
        await channel.send(target(), Text(text))
    assert len(bot.texts) == 6


async def test_what_is_too_long_or_empty_is_refused_before_it_is_sent(bot):
    channel = await bot.online()
    with pytest.raises(Permanent, match=f"{MAX_MARKDOWN_BYTES + 1} bytes"):
        await channel.send(target(), Text("x" * (MAX_MARKDOWN_BYTES + 1), format="markdown"))
    with pytest.raises(Permanent, match="empty"):
        await channel.send(target(), Text(" \n"))
    with pytest.raises(Permanent, match="no conversation of a bot"):
        await channel.send("ops", Text("x"))
    assert bot.texts == []


# ---------------------------------------------------------------- a picture


@pytest.mark.parametrize("size", [5, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 17])
async def test_a_picture_is_uploaded_in_chunks_and_sent(bot, size):
    channel = await bot.online()
    data = os.urandom(size)
    await channel.send(target(), bot.picture(data))
    assert [(sent.kind, sent.media) for sent in bot.server.sent] == [("image", data)]
    assert sum(frame["cmd"] == CHUNKS for frame in bot.server.frames) == -(-size // CHUNK_BYTES)


async def test_a_picture_for_several_chats_is_uploaded_once(bot):
    channel = await bot.online()
    picture = bot.picture(b"12345678")
    await asyncio.gather(channel.send(target(GROUP), picture), channel.send(target(USER), picture))
    await channel.send(target(GROUP), bot.picture(b"12345678", "another name.png"))
    assert [sent.media for sent in bot.server.sent] == [b"12345678"] * 3
    assert len(bot.server.media) <= 2
    await channel.send(target(GROUP), bot.picture(b"something else"))
    assert bot.server.sent[-1].media == b"something else"


async def test_a_picture_that_wecom_has_lost_is_uploaded_again(bot):
    channel = await bot.online()
    picture = bot.picture(b"12345678")
    await channel.send(target(), picture)
    bot.server.media.clear()
    with pytest.raises(Transient, match="40007"):
        await channel.send(target(), picture)
    await channel.send(target(), picture)
    assert len(bot.server.sent) == 2


async def test_a_chunk_that_fails_or_stalls_is_sent_again(bot):
    channel = await bot.online(replace(FAST, upload=0.5))
    bot.server.refuse(CHUNKS, -1)
    bot.server.stall(CHUNKS)
    await channel.send(target(), bot.picture(os.urandom(2 * CHUNK_BYTES)))
    assert len(bot.server.sent) == 1


@pytest.mark.parametrize("command", [INIT, CHUNKS, FINISH])
async def test_an_upload_that_stalls_has_sent_nothing(bot, command):
    channel = await bot.online(replace(FAST, upload=0.05))
    bot.server.stall(command, 3 if command == CHUNKS else 1)
    with pytest.raises(Transient, match="the picture was not uploaded"):
        await channel.send(target(), bot.picture(b"12345678"))
    channel.media.answer_seconds = FAST.upload
    await channel.send(target(), bot.picture(b"12345678"))
    assert len(bot.server.sent) == 1


@pytest.mark.parametrize("command", [INIT, CHUNKS, FINISH])
async def test_an_upload_that_is_cut_off_has_sent_nothing_and_goes_later(bot, command):
    channel = await bot.online()
    bot.server.cut(command)
    with pytest.raises((Transient, Offline)):
        await channel.send(target(), bot.picture(b"12345678"))
    await bot.until(lambda: bot.states[-1] is ChannelState.ONLINE and bot.server.connections == 2)
    await channel.send(target(), bot.picture(b"12345678"))
    assert len(bot.server.sent) == 1


@pytest.mark.parametrize("command", [INIT, CHUNKS, FINISH])
async def test_an_upload_that_is_refused_tells_why(bot, command):
    channel = await bot.online()
    bot.server.refuse(command, 40009, 40009, 40009)
    with pytest.raises(Permanent, match=r"40009.*too big") as caught:
        await channel.send(target(), bot.picture(b"12345678"))
    assert caught.value.code == "40009"


async def test_a_picture_that_wecom_would_not_take_is_not_uploaded(bot):
    channel = await bot.online()
    for data in (b"1234", bytes(CAPABILITIES.picture_limit + 1)):
        with pytest.raises(Permanent, match=f"has {len(data)} bytes"):
            await channel.send(target(), bot.picture(data))
    with pytest.raises(Permanent, match="cannot be read: No such file"):
        await channel.send(target(), PictureFile(str(bot.tmp_path / "none"), "none.png", "image/png", 1))
    assert [frame["cmd"] for frame in bot.server.frames] == ["aibot_subscribe"]


# ---------------------------------------------------------------- no answer


async def test_a_stalled_answer_is_unknown_and_ends_nothing(bot):
    channel = await bot.online(replace(FAST, answer=0.5))
    bot.server.stall(SEND)
    with pytest.raises(Unknown, match="may have been sent"):
        await channel.send(target(), Text("once"))
    await channel.send(target(), Text("twice"))
    assert (bot.texts, bot.server.connections) == (["once", "twice"], 1)


async def test_a_stalled_answer_holds_up_no_other_message(bot):
    channel = await bot.online(replace(FAST, answer=60))
    bot.server.stall(SEND)
    stalled = asyncio.create_task(channel.send(target(GROUP), Text("stalled")))
    await bot.until(lambda: bot.texts == ["stalled"])
    await channel.send(target(USER), Text("passes"))
    assert bot.texts == ["stalled", "passes"]
    stalled.cancel()


async def test_a_connection_cut_after_the_message_left_is_unknown(bot):
    channel = await bot.online()
    bot.server.cut(SEND)
    with pytest.raises(Unknown, match="ended before the answer"):
        await channel.send(target(), Text("hello"))


async def test_a_repeat_goes_only_over_a_connection_that_answers_a_ping(bot):
    channel = await bot.online(replace(FAST, pong=0.3, ping=600))
    await channel.prove_alive(target())
    bot.server.deaf_to_pings = True
    with pytest.raises(Offline, match="no sign of life"):
        await channel.prove_alive(target())
    assert bot.texts == []


async def test_a_message_while_nobody_is_connected_waits(bot):
    channel = bot.make()
    with pytest.raises(Offline, match="the bot is starting"):
        await channel.send(target(), Text("hello"))


async def test_an_answer_that_says_neither_may_have_been_sent(bot):
    channel = await bot.online()
    bot.server.refuse(SEND, None)
    with pytest.raises(Unknown, match="may have been sent"):
        await channel.send(target(), Text("hello"))


async def test_a_subscription_that_wecom_forgot_is_made_again(bot):
    channel = await bot.online()
    bot.server.refuse(SEND, 846609)
    with pytest.raises(Offline, match="846609"):
        await channel.send(target(), Text("hello"))
    await bot.until(lambda: bot.server.connections == 2 and bot.states[-1] is ChannelState.ONLINE)
    await channel.send(target(), Text("hello"))
    assert bot.texts == ["hello"]


# ---------------------------------------------------------------- answers


async def test_a_closed_window_waits_and_tells_how_to_open_it(bot):
    channel = await bot.online()
    bot.server.asleep.add(GROUP)
    with pytest.raises(BadAddress, match="somebody has to write to it there first") as caught:
        await channel.send(target(), Text("hello"))
    assert caught.value.code == "95001"
    await bot.server.say("@bot wake up", group=GROUP)
    await channel.send(target(), Text("hello"))
    assert bot.texts == ["hello"]


async def test_a_chat_that_has_never_written_waits_as_well(bot):
    channel = await bot.online()
    with pytest.raises(BadAddress, match="93006"):
        await channel.send(target("wrNOBODY"), Text("hello"))


async def test_the_31st_message_of_a_minute_waits(bot):
    channel = await bot.online()
    for number in range(30):
        await channel.send(target(), Text(str(number)))
    with pytest.raises(Throttled, match="45009") as caught:
        await channel.send(target(), Text("30"))
    assert caught.value.retry_after == 60
    await channel.send(target(USER), Text("another conversation has its own"))


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (0, "ok", None),
        (-1, "system busy", Transient),
        (6000, "data version conflict", Transient),
        (45033, "concurrency", Transient),
        (40007, "invalid media_id", Transient),
        (846605, "invalid req_id", Transient),
        (846608, "stream message update expired", Transient),
        (45009, "api freq out of limit", Throttled),
        (846609, "aibot websocket not subscribed", Offline),
        (853000, "invalid bot_id or secret", Offline),
        (93006, "invalid chatid", "window"),
        (95018, "session status not allow", "window"),
        (45047, "out of response count limit", "window"),
        (40003, "invalid userid", BadAddress),
        (60111, "userid not found", BadAddress),
        (86001, "invalid chatid", BadAddress),
        (40006, "invalid media size", Permanent),
        (45002, "content size out of limit", Permanent),
        (40058, "markdown.content exceed max length 20480. invalid Request Parameter", Permanent),
        (40058, "invalid Request Parameter", Permanent),
        (40008, "invalid message type", Permanent),
        (44004, "empty content", Permanent),
        (48002, "api forbidden", Unauthorised),
        (853006, "this tool is not available for your corporation", Unauthorised),
        (40201, "anti-spam check", Permanent),
        (999999, "something new", Transient),
        (999999, "", Transient),
        (999999, "the session is closed", "window"),
        (999999, "user has not sent a message to the bot", "window"),
        (None, "", Unknown),
        (None, "<html>Bad Gateway</html>", Unknown),
    ],
)
def test_what_a_code_means(code, words, kind):
    error = classify(code, words)
    assert (type(error) if error else None) is (BadAddress if kind == "window" else kind)
    assert (kind == "window") == (WAKE in str(error))
    if error:
        assert error.code == (None if code is None else str(code))
        assert words in str(error)


def test_what_is_too_big_is_told_from_what_is_wrong():
    assert "too big" in str(classify(40058, "markdown.content exceed max length 20480"))
    assert "too big" not in str(classify(40058, "invalid Request Parameter"))


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.text(), st.lists).map(repr)))
def test_no_frame_breaks_the_reader(raw):
    frame = parse(raw)
    assert frame is None or frame.cmd.encode() is not None


# ---------------------------------------------------------------- plain texts in a service that takes Markdown

_WORDS = st.text(st.sampled_from("ab1 \n\t中_*`#>-+=~[]()<>!|\\.&$:;"), min_size=1, max_size=60)


def _shown(markdown: str) -> str:
    """The characters that a reader sees, by a Markdown library that nobody here wrote."""
    shown = ""
    for block in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown):
        assert block.type in ("paragraph_open", "paragraph_close", "inline"), (block.type, markdown)
        for child in block.children or ():
            assert child.type in ("text", "hardbreak", "softbreak", "text_special"), (child.type, markdown)
            shown += "\n" if child.type in ("hardbreak", "softbreak") else child.content
    return shown


@given(_WORDS)
def test_a_plain_text_is_shown_as_it_is(text):
    def essence(words):
        return [character for character in words if not character.isspace()]

    assert essence(_shown(escape_markdown(text))) == essence(text)
    assert len(escape_markdown(text).encode()) <= 3 * len(text.encode())


@pytest.mark.parametrize(
    "text",
    [
        "[FIRING] cpu_usage_total is 91.5 % on web-01", "1. first\n2. second", "# no heading", "- no list\n+ nor this",
        "> no quote", "a\nb", "is\n    no code", "<font>no tag</font> & no &amp;", "a | b\n--|--\n1 | 2", "x\n===",
        "~~no~~",
        "**no** _no_ `no` [no](https://example.com)",
    ],
)  # fmt: skip
def test_these_texts_are_shown_line_by_line(text):
    assert _shown(escape_markdown(text)).replace("\u00a0", " ") == text


def test_an_address_and_an_ordinary_text_stay_as_they_are():
    for text in (
        "https://grafana.example.com/d/a_b*c?x=[1]&y=_2_", "disk at 91% on web-01: cpu_usage (5m)", "部署完成",
        "[FIRING] 3 > 2 & 1 < 2, 5 * 3", "-5 °C at 10.5 m", "~5 min | 3 GB", r"C:\Users\ops", "a@example.com #12",
        "🔥 [Alerting] load1 host-1: 7.5 (instance=host-1)", "costs $5; x = {y}!",
    ):  # fmt: skip
        assert escape_markdown(text) == text
