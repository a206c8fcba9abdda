"""Reading and filling templates, in the sandbox of `core.text.sandbox`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jinja2

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
from wxbridge.alerts.template_folder import TemplateError, TemplateFolder
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text import units
from wxbridge.core.text.sandbox import find_unknown_names, join_limited, limited, make_environment
from wxbridge.core.text.units import format_number

MAX_ALERTS_PER_TEMPLATE = 500
"""How many alerts of a group a template is given, the worst; `more` counts the others."""
_UNDEFINED = re.compile(r"'(\w+)' is undefined")


class TemplateRenderer:
    """Checks and fills the templates of a folder, and texts that are in none."""

    def __init__(self, folder: TemplateFolder) -> None:
        self._folder = folder
        self._environment = make_environment(jinja2.FileSystemLoader(folder.path, encoding="utf-8"))
        self._environment.filters |= self._helpers()

    def check(self, name: str) -> None:
        """Read a template without rendering it.

        Raises:
            TemplateError: it is broken, or asks for a name that none has.
        """
        path = self._load(name).filename or name
        known = self._variables(AlertGroup("", "", ""), "", datetime.now(UTC), None)
        unknown = find_unknown_names(self._environment, Path(path).read_text(encoding="utf-8"), known)
        for wrong, line in unknown[:1]:
            close = get_close_matches(wrong, known, 1)
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
        file = self._folder.find(name)
        if file is None:
            there = ", ".join(self._folder.names()) if self._folder.path.is_dir() else ""
            raise TemplateError(
                f"there is no template {name!r} in {self._folder.path}; there are {there or 'none'}. "
                "A template is named by its file, without `..`"
            )
        try:
            return self._environment.get_template(file)
        except (jinja2.TemplateError, OSError, ValueError, RecursionError) as error:
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: BaseException) -> TemplateError:
        where = self._where(error) or str(self._folder.path / (self._folder.find(name) or name))
        if isinstance(error, jinja2.TemplateNotFound):
            return TemplateError(f"{where}: there is no template {error.name!r} in {self._folder.path}")
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
        if isinstance(error, jinja2.TemplateSyntaxError) and (error.filename or error.name):
            return f"{error.filename or self._folder.path / str(error.name)}:{error.lineno}"
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
            "title": write_headline(group, self._folder.language) if alerts else group.title,
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
            "builtin": write_text(group, self._folder.language, self._folder.timezone, now, pages),
            "now": now.astimezone(self._folder.timezone),
            "language": self._folder.language,
            "since": lambda alert: write_times(alert, self._folder.language, self._folder.timezone, now),
        }

    def _helpers(self) -> dict[str, Any]:
        language, timezone = self._folder.language, self._folder.timezone

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
