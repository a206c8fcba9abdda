"""jobs.yaml → `Config`: strict, with every error at once and each with its file and line.

The plug-ins' own settings are handed in (`PluginSettings`), so that this module imports none of them.
`yaml_loader` reads the file and what it includes into one tree; here it is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
)

from wxbridge.config.dangling import find_dangling
from wxbridge.config.dead_routes import find_dead_routes, write_path
from wxbridge.config.hooks import HooksSettings
from wxbridge.config.hosts import HostSettings
from wxbridge.config.mistakes import describe_mistakes
from wxbridge.config.people import PeopleSettings
from wxbridge.config.routes import RouteSettings
from wxbridge.config.server import ServerSettings
from wxbridge.config.time_intervals import Intervals
from wxbridge.config.types import (
    MASTER_KEYS,
    ChatSettings,
    Duration,
    FileBeside,
    GrafanaSettings,
    JobSettings,
    Names,
    PictureSettings,
    Secret,
    Section,
    TargetSettings,
    WatchSettings,
    WebSource,
    find_timezone,
    reveal,
)
from wxbridge.config.yaml_loader import ConfigTree, TreePath, find_nearest, list_entries, read_tree
from wxbridge.core.errors import ConfigError, Problem
from wxbridge.core.locale_language import language_of_environment
from wxbridge.core.model import Severity
from wxbridge.core.severities import BUILT_IN
from wxbridge.core.text.i18n import Language

_DATABASES = ("postgresql://", "postgres://")
"""How the address of a database begins, besides SQLite's."""


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


class Config(Section):
    """All of jobs.yaml. `load` makes it with the plug-ins' sections beside these."""

    language: Language = "en"
    """Of what people read in WeChat, in the console, on the command line and in logs; without it the latter two go by
    `$LANG`."""
    timezone: Annotated[ZoneInfo, BeforeValidator(find_timezone), Field(json_schema_extra={"type": "string"})] = (
        ZoneInfo("UTC")
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
        address = reveal(value).strip()
        if address and not address.startswith(_DATABASES):
            raise ValueError(
                "no address of a database that can be used; write postgresql://host/name, with user and password "
                "before the host, or leave it out for SQLite in `state_dir`"
            )
        return Secret(address) if address else None

    def read_from(self, source: ConfigTree) -> Self:
        """Note which files this was read from, the patterns that further ones would match, and where all stands."""
        self._files, self._patterns, self._lines = tuple(source.files), tuple(source.patterns), source.lines
        return self

    def warn_at(self, path: TreePath, text: str) -> Problem:
        """Make a problem of what is odd at a path, at the nearest line known."""
        file, line = find_nearest(self._lines, path) or (str(self.path), 1)
        return Problem(file, line, text)

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
        target, job = _union(self.targets, "channel", TargetSettings), _union(self.jobs, "kind", JobSettings)
        fields: dict[str, Any] = {name: (section | None, None) for name, section in self.sections.items()}
        fields["targets"] = (dict[str, target], Field(default_factory=dict))  # type: ignore[valid-type]
        fields["jobs"] = (list[job], Field(default_factory=list))  # type: ignore[valid-type]
        return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)

    def named_in(self, data: Mapping[str, Any]) -> PluginSettings:
        """Give those that a file's data names, without looking up the others; all where a section is none of theirs."""
        used = {str(entry.get("channel")) for _, entry in list_entries(data.get("targets"))}
        ran = {str(entry.get("kind")) for _, entry in list_entries(data.get("jobs"))}
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
    return config.read_from(source)


def _check(source: ConfigTree, data: dict[str, Any], path: Path, plugins: PluginSettings) -> Config | None:
    """Make the configuration that a tree describes; what is wrong is added to the tree."""
    data.pop("path", None) if ("path",) not in source.lines else source.add_problem(("path",), "unknown key `path`")
    config: Config | None = None
    try:
        config = _validate(data, path, plugins)
    except ValidationError as error:
        choices = {"targets": plugins.channels, "jobs": plugins.kinds}
        found = describe_mistakes(error, data, plugins.model, choices=choices, unread=source.unread)
        for where, text in found:
            source.add_problem(where, text)
    for where, text in find_dangling(data, plugins.named_in(data).sections):
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


def find_missing_parts(config: Config) -> list[Problem]:
    """Find what a file that was cut short lacks, and one that is meant so says: who is told, and of what."""
    masters = (config.section(name) for name in MASTER_KEYS)
    if not config.targets and not any(section and section.master for section in masters):
        return [Problem(str(config.path), 1, "there are no `targets` and no master: nobody can be told anything")]
    if config.targets and not {"routes", "jobs"} & config.model_fields_set:
        text = "there are `targets`, but neither `routes` nor `jobs`; is the file whole? If so, write `routes: []`"
        return [Problem(str(config.path), 1, text)]
    return []
