"""A changed configuration is taken over by a running bridge: nothing is lost, cut off or logged in again."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.support import free_port

from .bridge_harness import BridgeHarness, BridgeProcess
from .test_main_job import legacy

QUICKLY = {
    "wxbridge.config.watcher:FILES_CHECK_SECONDS": 0.1,
    "wxbridge.config.watcher:QUIET_SECONDS": 0.1,
    "wxbridge.config.watcher:PATIENCE_SECONDS": 0.3,
}
"""Where nobody writes slowly."""


def rewrite(harness: BridgeHarness, old: str, new: str) -> None:
    """Change the file as an editor does: write another beside it and rename that over."""
    path = harness.directory / "jobs.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    beside = path.with_name(".jobs.yaml.new")
    beside.write_text(text.replace(old, new), encoding="utf-8")
    beside.replace(path)


def forget(bridge: BridgeProcess) -> None:
    """Leave out what was logged so far."""
    bridge.logs.clear()


def connections(bridge: BridgeProcess) -> int:
    return sum(line["event"] == "wechat state" and line.get("state") == "connecting" for line in bridge.logs)


async def greeted(harness: BridgeHarness) -> None:
    await harness.until(lambda: harness.chat() == ["hello master!"])


async def test_new_routes_hold_from_the_next_alert_on_and_wechat_stays_logged_in(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge(targets="night: {channel: wechat, contact: 李四}")
    await greeted(harness)
    await bridge.post(legacy("before"))
    await harness.until(lambda: len(harness.room()) == 1)
    forget(bridge)
    rewrite(harness, """['severity!="unrouted"'], to: [ops]""", """['severity!="unrouted"'], to: [boss]""")
    done = await bridge.event("configuration reloaded")
    assert done["changed"] == ["routes"]
    await bridge.post(legacy("after"))
    await harness.until(lambda: len(harness.chat("张三")) == 1)
    assert len(harness.room()) == 1
    assert harness.chat() == ["hello master!"], "no second greeting"
    assert connections(bridge) == 0, "the session is the same"
    _, metrics = await bridge.get("/metrics")
    assert 'wxbridge_config_reloads_total{outcome="ok"} 1.0' in metrics
    assert "wxbridge_config_ok 1.0" in metrics


async def test_a_broken_file_is_told_to_the_master_with_its_line_and_the_old_one_holds(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge()
    await greeted(harness)
    rewrite(harness, "to: [ops]}", "to: [opps]}")
    await bridge.event("configuration not reloaded, the old one stays")
    await harness.until(lambda: len(harness.chat()) == 2)
    path = harness.directory / "jobs.yaml"
    line = (
        path.read_text(encoding="utf-8").splitlines().index("""  - {match: ['severity!="unrouted"'], to: [opps]}""") + 1
    )
    assert f"{path}:{line}: unknown target `opps`; did you mean `ops`?" in harness.chat()[1]
    await bridge.post(legacy("still"))
    await harness.until(lambda: len(harness.room()) == 1)
    assert "wxbridge_config_ok 0.0" in (await bridge.get("/metrics"))[1]
    rewrite(harness, "to: [opps]}", "to: [boss]}")
    await bridge.event("configuration reloaded", changed=["routes"])
    await harness.until(lambda: len(harness.chat()) == 3)
    assert "right again" in harness.chat()[2]
    assert "wxbridge_config_ok 1.0" in (await bridge.get("/metrics"))[1]


async def test_a_file_that_is_written_in_two_steps_is_taken_over_whole_and_nobody_complains(
    harness: BridgeHarness,
) -> None:
    bridge = await harness.bridge()
    await greeted(harness)
    path = harness.directory / "jobs.yaml"
    whole = path.read_text(encoding="utf-8").replace("timezone: Asia/Shanghai", "timezone: Asia/Tokyo")
    with path.open("w", encoding="utf-8") as file:
        file.write(whole[: len(whole) // 2] + "\n  bad")
        file.flush()
        os.fsync(file.fileno())
        # Longer than the files must be quiet: what is read now is wrong.
        await asyncio.sleep(0.8)
        file.seek(0)
        file.truncate()
        file.write(whole)
    done = await bridge.event("configuration reloaded")
    assert done["changed"] == ["timezone"]
    assert not any("not reloaded" in line["event"] for line in bridge.logs)
    assert len(harness.chat()) == 1


async def test_what_is_being_sent_during_a_reload_is_sent_once_and_what_waits_follows(harness: BridgeHarness) -> None:
    bridge = await harness.bridge()
    await greeted(harness)
    harness.simulator.gateway.faults.delay(1.5)
    for index in range(3):
        assert (await bridge.post(legacy(f"number {index}")))[0] == 202
    rewrite(harness, "timezone: Asia/Shanghai", "timezone: Asia/Tokyo")
    bridge_process = bridge.event("configuration reloaded")
    posted = await bridge.post(legacy("number 3"))
    assert posted[0] == 202
    await bridge_process
    harness.simulator.gateway.faults.delay(0)
    await harness.until(lambda: len(harness.room()) >= 4)
    assert [text.splitlines()[0] for text in harness.room()] == [f"🔥 number {index}" for index in range(4)]


async def test_alerts_are_taken_all_the_while_and_each_arrives_once(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge()
    await greeted(harness)
    over = asyncio.Event()
    answers: list[int] = []

    async def fire() -> None:
        while not over.is_set():
            status, _ = await bridge.post(legacy(f"alert {len(answers)}", tags={"severity": "warning"}))
            answers.append(status)
            # Not further ahead than can be sent in the time that is waited below, however slow the machine is.
            await harness.until(lambda: len(harness.room()) >= len(answers) - 50)

    firing = asyncio.create_task(fire())
    try:
        for zone in ("Asia/Tokyo", "Asia/Seoul"):
            text = (harness.directory / "jobs.yaml").read_text(encoding="utf-8").splitlines()[0]
            rewrite(harness, text, f"timezone: {zone}")
            await bridge.event("configuration reloaded")
            forget(bridge)
        # The server's own settings: another application behind the same port.
        rewrite(harness, 'listen: "127.0.0.1:0"', 'listen: "127.0.0.1:0", max_body: 100000')
        done = await bridge.event("configuration reloaded")
        assert done["changed"] == ["server"]
    finally:
        over.set()
        await firing
    assert set(answers) == {202}
    await harness.until(lambda: len(harness.room()) >= len(answers))
    titles = [text.splitlines()[0].removeprefix("🟡 warning · ") for text in harness.room()]
    assert sorted(titles) == sorted(f"alert {index}" for index in range(len(answers)))
    assert (await bridge.post(legacy("x" * 200_000)))[0] == 413


async def test_sighup_has_the_file_read_at_once(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge()
    await greeted(harness)
    os.kill(bridge.pid, signal.SIGHUP)
    await bridge.event("configuration read again: nothing has changed")


async def test_sighup_has_a_demo_read_its_file_again_too_and_does_not_end_it(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    demo = harness.process()
    demo.command = ("demo", "--auto-scan", "--page-port", str(free_port()), "--gateway-port", str(free_port()))
    await demo.start()
    await demo.printed("hello master!")
    os.kill(demo.pid, signal.SIGHUP)
    await demo.event("configuration read again: nothing has changed")
    assert await demo.stop() == 0


async def test_a_changed_schedule_runs_and_a_removed_job_does_not(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    jobs = "jobs:\n  - {id: tick, cron: 0 0 1 1 *, kind: text, text: tick, to: ops}\n"
    bridge = await harness.bridge(jobs)
    await greeted(harness)
    rewrite(harness, "cron: 0 0 1 1 *", "every: 1s")
    await bridge.event("configuration reloaded", changed=["jobs"])
    await harness.until(lambda: len(harness.room()) >= 2)
    forget(bridge)
    rewrite(harness, jobs.replace("cron: 0 0 1 1 *", "every: 1s"), "jobs: []\n")
    await bridge.event("configuration reloaded", changed=["jobs"])
    started = sum(line["event"] == "job started" for line in bridge.logs)
    await asyncio.sleep(1.5)
    assert sum(line["event"] == "job started" for line in bridge.logs) == started


async def test_a_new_target_is_found_and_announced_and_one_that_is_gone_is_told_of(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY | {"wxbridge.delivery.send_loop:ADDRESS_RETRY_SECONDS": 0.5}
    bridge = await harness.bridge(targets="late: {channel: wechat, room: no such room}")
    await greeted(harness)
    assert (await bridge.post(legacy("waits"), "/hooks/grafana?to=late"))[0] == 202
    await bridge.event("not sent, will try again", target="late")
    rewrite(
        harness, "late: {channel: wechat, room: no such room}", "new: {channel: wechat, contact: 李四, announce: hi}"
    )
    await bridge.event("configuration reloaded", changed=["targets"])
    await harness.until(lambda: harness.chat("李四") == ["hi"])
    await harness.until(lambda: any("This was for late" in text and "🔥 waits" in text for text in harness.chat()))
    assert (await bridge.post(legacy("news"), "/hooks/grafana?to=new"))[0] == 202
    await harness.until(lambda: len(harness.chat("李四")) == 2)


async def test_what_needs_a_restart_is_told_and_the_rest_is_taken_over(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge()
    await greeted(harness)
    rewrite(
        harness,
        'server: {listen: "127.0.0.1:0"}',
        'server: {listen: "127.0.0.1:1"}\nstate_dir: elsewhere\nlanguage: zh',
    )
    await bridge.event("takes effect at the next start", settings=["state_dir", "server.listen"])
    assert (await bridge.event("configuration reloaded"))["changed"] == ["language"]
    await harness.until(lambda: any("下次启动时生效" in text for text in harness.chat()))
    assert (await bridge.get("/healthz"))[0] == 200
    assert not (harness.directory / "elsewhere").exists()


async def test_another_gateway_is_connected_to_and_nobody_is_greeted_again(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    bridge = await harness.bridge(endpoint="127.0.0.1:9")
    await bridge.event("wechat state", state="unreachable")
    assert (await bridge.post(legacy("early")))[0] == 202
    rewrite(harness, "127.0.0.1:9", harness.simulator.endpoint)
    await bridge.event("configuration reloaded", changed=["wechat"])
    await harness.until(lambda: len(harness.room()) == 1)
    await greeted(harness)
    rewrite(harness, "pace: none", "pace: {chat: 100/s}\n  greeting: again")
    await bridge.event("configuration reloaded", changed=["wechat"])
    await bridge.post(legacy("on"))
    await harness.until(lambda: len(harness.room()) == 2)
    assert harness.chat() == ["hello master!"]


async def test_an_included_file_is_watched_too_and_so_is_one_that_comes(harness: BridgeHarness) -> None:
    harness.constants |= QUICKLY
    (harness.directory / "conf.d").mkdir()
    bridge = await harness.bridge("include: conf.d/*.yaml")
    await greeted(harness)
    extra = harness.directory / "conf.d" / "night.yaml"
    extra.write_text("targets:\n  night: {channel: wechat, contact: 李四}\n", encoding="utf-8")
    await bridge.event("configuration reloaded", changed=["targets"])
    assert (await bridge.post(legacy("a"), "/hooks/grafana?to=night"))[0] == 202
    await harness.until(lambda: len(harness.chat("李四")) == 1)
    extra.write_text("targets:\n  night: {chanel: wechat, contact: 李四}\n", encoding="utf-8")
    await harness.until(lambda: any(f"{extra}:2: unknown key `chanel`" in text or f"{extra}:2: `channel`" in text
                                  for text in harness.chat()))  # fmt: skip
