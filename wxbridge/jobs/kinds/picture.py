"""The job kind `picture`: a file or an address with strftime fields, such as `http://host/%Y/%-m/%-d/%-H.png`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from wxbridge.config.types import JobSettings
from wxbridge.core.model import Picture, PictureSpec, Text
from wxbridge.core.pictures import FILE, fetch_spec
from wxbridge.jobs import JobContext, JobKind
from wxbridge.jobs.kinds.text import TemplateText, render


class PictureJob(JobSettings):
    """Send a picture that something else has made."""

    one_of = (*JobSettings.one_of, ("url", "path"))
    kind: Literal["picture"]
    url: str | None = None
    """Its http(s) address; strftime fields are filled with the local time of the run."""
    path: str | None = None
    """Its file, likewise."""
    text: TemplateText | None = None
    """A text to send before it."""

    @model_validator(mode="after")
    def _one_place(self) -> PictureJob:
        if (self.url is None) == (self.path is None):
            raise ValueError("a picture job has one of `url` and `path`")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("`url` begins with http:// or https://; for a file write `path`")
        return self


async def run(context: JobContext, job: PictureJob) -> Sequence[Text | Picture]:
    """Fetch or read the picture of this hour."""
    where = context.now.strftime(job.url or job.path or "")
    # The operator wrote this address, so its host needs no second mention in `pictures.allow`.
    spec = fetch_spec(where, trusted=True) if job.url else PictureSpec(FILE, {"path": str(context.base / where)})
    picture = await context.keep(await context.draw(spec), where.rsplit("/", 1)[-1].split("?", 1)[0] or job.id)
    return [Text(render(job.text, context)), picture] if job.text else [picture]


KIND = JobKind(PictureJob, run)
