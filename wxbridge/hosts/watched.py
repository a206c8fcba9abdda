"""One machine that is watched: its samples, its figures' limits and states, and what is kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wxbridge.config.hosts import DISK_STATES, FigureLimit, HostSettings, resolve_limits
from wxbridge.hosts.pushed import PushedSamples
from wxbridge.hosts.samples import MINUTES_KEPT_SECONDS, Host, HostHistory, Sample
from wxbridge.hosts.store import KeptHost
from wxbridge.hosts.thresholds import FigureState, ThresholdVerdict, apply_sample
from wxbridge.hosts.warnings import Busiest, HostEvent

MAX_CLOCK_SKEW_SECONDS = 5.0
"""Seconds that another machine's clock may differ from ours before its times are corrected."""


@dataclass
class WatchedHost:
    """One machine: what was measured of it, and how its figures stand."""

    history: HostHistory
    heard: float
    """When we heard of it last, by the monotonic clock; moved on while we ourselves did not listen."""
    about: Mapping[str, float | str] = field(default_factory=dict)
    states: dict[str, FigureState] = field(default_factory=dict)
    limits: dict[str, FigureLimit] = field(default_factory=dict)
    unsaved: list[Sample] = field(default_factory=list)
    last_sent: float = 0.0
    """The time of the newest sample by the sender's own clock: what is not newer was sent again."""
    heard_at: float = 0.0
    """When we heard of it last, in seconds since the epoch."""
    silent: FigureState = field(default_factory=FigureState)
    busiest: Busiest = field(default_factory=dict)
    busiest_at: float = 0.0
    """When it told its busiest processes; monotonic."""
    sender: str = ""
    """Whose token brought it in; empty for this machine."""
    known: dict[str, None] = field(default_factory=dict)
    """The figures that were looked up among the thresholds."""

    def find_limits(self, settings: HostSettings | None, name: str, *, is_local: bool) -> dict[str, FigureLimit]:
        """Find the limits of the figures that are known of it, which is called `name`; none without settings."""
        if settings is None:
            return {}
        cores = self.about.get("cores", 0)
        known = dict.fromkeys((*self.history.names, *self.known, *self.states))
        if is_local and settings.disks:
            # A disk that is not named any more is not measured either.
            known = {each: None for each in known if not _is_of_other_disk(each, settings.disks)}
        return resolve_limits(settings, name, known, float(cores) if isinstance(cores, int | float) else 0.0)

    def take(self, samples: Sequence[Sample]) -> list[HostEvent]:
        """Take samples, the oldest first; gives what there is to tell."""
        found: dict[str, list[HostEvent]] = {}
        for sample in samples:
            self.history.add(sample)
            self.unsaved.append(sample)
            for figure, limit in self.limits.items():
                value = _value_of(figure, sample)
                if value is None:
                    continue
                before = self.states.get(figure, FigureState())
                self.states[figure], change = apply_sample(before, sample.at, value, limit, self.history.every)
                if change is not None:
                    found.setdefault(figure, []).append(HostEvent(figure, change, limit))
        return [told for changes in found.values() if (told := _net(changes))]

    def select_fresh(self, found: PushedSamples, now: float) -> list[Sample]:
        """Select of what it pushed what it had not sent before, by our own clock."""
        shift = now - found.sent_at if found.sent_at is not None else 0.0
        shift = shift if abs(shift) > MAX_CLOCK_SKEW_SECONDS else 0.0
        if found.sent_at is not None and self.last_sent > found.sent_at:
            self.last_sent = 0.0  # its clock was set back
        fresh = [sample for sample in found.samples if sample.at > self.last_sent]
        if fresh:
            self.last_sent = fresh[-1].at
        moved = [Sample(sample.at + shift, sample.figures) for sample in fresh]
        return [sample for sample in moved if now - MINUTES_KEPT_SECONDS < sample.at <= now + MAX_CLOCK_SKEW_SECONDS]

    def as_host(self, name: str) -> Host:
        """Give it as others see it."""
        return Host(name, self.history, self.about, self.silent.since, self._thresholds(), self._exceeded())

    def as_kept(self, *, is_local: bool) -> KeptHost:
        """Give what is kept of it besides its samples."""
        return KeptHost(
            every=self.history.every,
            about=dict(self.about),
            states={
                figure: {"since": state.since, "told_at": state.told_at}
                for figure, state in {**self.states, "silent": self.silent}.items()
                if state.since is not None or state.told_at is not None
            },
            thresholds=self._thresholds(),
            exceeded=self._exceeded(),
            local=is_local,
            sender=self.sender,
        )

    def _thresholds(self) -> dict[str, float]:
        return {figure: limit.above for figure, limit in self.limits.items()}

    def _exceeded(self) -> dict[str, str]:
        """Give the severities of the thresholds that are exceeded now, or whose warning is not over."""
        last = self.history.last
        found = {}
        for figure, limit in self.limits.items():
            value = _value_of(figure, last) if last is not None else None
            if self.states.get(figure, FigureState()).since is not None or (value or 0.0) >= limit.above:
                found[figure] = limit.severity
        return found


def _net(changes: Sequence[HostEvent]) -> HostEvent | None:
    """What is told of several changes at once: samples that come late may tell of what is over already."""
    first, last = changes[0].change.verdict, changes[-1].change.verdict
    return (
        None
        if first is ThresholdVerdict.FIRING and last is ThresholdVerdict.RESOLVED and len(changes) > 1
        else changes[-1]
    )


def _is_of_other_disk(figure: str, disks: Sequence[str]) -> bool:
    kind, _, mount = figure.partition(":")
    return kind in ("disk", "inodes", *DISK_STATES) and mount not in disks


def _value_of(figure: str, sample: Sample) -> float | None:
    """A figure of a sample; that a disk is away is over where the sample tells anything else of the disk."""
    kind, _, mount = figure.partition(":")
    if figure not in sample.figures and kind in DISK_STATES:
        return 0.0 if any(f"{each}:{mount}" in sample.figures for each in ("disk", *DISK_STATES)) else None
    return sample.figures.get(figure)
