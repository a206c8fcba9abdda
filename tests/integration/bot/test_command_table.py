"""Which command a line means, and what the table tells of itself."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.bot.bot_harness import Gate, kind, kinds
from wxbridge.bot.command import QuotedWord, quote_word
from wxbridge.bot.command_table import CommandTable, split_words, write_plainly

TABLE = CommandTable(kinds(Gate()), prefix="/")


@pytest.mark.parametrize(
    ("line", "name", "text", "words"),
    [
        ("graph kafka", "graph", "kafka", ("kafka",)),
        ("GRAPH  kafka ", "graph", "kafka", ("kafka",)),
        ("ｇｒａｐｈ　kafka", "graph", "kafka", ("kafka",)),
        ("graph: kafka", "graph", "kafka", ("kafka",)),
        ("graph", "graph", "", ()),
        ("graph?", "graph", "", ()),
        ("图 kafka", "graph", "kafka", ("kafka",)),
        ("图kafka", "graph", "kafka", ("kafka",)),
        ("图：kafka", "graph", "kafka", ("kafka",)),
        ("列出图表 kafka", "list graphs", "kafka", ("kafka",)),
        ("list graphs kafka", "list graphs", "kafka", ("kafka",)),
        ("list   Graphs", "list graphs", "", ()),
        ("list graphsx", "list", "graphsx", ("graphsx",)),
        ("帮助！", "help", "", ()),
        ("who am I", "whoami", "", ()),
        ('graph "two words" x', "graph", '"two words" x', ("two words", "x")),
        ("graph from＝－６ｈ", "graph", "from=-6h", ("from=-6h",)),
        ("graph kafka\u00a0“a b”", "graph", 'kafka "a b"', ("kafka", "a b")),
    ],
)
def test_the_longest_word_says_which_command_it_is(line, name, text, words):
    match = TABLE.match(line)
    assert match is not None
    assert (match.kind.name, match.text, match.words) == (name, text, words)


@pytest.mark.parametrize("line", ["", "graphs kafka", "graph.kafka", "图表", "状态", "helpful", "the graph", "graph/x"])
def test_what_only_looks_like_a_word_is_none(line):
    assert TABLE.match(line) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('alertname="disk full" team=~"a|b"', ("alertname=disk full", "team=~a|b")),
        ("“磁盘 满” ‘x y’", ("磁盘 满", "x y")),
        ("don't page me", ("don't", "page", "me")),
        ("'don't page me' now", ("don't page me", "now")),
        (r'a="say \"hi\" now"', ('a=say "hi" now',)),
        ('var="" x', ("var=", "x")),
        ('""', ("",)),
        ('"never ends here', ('"never', "ends", "here")),
        ("维护中，稍后恢复：请等待", ("维护中，稍后恢复：请等待",)),
        ("环境＝生产 ９：３０", ("环境=生产", "9:30")),
        ('"９：３０ ＝"', ("９：３０ ＝",)),
        ("a　b\u2005c\u200bd", ("a", "b", "c", "d")),
    ],
)
def test_how_arguments_are_cut(text, words):
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("up{job=“lab”} 5m", 'up{job="lab"} 5m'),
        ("sum（rate（requests_total[1m]））\u00a05m", "sum(rate(requests_total[1m])) 5m"),
        ("sum by（job）（up｛job＝‘lab’，env！＝“生产，一”｝）", "sum by(job)(up{job='lab',env!=\"生产，一\"})"),
        ("alertname=‘Disk Full’ 1h", "alertname='Disk Full' 1h"),
        ("alertname=„Disk Full“ 1h", 'alertname="Disk Full" 1h'),
        ("team=db 2h 升级中，请勿打扰（谢谢）", "team=db 2h 升级中，请勿打扰（谢谢)"),
        ('a=“say "hi"”', 'a=“say "hi"”'),
        ("don’t", "don't"),
        ('"９：３０ “x”"', '"９：３０ “x”"'),
        ("cpu ＞ 90 ％ ［5m］", "cpu > 90 % [5m]"),
    ],
)
def test_signs_of_phones_and_chinese_keyboards_count_as_plain_ones(text, plain):
    assert write_plainly(text) == plain


@given(st.text(max_size=60) | st.text("\"'“”‘’„＂ =\\ab，：图（）", max_size=20))
def test_what_is_written_plainly_keeps_its_length(text):
    assert len(write_plainly(text)) == len(text)


LETTERS = st.text("ab1图，：＝（", max_size=6)
QUOTES = st.sampled_from(["“{}”", "‘{}’", "„{}“", '"{}"', "＂{}＂", "a=“{}”"])


@given(st.lists(st.builds(str.format, QUOTES, LETTERS) | LETTERS, max_size=5).map("\u00a0".join))
def test_what_is_written_plainly_stays_so_and_is_cut_as_before(text):
    plain = write_plainly(text)
    assert write_plainly(plain) == plain
    assert split_words(plain) == split_words(text)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ('"a b" c', [0, None]),
        ('city="北京, 朝阳" x', [5, None]),
        ('a"b"c', [None]),
        ('"a"b "" c', [None, 0, None]),
    ],
)
def test_words_know_what_of_them_stood_in_quotes(text, quoted):
    assert [getattr(word, "quoted_from", None) for word in split_words(text)] == quoted


@given(st.lists(st.text(max_size=10).filter(lambda word: "\\" not in word), max_size=5))
def test_words_that_are_written_again_are_read_as_the_same(words):
    written = " ".join(quote_word(word if word.isalnum() else QuotedWord(word)) for word in words)
    assert [str(word) for word in split_words(written)] == words


class Counted(str):
    """A text that counts how often a letter of it is looked at."""

    __slots__ = ("looked_at",)

    def __getitem__(self, at):
        self.looked_at += 1
        return super().__getitem__(at)


@pytest.mark.parametrize("quote", ["'a ", '"\\" ', "“ ", "'"])
def test_a_text_of_quotes_that_do_not_end_is_not_read_once_for_each_of_them(quote):
    text = Counted(quote * 500)
    text.looked_at = 0
    split_words(text)
    assert text.looked_at < 10 * len(text)


@given(st.text(max_size=60) | st.text("\"'“”‘’＂ =\\ab，：图", max_size=20))
def test_every_text_can_be_cut_and_matched(text):
    assert all(isinstance(word, str) for word in split_words(text))
    TABLE.match(text)
    TABLE.suggest(text, contained=True)


@given(st.text("ab1图，：=", min_size=1, max_size=10), st.text("ab1图，：=", min_size=1, max_size=10))
def test_words_without_quotes_are_as_many_as_there_are_between_blanks(one, two):
    assert len(split_words(f" {one}  {two} ")) == 2


@pytest.mark.parametrize(
    ("line", "contained", "near"),
    [
        ("grpah kafka", False, ["graph"]),
        ("lsit graphs", False, ["list graphs"]),
        ("查看列出图表", True, ["列出图表", "列出"]),
        ("请查看所有的列出图表", False, []),
        ("var/log is full", False, []),
        ("thanks", True, []),
        ("微笑", True, []),
    ],
)
def test_what_somebody_may_have_meant(line, contained, near):
    assert TABLE.suggest(line, contained=contained)[: len(near)] == near
    if not near:
        assert TABLE.suggest(line, contained=contained) == []


def test_two_commands_with_a_word_in_common_are_a_mistake_of_ours():
    with pytest.raises(ValueError, match="'echo'"):
        CommandTable([kind("echo", None), kind("other", None, "ＥＣＨＯ")])
    with pytest.raises(ValueError, match="'help'"):
        CommandTable([kind("mine", None, "Help")])


async def test_help_lists_what_somebody_may_use_in_their_language(talk):
    (text,) = await talk.say("/help")
    assert text.splitlines()[0] == "What I can do (`help NAME` tells more):"
    assert "graph — does graph" in text
    assert "stop" not in text
    assert "promql" not in text
    assert text.splitlines()[-1] == "In a room, mention me or begin with /."
    (text,) = await talk.say("/帮助")
    assert "图 / graph — graph 的说明" in text
    assert text.splitlines()[-1] == "群里请先 @我或以 / 开头。"
    talk.channels.masters.add("wxid_zhang")
    talk.channels.direct["wxid_zhang"] = "master"
    (text,) = await talk.say("help", room=None)
    assert {"stop — does stop", "promql — does promql"} <= set(text.splitlines())
    assert "In a room" not in text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("/help graph", "graph — does graph\ngraph X\nalso: 图"),
        ("/帮助 图", "图 / graph — graph 的说明\n图 X"),
        ("/help /list graphs", "list graphs — does list graphs\nlist graphs X\nalso: 列出图表"),
        ("/help grpah", "I do not know “grpah”. Did you mean `graph`?"),
        ("/help nonsense", "I do not know “nonsense”. Write `help` for what I can do."),
        ("/help stop", "`stop` is for the master and those under `chat.admins` in jobs.yaml."),
    ],
)
async def test_help_of_one_command(talk, line, text):
    assert await talk.say(line) == [text]


async def test_whoami_and_here_give_lines_for_the_file(talk):
    (text,) = await talk.say("/whoami")
    assert text.splitlines()[:2] == ["You are 张三 (wxid_zhang) on wechat.", "Roles: none"]
    assert yaml.safe_load(text.splitlines()[-1]) == {"chat": {"admins": ["wxid_zhang"]}}
    (text,) = await talk.say("/here")
    assert text.splitlines()[0] == "This is the room 技术讨论群 (ops-room) on wechat."
    assert yaml.safe_load(text.splitlines()[-1]) == {
        "targets": {"ops": {"channel": "wechat", "room": "ops-room", "commands": True}}
    }


@pytest.mark.parametrize(
    ("room", "address"),
    [("ops-room", {"chat": "ops-room", "chat_type": "group"}), (None, {"chat": "lisi", "chat_type": "single"})],
)
async def test_here_with_a_wecom_bot(talk, room, address):
    talk.channels.direct["lisi"] = "second"
    (text,) = await talk.say("here", room=room, sender_id="lisi", channel="wecom_bot:main", mentioned=True)
    name, target = next(iter(yaml.safe_load(text.splitlines()[-1])["targets"].items()))
    assert name == ("ops" if room else "second")
    assert target == {"channel": "wecom_bot", "bot": "main", "commands": True} | address
