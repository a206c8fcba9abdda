"""Scan, greet, alert, screenshot: the main job on real parts."""

from __future__ import annotations

import asyncio
import io
import json
import time

from aiohttp import web
from PIL import Image

from wxbridge.cli import sample_alerts as samples

from .bridge_harness import BridgeHarness


def legacy(title: str, **more: object) -> dict[str, object]:
    return {
        "title": title,
        "state": "alerting",
        "evalMatches": [{"metric": "cpu", "value": 92.25, "tags": None}],
        **more,
    }


async def test_after_the_scan_the_master_is_greeted_and_the_rooms_are_known(fresh_harness: BridgeHarness) -> None:
    fresh_harness.simulator.gateway.auto_scan = False
    bridge = await fresh_harness.bridge("jobs: []", wechat='greeting: "早上好"')
    await bridge.event("wechat state", state="waiting_for_scan")
    await bridge.printed("Scan this QR code")
    assert any("▀" in line or "█" in line for line in bridge.output)
    assert (fresh_harness.directory / "state" / "login.png").exists()
    status, page = await bridge.get("/login")
    assert status == 200
    assert "<svg" in page
    fresh_harness.simulator.world.scan()
    await fresh_harness.until(lambda: fresh_harness.chat() == ["早上好"])
    code, out, _ = await fresh_harness.command("rooms", "--json")
    assert code == 0
    topics = {room["topic"]: room["id"] for room in json.loads(out)}
    assert topics["技术讨论群"] == fresh_harness.simulator.world.find_room("技术讨论群").id
    assert not (fresh_harness.directory / "state" / "login.png").exists()


async def test_the_greeting_is_not_repeated_when_the_connection_comes_back(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await bridge.event("sent", target="master")
    assert harness.chat() == ["hello master!"]
    await harness.simulator.gateway.kill()
    await bridge.event("wechat state", state="unreachable")
    await harness.simulator.gateway.restart()
    await bridge.post(legacy("after"))
    await harness.until(lambda: any("after" in text for text in harness.room()))
    assert harness.chat() == ["hello master!"]


async def test_a_bridge_that_is_started_again_and_again_greets_once_an_hour(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await bridge.event("sent", target="master")
    for number in range(2):
        await bridge.kill()
        bridge = await harness.bridge()
        await bridge.post(legacy(f"after start {number}"))
        await harness.until(lambda number=number: any(f"start {number}" in text for text in harness.room()))
    assert harness.chat() == ["hello master!"]


async def test_an_alert_arrives_with_values_and_the_picture_after_its_text(harness: BridgeHarness) -> None:
    picture = samples.chart_png()

    async def image(_request: web.Request) -> web.Response:
        return web.Response(body=picture, content_type="image/png")

    app = web.Application()
    app.router.add_get("/p.png", image)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/p.png"
        bridge = await harness.bridge('pictures: {allow: ["127.0.0.1"]}')
        status, answer = await bridge.post(legacy("磁盘将满", imageUrl=url, message="df -h"))
        assert (status, answer) == (202, {"queued": 2, "duplicates": 0})
        await harness.until(lambda: len(harness.room()) == 2)
    finally:
        await runner.cleanup()
    assert harness.room()[0] == "🔥 磁盘将满\ncpu: 92.25\ndf -h"
    sent = harness.simulator.world.messages(room="技术讨论群", sent_by_bot=True)[1]
    assert sent.media
    assert Image.open(io.BytesIO(sent.media.data)).size == (900, 360)


async def test_why_a_picture_cannot_be_fetched_is_told_to_the_master_and_not_to_the_room(
    harness: BridgeHarness,
) -> None:
    bridge = await harness.bridge()
    await bridge.post(legacy("no picture", imageUrl="http://127.0.0.1:9/secret.png"))
    [told] = await harness.until(lambda: [text for text in harness.chat() if "127.0.0.1" in text])
    assert "allow" in told
    [text] = await harness.until(harness.room)
    assert "127.0.0.1" not in text


async def test_hooks_are_taken_before_the_gateway_exists_and_delivered_when_it_comes(harness: BridgeHarness) -> None:
    await harness.simulator.gateway.kill()
    bridge = await harness.bridge()
    await bridge.event("wechat state", state="unreachable")
    assert (await bridge.get("/readyz"))[0] == 200
    assert (await bridge.get("/readyz?channels=all"))[0] == 503
    for index in range(3):
        assert (await bridge.post(legacy(f"early {index}")))[0] == 202
    await harness.simulator.gateway.restart()
    await harness.until(lambda: len(harness.room()) == 3)
    assert [text.splitlines()[0] for text in harness.room()] == [f"🔥 early {index}" for index in range(3)]


async def test_a_killed_bridge_starts_again_at_once_and_delivers_what_it_had_promised(
    harness: BridgeHarness,
) -> None:
    await harness.simulator.gateway.kill()
    bridge = await harness.bridge()
    for index in range(20):
        assert (await bridge.post(legacy(f"promised {index}")))[0] == 202
    await bridge.kill()
    await harness.simulator.gateway.restart()
    await bridge.start()
    await harness.until(lambda: len(harness.room()) >= 20)
    assert [text.splitlines()[0] for text in harness.room()] == [f"🔥 promised {index}" for index in range(20)]


async def test_a_second_bridge_on_the_same_state_refuses_to_start(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    code, _, err = await harness.command("run")
    assert code == 1
    assert f"process {bridge.pid}" in err


async def test_sigterm_ends_it_within_five_seconds_and_loses_nothing(fresh_harness: BridgeHarness) -> None:
    bridge = await fresh_harness.bridge()
    await fresh_harness.until(fresh_harness.chat)
    fresh_harness.simulator.gateway.faults.delay(1.0)
    await bridge.post(legacy("last words"))
    begun = time.monotonic()
    assert await bridge.stop() == 0
    assert time.monotonic() - begun < 5
    fresh_harness.simulator.gateway.faults.delay(0)
    await bridge.start()
    await fresh_harness.until(lambda: any("last words" in text for text in fresh_harness.room()))


async def test_an_alert_that_no_route_matches_goes_to_the_master_saying_so(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await bridge.post(legacy("lost", tags={"severity": "unrouted"}))
    await harness.until(lambda: any("lost" in text for text in harness.chat()))
    assert any("No route matches" in text for text in harness.chat())


async def test_what_the_service_refuses_for_good_is_listed_and_told(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.gateway.faults.fail_next(1, "INVALID_ARGUMENT")
    await bridge.post(legacy("refused"))
    await harness.until(lambda: any("could not be delivered" in text for text in harness.chat()))
    _, out, _ = await harness.command("outbox", "list", "--dead", "--json")
    rows = json.loads(out)
    assert [(row["state"], row["target"]) for row in rows] == [("dead", "ops")]
    assert "INVALID_ARGUMENT" in rows[0]["error"]
    code, _, _ = await harness.command("outbox", "retry", str(rows[0]["id"]))
    assert code == 0
    await harness.until(lambda: any("refused" in text for text in harness.room()))


async def test_commands_of_another_process_reach_the_running_bridge(harness: BridgeHarness) -> None:
    await harness.bridge()
    await harness.until(harness.chat)
    code, _, err = await harness.command("send", "ops", "你好")
    assert (code, harness.room()) == (0, ["你好"]), err
    code, out, _ = await harness.command("status", "--json")
    assert code == 0
    assert {row["part"]: row["state"] for row in json.loads(out)} == {"bridge": "running", "wechat": "online"}
    code, out, _ = await harness.command("alert", "test", "--to", "boss")
    assert json.loads(out) == {"queued": 2, "duplicates": 0}
    await harness.until(lambda: len(harness.chat("张三")) == 2)


async def test_what_people_write_is_one_log_line_with_the_rooms_id(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.world.say("graph kafka", room="技术讨论群", talker="张三", mention=True)
    room = harness.simulator.world.find_room("技术讨论群")
    talker = harness.simulator.world.find_contact("张三")
    line = await bridge.event("message", room=room.id)
    assert (line["topic"], line["sender"], line["name"]) == ("技术讨论群", talker.id, "张三")
    assert "graph kafka" in line["text"]


async def test_a_target_given_by_topic_finds_its_room_after_a_login_with_new_ids(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await harness.until(harness.chat)
    harness.simulator.world.relogin_with_new_ids()
    await bridge.post(legacy("new ids"))
    await harness.until(lambda: any("new ids" in text for text in harness.room()))


async def test_a_screenshot_job_photographs_a_page_and_keeps_a_copy(harness: BridgeHarness) -> None:
    jobs = f"""\
jobs:
  - {{id: shot, kind: screenshot, url: "{harness.simulator.url}/demo/dashboard", cron: 0 0 1 1 *, width: 800, to: ops,
     archive: res/%Y/%m.png}}
"""
    await harness.bridge(jobs)
    await harness.until(harness.chat)
    code, _, err = await harness.command("jobs", "run", "shot")
    assert code == 0, err
    await harness.until(lambda: harness.room() == ["[shot.png]"])
    media = harness.simulator.world.messages(room="技术讨论群", sent_by_bot=True)[0].media
    assert media
    assert Image.open(io.BytesIO(media.data)).size[0] == 800
    assert len(list((harness.directory / "res").rglob("*.png"))) == 1


async def test_a_job_that_fails_is_told_once(harness: BridgeHarness) -> None:
    jobs = "pictures: {deadline: 2s}\njobs: [{id: gone, kind: picture, path: gone.png, cron: 0 0 1 1 *, to: ops}]"
    await harness.bridge(jobs)
    await harness.until(harness.chat)
    for _ in range(2):
        code, _, err = await harness.command("jobs", "run", "gone")
        assert code == 1
        assert "gone.png" in err
    await harness.until(lambda: any("gone" in text for text in harness.chat()))
    await harness.command("send", "master", "end")
    await asyncio.wait_for(harness.until(lambda: harness.chat()[-1] == "end"), 60)
    assert sum("Job gone failed" in text for text in harness.chat()) == 1
