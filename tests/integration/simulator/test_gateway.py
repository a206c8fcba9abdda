from __future__ import annotations

import asyncio
import base64
import io
import json
from contextlib import aclosing

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from PIL import Image
from wechaty_grpc.wechaty import puppet as pb

from wxbridge.simulator import MessageKind

ROOM = "技术讨论群"
Kind = pb.EventType


def png(side: int = 8) -> bytes:
    drawn = io.BytesIO()
    Image.effect_noise((side, side), 90).save(drawn, "PNG")
    return drawn.getvalue()


def box(data: bytes, name: str = "kafka.png") -> str:
    return json.dumps({"boxType": 1, "name": name, "base64": base64.b64encode(data).decode()})


def chunks(room_id: str, name: str, data: bytes, size: int = 65536) -> list[pb.MessageSendFileStreamRequest]:
    head = pb.MessageSendFileStreamRequest(conversation_id=room_id)
    title = pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(name=name))
    body = [
        pb.MessageSendFileStreamRequest(file_box_chunk=pb.FileBoxChunk(data=data[at : at + size]))
        for at in range(0, len(data), size)
    ]
    return [head, title, *body]


async def next_event(events, kind):
    async for event in events:
        if event.type == kind:
            return json.loads(event.payload)
    raise AssertionError("the event stream ended")


async def status_of(call) -> Status:
    with pytest.raises(GRPCError) as raised:
        await call
    return raised.value.status


@pytest.mark.parametrize("token", ["", "insecure_wrong"])
async def test_a_wrong_token_is_refused_on_every_call_and_does_nothing(simulator, connect, token):
    stranger = connect(token)
    room_id = simulator.world.find_room(ROOM).id
    assert await status_of(stranger.stub.start()) is Status.UNAUTHENTICATED
    assert await status_of(stranger.stub.contact_phone(contact_id="x")) is Status.UNAUTHENTICATED
    assert await status_of(stranger.send_stream(*chunks(room_id, "a", b"x" * 500_000))) is Status.UNAUTHENTICATED
    with pytest.raises(GRPCError, match="TOKEN"):
        await anext(stranger.events())
    assert simulator.world.state == "stopped"


async def test_start_asks_for_a_scan_and_the_scan_logs_in(simulator, connect):
    client = connect()
    await client.stub.start()
    async with aclosing(client.events()) as events:
        waiting = await next_event(events, Kind.EVENT_TYPE_SCAN)
        assert waiting["status"] == 2
        assert waiting["qrcode"].startswith("https://login.weixin.qq.com/")
        simulator.world.scan()
        assert (await next_event(events, Kind.EVENT_TYPE_SCAN))["status"] == 3
        assert (await next_event(events, Kind.EVENT_TYPE_SCAN))["status"] == 4
        login = await next_event(events, Kind.EVENT_TYPE_LOGIN)
        assert login == {"contactId": simulator.world.bot.id}
        assert await next_event(events, Kind.EVENT_TYPE_READY) == {"data": "ready"}


async def test_a_second_start_logs_in_again_without_a_scan(simulator, client):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        await client.stub.start()
        assert await next_event(events, Kind.EVENT_TYPE_LOGIN) == {"contactId": simulator.world.bot.id}


async def test_an_expired_qr_code_is_followed_by_another(simulator, connect):
    client = connect()
    await client.stub.start()
    async with aclosing(client.events()) as events:
        first = await next_event(events, Kind.EVENT_TYPE_SCAN)
        second = simulator.world.refresh_qrcode()
        assert (await next_event(events, Kind.EVENT_TYPE_SCAN))["qrcode"] == second != first["qrcode"]


async def test_logging_out_is_told_and_shows_a_fresh_qr_code(simulator, client):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        simulator.world.logout()
        assert (await next_event(events, Kind.EVENT_TYPE_LOGOUT))["contactId"] == simulator.world.bot.id
        assert (await next_event(events, Kind.EVENT_TYPE_SCAN))["qrcode"] == simulator.world.qrcode != ""
    room_id = simulator.world.find_room(ROOM).id
    assert await status_of(client.stub.message_send_text(conversation_id=room_id, text="x")) is Status.INTERNAL


async def test_a_ding_comes_back_as_a_dong(client):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        await client.stub.ding(data="a unique word")
        assert await next_event(events, Kind.EVENT_TYPE_DONG) == {"data": "a unique word"}


async def test_rooms_and_contacts_can_be_read(simulator, client):
    topics, names = set(), set()
    for room_id in (await client.stub.room_list()).ids:
        room = await client.stub.room_payload(id=room_id)
        topics.add(room.topic)
        assert set((await client.stub.room_member_list(id=room_id)).member_ids) == set(room.member_ids)
        member = await client.stub.room_member_payload(id=room_id, member_id=room.member_ids[1])
        assert member.name == simulator.world.name_in(room.member_ids[1])
    for contact_id in (await client.stub.contact_list()).ids:
        names.add((await client.stub.contact_payload(id=contact_id)).name)
    assert topics == {ROOM, "运维值班"}
    assert names == {"小桥", "主人", "张三", "李四", "王五"}
    assert await status_of(client.stub.room_payload(id="nobody@chatroom")) is Status.INTERNAL


async def test_a_contact_can_be_given_an_alias_and_a_room_a_topic(simulator, client):
    contact = simulator.world.find_contact("张三")
    await client.stub.contact_alias(id=contact.id, alias="老张")
    assert (await client.stub.contact_payload(id=contact.id)).alias == "老张"
    room = simulator.world.find_room(ROOM)
    await client.stub.room_topic(id=room.id, topic="新群名")
    assert (await client.stub.room_topic(id=room.id)).topic == "新群名"


async def test_a_text_is_kept_with_its_mentions_and_comes_back_as_an_event(simulator, client):
    room = simulator.world.find_room(ROOM)
    who = simulator.world.find_contact("张三")
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        sent = await client.stub.message_send_text(conversation_id=room.id, text="你好 @张三", mentonal_ids=[who.id])
        assert await next_event(events, Kind.EVENT_TYPE_MESSAGE) == {"messageId": sent.id}
    payload = await client.stub.message_payload(id=sent.id)
    assert (payload.text, payload.type, payload.from_id) == ("你好 @张三", 7, simulator.world.bot.id)
    (message,) = simulator.world.messages(ROOM, sent_by_bot=True)
    assert (message.id, message.mention_ids) == (sent.id, (who.id,))


async def test_a_picture_is_kept_byte_for_byte_and_can_be_fetched(simulator, client):
    data = png()
    contact = simulator.world.find_contact("主人")
    sent = await client.stub.message_send_file(conversation_id=contact.id, filebox=box(data))
    (message,) = await simulator.wait_for(lambda: simulator.world.messages(contact="主人", sent_by_bot=True))
    assert message.kind is MessageKind.IMAGE
    assert (message.media.data, message.media.width, message.media.content_type) == (data, 8, "image/png")
    assert (await client.stub.message_payload(id=sent.id)).type == 6
    fetched = json.loads((await client.stub.message_image(id=sent.id)).filebox)
    assert base64.b64decode(fetched["base64"]) == data


@pytest.mark.parametrize(
    "filebox",
    [
        json.dumps({"boxType": 2, "remoteUrl": "http://example.com/a.png", "name": "a.png"}),
        json.dumps({"boxType": 1, "name": "a.png", "base64": "!"}),
        json.dumps({"boxType": 1, "name": "a.png", "base64": ""}),
        json.dumps([1]),
        "not json",
    ],
)
async def test_a_file_box_that_a_real_gateway_refuses_is_refused(simulator, client, filebox):
    room_id = simulator.world.find_room(ROOM).id
    call = client.stub.message_send_file(conversation_id=room_id, filebox=filebox)
    assert await status_of(call) is Status.INTERNAL
    assert not simulator.world.messages()


async def test_more_than_four_mib_in_one_message_is_refused_and_a_stream_carries_it(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    data = b"\x00\x01\x02" * 2_097_152
    call = client.stub.message_send_file(conversation_id=room_id, filebox=box(data, "six.bin"))
    assert await status_of(call) is Status.RESOURCE_EXHAUSTED
    assert not simulator.world.messages()
    sent = await client.send_stream(*chunks(room_id, "six.bin", data))
    (message,) = simulator.world.messages(ROOM)
    assert (message.id, message.media.name, message.media.data == data) == (sent, "six.bin", True)


async def test_the_largest_file_that_a_real_gateway_takes_is_taken(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    await client.stub.message_send_file(conversation_id=room_id, filebox=box(b"x" * 3_145_000, "big.bin"))
    assert len(simulator.world.messages(ROOM)[0].media.data) == 3_145_000


async def test_one_chunk_above_four_mib_refuses_the_stream(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    data = b"x" * 9_000_000
    call = client.send_stream(*chunks(room_id, "a.bin", data, size=4_500_000))
    assert await status_of(call) is Status.RESOURCE_EXHAUSTED


async def test_what_nobody_implements_says_so(client):
    assert await status_of(client.stub.contact_phone(contact_id="x")) is Status.UNIMPLEMENTED
    assert await status_of(client.stub.tag_contact_list()) is Status.UNIMPLEMENTED


async def test_what_a_person_says_arrives_with_its_payload(simulator, client):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        simulator.world.say("@机器人 graph kafka", room=ROOM, talker="张三")
        told = await next_event(events, Kind.EVENT_TYPE_MESSAGE)
        simulator.world.say("help", contact="李四")
        direct = await next_event(events, Kind.EVENT_TYPE_MESSAGE)
    payload = await client.stub.message_payload(id=told["messageId"])
    assert payload.text == "@小桥\u2005graph kafka"
    assert payload.mention_ids == [simulator.world.bot.id]
    assert payload.from_id == simulator.world.find_contact("张三").id
    assert payload.room_id == simulator.world.find_room(ROOM).id
    payload = await client.stub.message_payload(id=direct["messageId"])
    assert (payload.room_id, payload.to_id, payload.text) == ("", simulator.world.bot.id, "help")


async def test_only_one_client_gets_the_events_until_stop_frees_them(simulator, client, connect):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        second = connect()
        with pytest.raises(GRPCError) as raised:
            await anext(second.events())
        assert raised.value.status is Status.ALREADY_EXISTS
        await second.stub.stop()
        assert [event.type async for event in events if event.type != Kind.EVENT_TYPE_READY] == []
    await second.stub.start()
    async with aclosing(second.events()) as events:
        assert (await next_event(events, Kind.EVENT_TYPE_SCAN))["status"] == 2


async def test_a_client_that_goes_away_frees_the_events(simulator, client, connect):
    events = client.events()
    await next_event(events, Kind.EVENT_TYPE_LOGIN)
    client.channel.close()
    await simulator.wait_for(lambda: not simulator.gateway.client_connected)
    async with aclosing(connect().events()) as again:
        await next_event(again, Kind.EVENT_TYPE_LOGIN)


async def test_a_takeover_ends_the_stream_and_holds_it(simulator, client):
    events = client.events()
    await next_event(events, Kind.EVENT_TYPE_READY)
    simulator.gateway.takeover()
    assert [event async for event in events] == []
    with pytest.raises(GRPCError) as raised:
        await anext(client.events())
    assert raised.value.status is Status.ALREADY_EXISTS


async def test_planned_failures_hit_sends_only_and_end_by_themselves(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    simulator.gateway.faults.fail_next(2, "RESOURCE_EXHAUSTED")
    await client.stub.ding(data="x")
    for _ in range(2):
        call = client.stub.message_send_text(conversation_id=room_id, text="lost")
        assert await status_of(call) is Status.RESOURCE_EXHAUSTED
    await client.stub.message_send_text(conversation_id=room_id, text="kept")
    assert [message.text for message in simulator.world.messages()] == ["kept"]


async def test_a_failure_can_come_after_the_message_was_delivered(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    simulator.gateway.faults.fail_next(after=True)
    call = client.stub.message_send_text(conversation_id=room_id, text="there all the same")
    assert await status_of(call) is Status.UNAVAILABLE
    assert [message.text for message in simulator.world.messages()] == ["there all the same"]


async def test_a_failure_can_be_planned_for_one_method(simulator, client):
    simulator.gateway.faults.fail_next(method="RoomList", code="INTERNAL")
    await client.stub.contact_list()
    assert await status_of(client.stub.room_list()) is Status.INTERNAL
    assert (await client.stub.room_list()).ids


async def test_a_send_that_timed_out_is_delivered_later(simulator, client):
    room_id = simulator.world.find_room(ROOM).id
    simulator.gateway.faults.delay(1.5, count=1)
    client.stub.timeout = 0.1
    # Both ends watch the deadline; on a busy machine the server may be the first to say so.
    with pytest.raises((asyncio.TimeoutError, GRPCError)) as caught:
        await client.stub.message_send_text(conversation_id=room_id, text="late")
    assert getattr(caught.value, "status", Status.DEADLINE_EXCEEDED) is Status.DEADLINE_EXCEEDED
    assert not simulator.world.messages()
    (message,) = await simulator.wait_for(lambda: simulator.world.messages(ROOM, sent_by_bot=True))
    assert message.text == "late"


async def test_a_frozen_gateway_answers_nothing_and_catches_up_when_thawed(simulator, client, connect):
    room_id = simulator.world.find_room(ROOM).id
    simulator.gateway.freeze()
    late = asyncio.create_task(client.stub.message_send_text(conversation_id=room_id, text="after the ice"))
    newcomer = connect()
    newcomer.stub.timeout = 0.2
    with pytest.raises(asyncio.TimeoutError):
        await newcomer.stub.ding(data="anybody?")
    assert not late.done()
    assert not simulator.world.messages()
    simulator.gateway.thaw()
    assert (await late).id == simulator.world.messages()[0].id


async def test_dropped_connections_end_the_stream_and_can_be_made_again(simulator, client, connect):
    events = client.events()
    await next_event(events, Kind.EVENT_TYPE_READY)
    assert simulator.gateway.drop() == 1
    with pytest.raises((StreamTerminatedError, ConnectionError)):
        await anext(events)
    async with aclosing(connect().events()) as again:
        await next_event(again, Kind.EVENT_TYPE_LOGIN)


async def test_a_killed_gateway_comes_back_on_its_port_with_its_state(simulator, client, connect):
    endpoint = simulator.endpoint
    await simulator.gateway.kill()
    with pytest.raises(OSError):
        await connect().stub.start()
    await simulator.gateway.restart()
    assert simulator.endpoint == endpoint
    back = connect()
    await back.stub.start()
    async with aclosing(back.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)


async def test_new_ids_change_everybody_and_keep_names_and_history(simulator, client):
    room = simulator.world.find_room(ROOM)
    old_room, old_bot = room.id, simulator.world.bot.id
    await client.stub.message_send_text(conversation_id=old_room, text="before")
    old_contacts = set((await client.stub.contact_list()).ids)
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        simulator.world.relogin_with_new_ids()
        assert (await next_event(events, Kind.EVENT_TYPE_LOGOUT))["contactId"] == old_bot
        new_bot = (await next_event(events, Kind.EVENT_TYPE_LOGIN))["contactId"]
    assert new_bot == simulator.world.bot.id != old_bot
    new_room = simulator.world.find_room(ROOM).id
    assert new_room != old_room
    assert not old_contacts & set((await client.stub.contact_list()).ids)
    assert (await client.stub.room_payload(id=new_room)).topic == ROOM
    assert [message.text for message in simulator.world.messages(ROOM)] == ["before"]
    call = client.stub.message_send_text(conversation_id=old_room, text="to nobody")
    assert await status_of(call) is Status.INTERNAL


async def test_a_renamed_room_is_told(simulator, client):
    async with aclosing(client.events()) as events:
        await next_event(events, Kind.EVENT_TYPE_LOGIN)
        simulator.world.rename_room(ROOM, "平台组")
        told = await next_event(events, Kind.EVENT_TYPE_ROOM_TOPIC)
    assert (told["oldTopic"], told["newTopic"]) == (ROOM, "平台组")
