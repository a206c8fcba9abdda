"""Who may do what: by what others cannot choose."""

from __future__ import annotations

import pytest

from tests.integration.bot.bot_harness import inbound
from wxbridge.bot.permissions import find_target, is_master
from wxbridge.channels.wechat.settings import WechatTarget
from wxbridge.core.errors import Offline

REFUSED = "`stop` is for the master and those under `chat.admins` in jobs.yaml."
ME = "wxid_zhang"


@pytest.mark.parametrize(
    ("listed", "names", "allowed"),
    [
        (ME, None, True),
        ("老张", {"alias": "老张"}, True),
        ("zhang3", {"handle": "zhang3"}, True),
        ("张三", {"name": "张三"}, True),
        (" 张三 ", {"name": "张三 "}, True),
        ("张三", {"name": "someone else"}, False),
        ("zhang", {"name": "张三"}, False),
        ("", {"name": "张三"}, False),
    ],
)
async def test_a_listed_word_means_whoever_has_it_as_id_remark_or_name(make_talk, listed, names, allowed):
    talk = make_talk(admins=[listed])
    if names is not None:
        await talk.contact(ME, **names)
    (text,) = await talk.say("/stop now")
    assert (text == "stopped now") is allowed


async def test_whoever_takes_a_listed_name_in_the_room_is_nobody(make_talk):
    talk = make_talk(admins=["主人"])
    (text,) = await talk.say("/stop", sender_name="主人")
    assert (
        text == f"{REFUSED} Being called “主人” proves nothing: list the id {ME}, or a remark given by the bot's owner."
    )


async def test_a_stranger_known_from_a_room_is_no_contact(make_talk):
    talk = make_talk(admins=["主人"])
    await talk.contact(ME, name="主人", present=False)
    assert (await talk.say("/stop"))[0] == REFUSED


async def test_two_contacts_of_one_name_are_nobody(make_talk):
    talk = make_talk(admins=["主人"])
    await talk.contact(ME, name="主人")
    await talk.contact("wxid_eve", name="x", handle="主人")
    assert await talk.say("/stop") == [f"{REFUSED} Several contacts are “主人”: list the id {ME} instead."]


async def test_a_remark_counts_before_names_that_others_choose(make_talk):
    talk = make_talk(admins=["主人"])
    await talk.contact(ME, name="Zhang", alias="主人")
    await talk.contact("wxid_eve", name="主人")
    assert await talk.say("/stop") == ["stopped "]
    assert (await talk.say("/stop", sender_id="wxid_eve", sender_name="主人"))[0].startswith(REFUSED)


async def test_a_name_does_not_move_on_to_another_contact_while_the_first_is_there(make_talk):
    talk = make_talk(admins=["主人"])
    await talk.contact("wxid_boss", name="主人")
    assert await talk.say("/stop", sender_id="wxid_boss") == ["stopped "]
    await talk.contact("wxid_boss", name="on holiday")
    await talk.contact("wxid_eve", name="主人")
    refused = f"{REFUSED} “主人” was another contact before: list the id wxid_eve if this is the one."
    assert await talk.say("/stop", sender_id="wxid_eve", sender_name="主人") == [refused]
    # After a login that gave everybody new ids the first one is gone.
    await talk.contact("wxid_boss", name="on holiday", present=False)
    assert await talk.say("/stop", sender_id="wxid_eve") == ["stopped "]


async def test_each_list_is_for_itself_and_the_master_may_do_everything(make_talk):
    talk = make_talk(admins=["a"], promql=["p"])
    may = {}
    for person in ("a", "p", "m", "x"):
        talk.channels.masters = {"m"}
        stop, promql = await talk.say("/stop", sender_id=person), await talk.say("/promql up", sender_id=person)
        may[person] = (stop == ["stopped "], promql == ["ops: up"])
    assert may == {"a": (True, False), "p": (False, True), "m": (True, True), "x": (False, False)}
    assert (await talk.say("/查询 up", sender_id="x")) == [
        "“查询 / promql”仅限 jobs.yaml 中 `chat.promql` 所列的人使用。"
    ]


async def test_the_names_of_one_channel_mean_nothing_in_another(make_talk):
    talk = make_talk(admins=["老张"])
    await talk.contact("zhang", alias="老张")
    (text,) = await talk.say("stop", channel="wecom_bot:main", sender_id="zhang", mentioned=True)
    assert text == REFUSED


class Channel:
    """A channel that knows these chats by target."""

    def __init__(self, **chats):
        self.chats = chats

    def targets_of(self, message):
        if self.chats.get("unsure"):
            raise Offline("contacts are being read")
        return tuple(name for name, chat in self.chats.items() if chat == (message.room_id or message.sender_id))


TARGETS = {
    "quiet": WechatTarget(room="r1"),
    "ops": WechatTarget(room="r1", commands=True),
    "boss": WechatTarget(contact="c1"),
    "master": WechatTarget(contact="c1"),
    "dev": WechatTarget(contact="c2", commands=True),
    "plain": WechatTarget(contact="c3"),
}
CHATS = {"quiet": "r1", "ops": "r1", "boss": "c1", "master": "c1", "dev": "c2", "plain": "c3"}


@pytest.mark.parametrize(
    ("room", "sender", "target"),
    [
        ("r1", "c9", "ops"),
        ("r2", "c1", None),
        (None, "c1", "master"),
        (None, "c2", "dev"),
        (None, "c3", None),
        (None, "c9", None),
    ],
)
def test_where_commands_are_answered(room, sender, target):
    assert find_target(Channel(**CHATS), inbound("x", room=room, sender_id=sender), TARGETS) == target


def test_the_master_is_who_the_master_target_means_wherever_he_writes():
    assert is_master(Channel(**CHATS), inbound("x", room="r2", sender_id="c1"))
    assert not is_master(Channel(**CHATS), inbound("x", room="r1", sender_id="c2"))
    assert not is_master(Channel(master="r1"), inbound("x", room="r1", sender_id="c2"))


def test_a_channel_that_hears_nobody_has_no_chats():
    assert find_target(object(), inbound("x"), TARGETS) is None
    assert not is_master(object(), inbound("x"))
    with pytest.raises(Offline):
        find_target(Channel(unsure=True), inbound("x"), TARGETS)
