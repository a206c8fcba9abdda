"""The JSON bodies of the API as models: what is read, what is answered, and the schemas that describe both."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema, model_validator

from wxbridge.alerts.kept_silences import SilenceRequest
from wxbridge.alerts.severity import severity_name
from wxbridge.alerts.silences import Silence
from wxbridge.alerts.store import SeenAlert
from wxbridge.config.types import parse_duration
from wxbridge.core.errors import BadBody
from wxbridge.core.json_values import as_time
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.model import Alert, AlertStatus
from wxbridge.core.text.normalise import clean_text
from wxbridge.web.responses import shorten_name

MAX_NAMES = 1000
"""In `to` or `mentions`."""
MAX_NAME_CHARS = 200
MAX_MATCHERS = 100
"""Of one silence."""
MAX_MATCHER_CHARS = 1000
MAX_COMMENT_CHARS = 2000
MAX_CREATED_BY_CHARS = 200
MAX_SILENCE_SECONDS = 3653 * 86400.0
"""From its start, or from now, to its end: what is longer is a slip, or no time that a clock can show."""


class RequestBody(BaseModel):
    """A body that somebody sends. Its validators raise `ValueError` with a sentence for the sender."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    expected: ClassVar[str]
    """What is told of a body that is no object."""
    field_names: ClassVar[str]
    """What is told of an unknown field."""

    @classmethod
    def read(cls, data: Any) -> Self:
        """Read a decoded body. Raises `BadBody` with what was expected."""
        if not isinstance(data, Mapping):
            raise BadBody(cls.expected)
        unknown = sorted(set(data) - set(cls.model_fields))
        if unknown:
            raise BadBody(f"Unknown field {shorten_name(unknown[0])!r}; there are {cls.field_names}.")
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadBody(str(first.get("ctx", {}).get("error", first["msg"]))) from None


# ---------------------------------------------------------------- POST /api/send


def _read_names(value: Any, info: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"`{info.field_name}` must be a name or a list of names.")
    names = tuple(dict.fromkeys(name.strip() for name in value if name.strip()))
    if len(names) > MAX_NAMES or any(len(name) > MAX_NAME_CHARS for name in names):
        raise ValueError(f"`{info.field_name}` may hold {MAX_NAMES} names, of {MAX_NAME_CHARS} characters each.")
    return names


def _read_text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise ValueError("`text` must be a string.")
    return clean_text(value or "")


def _read_image(value: Any) -> bytes | str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return value
        # `data:image/png;base64,…`, as browsers write it.
        head, comma, rest = value.partition(",")
        encoded = rest if comma and head.startswith("data:") and head.endswith(";base64") else value
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            pass  # told below, with what was expected
    raise ValueError("`image` must be an upload, base64, or an http(s) address.")


_TEXT = {"type": "string"}
_NULL = {"type": "null"}
_NAME_LIST = {"type": "array", "items": {**_TEXT, "maxLength": MAX_NAME_CHARS}, "maxItems": MAX_NAMES}


class PushBody(RequestBody):
    """What somebody asks to be sent."""

    model_config = ConfigDict(json_schema_extra={
        "examples": [{"to": "ops", "text": "The backup is done.", "mentions": ["all"]}], "required": ["to"],
    })  # fmt: skip
    expected = 'A JSON object was expected: {"to": "ops", "text": "…"}.'
    field_names = "to, text, image and mentions"

    to: Annotated[
        tuple[str, ...],
        BeforeValidator(_read_names),
        WithJsonSchema({"anyOf": [_TEXT, _NAME_LIST]}),
        Field(description="A target, or several: a list, or with commas between them."),
    ] = ()
    text: Annotated[str, BeforeValidator(_read_text), WithJsonSchema({"anyOf": [_TEXT, _NULL]})] = ""
    image: Annotated[
        bytes | str | None,
        BeforeValidator(_read_image),
        WithJsonSchema({"anyOf": [_TEXT, _NULL]}),
        Field(description="Base64, or an http(s) address to fetch it from."),
    ] = None
    """Bytes; or the address that it is to be fetched from."""
    mentions: Annotated[
        tuple[str, ...],
        BeforeValidator(_read_names),
        WithJsonSchema({"anyOf": [_TEXT, _NAME_LIST, _NULL]}),
        Field(description="`all` for everyone."),
    ] = ()

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.to:
            raise ValueError("`to` is missing: the name of a target, or a list of them.")
        if not self.text.strip() and self.image is None:
            raise ValueError("There is nothing to send: give `text`, `image` or both.")
        return self


# ---------------------------------------------------------------- POST /api/silences


_MATCHERS_EXPECTED = '`matchers` must be a list of one or more texts, such as ["severity=\\"info\\""].'


def _check_matchers(value: Any) -> Any:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) and item.strip() for item in value):
        raise ValueError(_MATCHERS_EXPECTED)
    if len(value) > MAX_MATCHERS or any(len(item) > MAX_MATCHER_CHARS for item in value):
        raise ValueError(f"`matchers` may be {MAX_MATCHERS}, of {MAX_MATCHER_CHARS} characters each.")
    return value


def _read_duration(value: Any) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("`duration` must be a text such as 30m, 2h or 7d.")  # noqa: TRY004 - pydantic reads it
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"`duration`: {shorten_name(str(error))}") from None


def _read_moment(value: Any, info: Any) -> float | None:
    if value is None:
        return None
    moment = as_time(value)
    if moment is None:
        raise ValueError(f"`{info.field_name}` must be a time with its zone, such as 2026-02-01T18:00:00+08:00.")
    return moment.timestamp()


_MAX_CHARS = {"comment": MAX_COMMENT_CHARS, "created_by": MAX_CREATED_BY_CHARS}


def _read_line(value: Any, info: Any) -> str:
    if value is None:
        return ""
    limit = _MAX_CHARS[info.field_name]
    if not isinstance(value, str) or len(value) > limit:
        raise ValueError(f"`{info.field_name}` must be a text of at most {limit} characters.")
    return clean_text(value).strip()


Moment = Annotated[float | None, BeforeValidator(_read_moment), WithJsonSchema({**_TEXT, "format": "date-time"})]
"""RFC 3339 with its zone; read as seconds since the epoch."""
Line = Annotated[str, BeforeValidator(_read_line)]


class SilenceBody(RequestBody):
    """What somebody wants silenced, and until when."""

    model_config = ConfigDict(json_schema_extra={
        "required": ["matchers"], "oneOf": [{"required": ["duration"]}, {"required": ["ends_at"]}],
    })  # fmt: skip
    expected = 'A JSON object was expected: {"matchers": ["severity=\\"info\\""], "duration": "2h"}.'
    field_names = "matchers, duration, ends_at, starts_at, comment, created_by"

    matchers: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_MATCHER_CHARS, description="As in Alertmanager.",
                                  examples=['severity="info"', 'team=~"a|b"'])]],
        BeforeValidator(_check_matchers),
        Field(min_length=1, max_length=MAX_MATCHERS),
    ] = []  # fmt: skip
    duration: Annotated[
        float | None,
        BeforeValidator(_read_duration),
        WithJsonSchema(_TEXT),
        Field(description="Instead of `ends_at`.", examples=["30m", "2h", "7d"]),
    ] = None
    """Seconds."""
    ends_at: Annotated[Moment, Field(description="With its zone.")] = None
    starts_at: Annotated[Moment, Field(description="Now, where it is not given.")] = None
    comment: Annotated[Line, Field(max_length=MAX_COMMENT_CHARS)] = ""
    created_by: Annotated[Line, Field(max_length=MAX_CREATED_BY_CHARS)] = ""

    def make_request(self, now: float) -> SilenceRequest:
        """Make the request for the silence. It begins now (seconds since the epoch) where it does not say when.

        Raises:
            BadBody: with what was expected.
        """
        begins = now if self.starts_at is None else self.starts_at
        if (self.duration is None) == (self.ends_at is None):
            raise BadBody("Say how long: either `duration`, such as 2h, or `ends_at`, such as 2026-02-01T18:00:00Z.")
        ends_at = self.ends_at if self.duration is None else begins + self.duration
        assert ends_at is not None  # noqa: S101 - just checked
        if ends_at <= max(now, begins):
            raise BadBody("The silence would be over already: its end must lie after its start, and after now.")
        if ends_at - min(now, begins) > MAX_SILENCE_SECONDS:
            raise BadBody("A silence may last, and have begun, at most ten years from now.")
        if not self.matchers:
            raise BadBody(_MATCHERS_EXPECTED)
        try:
            return SilenceRequest(
                parse_matchers(tuple(self.matchers)), begins, ends_at, self.created_by or "api", self.comment
            )
        except ValueError as error:
            raise BadBody(f"{error}.") from None


# ---------------------------------------------------------------- answers


def _write_moment(at: datetime | float | None) -> str | None:
    if isinstance(at, datetime) or at is None:
        return at.isoformat() if at else None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


Time = Annotated[str, BeforeValidator(_write_moment), WithJsonSchema({**_TEXT, "format": "date-time"})]


class ErrorAnswer(BaseModel):
    """Every error."""

    model_config = ConfigDict(extra="forbid")
    error: Annotated[str, Field(min_length=1, description="What happened, where, and what to do.")]


class AcceptedAnswer(BaseModel):
    """What became of what was posted."""

    model_config = ConfigDict(extra="forbid")
    queued: Annotated[int, Field(ge=0, description="Messages that are to be sent.")]
    duplicates: Annotated[int, Field(ge=0, description="Messages that were there already: a sender's own repeat.")]


class AlertAnswer(BaseModel):
    """An alert that fires."""

    key: str
    source: str
    status: str
    title: str
    severity: str
    """`critical`, `major`, `warning` or `info`, else the sender's own word; empty where it says none."""
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: Time | None
    first_seen: Time
    updated_at: Time
    link: str | None
    silenced_by: str | None

    @classmethod
    def of(cls, seen: SeenAlert) -> Self:
        """Describe an alert. Free text has none, and is told by its title."""
        alert = seen.alert or Alert(seen.group.source, AlertStatus.FIRING, seen.group.title)
        return cls.model_validate({**vars(seen), **vars(alert), "severity": severity_name(alert)})


class SilenceAnswer(BaseModel):
    """One of the bridge's own silences."""

    id: str
    state: Annotated[str, WithJsonSchema({"enum": ["pending", "active", "expired"]})]
    matchers: list[Annotated[str, BeforeValidator(str)]]
    starts_at: Time
    ends_at: Time
    created_at: Time
    created_by: str
    comment: str

    @classmethod
    def of(cls, silence: Silence, now: float) -> Self:
        """Describe a silence as it is now (seconds since the epoch)."""
        return cls.model_validate({**vars(silence), "state": silence.state(now)})
