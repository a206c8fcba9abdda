"""What a target of the channel `http` looks like in jobs.yaml: its requests, and what their answers mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from wxbridge.channels.answers import read_object
from wxbridge.channels.http import HttpService, hash_secret
from wxbridge.channels.http_service.templates import (
    VARIABLES,
    BrokenTemplate,
    fill_address,
    fill_header,
    fill_text,
)
from wxbridge.config.hooks import Expression
from wxbridge.config.types import Duration, FileBeside, Secret, Section, TargetSettings
from wxbridge.core.model import Capabilities

MAX_TEXT_CHARS = 4000
"""Of one text, where the target says nothing else."""
MAX_PICTURE_BYTES = 5 * 1024 * 1024
"""Of one picture; most services name a limit above that."""
LATER_SECONDS = 60.0

CAPABILITIES = Capabilities(
    text_limit=MAX_TEXT_CHARS,
    picture_limit=MAX_PICTURE_BYTES,
    formats={"markdown": MAX_TEXT_CHARS},
    mentions=False,
    pictures="none",
)

_STATUSES = re.compile(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def _read_statuses(value: Any) -> Any:
    """Read `200`, `200-299`, or a list of such, as ranges."""
    found = []
    for item in value if isinstance(value, list | tuple) else [value]:
        match = _STATUSES.fullmatch(str(item).strip()) if not isinstance(item, bool) else None
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError(f"{item!r} is no HTTP status; write one like 200 or 200-299, or a list of them")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


Statuses = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_read_statuses),
    WithJsonSchema({"type": ["integer", "string", "array"], "examples": [200, "200-299", [429, 503]]}),
]
"""HTTP statuses: `200`, `200-299`, or a list of both."""


class AnswerCondition(Section):
    """When an answer means something. Where both are given, both have to be so."""

    status: Statuses | None = None
    """The HTTP status: `200`, `200-299`, or a list of both."""
    when: Expression | None = None
    """A JMESPath expression that finds something true in the answer's JSON: code == `0`."""

    @model_validator(mode="after")
    def _something(self) -> AnswerCondition:
        if self.status is None and self.when is None:
            raise ValueError("a condition needs `status:` (HTTP statuses) or `when:` (a JMESPath expression), or both")
        return self


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


Conditions = Annotated[
    tuple[AnswerCondition, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=AnswerCondition | list[AnswerCondition]),
]
"""One condition, or a list of which one has to be so."""


def _are_headers(given: dict[str, Secret]) -> dict[str, Secret]:
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header; write one like Content-Type")
        _try(f"headers.{name}", fill_header, value.get_secret_value())
    return given


Headers = Annotated[dict[str, Secret], AfterValidator(_are_headers)]


def _check_address(value: Secret | None) -> Secret | None:
    if value is None:
        return None
    text = value.get_secret_value().strip()
    address = urlsplit(text)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ValueError("it is no web address; write one like https://gateway.example.com/send")
    if "{" in address.netloc:
        raise ValueError("the host of an address cannot be a template, other parts can")
    _try("url", fill_address, text)
    return Secret(text)


def _check_body(value: Secret | None) -> Secret | None:
    if value is not None:
        _try("body", fill_text, value.get_secret_value())
    return value


def _try(name: str, fill: Any, source: str) -> None:
    """Fill a template with a value of each variable. Raises `ValueError` where it is broken."""
    try:
        fill(source, VARIABLES)
    except BrokenTemplate as error:
        raise ValueError(f"the template `{name}` is broken: {error}") from None


class PictureRequest(Section):
    """How pictures are sent: a request of their own, after that of their text."""

    way: Annotated[Literal["base64", "multipart", "url"], Field(alias="as")]
    """`base64`: the body's `picture` is the picture in base64; `multipart`: a form with the picture as a file; `url`:
    `picture_url` is where the service can fetch it (`pictures.publish`)."""
    url: Secret | None = None
    """Where pictures go; the target's `url` when not given."""
    method: Literal["POST", "PUT"] = "POST"
    """The request's method."""
    headers: Headers | None = None
    """Instead of the target's."""
    body: Secret | None = None
    """Instead of the target's; of a form, the other fields, as a JSON object."""
    field: str = "file"
    """What a form calls the picture."""

    _address = field_validator("url")(_check_address)
    _body = field_validator("body")(_check_body)

    @model_validator(mode="after")
    def _form(self) -> PictureRequest:
        if self.way == "multipart" and self.body is not None:
            text = fill_text(self.body.get_secret_value(), VARIABLES)
            if read_object(text) is None:
                raise ValueError('`body` of a form is a JSON object of its other fields: {"caption": "…"}')
        return self


class HttpTarget(TargetSettings):
    """Any service that takes requests: phone calls, SMS gateways, Kafka's REST proxy and the like."""

    channel: Literal["http"] = "http"
    url: Secret
    """Where requests go. A template: `https://sms.example.com/send?to=13800001111&text={{ text }}`; what is put in is
    quoted."""
    method: Literal["GET", "POST", "PUT", "PATCH"] = "POST"
    """The request's method."""
    headers: Headers = Field(default_factory=dict)
    """Its headers; the values are templates."""
    body: Secret | None = None
    """Its body, a jinja2 template: '{"msg": {{ text | tojson }}}'. It knows `text`, `title` (the first line), `target`,
    `mentions`, `timestamp`, and of pictures `picture`, `picture_name`, `picture_type`, `picture_url`. JSON with `title`
    and `text` when not given."""
    picture: PictureRequest | None = None
    """How pictures are sent; a line with the link stands in for them when not given."""
    success: Conditions = ()
    """When a message counts as sent; where the status is 200-299 when not given."""
    later: Conditions = ()
    """When it is to be tried again later, without counting as a failed try; for 429 when not given."""
    later_after: Duration = LATER_SECONDS
    """How much later, where the answer does not say (`Retry-After`)."""
    final: Conditions = ()
    """When it is refused for good: it goes to the fallback, and is not tried again."""
    receipt: Expression | None = None
    """Where the answer's JSON has the service's id of the message."""
    format: Literal["text", "markdown"] = "text"
    """How alerts are written."""
    text_limit: Annotated[int, Field(ge=20, le=100_000)] = MAX_TEXT_CHARS
    """The longest text of one message; longer ones are split."""
    text_unit: Literal["characters", "bytes"] = "characters"
    """What it is counted in."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""

    _address = field_validator("url")(_check_address)
    _body = field_validator("body")(_check_body)

    @model_validator(mode="after")
    def _whole(self) -> HttpTarget:
        if self.method == "GET" and self.body is not None:
            raise ValueError("a GET has no body; put what is to be said into `url`, or take another method")
        return self

    def picture_url(self) -> str:
        """The address that pictures go to, a template."""
        return ((self.picture and self.picture.url) or self.url).get_secret_value()

    def service(self, url: str | None = None) -> HttpService:
        """The service at one of the addresses."""
        address = urlsplit(url or self.url.get_secret_value())
        base = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
        secrets = (value.get_secret_value() for value in self.headers.values())
        return HttpService(base, base, self.ca, hash_secret(self.url.get_secret_value(), *secrets)[:16])

    def capabilities(self, usual: Any) -> Any:
        """What can be carried here, as the target says."""
        pictures = {"url": "url", None: "none"}.get(self.picture.way if self.picture else None, "file")
        formats = {"markdown": self.text_limit}
        return replace(usual, text_limit=self.text_limit, text_unit=self.text_unit, formats=formats, pictures=pictures)

    def chat_key(self) -> str:
        """The address, without giving it away."""
        return f"http:{self.service().account}"
