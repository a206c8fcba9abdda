"""The `host:` section of jobs.yaml: what is measured, and from where on it is too much."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from wxbridge.config.types import FORM, Duration, Names, Section

CLEAR_SHARE = 0.95
"""The share of `above` below which a figure is well again, where `clear` is not given."""
_NAME = re.compile(r"[\w.:-]{1,64}")
_ALL = 100.0
"""Percent."""


_For = Annotated[
    Duration, WithJsonSchema({"type": "string", FORM: "duration", "examples": ["50s", "5m"]}), Field(le=6 * 3600)
]


def host_name(value: str) -> str:
    """Check the name of a machine. Raises `ValueError`."""
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value[:80]!r} is no name for a machine; use letters, digits, dots, -, : and _ (64 at most)")
    return value


HostName = Annotated[str, AfterValidator(host_name)]


class HostThreshold(Section):
    """From where on a figure is too high."""

    above: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """A warning is given where the mean over `for` reaches this."""
    hold: _For | None = Field(default=None, alias="for")
    """Of how long the mean is taken; that of the section when not given."""
    clear: float | None = None
    """It is over where the mean is below this; 95 % of `above` when not given."""
    severity: str = "warning"
    """The label `severity` of the warning, for routes."""

    @model_validator(mode="after")
    def _clear_is_not_above(self) -> HostThreshold:
        if self.clear is not None and self.clear > self.above:
            raise ValueError(f"`clear` ({self.clear:g}) is above `above` ({self.above:g}), and so would never hold")
        return self


def _threshold(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"above": value}
    if not isinstance(value, Mapping | HostThreshold):
        why = f"a threshold is a number, such as 80, or a mapping with `above`, not {value!r}"
        raise ValueError(why)  # noqa: TRY004 - pydantic tells no other
    return value


def _percent(value: HostThreshold) -> HostThreshold:
    if value.above > _ALL:
        raise ValueError(f"it is in percent: {value.above:g} is never reached")
    return value


ThresholdField = Annotated[HostThreshold, BeforeValidator(_threshold, json_schema_input_type=float | HostThreshold)]
"""A number, or a mapping with `above`, `for`, `clear` and `severity`."""
PercentField = Annotated[ThresholdField, AfterValidator(_percent)]
"""The same, in percent."""


class HostLimits(Section):
    """Thresholds by figure; `null` for none. `host.hosts` gives a single machine others."""

    cpu: PercentField | None = None
    """Percent of all cores together."""
    memory: PercentField | None = None
    """Percent that is not available to programs; caches are available."""
    swap: PercentField | None = None
    """Percent."""
    disk: PercentField | None = None
    """Percent of each file system, as `df` shows it. Its `severity` and `for` are also those of the warning that a
    disk is not mounted or does not answer; `null`: that is not warned of either."""
    inodes: PercentField | None = None
    """Percent of the inodes of each file system, as `df -i` shows them: without any left no file can be made."""
    load: ThresholdField | None = None
    """The load average of one minute; per core with `load_per_core`."""
    temperature: ThresholdField | None = None
    """°C of the hottest sensor."""
    hold: _For = Field(default=50.0, alias="for")
    """Of how long the mean is taken that a threshold is compared with. A gap in the samples is no evidence."""
    repeat: Annotated[Duration, Field(ge=0)] | None = 3600.0
    """How often a warning is given again while it lasts; `null`: never. One figure warns at most once in 5 minutes
    (in `repeat`, where that is shorter)."""


class HostSettings(HostLimits):
    """What is measured of this machine and of those that push, and when a warning is given."""

    cpu: PercentField | None = HostThreshold(above=80)
    """Percent of all cores together; 80 when not given."""
    memory: PercentField | None = HostThreshold(above=90)
    """Percent that is not available to programs; caches are available. 90 when not given."""
    disk: PercentField | None = HostThreshold(above=90)
    """Percent of each file system, as `df` shows it; 90 when not given. Its `severity` and `for` are also those of the
    warning that a disk is not mounted or does not answer; `null`: that is not warned of either."""
    inodes: PercentField | None = HostThreshold(above=90)
    """Percent of the inodes of each file system, as `df -i` shows them; 90 when not given. Without any left no file can
    be made."""
    name: HostName = Field(default_factory=lambda: safe_name(socket.gethostname()))
    """What this machine is called; its host name when not given."""
    measure: bool = True
    """Whether this machine is measured; false where the bridge only takes what other machines push."""
    every: Annotated[Duration, Field(ge=1, le=600)] = 10.0
    """How often it is measured."""
    disks: Names = ()
    """The mount points to look at; all file systems on disks of this machine when not given. One where nothing is
    mounted is told as that."""
    skip_sensors: Names = ()
    """Temperature sensors to leave out, by name (`acpitz`, `nvme Composite`, `coretemp*`), as a warning names them."""
    load_per_core: bool = False
    """Whether the threshold `load` is per core."""
    silent: Annotated[int, Field(ge=2, le=10_000)] = 6
    """After how many intervals without a sample a machine that pushes counts as silent."""
    silent_severity: str = "critical"
    """The label `severity` of the warning that a machine is silent."""
    picture: Literal["chart", "none"] = "chart"
    """Whether a warning brings the chart of the last minutes."""
    hosts: dict[HostName, HostLimits] = Field(default_factory=dict)
    """Other thresholds for single machines, by name; what is not given there is as for all."""


def safe_name(text: str) -> str:
    """A machine's own name as one that is allowed here."""
    return re.sub(r"[^\w.:-]+", "-", text)[:64].strip("-") or "host"


@dataclass(frozen=True)
class FigureLimit:
    """What one figure of one machine is held against."""

    above: float
    clear: float
    hold: float
    """Seconds."""
    repeat: float | None
    """Seconds."""
    severity: str = "warning"
    pause: float | None = None
    """Seconds between two warnings, at least; None where that is as for all."""


def resolve_limits(
    settings: HostSettings, host: str, figures: Mapping[str, object], cores: float
) -> dict[str, FigureLimit]:
    """What of these figures of a machine (`cpu`, `disk:/data`, `load1`, …) has a threshold."""
    found: dict[str, FigureLimit] = {}
    own = settings.hosts.get(host)
    given = own.model_fields_set if own else frozenset()

    def setting(key: str) -> Any:
        return getattr(own if key in given else settings, key)

    for figure in figures:
        kind = "load" if figure == "load1" else figure.partition(":")[0]
        is_state = kind in DISK_STATES
        if kind not in KINDS and not is_state:
            continue
        threshold: HostThreshold | None = setting("disk" if is_state else kind)
        if threshold is None:
            continue
        size = max(cores, 1.0) if kind == "load" and settings.load_per_core else 1.0
        clear = threshold.above * CLEAR_SHARE if threshold.clear is None else threshold.clear
        hold = setting("hold") if threshold.hold is None else threshold.hold
        above, clear = (1.0, 1.0) if is_state else (threshold.above * size, clear * size)
        # What a disk does is no figure that swings around its threshold.
        pause = hold if is_state else None
        found[figure] = FigureLimit(above, clear, hold, setting("repeat"), threshold.severity, pause)
    return found


KINDS = ("cpu", "memory", "swap", "disk", "inodes", "load", "temperature")
"""The figures that can have a threshold."""
DISK_STATES = ("disk_missing", "disk_unanswered")
"""Figures that are 1 where a disk is not mounted, or does not answer; not told where all is well."""
