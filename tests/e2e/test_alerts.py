"""Alerts of every kind through a real bridge: who is let in, who is told, when, and in which words."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from tests.support import payload_bytes

from .bridge_harness import WAIT, BridgeHarness, BridgeProcess

FALCON = "[P0][PROBLEM][{host}][][disk full all(#3) df.used mount=/ 99>90][O1 2026-06-05 12:00:00]"
TEAMS = """\
people:
  zhangsan: {wechat: 张三, wecom: ZhangSan}
  wangwu: {wechat: 王五}
"""
TO_PEOPLE = "{match: {source: openfalcon}, to: [people]}"
PEOPLE = "people: {channel: wechat, to: from-alert}"
SOON = {"wxbridge.alerts.reminders:LOOK_EVERY_SECONDS": 0.1, "wxbridge.alerts.notification_log:HELD_AGAIN_SECONDS": 0.2}
"""Where nobody waits for a minute."""


def fires(name: str, **labels: str) -> dict[str, Any]:
    return {
        "status": "firing", "labels": {"alertname": name, **labels}, "annotations": {"summary": f"{name} it is"},
        "startsAt": "2026-06-05T04:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": name,
    }  # fmt: skip


def ends(name: str, **labels: str) -> dict[str, Any]:
    return fires(name, **labels) | {"status": "resolved", "endsAt": "2026-06-05T05:00:00Z"}


async def post(bridge: BridgeProcess, *alerts: dict[str, Any], to: str = "") -> dict[str, int]:
    body = {"version": "4", "groupKey": "g", "status": "firing", "receiver": "x", "alerts": alerts, "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": ""}  # fmt: skip
    status, answer = await bridge.post(body, f"/hooks/alertmanager{to}")
    assert status == 202, answer
    return dict(answer)


async def routed(harness: BridgeHarness, route: str, *args: str, **kwargs: str) -> BridgeProcess:
    """Start a bridge with one more route, before the others."""
    path = harness.write(*args, **kwargs)
    path.write_text(path.read_text(encoding="utf-8").replace("routes:\n", f"routes:\n  - {route}\n"), encoding="utf-8")
    bridge = BridgeProcess(path, harness.launcher, harness.constants)
    harness.processes.append(bridge)
    return await bridge.start()


async def falcon(bridge: BridgeProcess, tos: str, host: str, **more: Any) -> tuple[int, Any]:
    body = urlencode({"tos": tos, "content": FALCON.format(host=host)}).encode()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await bridge.post(body, "/hooks/openfalcon", headers=form, **more)


def firsts(texts: list[str]) -> list[str]:
    return [text.splitlines()[0] for text in texts]


async def greeted(harness: BridgeHarness) -> None:
    await harness.until(harness.chat)


async def test_a_silence_made_beside_the_bridge_holds_and_what_still_fires_is_told_when_it_is_ended(
    harness: BridgeHarness,
) -> None:
    harness.constants |= SOON
    bridge = await harness.bridge()
    await greeted(harness)
    code, out, err = await harness.command("silences", "add", "alertname=~Disk.*", "--for", "2h", "--comment", "moving")
    assert code == 0, err
    assert "moving" in (await bridge.get("/api/silences"))[1]
    # The bridge looks every second for what other processes wrote.
    before = 0
    async with asyncio.timeout(WAIT):
        # The bridge looks twice a second for what other processes wrote.
        while (await post(bridge, fires(f"Disk{before}")))["queued"]:
            before += 1
            await asyncio.sleep(0.1)
    assert (await post(bridge, fires(f"Disk{before}"), fires("Cpu")))["queued"] == 1
    await harness.until(lambda: len(harness.room()) == before + 1)
    assert firsts(harness.room())[-1] == "🔥 Cpu"
    alerts = {alert["title"]: alert["silenced_by"] for alert in json.loads((await bridge.get("/api/alerts"))[1])}
    assert (alerts[f"Disk{before}"], alerts["Cpu"]) == (out.strip(), None)
    code, _, err = await harness.command("silences", "expire", out.strip())
    assert code == 0, err
    await harness.until(lambda: len(harness.room()) == before + 2)
    assert firsts(harness.room())[-1] == f"🔥 Disk{before}"
    assert await bridge.counted("wxbridge_suppressed_total", reason="held") == 2


async def test_one_group_reaches_a_room_by_two_routes_whole(harness: BridgeHarness) -> None:
    bridge = await routed(harness, "{match: {team: db}, to: [ops], mention: [张三, all]}")
    await greeted(harness)
    assert await post(bridge, fires("Disk", team="db"), fires("Cpu")) == {"queued": 2, "duplicates": 0}
    await harness.until(lambda: len(harness.room()) == 2)
    mentioned, plain = harness.simulator.world.messages(room="技术讨论群", sent_by_bot=True)
    assert "Disk" in mentioned.text
    assert "@张三" in mentioned.text
    assert harness.simulator.world.find_contact("张三").id in mentioned.mention_ids
    assert plain.text.splitlines()[0] == "🔥 Cpu"


async def test_a_signed_post_of_grafana_opens_and_an_unsigned_or_changed_one_does_not(harness: BridgeHarness) -> None:
    bridge = await harness.bridge(
        "hooks: {grafana: {hmac_secret: the-secret}, openfalcon: {token: falcons-own}, "
        "generic: {hmac_secret: another, signature_header: X-Signed, timestamp_header: X-Moment}}"
    )
    await greeted(harness)
    body = payload_bytes("grafana/unified_firing_v12")
    signature = hmac.new(b"the-secret", body, hashlib.sha256).hexdigest()
    signed = {"X-Grafana-Alerting-Signature": signature}
    assert (await bridge.post(body))[0] == 401
    status, answer = await bridge.post(body + b" ", headers=signed)
    assert status == 401
    assert "signature" in answer["error"]
    assert (await bridge.post(body, headers=signed))[0] == 202
    await harness.until(lambda: harness.room() or len(harness.chat()) > 1)
    assert (await falcon(bridge, "zhangsan", "h1"))[0] == 401
    assert (await falcon(bridge, "zhangsan", "h1", params={"token": "falcons-own"}))[0] == 202
    for source in ("grafana-unified", "openfalcon", "generic"):
        code, out, err = await harness.command("alert", "test", "--source", source)
        assert code == 0, (source, out, err)


async def test_a_mapping_of_ones_own_reads_what_no_monitor_sends(harness: BridgeHarness) -> None:
    bridge = await harness.bridge("""\
hooks:
  generic:
    mappings:
      backup: {title: what, status: state, labels: {host: where.host, team: "'nobody'"}, values: {load: figures.load}}
      door: {title: "join(' ', ['door', room])", status: state, labels: {host: room}}
""")
    await greeted(harness)
    assert (await bridge.post({"room": "12", "state": "open"}, "/hooks/generic/door"))[0] == 202
    assert (await bridge.post({"what": "backup", "state": "down"}, "/hooks/generic/backup"))[1]["queued"] == 0
    status, answer = await bridge.post({"x": 1}, "/hooks/generic/nobody")
    assert status == 404
    assert "generic/door" in answer["error"]
    body = payload_bytes("generic/uptime-kuma_down")
    assert (await bridge.post(body, "/hooks/generic/uptime-kuma"))[1] == {"queued": 1, "duplicates": 0}
    await harness.until(lambda: len(harness.room()) == 2)
    assert harness.room()[0].splitlines()[0] == "🔥 door 12"
    assert harness.room()[1].splitlines()[0] == "🔥 down · 商城首页"


async def test_open_falcon_tells_each_person_in_his_own_chat_and_one_whom_nobody_knows_holds_up_nobody(
    harness: BridgeHarness,
) -> None:
    bridge = await routed(harness, TO_PEOPLE, TEAMS, targets=PEOPLE)
    await harness.until(lambda: harness.chat() == ["hello master!"])
    assert (await falcon(bridge, "nobody-knows,zhangsan,wangwu", "h1"))[1] == {"queued": 3, "duplicates": 0}
    assert (await falcon(bridge, "zhangsan", "h2"))[1] == {"queued": 1, "duplicates": 0}
    await harness.until(lambda: len(harness.chat("张三")) == 2 and len(harness.chat("王五")) == 1)
    assert "host=h1" in harness.chat("张三")[0]
    await harness.until(lambda: len(harness.chat()) == 2)
    assert "nobody-knows" in harness.chat()[1], "the person in charge is told"
    code, out, _ = await harness.command("outbox", "list", "--dead", "--json")
    assert [row["target"] for row in json.loads(out)] == ["people"]
    code, _, err = await harness.command("send", "people", "hello")
    assert code == 2
    assert "sends to those whom an alert names" in err


async def test_a_storm_for_people_becomes_a_digest_for_each_of_them(harness: BridgeHarness) -> None:
    slow = "people: {channel: wechat, to: from-alert, digest_after: 1s, pace: {chat: 3/h}}"
    await harness.simulator.gateway.kill()
    bridge = await routed(harness, TO_PEOPLE, TEAMS, targets=slow, wechat="pace: {chat: 1000/s}")
    for index in range(8):
        assert (await falcon(bridge, "zhangsan,wangwu", f"h{index}"))[1]["queued"] == 2
    await bridge.event("a storm: waiting alerts are merged into a digest", target="people")
    await harness.simulator.gateway.restart()
    await harness.until(lambda: harness.chat("张三") and harness.chat("王五"))
    for name in ("张三", "王五"):
        assert "8 alerts" in harness.chat(name)[0]


async def test_what_fires_is_repeated_over_a_restart_and_its_end_is_told_once(harness: BridgeHarness) -> None:
    harness.constants |= SOON
    bridge = await routed(harness, "{match: {team: db}, to: [ops], repeat_interval: 1h}")
    await bridge.stop()
    bridge.set_clock(0)
    await bridge.start()
    assert (await post(bridge, fires("Disk", team="db")))["queued"] == 1
    await bridge.event("sent", target="ops")
    await bridge.kill()
    await bridge.start()
    assert await post(bridge, fires("Disk", team="db")) == {"queued": 0, "duplicates": 1}
    bridge.set_clock(3601)
    await harness.until(lambda: len(harness.room()) == 2)
    assert await post(bridge, ends("Disk", team="db")) == {"queued": 1, "duplicates": 0}
    bridge.set_clock(3601 + 1200)
    assert await post(bridge, ends("Disk", team="db")) == {"queued": 0, "duplicates": 1}
    await harness.until(lambda: len(harness.room()) == 3)
    assert [text[0] for text in harness.room()] == ["🔥", "🔥", "✅"]


async def test_a_template_is_edited_while_the_bridge_runs_and_a_broken_one_costs_only_the_words(
    harness: BridgeHarness,
) -> None:
    folder = harness.directory / "templates"
    folder.mkdir()
    file = folder / "short.j2"
    file.write_text("one: {{ title }}", encoding="utf-8")
    bridge = await harness.bridge(targets="fancy: {channel: wechat, contact: 李四, template: short}")
    await greeted(harness)
    seen = []
    for content in ("one: {{ title }}", "two: {{ title }} {{ alerts|length }}", "{{ broken", "three: {{ title }}"):
        file.write_text(content, encoding="utf-8")
        await post(bridge, fires(f"Disk{len(seen)}"), to="?to=fancy")
        await harness.until(lambda: len(harness.chat("李四")) > len(seen))
        seen.append(harness.chat("李四")[-1])
    assert seen[0] == "one: Disk0"
    assert seen[1] == "two: Disk1 1"
    assert "template of this text is broken" in seen[2]
    assert "🔥 Disk2" in seen[2]
    assert seen[3] == "three: Disk3"
    await bridge.event("a template failed", template="short", target="fancy")
    assert await bridge.counted("wxbridge_suppressed_total", reason="template") == 1
    code, out, err = await harness.command("template", "render", "short", "--sample", "alertmanager")
    assert (code, out) == (0, "three: HostDown (1 firing, 1 resolved)\n"), err
