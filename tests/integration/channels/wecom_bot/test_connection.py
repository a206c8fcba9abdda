"""How the bot stays connected, and what it says of it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from tests.fakes.wecom_bot import WecomBotServer
from tests.integration.channels.wecom_bot.bot_harness import FAST, GROUP, bot_fixture, target
from wxbridge.channels.wecom_bot.settings import BotSettings, BotsSettings, WecomBotTarget, bot_of, lanes
from wxbridge.core.errors import Offline, Unknown, WxbridgeError
from wxbridge.core.model import ChannelState, Text

__all__ = ["bot_fixture"]

S = ChannelState
IMPATIENT = replace(FAST, ping=0.02, pong=0.25, answer=0.25)


@asynccontextmanager
async def bot_client(server):
    """Another program that subscribes with the same bot."""
    body = {"bot_id": "bot-1", "secret": "secret-1"}
    async with aiohttp.ClientSession() as http, http.ws_connect(server.url) as socket:
        await socket.send_json({"cmd": "aibot_subscribe", "headers": {"req_id": "other"}, "body": body})
        assert (await socket.receive_json())["errcode"] == 0
        yield socket


async def test_a_bot_subscribes_and_is_online_with_its_id(bot):
    channel = await bot.online()
    assert (bot.states, channel.status.account) == ([S.CONNECTING, S.ONLINE], "bot-1")
    assert bot.server.online == ["bot-1"]


async def test_the_end_of_the_bridge_ends_the_connection(bot):
    channel = await bot.online()
    await bot.stop()
    assert channel.status.state is S.STOPPED
    await bot.until(lambda: not bot.server.online)


async def test_pings_keep_the_connection(bot):
    await bot.online(replace(FAST, ping=0.01))
    await bot.until(lambda: sum(frame["cmd"] == "ping" for frame in bot.server.frames) > 4)
    assert (bot.server.connections, bot.states[-1]) == (1, S.ONLINE)


async def test_a_wrong_secret_is_told_with_the_keys_to_correct_and_waits(bot):
    bot.make(secret="wrong")
    bot.start()
    status = await bot.state(S.UNAUTHORISED)
    assert "853000" in status.detail
    assert "`bots.main.secret`" in status.detail
    assert "wrong" not in status.detail
    with pytest.raises(Offline, match="unauthorised"):
        await bot.channel.send(target(), Text("hello"))
    bot.server.bots["bot-1"] = "wrong"
    await bot.state(S.ONLINE)
    assert S.UNREACHABLE not in bot.states


async def test_a_service_that_is_busy_at_the_subscription_is_tried_again_soon(bot):
    bot.server.refuse("aibot_subscribe", -1, 45009)
    await bot.online()
    assert bot.states == [S.CONNECTING, S.UNREACHABLE, S.UNREACHABLE, S.ONLINE]


async def test_a_subscription_that_is_never_answered_is_given_up(bot):
    bot.server.stall("aibot_subscribe")
    await bot.online(replace(FAST, connect=1.5))
    assert bot.states == [S.CONNECTING, S.UNREACHABLE, S.ONLINE]
    assert "no answer to aibot_subscribe" in bot.statuses[1].detail


async def test_a_second_connection_is_left_alone_for_long(bot):
    await bot.online()
    other = bot.make()
    bot.start()
    await bot.until(lambda: S.TAKEN_OVER in bot.states)
    await bot.state(S.ONLINE)
    first = next(status for status in bot.statuses if status.state is S.TAKEN_OVER)
    assert "takes it back after 1 min" in first.detail
    assert "stop the other program" in first.detail
    assert (bot.server.connections, other.status.state) == (2, S.ONLINE)


async def test_what_was_taken_over_is_taken_back_after_a_while_and_then_left_alone_for_longer(bot):
    # Long enough that the second one comes sooner after the first, also on a busy machine.
    await bot.online(replace(FAST, takeover=1.5, takeover_most=60.0))
    async with bot_client(bot.server):
        await bot.state(S.TAKEN_OVER)
    await bot.state(S.ONLINE)
    async with bot_client(bot.server):
        await bot.state(S.TAKEN_OVER)
    pauses = [status.detail for status in bot.statuses if status.state is S.TAKEN_OVER]
    assert ["after 0.025 min" in pauses[0], "after 0.05 min" in pauses[1]] == [True, True]


@pytest.mark.parametrize("how", ["cut", "close 1000", "close 1001", "restart"])
async def test_a_connection_that_ends_comes_back_and_what_waited_goes(bot, how):
    channel = await bot.online()
    if how == "cut":
        bot.server.drop()
    elif how == "restart":
        await bot.server.stop()
    else:
        await bot.server.close(int(how.removeprefix("close ")))
    await bot.until(lambda: S.UNREACHABLE in bot.states)
    if how == "restart":
        with pytest.raises(Offline, match="the bot is unreachable: WeCom is not reached at"):
            await channel.send(target(), Text("waits"))
        await bot.server.start()
    await bot.until(lambda: bot.states[-1] is S.ONLINE)
    await channel.send(target(), Text("back"))
    assert bot.texts == ["back"]


@pytest.mark.parametrize(("steady", "failures"), [(60.0, 3), (0.0, 1)])
async def test_connections_that_do_not_last_are_made_ever_more_rarely(bot, steady, failures):
    channel = await bot.online(replace(FAST, steady=steady))
    for number in (2, 3, 4):
        bot.server.drop()
        await bot.until(lambda: bot.server.connections == number and bot.states[-1] is S.ONLINE)  # noqa: B023
    assert channel.backoff.failures == failures


async def test_a_dead_network_is_noticed_by_two_pings_and_left(bot):
    channel = await bot.online(IMPATIENT)
    bot.server.freeze()
    status = await bot.state(S.UNREACHABLE)
    assert "two pings" in status.detail
    bot.server.thaw()
    await bot.state(S.ONLINE)
    await channel.send(target(), Text("alive again"))
    assert bot.texts == ["alive again"]


async def test_a_message_into_a_dead_network_may_have_been_sent_and_has_the_connection_tested_at_once(bot):
    channel = await bot.online(replace(IMPATIENT, ping=3600))
    bot.server.freeze()
    with pytest.raises(Unknown, match=r"no answer to aibot_send_msg within 0\.25 s"):
        await channel.send(target(), Text("into the void"))
    await bot.state(S.UNREACHABLE)


async def test_a_network_that_takes_nothing_more_does_not_hold_a_message_for_ever(bot):
    channel = await bot.online(replace(IMPATIENT, ping=3600, pong=3600, upload=0.2))
    bot.server.freeze()
    big = bot.picture(bytes(9_000_000))
    sends = [channel.send(target(), big), *(channel.send(target(), Text("x" * 5000)) for _ in range(20))]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert all(isinstance(outcome, Exception) for outcome in outcomes)


async def test_a_server_that_answers_messages_but_no_pings_is_left(bot):
    bot.server.deaf_to_pings = True
    await bot.online(replace(IMPATIENT, pong=0.02))
    await bot.until(lambda: bot.server.connections > 1)
    assert S.UNREACHABLE in bot.states


async def test_nobody_listening_is_unreachable_and_tells_where(bot):
    await bot.server.stop()
    bot.make()
    bot.start()
    status = await bot.state(S.UNREACHABLE)
    assert bot.server.url in status.detail


async def test_a_web_server_that_speaks_no_websocket_is_told_as_such(bot):
    bot.make(ws_url=f"{bot.server.url}/elsewhere")
    bot.start()
    assert "answers HTTP 404" in (await bot.state(S.UNREACHABLE)).detail


@pytest.mark.parametrize(
    "rubbish",
    [
        "no json", "", "[]", "null", "1", '{"cmd": 1}', '{"headers": []}', '{"cmd": "aibot_msg_callback"}',
        '{"cmd": "aibot_event_callback", "body": {"event": "x"}}', '{"headers": {"req_id": "nobody"}, "errcode": 0}',
        '{"cmd": "aibot_msg_callback", "body": {"from": {"userid": 7}, "msgtype": "text"}}', "[" * 100_000,
        '{"headers": {"req_id": null}, "errcode": "zero"}', b"\xff\xfe", '{"cmd": "never_heard_of", "body": {}}',
    ],
)  # fmt: skip
async def test_rubbish_ends_nothing(bot, rubbish):
    channel = await bot.online()
    await bot.server.push(rubbish)
    await bot.server.say("still here?", group=GROUP)
    await bot.until(lambda: bot.inbox)
    await channel.send(target(), Text("yes"))
    assert (bot.texts, bot.server.connections) == (["yes"], 1)


async def test_a_huge_frame_ends_the_connection_and_another_comes(bot):
    channel = await bot.online()
    await bot.server.push("x" * (9 * 1024 * 1024))
    await bot.until(lambda: S.UNREACHABLE in bot.states and bot.states[-1] is S.ONLINE)
    await channel.send(target(), Text("still here"))
    assert bot.texts == ["still here"]


def test_two_bots_have_lanes_and_states_of_their_own():
    both = BotsSettings.model_validate({name: {"bot_id": f"id-{name}", "secret": "s"} for name in ("main", "night")})
    assert (lanes(both), lanes(None)) == (("wecom_bot:main", "wecom_bot:night"), ())
    assert bot_of(both, "wecom_bot:night").bot_id == "id-night"
    assert [target(bot=name).lane() for name in ("main", "night")] == ["wecom_bot:main", "wecom_bot:night"]


def test_a_bot_that_is_not_configured_is_named_with_those_that_are():
    one = BotsSettings.model_validate({"main": {"bot_id": "b", "secret": "s"}})
    with pytest.raises(WxbridgeError, match=r"no bot `night` in `bots:`.*main"):
        bot_of(one, "wecom_bot:night")


async def test_another_configuration_keeps_the_connection_of_the_same_bot_only(bot):
    channel = await bot.online()
    assert channel.keeps(bot.context(name="小桥"))
    assert not channel.keeps(bot.context(secret="another"))
    channel.adopt(bot.context(name="小桥"))
    await bot.server.say("@小桥 status", group=GROUP)
    await bot.until(lambda: bot.inbox)
    assert (bot.inbox[0].text, bot.server.connections) == ("status", 1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bot_id": "b", "secret": "s", "ws_url": "https://example.com"}, "no address of a long connection"),
        ({"bot_id": "b", "secret": "s", "ws_url": "example.com"}, "no address of a long connection"),
        ({"bot_id": " ", "secret": "s"}, "it is empty"),
        ({"bot_id": "b", "secret": " "}, "it is empty"),
        ({"bot_id": "b", "secret": "s", "pase": "1/s"}, "not permitted"),
    ],
)
def test_a_wrong_setting_is_told(settings, words):
    with pytest.raises(ValueError, match=words):
        BotsSettings.model_validate({"main": settings})


def test_the_way_to_wecom_is_tls_unless_said_otherwise():
    assert BotSettings(bot_id="b", secret="s").ws_url == "wss://openws.work.weixin.qq.com"
    assert WecomBotTarget(bot="main", chat="x").format == "markdown"


@pytest.fixture
def certificate(tmp_path):
    """A context for a server, signed by an authority of one's own."""
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "key.pem")
    named = ("-out", "ca.pem", "-subj", "/CN=wecom", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*new, *named], cwd=tmp_path, check=True, stderr=subprocess.DEVNULL)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    return context


async def test_a_certificate_is_checked_and_an_authority_of_ones_own_can_be_named(bot, tmp_path, certificate):
    async with WecomBotServer(tls=certificate) as server:
        bot.server, plain = server, bot.server
        bot.make()
        bot.start()
        assert "certificate" in (await bot.state(S.UNREACHABLE)).detail
        await bot.online(ca=str(tmp_path / "ca.pem"))
        assert (server.url.startswith("wss://"), server.online) == (True, ["bot-1"])
        await bot.stop()
        bot.server = plain


async def test_the_server_takes_the_port_of_before_again():
    async with WecomBotServer() as server:
        url = server.url
        await server.stop()
        await server.start()
        assert server.url == url
