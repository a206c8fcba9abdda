"""What is measured of this machine, and what becomes of sensors that fail or counters that wrap."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest
from structlog.testing import capture_logs

from wxbridge.hosts import sensors as module
from wxbridge.hosts.disks import list_mounts
from wxbridge.hosts.sensors import Sensors, busiest, describe_own_limits
from wxbridge.hosts.timed_calls import TimedCalls


class CpuTimes(NamedTuple):
    user: float
    nice: float
    system: float
    idle: float
    iowait: float
    guest: float
    guest_nice: float


class Net(NamedTuple):
    bytes_recv: int
    bytes_sent: int


class Disk(NamedTuple):
    read_bytes: int
    write_bytes: int


class Machine:
    """psutil's answers, as a test sets them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.cpu = CpuTimes(0, 0, 0, 0, 0, 0, 0)
        self.nics = {"lo": Net(0, 0), "eth0": Net(0, 0)}
        self.drives = {"sda": Disk(0, 0)}
        monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: [self.cpu] if percpu else self.cpu)
        monkeypatch.setattr(psutil, "net_io_counters", lambda **_: self.nics)
        monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: self.drives)
        monkeypatch.setattr(module, "_physical", lambda _: None)
        self.sensors = Sensors(["/"], per_core=True, monotonic=lambda: self.now)

    def sample(self, after: float = 10.0) -> dict[str, float]:
        self.now += after
        return self.sensors.sample()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_this_machine_can_be_measured() -> None:
    sensors = Sensors()
    sensors.sample()
    figures = sensors.sample()
    assert {"memory", "memory_used", "load1", "disk:/", "disk_free:/"} <= figures.keys()
    assert 0 < figures["memory"] < 100
    assert 0 < figures["disk:/"] <= 100
    about = sensors.about()
    assert about["cores"] == psutil.cpu_count()
    assert about["memory"] == psutil.virtual_memory().total


def test_the_first_sample_has_no_cpu_and_no_rates(machine: Machine) -> None:
    assert not machine.sample().keys() & {"cpu", "net_in", "disk_read"}
    machine.cpu = CpuTimes(3, 0, 1, 5, 1, 2, 0)
    machine.nics = {"lo": Net(10**9, 10**9), "eth0": Net(5000, 100)}
    machine.drives = {"sda": Disk(40960, 0)}
    figures = machine.sample()
    assert figures["cpu"] == figures["core:0"]
    # Of 10 s; the 2 of a guest are within the user's 3, and waiting for a disk is no work.
    assert round(figures["cpu"]) == 40
    assert (figures["net_in"], figures["net_out"]) == (500, 10)
    assert (figures["disk_read"], figures["disk_write"]) == (4096, 0)


def test_a_counter_that_wraps_gives_no_rate_rather_than_a_wrong_one(machine: Machine) -> None:
    machine.nics = {"eth0": Net(2**32 - 10, 1000)}
    machine.sample()
    machine.nics = {"eth0": Net(500, 2000)}
    assert machine.sample().keys() & {"net_in", "net_out"} == {"net_out"}
    machine.nics = {"eth0": Net(1500, 2000)}
    assert machine.sample()["net_in"] == 100


def test_a_device_that_appears_brings_no_jump(machine: Machine) -> None:
    machine.sample()
    machine.nics = {"eth0": Net(100, 0), "eth1": Net(10**12, 10**12)}
    assert machine.sample()["net_in"] == 10


def test_a_failing_sensor_is_skipped_and_said_once(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise OSError("no such sensor")

    with capture_logs() as logs:
        machine.sample()
        monkeypatch.setattr(psutil, "sensors_temperatures", broken, raising=False)
        monkeypatch.setattr(psutil, "disk_usage", broken)
        for _ in range(3):
            figures = machine.sample()
        assert "memory" in figures
        assert "disk:/" not in figures
        monkeypatch.undo()
        machine.sample()
    told = [(entry["log_level"], entry["sensor"]) for entry in logs]
    assert sorted(told) == [
        ("info", "disk /"), ("info", "temperature"), ("warning", "disk /"), ("warning", "temperature"),
    ]  # fmt: skip


def test_a_thermometer_that_lies_is_not_believed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    chip = [SimpleNamespace(current=value) for value in (-128, 0, 47.5, 65261.8, None)]
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"chip": chip}, raising=False)
    assert machine.sample()["temperature"] == 47.5


def test_a_file_system_counts_once_and_single_files_of_a_container_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data" / "again").mkdir(parents=True)
    (tmp_path / "hosts").write_text("")
    parts = [
        SimpleNamespace(device=device, mountpoint=str(mount), fstype=kind)
        for device, mount, kind in (
            ("/dev/sdb", tmp_path / "data" / "again", "ext4"),
            ("/dev/sdb", tmp_path / "data", "ext4"),
            ("/dev/sdc", tmp_path / "hosts", "ext4"),
            ("/dev/loop3", tmp_path, "squashfs"),
        )
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: parts)
    assert list_mounts(TimedCalls(), 1.0) == ("/", str(tmp_path / "data"))


# ---------------------------------------------------------------- disks that are away


def test_a_named_disk_that_is_not_mounted_is_told_as_that_and_never_as_the_one_below(tmp_path: Path) -> None:
    empty, gone = tmp_path / "data", tmp_path / "gone"
    empty.mkdir()
    with capture_logs() as logs:
        sensors = Sensors(["/", str(empty), str(gone)])
        sensors.sample()
        figures = sensors.sample()
    assert {name for name in figures if name.startswith("disk") and ":" in name} == {
        "disk:/", "disk_free:/", f"disk_missing:{empty}", f"disk_missing:{gone}",
    }  # fmt: skip
    told = [(entry["sensor"], entry["error"]) for entry in logs if "error" in entry]
    assert told == [(f"disk {empty}", "it is not mounted"), (f"disk {gone}", "it is not mounted")]


def test_a_directory_that_is_mounted_within_its_own_file_system_is_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    part = SimpleNamespace(device="/dev/sdb", mountpoint=str(tmp_path), fstype="ext4")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [part])
    assert f"disk:{tmp_path}" in Sensors([str(tmp_path)]).sample()


def test_a_file_system_that_does_not_answer_holds_up_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), []
    usage, is_mount = psutil.disk_usage, os.path.ismount

    def hang(path: str) -> Any:
        if path == "/nas":
            asked.append(path)
            release.wait(30)
            return SimpleNamespace(total=100, free=40, percent=60.0)
        return usage(path)

    monkeypatch.setattr(psutil, "disk_usage", hang)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == "/nas" or is_mount(path))
    monkeypatch.setattr(module, "MAX_SENSOR_SECONDS", 0.2)
    machine.sensors = Sensors(["/", "/nas"], monotonic=lambda: machine.now)
    statvfs = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: statvfs("/" if path == "/nas" else path))
    with capture_logs() as logs:
        machine.sample()
        began = time.monotonic()
        for _ in range(5):
            figures = machine.sample()
            assert {"memory", "load1", "disk:/", "disk_unanswered:/nas"} <= figures.keys()
            assert "disk:/nas" not in figures
        assert time.monotonic() - began < 2, "only the first look waits for it"
        release.set()
        time.sleep(0.2)
        figures = machine.sample()
    assert asked == ["/nas"]
    assert figures["disk:/nas"] == 60.0
    assert "disk_unanswered:/nas" not in figures
    told = [(entry["log_level"], entry.get("error")) for entry in logs if entry.get("sensor") == "disk /nas"]
    assert told == [("warning", "it does not answer"), ("info", None)]


def test_inodes_are_told_as_df_does(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = {"f_blocks": 100, "f_bfree": 60, "f_bavail": 60, "f_frsize": 4096}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_ffree=100, f_favail=50, **blocks))
    assert round(Sensors(["/"]).sample()["inodes:/"], 1) == 94.7
    # btrfs has none.
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_ffree=0, f_favail=0, **blocks))
    figures = Sensors(["/"]).sample()
    assert (figures["disk:/"], "inodes:/" in figures) == (40.0, False)


# ---------------------------------------------------------------- thermometers


def heat(monkeypatch: pytest.MonkeyPatch, chips: dict[str, list[tuple[str, float, float | None]]]) -> None:
    """Have the sensors tell: by chip, label, °C and what is high."""
    found = {
        chip: [SimpleNamespace(label=label, current=now, high=high, critical=high) for label, now, high in entries]
        for chip, entries in chips.items()
    }
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: found, raising=False)


@pytest.mark.parametrize("sentinel", [127.0, 127.5, 128.0, 255.0, 65261.8])
def test_a_sensor_of_a_sentinel_value_is_left_out_and_named_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, sentinel: float
) -> None:
    heat(monkeypatch, {"coretemp": [("Core 0", 41.0, 100.0)], "nct6798": [("AUXTIN1", sentinel, None)]})
    with capture_logs() as logs:
        for _ in range(3):
            figures = machine.sample()
    assert (figures["temperature"], figures["hottest:coretemp Core 0"]) == (41.0, 41.0)
    assert [entry["sensor"] for entry in logs if "celsius" in entry] == ["nct6798 AUXTIN1"]


def test_a_sensor_that_stands_at_its_own_limit_from_the_first_look_on_is_left_out_until_it_moves(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        heat(monkeypatch, {"coretemp": [("Core 0", 41.0, 100.0)], "acpitz": [("", 105.0, 105.0)]})
        assert machine.sample()["temperature"] == 41.0
    heat(monkeypatch, {"coretemp": [("Core 0", 41.0, 100.0)], "acpitz": [("", 104.0, 105.0)]})
    assert machine.sample()["hottest:acpitz"] == 104.0
    heat(monkeypatch, {"coretemp": [("Core 0", 41.0, 100.0)], "acpitz": [("", 105.0, 105.0)]})
    assert machine.sample()["temperature"] == 105.0, "it measures, and now it is hot"


@pytest.mark.parametrize("skipped", ["nvme", "nvme Composite", "NVME*"])
def test_a_sensor_can_be_left_out_by_name(machine: Machine, monkeypatch: pytest.MonkeyPatch, skipped: str) -> None:
    heat(monkeypatch, {"coretemp": [("Core 0", 41.0, None)], "nvme": [("Composite", 84.0, None)]})
    machine.sensors = Sensors(["/"], skipped=[skipped])
    figures = machine.sample()
    assert figures["temperature"] == 41.0
    assert "hottest:coretemp Core 0" in figures


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "536870912"}, "1.5 cores, 512 MiB"),
        ({"cpu.max": "max 100000", "memory.max": "max"}, ""),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ""),
        (
            {
                "cpu/cpu.cfs_quota_us": "200000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            "2 cores",
        ),
        ({}, ""),
    ],
)
def test_the_limits_of_a_container_are_said(files: dict[str, str], said: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert describe_own_limits(16 * 2.0**30, tmp_path) == said


def test_the_busiest_processes_are_told_by_name_without_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        sum(range(2_000_000))

    me = psutil.Process()
    # Of a machine that others use too, only these: what others do is as it may be.
    some = [me, psutil.Process(1)]
    monkeypatch.setattr(psutil, "process_iter", lambda *_, **__: iter(some))
    found = busiest(work)
    assert me.pid in [pid for _, pid, _ in found["cpu"]]
    assert found["memory"] == sorted(found["memory"], key=lambda each: -each[2])
    assert all("/" not in name or " " not in name for name, _, _ in found["cpu"])
