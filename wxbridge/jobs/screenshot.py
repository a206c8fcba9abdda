"""The job kind `screenshot`: a page as the browser shows it, whole, sent and archived."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import Field

from wxbridge.errors import PictureError
from wxbridge.jobs import JobContext, JobKind
from wxbridge.jobs.text import TemplateText, render
from wxbridge.model import Picture, PictureSpec, Text
from wxbridge.pictures import archive
from wxbridge.settings import Duration, JobSettings

log = structlog.get_logger()

_PAGE_KEYS = (
    "width",
    "height",
    "scale",
    "theme",
    "kiosk",
    "timezone",
    "wait_for",
    "selector",
    "full_page",
    "deadline",
)


class ScreenshotJob(JobSettings):
    """Photograph a page."""

    kind: Literal["screenshot"]
    url: str
    """An address, or a path below `grafana.url`."""
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
    deadline: Duration | None = None
    """How long the page may take; `pictures.deadline` when not given."""
    archive: str | None = None
    """Where a copy is kept, with strftime fields: `res/%Y/%m/%d/%H.png`."""
    keep: Duration = 30 * 86400.0
    """How long copies are kept."""


def page_spec(url: str, job: ScreenshotJob, timezone: str) -> PictureSpec:
    """What to draw for a page."""
    params: dict[str, Any] = {name: getattr(job, name) for name in _PAGE_KEYS if getattr(job, name) is not None}
    return PictureSpec("page", {"timezone": timezone, **params, "url": url}, link=url)


async def run(context: JobContext, job: ScreenshotJob) -> Sequence[Text | Picture]:
    """Take the picture, and keep a copy where the job says so."""
    spec = page_spec(job.url, job, str(context.now.tzinfo))
    png = await context.draw(spec)
    if job.archive:
        pattern = str(Path(str(context.base).replace("%", "%%")) / job.archive)
        try:
            await asyncio.to_thread(archive.archive, pattern, context.now, png)
            await asyncio.to_thread(archive.prune, pattern, job.keep, context.now)
        except (OSError, PictureError) as error:
            # The room gets its picture even where the archive's disk is full.
            log.error("the copy could not be kept", job=job.id, error=str(error))  # noqa: TRY400
    picture = await context.keep(png, f"{job.id}.png")
    return [Text(render(job.text, context)), picture] if job.text else [picture]


KIND = JobKind(ScreenshotJob, run)
