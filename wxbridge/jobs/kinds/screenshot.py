"""The job kind `screenshot`: a page as the browser shows it, whole, sent and archived.

A dashboard may be sent row by row (`split`), once for each combination of its variables (`variables`), and beside
itself at an earlier time (`compare`).
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, tzinfo
from math import prod
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import structlog
from pydantic import Field, ValidationInfo, field_validator

from wxbridge.config.types import Duration, JobSettings, Names, OrgId
from wxbridge.core.errors import PictureError
from wxbridge.core.model import Picture, Text
from wxbridge.core.pictures import PageRequest
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say, say_list
from wxbridge.core.text.units import format_duration
from wxbridge.jobs import JobContext, JobKind
from wxbridge.jobs.kinds.text import TemplateText, render
from wxbridge.monitors.dashboards import ALL_VALUES
from wxbridge.pictures.archive import archive_picture, prune_archive
from wxbridge.pictures.pages.address import TimeRange, read_range, with_range, with_variables
from wxbridge.pictures.pages.compare import side_by_side
from wxbridge.pictures.pages.parts import cut_picture, read_missing

log = structlog.get_logger()

MAX_COMBINATIONS = 12
"""The most combinations of `variables`: each takes the browser some seconds, and the room some patience."""
_MIN_SHIFT_SECONDS = 60
_DAY_SECONDS = 86400


class ScreenshotJob(JobSettings):
    """Photograph a page."""

    kind: Literal["screenshot"]
    url: str
    """An address, or a path below `grafana.url`."""
    org: OrgId | None = None
    """The organisation of Grafana that has the dashboard; that of the `url`, else the account's own, when not given."""
    text: TemplateText | None = None
    """A text to send before it."""
    width: Annotated[int, Field(ge=200, le=7680)] = 1440
    """CSS pixels."""
    height: Annotated[int, Field(ge=100, le=16000)] | None = None
    """CSS pixels at least; the whole page is taken where it is longer."""
    scale: Annotated[float, Field(ge=0.5, le=4)] = 1.0
    """Device pixels for one CSS pixel; 2 is sharper on a phone."""
    full_page: bool = True
    """Whether to take what can be scrolled to as well."""
    theme: Literal["light", "dark"] | None = None
    kiosk: bool = True
    """Grafana without its menus."""
    timezone: str | None = None
    """That the page believes to be in; the bridge's own when not given."""
    wait_for: str | None = None
    """A CSS selector that must be visible before the picture is taken."""
    selector: str | None = None
    """A CSS selector of the part to take."""
    expand: bool = True
    """Whether the collapsed rows of a Grafana dashboard are opened first."""
    split: Literal["rows"] | None = None
    """`rows`: several pictures, cut where the dashboard's rows begin, none much taller than a phone's screen."""
    variables: dict[str, Names] = Field(default_factory=dict)
    """Values of the dashboard's variables, as in `host: [a, b]`: a picture for each combination, 12 at most."""
    compare: Duration | None = None
    """How much earlier, such as `1d`, the dashboard is shown beside itself. The `url` then says its range (`from=`)."""
    deadline: Duration | None = None
    """How long the page may take; `pictures.deadline` when not given."""
    archive: str | None = None
    """Where a copy is kept, with strftime fields: `res/%Y/%m/%d/%H.png`."""
    keep: Duration = 30 * 86400.0
    """How long copies are kept."""

    @field_validator("variables")
    @classmethod
    def _few_combinations(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, values in value.items():
            if not re.fullmatch(r"\w+", name):
                raise ValueError(f"{name!r} is no variable's name; write it without `var-` and `$`, such as `host`")
            if not values:
                raise ValueError(f"the variable {name!r} has no values; give one, or a list")
        count = prod(map(len, value.values()))
        if count > MAX_COMBINATIONS:
            raise ValueError(f"these make {count} pictures, and at most {MAX_COMBINATIONS} are sent: use several jobs")
        return value

    @field_validator("compare")
    @classmethod
    def _comparable(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is not None and value < _MIN_SHIFT_SECONDS:
            raise ValueError("compare with at least a minute earlier, such as 1d or 7d")
        if value is not None and "url" in info.data:
            read_range(info.data["url"], datetime.now(UTC))
        return value


def page_request(url: str, job: ScreenshotJob, timezone: str) -> PageRequest:
    """What to draw for a page. `timezone` is the page's where the job names none."""
    said = job.model_dump(include={each.name for each in fields(PageRequest)}, exclude_none=True)
    fixed = {"url": url, "org": str(job.org or ""), "marks": job.split is not None}
    return PageRequest(**{"timezone": timezone, **said, **fixed})


async def run(context: JobContext, job: ScreenshotJob) -> Sequence[Text | Picture]:
    """Take the pictures, one after the other, and keep copies where the job says so.

    Of several combinations of variables one that fails becomes a line that says why.

    Raises:
        PictureError: none could be taken.
    """
    bodies: list[Text | Picture] = [Text(render(job.text, context))] if job.text else []
    failed = 0
    combinations = list(itertools.product(*job.variables.values()))
    for values in combinations:
        combination = _Combination(context, job, dict(zip(job.variables, values, strict=True)))
        try:
            taken = await combination.take()
        except PictureError as error:
            failed += 1
            if failed == len(combinations):
                raise
            log.error("one of several pictures failed", job=job.id, picture=combination.caption, error=str(error))  # noqa: TRY400
            language, reason = context.language, tell_error(str(error), context.language)
            bodies.append(Text(say("jobs.screenshot.no_part", language, what=combination.caption, reason=reason)))
            continue
        caption = [combination.caption] if combination.caption else []
        if taken.missing:
            caption.append(say("pictures.missing", context.language, titles=say_list(taken.missing, context.language)))
        if caption:
            bodies.append(Text("\n".join(caption)))
        bodies += taken.pictures
    return bodies


@dataclass(frozen=True)
class _Combination:
    """One combination of variables, and its pictures."""

    context: JobContext
    job: ScreenshotJob
    variables: Mapping[str, str]

    @property
    def caption(self) -> str:
        """The line before its pictures; empty without variables."""
        everything = say("grafana.all", self.context.language)
        values = {name: everything if value == ALL_VALUES else value for name, value in self.variables.items()}
        return ", ".join(f"{name}={value}" for name, value in values.items())

    async def take(self) -> _Taken:
        """Draw, keep a copy of the whole, cut. Raises `PictureError`."""
        job = self.job
        url = with_variables(job.url, self.variables) if self.variables else job.url
        drawn = await (self._draw_whole(url) if job.compare is None else self._draw_twice(url, job.compare))
        if job.archive:
            await self._archive(job.archive, drawn.whole)
        parts = drawn.parts
        stem = "-".join([job.id, *(_file_name_part(value) for value in self.variables.values())])
        names = [f"{stem}-{number}.png" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [f"{stem}.png"]
        pictures = [await self.context.keep(part, name) for part, name in zip(parts, names, strict=True)]
        return _Taken(pictures, drawn.missing)

    async def _draw(self, url: str) -> bytes:
        zone = str(self.context.now.tzinfo)
        return await self.context.draw(page_request(url, self.job, zone).to_spec(url))

    async def _draw_whole(self, url: str) -> _Drawn:
        whole = await self._draw(url)
        parts = [whole]
        if self.job.split is not None:
            parts = await asyncio.to_thread(cut_picture, whole, url.partition("?")[0])
        return _Drawn(whole, parts, read_missing(whole))

    async def _draw_twice(self, url: str, seconds: float) -> _Drawn:
        """Draw a dashboard now and earlier, one after the other, and put both side by side."""
        try:
            now = read_range(url, self.context.now.astimezone(self._zone()))
            then = now.before(seconds)
        except (ValueError, OverflowError) as error:
            raise PictureError(f"`compare`: {error}") from None
        pictures = [await self._draw(with_range(url, span)) for span in (now, then)]
        language = self.context.language
        labels = [_label(say("jobs.screenshot.now", language), now), _label(_before(seconds, language), then)]
        name = url.partition("?")[0]
        beside = await asyncio.to_thread(_put_beside, pictures, labels, name, split=self.job.split is not None)
        return replace(beside, missing=tuple(dict.fromkeys(title for each in pictures for title in read_missing(each))))

    def _zone(self) -> tzinfo | None:
        """The time zone of the page, in which Grafana rounds `now/d`."""
        try:
            return ZoneInfo(self.job.timezone) if self.job.timezone else self.context.now.tzinfo
        except (KeyError, ValueError, OSError):
            raise PictureError(f"{self.job.timezone!r} is no time zone; write one like Asia/Shanghai") from None

    async def _archive(self, where: str, png: bytes) -> None:
        job, context = self.job, self.context
        pattern = str(Path(str(context.base).replace("%", "%%")) / where)
        if self.variables:
            values = "-".join(_file_name_part(value) for value in self.variables.values())
            path = Path(pattern)
            pattern = str(path.with_name(f"{path.stem}-{values}{path.suffix}"))
        try:
            await asyncio.to_thread(archive_picture, pattern, context.now, png)
            await asyncio.to_thread(prune_archive, pattern, job.keep, context.now)
        except (OSError, PictureError) as error:
            # The room gets its picture even where the archive's disk is full.
            log.error("the copy could not be kept", job=job.id, error=str(error))  # noqa: TRY400


@dataclass(frozen=True)
class _Drawn:
    """A picture, and the parts in which it is sent."""

    whole: bytes
    parts: list[bytes]
    missing: tuple[str, ...] = ()
    """The titles of the panels and tabs that are not in it."""


@dataclass(frozen=True)
class _Taken:
    """The pictures of a combination, and the titles of what is not in them."""

    pictures: list[Picture]
    missing: tuple[str, ...]


def _put_beside(pictures: Sequence[bytes], labels: Sequence[str], name: str, *, split: bool) -> _Drawn:
    """Put pictures side by side; in parts each row beside the same row, where both have the same number of them."""
    whole = side_by_side(list(zip(pictures, labels, strict=True)), name)
    if not split:
        return _Drawn(whole, [whole])
    rows = [cut_picture(png, name) for png in pictures]
    if len({len(parts) for parts in rows}) > 1:
        return _Drawn(whole, [whole])
    return _Drawn(
        whole, [side_by_side(list(zip(parts, labels, strict=True)), name) for parts in zip(*rows, strict=True)]
    )


def _label(words: str, span: TimeRange) -> str:
    end = span.end.strftime("%H:%M" if span.end.date() == span.start.date() else "%m-%d %H:%M")
    return f"{words} · {span.start:%m-%d %H:%M} – {end}"


def _before(seconds: float, language: Language) -> str:
    """`1 day before`, `2 h before`."""
    days, rest = divmod(seconds, _DAY_SECONDS)
    day = "jobs.screenshot.one_day" if days == 1 else "jobs.screenshot.days"
    span = format_duration(seconds, language) if rest else say(day, language, n=int(days))
    return say("jobs.screenshot.before", language, span=span)


def _file_name_part(value: str) -> str:
    """A variable's value as a part of a file's name."""
    return re.sub(r"[^\w.]+", "_", value).strip("._")[:40] or "_"


KIND = JobKind(ScreenshotJob, run, needs_browser=True)
