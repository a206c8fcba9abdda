"""The job kind `text`: a jinja2 template, sent."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Annotated, Literal

from jinja2 import TemplateError
from pydantic import AfterValidator

from wxbridge.config.types import JobSettings
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Text
from wxbridge.core.text.sandbox import find_unknown_names, join_limited, limited, make_environment
from wxbridge.jobs import JobContext, JobKind

_environment = make_environment(is_trimmed=False)


def _template(source: str) -> str:
    try:
        _environment.from_string(source)
    except TemplateError as error:
        raise ValueError(f"the template is broken: {error}") from None
    return source


TemplateText = Annotated[str, AfterValidator(_template)]
"""A jinja2 template, checked when the file is read. It knows `now` (local time) and `host`."""


class TextJob(JobSettings):
    """Send a text."""

    kind: Literal["text"]
    text: TemplateText


def find_unknown(source: str) -> list[tuple[str, int]]:
    """Find the names in a template that no job has, each with its line."""
    return find_unknown_names(_environment, source, ("now", "host"))


def render(source: str, context: JobContext) -> str:
    """Fill a template. Raises `WxbridgeError` where it names what there is not."""
    try:
        with limited():
            template = _environment.from_string(source)
            now = context.now.replace(tzinfo=None, microsecond=0)
            return join_limited(template.generate(now=now, host=socket.gethostname()))
    except Exception as error:
        raise WxbridgeError(f"the template failed: {error}") from error


async def run(context: JobContext, job: TextJob) -> Sequence[Text]:
    """Render the template; an empty result sends nothing."""
    text = render(job.text, context)
    return [Text(text)] if text else []


KIND = JobKind(TextJob, run)
