"""Other services through apprise: what each can carry, what became of a message, and what is refused beforehand."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import importlib.util
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from PIL import Image

from tests.fakes.http_service import FakeService, json_of
from tests.integration.channels.wecom.wecom_harness import picture
from wxbridge import parts
from wxbridge.channels.apprise import USUAL_CAPABILITIES, AppriseChannel, AppriseTarget
from wxbridge.config.schema import Config
from wxbridge.core.errors import (
    ConfigError,
    Offline,
    Permanent,
    SendError,
    Throttled,
    Transient,
    Unauthorised,
    Unknown,
)
from wxbridge.core.model import ChannelState, PictureFile, Text
from wxbridge.testing import FakeClock

SECRET = "hush-hush-0123456789"


class Hook(FakeService):
    """Takes what apprise's `json://` posts."""

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[dict] = []

    def routes(self):
        from aiohttp import web

        async def take(request: web.Request) -> web.Response:
            self.posts.append(await json_of(request) or {})
            return web.Response()

        return [web.post("/{path:.*}", take)]

    def target(self, path: str = SECRET, **more: str) -> AppriseTarget:
        return AppriseTarget.model_validate({"url": f"{self.url.replace('http', 'json')}/{path}", **more})


@pytest_asyncio.fixture
async def hook() -> AsyncIterator[Hook]:
    async with Hook() as fake:
        yield fake


def channel(target: AppriseTarget, deadline: float = 20) -> AppriseChannel:
    return AppriseChannel(target.capabilities(USUAL_CAPABILITIES), deadline=deadline)


async def test_a_text_arrives_with_its_first_line_as_the_title_and_those_who_are_named(hook) -> None:
    target = hook.target()
    await channel(target).send(target, Text("🔴 磁盘将满\nnode-1: 97 %", ("zhang",)))
    (post,) = hook.posts
    assert (post["title"], post["message"]) == ("🔴 磁盘将满", "node-1: 97 %\n@zhang")


async def test_a_picture_is_attached_where_the_service_takes_files(hook, tmp_path) -> None:
    target = hook.target()
    assert target.capabilities(USUAL_CAPABILITIES).pictures == "file"
    drawn = picture(tmp_path / "x.png", Image.new("RGB", (4, 4)), name="cpu & io?.png")
    await channel(target).send(target, drawn)
    ((attached,),) = [post["attachments"] for post in hook.posts]
    assert len(base64.b64decode(attached["base64"])) == drawn.size
    assert (attached["filename"], attached["mimetype"]) == ("cpu & io?.png", "image/png")


async def test_a_picture_with_an_address_is_sent_as_its_address(hook) -> None:
    target = hook.target()
    await channel(target).send(target, PictureFile("/none", "cpu.png", "image/png", 1, "https://b.example/p/1.png"))
    assert "https://b.example/p/1.png" in hook.posts[0]["message"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, Permanent), (401, Unauthorised), (404, Unauthorised), (429, Throttled), (408, Transient), (500, Transient)],
)
async def test_a_status_that_the_library_tells_decides_and_no_secret_is_told(hook, status, kind) -> None:
    target = hook.target()
    hook.answer(status, "no")
    with pytest.raises(SendError) as caught:
        await channel(target).send(target, Text("x"))
    assert type(caught.value) is kind
    assert caught.value.code == str(status)
    assert SECRET not in str(caught.value)


async def test_a_cut_connection_and_a_port_where_nobody_is_are_tried_again(hook) -> None:
    target = hook.target()
    sending = channel(target)
    hook.cut()
    with pytest.raises(Transient):
        await sending.send(target, Text("x"))
    await sending.send(target, Text("x"))
    await hook.stop()
    with pytest.raises(Transient) as caught:
        await sending.send(target, Text("x"))
    assert SECRET not in str(caught.value)


async def test_what_is_away_is_a_state_that_spends_no_tries_and_is_looked_at_with_the_next_message(hook) -> None:
    clock = FakeClock()
    target = hook.target()
    sending = AppriseChannel(USUAL_CAPABILITIES, targets={"ops": target}, monotonic=clock.monotonic)
    await hook.stop()
    kinds = []
    for _ in range(4):
        clock.advance(60)
        with pytest.raises(SendError) as caught:
            await sending.send(target, Text("x"))
        kinds.append(type(caught.value))
    assert kinds == [Transient, Transient, Offline, Offline]
    assert (sending.status.state, sending.status_of(target).state) == (ChannelState.UNREACHABLE,) * 2
    assert SECRET not in sending.status.detail
    clock.advance(60)
    assert (sending.status.state, sending.status_of(target).state) == (ChannelState.UNREACHABLE, ChannelState.ONLINE)
    await hook.start()
    await sending.send(target, Text("x"))
    assert sending.status.state is ChannelState.ONLINE


async def test_a_service_that_says_nothing_in_time_may_have_taken_it_and_others_go_on_meanwhile(hook) -> None:
    slow, other = hook.target("slow?rto=30"), hook.target("other")
    sending = channel(slow, deadline=1.5)
    hook.stall(path="slow")
    waiting = asyncio.create_task(sending.send(slow, Text("x")))
    await hook.called(path="slow")
    await sending.send(other, Text("y"))
    assert not waiting.done()
    with pytest.raises(Unknown, match=r"may have been sent"):
        await waiting
    hook.release()


async def test_a_failure_that_the_address_calls_optional_is_a_failure(hook) -> None:
    target = hook.target(f"{SECRET}?optional=yes")
    hook.answer(403, "no")
    with pytest.raises(Unauthorised):
        await channel(target).send(target, Text("x"))


class Mailbox:
    """As much of an SMTP server as a mail needs."""

    def __init__(self) -> None:
        self.mails: list[email.message.EmailMessage] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 box\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                raw = (await reader.readuntil(b"\r\n.\r\n"))[:-5]
                self.mails.append(email.message_from_bytes(raw, policy=email.policy.default))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                break
        writer.close()


async def test_a_mail_has_the_headline_as_its_subject_html_from_markdown_and_the_picture_attached(tmp_path) -> None:
    box = Mailbox()
    server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"mailto://127.0.0.1:{port}?from=bridge@example.com&to=ops@example.com&mode=insecure"
    target = AppriseTarget(url=url, format="markdown")
    assert target.lane() == "apprise:mailtos"
    await channel(target).send(target, Text("**🔴 磁盘将满**  \nnode-1: **97 %**", format="markdown"))
    # A channel of its own, as apprise lets seconds pass between two mails of one.
    await channel(target).send(target, picture(tmp_path / "x.png", Image.new("RGB", (4, 4)), name="disk.png"))
    server.close()
    text, with_picture = box.mails
    assert text["subject"] == "🔴 磁盘将满"
    html = text.get_body(("html",))
    assert html is not None
    assert "<strong>97 %</strong>" in html.get_content()
    assert [part.get_filename() for part in with_picture.iter_attachments()] == ["disk.png"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("wecombot://abcdefgh-hush", "use `channel: wecom_robot` instead"),
        ("WeComBot://abcdefgh-hush", "use `channel: wecom_robot` instead"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=abcdefgh-hush", "use `channel: wecom_robot` instead"),
        ("dingtalk://abcdefgh-hush", "use `channel: dingtalk` instead"),
        ("https://oapi.dingtalk.com/robot/send?access_token=hush", "use `channel: dingtalk` instead"),
        ("feishu://abcdefgh-hush", "channel: feishu"),
        ("lark://abcdefgh-hush", "channel: feishu"),
        ("https://open.larksuite.com/open-apis/bot/v2/hook/abcdefgh-hush", "channel: feishu"),
        ("nonsense://abcdefgh-hush", "apprise does not understand `nonsense://…`"),
        ("hush", "apprise does not understand this"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line_and_without_the_secret(
    read: Callable[..., Config], url: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read('targets:\n  x: {channel: apprise, url: "${URL}"}\n', URL=url)
    assert words in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "jobs.yaml:2" in str(caught.value)


def test_without_the_library_check_says_what_to_install(read, monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: real(name, *rest) if name != "apprise" else None
    )
    with pytest.raises(ConfigError, match=r'pip install "wxbridge-monitoring\[apprise\]"'):
        read("targets:\n  x: {channel: apprise, url: 'json://localhost'}\n")


def test_each_target_is_composed_for_what_its_own_service_carries(read) -> None:
    targets = (
        "targets:\n"
        "  chat: {channel: apprise, url: 'tgram://123456789:abcdefg_hijklmnop/12315544/'}\n"
        "  teams: {channel: apprise, url: 'workflows://host.example:443/abcdef/signature'}\n"
        "  mail: {channel: apprise, format: markdown, url: 'mailto://box?to=a@example.com&from=d@example.com'}\n"
    )
    made = parts.destinations_of(read(targets).targets)
    assert (made["chat"].capabilities.text_limit, made["chat"].capabilities.pictures) == (4096, "file")
    assert (made["teams"].capabilities.text_limit, made["teams"].capabilities.pictures) == (800, "url")
    assert (made["mail"].format, made["mail"].capabilities.pictures) == ("markdown", "file")
