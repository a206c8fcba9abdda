"""The ways into WeChat. Each is one module (or package) and one line in the registry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wxbridge.config.types import Section, TargetSettings
from wxbridge.core.database import Database
from wxbridge.core.findings import Finding
from wxbridge.core.model import Capabilities, Channel
from wxbridge.core.text.i18n import Language


@dataclass(frozen=True)
class ChannelContext:
    """What a channel is made from."""

    settings: Section
    """Its own section of jobs.yaml."""
    state_dir: Path
    database: Database
    targets: Mapping[str, TargetSettings]
    """The targets that use this channel, by name."""
    tell_master: Callable[[str], Awaitable[None]]
    """Queue a line for the person in charge."""
    lane: str = ""
    """Which of the channel's accounts it is about: `TargetSettings.lane` of its targets."""
    language: Language = "en"
    """Of what the channel itself says in a chat."""


@dataclass(frozen=True)
class CheckContext:
    """What a check of a channel is given."""

    settings: Section | None
    """The channel's own section of jobs.yaml; None where the file has none, or the channel needs none."""
    targets: Mapping[str, TargetSettings]
    """The targets that use this channel, by name."""
    database: Database | None
    """What a bridge has stored; None where none has ever run on the state directory."""


ChannelCheck = Callable[[CheckContext], Awaitable[list[Finding]]]
"""Looks at one thing that the channel needs from outside. It changes nothing and sends nothing."""


@dataclass(frozen=True)
class ChannelPlugin:
    """A channel as the registry knows it."""

    target: type[TargetSettings]
    """What a target of this channel looks like in jobs.yaml."""
    create: Callable[[ChannelContext], Channel]
    capabilities: Capabilities
    """What it can carry; the same for every target of the channel."""
    jitter: float = 0.0
    """The longest random pause between two messages, in seconds, unless the pace is `none`."""
    section: str | None = None
    """The key of jobs.yaml that holds the channel's own settings, where it has any."""
    settings: type[Section] = Section
    lanes: Callable[[Any], tuple[str, ...]] | None = None
    """The accounts that the section has, each a lane of its own (`CHANNEL:NAME`): a connection and a state."""
    of_lane: Callable[[Any, str], Any] = lambda section, _lane: section
    """The settings of one lane. May raise `WxbridgeError`."""
    checks: Mapping[str, ChannelCheck] = field(default_factory=dict)
    """What `wxbridge doctor` looks at, by the name that stands in for the findings of a check that fails itself."""
    people: str = ""
    """The key below `people:` that tells how somebody is known here; the channel's own name where it is empty."""
    has_probe: bool = False
    """Whether its channels can ask their service about a target without anybody seeing it: `probe(address) -> str`."""
