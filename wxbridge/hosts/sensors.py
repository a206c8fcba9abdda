"""What psutil tells of this machine, as figures by name (`measured.figures` has the list).

Measured is the whole machine, also from inside a container: a kernel shows its processes the machine's own CPU, memory
and load whatever their cgroup allows. `about` says so where this process is limited.

Rates and the CPU are differences between two samples, of counters per device: the first sample has none, and where a
counter went back (it wrapped, or the device was exchanged) the device has none this time.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import structlog

from wxbridge.hosts.disks import Figures, list_mounts, measure_disk, measure_named_disk
from wxbridge.hosts.thermometers import Thermometers
from wxbridge.hosts.timed_calls import TimedCalls

log = structlog.get_logger()

MAX_BUSIEST_PROCESSES = 5
"""How many processes are told as the busiest."""
_BLOCK, _NET, _CGROUP = Path("/sys/block"), Path("/sys/class/net"), Path("/sys/fs/cgroup")
DEVICES_LOOKUP_SECONDS = 60.0
"""Seconds after which file systems and devices are looked up again: they seldom change."""
MAX_SENSOR_SECONDS = 1.0
"""Seconds that disks and thermometers are waited for, all together; which has not answered by then is left out."""
_NO_LIMIT = 1 << 60
_Counters = Mapping[str, tuple[float, float]]


class Sensors:
    """Measures this machine. Blocks for some ms, so call it in a thread; one call at a time.

    Args:
        disks: Mount points to look at; all file systems on disks where none are given.
        skipped: Temperature sensors that are left out; see `Thermometers`.
        per_core: Whether to tell each core too (`core:0`, …).
        monotonic: Seconds, for rates.
    """

    def __init__(
        self,
        disks: Sequence[str] = (),
        *,
        skipped: Sequence[str] = (),
        per_core: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disks = tuple(disks)
        self._thermometers = Thermometers(skipped)
        self._calls: TimedCalls[Figures] = TimedCalls()
        self._looks: TimedCalls[bool] = TimedCalls()
        self._per_core = per_core
        self._monotonic = monotonic
        self._failing: set[str] = set()
        self._before: dict[str, _Counters] = {}
        self._at: float | None = None
        self._looked = -DEVICES_LOOKUP_SECONDS
        self._mounts: tuple[str, ...] = ()
        self._nics: frozenset[str] | None = None
        self._drives: frozenset[str] | None = None

    def sample(self) -> Figures:
        """Measure. A sensor that fails is left out, and named once in the log."""
        now = self._monotonic()
        elapsed = None if self._at is None else now - self._at
        self._at = now
        if now - self._looked >= DEVICES_LOOKUP_SECONDS:
            self._looked = now
            self._try("devices", self._look_up)
        figures: Figures = {}
        for name, measure in (
            ("cpu", self._cpu),
            ("memory", _memory),
            ("swap", _swap),
            ("load", _load),
            ("network", lambda: self._network(elapsed)),
            ("disk I/O", lambda: self._disk_io(elapsed)),
        ):
            figures |= self._try(name, measure)
        figures |= self._measure_slow()
        return {name: value for name, value in figures.items() if value == value}  # noqa: PLR0124 - is a number

    def _measure_slow(self) -> Figures:
        """Measure what may hang: it holds up neither the rest nor, a second time, this."""
        measure = measure_named_disk if self._disks else measure_disk
        calls: dict[str, Callable[[], Figures]] = {"temperature": self._thermometers.measure}
        calls |= {f"disk {mount}": partial(measure, mount) for mount in self._mounts}
        results = self._calls.run(calls, MAX_SENSOR_SECONDS)
        figures: Figures = {}
        for name in calls:
            if name not in results:
                self._note(name, "it does not answer")
                mount = name.removeprefix("disk ")
                figures |= {f"disk_unanswered:{mount}": 1.0} if mount in self._mounts else {}
                continue
            error = results[name].exception()
            found = {} if error else results[name].result()
            is_missing = any(figure.startswith("disk_missing:") for figure in found)
            self._note(name, _describe(error) if error else "it is not mounted" if is_missing else "")
            figures |= found
        return figures

    def _try(self, name: str, measure: Callable[[], Any]) -> Figures:
        try:
            found: Figures = measure() or {}
        except Exception as error:  # noqa: BLE001 - whatever a driver does, the other figures are measured
            self._note(name, _describe(error))
            return {}
        self._note(name)
        return found

    def _note(self, name: str, problem: str = "") -> None:
        """Log that a sensor fails, or works again; once each."""
        if problem and name not in self._failing:
            self._failing.add(name)
            log.warning("a sensor fails and is skipped", sensor=name, error=problem)
        elif not problem and name in self._failing:
            self._failing.discard(name)
            log.info("a sensor works again", sensor=name)

    # ------------------------------------------------ differences

    def _cpu(self) -> Figures:
        figures = self._share("cpu", {"cpu": psutil.cpu_times()})
        if self._per_core:
            cores = {f"core:{index}": times for index, times in enumerate(psutil.cpu_times(percpu=True))}
            figures |= self._share("cores", cores)
        return figures

    def _share(self, kind: str, times: Mapping[str, Any]) -> Figures:
        """Percent of the time since the last sample in which something ran."""
        now = {name: _busy_and_total(each) for name, each in times.items()}
        before = self._before.get(kind, {})
        self._before[kind] = now
        figures: Figures = {}
        for name, (busy, total) in now.items():
            if name not in before:
                continue
            worked, passed = busy - before[name][0], total - before[name][1]
            if passed > 0:
                # iowait may go back on some kernels (proc_stat(5)), which would make this more than everything.
                figures[name] = min(100.0, max(0.0, 100 * worked / passed))
        return figures

    def _network(self, elapsed: float | None) -> Figures:
        counters = psutil.net_io_counters(pernic=True, nowrap=False) or {}
        chosen = {
            name: (float(each.bytes_recv), float(each.bytes_sent))
            for name, each in counters.items()
            if _is_outward(name, self._nics)
        }
        return self._rates("network", chosen, elapsed, ("net_in", "net_out"))

    def _disk_io(self, elapsed: float | None) -> Figures:
        counters = psutil.disk_io_counters(perdisk=True, nowrap=False) or {}
        chosen = {
            name: (float(each.read_bytes), float(each.write_bytes))
            for name, each in counters.items()
            if self._drives is None or name in self._drives
        }
        return self._rates("disk_io", chosen, elapsed, ("disk_read", "disk_write"))

    def _rates(self, kind: str, now: _Counters, elapsed: float | None, names: tuple[str, str]) -> Figures:
        before = self._before.get(kind)
        self._before[kind] = now
        if before is None or not elapsed or elapsed <= 0:
            return {}
        sums = [0.0, 0.0]
        there = [False, False]
        for device in now.keys() & before.keys():
            for way in (0, 1):
                passed = now[device][way] - before[device][way]
                if passed >= 0:
                    there[way] = True
                    sums[way] += passed / elapsed
        return {name: value for name, value, known in zip(names, sums, there, strict=True) if known}

    # ------------------------------------------------ what there is

    def _look_up(self) -> None:
        self._mounts = self._disks or list_mounts(self._looks, MAX_SENSOR_SECONDS)
        self._nics = _physical(_NET)
        self._drives = _physical(_BLOCK)

    def about(self) -> dict[str, float | str]:
        """What of this machine does not change: cores, bytes of memory and swap, the system, and our own limits."""
        about: dict[str, float | str] = {"system": f"{platform.system()} {platform.release()}"}
        with suppress(Exception):
            about["cores"] = float(psutil.cpu_count() or 0)
        with suppress(Exception):
            about["memory"] = float(psutil.virtual_memory().total)
        with suppress(Exception):
            about["swap"] = float(psutil.swap_memory().total)
        with suppress(Exception):
            if limited := describe_own_limits(about.get("memory")):
                about["limited"] = limited
        return about


def _busy_and_total(times: Any) -> tuple[float, float]:
    # Guests' time is in user and nice already (proc_stat(5)).
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _memory() -> Figures:
    memory = psutil.virtual_memory()
    return {"memory": memory.percent, "memory_used": float(memory.total - memory.available)}


def _swap() -> Figures:
    swap = psutil.swap_memory()
    return {"swap": swap.percent, "swap_used": float(swap.used)} if swap.total else {}


def _load() -> Figures:
    return dict(zip(("load1", "load5", "load15"), psutil.getloadavg(), strict=True))


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _physical(directory: Path) -> frozenset[str] | None:
    """The devices that are no others' in disguise (LVM, RAID, bridges, tunnels); None where that cannot be told."""
    found = [path.name for path in directory.iterdir() if "/virtual/" not in str(path.resolve())] \
        if directory.is_dir() else []  # fmt: skip
    return frozenset(found) or None


def _is_outward(name: str, physical: frozenset[str] | None) -> bool:
    """Whether a network device leads out of the machine; without physical ones, whether it is not the loopback."""
    return name in physical if physical is not None else name not in ("lo", "lo0")


# ---------------------------------------------------------------- our own limits


def describe_own_limits(memory: object, root: Path = _CGROUP) -> str:
    """What the cgroup of this process allows where that is less than the machine has: `1.5 cores, 512 MiB`.

    cgroup v2 (`cpu.max`, `memory.max`) and v1, as a container sees its own.
    """
    words = []
    cpu = _read(root / "cpu.max").split() or [
        _read(root / "cpu/cpu.cfs_quota_us"), _read(root / "cpu/cpu.cfs_period_us"),
    ]  # fmt: skip
    if len(cpu) == 2 and cpu[0].isdigit() and cpu[1].isdigit() and int(cpu[1]):  # noqa: PLR2004 - quota and period
        words.append(f"{int(cpu[0]) / int(cpu[1]):g} cores")
    most = _read(root / "memory.max") or _read(root / "memory/memory.limit_in_bytes")
    total = float(memory) if isinstance(memory, int | float) else float(_NO_LIMIT)
    if most.isdigit() and int(most) < min(total, _NO_LIMIT):
        words.append(f"{int(most) / 2**20:.0f} MiB")
    return ", ".join(words)


def _read(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="ascii", errors="replace").strip()
    return ""


# ---------------------------------------------------------------- who it is

Busy = tuple[str, int, float]
"""A process: its name (never its arguments, which may hold secrets), its id, and its share or size."""


def busiest(pause: Callable[[], None] = lambda: time.sleep(0.5)) -> dict[str, list[Busy]]:
    """The processes that use most: `cpu` in percent of one core over the pause, `memory` in resident bytes.

    Costs some 0.2 ms for each process, twice; call it in a thread, and at a warning only.
    """
    before = {process.pid: (process, used) for process in psutil.process_iter() if (used := _used(process)) is not None}
    began = time.monotonic()
    pause()
    passed = max(time.monotonic() - began, 1e-3)
    cpu: list[tuple[float, psutil.Process]] = []
    memory: list[tuple[float, psutil.Process]] = []
    for process, used in before.values():
        now = _used(process)
        if now is None:
            continue
        cpu.append((100 * max(0.0, now - used) / passed, process))
        with suppress(psutil.Error, OSError):
            memory.append((float(process.memory_info().rss), process))
    return {"cpu": _named(cpu, 1.0), "memory": _named(memory, 1.0)}


def _used(process: psutil.Process) -> float | None:
    with suppress(psutil.Error, OSError):
        times = process.cpu_times()
        return float(times.user + times.system)
    return None


def _named(found: list[tuple[float, psutil.Process]], least: float) -> list[Busy]:
    busy: list[Busy] = []
    for amount, process in sorted(found, key=lambda each: -each[0]):
        if amount < least or len(busy) == MAX_BUSIEST_PROCESSES:
            break
        with suppress(psutil.Error, OSError):
            busy.append((process.name()[:40], process.pid, round(amount, 1)))
    return busy
