"""A person's private chat with the bot, over real sockets: scanning, the send window, and what the service says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import structlog.testing

from tests.integration.channels.ilink.ilink_harness import PERSON, TARGET, IlinkHarness
from wxbridge.channels.ilink.client import IlinkClient
from wxbridge.channels.ilink.login import log_in
from wxbridge.channels.ilink.store import PersonStore
from wxbridge.core.errors import Held, Offline, Permanent, Throttled, Unknown
from wxbridge.core.model import ChannelState, Priority, WantedDigits
from wxbridge.simulator.ilink.server import IlinkServer, SimulatedFault

HOUR = 3600.0
PNG = b"\x89PNG" + bytes(5000)


@pytest_asyncio.fixture
async def harness(tmp_path: Path) -> AsyncIterator[IlinkHarness]:
    async with IlinkServer(poll_seconds=0.05) as server:
        made = IlinkHarness(server, tmp_path)
        try:
            yield made
        finally:
            await made.close()


# ---------------------------------------------------------------- login


async def test_after_a_scan_the_person_has_to_write_before_they_are_written_to(harness: IlinkHarness) -> None:
    channel = harness.start()
    await harness.scan()
    assert harness.codes[0].startswith(f"{harness.server.url}/q/")
    with pytest.raises(Offline, match="waiting for 张三 to write"):
        await harness.send("too early")
    assert not [name for name, _ in harness.server.requests if name == "sendmessage"], "nothing is probed"
    harness.state.say(PERSON, "hi")
    await harness.reach(ChannelState.ONLINE)
    assert (await harness.send("now")).id
    assert harness.read_phone() == ["now"]
    assert channel.status.account.startswith(PERSON)
    assert harness.state.notes == []


async def test_digits_that_the_phone_shows_are_asked_for_until_they_are_right(harness: IlinkHarness) -> None:
    channel = harness.start()
    await harness.reach(ChannelState.WAITING_FOR_SCAN)
    assert not channel.type_digits("1"), "nobody has asked"
    harness.state.scan(PERSON, digits="123456")
    await harness.until(lambda: "shows digits" in channel.status.detail)
    assert channel.type_digits("000000")
    await harness.until(lambda: "were wrong" in channel.status.detail)
    assert channel.type_digits(" 123456 ")
    await harness.until(lambda: harness.state.find_code().status == "scaned")
    harness.state.confirm()
    await harness.reach(ChannelState.WAITING_FOR_WORD)


async def test_a_code_that_is_too_old_gives_way_to_a_new_one(harness: IlinkHarness) -> None:
    harness.start()
    await harness.reach(ChannelState.WAITING_FOR_SCAN)
    harness.state.expire_code()
    await harness.until(lambda: len(harness.codes) == 2)
    assert len(set(harness.codes)) == 2
    await harness.scan()


async def test_a_code_that_too_many_wrong_digits_have_blocked_gives_way_to_a_new_one(harness: IlinkHarness) -> None:
    channel = harness.start()
    await harness.reach(ChannelState.WAITING_FOR_SCAN)
    harness.state.scan(PERSON, digits="123456")
    for wrong in range(3):
        await harness.until(lambda: channel.wanted_digits is not WantedDigits.NONE)
        assert channel.wanted_digits is (WantedDigits.OTHERS if wrong else WantedDigits.FIRST)
        assert channel.type_digits(f"{wrong}")
    await harness.until(lambda: len(harness.codes) == 2)
    await harness.scan()


async def test_a_scan_may_go_on_at_another_data_centre(harness: IlinkHarness) -> None:
    async with IlinkServer(harness.state, poll_seconds=0.05) as elsewhere:
        harness.start()
        await harness.reach(ChannelState.WAITING_FOR_SCAN)
        harness.state.changed = harness.server._wake
        harness.state.scan(PERSON, redirect_host=f"127.0.0.1:{elsewhere.port}")
        await harness.until(lambda: "get_qrcode_status" in elsewhere.last_headers)
        harness.state.confirm()
        await harness.reach(ChannelState.WAITING_FOR_WORD)
        harness.state.say(PERSON, "hi")
        await harness.reach(ChannelState.ONLINE)
        # From then on the login's own address counts, which the confirmation named.
        assert harness.channel._state.credentials
        assert harness.channel._state.credentials.base_url == elsewhere.url


async def test_whoever_is_bound_already_keeps_the_login(harness: IlinkHarness) -> None:
    await harness.open()
    before = await PersonStore(harness.database, PERSON).load()
    shown: list[str] = []

    class View:
        def show_code(self, address: str) -> None:
            shown.append(address)
            harness.state.scan(PERSON)
            harness.state.confirm()

        def show_scanned(self) -> None: ...

        def show_failure(self, why: str) -> None:
            raise AssertionError(why)

        async def ask_digits(self, *, is_wrong: bool) -> str:
            raise AssertionError(is_wrong)

    client = IlinkClient(harness.channel._settings)
    assert await log_in(client, View(), before.credentials, poll_seconds=0.1) == before.credentials
    await client.close()
    assert len(shown) == 1
    await harness.send("still the same")
    assert harness.read_phone() == ["still the same"]


async def test_a_login_and_the_window_survive_a_restart_without_a_new_scan(harness: IlinkHarness) -> None:
    await harness.open()
    await harness.send("before")
    await harness.stop()
    harness.codes.clear()
    harness.start()
    await harness.reach(ChannelState.ONLINE)
    await harness.send("after")
    assert harness.read_phone() == ["before", "after"]
    assert harness.codes == []
    assert [inbound.text for inbound in harness.heard] == ["hi"], "what was read before does not come again"


async def test_a_login_that_another_program_took_needs_a_new_scan(harness: IlinkHarness) -> None:
    await harness.open()
    harness.codes.clear()
    harness.state.end_login(PERSON)
    await harness.reach(ChannelState.WAITING_FOR_SCAN)
    with pytest.raises(Offline):
        await harness.send("while away")
    await harness.scan()
    assert harness.codes


async def test_a_dead_login_is_noticed_by_sending_too(harness: IlinkHarness) -> None:
    await harness.open()
    dead = {"errcode": -14, "errmsg": "session timeout"}
    harness.server.faults.append(SimulatedFault("sendmessage", body=dead))
    with pytest.raises(Offline, match="new scan"):
        await harness.send("x")
    await harness.reach(ChannelState.WAITING_FOR_SCAN)


async def test_another_process_may_log_the_person_in(harness: IlinkHarness) -> None:
    channel = harness.start()
    await harness.reach(ChannelState.WAITING_FOR_SCAN)
    code = harness.state.scan(PERSON)
    login = await _confirm_elsewhere(harness, code.handle)
    await harness.reach(ChannelState.WAITING_FOR_WORD)
    assert login in channel.status.account


async def _confirm_elsewhere(harness: IlinkHarness, handle: str) -> str:
    """Confirm a code of which the channel does not hear, and store what it brings as `wxbridge login` does."""
    from wxbridge.channels.ilink.client import Credentials

    harness.state.confirm(handle)
    harness.state.codes[handle].is_given = True
    login = harness.state.find_phone(PERSON).login
    assert login
    store = PersonStore(harness.database, PERSON)
    found = Credentials(login.token, login.bot_id, login.user_id, harness.server.url)
    await store.save((await store.load()).logged_in(found))
    return login.bot_id


# ---------------------------------------------------------------- the window


async def test_after_nine_messages_the_tenth_is_kept_for_what_is_critical(harness: IlinkHarness) -> None:
    channel = await harness.open()
    for number in range(9):
        harness.state.offset += 10
        channel.check_priority(Priority.ALERT)
        await harness.send(f"n {number}")
    with pytest.raises(Offline, match="critical"):
        channel.check_priority(Priority.ALERT)
    channel.check_priority(Priority.CRITICAL)
    await harness.send("the disk is full")
    await harness.reach(ChannelState.WAITING_FOR_WORD)
    with pytest.raises(Offline):
        await harness.send("eleventh")
    assert len(harness.read_phone()) == 10
    assert [text for text in harness.read_phone() if "Reply with any word" in text] == [harness.read_phone()[7]]
    harness.state.say(PERSON, "ok")
    await harness.reach(ChannelState.ONLINE)
    await harness.send("again")
    assert harness.read_phone()[-1] == "again"


async def test_what_comes_fast_is_kept_back_for_some_seconds_to_be_merged(harness: IlinkHarness) -> None:
    channel = await harness.open()
    for number in range(3):
        channel.check_priority(Priority.ALERT)
        await harness.send(f"n {number}")
    with pytest.raises(Throttled) as caught:
        channel.check_priority(Priority.ALERT)
    assert 0 < caught.value.retry_after <= 10
    for urgent in (Priority.REPLY, Priority.CRITICAL):
        channel.check_priority(urgent)
    harness.state.offset += 10
    channel.check_priority(Priority.ALERT)


async def test_of_the_pace_too_the_last_place_is_kept_for_what_is_critical(harness: IlinkHarness) -> None:
    channel = await harness.open(pace={"chat": "5/5min"})
    for number in range(4):
        harness.state.offset += 10
        channel.check_priority(Priority.ALERT)
        await harness.send(f"n {number}")
    harness.state.offset += 10
    with pytest.raises(Held) as caught:
        channel.check_priority(Priority.ALERT)
    assert 250 < caught.value.retry_after <= 260
    channel.check_priority(Priority.CRITICAL)
    harness.state.offset += 260
    channel.check_priority(Priority.ALERT)


async def test_how_many_go_singly_is_what_is_left_divided_and_a_closed_window_waits_for_the_next(
    harness: IlinkHarness,
) -> None:
    channel = await harness.open()
    counts = [channel.count_singly()]
    for number in range(10):
        await harness.send(f"n {number}")
        counts.append(channel.count_singly())
    assert counts == [3, 3, 3, 3, 2, 2, 1, 1, 1, 3, 3]


async def test_what_is_left_of_the_window_can_be_seen(harness: IlinkHarness) -> None:
    channel = await harness.open()
    await harness.send("x")
    harness.state.offset += HOUR
    window = channel.describe_window()
    assert (window.messages_left, window.not_shown) == (9, 0)
    assert 22.9 * HOUR < window.seconds_left <= 23 * HOUR
    harness.state.offset += 24 * HOUR
    assert (channel.describe_window().messages_left, channel.describe_window().seconds_left) == (0, 0)


async def test_a_picture_as_the_eighth_leaves_it_to_the_next_text_to_ask_for_a_word(harness: IlinkHarness) -> None:
    await harness.open()
    for number in range(7):
        await harness.send(f"n {number}")
    await harness.send_picture(PNG)
    await harness.send("ninth")
    assert [text for text in harness.read_phone() if "any word" in text] == [
        "ninth\n\nReply with any word to go on receiving messages."
    ]


async def test_the_window_closes_a_day_after_the_persons_last_word(harness: IlinkHarness) -> None:
    await harness.open()
    harness.state.offset += 24 * HOUR
    await harness.reach(ChannelState.WAITING_FOR_WORD)
    with pytest.raises(Offline):
        await harness.send("late")
    assert harness.read_phone() == []


async def test_whoever_is_silent_for_long_is_asked_to_write_before_the_window_closes(harness: IlinkHarness) -> None:
    await harness.open()
    harness.state.offset += 10 * HOUR
    await harness.until(lambda: len(harness.read_phone()) == 1)
    harness.state.offset += 10 * HOUR
    await harness.until(lambda: len(harness.read_phone()) == 2)
    assert set(harness.read_phone()) == {"Reply with any word to go on receiving messages."}


@pytest.mark.parametrize("words", ["prepare failed", "unknown error"])
async def test_a_window_that_the_service_calls_closed_is_not_tried_again(harness: IlinkHarness, words: str) -> None:
    await harness.open()
    harness.server.faults.append(SimulatedFault("sendmessage", body={"ret": -2, "errmsg": words}))
    with pytest.raises(Offline, match="has to write first"):
        await harness.send("x")
    await harness.reach(ChannelState.WAITING_FOR_WORD)
    for _ in range(3):
        with pytest.raises(Offline):
            await harness.send("x")
    assert [name for name, _ in harness.server.requests].count("sendmessage") == 0, "the fault's is not counted"
    harness.state.say(PERSON, "hi again")
    await harness.reach(ChannelState.ONLINE)
    await harness.send("x")


# ---------------------------------------------------------------- sending


async def test_a_picture_arrives_byte_for_byte_and_costs_one_message(harness: IlinkHarness) -> None:
    await harness.open()
    await harness.send_picture(PNG)
    (shown,) = [one for one in harness.state.find_phone(PERSON).chat if one.from_bot]
    assert shown.content == PNG
    login = harness.state.find_phone(PERSON).login
    assert login
    assert login.sent == 1
    assert harness.state.notes == []


async def test_a_store_that_fails_once_costs_the_picture_nothing(harness: IlinkHarness) -> None:
    await harness.open()
    harness.server.faults.append(SimulatedFault("upload", status=500))
    await harness.send_picture(PNG)
    assert harness.read_phone() == [f"[{len(PNG)}]"]


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_lost_answer_is_asked_for_once_more_and_nobody_reads_it_twice(
    harness: IlinkHarness, is_taken: bool
) -> None:
    await harness.open()
    harness.server.faults.append(SimulatedFault("sendmessage", is_taken=is_taken))
    await harness.send("once")
    assert harness.read_phone() == ["once"]
    sent = [body["msg"]["client_id"] for name, body in harness.server.requests if name == "sendmessage"]
    assert len(set(sent)) == 1


async def test_two_lost_answers_leave_it_unknown(harness: IlinkHarness) -> None:
    await harness.open()
    harness.server.faults += [SimulatedFault("sendmessage", status=502), SimulatedFault("sendmessage", status=502)]
    with pytest.raises(Unknown):
        await harness.send("x")


async def test_what_the_service_takes_and_does_not_show_is_never_sent(harness: IlinkHarness) -> None:
    await harness.open()
    harness.state.find_phone(PERSON).is_restricted = True
    for _ in range(2):
        with pytest.raises(Throttled, match="does not show it"):
            await harness.send("hidden")
    with pytest.raises(Permanent, match="does not show it"):
        await harness.send("hidden")
    with pytest.raises(Throttled):
        await harness.send("another")
    assert harness.channel.describe_window().not_shown == 4
    assert "takes messages and does not show them" in harness.channel.status.detail
    harness.state.find_phone(PERSON).is_restricted = False
    await harness.send("seen")
    assert harness.channel.status.detail == ""


async def test_too_fast_is_waited_for_and_a_bad_request_is_final(harness: IlinkHarness) -> None:
    await harness.open()
    harness.server.faults.append(SimulatedFault("sendmessage", body={"ret": -2, "errmsg": "rate limited"}))
    with pytest.raises(Throttled):
        await harness.send("x")
    harness.server.faults.append(SimulatedFault("sendmessage", body={"ret": -2, "errmsg": "invalid arguments"}))
    with pytest.raises(Permanent):
        await harness.send("x")
    assert harness.channel.status.state is ChannelState.ONLINE


async def test_what_may_have_been_sent_is_repeated_only_once_the_service_answers_again(harness: IlinkHarness) -> None:
    channel = await harness.open()
    await channel.prove_alive(TARGET)
    assert harness.read_phone() == [], "nobody sees it"
    harness.server.faults.append(SimulatedFault("getconfig", status=502))
    with pytest.raises(Offline, match="no sign of life"):
        await channel.prove_alive(TARGET)
    harness.server.faults.append(SimulatedFault("getconfig", body={"ret": -4, "errmsg": "GetTypingTicket rpc failed"}))
    await channel.prove_alive(TARGET)
    harness.state.end_login(PERSON)
    with pytest.raises(Offline, match="new scan"):
        await channel.prove_alive(TARGET)


# ---------------------------------------------------------------- what the person writes


async def test_typing_is_shown_with_one_ticket_and_ended(harness: IlinkHarness) -> None:
    channel = await harness.open()
    await harness.until(lambda: harness.heard)
    for is_on in (True, True, False):
        await channel.show_typing(harness.heard[0], is_on=is_on)
    calls = [
        (name, body.get("status")) for name, body in harness.server.requests if "typing" in name or name == "getconfig"
    ]
    assert calls == [("getconfig", None), ("sendtyping", 1), ("sendtyping", 1), ("sendtyping", 2)]
    harness.server.faults.append(SimulatedFault("sendtyping", body={"ret": -1}))
    await channel.show_typing(harness.heard[0], is_on=True)
    await channel.show_typing(harness.heard[0], is_on=True)
    assert [name for name, _ in harness.server.requests if name == "getconfig"] == ["getconfig"] * 2, "another ticket"
    assert channel.describe_window().messages_left == 10
    harness.state.end_login(PERSON)
    await channel.show_typing(harness.heard[0], is_on=True)
    await harness.until(lambda: harness.channel.status.state is not ChannelState.ONLINE)


async def test_only_the_persons_own_words_are_heard_each_once(harness: IlinkHarness) -> None:
    await harness.open()
    harness.state.say(PERSON, "from a bot", message_type=2)
    harness.state.say(PERSON, item={"type": 3, "voice_item": {"text": "graph kafka"}})
    harness.state.say(PERSON, item={"type": 2, "image_item": {"aeskey": 7}})
    harness.state.say(PERSON, item={"type": 99, "text_item": "odd"})
    harness.state.say(PERSON, "status")
    login = harness.state.find_phone(PERSON).login
    assert login
    login.inbox.append(login.inbox[-1])
    harness.state.say(PERSON, "end")
    await harness.until(lambda: harness.heard and harness.heard[-1].text == "end")
    assert [inbound.text for inbound in harness.heard] == ["hi", "graph kafka", "status", "end"]
    assert harness.channel.targets_of(harness.heard[-1]) == ("zhang",)
    assert harness.heard[-1].room_id is None


async def test_polls_that_fail_change_nothing_for_long(harness: IlinkHarness) -> None:
    await harness.open()
    harness.server.faults += [SimulatedFault("getupdates", status=502), SimulatedFault("getupdates")]
    harness.state.say(PERSON, "still there")
    await harness.until(lambda: harness.heard and harness.heard[-1].text == "still there")
    await harness.send("yes")


async def test_no_secret_reaches_a_log_or_a_status(harness: IlinkHarness) -> None:
    with structlog.testing.capture_logs() as logs:
        await harness.open()
        login = harness.state.find_phone(PERSON).login
        assert login
        harness.server.faults.append(SimulatedFault("sendmessage", body={"ret": -2, "errmsg": f"bad {login.bot_id}"}))
        with pytest.raises(Permanent) as error:
            await harness.send("x")
        harness.state.end_login(PERSON)
        await harness.reach(ChannelState.WAITING_FOR_SCAN)
    shown = f"{logs} {harness.channel.status} {error.value}"
    for secret in (login.token, login.context_token):
        assert secret
        assert secret not in shown


# ---------------------------------------------------------------- the pretend service


async def test_the_pretend_service_wants_what_the_real_one_wants(harness: IlinkHarness) -> None:
    url = f"{harness.server.url}/ilink/bot"
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/sendmessage", json={}) as answer:
            assert answer.status == 400, "without its headers"
        async with session.post(f"{harness.server.url}/_test/say", json={"person": "nobody"}) as answer:
            assert answer.status == 409
        async with session.get(f"{url}/get_qrcode_status?qrcode=unknown") as answer:
            assert json.loads(await answer.text())["status"] == "expired"
