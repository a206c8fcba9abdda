"""The JSON Schema of jobs.yaml for editors: what `check` accepts, as far as a schema can say it.

The models' own schema tells what values become. A file is written more freely: `${VARIABLES}` stand for any value, one
name for a list of one, numbers for words and words for numbers; and some keys are needed only together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wxbridge.config.types import FORM

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
"""A value with a variable in it may become any."""

_UNIT = "(ms|s|min|m|h|d|w)"
_DURATION = {
    "type": "string",
    "pattern": rf"^\s*([0-9]+(\.[0-9]+)? *{_UNIT} *)+\s*$",
    "examples": ["30s", "5m", "1h30m"],
}
_RATE_UNIT = "(s|sec|second|m|min|minute|h|hour|d|day)"
_RATE = {
    "type": "string",
    "pattern": rf"^\s*0*[1-9][0-9]*(\s*/\s*(0*[1-9][0-9]*)?\s*{_RATE_UNIT})?\s*$",
    "examples": ["1/s", "30/min", "20/30s"],
}


def _cron_field(value: str) -> str:
    part = rf"(\*|{value}(-{value})?)(/[1-9][0-9]*)?"
    return rf"{part}(,{part})*"


def _any_case(words: str) -> str:
    """Words in either case: a pattern of JSON Schema has no flags."""
    return "|".join("".join(f"[{sign}{sign.upper()}]" for sign in word) for word in words.split())


_MONTHS = _any_case("jan feb mar apr may jun jul aug sep oct nov dec")
_DAYS = _any_case("sunday monday tuesday wednesday thursday friday saturday sun mon tue wed thu fri sat")
_CRON_FIELDS = (
    _cron_field("[0-5]?[0-9]"),
    _cron_field("([01]?[0-9]|2[0-3])"),
    _cron_field("(0?[1-9]|[12][0-9]|3[01]|last|((1st|2nd|3rd|4th|5th|last) [a-z]{3}))"),
    _cron_field(f"(0?[1-9]|1[0-2]|{_MONTHS})"),
    _cron_field(f"([0-7]|{_DAYS})"),
)
_CRON = {
    "type": "string",
    "pattern": r"^\s*(@(hourly|daily|midnight|weekly|monthly|yearly|annually)|"
    + r"\s+".join(f"({each})" for each in _CRON_FIELDS)
    + r")\s*$",
    "examples": ["5 9-18 * * 1-5", "@hourly"],
}
_TIME = {
    "type": "string",
    "pattern": r"^\s*([0-9]{1,2}:[0-9]{2}(:[0-9]{2})?|[0-9]{4}-?[0-9]{2}-?[0-9]{2}.*|[0-9]{4}-?W.*)\s*$",
}
_FORMS: dict[str, list[dict[str, Any]]] = {
    "duration": [_DURATION],
    "rate": [_RATE, {"type": "integer", "minimum": 1}],
    "pace": [{"const": "none"}, {"type": "null"}],
    "cron": [_CRON],
    "time": [_TIME],
}
"""What a value may look like, by the form that its type has in the models."""
_WORDS = [each for word in ("0", "1", "on", "off", "t", "f", "true", "false", "y", "n", "yes", "no")
          for each in dict.fromkeys((word, word.upper(), word.title()))]  # fmt: skip
_WRITTEN: dict[str, dict[str, Any]] = {
    "integer": {"type": "string", "pattern": r"^\s*[+-]?[0-9]+(_[0-9]+)*(\.0+)?\s*$"},
    "number": {"type": "string", "pattern": r"^\s*[+-]?([0-9]+(_[0-9]+)*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"},
    "boolean": {"enum": [0, 1, *_WORDS]},
}
"""What a value may be written as besides, by its type."""
_ABOUT = ("title", "description", "default", "deprecated", "examples", "writeOnly")


def write_editor_schema(document: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of the file from that of its models (`model_json_schema`)."""
    found: dict[str, Any] = _relax(document)
    found["properties"].pop("path", None)
    return {"$schema": DIALECT, **found, "title": "wxbridge jobs.yaml"}


def _relax(node: Any) -> Any:
    """Give a schema that takes a value also as it may be written."""
    if not isinstance(node, dict) or ("$ref" in node and FORM not in node) or "const" in node:
        return node
    if "$defs" in node:
        definitions = {name: _relax(each) for name, each in node["$defs"].items()}
        return {**_relax({key: value for key, value in node.items() if key != "$defs"}), "$defs": definitions}
    about = {key: node[key] for key in _ABOUT if key in node}
    form, rest = node.get(FORM), {key: value for key, value in node.items() if key not in (*about, FORM)}
    if form in _FORMS:
        return {**about, "anyOf": [*_FORMS[form], *_keep_others(rest, form), VARIABLE]}
    if "discriminator" in rest:
        return {**about, **_by_tag(rest)}
    choices = rest.get("anyOf") or rest.pop("oneOf", None)
    if choices:
        # A value that may be null and else one thing.
        variable = [VARIABLE] if all("$ref" not in each for each in choices) else []
        return {**about, **rest, "anyOf": [*(_relax(each) for each in choices), *variable]}
    return {**about, **_relax_type(rest, form)}


def _keep_others(node: dict[str, Any], form: str) -> Iterator[dict[str, Any]]:
    """What a value may be besides its form: a section, nothing, or a list of such values."""
    for each in node.get("anyOf", [node] if "$ref" in node else []):
        if each.get("type") == "array":
            yield {**each, "items": {"anyOf": [*_FORMS[form], VARIABLE]}}
        elif each.get("type") != "string":
            yield _relax(each)


def _relax_type(node: dict[str, Any], form: str | None) -> dict[str, Any]:  # noqa: PLR0911 - one for each type
    kinds = node.get("type")
    if "enum" in node:
        return {"anyOf": [node, VARIABLE]}
    if kinds == "object":
        return _relax_object(node)
    if kinds == "array":
        items = _relax(node.get("items", {}))
        listed = {**node, "items": items}
        if form != "names":
            return listed
        alone = {**items, "type": ["string", "integer"]} if items.get("type") == ["string", "number"] else items
        return {"anyOf": [alone, listed]}
    if kinds == "string":
        if pattern := node.get("pattern"):
            # A number is read as its digits.
            return {"anyOf": [node, VARIABLE, *([{"type": "number"}] if re.search(pattern, "5") else [])]}
        return node if node.get("format") == "path" else {**node, "type": ["string", "number"]}
    written = _WRITTEN.get(kinds) if isinstance(kinds, str) else None
    return {"anyOf": [node, written, VARIABLE]} if written else node


def _relax_object(node: dict[str, Any]) -> dict[str, Any]:
    made = dict(node)
    if "properties" in made:
        made["properties"] = {name: _relax(each) for name, each in made["properties"].items()}
    if isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _relax(made["additionalProperties"])
    properties = made.get("properties", {})
    tags = [name for name, each in properties.items() if "const" in each]
    wanted = [*tags, *(name for name in made.pop("required", []) if name not in tags)]
    rules = [_is_given(name, properties) for name in wanted]
    groups = made.pop("x-one-of", [])
    rules += [{"oneOf": [_is_given(name, properties, but=(None, "")) for name in group]} for group in groups]
    rules += [{"anyOf": [_is_given(name, properties) for name in group]} for group in made.pop("x-any-of", [])]
    return {**made, "allOf": rules} if rules else made


def _is_given(name: str, properties: Mapping[str, Any], but: tuple[Any, ...] = ()) -> dict[str, Any]:
    """Say that a key is there, by itself or as `KEY_file`, and is something else than the values of `but`."""
    some: list[dict[str, Any]] = [
        {"required": [key]} | ({"properties": {key: {"not": {"enum": [*but]}}}} if but else {})
        for key in (name, f"{name}_file")
        if key in properties or key == name
    ]
    return some[0] if len(some) == 1 else {"anyOf": some}


def _by_tag(node: dict[str, Any]) -> dict[str, Any]:
    """Choose by the channel or kind; one that is a variable may be any."""
    tag = node["discriminator"]["propertyName"]
    chosen = [
        {
            "if": {"required": [tag], "properties": {tag: {"const": name}}},
            "then": {"$ref": reference},
        }
        for name, reference in node["discriminator"]["mapping"].items()
    ]
    names = sorted(node["discriminator"]["mapping"])
    return {
        "type": "object",
        "required": [tag],
        "properties": {tag: {"anyOf": [{"enum": names}, VARIABLE]}},
        "allOf": chosen,
    }
