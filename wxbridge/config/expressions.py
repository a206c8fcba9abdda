"""JMESPath expressions (jmespath.org): where in a document of any shape something stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

import jmespath
from jmespath.exceptions import JMESPathError, ParseError
from jmespath.functions import Functions, signature

from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import clean_json, read_json


@lru_cache(64)
def _capturing(expression: str) -> Any:
    import re2  # where an expression needs it

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        raise ValueError(str(error)) from None


class _OwnFunctions(Functions):
    """JMESPath's functions, and three of ours."""

    @signature({"types": ["string"]})
    def _func_path_parts(self, address: str) -> list[str]:
        """The parts of an address's path, decoded: `job/a%20b/` → `["job", "a b"]`."""
        return [unquote(part) for part in urlsplit(address).path.split("/") if part]

    @signature({"types": ["string"]}, {"types": ["string"]})
    def _func_capture(self, text: str, expression: str) -> list[str] | None:
        """What the groups of a regular expression (RE2) found in a text; null where it does not match."""
        match = _capturing(expression).search(text)
        return None if match is None else [group or "" for group in match.groups()]

    @signature({"types": ["string"]})
    def _func_from_json(self, text: str) -> Any:
        """JSON that stands in a string, read; null where it is none."""
        try:
            return clean_json(read_json(text.encode()))
        except (BadBody, UnicodeEncodeError):
            return None


_OPTIONS = jmespath.Options(custom_functions=_OwnFunctions())

Find = Callable[[Any], Any]
"""Looks something up in a document; None where it is not there."""


def compiled(expression: str) -> Find:
    """Make a function of an expression. Where a document does not suit the expression, it finds nothing.

    Raises:
        ValueError: it is no expression; the text says what is wrong, where, and what one looks like.
    """
    try:
        parsed = jmespath.compile(expression)
        for node in _functions(parsed.parsed):
            _check_function(node)
    except (JMESPathError, RecursionError) as error:
        raise ValueError(
            f"{expression!r} is no JMESPath expression: {_reason(expression, error)}; "
            "write one like monitor.name, or status == `0` && 'down' || 'up'",
        ) from None

    def find(document: Any) -> Any:
        try:
            return parsed.search(document, _OPTIONS)
        # The library raises its own where types do not fit, and lets through what Python raises inside it.
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
            return None

    return find


def _reason(expression: str, error: Exception) -> str:
    if not expression.strip():
        return "it is empty"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, ParseError):
        return str(error)
    if error.token_type == "EOF" or error.token_value is None:  # noqa: S105 - a token of the grammar
        return "it ends too early"
    # Python's library counts from 0, people from 1.
    return f"{error.token_value!r} at character {error.lex_position + 1} was not expected"


def _functions(node: Any) -> Iterator[Any]:
    if node["type"] == "function_expression":
        yield node
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield from _functions(child)


def _check_function(node: Any) -> None:
    """The library itself notices an unknown function, or too few arguments, only when it looks something up."""
    name, given, known = node["value"], len(node["children"]), _OwnFunctions.FUNCTION_TABLE
    if name not in known:
        raise JMESPathError(f"there is no function {name}(); there are {', '.join(sorted(known))}")
    takes = known[name]["signature"]
    variadic = bool(takes) and bool(takes[-1].get("variadic"))
    if given < len(takes) or (given > len(takes) and not variadic):
        wanted = f"{len(takes)}{' or more' if variadic else ''}"
        raise JMESPathError(f"{name}() takes {wanted} arguments, not {given}")
