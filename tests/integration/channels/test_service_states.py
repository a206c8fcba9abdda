"""What a channel over HTTP makes of a service that is away, or lets it not in; real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import structlog

from tests.fakes.wecom import FakeWecom
from wxbridge.channels import service_states
from wxbridge.channels.answers import HttpAnswer
from wxbridge.channels.http import HttpTiming
from wxbridge.channels.wecom.robot import RobotChannel, RobotTarget
from wxbridge.core.errors import Offline, SendError, Unauthorised, Unknown
from wxbridge.core.model import ChannelState, ChannelStatus, Text

SEND = "/cgi-bin/webhook/send"


@pytest.fixture
async def wecom() -> AsyncIterator[FakeWecom]:
    async with FakeWecom() as service:
        service.add_robot("key")
        yield service


@pytest.fixture
def targets(wecom) -> dict[str, RobotTarget]:
    return {"ops-robot": RobotTarget(key="key", base_url=wecom.url)}


@pytest.fixture
async def channel(targets, clock) -> AsyncIterator[RobotChannel]:
    channel = RobotChannel(timing=HttpTiming(deadline=10.0), targets=targets, monotonic=clock.monotonic)
    yield channel
    await channel.close()


async def fail_to_send(channel, target, clock, count) -> SendError:
    for _ in range(count):
        clock.advance(service_states.MAX_LOOK_SECONDS)
        with pytest.raises(SendError) as caught:
            await channel.send(target, Text("x"))
    return caught.value


async def test_a_service_that_is_away_is_a_state_after_a_few_failures_until_the_first_success(
    wecom, channel, targets, clock
) -> None:
    told: list[ChannelStatus] = []
    running = asyncio.create_task(channel.run(None, told.append))
    await asyncio.sleep(0)
    await wecom.stop()
    with structlog.testing.capture_logs() as lines:
        await fail_to_send(channel, targets["ops-robot"], clock, 2)
        assert channel.status.state is ChannelState.ONLINE
        error = await fail_to_send(channel, targets["ops-robot"], clock, 1)
        assert isinstance(error, Offline)
        assert channel.status_of(targets["ops-robot"]).state is ChannelState.UNREACHABLE
        assert "Connection refused (tried 3 times)" in channel.status.detail
        since = channel.status.since
        for _ in range(20):
            clock.advance(service_states.MAX_LOOK_SECONDS)
            await channel.look_after()
        assert (channel.status.since, "tried 23 times" in channel.status.detail) == (since, True)
        await wecom.start()
        clock.advance(service_states.MAX_LOOK_SECONDS)
        await channel.look_after()
    running.cancel()
    assert [status.state.value for status in told if status.state is not told[0].state][:1] == ["unreachable"]
    assert told[-1].state is channel.status.state is ChannelState.ONLINE
    # One when it begins, one after a quarter of an hour, one when it ends.
    assert [line["event"] for line in lines] == ["service is away", "service is away", "service is well again"]


async def test_looks_back_off_to_a_minute(wecom, channel, targets, clock) -> None:
    await wecom.stop()
    await fail_to_send(channel, targets["ops-robot"], clock, 3)
    pauses = []
    for _ in range(8):
        (name,) = {service.base_url for service in channel.list_services(targets["ops-robot"])}
        pauses.append(channel._states.seconds_until_look([name]))
        await channel.look_after()  # too early: nothing happens
        clock.advance(pauses[-1])
        await channel.look_after()
    assert pauses[0] <= 4
    assert all(30 <= pause <= 60 for pause in pauses[-3:])


@pytest.mark.parametrize("status", [500, 502, 200])
async def test_faults_and_junk_are_the_services_state_too(wecom, channel, targets, clock, status) -> None:
    wecom.answer(status, "junk", count=100, path=SEND)
    error = await fail_to_send(channel, targets["ops-robot"], clock, 3)
    assert isinstance(error, Unknown)
    assert channel.status.state is ChannelState.UNREACHABLE
    wecom.release()
    clock.advance(60)
    await channel.look_after()
    assert channel.status.state is ChannelState.ONLINE


async def test_a_refused_key_is_the_state_of_its_robot_alone_and_named_until_it_is_taken_again(
    wecom, channel, targets, clock
) -> None:
    targets["other"] = RobotTarget(key="gone", base_url=wecom.url)
    error = await fail_to_send(channel, targets["other"], clock, 1)
    assert isinstance(error, Unauthorised)
    assert channel.status_of(targets["other"]).state is ChannelState.UNAUTHORISED
    assert channel.status_of(targets["ops-robot"]).state is ChannelState.ONLINE
    assert channel.status.state is ChannelState.UNAUTHORISED
    assert channel.status.detail.startswith("other: WeCom")
    assert "93000" in channel.status.detail
    await channel.send(targets["ops-robot"], Text("x"))
    clock.advance(60)
    await channel.look_after()
    assert channel.status.state is ChannelState.UNAUTHORISED
    wecom.add_robot("gone")
    clock.advance(60)
    await channel.look_after()
    assert channel.status.state is ChannelState.ONLINE
    assert [message.content for message in wecom.messages] == ["x"]


async def test_after_no_answer_nothing_is_sent_before_the_service_has_shown_that_it_lives(
    wecom, channel, targets, clock
) -> None:
    wecom.cut(path=SEND)
    with pytest.raises(Unknown):
        await channel.send(targets["ops-robot"], Text("first"))
    wecom.cut(count=20, path="/")
    for _ in range(2):
        with pytest.raises(Offline, match="no sign of life"):
            await channel.send(targets["ops-robot"], Text("first"))
    assert wecom.calls[SEND] == 1
    wecom.release()
    await channel.send(targets["ops-robot"], Text("first"))
    assert wecom.calls[SEND] == 2


async def test_an_outage_goes_on_in_the_channel_of_another_configuration_and_ends_with_a_look(
    wecom, channel, targets, clock
) -> None:
    targets["other"] = RobotTarget(key="gone", base_url=wecom.url)
    await fail_to_send(channel, targets["other"], clock, 1)
    await wecom.stop()
    await fail_to_send(channel, targets["ops-robot"], clock, 3)
    since = channel.status_of(targets["ops-robot"]).since
    del targets["other"]
    clock.advance(3600)
    following = RobotChannel(timing=HttpTiming(deadline=10.0), targets=targets, monotonic=clock.monotonic)
    following.recall_troubles(json.loads(json.dumps(channel.list_troubles())))
    assert (following.status.state, following.status.since) == (ChannelState.UNREACHABLE, since)
    assert "gone" not in following.status.detail
    assert "tried 3 times" in following.status.detail
    await wecom.start()
    await following.look_after()
    assert following.status.state is ChannelState.ONLINE
    await following.close()


async def test_a_repeat_goes_only_to_a_service_that_has_just_answered(wecom, channel, targets) -> None:
    wecom.cut(count=20, path="/")
    with pytest.raises(Offline, match="no sign of life"):
        await channel.prove_alive(targets["ops-robot"])
    wecom.release()
    await channel.prove_alive(targets["ops-robot"])
    assert wecom.messages == []


async def test_no_service_mutes_a_robot_for_longer_than_an_hour(channel) -> None:
    answer = HttpAnswer(429, b"", retry_after=99_999_999_999.0)
    assert channel.judge(answer).wait == 3600
