"""The temperature sensors of this machine: which is the hottest, and which tell what cannot be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import psutil
import structlog

log = structlog.get_logger()

MAX_PLAUSIBLE_CELSIUS = 150.0
"""°C; what says that it is hotter, or below 0, is no thermometer."""
MIN_SENTINEL_CELSIUS, MAX_SENTINEL_CELSIUS = 127.0, 128.0
"""°C that a sensor of eight bits tells where it measures nothing."""
MAX_NAME_CHARS = 80


@dataclass(frozen=True)
class Reading:
    """What one sensor tells; `limits` are the temperatures that its driver calls high and critical."""

    name: str
    chip: str
    celsius: float
    limits: tuple[float, ...] = ()


class Thermometers:
    """Reads the temperature sensors, but those that are left out by their name or chip (`*` and `?` are wildcards)."""

    def __init__(self, skipped: Sequence[str] = ()) -> None:
        self._skipped = [name.casefold() for name in skipped]
        self._first: dict[str, float] = {}
        self._moved: set[str] = set()
        """Sensors that have told more than one temperature, and so measure."""
        self._left_out: set[str] = set()

    def measure(self) -> dict[str, float]:
        """Give the temperature of the hottest sensor as `temperature`, and with its name as `hottest:NAME`; in °C."""
        best: Reading | None = None
        for reading in _read():
            if self._is_skipped(reading) or not self._is_credible(reading):
                continue
            if best is None or reading.celsius > best.celsius:
                best = reading
        return {} if best is None else {"temperature": best.celsius, f"hottest:{best.name}": best.celsius}

    def _is_skipped(self, reading: Reading) -> bool:
        names = reading.name.casefold(), reading.chip.casefold()
        return any(fnmatchcase(name, pattern) for pattern in self._skipped for name in names)

    def _is_credible(self, reading: Reading) -> bool:
        celsius = reading.celsius
        if celsius != self._first.setdefault(reading.name, celsius):
            self._moved.add(reading.name)
        # One that has stood at its own limit from the first look on is not connected, or stuck.
        is_stuck = reading.name not in self._moved and celsius in reading.limits
        is_sentinel = MIN_SENTINEL_CELSIUS <= celsius <= MAX_SENTINEL_CELSIUS
        is_credible = 0 < celsius < MAX_PLAUSIBLE_CELSIUS and not is_sentinel and not is_stuck
        if is_credible:
            self._left_out.discard(reading.name)
        elif celsius > 0 and reading.name not in self._left_out:
            self._left_out.add(reading.name)
            log.warning("a temperature cannot be, the sensor is left out", sensor=reading.name, celsius=celsius)
        return is_credible


def _read() -> Iterator[Reading]:
    read = getattr(psutil, "sensors_temperatures", None)  # not on macOS and Windows
    found: Mapping[str, Sequence[Any]] = read() if read else {}
    seen: Counter[str] = Counter()
    for chip, entries in found.items():
        for index, entry in enumerate(entries, 1):
            label = getattr(entry, "label", "") or ("" if len(entries) == 1 else str(index))
            name = f"{chip} {label}".strip()[:MAX_NAME_CHARS]
            seen[name] += 1
            name = name if seen[name] == 1 else f"{name} #{seen[name]}"
            if entry.current is not None:
                limits = (getattr(entry, "high", None), getattr(entry, "critical", None))
                yield Reading(name, chip, float(entry.current), tuple(float(each) for each in limits if each))
