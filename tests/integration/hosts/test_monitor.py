"""The host monitor: what it tells the intake, and what outlasts a restart."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.fakes.postgresql import database_url
from tests.integration.alerts.test_pipeline import PipelineHarness
from wxbridge import registry
from wxbridge.alerts import routing, silences
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.pipeline import AlertPipeline, AlertSettings, AlertState
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import Route
from wxbridge.alerts.sources import host as source
from wxbridge.config.hosts import HostSettings
from wxbridge.core.clock import SystemClock
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import Accepted, AlertStatus, Capabilities, Notification, Picture, Text
from wxbridge.hosts import figures, store
from wxbridge.hosts.monitor import HostMonitor
from wxbridge.pictures.charts.host_chart import charts_of

NOW = 1_767_261_600.0
ZONE = ZoneInfo("Asia/Shanghai")


class HostHarness:
    """A machine, its clock, and an intake that notes what it was told."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = 0.0
        self.offset = NOW
        self.figures: dict[str, float] = {"cpu": 10.0, "memory": 20.0}
        self.accepted: list[bytes] = []
        self.refuse = False
        self.release: threading.Event | None = None
        self.until = float("inf")
        self.reached = asyncio.Event()

    def sample(self) -> dict[str, float]:
        if self.release is not None:
            self.release.wait(5)
        return dict(self.figures)

    def about(self) -> dict[str, float | str]:
        return {"cores": 4.0, "memory": 16 * 2.0**30}

    async def accept(self, name: str, body: bytes, _: Any) -> Accepted:
        assert name == "host"
        if self.refuse:
            raise StorageError("the disk is full")
        self.accepted.append(body)
        return Accepted(1, 0)

    @property
    def wall(self) -> float:
        return self.now + self.offset

    def monitor(self, **settings: Any) -> HostMonitor:
        async def no_sleep(seconds: float) -> None:
            self.now += seconds
            if self.now >= self.until:
                self.reached.set()
                await asyncio.Event().wait()
            await asyncio.sleep(0)

        return HostMonitor(
            HostSettings.model_validate({"name": "web-1", **settings}), self.database, self.accept,
            language="en", timezone=ZONE,
            times=SystemClock(lambda: self.wall, lambda: self.now, sleep=no_sleep),
            sensors=lambda _: self,
            processes=lambda: {"cpu": [("java", 4711, 180.2)], "memory": [("mysqld", 88, 2e9)]},
        )  # fmt: skip

    async def pass_time(self, monitor: HostMonitor, seconds: float, **figures: float) -> None:
        self.figures |= figures
        for _ in range(round(seconds / 10)):
            await monitor.tick()
            self.now += 10

    @property
    def told(self) -> list[tuple[str, str, str]]:
        alerts = [alert for body in self.accepted for alert in source.parse(body, {}).alerts]
        return [(alert.labels["alertname"], alert.labels["host"], alert.status.value) for alert in alerts]


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[HostHarness]:
    database = Database.open(database_url(tmp_path))
    yield HostHarness(database)
    database.close()


def a_push(host: str, at: float, values: list[float], *, now: float | None = None, **more: Any) -> bytes:
    samples = [{"at": at + index * 10, "figures": {"cpu": value}} for index, value in enumerate(values)]
    sent = at + (len(values) - 1) * 10 if now is None else now
    return json.dumps({"host": host, "every": 10, "now": sent, "samples": samples, **more}).encode()


# ---------------------------------------------------------------- warnings


async def test_a_busy_machine_warns_with_chart_and_processes_and_it_is_over_when_it_is(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 2400)
    await harness.pass_time(monitor, 60, cpu=97.0)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]
    group = source.parse(harness.accepted[0], {})
    alert = group.alerts[0]
    assert alert.labels == {"alertname": "HostCpuHigh", "host": "web-1", "severity": "warning"}
    assert alert.values[0].unit == "%"
    assert alert.values[0].number is not None
    assert alert.values[0].number >= 80
    assert alert.picture is not None
    cpu, memory = charts_of(alert.picture.params)
    assert (cpu.title, memory.title, len(cpu.marks), len(memory.marks)) == ("CPU", "Memory", 1, 0)
    assert cpu.end - cpu.start == 1800
    await harness.pass_time(monitor, 120, cpu=10.0)
    assert harness.told[1:] == [("HostCpuHigh", "web-1", "resolved")]
    over = source.parse(harness.accepted[1], {}).alerts[0]
    assert over.fingerprint == alert.fingerprint
    assert over.starts_at == alert.starts_at
    assert over.ends_at is not None
    assert over.picture is None


async def test_a_machine_is_known_from_the_first_moment_though_rates_take_a_second(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await monitor.tick()
    (host,) = monitor.list_hosts()
    assert (host.name, host.history.last, host.about["cores"]) == ("web-1", None, 4.0)


async def test_the_warning_reads_well_on_a_phone(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 60)
    await harness.pass_time(monitor, 60, cpu=97.0)
    group = source.parse(harness.accepted[0], {})
    now = group.alerts[0].starts_at
    assert now is not None
    assert write_text(group, "en", ZONE, now) == (
        "🟡 warning · web-1: CPU high\nCPU, mean of 50 s: 97 %\nthreshold: 80 %\nbusiest (CPU): java 180 %\nsince 18:01"
    )


async def test_a_full_disk_says_which_and_how_much_is_left(harness: HostHarness) -> None:
    monitor = harness.monitor(cpu=None)
    await harness.pass_time(monitor, 70, **{"disk:/data": 95.0, "disk_free:/data": 4 * 2.0**30, "disk:/": 50.0})
    alert = source.parse(harness.accepted[0], {}).alerts[0]
    assert (alert.labels["alertname"], alert.labels["mount"]) == ("HostDiskFull", "/data")
    assert alert.annotations["message"] == "4 GiB free"
    assert alert.picture is not None
    assert len(charts_of(alert.picture.params)) == 3


async def test_used_up_inodes_are_a_warning_with_their_own_threshold(harness: HostHarness) -> None:
    monitor = harness.monitor(cpu=None)
    await harness.pass_time(monitor, 70, **{"disk:/": 40.0, "inodes:/": 99.0, "inodes:/data": 20.0, "disk:/data": 40.0})
    assert harness.told == [("HostInodesFull", "web-1", "firing")]
    alert = source.parse(harness.accepted[0], {}).alerts[0]
    assert (alert.title, alert.labels["mount"]) == ("web-1: disk / runs out of inodes", "/")
    assert alert.picture is not None
    assert [chart.title for chart in charts_of(alert.picture.params)] == ["CPU", "Memory", "Inodes"]


@pytest.mark.parametrize(
    ("state", "name", "title"),
    [
        ("disk_missing", "HostDiskMissing", "web-1: disk /data is not mounted"),
        ("disk_unanswered", "HostDiskUnanswered", "web-1: disk /data does not answer"),
    ],
)
async def test_a_disk_that_is_away_is_told_and_its_own_warning_is_not_over(
    harness: HostHarness, state: str, name: str, title: str
) -> None:
    monitor = harness.monitor(disks=["/", "/data"], disk={"above": 90, "severity": "critical"})
    await harness.pass_time(monitor, 70, **{"disk:/data": 95.0, "disk_free:/data": 1e9, "disk:/": 50.0})
    del harness.figures["disk:/data"], harness.figures["disk_free:/data"]
    await harness.pass_time(monitor, 120, **{f"{state}:/data": 1.0})
    assert harness.told == [("HostDiskFull", "web-1", "firing"), (name, "web-1", "firing")]
    alert = source.parse(harness.accepted[1], {}).alerts[0]
    assert (alert.title, alert.labels["mount"], alert.labels["severity"]) == (title, "/data", "critical")
    (host,) = monitor.list_hosts()
    lines = figures.describe_host(host, harness.wall - 200, harness.wall, "en", ZONE)
    assert f"🔴 {title.removeprefix('web-1: ')}" in lines
    assert not any("95 %" in line for line in lines)
    del harness.figures[f"{state}:/data"]
    await harness.pass_time(monitor, 70, **{"disk:/data": 95.0})
    assert harness.told[2:] == [(name, "web-1", "resolved")]
    await harness.pass_time(monitor, 70, **{"disk:/data": 5.0})
    assert harness.told[3:] == [("HostDiskFull", "web-1", "resolved")]


async def test_a_disk_that_is_unmounted_again_soon_is_told_again(harness: HostHarness) -> None:
    monitor = harness.monitor(disks=["/data"], cpu=None)
    for _ in range(2):
        await harness.pass_time(monitor, 70, **{"disk_missing:/data": 1.0})
        del harness.figures["disk_missing:/data"]
        await harness.pass_time(monitor, 30, **{"disk:/data": 5.0})
        del harness.figures["disk:/data"]
    assert [(name, verdict) for name, _, verdict in harness.told] == [
        ("HostDiskMissing", "firing"), ("HostDiskMissing", "resolved"),
    ] * 2  # fmt: skip


async def test_the_warnings_of_a_disk_that_is_not_named_any_more_are_over(harness: HostHarness) -> None:
    monitor = harness.monitor(disks=["/", "/data"])
    await harness.pass_time(monitor, 70, **{"disk:/": 5.0, "disk_missing:/data": 1.0})
    assert harness.told == [("HostDiskMissing", "web-1", "firing")]
    settings = HostSettings.model_validate({"name": "web-1", "disks": ["/"]})
    monitor.reconfigure(settings, language="en", timezone=ZONE)
    assert [verdict for *_, verdict in harness.told] == ["firing"]
    del harness.figures["disk_missing:/data"]
    await harness.pass_time(monitor, 10)
    assert harness.told[1:] == [("HostDiskMissing", "web-1", "resolved")]


async def test_a_warning_of_heat_names_the_sensor(harness: HostHarness) -> None:
    monitor = harness.monitor(temperature=80)
    await harness.pass_time(monitor, 70, **{"temperature": 93.0, "hottest:nvme Composite": 93.0})
    assert source.parse(harness.accepted[0], {}).alerts[0].annotations["sensor"] == "nvme Composite"
    (host,) = monitor.list_hosts()
    assert "▫️ temperature 93 °C (nvme Composite)" in figures.describe_host(
        host, harness.wall - 60, harness.wall, "en", ZONE
    )


async def test_a_report_can_be_made_within_seconds_of_a_first_start(harness: HostHarness) -> None:
    monitor = harness.monitor()
    harness.until = 3.0
    running = asyncio.create_task(monitor.run())
    await harness.reached.wait()
    (host,) = await harness.database.read(lambda connection: store.read_hosts(connection, harness.wall))
    running.cancel()
    assert host.history.last is not None
    assert host.history.last.figures["cpu"] == 10.0


async def test_the_chart_of_a_machine_that_is_young_begins_where_it_does(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 100, cpu=99.0)
    alert = source.parse(harness.accepted[0], {}).alerts[0]
    assert alert.picture is not None
    assert alert.picture.params["end"] - alert.picture.params["start"] == 300


async def test_several_figures_at_once_are_one_group_with_one_chart(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 80, cpu=99.0, memory=99.0)
    (body,) = harness.accepted
    alerts = source.parse(body, {}).alerts
    assert [alert.labels["alertname"] for alert in alerts] == ["HostCpuHigh", "HostMemoryHigh"]
    assert alerts[0].picture == alerts[1].picture


async def test_a_suspended_machine_proves_nothing(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 50, cpu=99.0)
    harness.offset += 8 * 3600
    await harness.pass_time(monitor, 40)
    assert harness.told == []
    await harness.pass_time(monitor, 20)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]


async def test_a_warning_that_cannot_be_stored_is_tried_again(harness: HostHarness) -> None:
    monitor = harness.monitor()
    harness.refuse = True
    await harness.pass_time(monitor, 120, cpu=99.0)
    assert harness.told == []
    harness.refuse = False
    await harness.pass_time(monitor, 10)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]


async def test_a_sensor_that_hangs_holds_up_nothing(harness: HostHarness) -> None:
    monitor = harness.monitor(every="1s")
    await harness.pass_time(monitor, 20)
    harness.release = threading.Event()
    try:
        await monitor.tick()
        await monitor.receive(a_push("db-1", harness.wall, [5.0]))
        await monitor.tick()
        assert {host.name for host in monitor.list_hosts()} == {"web-1", "db-1"}
    finally:
        harness.release.set()


async def test_a_warning_takes_the_routes_and_can_be_silenced_like_any_other_alert(harness: HostHarness) -> None:
    state = AlertState()
    items: list[Notification] = []

    class Sink:
        async def put(self, given: Sequence[Notification], **_: Any) -> Accepted:
            items.extend(given)
            return Accepted(len(given), 0)

    pipeline = AlertPipeline(
        AlertSettings(
            sources=registry.SourceTable({}),
            routes=routing.compile_routes(
                [
                    Route(parse_matchers(["source=host", "host=web-1"]), ("ops",)),
                    Route(parse_matchers([]), ("boss",)),
                ]
            ),
            targets={name: Destination(Capabilities(text_limit=2000), 3600.0) for name in ("ops", "boss")},
            timezone=ZONE,
        ),
        sink=Sink(), state=state, clock=lambda: harness.wall,
    )  # fmt: skip
    harness.accept = pipeline.accept  # type: ignore[method-assign, assignment]
    until = harness.wall + 3600

    def silence(connection: Any) -> None:
        silences.add(connection, parse_matchers(["alertname=HostMemoryHigh"]), ends_at=until, now=harness.wall)
        state.silences.reload(connection, now=harness.wall)

    await harness.database.run(silence)
    monitor = harness.monitor()
    await harness.pass_time(monitor, 100, cpu=99.0, memory=99.0)
    await harness.pass_time(monitor, 100, cpu=1.0)
    assert [item.target for item in items] == ["ops", "ops"]
    firing, over = (next(body for body in item.bodies if isinstance(body, Text)).text for item in items)
    assert firing.startswith("🟡 warning · web-1: CPU high")
    assert "memory" not in firing
    assert over.startswith("✅ resolved · web-1: CPU high")
    (picture,) = [body for body in items[0].bodies if isinstance(body, Picture)]
    assert picture.spec is not None
    assert picture.spec.kind == "host_chart"


async def test_each_repeat_is_told_however_soon_and_a_body_that_is_sent_again_is_not(
    harness: HostHarness, tmp_path: Path
) -> None:
    bridge = PipelineHarness(harness.database, tmp_path)
    answers: list[tuple[int, int]] = []

    async def accept(name: str, body: bytes, _: Any) -> Accepted:
        harness.accepted.append(body)
        bridge.clock.advance(harness.wall - bridge.clock.wall())
        answers.append(await bridge.take(name, body))
        return Accepted(*answers[-1])

    harness.accept = accept  # type: ignore[method-assign]
    harness.offset = bridge.clock.wall()
    monitor = harness.monitor(**{"for": "10s", "repeat": "1m", "cpu": 80, "picture": "none"})
    await harness.pass_time(monitor, 10)
    await harness.pass_time(monitor, 250, cpu=99.0)
    assert answers == [(1, 0)] * 5
    assert len(await bridge.told("ops")) == 5
    assert await bridge.take("host", harness.accepted[-1]) == (0, 1), "its answer was lost"


async def test_what_is_above_its_threshold_is_told_with_the_report_until_its_warning_is_over(
    harness: HostHarness,
) -> None:
    monitor = harness.monitor(memory={"above": 15, "clear": 5, "severity": "critical"}, cpu=80, **{"for": "50s"})

    async def marks() -> list[str]:
        (kept,) = await harness.database.read(lambda c: store.read_hosts(c, harness.wall))
        shown = []
        for host in (*monitor.list_hosts(), kept):
            lines = figures.describe_host(host, harness.wall - 600, harness.wall, "en", ZONE)
            shown += [line[0] for line in lines if "memory" in line]
        return shown

    await harness.pass_time(monitor, 100, memory=20.0)
    assert harness.told == [("HostMemoryHigh", "web-1", "firing")]
    assert await marks() == ["🔴", "🔴"]
    await harness.pass_time(monitor, 70, memory=10.0)
    assert await marks() == ["🔴", "🔴"], "it is below its threshold, and not well yet"
    await harness.pass_time(monitor, 100, memory=1.0)
    assert harness.told[-1] == ("HostMemoryHigh", "web-1", "resolved")
    assert await marks() == ["🟢", "🟢"]


# ---------------------------------------------------------------- restarts and reloads


async def run_for(monitor: HostMonitor, harness: HostHarness, seconds: float) -> None:
    """Run the monitor until its clock has moved on, and end it as the bridge would."""
    harness.until, harness.reached = harness.now + seconds, asyncio.Event()
    task = asyncio.create_task(monitor.run())
    reached = asyncio.create_task(harness.reached.wait())
    await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_samples_and_warnings_outlast_a_restart(harness: HostHarness) -> None:
    await run_for(harness.monitor(), harness, 300)
    harness.figures["cpu"] = 99.0
    await run_for(harness.monitor(), harness, 120)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]
    harness.now += 100
    again = harness.monitor()
    await run_for(again, harness, 120)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]
    (host,) = again.list_hosts()
    points = host.history.points("cpu", 0, harness.wall)
    assert sum(value is None for _, value in points) >= 1, "the restart is a gap"
    assert len(points) > 45
    harness.figures["cpu"] = 5.0
    await run_for(harness.monitor(), harness, 200)
    assert harness.told[1:] == [("HostCpuHigh", "web-1", "resolved")]


async def test_a_machine_with_another_name_is_not_missed_under_its_old_one(harness: HostHarness) -> None:
    await run_for(harness.monitor(name="web-old"), harness, 200)
    monitor = harness.monitor(name="web-new")
    await run_for(monitor, harness, 400)
    assert [host.name for host in monitor.list_hosts()] == ["web-new"]
    assert harness.told == []
    assert set(await harness.database.read(store.read_kept)) == {"web-new"}


async def test_a_reload_takes_over_thresholds_and_ends_warnings_without_one(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await harness.pass_time(monitor, 120, cpu=70.0)
    assert harness.told == []
    monitor.reconfigure(HostSettings.model_validate({"name": "web-1", "cpu": 60}), language="zh", timezone=ZONE)
    await harness.pass_time(monitor, 60)
    assert harness.told == [("HostCpuHigh", "web-1", "firing")]
    assert source.parse(harness.accepted[0], {}).title == "web-1：CPU过高"
    monitor.reconfigure(HostSettings.model_validate({"name": "web-1", "cpu": None}), language="zh", timezone=ZONE)
    await harness.pass_time(monitor, 10)
    assert harness.told[1:] == [("HostCpuHigh", "web-1", "resolved")]


async def test_a_machine_that_gets_another_name_while_it_is_measured_is_not_watched_under_the_old_one(
    harness: HostHarness,
) -> None:
    monitor = harness.monitor(silent=3)
    await harness.pass_time(monitor, 30)
    harness.release = threading.Event()
    measuring = asyncio.create_task(monitor.tick())
    await asyncio.sleep(0)
    monitor.reconfigure(HostSettings.model_validate({"name": "web-new", "silent": 3}), language="en", timezone=ZONE)
    harness.release.set()
    await measuring
    await harness.pass_time(monitor, 100)
    assert [host.name for host in monitor.list_hosts()] == ["web-new"]
    assert harness.told == []


async def test_a_machine_that_gets_another_name_while_its_processes_are_read_is_watched_on(
    harness: HostHarness,
) -> None:
    monitor = harness.monitor()

    def renamed() -> dict[str, Any]:
        new = HostSettings.model_validate({"name": "web-new"})
        asyncio.run_coroutine_threadsafe(_take(monitor, new), loop).result(5)
        return {"cpu": [], "memory": []}

    loop = asyncio.get_running_loop()
    monitor._processes = renamed
    await harness.pass_time(monitor, 120, cpu=95.0)
    assert [host.name for host in monitor.list_hosts()] == ["web-new"]
    assert ("HostCpuHigh", "web-1", "firing") not in harness.told


async def _take(monitor: HostMonitor, settings: HostSettings) -> None:
    monitor.reconfigure(settings, language="en", timezone=ZONE)


async def test_without_the_section_nothing_is_measured_and_samples_are_refused(harness: HostHarness) -> None:
    monitor = HostMonitor(
        None, harness.database, harness.accept, times=SystemClock(lambda: harness.wall, lambda: harness.now)
    )
    body = a_push("db-1", harness.wall, [5.0])
    assert await monitor.receive(body) is None
    with pytest.raises(BadBody, match="takes no samples: add a `host:` section"):
        source.parse(body, {})
    task = asyncio.create_task(monitor.run())
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


# ---------------------------------------------------------------- other machines


async def test_what_another_machine_pushes_is_held_against_the_bridges_thresholds(harness: HostHarness) -> None:
    monitor = harness.monitor(hosts={"db-1": {"cpu": 50}})
    at = harness.wall
    busiest = {"cpu": [["postgres", 7, 99.0]], "memory": []}
    assert await monitor.receive(a_push("db-1", at, [60.0] * 6, busiest=busiest)) == Accepted(0, 0)
    assert harness.told == [("HostCpuHigh", "db-1", "firing")]
    assert "postgres 99 %" in source.parse(harness.accepted[0], {}).alerts[0].annotations["busiest (CPU)"]


@pytest.mark.parametrize("sender", ["hook host", "signed host"])
async def test_a_token_of_the_hook_brings_in_ten_machines_and_those_that_are_named(
    harness: HostHarness, sender: str
) -> None:
    monitor = harness.monitor(hosts={"named": {}})
    for number in range(10):
        await monitor.receive(a_push(f"db-{number}", harness.wall, [5.0]), sender)
    for _ in range(2):
        with pytest.raises(BadBody, match=r"ten-and-one.*`host\.hosts`"):
            await monitor.receive(a_push("ten-and-one", harness.wall, [5.0]), sender)
        await monitor.receive(a_push("db-3", harness.wall + 10, [5.0]), sender)
        await monitor.receive(a_push("named", harness.wall, [5.0]), sender)
        await monitor.receive(a_push("by-the-server", harness.wall, [5.0]), "server")
        # Also after a restart.
        await harness.pass_time(monitor, 70)
        monitor = harness.monitor(hosts={"named": {}})
    assert len(await harness.database.read(store.read_kept)) == 13


async def test_samples_that_are_sent_again_count_once(harness: HostHarness) -> None:
    monitor = harness.monitor()
    body = a_push("db-1", harness.wall - 50, [60.0] * 6)
    await monitor.receive(body)
    await monitor.receive(body)
    (host,) = monitor.list_hosts()
    assert len(host.history.raw.at) == 6


async def test_times_of_a_clock_that_is_wrong_are_corrected(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await monitor.receive(a_push("db-1", harness.wall - 7200, [1.0, 2.0]))
    (host,) = monitor.list_hosts()
    assert list(host.history.raw.at) == [harness.wall - 10, harness.wall]


async def test_what_is_over_by_the_time_it_arrives_is_not_told(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await monitor.receive(a_push("db-1", harness.wall - 3000, [99.0] * 30 + [5.0] * 100, now=harness.wall))
    assert harness.told == []


async def test_a_machine_that_falls_silent_is_an_alert_and_over_when_it_is_back(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await monitor.receive(a_push("db-1", harness.wall, [5.0]))
    await harness.pass_time(monitor, 60)
    assert harness.told == []
    await harness.pass_time(monitor, 30)
    assert harness.told == [("HostSilent", "db-1", "firing")]
    firing = source.parse(harness.accepted[0], {}).alerts[0]
    assert firing.labels["severity"] == "critical"
    assert next(host for host in monitor.list_hosts() if host.name == "db-1").silent_since is not None
    await monitor.receive(a_push("db-1", harness.wall, [5.0]))
    back = source.parse(harness.accepted[1], {}).alerts[0]
    assert (back.status, back.fingerprint) == (AlertStatus.RESOLVED, firing.fingerprint)


async def test_nobody_is_called_silent_because_the_bridge_was_away(harness: HostHarness) -> None:
    monitor = harness.monitor()
    await monitor.receive(a_push("db-1", harness.wall, [5.0]))
    await harness.pass_time(monitor, 20)
    harness.now += 3600
    await harness.pass_time(monitor, 20)
    assert harness.told == []
    await run_for(harness.monitor(), harness, 20)
    await run_for(harness.monitor(), harness, 30)
    assert harness.told == []


async def test_a_machine_cannot_push_under_the_bridges_own_name(harness: HostHarness) -> None:
    with pytest.raises(BadBody, match="push under another `--name`"):
        await harness.monitor().receive(a_push("web-1", harness.wall, [5.0]))
    assert await harness.monitor(measure=False).receive(a_push("web-1", harness.wall, [5.0])) == Accepted(0, 0)
