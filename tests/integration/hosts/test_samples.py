"""What is remembered of machines, in memory and in the database, and how it is told."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.postgresql import database_url
from wxbridge.core.database import Database
from wxbridge.hosts import chart, figures, store
from wxbridge.hosts.samples import (
    MINUTES_KEPT_SECONDS,
    SAMPLES_KEPT_SECONDS,
    Host,
    HostHistory,
    Sample,
    SampleRing,
    make_history,
)
from wxbridge.pictures.charts.host_chart import charts_of

NOW = 1_767_261_600.0
ZONE = ZoneInfo("Asia/Shanghai")


def test_points_are_as_they_were_measured_with_gaps_where_something_is_missing() -> None:
    history = HostHistory(10)
    for at, value in ((0, 1.0), (10, 99.0), (20, 1.0), (100, 2.0)):
        history.add(Sample(NOW + at, {"cpu": value}))
    assert history.points("cpu", NOW, NOW + 200) == (
        (NOW, 1.0), (NOW + 10, 99.0), (NOW + 20, 1.0), (NOW + 60, None), (NOW + 100, 2.0),
    )  # fmt: skip


def test_samples_are_kept_for_hours_and_minutes_for_a_day() -> None:
    history = HostHistory(10)
    for index in range(30 * 360):
        history.add(Sample(NOW + index * 10, {"cpu": 100.0 if index % 6 == 0 else 10.0}))
    end = NOW + 30 * 3600
    assert SAMPLES_KEPT_SECONDS <= end - history.raw.at[0] <= SAMPLES_KEPT_SECONDS * 1.1 + 120
    assert MINUTES_KEPT_SECONDS <= end - history.means.at[0] <= MINUTES_KEPT_SECONDS * 1.1 + 120
    day = history.summarize("cpu", end - 86400, end, 80)
    hour = history.summarize("cpu", end - 3600, end, 80)
    assert day is not None
    assert hour is not None
    assert (round(day.mean), day.maximum, round(day.p95), day.above) == (25, 100, 25, 0)
    assert (round(hour.mean), hour.maximum, hour.p95, hour.above) == (25, 100, 100, 600)


@pytest.mark.parametrize("offset", [0, 1, 29, 31, 59])
def test_all_samples_of_a_machine_that_is_young_are_shown_as_measured(offset: float) -> None:
    history = HostHistory(1)
    for index in range(70):
        history.add(Sample(NOW + offset + index, {"cpu": float(index)}))
    points = history.points("cpu", NOW - 1800, NOW + 200)
    assert [value for _, value in points] == list(range(70))


def test_a_clock_that_is_set_back_leaves_no_samples_in_the_future() -> None:
    ring = SampleRing(1000)
    for at in (1.0, 2, 3, 4, 2.5):
        ring.add(at, {"cpu": at})
    assert list(ring.column("cpu", 0, 10)) == [(1, 1), (2, 2), (2.5, 2.5)]


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.dictionaries(st.sampled_from(["a", "b"]), st.floats(0, 100))), max_size=60)
)
def test_a_ring_keeps_its_columns_together(given_: list[tuple[float, dict[str, float]]]) -> None:
    ring = SampleRing(3000)
    for at, each in given_:
        ring.add(at, each)
    assert list(ring.at) == sorted(set(ring.at))
    last = ring.last()
    if given_:
        assert last is not None
        assert last.at == given_[-1][0]
        assert last.figures.keys() == given_[-1][1].keys()
    for name in "ab":
        assert all(0 <= value <= 100 for _, value in ring.column(name, 0, 1e4))


@pytest.fixture
def database(each_database: str, tmp_path: Path):
    found = Database.open(database_url(tmp_path))
    yield found
    found.close()


async def test_samples_outlast_a_restart(database: Database) -> None:
    first = [Sample(NOW + index * 10, {"cpu": index / 3, "disk:/": 50.0}) for index in range(6)]
    second = [Sample(NOW + 60, {"cpu": 5.0, "net_in": 123456789.4})]
    kept = store.KeptHost(10, {"cores": 8.0}, {"cpu": {"since": NOW, "told_at": NOW}}, {"cpu": 80.0}, local=True)
    await database.run(lambda c: store.save_host(c, "web-1", first, kept, NOW + 50))
    await database.run(lambda c: store.save_host(c, "web-1", second, kept, NOW + 60))
    await database.run(lambda c: store.save_host(c, "db-1", second, store.KeptHost(30), NOW + 60))
    found = await database.read(lambda c: store.read_samples(c, NOW + 15))
    assert [sample.at - NOW for sample in found["web-1"]] == [20, 30, 40, 50, 60]
    assert found["web-1"][-1].figures == {"cpu": 5.0, "net_in": 123456789}
    assert (await database.read(store.read_kept))["web-1"] == (kept, NOW + 60)
    hosts = await database.read(lambda c: store.read_hosts(c, NOW + 60))
    assert [(host.name, host.history.every, host.cores) for host in hosts] == [("db-1", 30, 0), ("web-1", 10, 8)]
    assert hosts[1].history.summarize("cpu", NOW, NOW + 60) is not None


async def test_what_is_too_old_is_forgotten(database: Database) -> None:
    samples = [Sample(NOW, {"cpu": 1.0})]
    await database.run(lambda c: store.save_host(c, "old", samples, store.KeptHost(), NOW))
    await database.run(
        lambda c: store.save_host(c, "new", [Sample(NOW + 100, {"cpu": 1.0})], store.KeptHost(), NOW + 100)
    )
    await database.run(lambda c: store.prune(c, NOW + 50, NOW - 50))
    assert list(await database.read(lambda c: store.read_samples(c, 0))) == ["new"]
    assert set(await database.read(store.read_kept)) == {"old", "new"}
    await database.run(lambda c: store.prune(c, NOW + 50, NOW + 50))
    assert set(await database.read(store.read_kept)) == {"new"}


# ---------------------------------------------------------------- in words, and as a chart


def a_host(*, every: float = 10, hours: float = 1, silent: float | None = None) -> Host:
    count = int(hours * 3600 / every)
    samples = [
        Sample(
            NOW - (count - index) * every,
            {
                "cpu": 90.0 if index >= count - 6 else 10.0, "memory": 45.0, "memory_used": 7.2 * 2**30,
                "disk:/": 91.0, "disk_free:/": 9e9, "load1": 1.5, "load5": 1.0, "load15": 0.5,
                "net_in": 2048.0, "net_out": 1024.0,
            },
        )
        for index in range(count)
    ]  # fmt: skip
    about: dict[str, float | str] = {"cores": 8.0, "memory": 16 * 2.0**30}
    return Host("web-1", make_history(samples, every), about, silent, {"cpu": 80.0})


def test_a_report_tells_each_figure_with_the_colour_of_its_level() -> None:
    assert figures.describe_host(a_host(), NOW - 3600, NOW, "en", ZONE) == [
        "📊 web-1 · 17:00 – 18:00",
        "🔴 CPU 90 % (mean 11.3 %, max 90 %)",
        "🟡 memory 45 % (7.2 GiB of 16 GiB; mean 45 %, max 45 %)",
        "🔴 disk / 91 % (8.38 GiB free)",
        "▫️ load 1.50 1.00 0.50 (8 cores)",
        "▫️ network ↓ 2 KiB/s ↑ 1 KiB/s",
    ]


def test_a_summary_tells_percentiles_and_times_and_what_is_missing() -> None:
    lines = figures.describe_host(a_host(hours=20), NOW - 86400, NOW, "zh", ZONE, long=True)
    assert lines[1].startswith("🔴 CPU ")
    assert "p95 10 %，最高 90 %" in lines[1]
    assert "CPU 90 %" in lines[1]
    assert any("≥ 80 %" in line and "磁盘 /" in line for line in lines)
    assert any("无数据" in line for line in lines)


def test_where_this_process_is_limited_the_report_says_what_was_measured() -> None:
    host = a_host()
    limited = Host(host.name, host.history, {**host.about, "limited": "2 cores, 512 MiB"})
    assert figures.describe_host(limited, NOW - 3600, NOW, "en", ZONE)[-1] == (
        "▫️ measured is the whole machine; this process may use 2 cores, 512 MiB"
    )


def test_a_machine_of_which_nothing_is_known_has_a_line_and_no_chart() -> None:
    empty = Host("db-1", HostHistory(), silent_since=NOW - 600)
    assert figures.describe_host(empty, NOW - 60, NOW, "en", ZONE) == [
        "📊 db-1 · 17:59 – 18:00\n⚪ silent since 17:50 (10 min)", "nothing was measured",
    ]  # fmt: skip
    assert chart.make_spec(empty, NOW - 60, NOW, language="en", timezone=ZONE) is None


def test_a_chart_has_the_measured_points_in_absolute_times() -> None:
    spec = chart.make_spec(
        a_host(), NOW - 1800, NOW, language="zh", timezone=ZONE, panels=("disks", "network", "temperature"),
        marks={"cpu": (NOW - 60, None)},
    )  # fmt: skip
    assert spec is not None
    charts = charts_of(spec.params)
    assert [each.title for each in charts] == ["CPU", "内存", "磁盘", "网络"]
    cpu, memory, disks, network = charts
    assert all(curve.points for each in charts for curve in each.curves)
    assert (cpu.levels, cpu.thresholds[0].value, cpu.marks[0].start) == ((30, 80), 80, NOW - 60)
    assert disks.levels is None
    assert [curve.name for curve in network.curves] == ["流入", "流出"]
    assert cpu.curves[0].points[-1] == (NOW - 10, 90.0)
    assert len(cpu.curves[0].points) == 180
    assert memory.start == NOW - 1800
