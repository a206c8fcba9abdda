"""Conversations: what people write, and what is sent, drawn, counted and logged in return."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import sqlalchemy as sa
import structlog

from tests.integration.bot.bot_harness import BOT, PNG, FakeChannels, _draw, bot_settings, kind
from tests.support import wait_for_change
from wxbridge.alerts.render import Destination
from wxbridge.bot.command import Reply
from wxbridge.bot.rate_limit import LEFT_ALONE_SECONDS
from wxbridge.channels.wechat.settings import CAPABILITIES
from wxbridge.config.types import ChatSettings
from wxbridge.core.errors import Offline, PictureError, StorageError, WxbridgeError
from wxbridge.core.model import Text
from wxbridge.core.schema import asked


async def done(talk):
    """The messages with commands, and whether each is done."""
    query = sa.select(asked.c.id, asked.c.done_at).order_by(asked.c.at, asked.c.id)
    return [(row.id, row.done_at is not None) for row in await talk.database.read(lambda c: list(c.execute(query)))]


CONVERSATION = [
    # who writes what → what is answered
    ("/echo a b", ["ops: a|b"]),
    (f"@{BOT}\u2005echo a", ["ops: a"]),
    (f"echo a @{BOT}", ["ops: a"]),
    (f"@{BOT}\u2005复述 a＝１", ["ops: a=1"]),
    (f"@{BOT}\necho a\necho b", ["ops: a", "ops: b"]),
    ("/echo a\nlook\n/echo b", ["ops: a", "ops: b"]),
    ("/list graphs kafka", ["ops: kafka"]),
    ("/list", ["Done."]),
    ("/列出", ["完成。"]),
    ("/graph kafka", ["here it is", "[picture]"]),
    ("/find it", ["there is no it"]),
    ("/break known", ["the store is full; make room"]),
    ("/break bug", ["Something went wrong (see the log)."]),
    ("/弄坏 bug", ["出错了（详见日志）。"]),
    ("/stop", ["`stop` is for the master and those under `chat.admins` in jobs.yaml."]),
    ("/停止", ["“停止 / stop”仅限管理员使用（jobs.yaml 的 `chat.admins`）。"]),
    (f"@{BOT} hello", ["I do not know “hello”. Write `help` for what I can do."]),
    (f"@{BOT} 你好", ["不认识“你好”。发送“帮助”查看可用命令。"]),
    (f"@{BOT} grpah kafka", ["I do not know “grpah”. Did you mean `graph`?"]),
    (f"@{BOT} 看看列出图表好吗", ["不认识“看看列出图表好吗”。是不是想用 `列出图表` 或 `列出`？"]),
    ("/grpah kafka", ["I do not know “grpah”. Did you mean `graph`?"]),
    (f"@{BOT}", ["Write `help` for what I can do."]),
    (f"@{BOT} thanks\necho a", ["ops: a"]),
    # what only nearly is a command that one may not use is not told
    (f"@{BOT} stopp", ["I do not know “stopp”. Write `help` for what I can do."]),
    # talk
    ("the graph looks odd", []),
    ("/var/log/messages is full", []),
    ("/微笑", []),
    (f"ask @{BOT} about the graph some day", []),
    ("「张三：/echo a」\n- - - - - - - - -\nagreed", []),
    ("「张三：/echo a」\n- - - - - - - - -\n/echo b", ["ops: b"]),
]


@pytest.mark.parametrize(("text", "replies"), CONVERSATION)
async def test_a_conversation_in_a_room(talk, text, replies):
    assert await talk.say(text) == replies
    assert all(finished for _, finished in await done(talk))


async def test_nothing_is_answered_or_kept_where_nobody_declared_the_chat(talk):
    assert await talk.say("/echo a", room="another room") == []
    assert await talk.say("echo a", room=None) == []
    assert await done(talk) == []


async def test_the_master_is_told_the_ids_of_a_chat_that_is_no_target_yet_in_his_own(talk):
    talk.channels.masters.add("wxid_zhang")
    (text,) = await talk.say(f"@{BOT} here", room="new-room")
    assert text.splitlines()[1:] == [
        "No target of jobs.yaml is answered here yet.",
        "For jobs.yaml:",
        'targets: {NAME: {channel: wechat, room: "new-room", commands: true}}',
    ]
    assert [row.target for row in await talk.rows()] == ["master"]
    assert await talk.say(f"@{BOT} here", room="new-room", sender_id="wxid_li") == []
    assert await talk.say(f"@{BOT} echo a", room="new-room") == []
    assert await talk.say(f"@{BOT} here\necho a", room="new-room") == []
    assert await talk.say("here you are", room="new-room") == []


async def test_the_masters_own_chat_needs_no_mention_and_has_his_rights(talk):
    talk.channels.direct["wxid_zhang"] = "master"
    talk.channels.masters.add("wxid_zhang")
    assert await talk.say("stop now", room=None) == ["stopped now"]
    assert await talk.say("thanks", room=None) == ["I do not know “thanks”. Write `help` for what I can do."]
    assert await talk.say("[image]", room=None) == []
    assert [row.target for row in await talk.rows()] == ["master", "master"]


async def test_an_answer_is_a_reply_that_mentions_nobody_and_is_soon_worth_nothing(talk):
    await talk.say("/echo a")
    (row,) = await talk.rows()
    assert (row.target, row.source, row.mentions) == ("ops", "chat", None)
    assert row.expires_at - row.created_at == 3600
    assert row.dedupe_key == "chat:wechat:m1:0"


async def test_whoever_asked_is_mentioned_where_it_is_wished(make_talk):
    talk = make_talk(mention=True)
    talk.channels.direct["wxid_zhang"] = "second"
    await talk.say("/graph a")
    await talk.say("echo a", room=None)
    assert [(row.kind, row.mentions) for row in await talk.rows()] == [
        ("text", ["wxid_zhang"]), ("picture", None), ("text", None),
    ]  # fmt: skip


@pytest.mark.parametrize("problem", [None, WxbridgeError("it runs already")])
async def test_what_a_command_begins_begins_behind_its_answer(talk, problem):
    accepted, put = [], talk.outbox.put
    begun = []

    async def noted(items):
        found = await put(items)
        accepted.extend(item.bodies[0].text for item in items)
        return found

    async def run(command):
        def begin():
            begun.append([*accepted])
            if problem:
                raise problem

        return Reply((Text("it begins"),), then=begin)

    talk.outbox.put = noted
    talk.bot = talk.make([kind("begin", run)])
    assert await talk.say("/begin") == ["it begins"]
    assert begun == [["it begins"]]
    assert all(finished for _, finished in await done(talk))


async def test_a_picture_is_drawn_and_kept_as_a_file(talk):
    await talk.say("/graph kafka")
    assert [spec.params for spec in talk.drawn] == [{"name": "kafka"}]
    text, picture = await talk.rows()
    assert (talk.folder / picture.picture_file).read_bytes() == PNG
    assert picture.follows == text.id


async def test_where_a_picture_cannot_be_drawn_its_reason_and_link_are_told(talk):
    talk.draw_error = PictureError("Grafana says 404")
    reason = "The picture could not be made: Grafana says 404\n🔗 http://grafana.example/d/x"
    assert await talk.say("/graph kafka") == ["here it is", reason]


async def test_a_message_has_five_commands_at_most(talk):
    lines = "\n".join(f"/echo {number}" for number in range(7))
    replies = await talk.say(lines)
    assert replies == [*(f"ops: {number}" for number in range(5)), "Only the first 5 commands of one message are run."]


async def test_what_becomes_of_commands_is_counted_and_logged(talk):
    with structlog.testing.capture_logs() as logs:
        for text in ("/echo a", "/stop", "/find x", "/break bug", f"@{BOT} nonsense"):
            await talk.say(text)
    assert talk.counted() == {
        "echo answered": 1, "stop refused": 1, "find cannot": 1, "break failed": 1, "unknown unknown": 1,
    }  # fmt: skip
    lines = [line for line in logs if line["event"] == "command"]
    assert [(line["command"], line["outcome"], line["target"], line["sender"]) for line in lines] == [
        ("echo", "answered", "ops", "wxid_zhang"),
        ("stop", "refused", "ops", "wxid_zhang"),
        ("find", "cannot", "ops", "wxid_zhang"),
        ("break", "failed", "ops", "wxid_zhang"),
        (None, "unknown", "ops", "wxid_zhang"),
    ]
    (trouble,) = [line for line in logs if line["event"] == "command failed"]
    assert (trouble["log_level"], trouble["exc_info"], trouble["text"]) == ("error", True, "bug")


# ---------------------------------------------------------------- time


async def test_one_moment_is_said_only_where_it_takes_longer_than_two_seconds(talk):
    await talk.write("/wait a")
    await talk.clock.pass_by(1.9)
    assert await talk.replies() == []
    talk.clock.asleep.set()
    await talk.clock.pass_by(0.2)
    await talk.clock.asleep.wait()  # for the deadline
    talk.gate.open.set()
    await talk.bot.wait_idle()
    assert await talk.replies() == ["One moment …", "waited a"]
    assert await talk.say("/等待 b") == ["waited b"]


async def test_where_each_message_costs_one_of_a_few_nothing_is_said_that_could_be_left_out(talk):
    few = replace(Destination(CAPABILITIES, 86400.0), capabilities=replace(CAPABILITIES, is_scarce=True))
    talk.bot.configure(bot_settings(destinations={"ops": few}), [*talk.kinds(), kind("chart", _draw_with_caption)])
    await talk.write("/wait a")
    await talk.clock.pass_by(2.1)
    await talk.clock.asleep.wait()  # for the deadline
    talk.gate.open.set()
    await talk.bot.wait_idle()
    assert await talk.replies() == ["waited a"]
    assert await talk.say("/chart x") == ["[picture]"], "the picture shows what its caption says"
    assert await talk.say("/graph x") == ["here it is", "[picture]"], "what is no caption is told"
    talk.draw_error = PictureError("it is away")
    (text,) = await talk.say("/chart x")
    assert text.startswith("x from 9 to 10\n\n"), "without a picture both are told, in one message"
    assert "it is away" in text
    assert await talk.say(f"@{BOT} 好的") == [], "any word keeps the messages coming"
    (meant,) = await talk.say(f"@{BOT} grpah x")
    assert "graph" in meant


async def _draw_with_caption(command):
    return replace(
        await _draw(command), bodies=(Text("x from 9 to 10"), *(await _draw(command)).bodies[1:]), is_captioned=True
    )


class TypingChannels(FakeChannels):
    """Channels that note what is shown of typing."""

    def __init__(self):
        super().__init__()
        self.shown, self.changed = [], asyncio.Event()

    async def show_typing(self, inbound, *, is_on):
        self.shown.append((inbound.text, is_on))
        self.changed.set()


async def test_typing_is_shown_while_a_command_runs(talk):
    channels = talk.channels.channels["wechat"] = TypingChannels()
    await talk.write("/wait a")
    await wait_for_change(channels.changed, lambda: channels.shown)
    assert channels.shown == [("/wait a", True)]
    talk.gate.open.set()
    await talk.bot.wait_idle()
    await wait_for_change(channels.changed, lambda: len(channels.shown) > 1)
    assert channels.shown == [("/wait a", True), ("/wait a", False)]


async def test_a_command_that_does_not_end_is_ended_after_a_minute(talk):
    await talk.write("/wait a")
    await talk.write("/echo b")
    await talk.clock.pass_by(2)
    await talk.clock.pass_by(58)
    await talk.bot.wait_idle()
    assert await talk.replies() == ["One moment …", "`wait` did not finish within 1 min.", "ops: b"]
    assert talk.gate.cancelled == 1
    assert talk.counted() == {"wait timeout": 1, "echo answered": 1}


async def test_what_had_to_wait_for_too_long_is_not_run(talk):
    for text in ("/wait a", "/wait b", "/echo c"):
        await talk.write(text)
    for _ in range(2):
        await talk.clock.pass_by(2)
        await talk.clock.pass_by(58.1)
    await talk.bot.wait_idle()
    assert (await talk.replies())[-1] == "`echo` had to wait too long; please ask again."


async def test_within_a_chat_order_is_kept_and_chats_do_not_wait_for_each_other(talk):
    await talk.write("/wait a")
    await talk.write("/echo b")
    await talk.write("/echo c", room="second-room")
    await talk.until(talk.counted)
    assert await talk.replies() == ["second: c"]
    talk.gate.open.set()
    await talk.bot.wait_idle()
    assert await talk.replies() == ["waited a", "ops: b"]


async def test_what_is_too_old_when_it_comes_is_not_answered(talk):
    with structlog.testing.capture_logs() as logs:
        assert await talk.say("/echo old", age=121) == []
    assert [line["seconds"] for line in logs if line["event"] == "command too old"] == [121]
    assert await talk.say("/echo new", age=119) == ["ops: new"]


# ---------------------------------------------------------------- a restart


async def test_what_was_asked_before_a_crash_is_answered_after_it_once(talk):
    await talk.write("/echo a\n/wait b\n/echo c")
    await talk.until(lambda: talk.gate.entered == ["b"])
    await talk.bot.close()
    assert await talk.replies() == ["ops: a"]
    talk.clock.time += 60
    talk.gate.open.set()
    talk.bot = talk.make()
    await talk.bot.recover()
    await talk.bot.wait_idle()
    assert await talk.replies() == ["waited b", "ops: c"]
    assert await done(talk) == [("m1", True)]
    talk.bot = talk.make()
    await talk.bot.recover()
    await talk.bot.wait_idle()
    assert await talk.replies() == []


async def test_an_answer_that_was_stored_is_not_made_again_even_without_a_window_of_repeats(talk):
    await talk.say("/echo a")
    await talk.database.run(lambda c: c.execute(sa.update(asked).values(done_at=None)))
    talk.outbox.dedupe_window = 0
    talk.bot = talk.make()
    await talk.bot.recover()
    await talk.bot.wait_idle()
    assert await talk.replies() == []
    assert await done(talk) == [("m1", True)]


async def test_what_was_asked_more_than_two_minutes_before_the_restart_is_not_answered(talk):
    await talk.write("/wait a")
    await talk.bot.close()
    talk.clock.time += 121
    talk.gate.open.set()
    talk.bot = talk.make()
    await talk.bot.recover()
    await talk.bot.wait_idle()
    assert await talk.replies() == []
    assert await done(talk) == [("m1", True)]


async def test_a_message_that_the_gateway_brings_twice_is_answered_once(talk):
    assert await talk.say("/echo a", id="same") == ["ops: a"]
    assert await talk.say("/echo a", id="same") == []
    talk.bot = talk.make()
    assert await talk.say("/echo a", id="same") == []
    assert await talk.say("/echo a", id="same", channel="wecom_bot:main") == ["ops: a"]


async def test_taking_up_what_is_open_does_not_double_what_is_being_answered(talk):
    await talk.write("/wait a")
    await talk.until(lambda: talk.gate.entered)
    await talk.bot.recover()
    talk.gate.open.set()
    await talk.bot.wait_idle()
    await talk.bot.recover()
    await talk.bot.wait_idle()
    assert await talk.replies() == ["waited a"]


async def test_a_message_without_an_id_is_answered_once_too(talk):
    assert await talk.say("/echo a", id="") == ["ops: a"]
    assert await talk.say("/echo a", id="") == []


async def test_commands_wait_until_it_is_known_which_chat_it_is(talk):
    talk.channels.offline = [Offline("rooms are being read")] * 3
    await talk.write("/echo a")
    for _ in range(2):
        await talk.clock.pass_by(1)
    await talk.bot.wait_idle()
    assert await talk.replies() == ["ops: a"]


async def test_where_it_never_becomes_known_it_is_given_up_and_logged(talk):
    talk.channels.offline = [Offline("rooms are being read")] * 3
    with structlog.testing.capture_logs() as logs:
        await talk.write("/echo a")
        await talk.clock.pass_by(121)
        await talk.bot.wait_idle()
    assert await talk.replies() == []
    assert [line["why"] for line in logs if line["event"] == "command not answered"] == ["rooms are being read"]


async def full(*_):
    raise StorageError("disk full")


async def test_what_is_asked_while_the_database_takes_nothing_is_answered_when_it_does(talk, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(talk.database, "run", full)
        await talk.write("/echo a")
        await talk.write("/echo b")
        await talk.clock.asleep.wait()
    await talk.clock.pass_by(1)
    await talk.bot.wait_idle()
    assert await talk.replies() == ["ops: a", "ops: b"]
    assert await done(talk) == [("m1", True), ("m2", True)]


async def test_an_answer_that_cannot_be_stored_is_made_again_and_those_that_were_are_not(talk):
    put, tried = talk.outbox.put, []

    async def refused_once(items):
        tried.append(items[0].bodies[0].text)
        return await (full() if tried == ["ops: a", "ops: b"] else put(items))

    async def sleep(seconds):
        if seconds > 1:  # not what is waited for before the next try, but when "one moment" is said
            await asyncio.Event().wait()

    talk.outbox.put, talk.clock.sleep = refused_once, sleep
    talk.bot = talk.make()
    assert await talk.say("/echo a\n/echo b") == ["ops: a", "ops: b"]
    assert tried == ["ops: a", "ops: b", "ops: b"]
    assert await done(talk) == [("m1", True)]


async def test_what_no_database_took_for_two_minutes_is_given_up_and_the_next_command_is_answered(talk, monkeypatch):
    with structlog.testing.capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(talk.database, "run", full)
            await talk.write("/echo a")
            await talk.clock.pass_by(121)
            await talk.bot.wait_idle()
        errors = [line["event"] for line in logs if line["log_level"] == "error"]
        assert errors == ["a command could not be stored yet", "an answer could not be stored"]
    assert await talk.say("/echo a") == ["ops: a"]


async def test_a_message_that_comes_again_while_the_database_takes_nothing_is_answered_once(talk, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(talk.database, "run", full)
        await talk.write("/echo a", id="same")
        await talk.write("/echo a", id="same")
        await talk.clock.asleep.wait()
    await talk.clock.pass_by(1)
    await talk.bot.wait_idle()
    assert await talk.replies() == ["ops: a"]


async def test_a_command_that_is_longer_than_a_message_is_not_run(talk):
    (answer,) = await talk.say("/echo " + "a" * 5000)
    assert answer == "`echo`: that is too long; a command may have 2000 characters."


async def test_messages_with_commands_are_forgotten_after_a_day(talk):
    await talk.say("/echo a")
    talk.clock.time += 90000
    await talk.say("/echo b")
    assert [message for message, _ in await done(talk)] == ["m2"]


# ---------------------------------------------------------------- too much


async def test_a_person_is_answered_twenty_times_a_minute_and_told_once(talk):
    replies = []
    for number in range(25):
        replies += await talk.say(f"/echo {number}")
    assert replies[:20] == [f"ops: {number}" for number in range(20)]
    assert replies[20:] == ["Those were more than 20/min commands. I am silent for you until it is less."]
    assert await talk.say("/echo x", sender_id="wxid_li") == ["ops: x"]
    talk.clock.time += 61
    assert await talk.say("/echo again") == ["ops: again"]
    assert talk.counted()["echo limited"] == 5


async def test_the_rate_can_be_set(make_talk):
    talk = make_talk(rate="1/min")
    assert await talk.say("/echo a") == ["ops: a"]
    assert await talk.say("/复述 b") == ["命令过于频繁（超过 1/min），请稍后再试，期间不再回复。"]
    assert await talk.say("/echo c") == []


async def test_whoever_repeats_the_same_that_is_no_command_is_left_alone_for_a_while(talk):
    replies = []
    for _ in range(8):
        replies += await talk.say(f"@{BOT} chatter")
    assert len(replies) == 4
    assert replies[-1] == "The same again and again: I do not answer 张三 for 10 min."
    assert await talk.say("/echo b") == []
    talk.clock.time += LEFT_ALONE_SECONDS
    assert await talk.say("/echo a") == ["ops: a"]


async def test_the_same_command_again_and_again_is_answered_with_the_picture_just_made(talk):
    replies = []
    for _ in range(9):
        replies += await talk.say("/graph kafka")
    assert replies == ["here it is", "[picture]"] * 9
    assert len(talk.drawn) == 5
    assert len({row.picture_file for row in await talk.rows() if row.kind == "picture"}) == 5
    assert await talk.say("/echo b") == ["ops: b"]
    talk.clock.time += 61
    await talk.say("/graph kafka")
    assert len(talk.drawn) == 6


async def test_a_command_without_pictures_is_carried_out_however_often_it_is_written(talk):
    replies = []
    for _ in range(8):
        replies += await talk.say("/echo a")
    assert replies == ["ops: a"] * 8


async def test_a_picture_that_failed_is_tried_again_however_often(talk):
    talk.draw_error = PictureError("Grafana is down")
    for _ in range(8):
        assert (await talk.say("/graph kafka"))[0] == "here it is"
    assert len(talk.drawn) == 8


async def test_what_is_no_command_is_told_three_times_a_minute(talk):
    replies = []
    for number in range(5):
        replies += await talk.say(f"@{BOT} chatter {number}")
    assert len(replies) == 3
    assert await talk.say("/echo a") == ["ops: a"]


async def test_a_bot_that_answers_our_answers_is_not_talked_to(talk):
    """It mentions us and repeats what we said, as translating, summarising and plain echo bots do."""
    sent = await talk.say(f"@{BOT} good morning everybody")
    turns = 0
    while sent and turns < 50:
        turns += 1
        sent = await talk.say(f"@{BOT} {sent[-1]}", sender_id="other bot", sender_name="echo")
    assert turns <= 3


async def test_two_bridges_in_one_room_do_not_talk_for_ever(talk):
    sent, said = ["hello"], 0
    while sent and said < 50:
        said += 1
        sent = await talk.say(f"@{BOT} {said} {sent[-1]}", sender_id="other bot")
    assert said <= 5


# ---------------------------------------------------------------- another configuration


async def test_another_configuration_is_taken_over_between_two_commands(talk):
    await talk.write("/wait a")
    await talk.until(lambda: talk.gate.entered)
    talk.bot.configure(bot_settings(chat=ChatSettings(prefix="!"), language="zh"))
    talk.gate.open.set()
    assert await talk.say("/echo b") == ["waited a"]
    assert await talk.say("!echo b") == ["ops: b"]
    assert await talk.say("!list") == ["完成。"]


async def test_two_commands_with_one_word_leave_the_old_table_in_place(talk):
    with pytest.raises(ValueError, match="echo"):
        talk.bot.configure(bot_settings(), [*talk.kinds(), *talk.kinds()])
    assert await talk.say("/echo a") == ["ops: a"]


async def test_a_target_that_the_configuration_lost_is_not_answered(talk):
    talk.bot.configure(bot_settings(destinations={}))
    assert await talk.say("/echo a") == []


@pytest.mark.parametrize(
    ("given", "wrong"), [({"prefix": "a b"}, "has blanks"), ({"rate": "0/min"}, "no rate"), ({"admin": []}, "admin")]
)
def test_what_is_wrong_in_the_section_is_told(given, wrong):
    with pytest.raises(ValueError, match=wrong):
        ChatSettings(**given)


def test_the_section_as_people_write_it():
    settings = ChatSettings(prefix=" / ", admins="主人", promql=["主人", 5], rate="20/min")
    assert (settings.prefix, settings.admins, settings.promql) == ("/", ("主人",), ("主人", "5"))
