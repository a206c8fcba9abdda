"""What is measured of this machine, and what becomes of sensors that fail or counters that wrap."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import psutil
import pytest
from structlog.testing import capture_logs

from wxbridge.hosts import sensors as module
from wxbridge.hosts.sensors import Sensors, busiest, describe_own_limits


class MonitorClock(NamedTuple):
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
        self.cpu = MonitorClock(0, 0, 0, 0, 0, 0, 0)
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
    machine.cpu = MonitorClock(3, 0, 1, 5, 1, 2, 0)
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
    assert list(module._real_mounts()) == ["/", str(tmp_path / "data")]


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


def test_the_busiest_processes_are_told_by_name_without_arguments() -> None:
    def work() -> None:
        sum(range(2_000_000))

    found = busiest(work)
    me = psutil.Process()
    assert me.pid in [pid for _, pid, _ in found["cpu"]]
    assert found["memory"] == sorted(found["memory"], key=lambda each: -each[2])
    assert all("/" not in name or " " not in name for name, _, _ in found["cpu"])
