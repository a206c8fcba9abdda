"""A changed configuration is taken over by a running bridge: nothing is lost, cut off or logged in again."""

from __future__ import annotations

import asyncio
import os
import signal

from .conftest import Bench, Process
from .test_main_job import legacy

QUICKLY = {"wxbridge.config.watcher:QUIET_SECONDS": 0.1, "wxbridge.config.watcher:PATIENCE_SECONDS": 0.3}
"""Where nobody writes slowly."""


def rewrite(bench: Bench, old: str, new: str) -> None:
    """Change the file as an editor does: write another beside it and rename that over."""
    path = bench.directory / "jobs.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    beside = path.with_name(".jobs.yaml.new")
    beside.write_text(text.replace(old, new), encoding="utf-8")
    beside.replace(path)


def forget(bridge: Process) -> None:
    """Leave out what was logged so far."""
    bridge.logs.clear()


def connections(bridge: Process) -> int:
    return sum(line["event"] == "wechat state" and line.get("state") == "connecting" for line in bridge.logs)


async def greeted(bench: Bench) -> None:
    await bench.until(lambda: bench.chat() == ["hello master!"])


async def test_new_routes_hold_from_the_next_alert_on_and_wechat_stays_logged_in(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge(targets="night: {channel: wechat, contact: 李四}")
    await greeted(quick)
    await bridge.post(legacy("before"))
    await quick.until(lambda: len(quick.room()) == 1)
    forget(bridge)
    rewrite(quick, """['severity!="unrouted"'], to: [ops]""", """['severity!="unrouted"'], to: [boss]""")
    done = await bridge.event("configuration reloaded")
    assert done["changed"] == ["routes"]
    await bridge.post(legacy("after"))
    await quick.until(lambda: len(quick.chat("张三")) == 1)
    assert len(quick.room()) == 1
    assert quick.chat() == ["hello master!"], "no second greeting"
    assert connections(bridge) == 0, "the session is the same"
    _, metrics = await bridge.get("/metrics")
    assert 'wxbridge_config_reloads_total{outcome="ok"} 1.0' in metrics
    assert "wxbridge_config_ok 1.0" in metrics


async def test_a_broken_file_is_told_to_the_master_with_its_line_and_the_old_one_holds(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge()
    await greeted(quick)
    rewrite(quick, "to: [ops]}", "to: [opps]}")
    await bridge.event("configuration not reloaded, the old one stays")
    await quick.until(lambda: len(quick.chat()) == 2)
    path = quick.directory / "jobs.yaml"
    line = (
        path.read_text(encoding="utf-8").splitlines().index("""  - {match: ['severity!="unrouted"'], to: [opps]}""") + 1
    )
    assert f"{path}:{line}: unknown target `opps`; did you mean `ops`?" in quick.chat()[1]
    await bridge.post(legacy("still"))
    await quick.until(lambda: len(quick.room()) == 1)
    assert "wxbridge_config_ok 0.0" in (await bridge.get("/metrics"))[1]
    rewrite(quick, "to: [opps]}", "to: [boss]}")
    await bridge.event("configuration reloaded", changed=["routes"])
    await quick.until(lambda: len(quick.chat()) == 3)
    assert "right again" in quick.chat()[2]
    assert "wxbridge_config_ok 1.0" in (await bridge.get("/metrics"))[1]


async def test_a_file_that_is_written_in_two_steps_is_taken_over_whole_and_nobody_complains(quick: Bench) -> None:
    bridge = await quick.bridge()
    await greeted(quick)
    path = quick.directory / "jobs.yaml"
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
    assert len(quick.chat()) == 1


async def test_what_is_being_sent_during_a_reload_is_sent_once_and_what_waits_follows(quick: Bench) -> None:
    bridge = await quick.bridge()
    await greeted(quick)
    quick.simulator.delay(1.5)
    for index in range(3):
        assert (await bridge.post(legacy(f"number {index}")))[0] == 202
    rewrite(quick, "timezone: Asia/Shanghai", "timezone: Asia/Tokyo")
    bridge_process = bridge.event("configuration reloaded")
    posted = await bridge.post(legacy("number 3"))
    assert posted[0] == 202
    await bridge_process
    quick.simulator.delay(0)
    await quick.until(lambda: len(quick.room()) >= 4)
    assert [text.splitlines()[0] for text in quick.room()] == [f"🔥 number {index}" for index in range(4)]


async def test_alerts_are_taken_all_the_while_and_each_arrives_once(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge()
    await greeted(quick)
    over = asyncio.Event()
    answers: list[int] = []

    async def fire() -> None:
        while not over.is_set():
            status, _ = await bridge.post(legacy(f"alert {len(answers)}", tags={"severity": "warning"}))
            answers.append(status)
            # Not further ahead than can be sent in the time that is waited below, however slow the machine is.
            await quick.until(lambda: len(quick.room()) >= len(answers) - 50)

    firing = asyncio.create_task(fire())
    try:
        for zone in ("Asia/Tokyo", "Asia/Seoul"):
            text = (quick.directory / "jobs.yaml").read_text(encoding="utf-8").splitlines()[0]
            rewrite(quick, text, f"timezone: {zone}")
            await bridge.event("configuration reloaded")
            forget(bridge)
        # The server's own settings: another application behind the same port.
        rewrite(quick, 'listen: "127.0.0.1:0"', 'listen: "127.0.0.1:0", max_body: 100000')
        done = await bridge.event("configuration reloaded")
        assert done["changed"] == ["server"]
    finally:
        over.set()
        await firing
    assert set(answers) == {202}
    await quick.until(lambda: len(quick.room()) >= len(answers))
    titles = [text.splitlines()[0].removeprefix("🔥 ") for text in quick.room()]
    assert sorted(titles) == sorted(f"alert {index}" for index in range(len(answers)))
    assert (await bridge.post(legacy("x" * 200_000)))[0] == 413


async def test_sighup_has_the_file_read_at_once(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge()
    await greeted(quick)
    os.kill(bridge.pid, signal.SIGHUP)
    await bridge.event("configuration read again: nothing has changed")


async def test_a_changed_schedule_runs_and_a_removed_job_does_not(quick: Bench) -> None:
    quick.constants |= QUICKLY
    jobs = "jobs:\n  - {id: tick, cron: 0 0 1 1 *, kind: text, text: tick, to: ops}\n"
    bridge = await quick.bridge(jobs)
    await greeted(quick)
    rewrite(quick, "cron: 0 0 1 1 *", "every: 1s")
    await bridge.event("configuration reloaded", changed=["jobs"])
    await quick.until(lambda: len(quick.room()) >= 2)
    forget(bridge)
    rewrite(quick, jobs.replace("cron: 0 0 1 1 *", "every: 1s"), "jobs: []\n")
    await bridge.event("configuration reloaded", changed=["jobs"])
    started = sum(line["event"] == "job started" for line in bridge.logs)
    await asyncio.sleep(1.5)
    assert sum(line["event"] == "job started" for line in bridge.logs) == started


async def test_a_new_target_is_found_and_announced_and_one_that_is_gone_is_told_of(quick: Bench) -> None:
    quick.constants |= QUICKLY | {"wxbridge.delivery.send_loop:ADDRESS_RETRY_SECONDS": 0.5}
    bridge = await quick.bridge(targets="late: {channel: wechat, room: no such room}")
    await greeted(quick)
    assert (await bridge.post(legacy("waits"), "/hooks/grafana?to=late"))[0] == 202
    await bridge.event("not sent, will try again", target="late")
    rewrite(quick, "late: {channel: wechat, room: no such room}", "new: {channel: wechat, contact: 李四, announce: hi}")
    await bridge.event("configuration reloaded", changed=["targets"])
    await quick.until(lambda: quick.chat("李四") == ["hi"])
    await quick.until(lambda: any("1 messages wait for the target late" in text for text in quick.chat()))
    assert (await bridge.post(legacy("news"), "/hooks/grafana?to=new"))[0] == 202
    await quick.until(lambda: len(quick.chat("李四")) == 2)
    # The message is kept: with its target it comes back.
    rewrite(quick, "new: {channel: wechat, contact: 李四, announce: hi}", "late: {channel: wechat, contact: 王五}")
    await quick.until(lambda: len(quick.chat("王五")) == 1)


async def test_what_needs_a_restart_is_told_and_the_rest_is_taken_over(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge()
    await greeted(quick)
    rewrite(
        quick, 'server: {listen: "127.0.0.1:0"}', 'server: {listen: "127.0.0.1:1"}\nstate_dir: elsewhere\nlanguage: zh'
    )
    await bridge.event("takes effect at the next start", settings=["state_dir", "server.listen"])
    assert (await bridge.event("configuration reloaded"))["changed"] == ["language"]
    await quick.until(lambda: any("下次启动时生效" in text for text in quick.chat()))
    assert (await bridge.get("/healthz"))[0] == 200
    assert not (quick.directory / "elsewhere").exists()


async def test_another_gateway_is_connected_to_and_nobody_is_greeted_again(quick: Bench) -> None:
    quick.constants |= QUICKLY
    bridge = await quick.bridge(endpoint="127.0.0.1:9")
    await bridge.event("wechat state", state="unreachable")
    assert (await bridge.post(legacy("early")))[0] == 202
    rewrite(quick, "127.0.0.1:9", quick.simulator.endpoint)
    await bridge.event("configuration reloaded", changed=["wechat"])
    await quick.until(lambda: len(quick.room()) == 1)
    await greeted(quick)
    rewrite(quick, "pace: none", "pace: {chat: 100/s}\n  greeting: again")
    await bridge.event("configuration reloaded", changed=["wechat"])
    await bridge.post(legacy("on"))
    await quick.until(lambda: len(quick.room()) == 2)
    assert quick.chat() == ["hello master!"]


async def test_an_included_file_is_watched_too_and_so_is_one_that_comes(quick: Bench) -> None:
    quick.constants |= QUICKLY
    (quick.directory / "conf.d").mkdir()
    bridge = await quick.bridge("include: conf.d/*.yaml")
    await greeted(quick)
    extra = quick.directory / "conf.d" / "night.yaml"
    extra.write_text("targets:\n  night: {channel: wechat, contact: 李四}\n", encoding="utf-8")
    await bridge.event("configuration reloaded", changed=["targets"])
    assert (await bridge.post(legacy("a"), "/hooks/grafana?to=night"))[0] == 202
    await quick.until(lambda: len(quick.chat("李四")) == 1)
    extra.write_text("targets:\n  night: {chanel: wechat, contact: 李四}\n", encoding="utf-8")
    await quick.until(lambda: any(f"{extra}:2: unknown key `chanel`" in text or f"{extra}:2: `channel`" in text
                                  for text in quick.chat()))  # fmt: skip
