"""Applications of WeCom: tokens, recipients, media, repeats and quotas, against the fake that ships."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from pydantic import ValidationError

from tests.fakes.wecom import FakeWecom
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT, app, context, noise, picture, screenshot
from wxbridge.channels.wecom.app import DUPLICATE_CHECK_SECONDS, PLUGIN, AppChannel, AppTarget, WecomSettings
from wxbridge.channels.wecom.media import MAX_PICTURE_BYTES
from wxbridge.config.types import Pace, Rate
from wxbridge.core.errors import BadAddress, Offline, Permanent, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import PictureFile, Text
from wxbridge.core.schema import facts

TOKEN, SEND, UPLOAD = "/cgi-bin/gettoken", "/cgi-bin/message/send", "/cgi-bin/media/upload"
NO_PACE = "none"


@pytest.fixture
async def wecom(clock):
    async with FakeWecom(wall=clock.wall) as running:
        running.add_application("corp", "the-secret", 1000002, name="Ops")
        yield running


@pytest.fixture
def make(wecom, clock, database, tmp_path):
    @asynccontextmanager
    async def made(timing=PATIENT, **section):
        channel = AppChannel(
            context(database, tmp_path, wecom.url, **section),
            timing=timing,
            wall=clock.wall,
            monotonic=clock.monotonic,
        )
        try:
            yield channel
        finally:
            await channel.close()

    return made


@pytest.fixture
async def channel(make):
    async with make() as channel:
        yield channel


# ---------------------------------------------------------------- what arrives


async def test_a_text_arrives_and_the_receipt_is_the_messages_id(wecom, channel) -> None:
    receipt = await channel.send(app(to="zhangsan|lisi"), Text("磁盘满了"))
    (message,) = wecom.messages
    assert (message.kind, message.content, message.to) == ("text", "磁盘满了", ("zhangsan", "lisi"))
    assert (receipt.id, receipt.note) == ("message-1", "")


async def test_members_parties_and_tags_are_named_together(wecom, channel) -> None:
    await channel.send(app(to=["zhangsan"], party=1, tag="1"), Text("**x**", format="markdown"))
    assert wecom.messages[0].to == ("zhangsan", "party:1", "tag:1")
    assert wecom.requests[0] == {
        "touser": "zhangsan",
        "toparty": "1",
        "totag": "1",
        "agentid": 1000002,
        "msgtype": "markdown",
        "markdown": {"content": "**x**"},
        "safe": 0,
        "enable_duplicate_check": 1,
        "duplicate_check_interval": DUPLICATE_CHECK_SECONDS,
    }


async def test_everybody_who_sees_the_application_can_be_written_to(wecom, channel) -> None:
    await channel.send(app(to="@all"), Text("x"))
    assert wecom.messages[0].to == ("zhangsan", "lisi", "wangwu")


@pytest.mark.parametrize("to", ["zhangsan|nobody", ["zhangsan", "nobody"], "zhangsan,nobody"])
async def test_whom_it_did_not_reach_stands_in_the_receipt(wecom, channel, to) -> None:
    receipt = await channel.send(app(to=to, party="1|9"), Text("x"))
    assert wecom.messages[0].to == ("zhangsan", "party:1")
    assert "members nobody" in receipt.note
    assert "parties 9" in receipt.note


async def test_a_message_that_reaches_nobody_has_a_bad_address(wecom, channel) -> None:
    with pytest.raises(BadAddress, match="81013") as caught:
        await channel.send(app(to="nobody"), Text("x"))
    assert caught.value.code == "81013"
    # Some deployments say 0 and name everybody as not reached.
    wecom.answer(200, json.dumps({"errcode": 0, "errmsg": "ok", "invaliduser": "ZHANGSAN|lisi"}))
    with pytest.raises(BadAddress, match="lisi"):
        await channel.send(app(to="zhangsan|lisi"), Text("x"))


async def test_the_people_that_an_alert_names_get_one_message_together(wecom, channel) -> None:
    target = app(to="from-alert")
    people = {"san": {"wecom": "zhangsan", "wechat": "张三"}, "si": {"wechat": "李四"}}
    recipients = target.recipients(["san", "lisi", "san", "si"], people)
    assert recipients == ["zhangsan|lisi|si"]
    receipt = await channel.send(target.address(recipients[0]), Text("x"))
    assert wecom.messages[0].to == ("zhangsan", "lisi")
    assert "si" in receipt.note
    assert app().recipients(["san"], people) is None
    assert target.recipients([], people) == []


async def test_an_alert_that_names_nobody_known_does_not_hold_up_the_next_one(channel) -> None:
    with pytest.raises(Permanent, match="81013"):
        await channel.send(app(to="from-alert").address("nobody"), Text("x"))
    with pytest.raises(Permanent, match=r"names nobody"):
        await channel.send(app(to="from-alert").address(None), Text("x"))


async def test_the_limits_of_the_capabilities_are_those_of_the_service(channel) -> None:
    limits = {"text": PLUGIN.capabilities.text_limit, **PLUGIN.capabilities.formats}
    for kind, limit in limits.items():
        fits = "字" * (limit // 3) + "x" * (limit % 3)
        await channel.send(app(), Text(fits, format=kind))
        with pytest.raises(Permanent, match="40058"):
            await channel.send(app(), Text(fits + "x", format=kind))


# ---------------------------------------------------------------- tokens


async def test_one_token_is_fetched_however_many_messages_wait_for_it(wecom, channel) -> None:
    await asyncio.gather(*(channel.send(app(), Text(str(n))) for n in range(25)))
    assert (wecom.calls[TOKEN], len(wecom.messages)) == (1, 25)


async def test_a_token_outlives_a_restart_and_is_replaced_before_it_ends(wecom, make, clock) -> None:
    async with make() as channel:
        await channel.send(app(), Text("1"))
    async with make() as channel:
        await channel.send(app(), Text("2"))
        assert wecom.calls[TOKEN] == 1
        clock.advance(7200 - 299)
        await channel.send(app(), Text("3"))
        assert wecom.calls[TOKEN] == 2
        assert wecom.calls[SEND] == 3  # none was refused for an old token


async def test_a_short_life_is_used_for_its_first_half(wecom, channel, clock) -> None:
    wecom.token_life = 60
    await channel.send(app(), Text("1"))
    clock.advance(29)
    await channel.send(app(), Text("2"))
    assert wecom.calls[TOKEN] == 1
    clock.advance(31)
    await channel.send(app(), Text("3"))
    assert wecom.calls[TOKEN] == 2


@pytest.mark.parametrize("end", ["expire_tokens", "revoke_tokens"])
async def test_a_token_that_is_refused_is_renewed_once_for_all_who_wait(wecom, channel, clock, end) -> None:
    await channel.send(app(), Text("first"))
    clock.advance(60)
    getattr(wecom, end)()
    await asyncio.gather(*(channel.send(app(), Text(str(n))) for n in range(10)))
    assert wecom.calls[TOKEN] == 2
    assert len(wecom.messages) == 11


async def test_fresh_tokens_that_are_refused_are_not_fetched_without_end(wecom, channel, clock) -> None:
    wecom.fail(40014, "invalid access_token", count=1000, path=SEND)
    await asyncio.gather(*(channel.send(app(), Text(str(n))) for n in range(10)), return_exceptions=True)
    for n in range(10):
        with pytest.raises(Transient):
            await channel.send(app(), Text(str(n)))
    assert wecom.calls[TOKEN] <= 2
    wecom.release()
    clock.advance(31)
    await channel.send(app(), Text("well"))


async def test_a_wrong_secret_is_said_with_what_to_look_at_and_never_shown(wecom, make) -> None:
    async with make(secret="WRONG-SECRET") as channel:
        with pytest.raises(Unauthorised, match=r"40001.*`secret`") as caught:
            await channel.send(app(), Text("x"))
    assert "WRONG-SECRET" not in str(caught.value)


async def test_a_failed_fetch_is_tried_again_by_the_next_message(wecom, channel) -> None:
    wecom.fail(-1, "system busy", path=TOKEN)
    with pytest.raises(Transient, match="system busy"):
        await channel.send(app(), Text("x"))
    wecom.answer(200, "", path=TOKEN)
    with pytest.raises(Offline):  # nobody has seen anything: not unknown
        await channel.send(app(), Text("x"))
    await channel.send(app(), Text("x"))
    assert len(wecom.messages) == 1


async def test_whoever_gives_up_waiting_takes_the_token_from_nobody(wecom, make) -> None:
    async with make() as channel:
        wecom.stall(path=TOKEN)
        first = asyncio.create_task(channel.send(app(), Text("1")))
        second = asyncio.create_task(channel.send(app(), Text("2")))
        await wecom.called(path=TOKEN)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        wecom.release()
        await second
        assert [message.content for message in wecom.messages] == ["2"]


async def test_the_token_stands_in_the_database_under_a_hash_and_in_no_log(wecom, make, database, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    async with make(timing=FAST) as channel:
        await channel.send(app(), Text("x"))
        for spoil in (wecom.stall, wecom.cut, wecom.proxy_page, lambda **how: wecom.fail(60020, **how)):
            spoil(path=SEND)
            with pytest.raises((Unknown, Offline)) as caught:
                await channel.send(app(), Text("x"))
            errors.append(repr(caught.value))
    keys = await database.read(lambda c: [row.key for row in c.execute(facts.select())])
    token = wecom.applications[0].token
    assert any(key.startswith("wecom token:") for key in keys)
    for secret in ("the-secret", token):
        assert secret not in "".join(keys) + caplog.text + "".join(errors)
    assert "the-secret" not in repr(app(secret="the-secret"))


# ---------------------------------------------------------------- faults


async def test_no_answer_to_a_message_is_not_known(wecom, make) -> None:
    async with make(timing=FAST) as channel:
        await channel.send(app(), Text("token"))
        for spoil in (wecom.stall, wecom.cut):
            spoil(path=SEND, after=True)
            with pytest.raises(Unknown, match="may have been sent"):
                await channel.send(app(), Text("x"))
        await wecom.stop()
        with pytest.raises(Offline, match="not reached"):
            await channel.send(app(), Text("x"))


async def test_an_address_that_is_not_trusted_is_said_with_what_to_do(wecom, channel) -> None:
    wecom.trusted = False
    with pytest.raises(Unauthorised, match=r"60020.*trusted IPs"):
        await channel.send(app(), Text("x"))


async def test_an_application_that_stalls_keeps_no_other_waiting(wecom, make, clock) -> None:
    other = wecom.add_application("corp", "other-secret", 1000003)
    async with make() as channel:
        quick = app(secret="other-secret", agent_id=1000003, pace=NO_PACE)
        wecom.stall(count=100, who="corpsecret=the-secret")
        stuck = [asyncio.create_task(channel.send(app(pace=NO_PACE), Text(str(n)))) for n in range(20)]
        await wecom.called(path=TOKEN)
        await asyncio.gather(*(channel.send(quick, Text(str(n))) for n in range(50)))
        assert Counter(message.sender for message in wecom.messages) == {str(other.agent_id): 50}
        assert not any(task.done() for task in stuck)
        wecom.release()
        await asyncio.gather(*stuck)
        assert wecom.applications[0].tokens == 1


# ---------------------------------------------------------------- repeats


async def test_a_repeat_after_no_answer_arrives_once(wecom, make, clock) -> None:
    async with make(timing=FAST) as channel:
        await channel.send(app(), Text("token"))
        wecom.stall(path=SEND, after=True)
        with pytest.raises(Unknown):
            await channel.send(app(), Text("the alert"))
        clock.advance(5)
        await channel.send(app(), Text("the alert"))
    assert [message.content for message in wecom.messages] == ["token", "the alert"]
    assert wecom.duplicates == 1


async def test_a_repeat_of_what_never_arrived_arrives(wecom, make) -> None:
    async with make(timing=FAST) as channel:
        await channel.send(app(), Text("token"))
        wecom.stall(path=SEND)
        with pytest.raises(Unknown):
            await channel.send(app(), Text("the alert"))
        await channel.send(app(), Text("the alert"))
    assert [message.content for message in wecom.messages] == ["token", "the alert"]


async def test_the_same_words_said_again_on_purpose_arrive_again(wecom, channel, clock) -> None:
    for _ in range(3):
        await channel.send(app(), Text("it is noon"))
        clock.advance(60)
    clock.advance(DUPLICATE_CHECK_SECONDS)
    await channel.send(app(), Text("it is noon"))
    assert (len(wecom.messages), wecom.duplicates) == (4, 0)


# ---------------------------------------------------------------- quotas


async def test_a_member_is_never_sent_more_than_wecom_delivers(wecom, channel, clock) -> None:
    one, both = app(to="zhangsan"), app(to="lisi|zhangsan")
    for n in range(15):
        await channel.send(one, Text(str(n)))
        await channel.send(both, Text(f"both {n}"))
    with pytest.raises(Throttled) as caught:
        await channel.send(both, Text("too many"))
    assert caught.value.retry_after == 60
    await channel.send(app(to="lisi"), Text("lisi has had fewer"))
    clock.advance(60)
    await channel.send(both, Text("now"))
    assert not any(message.dropped for message in wecom.messages)


async def test_what_was_not_sent_counts_for_nobody(wecom, channel) -> None:
    wecom.fail(-1, count=40, path=SEND)
    for n in range(40):
        with pytest.raises(Transient):
            await channel.send(app(), Text(str(n)))
    for n in range(30):
        await channel.send(app(), Text(str(n)))


def test_a_targets_pace_is_what_wecom_delivers_to_a_member() -> None:
    assert app().pace == Pace(chat=Rate(30, 60), total=Rate(1000, 3600))
    assert app(pace=NO_PACE).pace == Pace()
    assert app(pace={"chat": "1/s"}).pace == Pace(chat=Rate(1, 1))
    assert PLUGIN.jitter == 0


# ---------------------------------------------------------------- media


async def test_a_picture_is_uploaded_once_however_often_it_is_sent(wecom, channel, clock, tmp_path) -> None:
    body = picture(tmp_path / "p.png", screenshot(300, 200), name="面板.png")
    await asyncio.gather(*(channel.send(app(to=who), body) for who in ("zhangsan", "lisi", "wangwu")))
    assert wecom.calls[UPLOAD] == 1
    assert [message.data for message in wecom.messages] == [(tmp_path / "p.png").read_bytes()] * 3
    assert wecom.messages[0].name == "面板.png"
    clock.advance(3 * 86400)
    await channel.send(app(), body)
    assert wecom.calls[UPLOAD] == 2


async def test_a_picture_that_wecom_has_lost_is_uploaded_again(wecom, channel, tmp_path) -> None:
    body = picture(tmp_path / "p.png", screenshot(300, 200))
    await channel.send(app(), body)
    wecom.forget_media()
    await channel.send(app(), body)
    assert (wecom.calls[UPLOAD], len(wecom.messages)) == (2, 2)
    wecom.fail(40007, "invalid media_id", path=SEND, count=2)
    with pytest.raises(Permanent, match="40007"):  # once, not without end
        await channel.send(app(), body)


async def test_a_picture_beyond_ten_megabytes_is_made_smaller(wecom, channel, tmp_path) -> None:
    body = picture(tmp_path / "p.png", noise(2000, 1800))
    assert body.size > MAX_PICTURE_BYTES
    await channel.send(app(), body)
    assert len(wecom.messages[0].data) <= MAX_PICTURE_BYTES


async def test_a_file_arrives_under_its_name(wecom, channel, tmp_path) -> None:
    (tmp_path / "r").write_text("a,b\n1,2\n")
    await channel.send(app(), PictureFile(str(tmp_path / "r"), 'r "1".csv', "text/csv", 8))
    (message,) = wecom.messages
    assert (message.kind, message.name, message.data) == ("file", "r _1_.csv", b"a,b\n1,2\n")


async def test_an_upload_without_an_answer_has_sent_nothing(wecom, make, tmp_path) -> None:
    body = picture(tmp_path / "p.png", screenshot(30, 20))
    async with make(timing=FAST) as channel:
        for spoil in (wecom.cut, lambda **how: wecom.answer(200, "", **how)):
            spoil(path=UPLOAD, after=True)
            with pytest.raises((Transient, Offline)):
                await channel.send(app(), body)
        await channel.send(app(), body)
    assert len(wecom.messages) == 1


# ---------------------------------------------------------------- jobs.yaml


async def test_every_shared_part_may_stand_at_the_target_instead(wecom, make) -> None:
    wecom.add_application("corp2", "s2", 7)
    async with make() as channel:
        await channel.send(app(corp_id="corp2", secret="s2", agent_id=7), Text("x"))
        with pytest.raises(Unauthorised, match="40001"):
            await channel.send(app(corp_id="corp2"), Text("x"))
    assert wecom.messages[0].sender == "7"


async def test_what_is_in_neither_place_is_named() -> None:
    assert app().lacks(None) == ["corp_id", "secret", "agent_id"]
    shared = WecomSettings.model_validate({"corp_id": "c", "secret": ""})
    assert app(agent_id=0).lacks(shared) == ["secret"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "needs `to:`"),
        ({"to": ""}, "needs `to:`"),
        ({"to": "@all|zhangsan"}, "stands alone"),
        ({"to": ["from-alert", "zhangsan"]}, "stands alone"),
        ({"party": list(range(101))}, "at most 100"),
        ({"to": "u", "format": "markdown_v2"}, "format"),
        ({"to": {"a": 1}}, "to"),
        ({"to": "u", "agent_id": "x"}, "agent_id"),
    ],
)
def test_a_target_that_cannot_work_says_why(given, why) -> None:
    with pytest.raises(ValidationError) as caught:
        AppTarget.model_validate(given)
    assert why in "".join(error["msg"] + str(error["loc"]) for error in caught.value.errors())


def test_whom_it_writes_to_tells_one_chat_from_another() -> None:
    keys = {app(to=to, agent_id=agent).chat_key() for to in ("a", "b", "a|b") for agent in (1, 2)}
    assert len(keys) == 6


async def test_an_application_can_be_tried_without_anybody_seeing_it(wecom, make) -> None:
    async with make() as channel:
        assert "(Ops)" in await channel.probe(app())
        with pytest.raises(Unauthorised, match="301002"):
            await channel.probe(app(agent_id=5))
        wecom.trusted = False
        with pytest.raises(Unauthorised, match="60020"):
            await channel.probe(app())
    assert wecom.messages == []
