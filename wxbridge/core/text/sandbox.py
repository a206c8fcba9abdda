"""The sandbox of templates that people write: jinja2's immutable one, and what a mistake could take is limited.

A template is written by whoever writes jobs.yaml; what it is filled with comes from outside. Steps (loops and calls),
repeated texts and the length of what it writes are limited. Not covered is one expression that alone takes long, such
as a filter over a text of many megabytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.runtime import BlockReference, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_OUTPUT_CHARS = 100_000
"""Characters of what a template makes."""
MAX_STEPS = 50_000
"""Turns of loops, calls and included files of one rendering, all together."""
MAX_WRITTEN_CHARS = 10 * MAX_OUTPUT_CHARS
"""Characters that the expressions of one rendering write, also into what is never shown."""
MAX_RENDER_SECONDS = 2.0
"""For one rendering; looked at with each step and each text that is written."""


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
_escape: ContextVar[Callable[[str], str] | None] = ContextVar("escape of a template", default=None)


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


class _Made(str):
    """What the template wrote already, within a macro or a block: its values are escaped."""

    __slots__ = ()


@jinja2.pass_context  # without a context constants would be written once for all renderings
def _shown(_context: Any, value: Any) -> Any:
    """Write the value of an expression into the text."""
    value, escape = _written(value), _escape.get()
    return value if escape is None or isinstance(value, _Made) else escape(str(value))


def _joined(texts: Iterable[Any]) -> str:
    """What `~` does, counted: a text that is doubled again and again would fill the memory."""
    text = "".join(map(str, texts))
    _written(text)
    return text


_WRITERS = (Macro, BlockReference)
"""What is called within a template and gives text of it."""
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
        for block in tree.find_all(nodes.AssignBlock):
            block.filter = nodes.Filter(block.filter, "_made", [], [], None, None, lineno=block.lineno)
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
        made = super().call(*args, **kwargs)
        return _Made(made) if isinstance(args[1], _WRITERS) else made

    def get_template(self, *args: Any, **kwargs: Any) -> jinja2.Template:
        _step()
        return super().get_template(*args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        _check_operation(operator, left, right)
        return _written(super().call_binop(context, operator, left, right))


@contextmanager
def limited(escape: Callable[[str], str] | None = None) -> Iterator[None]:
    """Limit what is rendered within; what takes too much raises `jinja2.TemplateError`.

    `escape` is what is done to the texts that a template is filled with, but not to those that stand in it.
    """
    budget, how = _budget.set(_RenderingBudget()), _escape.set(escape)
    try:
        yield
    finally:
        _budget.reset(budget)
        _escape.reset(how)


def make_environment(loader: jinja2.BaseLoader | None = None, *, is_trimmed: bool = True) -> jinja2.Environment:
    """Make a sandbox. An unknown name is an error, other than a key that a mapping does not have.

    `is_trimmed`: a line that holds nothing but a `{% … %}` leaves no line in the text.
    """
    environment = _Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        autoescape=False,
        trim_blocks=is_trimmed,
        lstrip_blocks=is_trimmed,
        keep_trailing_newline=False,
    )
    environment.filters |= {
        "_counted": _counted,
        "_joined": _joined,
        "_made": _Made,
        "center": _center,
        "format": _format,
        "indent": _indent,
    }
    environment.globals |= {"range": _range}
    return environment


def join_limited(pieces: Iterable[str]) -> str:
    """Join what a template makes, without blanks around it. Raises `jinja2.TemplateError` where that is too much."""
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


def find_unknown_names(environment: jinja2.Environment, source: str, known: Iterable[str]) -> list[tuple[str, int]]:
    """Find the names that a template asks for and is not given, each with its first line.

    Those of which it asks whether they are there (`x is defined`, `x | default(…)`) may be missing.

    Raises:
        jinja2.TemplateError: it cannot be read.
    """
    tree = environment.parse(source)
    unknown = meta.find_undeclared_variables(tree) - set(known) - environment.globals.keys()
    asked = [
        node.node
        for node in (*tree.find_all(nodes.Test), *tree.find_all(nodes.Filter))
        if node.name in ("defined", "undefined", "default", "d")
    ]
    excused = {node.name for node in asked if isinstance(node, nodes.Name)}
    found: dict[str, int] = {}
    for node in tree.find_all(nodes.Name):
        if node.ctx == "load" and node.name in unknown - excused:
            found.setdefault(node.name, node.lineno)
    return sorted(found.items(), key=lambda each: each[1])
