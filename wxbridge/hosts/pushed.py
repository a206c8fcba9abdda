"""Reads the samples that machines push to `/hooks/host`.

`{"host": "db-1", "every": 10, "now": 1767261600.5, "about": {"cores": 8}, "samples": [{"at": 1767261600.2,
"figures": {"cpu": 12.3, "disk:/": 45}}], "busiest": {"cpu": [["java", 4711, 180.2]], "memory": [["db", 88, 2e9]]}}`,
with `now` the sender's clock as it sends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wxbridge.config.hosts import host_name
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_number, as_text, read_json
from wxbridge.hosts.samples import Sample

MAX_SAMPLES_PER_BODY = 2_200
"""Six hours at every 10 s."""
MAX_FIGURES_PER_SAMPLE = 200
_FIGURE = re.compile(r"[^\x00-\x1f\x7f]{1,120}")
_MAX_PROCESSES = 10


@dataclass(frozen=True)
class PushedSamples:
    """Samples of one machine."""

    host: str
    every: float
    """Seconds."""
    sent_at: float | None
    """The sender's clock as it sent this, seconds since the epoch."""
    samples: tuple[Sample, ...]
    about: Mapping[str, float | str] = field(default_factory=dict)
    busiest: Mapping[str, tuple[tuple[str, int, float], ...]] = field(default_factory=dict)


def read_pushed(body: bytes) -> PushedSamples | None:
    """Read samples; None where the body is something else, such as alerts.

    Raises:
        BadBody: it is no JSON, or samples that cannot be read.
    """
    # Bodies of alerts come often and may be large: these are not decoded twice.
    if b'"samples"' not in body:
        return None
    data = read_json(body)
    if not isinstance(data, dict) or not isinstance(data.get("samples"), list):
        return None
    try:
        host = host_name(as_text(data.get("host")))
    except ValueError as error:
        raise BadBody(f"`host`: {error}") from None
    every = as_number(data.get("every", 10)) or 0.0
    if not 1 <= every <= 600:  # noqa: PLR2004 - as in the settings
        raise BadBody("`every` is the interval of the samples in seconds, from 1 to 600.")
    if len(data["samples"]) > MAX_SAMPLES_PER_BODY:
        raise BadBody(f"There are {len(data['samples'])} samples; send {MAX_SAMPLES_PER_BODY} at most in one body.")
    sent_at = as_number(data.get("now"))
    return PushedSamples(
        host,
        every,
        sent_at if sent_at is not None and math.isfinite(sent_at) else None,
        tuple(sorted(map(_sample, data["samples"]), key=lambda sample: sample.at)),
        dict(_about(data.get("about"))),
        {kind: tuple(_processes(data.get("busiest"), kind)) for kind in ("cpu", "memory")},
    )


def _sample(item: Any) -> Sample:
    at = as_number(item.get("at")) if isinstance(item, dict) else None
    figures = item.get("figures") if isinstance(item, dict) else None
    if at is None or not math.isfinite(at) or not isinstance(figures, dict):
        raise BadBody("A sample is an object with `at` (seconds since 1970) and `figures` (an object of numbers).")
    if len(figures) > MAX_FIGURES_PER_SAMPLE:
        raise BadBody(f"A sample has {len(figures)} figures; send {MAX_FIGURES_PER_SAMPLE} at most.")
    numbers = {name: as_number(value) for name, value in figures.items() if _FIGURE.fullmatch(name)}
    return Sample(at, {name: number for name, number in numbers.items() if number is not None and _sane(number)})


def _sane(number: float) -> bool:
    """Whether it fits into four bytes."""
    return math.isfinite(number) and abs(number) < 1e37  # noqa: PLR2004 - a float's largest is 3.4e38


def _about(item: Any) -> Iterator[tuple[str, float | str]]:
    for name, value in list(item.items())[:20] if isinstance(item, dict) else ():
        if isinstance(value, int | float) and not isinstance(value, bool) and _sane(value):
            yield name[:40], float(value)
        elif isinstance(value, str):
            yield name[:40], as_text(value)[:200]


def _processes(item: Any, kind: str) -> Iterator[tuple[str, int, float]]:
    found = item.get(kind) if isinstance(item, dict) else None
    for each in found[:_MAX_PROCESSES] if isinstance(found, list) else ():
        if isinstance(each, list) and len(each) == 3:  # noqa: PLR2004 - name, id, amount
            pid, amount = as_number(each[1]), as_number(each[2])
            if pid is not None and amount is not None and _sane(pid) and _sane(amount):
                yield as_text(each[0])[:40], int(pid), amount
