from __future__ import annotations

import asyncio
import base64
import io
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.web.web_harness import TOKEN, StoredWeb
from tests.support import payload_bytes
from wxbridge.core.model import ChannelState, ChannelStatus, Picture, PictureSpec, Text

ALERT = payload_bytes("grafana/legacy_alerting")


def picture(kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, kind)
    return file.getvalue()


def status(state: ChannelState = ChannelState.ONLINE, **fields: Any) -> ChannelStatus:
    return ChannelStatus(state, datetime(2026, 2, 1, tzinfo=UTC), **fields)


# ---------------------------------------------------------------- who may come in


@pytest.mark.parametrize(
    ("headers", "query", "allowed"),
    [
        ({"Authorization": f"Bearer {TOKEN}"}, "", True),
        ({"Authorization": f"bearer  {TOKEN} "}, "", True),
        ({"Authorization": "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()}, "", True),
        ({"Authorization": "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode()}, "", True),
        ({}, f"?token={TOKEN}", True),
        ({"Authorization": "Bearer wrong"}, f"?token={TOKEN}", True),
        ({}, "", False),
        ({}, "?token=", False),
        ({}, f"?token={TOKEN}x", False),
        ({}, f"?Token={TOKEN}", False),
        ({"Authorization": "Bearer"}, "", False),
        ({"Authorization": f"Token {TOKEN}"}, "", False),
        ({"Authorization": "Basic " + base64.b64encode(f"{TOKEN}:".encode()).decode()}, "", False),
        ({"Authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()}, "", False),
        ({"Authorization": "Basic !!!"}, "", False),
        ({"Authorization": "Basic 主人"}, "", False),
        ({"Authorization": "Bearer 主人"}, "", False),
        ({}, "?token=%ff%fe", False),
        ({}, "?token=%00", False),
    ],
)
async def test_nobody_gets_in_without_the_token(
    bench: StoredWeb, headers: dict[str, str], query: str, allowed: bool
) -> None:
    for path in ("/hooks/grafana", "/", "/api/send", "/metrics", "/login", "/nowhere"):
        method = "GET" if path in ("/metrics", "/login") else "POST"
        answered, answer = await bench.ask(method, path + query, token=False, headers=headers, data=ALERT)
        assert (answered != 401) is allowed, path
        assert allowed or answer["error"].startswith("The token is missing or wrong.")
    assert bool(await bench.room_messages()) is allowed


async def test_bytes_that_are_no_text_are_a_wrong_token_not_a_mistake_of_ours(bench: StoredWeb) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(bench.bridge.url.rpartition(":")[2]))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n\r\n")
    assert b" 401 " in await reader.readline()
    writer.close()


async def test_a_browser_is_told_how_to_ask_for_the_token(bench: StoredWeb) -> None:
    async with bench.session.get(f"{bench.bridge.url}/login") as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"].startswith("Basic ")


# ---------------------------------------------------------------- how it is


async def test_the_process_is_alive_and_ready_for_everybody_to_see(bench: StoredWeb) -> None:
    bench.show_channel(status(ChannelState.WAITING_FOR_SCAN, detail="scan it"))
    assert await bench.ask("GET", "/healthz", token=False) == (200, {"ok": True})
    ready, answer = await bench.ask("GET", "/readyz", token=False)
    assert (ready, answer["ready"]) == (200, True), "alerts are taken while WeChat is away"
    assert answer["parts"]["database"] == {"ok": True}
    since = "2026-02-01T00:00:00+00:00"
    assert answer["parts"]["wechat"] == {
        "ok": False, "state": "waiting_for_scan", "since": since, "detail": "scan it",
    }  # fmt: skip


async def test_who_asks_for_all_channels_is_told_whether_all_are_up(bench: StoredWeb) -> None:
    bench.show_channel(status(ChannelState.LOGGED_OUT))
    assert (await bench.ask("GET", "/readyz?channels=all", token=False))[0] == 503
    bench.show_channel(status(ChannelState.ONLINE))
    assert (await bench.ask("GET", "/readyz?channels=all", token=False))[0] == 200


async def test_readiness_tells_no_secret_to_those_who_show_no_token(bench: StoredWeb) -> None:
    bench.show_channel(status(ChannelState.WAITING_FOR_SCAN, qrcode="http://weixin.qq.com/x/secret", account="me"))
    _, answer = await bench.ask("GET", "/readyz", token=False)
    assert "weixin.qq.com" not in json.dumps(answer)


@pytest.mark.parametrize(
    ("detail", "shown"),
    [
        ("no answer from 10.1.2.3:8788", "no answer from …"),
        ("no answer from gateway:8788: refused", "no answer from …: refused"),
        ("cannot reach gateway.internal", "cannot reach …"),
        ("[fe80::1]:8788 refused", "… refused"),
        ("GET https://qyapi.example.com/x?key=1 failed", "GET … failed"),
        ("scan it, 30.5 s left", "scan it, 30.5 s left"),
    ],
)
async def test_readiness_tells_no_address_to_those_who_show_no_token(bench: StoredWeb, detail: str, shown: str) -> None:
    bench.show_channel(status(ChannelState.UNREACHABLE, detail=detail))
    _, answer = await bench.ask("GET", "/readyz", token=False)
    assert answer["parts"]["wechat"]["detail"] == shown
    _, answer = await bench.ask("GET", "/readyz")
    assert answer["parts"]["wechat"]["detail"] == detail


async def test_the_metrics_can_be_read_and_count_what_happened_and_hold_no_token(bench: StoredWeb) -> None:
    bench.show_channel(status(ChannelState.ONLINE))
    await bench.post("/hooks/grafana", ALERT)
    await bench.post("/hooks/grafana", ALERT)
    await bench.post("/hooks/grafana?token=" + TOKEN, b"null")
    await bench.ask("GET", "/login?token=another-t0ken", token=False)
    _, text = await bench.ask("GET", "/metrics")
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["wxbridge_accepted_total", "grafana"] == 2
    assert samples["wxbridge_deduplicated_total", "grafana"] == 2
    assert samples["wxbridge_refused_total", "bad_body"] == 1
    assert samples["wxbridge_backlog_messages", "ops"] == 2
    assert samples["wxbridge_backlog_messages", "dba"] == 0
    assert samples["wxbridge_channel_state", "online", "wechat"] == 1
    assert samples["wxbridge_channel_state", "logged_out", "wechat"] == 0
    assert samples["wxbridge_database_up",] == 1
    assert TOKEN not in text
    assert "t0ken" not in text
    assert "a-gateway-token" not in text


# ---------------------------------------------------------------- the way back in


async def test_the_login_page_shows_the_code_and_no_ones_html(bench: StoredWeb) -> None:
    assert (await bench.ask("GET", "/login", token=False))[0] == 401
    evil = "<script>alert(1)</script>"
    bench.show_channel(status(ChannelState.WAITING_FOR_SCAN, qrcode=evil, account=evil, detail=f'"{evil}&'))
    answered, page = await bench.ask("GET", "/login")
    assert answered == 200
    assert "<svg" in page
    assert "<path" in page or "<svg:path" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "waiting for scan" in page
    bench.show_channel(status(ChannelState.ONLINE, account="Bridge (wxid_1)"))
    _, page = await bench.ask("GET", "/login")
    assert "<svg" not in page
    assert "Bridge (wxid_1)" in page


async def test_the_bare_address_leads_to_a_page_and_keeps_the_token(bench: StoredWeb) -> None:
    answered, page = await bench.ask("GET", f"/?token={TOKEN}", token=False)
    assert answered == 200
    assert "<html" in page


async def test_a_stored_picture_is_open_under_its_name_alone(bench: StoredWeb, tmp_path: Any) -> None:
    folder = bench.bridge.state.config.state_dir / "pictures"
    folder.mkdir(parents=True)
    (folder / "unguessable.png").write_bytes(picture())
    (folder / ".half-written.png").write_bytes(b"x")
    (folder.parent / "secret.txt").write_text("secret")
    async with bench.session.get(f"{bench.bridge.url}/pictures/unguessable.png") as response:
        assert (response.status, response.content_type, await response.read()) == (200, "image/png", picture())
    for name in (
        "", ".", "..", "../secret.txt", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "..%5csecret.txt", "%2fetc%2fpasswd",
        "..%252fsecret.txt", "../wxbridge.db", ".half-written.png", "unguessable.png%00", "unguessable.png/",
        "missing.png", "x" * 5000, quote("图" * 100),
    ):  # fmt: skip
        async with bench.session.get(
            aiohttp.client.URL(f"{bench.bridge.url}/pictures/{name}", encoded=True)
        ) as response:
            assert response.status in (401, 404), name
            assert await response.read() != b"secret"


# ---------------------------------------------------------------- the push API


async def test_a_pushed_text_is_stored_for_every_target(bench: StoredWeb) -> None:
    for body in (
        {"to": "ops", "text": "hello"},
        {"to": ["ops", "dba"], "text": "all"},
        {"to": "ops, dba", "text": "b"},
    ):
        answered, _ = await bench.ask("POST", "/api/send", json=body)
        assert answered == 202
    assert await bench.texts() == [("ops", "hello"), ("ops", "all"), ("dba", "all"), ("ops", "b"), ("dba", "b")]


async def test_a_push_repeated_on_purpose_is_sent_again(bench: StoredWeb) -> None:
    for _ in range(2):
        assert await bench.ask("POST", "/api/send", json={"to": "ops", "text": "hi"}) == (
            202, {"queued": 1, "duplicates": 0},
        )  # fmt: skip


async def test_mentions_go_with_the_first_message_of_a_long_text(bench: StoredWeb) -> None:
    await bench.ask("POST", "/api/send", json={"to": "ops", "text": "x" * 3000, "mentions": ["张三", "all"]})
    first, second = [item.body for item in await bench.messages()]
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert first.mentions == ("张三", "all")
    assert second.mentions == ()
    assert first.text.startswith("(1/2) ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
async def test_a_picture_comes_as_base64_or_as_an_upload_and_is_stored_as_it_is(bench: StoredWeb, kind: str) -> None:
    content = picture(kind)
    await bench.ask("POST", "/api/send", json={"to": "ops", "image": base64.b64encode(content).decode()})
    form = aiohttp.FormData()
    form.add_field("to", "ops")
    form.add_field("text", "看")
    form.add_field("image", content, filename="x.png")
    await bench.post("/api/send", form)
    alone, text, with_text = [item.body for item in await bench.messages()]
    assert text == Text("看")
    for body in (alone, with_text):
        assert isinstance(body, Picture)
        assert body.file
        stored = bench.bridge.state.config.state_dir / "pictures" / body.file
        assert stored.read_bytes() == content
        assert stored.suffix == {"PNG": ".png", "JPEG": ".jpg", "GIF": ".gif"}[kind]


async def test_a_picture_by_address_is_left_to_be_fetched(bench: StoredWeb) -> None:
    await bench.ask("POST", "/api/send", json={"to": "ops", "image": "https://img.example.com/a.png"})
    (message,) = await bench.messages()
    url = "https://img.example.com/a.png"
    assert message.body == Picture(spec=PictureSpec("fetch", {"url": url}, link=url))


async def test_a_form_is_read_like_json(bench: StoredWeb) -> None:
    assert (await bench.post("/api/send", {"to": "ops", "text": "from curl -d"}))[0] == 202
    form = aiohttp.FormData({"to": "dba", "text": "from curl -F"}, default_to_multipart=True)
    assert (await bench.post("/api/send", form))[0] == 202
    assert await bench.texts() == [("ops", "from curl -d"), ("dba", "from curl -F")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "`to` is missing"),
        ({"to": "ops"}, "There is nothing to send"),
        ({"to": "ops", "text": " \n"}, "There is nothing to send"),
        ({"to": [], "text": "x"}, "`to` is missing"),
        ({"to": ["ops", 5], "text": "x"}, "`to` must be a name or a list of names"),
        ({"to": {"a": 1}, "text": "x"}, "`to` must be a name or a list of names"),
        ({"to": "ops", "text": 5}, "`text` must be a string"),
        ({"to": "ops", "text": ["x"]}, "`text` must be a string"),
        ({"to": "opps", "text": "x"}, "There is no target 'opps'; there are dba, master, ops"),
        ({"to": "ops", "txt": "x"}, "Unknown field 'txt'; there are "),
        ({"to": "ops", "text": "x", "mentions": 5}, "`mentions` must be a name or a list of names"),
        ({"to": "ops", "image": "not base64!"}, "`image` must be an upload, base64, or an http"),
        ({"to": "ops", "image": 5}, "`image` must be an upload, base64, or an http"),
        ({"to": "ops", "image": base64.b64encode(b"no picture").decode()}, "`image`: "),
        ({"to": "ops", "image": base64.b64encode(picture()[:40]).decode()}, "`image`: "),
        ([], "A JSON object was expected"),
        ("x", "A JSON object was expected"),
    ],
)
async def test_a_push_that_says_too_little_is_refused_with_a_sentence(
    bench: StoredWeb, body: Any, sentence: str
) -> None:
    answered, answer = await bench.ask("POST", "/api/send", json=body)
    assert answered == 400
    assert answer["error"].startswith(sentence)
    assert await bench.messages() == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x",
         (b'--x\r\nContent-Disposition: form-data; name="text"\r\n'
         b"Content-Transfer-Encoding: rot13\r\n\r\nx\r\n--x--\r\n")),
        ("multipart/form-data; boundary=x",
         b'--x\r\nContent-Disposition: form-data; name="text"\r\nContent-Encoding: zip\r\n\r\nx\r\n--x--\r\n'),
        ("multipart/form-data; boundary=x",
         b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xff\r\n--x--\r\n'),
        ("application/x-www-form-urlencoded; charset=x", b"to=ops&text=a"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/json", b""),
        ("application/json", b"{"),
    ],
)  # fmt: skip
async def test_a_form_that_cannot_be_read_is_refused_with_a_sentence(
    bench: StoredWeb, content_type: str, body: bytes
) -> None:
    answered, answer = await bench.post("/api/send", body, headers={"Content-Type": content_type})
    assert answered == 400
    assert answer["error"]


async def test_a_push_above_the_limit_is_too_large_in_every_form(bench: StoredWeb) -> None:
    big = "x" * 6_500_000
    form = aiohttp.FormData({"to": "ops", "text": big}, default_to_multipart=True)
    assert (await bench.ask("POST", "/api/send", json={"to": "ops", "text": big}))[0] == 413
    assert (await bench.post("/api/send", {"to": "ops", "text": big}))[0] == 413
    assert (await bench.post("/api/send", form))[0] == 413


async def test_a_push_that_could_not_be_stored_is_to_be_sent_again(bench: StoredWeb) -> None:
    await bench.pragma("query_only=ON")
    assert (await bench.ask("POST", "/api/send", json={"to": "ops", "text": "hi"}))[0] == 503


async def test_what_nobody_sees_leaves_a_pushed_text_too(bench: StoredWeb) -> None:
    text = "a\x1bb\x85c\u202ed\u2069e\r\nf 👨\u200d👩\u200d👧"
    assert (await bench.ask("POST", "/api/send", json={"to": "ops", "text": text}))[0] == 202
    assert await bench.texts() == [("ops", "abcde\nf 👨\u200d👩\u200d👧")]
    assert (await bench.ask("POST", "/api/send", json={"to": "ops", "text": "\x07\u202e"}))[0] == 400
