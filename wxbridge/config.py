"""jobs.yaml → `Config`: strict, with every error at once and each with its line.

The plug-ins' own settings are handed in (`PluginSettings`), so that this module imports none of them.
Variables (`${NAME}`, `${NAME:-default}`) are substituted in parsed values, never in the raw text: what
a variable holds cannot change the file's structure.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Union
from zoneinfo import ZoneInfo

import yaml
from pydantic import BeforeValidator, Field, ValidationError, create_model, field_validator, model_validator

from wxbridge.errors import ConfigError, Problem
from wxbridge.intervals import TimeInterval
from wxbridge.route_settings import RouteSettings
from wxbridge.settings import (
    Duration,
    FileBeside,
    GrafanaSettings,
    JobSettings,
    PictureSettings,
    Secret,
    Section,
    TargetSettings,
    WatchSettings,
    WebSource,
)
from wxbridge.sources.settings import HooksSettings

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Path_ = tuple[str | int, ...]


def _timezone(value: Any) -> Any:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; write one like Asia/Shanghai or UTC") from None


class ServerSettings(Section):
    """The HTTP server that takes alerts."""

    listen: str = "127.0.0.1:8080"
    """host:port. Beyond loopback a `token` is required."""
    token: Secret | None = None
    """What callers must show: `Authorization: Bearer`, basic (as the password), or `?token=`."""
    max_body: Annotated[int, Field(gt=0)] = 16 * 1024 * 1024
    """The largest body that is read, in bytes."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
            raise ValueError(f"{value!r} is no address; write one like 127.0.0.1:8080")
        return value

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> ServerSettings:
        if self.host not in LOOPBACK and not (self.token and self.token.get_secret_value()):
            raise ValueError(
                f"listening on {self.listen} without a token would let anybody in; "
                "set `server.token` or listen on 127.0.0.1",
            )
        return self

    @property
    def host(self) -> str:
        """The address to bind, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0 for any free one."""
        return int(self.listen.rpartition(":")[2])


class Config(Section):
    """All of jobs.yaml. `load` makes it with the plug-ins' sections beside these."""

    language: Literal["en", "zh"] = "en"
    """Of what people read in WeChat."""
    timezone: Annotated[ZoneInfo, BeforeValidator(_timezone), Field(json_schema_extra={"type": "string"})] = ZoneInfo(
        "UTC"
    )
    """Of schedules and of times that people read, such as Asia/Shanghai."""
    state_dir: Path = Path("state")
    """Database, pictures, browser profile. Relative to this file."""
    server: ServerSettings = ServerSettings()
    grafana: GrafanaSettings | None = None
    prometheus: WebSource | None = None
    pictures: PictureSettings = PictureSettings()
    watch: WatchSettings = WatchSettings()
    dedupe_window: Duration = 600.0
    """How long a repeated POST counts as the sender's own retry."""
    keep: Duration = 30 * 86400.0
    """How long settled messages and their pictures are kept."""
    targets: dict[str, TargetSettings] = Field(default_factory=dict)
    """The names that routes and jobs send to."""
    routes: list[RouteSettings] = Field(default_factory=list)
    time_intervals: dict[str, TimeInterval | list[TimeInterval]] = Field(default_factory=dict)
    """Named times, for `mute_time_intervals` and `active_time_intervals` of routes."""
    hooks: HooksSettings = HooksSettings()
    """Who may post what, and how bodies of any shape are read."""
    people: dict[str, dict[str, str]] = Field(default_factory=dict)
    """How the people that alerts name (Open-Falcon's `tos`) are known in each channel: `{wecom: …, wechat: …}`."""
    templates: FileBeside = Field(default=Path("templates"), validate_default=True)
    """The folder of templates for what people read."""
    jobs: list[JobSettings] = Field(default_factory=list)
    path: Path = Field(default=Path(), exclude=True, json_schema_extra={"deprecated": True})
    """Where this was read from; not a key of the file."""

    @property
    def base(self) -> Path:
        """The directory that relative paths are relative to."""
        return self.path.parent

    def section(self, name: str) -> Any:
        """A plug-in's section, None where the file has none."""
        return getattr(self, name, None)


@dataclass(frozen=True)
class PluginSettings:
    """The settings that plug-ins bring: targets by channel, jobs by kind, sections by key."""

    targets: Mapping[str, type[TargetSettings]]
    jobs: Mapping[str, type[JobSettings]]
    sections: Mapping[str, type[Section]]


def config_model(plugins: PluginSettings) -> type[Config]:
    """Put the plug-ins' settings into the model of the whole file; its JSON Schema is `wxbridge schema`."""
    target, job = _union(plugins.targets, "channel"), _union(plugins.jobs, "kind")
    fields: dict[str, Any] = {
        "targets": (dict[str, target], Field(default_factory=dict)),  # type: ignore[valid-type]
        "jobs": (list[job], Field(default_factory=list)),  # type: ignore[valid-type]
    }
    for name, section in plugins.sections.items():
        fields[name] = (section | None, None)
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)


def _union(choices: Mapping[str, type[Section]], discriminator: str) -> Any:
    models = tuple(choices.values())
    if len(models) == 1:
        return models[0]
    return Annotated[Union[models], Field(discriminator=discriminator)]  # noqa: UP007 - built at run time


# ---------------------------------------------------------------- reading YAML with lines


class _Loader(yaml.SafeLoader):
    """YAML's core schema: `on`, `no`, `10:30` and dates stay the strings that people wrote."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"-?(?:0|[1-9][0-9]*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9][0-9]*)\.[0-9]+(?:[eE][-+]?[0-9]+)?", "-0123456789"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))

_VARIABLE = re.compile(r"\$(\$)?\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass
class _Source:
    """The parsed file: plain data, and the line of every path in it."""

    file: str
    environment: Mapping[str, str]
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unread: set[Path_] = field(default_factory=set)
    """Where the value is not known (an unset variable), so that nothing more can be said of it."""

    def complain(self, path: Path_, text: str) -> None:
        """Note a problem at the nearest line known for a path."""
        while path and path not in self.lines:
            path = path[:-1]
        self.problems.append(Problem(self.file, self.lines.get(path, 1), text))

    def build(self, loader: _Loader, node: yaml.Node, path: Path_ = ()) -> Any:
        """Turn a node into plain data with variables substituted."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(loader, item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError, TypeError, AttributeError):
            self.unread.add(path)
            self.complain(path, f"cannot be read as {node.tag.rpartition(':')[2]}")
            return None
        return self._substitute(value, path) if isinstance(value, str) else value

    def _mapping(self, loader: _Loader, node: yaml.MappingNode, path: Path_) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        written = [key.value for key in keys]
        for key in keys:
            if key.tag != "tag:yaml.org,2002:merge" and written.count(key.value) > 1:
                self.lines[(*path, key.value)] = key.start_mark.line + 1
        for name in sorted({name for name in written if written.count(name) > 1}):
            self.complain((*path, name), f"`{name}` stands here twice; keep one")
        loader.flatten_mapping(node)
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            # As it is written: `5:`, `true:` and `null:` are names too.
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(self.file, key_node.start_mark.line + 1, "a key must be a word"))
                continue
            word = str(key_node.value)
            self.lines[(*path, word)] = key_node.start_mark.line + 1
            result[word] = self.build(loader, value_node, (*path, word))
        return result

    def _substitute(self, text: str, path: Path_) -> str:
        def value(match: re.Match[str]) -> str:
            escaped, name, default = match.groups()
            if escaped:
                return match[0][1:]
            found = self.environment.get(name)
            if found:
                return found
            if default is not None:
                return str(default)
            self.unread.add(path)
            self.complain(path, f"the variable {name} is not set; export it, or write ${{{name}:-default}}")
            return match[0]

        return _VARIABLE.sub(value, text)


def _read(path: Path, environment: Mapping[str, str]) -> tuple[_Source, Any]:
    source = _Source(str(path), environment)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = "; name one with -c FILE" if isinstance(error, FileNotFoundError) else ""
        raise ConfigError([Problem(source.file, 1, f"cannot be read: {error.strerror}{hint}")]) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(source.file, line, "is not UTF-8; save it as UTF-8")]) from None
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return source, ({} if node is None else source.build(loader, node))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = "; put quotes around a value that begins with a *" if error.context == "while scanning an alias" else ""
        raise ConfigError(
            [Problem(source.file, mark.line + 1 if mark else 1, f"is not YAML: {error.problem}{hint}")]
        ) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise ConfigError([Problem(source.file, line, f"is not YAML: {error.reason}")]) from None
    except yaml.YAMLError as error:
        raise ConfigError([Problem(source.file, 1, f"is not YAML: {error}")]) from None
    except RecursionError:
        raise ConfigError([Problem(source.file, 1, "is nested too deeply, or an anchor holds itself")]) from None
    finally:
        if loader is not None:
            loader.dispose()


# ---------------------------------------------------------------- checking


def load(path: Path, plugins: PluginSettings, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file.

    Relative paths in it become relative to the file.

    Raises:
        ConfigError: with everything that is wrong, each `FILE:LINE: what is wrong, what was expected`.
    """
    source, data = _read(path, os.environ if environment is None else environment)
    if not isinstance(data, dict):
        source.complain((), "the file must be a mapping, such as `targets: …`")
        raise ConfigError(source.problems)
    data.pop("path", None) if ("path",) not in source.lines else source.complain(("path",), "unknown key `path`")
    config: Config | None = None
    model = config_model(plugins)
    try:
        config = model.model_validate({**data, "path": path}, context={"base": path.parent})
    except ValidationError as error:
        found: dict[Path_, list[Any]] = {}
        for problem in error.errors(include_url=False):
            location, tag = _untagged(problem["loc"], plugins)
            if problem["type"] == "union_tag_invalid":
                location = (*location, problem["ctx"]["discriminator"].strip("'"))
            item = {**problem, "loc": location, "tag": tag}
            where = _present(data, location)
            if where not in source.unread:
                found.setdefault(location if problem["type"] == "missing" else where, []).append(item)
        for where, items in found.items():
            for text in _sentences(where, items, model):
                source.complain(where, text)
    for where, text in _dangling(data, plugins):
        source.complain(where, text)
    if source.problems or config is None:
        raise ConfigError(source.problems)
    return config.model_copy(update={"state_dir": config.base / config.state_dir.expanduser()})


def _present(data: Any, location: tuple[str | int, ...]) -> Path_:
    """Drop what pydantic adds to a path (tags of a union) and the key that is missing."""
    path: list[str | int] = []
    for step in location:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(step)
    return tuple(path)


def _untagged(location: Path_, plugins: PluginSettings) -> tuple[Path_, str | None]:
    """Take out of a path the channel or kind that pydantic puts there to tell which of several models it was."""
    choices = {"targets": plugins.targets, "jobs": plugins.jobs}.get(str(location[0]) if location else "", {})
    if len(location) > 2 and len(choices) > 1:  # noqa: PLR2004 - section, entry, tag
        return (*location[:2], *location[3:]), str(location[2])
    return location, None


def _sentences(where: Path_, items: Sequence[Any], model: type[Config]) -> list[str]:
    """What is wrong at one place; that a value is none of several types is one mistake."""
    if len(items) > 1 and all(item["type"].endswith("_type") for item in items):
        messages = [item["msg"] for item in items]
        return [_sentence(items[0] | {"loc": where, "msg": " or ".join(dict.fromkeys(messages))}, model)]
    return [_sentence(item, model) for item in items]


_USER_IN_URL = re.compile(r"//[^/@\s]*@")


def _sentence(item: Any, model: type[Config]) -> str:
    kind, location = item["type"], item["loc"]
    name = location[-1] if location else ""
    dotted = ".".join(str(step) for step in location)
    if kind == "extra_forbidden":
        known = _known_keys(model, location, item["tag"])
        close = difflib.get_close_matches(str(name), known, n=1)
        return f"unknown key `{name}`" + (f"; did you mean `{close[0]}`?" if close else "")
    if kind == "missing":
        return f"`{name}` is missing"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        key = item["ctx"]["discriminator"].strip("'")
        expected = item["ctx"].get("expected_tags")
        tag = item["ctx"].get("tag")
        return f"unknown {key} `{tag}`; expected one of {expected}" if tag else f"`{key}` is missing"
    message = item["msg"].removeprefix("Value error, ")
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and kind != "value_error" else ""
    secret = any(word in dotted for word in ("token", "password", "secret", "key"))
    return _USER_IN_URL.sub("//…@", f"`{dotted}`: {message}{'' if secret else shown}")


def _known_keys(model: Any, location: tuple[str | int, ...], tag: str | None) -> list[str]:
    """The keys that a path could have had, from the model's own schema; empty where it cannot be told.

    `tag` is the channel or kind of the entry, where the section has several.
    """
    schema = model.model_json_schema()
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

    collect(schema, location[:-1])
    return sorted(names)


def _dangling(data: Mapping[str, Any], plugins: PluginSettings) -> Iterator[tuple[Path_, str]]:
    """Find names that nothing answers to, and job ids used twice; on raw data, so that all errors come at once."""
    targets = _entries(data.get("targets"))
    known = {str(name) for (name,), _ in targets}
    if isinstance(data.get("wechat"), dict) and data["wechat"].get("master"):
        known.add("master")
    places: list[tuple[Path_, dict[str, Any], tuple[str, ...]]]
    places = [(("targets", *path), target, ("fallback",)) for path, target in targets]
    places += [(("routes", *path), route, ("to",)) for path, route in _entries(data.get("routes"))]
    places += [(("jobs", *path), job, ("to", "on_error")) for path, job in _entries(data.get("jobs"))]
    for path, entry, keys in places:
        for key in keys:
            yield from _unknown_targets(entry.get(key), (*path, key), known)
    for (name,), target in targets:
        channel = str(target.get("channel"))
        if channel in plugins.sections and not isinstance(data.get(channel), dict):
            yield ("targets", name), f"target `{name}` uses {channel}, but there is no `{channel}:` section"
    seen: set[str] = set()
    for path, job in _entries(data.get("jobs")):
        if job.get("id") is None:
            continue
        job_id = str(job["id"])
        if job_id in seen:
            yield ("jobs", *path, "id"), f"the job id `{job_id}` is used twice"
        seen.add(job_id)


def _entries(section: Any) -> list[tuple[Path_, dict[str, Any]]]:
    """The mappings in a section, each with its key or index; what is no mapping is told of elsewhere."""
    pairs = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    return [((key,), value) for key, value in pairs if isinstance(value, dict)]


def _unknown_targets(names: Any, path: Path_, known: set[str]) -> Iterator[tuple[Path_, str]]:
    listed = isinstance(names, list)
    for index, name in enumerate(names if listed else [names]):
        if isinstance(name, str | int) and not isinstance(name, bool) and str(name) not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
            yield ((*path, index) if listed else path), f"unknown target `{name}`; {hint}"
