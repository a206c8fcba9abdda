"""The `hooks:` section of jobs.yaml: who may post what, and how bodies of any shape are read."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator

from wxbridge.config.types import Duration, Names, Secret, Section


class HookSettings(Section):
    """Who may post to one source, besides those who show `server.token`."""

    token: Secret | None = None
    """A token of this source's own; it opens nothing else."""
    hmac_secret: Secret | None = None
    """A valid signature with this secret (HMAC-SHA256, lowercase hex) stands for the token."""
    signature_header: str = "X-Grafana-Alerting-Signature"
    """The header that holds the signature."""
    timestamp_header: str | None = None
    """Where the sender signs `TIMESTAMP:BODY`: the header that holds the timestamp (seconds since the epoch)."""
    max_age: Duration = 300.0
    """How far a signed timestamp may be from now."""

    @field_validator("token", "hmac_secret")
    @classmethod
    def _not_empty(cls, value: Secret | None) -> Secret | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("is empty, which would let anybody in; give one, or leave the key out")
        return value

    @field_validator("signature_header", "timestamp_header")
    @classmethod
    def _header(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", value):
            raise ValueError(f"{value!r} is no name of a header; write one like X-Grafana-Alerting-Signature")
        return value


def _is_expression(text: str) -> str:
    from wxbridge.config.expressions import compiled  # brings jmespath, for what most files have not

    compiled(text)
    return text


def _are_expressions(given: str | dict[str, str]) -> str | dict[str, str]:
    for name, text in given.items() if isinstance(given, dict) else [("", given)]:
        try:
            _is_expression(text)
        except ValueError as error:
            raise ValueError(f"`{name}`: {error}" if name else str(error)) from None
    return given


Expression = Annotated[str, AfterValidator(_is_expression)]
"""A JMESPath expression."""
Expressions = Annotated[str | dict[str, str], AfterValidator(_are_expressions)]
"""One expression that gives an object, or an expression for each name."""


class BodyMapping(Section):
    """How to read a JSON body of any shape: a JMESPath expression for each part of an alert.

    What an expression does not find is absent; a body in which not even the title is found is told as text.
    """

    title: Expression
    """What happened."""
    text: Expression | None = None
    """More about it; where there is no title, this is told instead of the whole body."""
    status: Expression | None = None
    """A word such as down, up, problem, ok; 0 and false are fine, 1 and true are not. Another word is shown."""
    severity: Expression | None = None
    """Becomes the label `severity`."""
    labels: Expressions | None = None
    """What routes look at. A name whose expression finds an object or a list of tags brings all of these."""
    annotations: Expressions | None = None
    """More about it that is not shown, and that `mention_label` and `from_label` may name; of a list each item."""
    values: Expressions | None = None
    """Figures: numbers, or objects with `value` and `unit`."""
    recovery_value: Expressions | None = None
    """Figures at the recovery, which tells these instead of `values`; where nothing is found, none."""
    starts_at: Expression | None = None
    """When it began: seconds or milliseconds since the epoch, ISO 8601, or a date and clock with a zone behind it, else
    in `timezone`. Of a list the first that is a time."""
    ends_at: Expression | None = None
    """When it ended, written in the same ways; it counts for what is over."""
    duration: Expression | None = None
    """How long it has gone on, or lasted, where no start is said: seconds, or `1d 2h 3m 4s`."""
    link: Expression | None = None
    """The address that people are shown."""
    picture: Expression | None = None
    """The address of a picture, or a picture in base64."""
    id: Expression | None = None
    """What a problem and its recovery have in common; without it, title and labels."""
    once: bool = False
    """Whether `id` names one problem, and not what it is about: such a thing ends once, whoever says it again."""
    update: Expression | None = None
    """What somebody has done with a problem (acknowledged, commented, …), where this is what is told."""
    by: Expression | None = None
    """Who did that."""
    sender: Expression | None = None
    """Which of several such senders it is, where their ids may be the same; of an address, the host counts."""
    test: Expression | None = None
    """True where somebody pressed a test button: told each time, and nothing fires."""
    alerts: Expression | None = None
    """Where a body carries several: a list, in each item of which the other expressions look."""
    shape: Expression | None = None
    """True of a body that is of this kind: it is read by this mapping at `/hooks/generic` too, without a NAME."""


def _names(given: dict[str, Any]) -> dict[str, Any]:
    for name in given:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            raise ValueError(f"{name!r} cannot stand in an address; use letters, digits, dots, - and _")
    return given


class GenericSettings(HookSettings):
    """Who may post to `/hooks/generic`, and the mappings of `/hooks/generic/NAME`."""

    mappings: Annotated[dict[str, BodyMapping], AfterValidator(_names)] = Field(default_factory=dict)
    """By NAME; one that ships with wxbridge is replaced by one of the same name here."""


class CompatKey(Section):
    """A key of `/compat/…`: it opens the addresses that speak the robots' languages, and nothing else."""

    key: Secret
    """What the sender shows as its robot's key, token, secret or topic."""
    to: Names = ()
    """The targets of what is sent with it; the routes decide where there are none."""

    @field_validator("key")
    @classmethod
    def _not_empty(cls, value: Secret) -> Secret:
        if not value.get_secret_value().strip():
            raise ValueError("is empty, which would let anybody in; give one that nobody can guess")
        return value


class HooksSettings(Section):
    """By source."""

    grafana: HookSettings = HookSettings()
    alertmanager: HookSettings = HookSettings()
    openfalcon: HookSettings = HookSettings()
    host: HookSettings = HookSettings()
    """Samples and warnings of machines, as `wxbridge host --push URL` posts them."""
    mail: HookSettings = HookSettings()
    """Mails, as `wxbridge sendmail` hands them over."""
    generic: GenericSettings = GenericSettings()
    compat: list[CompatKey] = Field(default_factory=list)
    """The keys of `/compat/…`, whose addresses speak the robots' languages."""
