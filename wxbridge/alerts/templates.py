"""Texts in the team's own words: jinja2 templates in a folder, beside the built-in text.

A template is written by whoever writes jobs.yaml; what it is filled with comes from outside. It runs in jinja2's
immutable sandbox, and a mistake costs at most the template: steps (loops and calls), repeated texts and the length
of what it writes are limited. Not covered is one expression that alone takes long, such as a filter over a text
of many megabytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from wxbridge.alerts.alert_text import (
    MAX_LABELS_SHOWN,
    find_common,
    write_figure,
    write_headline,
    write_labels,
    write_text,
    write_times,
)
from wxbridge.alerts.severity import EMOJI, emoji_of, worst_first, worst_status
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text import units
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_number

DEFAULT_TEMPLATE = "default"
"""The template that takes the place of the built-in text for everybody, where the folder has it."""
TEMPLATE_ENDINGS = ("", ".j2", ".txt", ".txt.j2")
"""What a template's file may end in; jobs.yaml names it with or without."""
MAX_ALERTS_PER_TEMPLATE = 500
"""How many alerts of a group a template is given, the worst; `more` counts the others."""
MAX_OUTPUT_CHARS = 100_000
"""Characters of what a template makes."""
MAX_STEPS = 50_000
"""Turns of loops, calls and included files of one rendering, all together."""
MAX_WRITTEN_CHARS = 10 * MAX_OUTPUT_CHARS
"""Characters that the expressions of one rendering write, also into what is never shown."""
MAX_RENDER_SECONDS = 2.0
"""For one rendering; looked at with each step and each text that is written."""
_UNDEFINED = re.compile(r"'(\w+)' is undefined")
_NAME = re.compile(r"\w[\w .-]*(?:/\w[\w .-]*)*")


class TemplateError(WxbridgeError):
    """A template cannot be used. The text says the file, the line and what is wrong."""


@dataclass
class _RenderingBudget:
    """What a rendering has left."""

    steps: int = MAX_STEPS
    written: int = MAX_WRITTEN_CHARS
    # The thread's own time: a busy machine is no fault of the template's.
    ends_at: float = field(default_factory=lambda: time.thread_time() + MAX_RENDER_SECONDS)

    def step(self) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise jinja2.TemplateRuntimeError(f"it takes more than {MAX_STEPS} steps")
        self._check_time()

    def write(self, characters: int) -> None:
        self.written -= characters
        if self.written < 0:
            raise jinja2.TemplateRuntimeError(f"it writes more than {MAX_WRITTEN_CHARS} characters")
        self._check_time()

    def _check_time(self) -> None:
        if time.thread_time() > self.ends_at:
            raise jinja2.TemplateRuntimeError(f"it takes more than {MAX_RENDER_SECONDS:g} seconds")


_budget: ContextVar[_RenderingBudget | None] = ContextVar("budget of a template", default=None)


def _step() -> None:
    budget = _budget.get()
    if budget:
        budget.step()


def _counted(items: Any) -> Iterator[Any]:
    for item in items:
        _step()
        yield item


def _written(value: Any) -> Any:
    budget = _budget.get()
    if budget and isinstance(value, str):
        budget.write(len(value))
    return "" if value is None else value


def _joined(texts: Iterable[Any]) -> str:
    """What `~` does, counted: a text that is doubled again and again would fill the memory."""
    text = "".join(map(str, texts))
    _written(text)
    return text


_SIZED = (str, list, tuple)
_MAX_EXPONENT = 1000
_MAX_PADDING_CHARS = 1000
"""Characters that a text may be padded to."""
_PADDING = {"center", "expandtabs", "ljust", "rjust", "zfill"}
_WIDE = re.compile(r"\d{4,}|\*")


def _check_width(pattern: Any, widths: Iterable[Any]) -> None:
    """Refuse what would pad a text without end, by a pattern (`%99999s`) or by a number."""
    wide = any(isinstance(width, int) and width > _MAX_PADDING_CHARS for width in widths)
    if wide or (isinstance(pattern, str) and _WIDE.search(pattern)):
        raise jinja2.TemplateRuntimeError(f"it pads a text to more than {_MAX_PADDING_CHARS} characters")


def _center(text: str, width: int = 80) -> str:
    _check_width(None, (width,))
    return text.center(width)


def _format(pattern: str, *arguments: Any, **named: Any) -> str:
    _check_width(pattern, ())
    return str(pattern) % (named or arguments)


def _indent(text: str, width: int = 4, first: bool = False) -> str:  # noqa: FBT001, FBT002 - jinja2's signature
    _check_width(None, (width,))
    lines = "\n".join(f"{' ' * width}{line}" if line else "" for line in text.splitlines())
    return lines if first else lines.lstrip(" ")


def _check_operation(operator: str, left: Any, right: Any) -> None:
    """Refuse what would make a text, a list or a number without end."""
    size = 0
    if operator == "+" and isinstance(left, _SIZED) and isinstance(right, _SIZED):
        size = len(left) + len(right)
    elif operator == "*" and (isinstance(left, _SIZED) or isinstance(right, _SIZED)):
        sized, times = (left, right) if isinstance(left, _SIZED) else (right, left)
        size = len(sized) * times if isinstance(times, int) else 0
    elif operator == "%":
        _check_width(left, ())
    elif operator == "**" and max(abs(left), abs(right)) > _MAX_EXPONENT:
        raise jinja2.TemplateRuntimeError(f"`**` is for numbers up to {_MAX_EXPONENT}")
    if size > MAX_WRITTEN_CHARS:
        raise jinja2.TemplateRuntimeError(f"`{operator}` would make more than {MAX_WRITTEN_CHARS} characters or items")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with labels as they are named, and every loop and call counted."""

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "_counted", [], [], None, None, lineno=loop.iter.lineno)
        # From the inside out, as one may stand within another.
        for concat in reversed(list(tree.find_all(nodes.Concat))):
            parts = nodes.List(list(concat.nodes), lineno=concat.lineno)
            concat.nodes = [nodes.Filter(parts, "_joined", [], [], None, None, lineno=concat.lineno)]
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self._label(obj, attribute, super().getattr)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return self._label(obj, argument, super().getitem)

    def _label(self, obj: Any, name: Any, get: Any) -> Any:
        """Look a name up: a label that an alert does not have is empty, any other unknown name is an error."""
        if not isinstance(obj, Mapping):
            return get(obj, name)
        # A label may be called `items` too.
        if name in obj:
            return obj[name]
        found = get(obj, name)
        return jinja2.Undefined(obj=obj, name=str(name)) if isinstance(found, jinja2.Undefined) else found

    def call(self, *args: Any, **kwargs: Any) -> Any:
        _step()
        # The sandbox wraps `format`.
        function = getattr(args[1], "__wrapped__", args[1])
        owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
        if isinstance(owner, str) and name.startswith("format"):
            _check_width(owner, ())
        elif isinstance(owner, str) and name in _PADDING:
            _check_width(None, args[2:])
        return super().call(*args, **kwargs)

    def get_template(self, *args: Any, **kwargs: Any) -> jinja2.Template:
        _step()
        return super().get_template(*args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operation(operator, left, right)
        return _written(super().call_binop(context, operator, left, right))


class Templates:
    """The templates of a folder, which need not exist. A changed file is read again by itself."""

    def __init__(self, folder: Path, language: Language, timezone: tzinfo) -> None:
        self.folder = folder
        self.language: Language = language
        self.timezone = timezone
        self._default = 0, False
        """When the folder last changed, in nanoseconds, and whether it had a default then."""
        self._environment = _Environment(
            loader=jinja2.FileSystemLoader(folder, encoding="utf-8"),
            undefined=jinja2.StrictUndefined,
            finalize=_written,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        self._environment.filters |= self._helpers() | {
            "_counted": _counted,
            "_joined": _joined,
            "center": _center,
            "format": _format,
            "indent": _indent,
        }
        self._environment.globals |= {"range": _range}

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
        """Read a template without rendering it. Raises `TemplateError`."""
        self._load(name)

    def render(self, name: str, group: AlertGroup, target: str, now: datetime) -> str:
        """Fill a template with a group for a target, as of `now`.

        Raises:
            TemplateError: there is no such template, it is broken, it asks for what there is not, it takes too
                much, or it makes no text.
        """
        token = _budget.set(_RenderingBudget())
        try:
            template = self._load(name)
            text = _limited(template.generate(self._variables(group, target, now)))
        except TemplateError:
            raise
        except Exception as error:
            # Whatever goes wrong in a template is the template's, and the alert goes out all the same.
            raise self._broken(name, error) from error
        finally:
            _budget.reset(token)
        if not text:
            raise TemplateError(f"{template.filename}: it makes no text for this alert")
        return text

    def _load(self, name: str) -> jinja2.Template:
        file = self.find(name)
        if file is None:
            there = ", ".join(self.names()) if self.folder.is_dir() else ""
            raise TemplateError(
                f"there is no template {name!r} in {self.folder}; there are {there or 'none'}. "
                "A template is named by its file, without `..`"
            )
        try:
            return self._environment.get_template(file)
        except (jinja2.TemplateError, OSError, ValueError, RecursionError) as error:
            raise self._broken(name, error) from error

    def _broken(self, name: str, error: BaseException) -> TemplateError:
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
        if isinstance(error, jinja2.TemplateSyntaxError) and (error.filename or error.name):
            return f"{error.filename or self.folder / str(error.name)}:{error.lineno}"
        found, trace = None, error.__traceback__
        while trace is not None:
            # jinja2 rewrites the frames of a template to its file and line, and marks them so.
            if "__jinja_exception__" in trace.tb_frame.f_globals:
                found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
            trace = trace.tb_next
        return found

    def _variables(self, group: AlertGroup, target: str, now: datetime) -> dict[str, Any]:
        alerts = worst_first(group.alerts)
        given = alerts[:MAX_ALERTS_PER_TEMPLATE]
        return {
            "title": write_headline(group, self.language) if alerts else group.title,
            "status": worst_status(alerts).value if alerts else "",
            "alerts": given,
            "more": len(alerts) - len(given) + group.truncated,
            "firing": sum(alert.status is not AlertStatus.RESOLVED for alert in alerts),
            "resolved": sum(alert.status is AlertStatus.RESOLVED for alert in alerts),
            "labels": find_common([alert.labels for alert in alerts]),
            "annotations": find_common([alert.annotations for alert in alerts]),
            "link": next((alert.link for alert in alerts if alert.link), ""),
            "text": group.text or "",
            "source": group.source,
            "group": group,
            "target": target,
            "builtin": write_text(group, self.language, self.timezone, now),
            "now": now.astimezone(self.timezone),
            "language": self.language,
            "since": lambda alert: write_times(alert, self.language, self.timezone, now),
        }

    def _helpers(self) -> dict[str, Any]:
        language, timezone = self.language, self.timezone

        def figure(value: Any, unit: str = "") -> str:
            if isinstance(value, Value):
                return write_figure(value, language, unit)
            return units.format_quantity(float(value), unit, language)

        def local_time(at: datetime | None, pattern: str = "%m-%d %H:%M") -> str:
            return at.astimezone(timezone).strftime(pattern) if at else ""

        def duration(span: Any) -> str:
            seconds = span.total_seconds() if hasattr(span, "total_seconds") else float(span)
            return units.format_duration(seconds, language)

        def emoji(of: Any) -> str:
            return emoji_of(of) if isinstance(of, Alert) else EMOJI.get(AlertStatus(of), "")

        def labels(of: Mapping[str, str], most: int = MAX_LABELS_SHOWN) -> str:
            return write_labels(of, most=most)

        return {
            "number": lambda value: format_number(float(value)),
            "figure": figure,
            "duration": duration,
            "local_time": local_time,
            "emoji": emoji,
            "labels": labels,
            "worst_first": worst_first,
        }


def _limited(pieces: Iterable[str]) -> str:
    made, size = [], 0
    for piece in pieces:
        made.append(piece)
        size += len(piece)
        if size > MAX_OUTPUT_CHARS:
            raise jinja2.TemplateRuntimeError(f"it makes more than {MAX_OUTPUT_CHARS} characters")
    return "".join(made).strip()


def _range(*arguments: int) -> range:
    """As Python's, up to what a template may loop at all."""
    numbers = range(*arguments)
    if len(numbers) > MAX_STEPS:
        raise jinja2.TemplateRuntimeError(f"range() is for at most {MAX_STEPS} numbers")
    return numbers


class RenderedText(NamedTuple):
    """The text of a group, and what went wrong with its template where something did."""

    text: str
    problem: str | None = None


def render_or_explain(
    templates: Templates, name: str | None, group: AlertGroup, target: str, now: datetime
) -> RenderedText:
    """Write the text of a group for a target.

    `name` is the template of the route or target; without one, that of the folder's `default` is taken, else the
    built-in text. Never raises: where a template fails, the built-in text stands below a line that says so.
    """
    chosen = name or (DEFAULT_TEMPLATE if templates.has_default() else None)
    if chosen is None:
        return RenderedText(write_text(group, templates.language, templates.timezone, now))
    try:
        return RenderedText(templates.render(chosen, group, target, now))
    except TemplateError as error:
        builtin = write_text(group, templates.language, templates.timezone, now)
        return RenderedText(f"{say('alerts.template_failed', templates.language)}\n\n{builtin}", str(error))
