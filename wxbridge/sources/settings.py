"""The `hooks:` section of jobs.yaml: who may post what, and how bodies of any shape are read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from wxbridge.settings import Duration, Secret, Section


class HookSettings(Section):
    """Who may post to one source, besides those who show `server.token`."""

    token: Secret | None = None
    """A token of this source's own; it opens nothing else."""
    hmac_secret: Secret | None = None
    """A valid signature with this secret (HMAC-SHA256, lowercase hex) stands for the token."""
    signature_header: str = "X-Grafana-Alerting-Signature"
    timestamp_header: str | None = None
    """Where the sender signs `TIMESTAMP:BODY`: the header that holds the timestamp (seconds since the epoch)."""
    max_age: Duration = 300.0
    """How far a signed timestamp may be from now."""


class Mapping(Section):
    """How to read a JSON body of any shape: a JMESPath expression for each part of an alert."""

    title: str
    text: str | None = None
    status: str | None = None
    severity: str | None = None
    labels: str | dict[str, str] | None = None
    values: str | dict[str, str] | None = None
    link: str | None = None
    picture: str | None = None


class GenericSettings(HookSettings):
    """Who may post to `/hooks/generic`, and the mappings of `/hooks/generic/NAME`."""

    mappings: Annotated[dict[str, Mapping], Field(default_factory=dict)]


class HooksSettings(Section):
    """By source."""

    grafana: HookSettings = HookSettings()
    alertmanager: HookSettings = HookSettings()
    openfalcon: HookSettings = HookSettings()
    generic: GenericSettings = GenericSettings(mappings={})
