"""What every section of jobs.yaml is made of: a strict base model, secrets, durations, rates.

Plug-ins (channels, job kinds) describe their own keys with these; `config` puts them together.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin
from urllib.parse import unquote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    WrapSerializer,
    field_validator,
    model_validator,
)

from wxbridge.config import schedule
from wxbridge.core.credentials import ApiAddress
from wxbridge.core.sliding_window import Rate as Rate  # noqa: PLC0414 - sections name it with their other types

# Else pydantic looks through everything that is installed for plug-ins of its own, at the first model.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

FORM = "x-form"
"""In a field's schema: how its value is written, where that is more than its type; see `editor_schema`."""
ONE_OR_MANY: dict[str, Any] = {FORM: "names"}
"""Of a list that may be written as its only item."""
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
MAX_DURATION_SECONDS = 36525 * 86400.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|min|m|h|d|w)")
_RATE = re.compile(r"(\d+)(?:\s*/\s*(\d*)\s*(s|sec|second|m|min|minute|h|hour|d|day))?")
_RATE_UNIT_SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
               "d": 86400, "day": 86400}  # fmt: skip


def parse_duration(value: Any) -> float:
    """Read a duration such as `90s`, `2m`, `1h30m` or `7d` into seconds.

    Raises:
        ValueError: it is none; the text says what one looks like.
    """
    if isinstance(value, timedelta):
        return value.total_seconds()
    text = str(value).strip().replace(" ", "")
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{value!r} is no duration; write one like 30s, 5m, 1h30m or 7d")
    seconds = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    if seconds > MAX_DURATION_SECONDS:
        raise ValueError(f"{text[:40]!r} is longer than a hundred years")
    return seconds


def write_duration(seconds: float) -> str:
    """Write a duration as in jobs.yaml."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds % size == 0 and (seconds or unit == "s"):
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def parse_rate(value: Any) -> Rate:
    """Read `1/s`, `30/min`, `20/30s` or, per day, `600`.

    Raises:
        ValueError: it is none, or zero.
    """
    if isinstance(value, Rate):
        return value
    match = _RATE.fullmatch(str(value).strip())
    if not match or int(match[1]) < 1 or (match[2] and int(match[2]) < 1):
        raise ValueError(f"{value!r} is no rate; write one like 1/s, 30/min or 600 (a day)")
    return Rate(int(match[1]), int(match[2] or 1) * _RATE_UNIT_SECONDS[match[3] or "d"])


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(write_duration, when_used="json"),
    WithJsonSchema({"type": "string", FORM: "duration", "examples": ["30s", "5m", "1h"]}),
]
"""Seconds; written as `30s`, `5m`, `1h30m`."""

RateField = Annotated[
    Rate,
    GetPydanticSchema(lambda _source, handler: handler(Any)),
    AfterValidator(parse_rate),
    PlainSerializer(str),
    WithJsonSchema({"type": ["string", "integer"], FORM: "rate", "examples": ["1/s", "30/min", 600]}),
]
"""A `Rate`; written as `1/s`, `30/min`, or a bare number for a day."""


def find_timezone(name: Any) -> ZoneInfo:
    """Find a time zone by its IANA name. Raises `ValueError`."""
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one like Asia/Shanghai or UTC") from None


Secret = SecretStr
"""A value that never reaches a log, an error or a page. `KEY_file:` names a file to read it from."""


def reveal(secret: Secret | None) -> str:
    """Give the text of a secret; an empty one where there is none."""
    return secret.get_secret_value() if secret else ""


def _beside_the_file(path: Path, info: ValidationInfo) -> Path:
    """Relative paths are relative to the configuration file, not to wherever the command was typed."""
    base: Path = (info.context or {}).get("base", Path())
    return base / path.expanduser()


FileBeside = Annotated[Path, AfterValidator(_beside_the_file)]
"""The path of a file; a relative one is relative to jobs.yaml."""


def _is_secret(annotation: Any) -> bool:
    is_named = get_origin(annotation) is dict  # several, each under a name of its own
    return annotation is SecretStr or (SecretStr in get_args(annotation) and not is_named)


@cache
def _read_docstrings(module: str) -> dict[str, dict[str, str]]:
    """Read the strings below the fields of a module's classes from its source: by class, by field."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        for statement, below in pairwise(node.body if isinstance(node, ast.ClassDef) else ()):
            match node, statement, below:
                case (
                    ast.ClassDef(name=owner),
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as words)),
                ):
                    found.setdefault(owner, {})[name] = inspect.cleandoc(words)
    return found


def _attribute_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Give the strings below a model's fields, by their keys.

    Only for the schema: pydantic's own `use_attribute_docstrings` would read the source at every start.
    """
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        if not issubclass(each, Section) or getattr(sys.modules[each.__module__], each.__name__, None) is not each:
            continue  # made at run time
        # Who writes a field anew has its own words for it, or none.
        for name in vars(each).get("__annotations__", ()):
            found.pop(name, None)
        found |= _read_docstrings(each.__module__).get(each.__name__, {})
    fields = model.model_fields
    return {fields[name].alias or name: words for name, words in found.items() if name in fields}


def _finish_schema(schema: dict[str, Any], model: type[BaseModel]) -> None:  # noqa: C901 - a line for each thing
    """Add what the model's docstrings say and the `*_file` keys; write defaults of durations as a person would."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return
    for rule in ("one_of", "any_of"):
        if groups := getattr(model, rule, ()):
            schema[f"x-{rule.replace('_', '-')}"] = [list(group) for group in groups]
    for name, text in _attribute_docstrings(model).items():
        if name in properties:
            properties[name].setdefault("description", text)
    for field, info in model.model_fields.items():
        name = info.alias or field
        steps = [*info.metadata, *(step for part in get_args(info.annotation) for step in get_args(part))]
        if any(getattr(step, "func", None) is parse_duration for step in steps):
            default = properties[name].get("default")
            properties[name] |= {"default": write_duration(default)} if default is not None else {}
        if isinstance(info.default, Rate):
            properties[name]["default"] = str(info.default)
        if isinstance(info.default, BaseModel):
            # The section's own schema tells its defaults, and as they are written.
            properties[name].pop("default", None)
        if _is_secret(info.annotation):
            properties[f"{name}_file"] = {"type": "string", "description": f"A file that holds `{name}`."}


class Section(BaseModel):
    """A mapping of jobs.yaml: unknown keys are errors, values do not change once read."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of keys of which exactly one is to be given; for the schema, as the model says it in words."""
    any_of: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Groups of keys of which at least one is to be given."""
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        coerce_numbers_to_str=True,
        arbitrary_types_allowed=True,
        json_schema_extra=_finish_schema,
        defer_build=True,  # until it is used: most files have few of the sections that there are
    )

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        for name, about in cls.model_fields.items():
            key = f"{name}_file"
            if not _is_secret(about.annotation) or key not in data:
                continue
            path = _beside_the_file(Path(str(data.pop(key))), info)
            if name in data:
                raise ValueError(f"both `{name}` and `{key}` are given; keep one")
            try:
                data[name] = path.read_text(encoding="utf-8").strip()
            except OSError as error:
                raise ValueError(f"`{key}`: cannot read {path}: {error.strerror}") from None
            except ValueError:
                raise ValueError(f"`{key}`: cannot read {path}: it is no text") from None
        return data


class Pace(Section):
    """How fast a channel may send. Counts in sliding windows; bursts are allowed within them."""

    chat: RateField | None = None
    """Per room or contact."""
    total: RateField | None = None
    """Over the whole channel."""
    day: RateField | None = None
    """Over the whole channel, a day."""


PaceField = Annotated[
    Pace,
    BeforeValidator(lambda value: {} if value in (None, "none") else value),
    WrapSerializer(lambda pace, write: write(pace) or "none", when_used="json"),
    Field(json_schema_extra={FORM: "pace"}),
]
"""A `Pace`, or `none` for as fast as it goes."""


def one_or_many(value: Any) -> Any:
    """Give what may be written as its only item as a list."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(one_or_many),
    WithJsonSchema({"type": "array", "items": {"type": "string"}, FORM: "names"}),
]
"""A name or a list of names."""


ALERT_LABELS = ("owner", "notify_users_obj")
"""Labels and annotations that name people, where nothing else is said; the latter is Nightingale's."""


FROM_REQUEST = "from-request"
"""Stands for a robot's key that the sender of an alert writes into its own address."""


MASTER_KEYS = {"wechat": "contact", "ilink": "person"}
"""The sections that may name a master, and the key of a target that says who."""


class TargetSettings(Section):
    """What every target has, whatever its channel. A channel's own target adds the address."""

    address_keys: ClassVar[tuple[str, ...]] = ()
    """The keys that say where the target leads to, and are no secret."""

    channel: str
    """Which way into WeChat: `wechat`, `wecom_robot`, …"""
    pace: PaceField | None = None
    """Instead of the channel's pace."""
    fallback: Names = ()
    """Targets that take over while this one cannot be reached."""
    failover_after: Duration = 120.0
    """How long a message waits in an outage before the fallback takes it; waiting for the pace does not count."""
    digest_after: Duration | None = 300.0
    """Where waiting alerts would take longer than this at the pace, they are merged into one digest; `0s` for never."""
    digest_count: Annotated[int, Field(ge=3)] = 10
    """Where so many alerts wait for one chat, the first are told singly and the others merged into one digest; never
    with `pace: none`."""
    expires_after: Duration = 86400.0
    """How long a message is worth sending, counted from its creation."""
    commands: bool = False
    """Whether chat commands are answered here."""
    announce: str | None = None
    """A text sent here once the bridge is up."""

    template: str | None = None
    """The template of alerts sent here: the name of a file in `templates:`; the route's own comes first."""

    def address(self, recipient: str | None = None) -> Any:  # noqa: ARG002 - for those that send `to: from-alert`
        """What the channel's `send` is handed; `recipient` is one of `recipients`."""
        return self

    def capabilities(self, usual: Any) -> Any:
        """What can be carried here, as `model.Capabilities`; `usual` is what the channel can."""
        return usual

    def recipients(self, names: Sequence[str], people: Mapping[str, Mapping[str, str]]) -> list[str] | None:  # noqa: ARG002
        """The `recipient` of each message that an alert becomes here; None where the target says who is meant.

        `names` are those that the alert names. `people` tells how each is known in which channel; who is not in
        it is known by the alert's own name.
        """
        return None

    @property
    def is_from_request(self) -> bool:
        """Whether the sender of an alert says in its own address which robot this is (`key: from-request`)."""
        return False

    def request_keys(self) -> Mapping[str, str]:
        """What a sender writes into its own address to be sent here: each key with what stands for its value."""
        return {"key": "KEY", "mention": "all"} if self.is_from_request else {}

    def read_request(self, key: str, secret: str) -> str:  # noqa: ARG002 - for those that take one
        """Read what a sender wrote into its address, as the `recipient` of `address`.

        Raises:
            ValueError: it can be no robot's; the text does not show it.
        """
        raise ValueError("this target has an address of its own, and takes none from a request")

    def reaches(self, person: str) -> bool:  # noqa: ARG002 - for those that are a private chat
        """Whether somebody, by the name that the channel knows, is written to here, and nobody else is."""
        return False

    def lane(self) -> str:
        """What shares one connection and one state with this target: the channel, or one account of it."""
        return self.channel

    def lacks(self, section: Any) -> list[str]:  # noqa: ARG002 - for channels that need one
        """The keys that it needs and neither it nor the channel's section has (None where the file has none)."""
        return []

    def chat_key(self) -> str:
        """What tells one chat of the channel from another, for pacing per chat."""
        raise NotImplementedError  # pragma: no cover - every channel's target says it


_SCHEDULES: Mapping[str, Callable[[Any, ZoneInfo], schedule.Schedule]] = {
    "cron": schedule.make_cron_schedule,
    "every": schedule.make_interval_schedule,
    "at": schedule.make_time_schedule,
}
"""The keys that say when a job runs, and what makes a schedule of each."""


class JobSettings(Section):
    """What every job has, whatever its kind. Exactly one of `cron`, `every` and `at` says when it runs."""

    id: Annotated[str, Field(min_length=1)]
    """The name of the job, for `wxbridge jobs run ID`."""
    kind: str
    """What it does: `screenshot`, `picture`, `text`, …"""
    to: Annotated[Names, Field(json_schema_extra={"minItems": 1})]
    """Targets."""
    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("cron", "every", "at"),)
    cron: Annotated[str | dict[str, str] | None, Field(json_schema_extra={FORM: "cron"})] = None
    """A crontab line such as `5 9-18 * * 1-5`, or a mapping of fields; 0 and 7 are Sunday in both."""
    every: Duration | None = None
    """An interval, by the local clock from midnight on (from that of 2000-01-01 where it does not divide a day)."""
    at: Annotated[str | list[str] | None, Field(json_schema_extra={FORM: "time"})] = None
    """`09:30` each day, or `2026-12-31 09:30` once."""
    on_error: Names = ()
    """Targets that are told, once, when the job begins to fail; the operators when not given."""
    misfire_grace: Duration = 300.0
    """How late a run may still start (after a suspended machine, say). Several late runs become one."""

    @field_validator(*_SCHEDULES)
    @classmethod
    def _schedule(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            _SCHEDULES[str(info.field_name)](value, ZoneInfo("UTC"))
        return value

    @model_validator(mode="after")
    def _one_schedule(self) -> JobSettings:
        given = [name for name in _SCHEDULES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a job has one of `cron`, `every` and `at`, not {' and '.join(given) or 'none'}")
        return self

    def make_schedule(self, timezone: ZoneInfo) -> schedule.Schedule:
        """When this job runs."""
        name = next(name for name in _SCHEDULES if getattr(self, name) is not None)
        return _SCHEDULES[name](getattr(self, name), timezone)


BaseUrl = Annotated[str, Field(pattern=r"^https?://[^/?#]+"), AfterValidator(lambda url: url.rstrip("/"))]
"""An http(s) address, kept without a slash at its end."""


class WebSource(Section):
    """An HTTP service that asks who is there: by token, or by user and password."""

    url: BaseUrl
    """Where it is, as the bridge reaches it."""
    token: Secret | None = None
    """Sent as `Authorization: Bearer`. For Grafana: a service account's token."""
    user: str | None = None
    password: Secret | None = None
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""

    @property
    def shown(self) -> str:
        """The address without the user and password that may stand in it."""
        head, slashes, rest = self.url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{head}{slashes}{host.rpartition('@')[2]}{slash}{path}"

    def address(self, name: str, section: str) -> ApiAddress:
        """Make what `ApiClient` takes of it: `name` is what people call it, `section` where it stands in jobs.yaml.

        `user:password@` in the address counts where no other credentials are given.
        """
        parts = urlsplit(self.url)
        entry, _, host = parts.netloc.rpartition("@")
        user, password = self.user, reveal(self.password)
        if entry and not self.token and user is None:
            user, password = map(unquote, entry.partition(":")[::2])
        base = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        return ApiAddress(name, section, base, reveal(self.token) or None, user, password, self.ca)

    @model_validator(mode="after")
    def _one_way_in(self) -> WebSource:
        if self.token and self.user:
            raise ValueError("both `token` and `user` are given; keep one")
        if (self.user is None) != (self.password is None):
            raise ValueError("`user` and `password` belong together")
        return self


OrgId = Annotated[int, Field(ge=1)]
"""An organisation of Grafana's, by its number."""


class GrafanaSettings(WebSource):
    """Where Grafana is and how to get in; addresses in jobs may be relative to its `url`."""

    public_url: BaseUrl | None = None
    """Where people reach it, for the links in answers; `url` when not given. Addresses below it, in jobs and of alerts'
    pictures, are asked for below `url`."""


class S3Settings(Section):
    """A store that speaks S3: Amazon's, MinIO, Ceph, Aliyun OSS, … ."""

    endpoint: BaseUrl
    """Where the store is, as the services that fetch pictures reach it: `https://s3.eu-central-1.amazonaws.com`."""
    bucket: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}$")]
    """The bucket; it stays closed, as every address is signed."""
    access_key: Annotated[str, Field(min_length=1)]
    """The key's id. It may put objects and get them, below the prefix; nothing else is needed."""
    secret_key: Secret
    region: str = "us-east-1"
    """The region that is signed for; stores of one's own mostly take any."""
    prefix: Annotated[str, Field(pattern=r"^[^/?#\s][^?#\s]*$|^$")] = "wxbridge/"
    """What comes before the names of pictures."""
    expires: Annotated[Duration, Field(ge=60, le=604800)] = 604800.0
    """How long an address is good; seven days at most. Have the store delete objects of that age by a rule."""
    addressing: Literal["path", "host"] = "path"
    """Whether the bucket stands in the path or before the host (Aliyun OSS takes only the latter)."""


class PublishSettings(Section):
    """Where pictures are put for services that fetch them from an address; one of `url` and `s3`."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("url", "s3"),)
    url: BaseUrl | None = None
    """Where wxbridge's own server is reached from outside; it shows a picture to whoever knows its long random name."""
    s3: S3Settings | None = None
    """A store with signed, expiring addresses."""

    @model_validator(mode="after")
    def _one_place(self) -> PublishSettings:
        if bool(self.url) == bool(self.s3):
            raise ValueError("give one of `url:` (where this bridge is reached from outside) and `s3:`")
        return self


DEFAULT_PICTURE_STORM = Rate(20, 300)
"""How many pictures alerts may bring, where nothing else is said."""


class AlertPictureSettings(Section):
    """The pictures that alerts bring: their own, Grafana's panel, or a chart from Prometheus."""

    deadline: Annotated[Duration, Field(gt=0)] = 20.0
    """How long an alert's picture may take; then a line with its link stands in for it."""
    storm: RateField = DEFAULT_PICTURE_STORM
    """How many pictures alerts may bring in a while; in a storm those after that come without, and a line says so."""
    theme: Literal["light", "dark"] = "light"
    """How charts and panels look."""


class PictureSettings(Section):
    """How pictures are made and what may be fetched."""

    allow: Names = ()
    """Hosts, `*.` patterns and networks (CIDR) from which pictures may be fetched besides Grafana's own."""
    deadline: Duration = 60.0
    """How long one picture may take, from being asked for to its bytes."""
    max_size: Annotated[int, Field(gt=0)] = 20 * 1024 * 1024
    """The largest picture that is fetched, in bytes."""
    browser: FileBeside | None = None
    """The Chromium, Chrome or Edge to drive; found by itself when not given."""
    browser_idle: Duration = 300.0
    """How long an unused browser is kept warm."""
    pages: Annotated[int, Field(ge=1, le=16)] | None = None
    """How many pages are shot side by side; by itself two, one where memory is scarce, up to four where it is not."""
    alerts: AlertPictureSettings = AlertPictureSettings()
    """The pictures that alerts bring."""
    publish: PublishSettings | None = None
    """Where pictures are put for channels that take addresses only (DingTalk, Teams)."""


class ChatSettings(Section):
    """How people ask in the chat: where a target has `commands: true`, and in the master's direct chat."""

    prefix: Annotated[str, Field(max_length=20)] = "/"
    """What makes a line in a room a command without a mention: a sign such as `/`, or a word such as `bot`. Empty: only
    mentions do."""
    admins: Names = ()
    """Who may change something (silence, run, mute): ids, or the remark, WeChat id or name of a contact."""
    promql: Names = ()
    """Who may have any query drawn; written like `admins`."""
    rate: RateField = Rate(20, 60.0)
    """How many commands one person is answered."""
    mention: bool = False
    """Whether an answer in a room mentions whoever asked."""

    @field_validator("prefix")
    @classmethod
    def _one_word(cls, value: str) -> str:
        if len(value.split()) > 1:
            raise ValueError(f"{value!r} has blanks in it; a prefix is a sign or one word, like / or bot")
        return value.strip()


class WatchSettings(Section):
    """How somebody outside learns that the bridge itself is not well."""

    heartbeat: Secret | None = None
    """An http(s) address that is fetched while the bridge is well: a dead man's switch that calls when it is silent."""
    every: Annotated[Duration, Field(ge=1)] = 60.0
    """How often the heartbeat beats."""
    oldest: Annotated[Duration, Field(gt=0)] = 900.0
    """Where a message has waited longer than this, the target's fallback (or the operators) are told."""

    @field_validator("heartbeat")
    @classmethod
    def _web_address(cls, value: Secret | None) -> Secret | None:
        if value is None or not value.get_secret_value():
            return None
        # The value stays out of the message: such addresses hold their secret in the path.
        if not re.match(r"https?://[^/?#\s]+\S*\Z", value.get_secret_value()):
            raise ValueError("this is no web address; write one like https://hc.example.com/ping/…")
        return value
