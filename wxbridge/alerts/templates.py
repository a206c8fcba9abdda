"""Texts in the team's own words: jinja2 templates in a folder, beside the built-in text.

A template is written by whoever writes jobs.yaml; what it is filled with comes from outside. It runs in a
sandbox (`core.text.sandbox`), and a mistake costs at most the template.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.links import AlertPages
from wxbridge.alerts.template_folder import DEFAULT_TEMPLATE, TemplateError, TemplateFolder
from wxbridge.core.model import AlertGroup
from wxbridge.core.text.i18n import say

if TYPE_CHECKING:
    from wxbridge.alerts.template_rendering import TemplateRenderer


class Templates(TemplateFolder):
    """The templates of a folder, to be filled. A changed file is read again by itself."""

    @cached_property
    def renderer(self) -> TemplateRenderer:
        """What reads and fills them."""
        from wxbridge.alerts.template_rendering import TemplateRenderer  # a bridge without templates needs no jinja2

        return TemplateRenderer(self)


class RenderedText(NamedTuple):
    """The text of a group, and what went wrong with its template where something did."""

    text: str
    problem: str | None = None


def render_or_explain(
    templates: Templates,
    name: str | None,
    group: AlertGroup,
    target: str,
    now: datetime,
    pages: AlertPages | None = None,
    escape: Callable[[str], str] | None = None,
) -> RenderedText:
    """Write the text of a group for a target, as markdown where `escape` makes that of a plain text.

    `name` is the template of the route or target; without one, that of the folder's `default` is taken, else the
    built-in text. Never raises: where a template fails, the built-in text stands below a line that says so.
    """
    chosen = name or (DEFAULT_TEMPLATE if templates.has_default() else None)
    problem = None
    if chosen is not None:
        try:
            return RenderedText(templates.renderer.render(chosen, group, target, now, pages, escape))
        except TemplateError as error:
            problem = str(error)
    text = write_text(group, templates.language, templates.timezone, now, pages)
    if problem:
        text = f"{say('alerts.template_failed', templates.language)}\n\n{text}"
    return RenderedText(escape(text) if escape else text, problem)
