"""The job kind `host_report`: how machines were over the last hours, as text with levels and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from wxbridge.config.types import Duration, JobSettings, Names
from wxbridge.core.errors import PictureError, WxbridgeError
from wxbridge.core.model import Picture, Text
from wxbridge.hosts import chart, figures, store
from wxbridge.hosts.samples import Host
from wxbridge.jobs import JobContext, JobKind

Percent = Annotated[float, Field(ge=0, le=100)]
_DAY = 86400.0
SUMMARY_FROM_SECONDS = 12 * 3600.0
"""Seconds from which on a report is a summary: with the 95th percentile and the time above the second level."""


class HostReportJob(JobSettings):
    """Report how the machines were that `host:` watches."""

    kind: Literal["host_report"]
    hosts: Names = ()
    """Their names; all when not given."""
    period: Annotated[Duration, Field(ge=60, le=_DAY)] = 6 * 3600.0
    """The time to tell of, up to the run: `6h`. From `12h` on it is a summary, with percentiles and times; `1d` at
    most."""
    levels: tuple[Percent, Percent] = figures.DEFAULT_LEVELS
    """From where on a percentage is amber, and red."""
    chart: bool = True
    """Whether to send the chart of the period."""
    disks: bool = False
    """Whether the chart has the disks, too; likewise the following."""
    network: bool = False
    disk_io: bool = False
    load: bool = False
    temperature: bool = False
    swap: bool = False

    @model_validator(mode="after")
    def _rising(self) -> HostReportJob:
        if self.levels[0] > self.levels[1]:
            raise ValueError("of `levels` the first is the lower one: [30, 80]")
        return self


async def run(context: JobContext, job: HostReportJob) -> Sequence[Text | Picture]:
    """Read what was measured, and tell it; a machine's chart follows its text."""
    end = context.now.timestamp()
    known: list[Host] = await context.read(lambda connection: store.read_hosts(connection, end))
    chosen = _chosen(known, job.hosts)
    panels = [name for name in chart.OPTIONS if getattr(job, name)]
    zone = context.now.tzinfo
    assert zone is not None  # noqa: S101 - the context says so
    made: list[Text | Picture] = []
    texts: list[str] = []
    for host in chosen:
        start = end - job.period
        lines = figures.describe_host(
            host, start, end, context.language, zone, job.levels, long=job.period >= SUMMARY_FROM_SECONDS
        )  # fmt: skip
        texts.append("\n".join(lines))
        spec = chart.make_spec(
            host, start, end, language=context.language, timezone=zone, panels=panels, levels=job.levels
        ) if job.chart else None  # fmt: skip
        if spec is not None:
            try:
                png = await context.draw(spec)
            except PictureError as error:
                # The figures are told all the same.
                texts.append(f"⚠️ {error}")
            else:
                made.append(await context.keep(png, f"{host.name}.png"))
    return [Text("\n\n".join(texts), format="markdown"), *made]


def _chosen(known: Sequence[Host], names: Sequence[str]) -> list[Host]:
    """The machines that are reported.

    Raises:
        WxbridgeError: there are none, or one that nobody measures.
    """
    if not known:
        raise WxbridgeError("no machine has been measured; is there a `host:` section, and has the bridge run with it?")
    by_name = {host.name: host for host in known}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise WxbridgeError(f"no machine is called {unknown[0]!r}; there are {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else list(known)


KIND = JobKind(HostReportJob, run)
