# ruff: noqa: INP001 - a script, in no package
"""Writes docs/configuration.md from the schema of jobs.yaml: `python docs/make_configuration.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wxbridge import registry
from wxbridge.config.types import write_duration

PAGE = Path(__file__).parent / "configuration.md"
HEAD = """# Every key of jobs.yaml

Made from `wxbridge schema` by `python docs/make_configuration.py`; do not edit it by hand. For what the keys are good
for see [sources](sources.md), [routing](routing.md), [texts](texts.md), [pictures](pictures.md),
[screenshots](screenshots.md), [chat](chat.md), [hosts](host.md), [console](console.md) and [operations](operations.md).

- A *duration* is written as `30s`, `5m`, `1h30m` or `7d`; a *rate* as `1/s`, `30/min`, or a bare number for a day.
- A *secret* may be written into a file of its own: `token_file: /run/secrets/token` instead of `token:`.
- Where a *list of texts* is asked for, a single text may stand instead.
- `${NAME}` and `${NAME:-default}` are replaced by environment variables, in values only; `$${NAME}` stays as it is.
- An editor with the YAML language server completes and checks the file with the output of `wxbridge schema`, saved
  beside it, and this line at its top: `# yaml-language-server: $schema=./jobs.schema.json`
- Unknown keys are errors. Relative paths are relative to the main file.
"""

Json = Mapping[str, Any]

_WORDS = {"string": "text", "boolean": "`true`, `false`", "integer": "whole number", "number": "number"}


class _Pages:
    """The tables, each with every place in jobs.yaml that it describes."""

    def __init__(self, schema: Json) -> None:
        self._definitions: Json = schema["$defs"]
        self._uses: dict[str, list[str]] = {}
        self._tables: dict[str, tuple[str, Json, set[str]]] = {}
        self._take("top", "", schema, "")

    def lines(self) -> Iterator[str]:
        """The tables, as Markdown."""
        for key, (about, properties, required) in self._tables.items():
            if not properties:
                continue
            places = ", ".join(f"`{place}`" for place in self._uses[key]) or "The file"
            yield f"\n## {places}\n"
            if about:
                yield f"{about}\n"
            yield "| Key | Value | Default | Meaning |\n|---|---|---|---|"
            for name, item in properties.items():
                default = "*required*" if name in required else self._default(item)
                yield f"| `{name}` | {self._type(item)} | {default} | {self._about(item)} |"

    def _take(self, key: str, place: str, schema: Json, about: str) -> None:
        """Note a mapping, and everything within it."""
        properties = {name: item for name, item in schema.get("properties", {}).items() if not item.get("deprecated")}
        self._note(key, place, _flat(about), properties, set(schema.get("required", ())))
        for name, item in properties.items():
            self._within(f"{place}.{name}" if place else name, item)
        if isinstance(schema.get("additionalProperties"), dict):
            self._within(f"{place}.NAME", schema["additionalProperties"])

    def _note(self, key: str, place: str, about: str, properties: Json, required: set[str]) -> None:
        self._uses.setdefault(key, [])
        if place:
            self._uses[key].append(place)
        self._tables.setdefault(key, (about, properties, required))

    def _within(self, place: str, item: Json) -> None:
        """Find the mappings that a key may hold."""
        choices = item.get("oneOf", ())
        if len(choices) > 1 and "discriminator" in item:
            self._choices(place, item["discriminator"]["mapping"])
            return
        for choice in (*item.get("anyOf", ()), *choices):
            self._within(place, choice)
        if "$ref" in item:
            name = _name(item)
            # A route within a route has the keys of a route.
            if name == "NestedRoute":
                return
            if name in self._tables:
                if place not in self._uses[name]:
                    self._uses[name].append(place)
            else:
                schema = self._definitions[name]
                self._take(name, place, schema, schema.get("description", ""))
        if isinstance(item.get("additionalProperties"), dict):
            self._within(f"{place}.NAME", item["additionalProperties"])
        if "items" in item:
            self._within(f"{place}[]", item["items"])

    def _choices(self, place: str, mapping: Mapping[str, str]) -> None:
        """Take several kinds of one thing: what all have once, then what each has besides."""
        schemas = {tag: self._definitions[reference.rsplit("/", 1)[1]] for tag, reference in mapping.items()}
        first, *others = (schema["properties"] for schema in schemas.values())
        alike = {name: item for name, item in first.items() if all(each.get(name) == item for each in others)}
        tag_name = next(name for name, item in first.items() if "const" in item)
        tag = {tag_name: {"enum": sorted(mapping), "description": "Which kind it is."}}
        required = set.intersection(*(set(schema.get("required", ())) for schema in schemas.values())) | {tag_name}
        self._note(place, place, "What each of them has, of whatever kind.", tag | alike, required)
        for name, item in alike.items():
            self._within(f"{place}.{name}", item)
        for value, schema in sorted(schemas.items()):
            own = {name: item for name, item in schema["properties"].items() if name not in {*alike, tag_name}}
            for name, item in own.items():
                self._within(f"{place}.{name}", item)
            if own:
                where, about = f"{place} with {tag_name}: {value}", _flat(schema.get("description", ""))
                self._note(where, where, about, own, set(schema.get("required", ())))

    def _about(self, item: Json) -> str:
        text = item.get("description") or ""
        if not text and _name(item) in self._definitions:
            text = self._definitions[_name(item)].get("description", "")
        if not text:
            named = [_name(choice) for choice in item.get("anyOf", ()) if "$ref" in choice]
            text = self._definitions[named[0]].get("description", "") if named else ""
        return _flat(text).replace("|", "\\|")

    def _type(self, item: Json) -> str:
        """What may be written, in a few words."""
        if "anyOf" in item:
            words = [self._type(choice) for choice in item["anyOf"] if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(words))
        if "enum" in item or "const" in item:
            return ", ".join(f"`{value}`" for value in item.get("enum", [item.get("const")]))
        if item.get("type") == "array":
            inner = self._type(item.get("items", {}))
            return f"list of {inner}s" if inner in ("text", "mapping", "secret") else "list"
        special = {"30s": "duration", "1/s": "rate", 200: "HTTP statuses"}.get(item.get("examples", [""])[0])
        return special or (
            "secret" if item.get("format") == "password" else _WORDS.get(item.get("type", ""), "mapping")
        )

    def _default(self, item: Json) -> str:
        default = item.get("default")
        if default in (None, [], {}, "") or isinstance(default, dict):
            return _pace(default) if _holds_pace(item) and default else ""
        if isinstance(default, float) and "duration" in self._type(item):
            default = write_duration(default)
        return f"`{default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)}`"


def _pace(default: Json) -> str:
    return ", ".join(f"`{name}: {value}`" for name, value in default.items() if value is not None)


def _holds_pace(item: Json) -> bool:
    return any(_name(each) == "Pace" for each in (item, *item.get("anyOf", ())))


def _name(item: Json) -> str:
    return str(item.get("$ref", "")).rsplit("/", 1)[-1]


def _flat(text: str) -> str:
    return " ".join(text.split())


def page() -> str:
    """The whole page."""
    schema = registry.plugin_settings().model.model_json_schema(mode="validation")
    return HEAD + "\n".join(_Pages(schema).lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
