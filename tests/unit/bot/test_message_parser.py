"""What is meant for the bot, and what is talk among people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.bot.bot_harness import BOT, inbound
from wxbridge.bot.message_parser import Addressing, find_addressed_lines
from wxbridge.channels.wechat.mentions import SEPARATOR

QUOTE = f"「张三：@{BOT} graph kafka」\n- - - - - - - - - - - - - - -\n"


def heard(text: str, prefix: str = "/", **given) -> list[str]:
    return [line.text for line in find_addressed_lines(inbound(text, **given), prefix)]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        # by mention
        (f"@{BOT}{SEPARATOR}graph kafka", ["graph kafka"]),
        (f"@{BOT} graph kafka", ["graph kafka"]),
        (f"＠{BOT}　graph kafka", ["graph kafka"]),
        (f"graph kafka @{BOT}", ["graph kafka"]),
        (f"状态@{BOT}{SEPARATOR}", ["状态"]),
        (f"@{BOT}，状态", ["状态"]),
        (f"@{BOT}: graph kafka", ["graph kafka"]),
        (f"  @{BOT} /graph kafka", ["graph kafka"]),
        (f"@张三{SEPARATOR}@{BOT}{SEPARATOR}graph kafka", ["graph kafka"]),
        (f"@{BOT}{SEPARATOR}silence x 2h for @张三", ["silence x 2h for @张三"]),
        (f"@{BOT}\ngraph kafka\n\nalerts", ["graph kafka", "alerts"]),
        (f"@{BOT} graph kafka\nalerts", ["graph kafka", "alerts"]),
        (f"graph kafka\nalerts\n@{BOT}", ["graph kafka", "alerts"]),
        (f"graph of yesterday was odd\n@{BOT} graph kafka", ["graph kafka"]),
        (f"@{BOT}", [""]),
        (f"@{BOT}\u200b 👍 [捂脸]", []),
        # by prefix
        ("/graph kafka", ["graph kafka"]),
        ("／graph kafka", ["graph kafka"]),
        ("、graph kafka", ["graph kafka"]),
        ("  / graph kafka ", ["graph kafka"]),
        ("/graph kafka\nlook at that\n/alerts", ["graph kafka", "alerts"]),
        ("/", []),
        # talk
        ("the graph of kafka looks odd", []),
        ("graph kafka", []),
        ("graph", []),
        ("help", []),
        (f"问问 @{BOT} 吧, graph 看不懂", []),
        (f"mail graph@{BOT}", []),
        (f"@{BOT}梁 graph kafka", []),
        ("@张三 graph kafka", []),
        ("either/or", []),
        ("[image]", []),
        ("/::D /[捂脸]", ["::D /[捂脸]"]),
        ("", []),
        # quotes
        (QUOTE + "看看这个", []),
        (QUOTE + f"@{BOT} ack 3", ["ack 3"]),
        (QUOTE + "/ack 3", ["ack 3"]),
        (f"「张三：「李四：/x」\n- - - - - - -\n/y」\n——————————\n@{BOT}{SEPARATOR}ack 3", ["ack 3"]),
        (QUOTE, []),
        (QUOTE.rstrip("\n"), []),
    ],
)
def test_which_lines_of_a_room_are_commands(text, lines):
    assert heard(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("graph kafka", ["graph kafka"]),
        ("/graph kafka\nalerts", ["graph kafka", "alerts"]),
        ("[image]", []),
        ("[捂脸][OK]", []),
        ("👍", []),
        ("「我：hello」\n- - - - - - - -\nack 3", ["ack 3"]),
        (f"@{BOT} graph kafka", ["graph kafka"]),
        (f"@{BOT}{SEPARATOR}/graph kafka\nalerts", ["graph kafka", "alerts"]),
        (f"@{BOT}{SEPARATOR}", [""]),
        ("silence x 2h for @张三", ["silence x 2h for @张三"]),
    ],
)
def test_a_direct_chat_needs_neither_mention_nor_prefix(text, lines):
    assert heard(text, room=None) == lines


@pytest.mark.parametrize(
    ("prefix", "text", "lines"),
    [
        ("bot", "bot status", ["status"]),
        ("bot", "Bot: status", ["status"]),
        ("bot", "bottom line", []),
        ("bot", "bot", []),
        ("小桥", "小桥，状态", ["状态"]),
        ("小桥", "小桥流水人家", []),
        ("!", "！status", ["status"]),
        ("", "/status", []),
        ("", "status", []),
    ],
)
def test_the_prefix_may_be_a_word_or_none(prefix, text, lines):
    assert heard(text, prefix) == lines


@pytest.mark.parametrize(
    ("text", "called", "lines"),
    [
        # renamed, and the gateway says by ids that the bot is meant
        (f"@旧名{SEPARATOR}status", (BOT,), ["status"]),
        ("@旧名 status", (BOT,), ["status"]),
        ("status @旧名", (BOT,), ["status"]),
        ("问问 @旧名 吧", (BOT,), []),
        # everybody is meant
        (f"@所有人{SEPARATOR}明天停机", (BOT,), []),
        ("@all status", (BOT,), []),
        (f"@所有人{SEPARATOR}@{BOT}{SEPARATOR}status", (BOT,), ["status"]),
        # the mention was taken out by the channel or the gateway
        ("status", (), ["status"]),
        ("silence x 2h @李四", (), ["silence x 2h @李四"]),
        ("mail me@example.com", (), ["mail me@example.com"]),
        # people do not type a blank behind a mention
        (f"@{BOT}status", (BOT,), ["status"]),
        (f"@{BOT}状态", (BOT,), ["状态"]),
        (f"＠{BOT}/status", (BOT,), ["status"]),
        (f"@Alice@{BOT}status", (BOT,), ["status"]),
        (f"@Alice @{BOT}status", (BOT,), ["status"]),
        (f"@Alice{SEPARATOR}@{BOT}graph kafka\nalerts", (BOT,), ["graph kafka", "alerts"]),
        (f"graph kafka\n@{BOT}alerts", (BOT,), ["alerts"]),
        (f"问问@{BOT}吧", (BOT,), []),
        ("@Ops Bot状态", ("Ops Bot",), ["状态"]),
        ("@opsbotstatus", ("OpsBot",), ["status"]),
        ("@OpsBotty @OpsBot status", ("OpsBot",), ["status"]),
        ("@OpsBotty status", ("OpsBot",), ["status"]),
        # a name of several words, in other letters
        (f"@ops bot{SEPARATOR}status", ("Ops Bot", "Ops"), ["status"]),
        (f"@Ops Bot{SEPARATOR}status", ("Ops", "Ops Bot"), ["status"]),
    ],
)
def test_a_mention_that_only_the_gateway_knows_of(text, called, lines):
    found = find_addressed_lines(inbound(text, mentioned=True, called=called), "/")
    assert [line.text for line in found] == lines
    assert {line.how for line in found} <= {Addressing.MENTION}


PIECES = ["@", "＠", BOT, SEPARATOR, " ", "\n", "/", "／", "「", "」", "- - - - - -", "graph", "[", "]", "：", "🙂"]
texts = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
prefixes = st.sampled_from(["", "/", "bot", "小桥", "ß", "ı"])


@given(texts, prefixes, st.booleans(), st.sampled_from([(), (BOT,), ("a b",)]))
def test_no_text_breaks_the_reader(text, prefix, mentioned, called):
    for room in ("room", None):
        message = inbound(text, room=room, mentioned=mentioned, called=called)
        for line in find_addressed_lines(message, prefix):
            assert line.text == line.text.strip()
            assert "\n" not in line.text


@given(texts.filter(lambda text: not any(row.strip()[:1] in ("/", "／", "、") for row in text.splitlines())))
def test_what_is_not_addressed_is_never_a_command(text):
    assert find_addressed_lines(inbound(text, mentioned=False), "/") == ()
    assert find_addressed_lines(inbound(text, mentioned=False), "") == ()


@pytest.mark.parametrize(
    "text", ["「" + "」\n" * 8000, "「」" + "\n" * 16000, "「」\n" + "- " * 8000 + "x", "@张三" * 4000, "[!]" * 5000]
)
def test_a_very_long_message_is_read_too(text):
    find_addressed_lines(inbound(text, mentioned=True, called=(BOT,)), "/")
