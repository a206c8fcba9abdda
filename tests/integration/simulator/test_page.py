from __future__ import annotations

import asyncio
import io
import json
import shutil

import aiohttp
import pytest
import pytest_asyncio
from PIL import Image

from wxbridge.simulator import Simulator, demo, serve

ROOM = "技术讨论群"


@pytest_asyncio.fixture
async def web(simulator):
    async with aiohttp.ClientSession(simulator.url) as session:
        yield session


async def post(web, path, body=None, **more):
    async with web.post(f"/api/{path}", json=body, **more) as answer:
        return answer.status, await answer.json()


async def get(web, path):
    async with web.get(path) as answer:
        return answer.status, await answer.json()


async def test_the_state_says_who_is_there_and_how_far_the_login_is(simulator, web, connect):
    _, state = await get(web, "/api/state")
    assert (state["login"], state["qrcode"], state["client_connected"]) == ("stopped", None, False)
    assert [room["topic"] for room in state["rooms"]] == [ROOM, "运维值班"]
    assert len(state["rooms"][0]["members"]) == 5
    await connect().stub.start()
    _, state = await get(web, "/api/state")
    assert (state["login"], state["qrcode"]) == ("waiting", simulator.world.qrcode)


async def test_the_qr_code_is_drawn_and_a_scan_by_http_logs_in(simulator, web, connect):
    async with web.get("/api/qrcode.svg") as answer:
        assert answer.status == 404
    await connect().stub.start()
    async with web.get("/api/qrcode.svg") as answer:
        assert answer.content_type == "image/svg+xml"
        assert "<svg" in await answer.text()
    assert await post(web, "scan") == (200, {"ok": True})
    assert simulator.world.state == "logged_in"
    assert (await post(web, "logout"))[0] == 200
    assert simulator.world.state != "logged_in"


async def test_messages_can_be_said_and_read_over_http(simulator, web, client):
    status, said = await post(web, "say", {"room": ROOM, "from": "张三", "text": "@小桥 help"})
    assert status == 200
    assert said["message"]["mention_ids"] == [simulator.world.bot.id]
    await post(web, "say", {"contact": "李四", "text": "hi", "mention": True})
    room_id = simulator.world.find_room(ROOM).id
    await client.stub.message_send_text(conversation_id=room_id, text="answer")
    _, found = await get(web, f"/api/messages?room={ROOM}&after={said['message']['sequence']}")
    assert [(message["text"], message["sent_by_bot"]) for message in found] == [("answer", True)]
    _, found = await get(web, "/api/messages?contact=李四")
    assert [message["talker"]["name"] for message in found] == ["李四"]
    _, found = await get(web, "/api/messages")
    assert len(found) == 3


async def test_a_mention_can_go_without_its_ids(simulator, web):
    _, said = await post(web, "say", {"room": ROOM, "text": "help", "mention": True, "mention_ids": False})
    assert (said["message"]["text"], said["message"]["mention_ids"]) == ("@小桥\u2005help", [])
    _, said = await post(web, "say", {"room": ROOM, "text": "mail@机器人.cn", "mention": None})
    assert said["message"]["mention_ids"] == []


async def test_a_picture_is_shown_and_a_file_is_only_downloaded(simulator, web, client):
    drawn = io.BytesIO()
    Image.new("RGB", (4, 4)).save(drawn, "PNG")
    simulator.world.send(simulator.world.find_room(ROOM).id, media=_media("a.png", drawn.getvalue()))
    simulator.world.send(simulator.world.find_room(ROOM).id, media=_media("a.html", b"<script>1</script>"))
    picture, page = simulator.world.messages(ROOM)
    async with web.get(f"/api/picture/{picture.id}") as answer:
        assert (answer.content_type, await answer.read()) == ("image/png", drawn.getvalue())
    async with web.get(f"/api/picture/{page.id}") as answer:
        assert answer.content_type == "application/octet-stream"
        assert answer.headers["Content-Disposition"] == "attachment"
    assert (await get(web, "/api/picture/1"))[0] == 404


def _media(name, data):
    from wxbridge.simulator.filebox import inspect

    return inspect(name, data)


async def test_faults_can_be_planned_over_http(simulator, web, client):
    room_id = simulator.world.find_room(ROOM).id
    assert (await post(web, "fail", {"count": 1, "code": "INTERNAL", "after": True}))[0] == 200
    with pytest.raises(Exception, match="after its work"):
        await client.stub.message_send_text(conversation_id=room_id, text="x")
    assert (await post(web, "delay", {"seconds": 30, "count": 1}))[0] == 200
    late = asyncio.create_task(client.stub.message_send_text(conversation_id=room_id, text="y"))
    assert (await post(web, "drop")) == (200, {"ok": True, "connections": 1})
    with pytest.raises(Exception, match="lost"):
        await late
    for path in ("freeze", "thaw", "takeover", "new-ids", "kill-gateway", "restart-gateway"):
        assert (await post(web, path))[0] == 200, path
    assert (await post(web, "rename-room", {"room": ROOM, "topic": "平台组"}))[0] == 200
    assert simulator.world.find_room("平台组")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("scan", None),
        ("scan", {"what": 1}),
        ("refresh-qrcode", None),
        ("logout", None),
        ("say", None),
        ("say", {"text": "x"}),
        ("say", {"text": "x", "room": ROOM, "contact": "张三"}),
        ("say", {"text": "x", "room": "nowhere"}),
        ("say", {"text": "x", "room": ROOM, "from": "nobody"}),
        ("say", {"text": "x", "room": ROOM, "from": "小桥"}),
        ("say", {"text": "x", "contact": "小桥"}),
        ("say", {"text": "x", "contact": "张三", "from": "李四"}),
        ("say", {"text": "", "room": ROOM}),
        ("say", {"text": " \n", "room": ROOM}),
        ("say", {"text": "x" * 100_001, "room": ROOM}),
        ("say", {"text": 5, "room": ROOM}),
        ("say", {"text": "\ud800", "room": ROOM}),
        ("say", {"text": "x", "room": ["a"]}),
        ("say", {"text": "x", "room": ROOM, "mention": "yes"}),
        ("fail", {"count": -1}),
        ("fail", {"count": True}),
        ("fail", {"count": 1.5}),
        ("fail", {"code": "OK"}),
        ("fail", {"code": ""}),
        ("fail", {"code": "NONSENSE"}),
        ("fail", {"method": "Event"}),
        ("delay", None),
        ("delay", {"seconds": -1}),
        ("delay", {"seconds": 10**400}),
        ("delay", {"seconds": float("nan")}),
        ("delay", {"seconds": 1, "count": 0}),
        ("delay", {"seconds": "1"}),
        ("rename-room", {"room": ROOM}),
        ("rename-room", {"room": ROOM, "topic": " "}),
        ("rename-room", {"room": "nowhere", "topic": "x"}),
        ("restart-gateway", None),
    ],
)
async def test_what_the_api_cannot_do_is_a_400_with_a_sentence(simulator, web, path, body):
    status, answer = await post(web, path, body)
    assert status == 400
    assert answer["error"][0].isupper() or answer["error"].startswith("'")
    assert answer["error"].endswith(".")
    assert not simulator.world.messages()


@pytest.mark.parametrize("raw", [b"{", b"[]", b"1", b"\xff", b"[" * 100_000, b'{"count": ' + b"9" * 5000 + b"}"])
async def test_a_body_that_is_no_json_object_is_a_400(web, raw):
    async with web.post("/api/fail", data=raw) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"].startswith("The body")


@pytest.mark.parametrize(
    "query",
    ["room=nowhere", "contact=nobody", "after=x", "after=-1", "after=٣", f"room={ROOM}&contact=张三", "x=1"],
)
async def test_a_question_for_messages_that_makes_no_sense_is_a_400(web, query):
    status, answer = await get(web, f"/api/messages?{query}")
    assert status == 400
    assert answer["error"].endswith(".")


async def test_unknown_addresses_and_huge_bodies_are_refused_in_json(web):
    assert (await get(web, "/api/nothing"))[0] == 404
    assert (await get(web, "/api/scan"))[0] == 405
    async with web.post("/api/say", data=b"x" * 2_000_000) as answer:
        assert answer.status == 413
        assert "error" in await answer.json()


async def test_another_sites_page_may_not_use_the_api(simulator, web):
    headers = {"Origin": "http://evil.example"}
    status, _ = await post(web, "say", {"room": ROOM, "text": "x"}, headers=headers)
    assert status == 403
    assert not simulator.world.messages()


async def test_events_tell_the_page_of_messages_as_they_come(simulator, web):
    async with web.get("/api/events") as stream:
        assert await stream.content.readuntil(b"\n\n") == b"retry: 1000\n\n"
        simulator.world.say("你好", room=ROOM)
        told = json.loads((await stream.content.readuntil(b"\n\n")).removeprefix(b"data: "))
        assert told["message"]["text"] == "你好"


async def test_the_demo_has_a_dashboard_and_a_chart_for_every_hour(web):
    async with web.get("/demo/dashboard") as answer:
        assert answer.status == 200
        assert 'id="scroller"' in await answer.text()
    seen = set()
    for path in ("2026/11/21/9", "2026/11/21/10", "kafka", "2026/13/45/99", "a%0Ab%00"):
        async with web.get(f"/demo/{path}.png") as answer:
            data = await answer.read()
            assert Image.open(io.BytesIO(data)).size == (960, 480)
            seen.add(data)
    assert len(seen) == 5
    async with web.get("/demo/2026/11/21/9.png") as answer:
        assert await answer.read() in seen


async def test_rooms_contacts_auto_scan_and_a_callback_can_be_asked_for(connect):
    said = []
    async with Simulator(rooms=["值班"], contacts=["赵六"], auto_scan=True, on_message=said.append) as own:
        client = connect()
        client.channel._host, client.channel._port = own.endpoint.split(":")
        await client.stub.start()
        await own.wait_for(lambda: own.world.state == "logged_in")
        room = own.world.find_room("值班")
        assert own.world.find_contact("赵六").id in room.member_ids
        await client.stub.message_send_text(conversation_id=room.id, text="to the callback")
        own.world.say("not from the bot", room="值班")
        assert [message.text for message in said] == ["to the callback"]
        assert own.world.conversation_name(said[0]) == "值班"


async def test_waiting_in_vain_says_how_things_stand(simulator):
    with pytest.raises(TimeoutError, match="the login is stopped, the client is not connected, 0 messages"):
        await simulator.wait_for(lambda: False, timeout=0.01)


async def test_serve_says_where_it_is_and_frees_its_ports_when_cancelled(simulator):
    lines: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(serve(Simulator(), lines.put_nowait))
    page = (await lines.get()).split()[-1]
    assert "ENDPOINT=127.0.0.1:" in await lines.get()
    assert "TOKEN=insecure_" in await lines.get()
    async with aiohttp.ClientSession() as session, session.get(page) as answer:
        assert answer.status == 200
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(page)


@pytest.mark.skipif(not shutil.which("chromium-headless-shell"), reason="needs chromium-headless-shell")
async def test_the_page_logs_in_shows_text_as_text_and_lets_a_member_speak(simulator, connect):
    playwright = pytest.importorskip("playwright.async_api")
    client = connect()
    await client.stub.start()
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell"), args=["--no-sandbox"]
        )
        page = await browser.new_page()
        problems = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        await page.goto(f"{simulator.url}/#room:{ROOM}")
        await page.click("#scan")
        await simulator.wait_for(lambda: simulator.world.state == "logged_in")
        room_id = simulator.world.find_room(ROOM).id
        await client.stub.message_send_text(
            conversation_id=room_id, text="<img src=x onerror=alert(1)> 🔴 https://a.example/x"
        )
        bubble = page.locator(".row:not(.me) .bubble")
        await bubble.wait_for()
        assert await bubble.locator("img").count() == 0
        assert (await bubble.text_content()) == "<img src=x onerror=alert(1)> 🔴 https://a.example/x"
        await page.select_option("#speaker", "李四")
        await page.fill("#text", "@机器人 graph kafka")
        await page.press("#text", "Enter")
        await page.locator(".row.me .bubble").wait_for()
        (said,) = simulator.world.messages(ROOM, sent_by_bot=False)
        assert said.text == "@小桥\u2005graph kafka"
        assert simulator.world.name_in(said.talker_id) == "李四"
        assert problems == []
        await browser.close()


def test_a_chart_is_drawn_in_ascii_where_no_chinese_font_is_found(monkeypatch):
    monkeypatch.setattr(demo, "_CJK_FONTS", ())
    assert Image.open(io.BytesIO(demo.draw_chart("巡检/2026/11/21/9"))).size == (960, 480)
    assert Image.open(io.BytesIO(demo.draw_chart("巡检"))).size == (960, 480)


async def test_a_taken_page_port_is_an_error_that_leaves_nothing_open(simulator):
    second = Simulator(page_port=int(simulator.url.rsplit(":", 1)[1]))
    with pytest.raises(OSError, match="Address already in use"):
        await second.start()
    assert not second.gateway.running
