"""Texts in the team's own words: jinja2 templates in a folder, beside the built-in text.

A template is written by whoever writes jobs.yaml; what it is filled with comes from outside. It runs in a
sandbox (`core.text.sandbox`), and a mistake costs at most the template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wxbridge.alerts.alert_text import (
    MAX_LABELS_SHOWN,
    find_common,
    write_figure,
    write_headline,
    write_labels,
    write_text,
    write_times,
)
from wxbridge.alerts.links import AlertPages, links_of
from wxbridge.alerts.severity import (
    EMOJI,
    MESSAGE_EMOJI,
    emoji_of,
    find_spokesman,
    severity_name,
    worst_first,
    worst_status,
)
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_number

if TYPE_CHECKING:  # a bridge without templates has no use for it
    import jinja2

DEFAULT_TEMPLATE = "default"
"""The template that takes the place of the built-in text for everybody, where the folder has it."""
TEMPLATE_ENDINGS = ("", ".j2", ".txt", ".txt.j2")
"""What a template's file may end in; jobs.yaml names it with or without."""
MAX_ALERTS_PER_TEMPLATE = 500
"""How many alerts of a group a template is given, the worst; `more` counts the others."""
_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_NAME = re.compile(r"\w[\w .-]*(?:/\w[\w .-]*)*")


class TemplateError(WxbridgeError):
    """A template cannot be used. The text says the file, the line and what is wrong."""


class Templates:
    """The templates of a folder, which need not exist. A changed file is read again by itself."""

    def __init__(self, folder: Path, language: Language, timezone: tzinfo) -> None:
        self.folder = folder
        self.language: Language = language
        self.timezone = timezone
        self._default = 0, False
        """When the folder last changed, in nanoseconds, and whether it had a default then."""

    @cached_property
    def _environment(self) -> jinja2.Environment:
        import jinja2

        from wxbridge.core.text.sandbox import make_environment

        environment = make_environment(jinja2.FileSystemLoader(self.folder, encoding="utf-8"))
        environment.filters |= self._helpers()
        return environment

    def names(self) -> list[str]:
        """The files of the folder that jobs.yaml may name."""
        files = (path.relative_to(self.folder) for path in sorted(self.folder.rglob("*")) if path.is_file())
        return [str(file) for file in files if _NAME.fullmatch(str(file))]

    def find(self, name: str) -> str | None:
        """The file that a name means, relative to the folder; None where there is none."""
        if not _NAME.fullmatch(name):
            return None
        try:
            return next(
                (name + ending for ending in TEMPLATE_ENDINGS if (self.folder / (name + ending)).is_file()), None
            )
        except OSError:
            # A folder that may not be entered, a name that no file can have.
            return None

    def has_default(self) -> bool:
        """Whether the folder has a template for everybody. Cheap: it is asked for every alert."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            return False
        if changed != self._default[0]:
            self._default = changed, self.find(DEFAULT_TEMPLATE) is not None
        return self._default[1]

    def check(self, name: str) -> None:
        """Read a template without rendering it.

        Raises:
            TemplateError: it is broken, or asks for a name that none has.
        """
        from wxbridge.core.text.sandbox import find_unknown_names

        path = self._load(name).filename or name
        known = self._variables(AlertGroup("", "", ""), "", datetime.now(UTC), None)
        unknown = find_unknown_names(self._environment, Path(path).read_text(encoding="utf-8"), known)
        for wrong, line in unknown[:1]:
            import difflib

            close = difflib.get_close_matches(wrong, known, 1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(known)}"
            hint = f"it is a filter, write `… | {wrong}`" if wrong in self._environment.filters else hint
            raise TemplateError(f"{path}:{line}: nothing is called `{wrong}`; {hint}")

    def render(
        self,
        name: str,
        group: AlertGroup,
        target: str,
        now: datetime,
        pages: AlertPages | None = None,
        escape: Callable[[str], str] | None = None,
    ) -> str:
        """Fill a template with a group for a target, as of `now`; `pages` as for `write_text`.

        `escape` is what is done to each text that it is filled with: where it is markdown, its own marks stay.

        Raises:
            TemplateError: there is no such template, it is broken, it asks for what there is not, it takes too
                much, or it makes no text.
        """
        from wxbridge.core.text.sandbox import join_limited, limited

        try:
            with limited(escape):
                template = self._load(name)
                text = join_limited(template.generate(self._variables(group, target, now, pages)))
        except TemplateError:
            raise
        except Exception as error:
            # Whatever goes wrong in a template is the template's, and the alert goes out all the same.
            raise self._broken(name, error) from error
        if not text:
            raise TemplateError(f"{template.filename}: it makes no text for this alert")
        return text

    def render_text(self, source: str, group: AlertGroup, target: str, now: datetime) -> str:
        """Fill a template that is in no file, as somebody writes it.

        Raises:
            TemplateError: as `render`; the text says the line.
        """
        import jinja2

        from wxbridge.core.text.sandbox import join_limited, limited

        try:
            with limited():
                template = self._environment.from_string(source)
                return join_limited(template.generate(self._variables(group, target, now, None)))
        except jinja2.TemplateError as error:
            line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else self._line(error)
            raise TemplateError(f"{line}: {error.message or error}{self._hint(error)}") from error
        except Exception as error:
            raise TemplateError(f"{self._line(error)}: {type(error).__name__}: {str(error)[:300]}") from error

    def _line(self, error: BaseException) -> str:
        """The line of a template where something went wrong, the innermost."""
        return (self._where(error) or ":1").rpartition(":")[2]

    def _load(self, name: str) -> jinja2.Template:
        file = self.find(name)
        if file is None:
            there = ", ".join(self.names()) if self.folder.is_dir() else ""
            raise TemplateError(
                f"there is no template {name!r} in {self.folder}; there are {there or 'none'}. "
                "A template is named by its file, without `..`"
            )
        import jinja2

        try:
            return self._environment.get_template(file)
        except (jinja2.TemplateError, OSError, ValueError, RecursionError) as error:
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: BaseException) -> TemplateError:
        import jinja2

        where = self._where(error) or str(self.folder / (self.find(name) or name))
        if isinstance(error, jinja2.TemplateNotFound):
            return TemplateError(f"{where}: there is no template {error.name!r} in {self.folder}")
        if isinstance(error, jinja2.TemplateError):
            return TemplateError(f"{where}: {error.message or error}{self._hint(error)}")
        if isinstance(error, RecursionError):
            return TemplateError(f"{where}: it calls or includes itself without end")
        return TemplateError(f"{where}: {type(error).__name__}: {str(error)[:300]}")

    def _hint(self, error: jinja2.TemplateError) -> str:
        """For those who call a filter like a function."""
        found = _UNDEFINED.fullmatch(error.message or "")
        name = found[1] if found else ""
        return f"; it is a filter, write `… | {name}`" if name in self._environment.filters else ""

    def _where(self, error: BaseException) -> str | None:
        """`FILE:LINE` of a template, where the error tells it."""
        import jinja2

        if isinstance(error, jinja2.TemplateSyntaxError) and (error.filename or error.name):
            return f"{error.filename or self.folder / str(error.name)}:{error.lineno}"
        found, trace = None, error.__traceback__
        while trace is not None:
            # jinja2 rewrites the frames of a template to its file and line, and marks them so.
            if "__jinja_exception__" in trace.tb_frame.f_globals:
                found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        return found

    def _variables(self, group: AlertGroup, target: str, now: datetime, pages: AlertPages | None) -> dict[str, Any]:
        """What a template is given."""
        alerts = worst_first(group.alerts)
        given = alerts[:MAX_ALERTS_PER_TEMPLATE]
        links = [links_of(alert, pages) for alert in given]
        spokesman = find_spokesman(alerts) if alerts else None
        return {
            "title": write_headline(group, self.language) if alerts else group.title,
            "status": worst_status(alerts).value if alerts else "",
            "mark": emoji_of(spokesman) if spokesman else MESSAGE_EMOJI,
            "severity": severity_name(spokesman) if spokesman else "",
            "alerts": given,
            "more": len(alerts) - len(given) + group.truncated,
            "firing": sum(alert.status is not AlertStatus.RESOLVED for alert in alerts),
            "resolved": sum(alert.status is AlertStatus.RESOLVED for alert in alerts),
            "labels": find_common([alert.labels for alert in alerts]),
            "annotations": find_common([alert.annotations for alert in alerts]),
            "link": next((shown.main for shown in links if shown.main), ""),
            "graph": next((shown.graph for shown in links if shown.graph), ""),
            "text": group.text or "",
            "source": group.source,
            "group": group,
            "target": target,
            "builtin": write_text(group, self.language, self.timezone, now, pages),
            "now": now.astimezone(self.timezone),
            "language": self.language,
            "since": lambda alert: write_times(alert, self.language, self.timezone, now),
        }

    def _helpers(self) -> dict[str, Any]:
        language, timezone = self.language, self.timezone

        def figure(value: Any, unit: str = "") -> str:
            if isinstance(value, Value):
                return write_figure(value, language, unit)
            return units.format_quantity(value if isinstance(value, int) else float(value), unit, language)

        def local_time(at: datetime | None, pattern: str = "%m-%d %H:%M") -> str:
            return at.astimezone(timezone).strftime(pattern) if at else ""

        def duration(span: Any) -> str:
            seconds = span.total_seconds() if hasattr(span, "total_seconds") else float(span)
            return units.format_duration(seconds, language)

        def emoji(of: Any) -> str:
            return emoji_of(of) if isinstance(of, Alert) else EMOJI.get(AlertStatus(of), "")

        def labels(of: Mapping[str, str], most: int = MAX_LABELS_SHOWN) -> str:
            word = of.get("severity")
            rest = {name: text for name, text in of.items() if name != "severity"}
            return write_labels(rest, most=most, first=[word] if word else [])

        return {
            "number": lambda value: format_number(value if isinstance(value, int) else float(value)),
            "figure": figure,
            "duration": duration,
            "local_time": local_time,
            "emoji": emoji,
            "severity": severity_name,
            "labels": labels,
            "worst_first": worst_first,
        }


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
            return RenderedText(templates.render(chosen, group, target, now, pages, escape))
        except TemplateError as error:
            problem = str(error)
    text = write_text(group, templates.language, templates.timezone, now, pages)
    if problem:
        text = f"{say('alerts.template_failed', templates.language)}\n\n{text}"
    return RenderedText(escape(text) if escape else text, problem)
