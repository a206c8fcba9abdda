"""jobs.yaml → `Config`: strict, with every error at once and each with its file and line.

The plug-ins' own settings are handed in (`PluginSettings`), so that this module imports none of them.
`yaml_loader` reads the file and what it includes into one tree; here it is checked.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Protocol, Self, Union
from zoneinfo import ZoneInfo

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)

from wxbridge.config import schedule
from wxbridge.config.dead_routes import find_dead_routes, write_path
from wxbridge.config.hooks import HooksSettings
from wxbridge.config.hosts import HostSettings
from wxbridge.config.people import PeopleSettings
from wxbridge.config.routes import RouteSettings
from wxbridge.config.time_intervals import Intervals
from wxbridge.config.tokens import TokenSettings
from wxbridge.config.types import (
    FROM_REQUEST,
    BaseUrl,
    ChatSettings,
    Duration,
    FileBeside,
    GrafanaSettings,
    JobSettings,
    Names,
    PictureSettings,
    RateField,
    Secret,
    Section,
    TargetSettings,
    WatchSettings,
    WebSource,
)
from wxbridge.config.yaml_loader import ConfigTree, TreePath, read_tree
from wxbridge.core.errors import ConfigError, Problem
from wxbridge.core.locale_language import language_of_environment
from wxbridge.core.model import Severity
from wxbridge.core.severities import BUILT_IN
from wxbridge.core.text.i18n import Language

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_DATABASES = ("postgresql://", "postgres://")
"""How the address of a database begins, besides SQLite's."""


def _timezone(value: Any) -> Any:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; write one like Asia/Shanghai or UTC") from None


Network = IPv4Network | IPv6Network

_NETWORKS = {"type": "array", "items": {"type": "string"}, "examples": [["10.0.0.0/8", "127.0.0.1"]]}


def _networks(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError("write a list of networks such as [10.0.0.0/8]")  # noqa: TRY004 - pydantic takes no other
    found = []
    for name in names:
        try:
            found.append(ip_network(str(name), strict=False))
        except ValueError:
            raise ValueError(f"{name!r} is no network; write one like 10.0.0.0/8 or 192.0.2.7") from None
    return tuple(found)


_SEVERITIES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}


def _severities(value: Any) -> Any:
    """Read both ways of writing them: the words of each severity, and the severity of each word."""
    if not isinstance(value, Mapping):
        raise ValueError("write words for severities, such as {critical: [T0], amber: warning}")  # noqa: TRY004 - pydantic takes no other
    found: dict[str, Severity] = {}
    for key, given in value.items():
        name, said = str(key), given if isinstance(given, list | tuple) else [given]
        if not isinstance(given, list | tuple) and (severity := BUILT_IN.find(str(given))):
            found[name] = severity
            continue
        if (severity := BUILT_IN.find(name)) is None or not all(isinstance(word, str | int) for word in said):
            words = f"`{name}: {given}`" if isinstance(given, str | int) else f"`{name}:`"
            raise ValueError(f"{words} names no severity; there are {', '.join(Severity)}")
        found |= {str(word): severity for word in said}
    return found


Severities = Annotated[dict[str, Severity], BeforeValidator(_severities), WithJsonSchema(_SEVERITIES)]


class ServerSettings(Section):
    """The HTTP server that takes alerts."""

    listen: str = "127.0.0.1:8080"
    """host:port. Beyond loopback a `token` is required."""
    token: Secret | None = None
    """What callers must show: `Authorization: Bearer`, basic (as the password), or `?token=`; it opens the console."""
    public_url: BaseUrl | None = None
    """Where people reach the console, such as `https://bridge.example.com`: alerts then link to their own page there,
    and in robots' groups to a page that silences them."""
    read_token: Secret | None = None
    """Opens the console, metrics and listings to those who may look and not change; it needs a `token` beside it."""
    tokens: dict[str, TokenSettings] = Field(default_factory=dict)
    """Further tokens by the name of their owner, each with a role; where there is any, nobody comes in without one."""
    proxies: Annotated[tuple[Network, ...], BeforeValidator(_networks), WithJsonSchema(_NETWORKS)] = ()
    """Networks of reverse proxies in front, such as `10.0.0.0/8`: whose `X-Forwarded-…` headers are believed."""
    max_body: Annotated[int, Field(gt=0)] = 4 * 1024 * 1024
    """The largest body that is read, in bytes."""
    rate: RateField | None = None
    """At most so many requests; beyond it the answer is 503 with Retry-After, which senders repeat."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
            raise ValueError(f"{value!r} is no address; write one like 127.0.0.1:8080")
        return value

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> ServerSettings:
        named = any(each.role == "admin" for each in self.tokens.values())
        if self.host not in LOOPBACK and not named and not (self.token and self.token.get_secret_value()):
            raise ValueError(
                f"listening on {self.listen} without a token would let anybody in; "
                "set `server.token` or listen on 127.0.0.1",
            )
        return self

    @model_validator(mode="after")
    def _two_tokens(self) -> ServerSettings:
        reading = self.read_token.get_secret_value() if self.read_token else ""
        if reading and not (self.token and self.token.get_secret_value()):
            raise ValueError("`read_token` without a `token`: everybody may change everything; set `server.token` too")
        if reading and self.token and reading == self.token.get_secret_value():
            raise ValueError("`read_token` and `token` are the same; whoever has one would have both")
        return self

    @property
    def host(self) -> str:
        """The address to bind, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0 for any free one."""
        return int(self.listen.rpartition(":")[2])


MASTER_KEYS = {"wechat": "contact", "ilink": "person"}
"""The sections that may name a master, and the key of a target that says who."""


class Config(Section):
    """All of jobs.yaml. `load` makes it with the plug-ins' sections beside these."""

    language: Language = "en"
    """Of what people read in WeChat, in the console, on the command line and in logs; without it the latter two go by
    `$LANG`."""
    timezone: Annotated[ZoneInfo, BeforeValidator(_timezone), Field(json_schema_extra={"type": "string"})] = ZoneInfo(
        "UTC"
    )
    """Of schedules and of times that people read, such as Asia/Shanghai."""
    state_dir: Path = Path("state")
    """Database, pictures, browser profile. Relative to this file."""
    database: Secret | None = None
    """PostgreSQL in place of SQLite in `state_dir`: `postgresql://user:password@host/name`, which several bridges may
    share, one of which leads. It needs `pip install 'wxbridge-monitoring[postgresql]'`."""
    server: ServerSettings = ServerSettings()
    grafana: GrafanaSettings | None = None
    prometheus: WebSource | None = None
    alertmanager: WebSource | None = None
    """Alertmanager, so that a chat is told what fires there, and can silence it."""
    pictures: PictureSettings = PictureSettings()
    watch: WatchSettings = WatchSettings()
    chat: ChatSettings = ChatSettings()
    host: HostSettings | None = None
    """What is measured of this machine and of those that push, and when a warning is given."""
    dedupe_window: Duration = 600.0
    """How long a repeated POST counts as the sender's own retry."""
    keep: Duration = 30 * 86400.0
    """How long settled messages and their pictures are kept."""
    operators: Names = ()
    """Targets that hear of what the bridge itself suffers, and of alerts that no target takes; the master of `wechat`
    or `ilink` where nothing is given."""
    targets: dict[str, TargetSettings] = Field(default_factory=dict)
    """The names that routes and jobs send to."""
    routes: list[RouteSettings] = Field(default_factory=list)
    time_intervals: dict[str, Intervals] = Field(default_factory=dict)
    """Named times, for `mute_time_intervals` and `active_time_intervals` of routes."""
    severities: Severities = Field(default_factory=dict)
    """Words for how bad an alert is, besides those that are known: `{黄牌: warning}`, or a list for each severity,
    `{critical: [T0, 红牌]}`. The severities are `critical`, `major`, `warning` and `info`."""
    hooks: HooksSettings = HooksSettings()
    """Who may post what, and how bodies of any shape are read."""
    people: PeopleSettings = PeopleSettings()
    """How the people that alerts, routes and rosters name are known in each channel, and who takes turns."""
    templates: FileBeside = Field(default=Path("templates"), validate_default=True)
    """The folder of templates for what people read."""
    jobs: list[JobSettings] = Field(default_factory=list)
    include: Names = ()
    """Further files of the same kind, or patterns such as `conf.d/*.yaml`, relative to the file that names them.
    Sections merge, and the items of lists come after this file's own, in the order of the names. Other relative
    paths in them are relative to this file."""
    path: Path = Field(default=Path(), exclude=True, json_schema_extra={"deprecated": True})
    """Where this was read from; not a key of the file."""
    _files: tuple[Path, ...] = PrivateAttr(default=())
    _patterns: tuple[str, ...] = PrivateAttr(default=())
    _channels: frozenset[str] | None = PrivateAttr(default=None)
    _lines: Mapping[TreePath, tuple[str, int]] = PrivateAttr(default_factory=dict)

    @field_validator("database")
    @classmethod
    def _address_of_postgresql(cls, value: Secret | None) -> Secret | None:
        address = value.get_secret_value().strip() if value else ""
        if address and not address.startswith(_DATABASES):
            raise ValueError(
                "no address of a database that can be used; write postgresql://host/name, with user and password "
                "before the host, or leave it out for SQLite in `state_dir`"
            )
        return Secret(address) if address else None

    def read_from(self, files: Sequence[Path], patterns: Sequence[str]) -> Self:
        """Note which files this was read from, and the patterns that further ones would match."""
        self._files, self._patterns = tuple(files), tuple(patterns)
        return self

    def standing_at(self, lines: Mapping[TreePath, tuple[str, int]]) -> Self:
        """Note where everything stands, by its path."""
        self._lines = lines
        return self

    def warn_at(self, path: TreePath, text: str) -> Problem:
        """Make a problem of what is odd at a path, at the nearest line known."""
        while path and path not in self._lines:
            path = path[:-1]
        return Problem(*self._lines.get(path, (str(self.path), 1)), text)

    def find_oddities(self) -> list[Problem]:
        """Find what can be used and is hardly meant so: routes that can never answer."""
        return [
            self.warn_at(each.path, f"{write_path(each.path)} can never match: {each.why}")
            for each in find_dead_routes(self.routes)
        ]

    def naming(self, channels: Iterable[str]) -> Self:
        """Note the channels that the file names."""
        self._channels = frozenset(channels)
        return self

    def may_use(self, channel: str) -> bool:
        """Whether a target or a section may be a channel's. A channel that is not used need not be looked up."""
        return self._channels is None or channel in self._channels

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that this was read from, the main one first."""
        return self._files

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of `include`, as paths: a new file that one matches belongs to this."""
        return self._patterns

    @property
    def base(self) -> Path:
        """The directory that relative paths are relative to."""
        return self.path.parent

    @property
    def reader_language(self) -> Language:
        """The language of logs and of the API's errors: as the file says, else as the environment does."""
        return self.language if "language" in self.model_fields_set else language_of_environment()

    def section(self, name: str) -> Any:
        """A plug-in's section, None where the file has none."""
        return getattr(self, name, None)


class ChannelModels(Protocol):
    """What a channel brings to jobs.yaml."""

    @property
    def target(self) -> type[TargetSettings]:
        """What a target of it looks like."""

    @property
    def section(self) -> str | None:
        """The key of its own section; None where it has none."""

    @property
    def settings(self) -> type[Section]:
        """What that section looks like."""


class KindModels(Protocol):
    """What a job kind brings to jobs.yaml."""

    @property
    def settings(self) -> type[JobSettings]:
        """What a job of it looks like."""


@dataclass(frozen=True)
class PluginSettings:
    """The settings that plug-ins bring. A mapping may find a plug-in only when it is looked up."""

    channels: Mapping[str, ChannelModels]
    kinds: Mapping[str, KindModels]
    others: Mapping[str, Any]
    """Sections that belong to no channel, by key."""
    _named: dict[tuple[tuple[str, ...], tuple[str, ...]], PluginSettings] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @cached_property
    def targets(self) -> dict[str, type[TargetSettings]]:
        """What targets look like, by channel."""
        return {name: channel.target for name, channel in self.channels.items()}

    @cached_property
    def jobs(self) -> dict[str, type[JobSettings]]:
        """What jobs look like, by kind."""
        return {name: kind.settings for name, kind in self.kinds.items()}

    @cached_property
    def sections(self) -> dict[str, Any]:
        """What sections look like, by key."""
        own = {channel.section: channel.settings for channel in self.channels.values() if channel.section}
        return {**self.others, **own}

    @cached_property
    def model(self) -> type[Config]:
        """The model of the whole file with these plug-ins; its JSON Schema is `wxbridge schema`."""
        return config_model(self)

    def named_in(self, data: Mapping[str, Any]) -> PluginSettings:
        """Give those that a file's data names, without looking up the others; all where a section is none of theirs."""
        used = {str(entry.get("channel")) for _, entry in _list_entries(data.get("targets"))}
        ran = {str(entry.get("kind")) for _, entry in _list_entries(data.get("jobs"))}
        # An entry that names none there is, or nothing, is compared with all: it is told which there are.
        channels = tuple(name for name in self.channels if name in used | data.keys() or used - self.channels.keys())
        kinds = tuple(name for name in self.kinds if name in ran or ran - self.kinds.keys())
        if (named := self._named.get((channels, kinds))) is None:
            named = self._named[channels, kinds] = PluginSettings(
                {name: self.channels[name] for name in channels},
                {name: self.kinds[name] for name in kinds},
                self.others,
            )
        return named if data.keys() <= {*Config.model_fields, *named.sections} else self


def config_model(plugins: PluginSettings) -> type[Config]:
    """Put the plug-ins' settings into the model of the whole file."""
    target, job = _union(plugins.targets, "channel", TargetSettings), _union(plugins.jobs, "kind", JobSettings)
    fields: dict[str, Any] = {
        "targets": (dict[str, target], Field(default_factory=dict)),  # type: ignore[valid-type]
        "jobs": (list[job], Field(default_factory=list)),  # type: ignore[valid-type]
    }
    for name, section in plugins.sections.items():
        fields[name] = (section | None, None)
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)


def _union(choices: Mapping[str, type[Section]], discriminator: str, base: type[Section]) -> Any:
    models = tuple(choices.values())
    if len(models) <= 1:
        return models[0] if models else base
    return Annotated[Union[models], Field(discriminator=discriminator)]  # noqa: UP007 - built at run time


# ---------------------------------------------------------------- checking


class BrokenConfig(ConfigError):
    """A `ConfigError` that knows which files were read, so that they can be watched for the correction."""

    def __init__(self, problems: list[Problem], files: Sequence[Path], patterns: Sequence[str]) -> None:
        super().__init__(problems)
        self.files, self.patterns = tuple(files), tuple(patterns)


def load(path: Path, plugins: PluginSettings, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file with those that it includes.

    Relative paths in them become relative to the main file, wherever they stand; but names in `include` are
    relative to the file that they stand in.

    Raises:
        BrokenConfig: with everything that is wrong, each `FILE:LINE: what is wrong, what was expected`.
    """
    source = read_tree(path, os.environ if environment is None else environment)
    config = None
    if isinstance(source.data, dict):
        config = _check(source, source.data, path, plugins)
    if (problems := source.list_problems()) or config is None:
        raise BrokenConfig(problems, source.files, source.patterns)
    config = config.model_copy(update={"state_dir": config.base / config.state_dir.expanduser()})
    return config.read_from(source.files, source.patterns).standing_at(source.lines)


def _check(source: ConfigTree, data: dict[str, Any], path: Path, plugins: PluginSettings) -> Config | None:
    """Make the configuration that a tree describes; what is wrong is added to the tree."""
    data.pop("path", None) if ("path",) not in source.lines else source.add_problem(("path",), "unknown key `path`")
    config: Config | None = None
    try:
        config = _validate(data, path, plugins)
    except ValidationError as error:
        model = plugins.model
        found: dict[TreePath, list[Any]] = {}
        for problem in error.errors(include_url=False):
            location, tag = _untagged(problem["loc"], plugins)
            if problem["type"] == "union_tag_invalid":
                location = (*location, problem["ctx"]["discriminator"].strip("'"))
            item = {**problem, "loc": location, "tag": tag}
            where = _existing_path(data, location)
            if where not in source.unread:
                found.setdefault(location if problem["type"] == "missing" else where, []).append(item)
        for where, items in found.items():
            for text in _describe_errors(where, items, model):
                source.add_problem(where, text)
    for where, text in _find_dangling(data, plugins.named_in(data)):
        source.add_problem(where, text)
    for where, text in _find_missing_keys(config, plugins) if config else ():
        source.add_problem(where, text)
    return config


def _validate(data: Mapping[str, Any], path: Path, plugins: PluginSettings) -> Config:
    """Make the configuration. Raises `ValidationError`, which tells of all plug-ins that there are."""
    given, context = {**data, "path": path}, {"base": path.parent}
    named = plugins.named_in(data)
    try:
        config = named.model.model_validate(given, context=context)
    except ValidationError:
        config = plugins.model.model_validate(given, context=context)
    return config.naming(named.channels)


def _find_missing_keys(config: Config, plugins: PluginSettings) -> Iterator[tuple[TreePath, str]]:
    """Find what targets need of their channel's section and is not there."""
    for name, target in config.targets.items():
        section = plugins.channels[target.channel].section
        for key in target.lacks(config.section(section) if section else None):
            where = f"the section `{section}:` has none either" if "." not in key else "it is not there"
            yield ("targets", name), f"target `{name}` ({target.channel}) needs `{key}`, and {where}"


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


def _untagged(location: TreePath, plugins: PluginSettings) -> tuple[TreePath, str | None]:
    """Take out of a path the channel or kind that pydantic puts there to tell which of several models it was."""
    known: dict[str, Sized] = {"targets": plugins.channels, "jobs": plugins.kinds}
    choices = known.get(str(location[0]) if location else "", ())
    if len(location) > 2 and len(choices) > 1:  # noqa: PLR2004 - section, entry, tag
        return (*location[:2], *location[3:]), str(location[2])
    return location, None


def _describe_errors(where: TreePath, items: Sequence[Any], model: type[Config]) -> list[str]:
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


def _describe_error(item: Any, model: type[Config]) -> str:
    kind, location = item["type"], item["loc"]
    name = location[-1] if location else ""
    dotted = ".".join(str(step) for step in location)
    if kind == "extra_forbidden" and dotted == "pictures.alerts.painter":
        return "unknown key `painter`; the bridge draws the charts of Grafana's rules by itself: take it out"
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
    message = _PYDANTIC_NAMES.sub("", item["msg"].removeprefix("Value error, "))
    given = item.get("input")
    shown = f", not {given!r}" if isinstance(given, str | int | float | bool) and kind not in _NOT_SHOWN else ""
    secret = any(word in dotted for word in ("token", "password", "secret", "key", "database"))
    return _without_secrets(f"`{dotted}`: {message}{'' if secret else shown}")


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


def find_missing_parts(config: Config) -> list[Problem]:
    """Find what a file that was cut short lacks, and one that is meant so says: who is told, and of what."""
    masters = (config.section(name) for name in MASTER_KEYS)
    if not config.targets and not any(section and section.master for section in masters):
        return [Problem(str(config.path), 1, "there are no `targets` and no master: nobody can be told anything")]
    if config.targets and not {"routes", "jobs"} & config.model_fields_set:
        text = "there are `targets`, but neither `routes` nor `jobs`; is the file whole? If so, write `routes: []`"
        return [Problem(str(config.path), 1, text)]
    return []


def _find_dangling(data: Mapping[str, Any], plugins: PluginSettings) -> Iterator[tuple[TreePath, str]]:
    """Find names that nothing answers to, and what can never run; on raw data, so that all errors come at once."""
    targets = _list_entries(data.get("targets"))
    known = {str(name) for (name,), _ in targets}
    sections = {name: data[name] for name in MASTER_KEYS if isinstance(data.get(name), dict)}
    # Of iLink's people the first is, where nobody is named.
    if "ilink" in sections or any(section.get("master") for section in sections.values()):
        known.add("master")
    intervals = data.get("time_intervals")
    times = set(map(str, intervals)) if isinstance(intervals, dict) else set()
    for_alerts = {
        str(name): "from-alert" for (name,), target in targets if target.get("to") in ("from-alert", ["from-alert"])
    }
    open_ones = {
        str(name): FROM_REQUEST
        for (name,), target in targets
        if FROM_REQUEST in (target.get("key"), target.get("access_token"))
    }
    for_alerts |= open_ones
    for path, target in targets:
        yield from _find_unknown(target.get("fallback"), ("targets", *path, "fallback"), known)
        yield from _find_unaddressed(target.get("fallback"), ("targets", *path, "fallback"), for_alerts)
    hooks = data.get("hooks")
    for (index,), entry in _list_entries(hooks.get("compat") if isinstance(hooks, dict) else None):
        yield from _find_unknown(entry.get("to"), ("hooks", "compat", index, "to"), known)
    yield from _find_unknown(data.get("operators"), ("operators",), known)
    yield from _find_unaddressed(data.get("operators"), ("operators",), for_alerts)
    yield from _find_circles({str(name): target for (name,), target in targets})
    for path, route in _walk_routes(data.get("routes"), ("routes",)):
        yield from _find_unknown(route.get("to"), (*path, "to"), known)
        yield from _find_unaddressed(route.get("to"), (*path, "to"), open_ones)
        for key in ("mute_time_intervals", "active_time_intervals"):
            yield from _find_unknown(route.get(key), (*path, key), times, "time interval")
    for (name,), target in targets:
        channel = str(target.get("channel"))
        if channel in plugins.sections and not isinstance(data.get(channel), dict):
            yield ("targets", name), f"target `{name}` uses {channel}, but there is no `{channel}:` section"
    yield from _check_jobs(data.get("jobs"), known, for_alerts)


def _check_jobs(section: Any, known: set[str], for_alerts: Mapping[str, str]) -> Iterator[tuple[TreePath, str]]:
    seen: set[str] = set()
    for at, job in _list_entries(section):
        path = ("jobs", *at)
        for key in ("to", "on_error"):
            yield from _find_unknown(job.get(key), (*path, key), known)
            yield from _find_unaddressed(job.get(key), (*path, key), for_alerts)
        yield from _find_idle(job, path)
        job_id = None if job.get("id") is None else str(job["id"])
        if job_id in seen:
            yield (*path, "id"), f"the job id `{job_id}` is used twice"
        elif job_id is not None:
            seen.add(job_id)


def _walk_routes(section: Any, path: TreePath) -> Iterator[tuple[TreePath, dict[str, Any]]]:
    """Walk the routes of a section, each followed by those within it."""
    for (index,), route in _list_entries(section):
        yield (*path, index), route
        yield from _walk_routes(route.get("routes"), (*path, index, "routes"))


def _find_idle(job: dict[str, Any], path: TreePath) -> Iterator[tuple[TreePath, str]]:
    """Find what keeps a job from ever doing anything."""
    if job.get("to") == []:
        yield (*path, "to"), "a job without a target does nothing; name one"
    cron = job.get("cron")
    if isinstance(cron, str | dict) and cron:
        try:
            times = schedule.make_cron_schedule(cron, ZoneInfo("UTC"))
        except (ValueError, TypeError):
            return  # told where values are checked
        if times.next_after(datetime.now(UTC)) is None:
            yield (*path, "cron"), f"`{path[0]}.{path[1]}.cron`: {cron!r} never comes; is there such a day?"


def _find_circles(targets: Mapping[str, dict[str, Any]]) -> Iterator[tuple[TreePath, str]]:
    """Find fallbacks that lead back to where they began, each circle at the target that stands first."""
    graph: dict[str, set[str]] = {}
    for name, target in targets.items():
        names = target.get("fallback")
        graph[name] = {str(each) for each in (names if isinstance(names, list) else [names])} & targets.keys()
    order = list(targets)
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            ring = error.args[1][:0:-1]
            start = ring.index(min(ring, key=order.index))
            ring = [*ring[start:], *ring[:start]]
            graph[ring[-1]].discard(ring[0])
            if len(ring) == 1:
                text = f"target `{ring[0]}` falls back on itself; name another target"
            else:
                text = f"fallbacks go in a circle: {' → '.join([*ring, ring[0]])}; let the last of them have none"
            yield ("targets", ring[0], "fallback"), text
        else:
            return


def _list_entries(section: Any) -> list[tuple[TreePath, dict[str, Any]]]:
    """List the mappings in a section, each with its key or index; what is no mapping is told of elsewhere."""
    pairs = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    return [((key,), value) for key, value in pairs if isinstance(value, dict)]


def _find_unaddressed(names: Any, path: TreePath, for_alerts: Mapping[str, str]) -> Iterator[tuple[TreePath, str]]:
    """Find targets without an address of their own where nothing says whom they are to tell; `for_alerts` says why."""
    listed = isinstance(names, list)
    for index, name in enumerate(names if listed else [names]):
        if str(name) in for_alerts:
            text = (
                f"target `{name}` sends to the robot that a sender names in its address; name one with a key of its own"
                if for_alerts[str(name)] == FROM_REQUEST
                else f"target `{name}` sends to those whom an alert names (`to: from-alert`); name one with an address"
            )
            yield ((*path, index) if listed else path), text


def _find_unknown(names: Any, path: TreePath, known: set[str], what: str = "target") -> Iterator[tuple[TreePath, str]]:
    listed = isinstance(names, list)
    for index, name in enumerate(names if listed else [names]):
        if isinstance(name, str | int) and not isinstance(name, bool) and str(name) not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean `{close[0]}`?" if close else f"there are {', '.join(sorted(known)) or 'none'}"
            yield ((*path, index) if listed else path), f"unknown {what} `{name}`; {hint}"
