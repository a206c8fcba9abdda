"""What pydantic found wrong, in sentences that people understand and that hold no secret, each at its path."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from wxbridge.config.yaml_loader import TreePath


def describe_mistakes(
    error: ValidationError,
    data: Mapping[str, Any],
    model: type[BaseModel],
    *,
    choices: Mapping[str, Sized],
    unread: Collection[TreePath],
) -> Iterator[tuple[TreePath, str]]:
    """Describe everything that is wrong, with the path that it is told at.

    Args:
        error: What was found.
        data: What was checked.
        model: What it was to be.
        choices: By section, the channels or kinds that its entries may be of.
        unread: Where the value is not known, so that nothing is to be said of it, nor of what it stands in as a whole.
    """
    found: dict[TreePath, list[Any]] = {}
    half_read = {path[:-1] for path in unread}
    for problem in error.errors(include_url=False):
        location, tag = _untagged(problem["loc"], choices)
        if problem["type"] == "union_tag_invalid":
            location = (*location, problem["ctx"]["discriminator"].strip("'"))
        item = {**problem, "loc": location, "tag": tag}
        where = _existing_path(data, location)
        if where not in unread and not (problem["type"] == "value_error" and where in half_read):
            found.setdefault(location if problem["type"] == "missing" else where, []).append(item)
    for where, items in found.items():
        for text in _describe_errors(where, items, model):
            yield where, text


def _existing_path(data: Any, location: tuple[str | int, ...]) -> TreePath:
    """Drop what pydantic adds to a path (tags of a union) and the key that is missing."""
    path: list[str | int] = []
    for step in location:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(step)
    return tuple(path)


def _untagged(location: TreePath, choices: Mapping[str, Sized]) -> tuple[TreePath, str | None]:
    """Take out of a path the channel or kind that pydantic puts there to tell which of several models it was."""
    if len(location) > 2 and len(choices.get(str(location[0]), ())) > 1:  # noqa: PLR2004 - section, entry, tag
        return (*location[:2], *location[3:]), str(location[2])
    return location, None


def _describe_errors(where: TreePath, items: Sequence[Any], model: type[BaseModel]) -> list[str]:
    """Describe what is wrong at one place; that a value is none of several types is one mistake."""
    if len(items) > 1 and all(item["type"].endswith("_type") for item in items):
        messages = [item["msg"] for item in items]
        return [_describe_error(items[0] | {"loc": where, "msg": " or ".join(dict.fromkeys(messages))}, model)]
    return [_describe_error(item, model) for item in items]


_NOT_SHOWN = {"value_error", "model_type", "model_attributes_type"}
"""Kinds of mistakes whose value is left out: it is told already, or may be what belongs into a key of a section."""
_PYDANTIC_NAMES = re.compile(r" or instance of \w+| for <class '[\w.]+'>")
"""Names of our own classes, which tell nobody anything."""
_USER = re.compile(r"//[^@\s'\"]*@|(?<=['\"])[^\s'\"/:]+:[^\s'\"]*@")
_QUERY = re.compile(r"(//[^\s'\"?]*)\?[^\s'\"]*")


def _without_secrets(text: str) -> str:
    """A sentence without the users, passwords and parameters of the addresses in it."""
    text = _USER.sub(lambda found: "//…@" if found[0].startswith("//") else "…@", text)
    return _QUERY.sub(r"\1?…", text)


def _describe_error(item: Any, model: type[BaseModel]) -> str:
    kind, location = item["type"], item["loc"]
    name = location[-1] if location else ""
    dotted = ".".join(str(step) for step in location)
    if kind == "extra_forbidden" and dotted == "pictures.alerts.painter":
        return "unknown key `painter`; the bridge draws the charts of Grafana's rules by itself: take it out"
    if kind == "extra_forbidden":
        from difflib import get_close_matches  # for a slip alone

        known = _known_keys(model, location, item["tag"])
        close = get_close_matches(str(name), known, n=1)
        return f"unknown key `{name}`" + (f"; did you mean `{close[0]}`?" if close else "")
    if kind == "missing":
        return f"`{name}` is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = item["ctx"]["discriminator"].strip("'")
        expected = item["ctx"].get("expected_tags")
        tag = item["ctx"].get("tag")
        return f"unknown {key} `{tag}`; expected one of {expected}" if tag else f"`{key}` is missing"
    message = _PYDANTIC_NAMES.sub("", item["msg"].removeprefix("Value error, "))
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and kind not in _NOT_SHOWN else ""
    secret = any(word in dotted for word in ("token", "password", "secret", "key", "database"))
    return _without_secrets(f"`{dotted}`: {message}{'' if secret else shown}")


def _known_keys(model: type[BaseModel], location: tuple[str | int, ...], tag: str | None) -> list[str]:
    """The keys that a path could have had, from the model's own schema; empty where it cannot be told.

    `tag` is the channel or kind of the entry, where the section has several.
    """
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if len(location) == 1:
        return sorted(fields)
    # Of this section alone: the schema of the whole file takes a tenth of a second.
    section: Any = fields[str(location[0])].annotation
    schema = TypeAdapter(section).json_schema()
    definitions = schema.get("$defs", {})
    names: set[str] = set()

    def collect(part: Mapping[str, Any], steps: tuple[str | int, ...]) -> None:
        if "$ref" in part:
            part = definitions[part["$ref"].rsplit("/", 1)[1]]
        tags = {key["const"] for key in part.get("properties", {}).values() if "const" in key}
        if tag and tags and tag not in tags:
            return
        for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
            collect(choice, steps)
        if not steps:
            names.update(part.get("properties", {}))
            return
        if steps[0] in part.get("properties", {}):
            collect(part["properties"][steps[0]], steps[1:])
        elif isinstance(part.get("additionalProperties"), dict):
            collect(part["additionalProperties"], steps[1:])
        elif "items" in part:
            collect(part["items"], steps[1:])

    collect(schema, location[1:-1])
    return sorted(names)
