"""What a page of the console is: one function that gathers what its template shows, and the actions of its forms.

A new page is one module in `pages/` with a `PAGE`, a template of the same name, its texts, and a line in
`pages/__init__.py`.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from wxbridge.alerts.firing import FiringOverview
from wxbridge.config.schema import Config
from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.errors import BadBody
from wxbridge.core.findings import Finding
from wxbridge.core.model import ChannelState, PictureSpec, Severity
from wxbridge.core.pictures import Theme
from wxbridge.core.text.error_words import tell_error
from wxbridge.core.text.i18n import Language, say
from wxbridge.core.text.units import format_duration
from wxbridge.core.ttl_cache import TTLCache
from wxbridge.web.console.session import ConsoleSession
from wxbridge.web.services import WebServices

HOME = "/"
OVERVIEW_TTL_SECONDS = 3.0


def say_in_console(language: Language, key: str, /, **fields: object) -> str:
    """Return a text of the catalogue's section `console`, as the templates' `t` does."""
    return say(f"console.{key}", language, **fields)


@dataclass(frozen=True)
class PageCounts:
    """Figures of what is going on. `failed` and `sent` are messages of today."""

    firing: int
    sent: int
    failed: int
    waiting: int
    oldest_at: float | None
    """Since when the oldest of those that wait does, in seconds since the epoch."""


@dataclass
class ConsoleMemory:
    """What pages keep from one request to the next."""

    overview: TTLCache[FiringOverview] = field(default_factory=lambda: TTLCache(OVERVIEW_TTL_SECONDS))
    """What fires: those who ask share what the monitors answered."""
    counts: TTLCache[PageCounts] = field(default_factory=lambda: TTLCache(OVERVIEW_TTL_SECONDS))
    findings: Sequence[Finding] = ()
    """What the doctor found when it was asked last."""
    findings_at: float | None = None
    """When that was, in seconds since the epoch."""


@dataclass(frozen=True)
class PageVisit:
    """One request to a page: who asks, in which language, and whom to ask."""

    services: WebServices
    memory: ConsoleMemory
    session: ConsoleSession
    language: Language
    now: float
    """Seconds since the epoch."""
    query: Mapping[str, str]
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All values of each name in the address."""
    base: str = ""
    """The address that the browser asked for, without a path."""
    typed: Mapping[str, str] = field(default_factory=dict)
    """What somebody typed into this page's form, where it could not be done."""

    @property
    def config(self) -> Config:
        """The configuration in use."""
        return self.services.state.config

    @property
    def theme(self) -> Theme:
        """On which ground a picture is to be drawn that is asked for: `light` or `dark`."""
        return "dark" if self.query.get("theme") == "dark" else "light"

    def say(self, key: str, **fields: object) -> str:
        """Say a phrase in the visitor's language."""
        return say_in_console(self.language, key, **fields)

    async def record(self, form: ConsoleForm, action: AuditAction, what: str) -> None:
        """Keep that somebody has done something by a form. It raises nothing."""
        await self.services.audit.record(action, what, by=form.read_name(), via=AuditDoor.CONSOLE)

    def tell(self, error: str) -> str:
        """Tell an error in the visitor's language, as far as it is known there."""
        return tell_error(error, self.language)

    def local(self, at: float | datetime) -> datetime:
        """Convert a moment to the configured time zone."""
        moment = datetime.fromtimestamp(at, UTC) if isinstance(at, int | float) else at
        return moment.astimezone(self.config.timezone)

    def when(self, at: float | datetime | None) -> str:
        """Write a moment as people do: the time of today, else with its date."""
        if at is None:
            return ""
        moment, today = self.local(at), self.local(self.now)
        if moment.date() == today.date():
            return f"{moment:%H:%M:%S}"
        return f"{moment:%m-%d %H:%M}" if moment.year == today.year else f"{moment:%Y-%m-%d %H:%M}"

    def tell_finding(self, words: str) -> str:
        """Tell what was found of something, or what to do about it, in the visitor's language."""
        return tell_error(words, self.language, sections=("findings", "errors"))

    def whole(self, at: float | datetime) -> str:
        """Write a moment with its date and its zone."""
        return f"{self.local(at):%Y-%m-%d %H:%M:%S %Z}"

    def lasted(self, seconds: float) -> str:
        """Write a duration as people do."""
        # Of what lasts for long, seconds tell nothing.
        return format_duration(seconds - seconds % 60 if seconds >= 600 else max(0.0, seconds), self.language)  # noqa: PLR2004 - ten minutes


@dataclass(frozen=True)
class ConsoleForm:
    """What somebody sent with a form."""

    fields: Mapping[str, str]
    picture: bytes | None = None
    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """All values of each field, such as those of boxes that are ticked."""

    def text(self, name: str, max_chars: int = 5000) -> str:
        """Read a field without the blanks around it; empty where it is missing.

        Raises:
            BadBody: it is longer than `max_chars` characters.
        """
        value = self.fields.get(name, "").replace("\x00", "").strip()
        if len(value) > max_chars:
            raise BadBody(f"`{name}` may have {max_chars} characters.")
        return value

    def number(self, name: str) -> int:
        """Read a field that is an id. Raises `BadBody` where it is none."""
        number = read_number(self.text(name, 20))
        if number is None:
            raise BadBody(f"`{name}` is no number.")
        return number

    def read_name(self) -> str:
        """Read who somebody is, by the token of the session, or says to be."""
        return " ".join(self.text("by", 100).split()) or "console"


Show = Callable[[PageVisit], Awaitable[Mapping[str, Any]]]
Action = Callable[[PageVisit, ConsoleForm], Awaitable[str]]
"""Does what a form asks, and gives the sentence that says so. Raises `WxbridgeError`."""
PictureChoice = Callable[[PageVisit], Awaitable[PictureSpec]]
"""Tells what is to be drawn. Raises `WxbridgeError` where there is nothing."""


def read_number(text: str, max_digits: int = 15) -> int | None:
    """Read a number of an address or a form, such as an id; None where it is none, or has too many digits for one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= max_digits else None


@dataclass(frozen=True)
class PageEntry:
    """What the navigation knows of a page that nobody has looked at. Its title is the phrase `page.NAME`."""

    name: str
    icon: str = ""
    """The path of its picture in the navigation (24 by 24, strokes); empty for a page that is not in it."""
    needs: str = ""
    """The section of the configuration without which there is no such page."""
    within: str = ""
    """The page that the navigation shows as the present one instead."""

    @property
    def path(self) -> str:
        """Its address."""
        return HOME if self.name == "timeline" else f"/console/{self.name}"

    @property
    def template(self) -> str:
        """The file that it is filled from."""
        return f"{self.name}.html"

    def is_wanted(self, config: Config) -> bool:
        """Whether there is such a page with a configuration."""
        return not self.needs or config.section(self.needs) is not None


@dataclass(frozen=True)
class ConsolePage:
    """What a page does, imported when somebody looks at it."""

    show: Show
    actions: Mapping[str, Action] = field(default_factory=dict)
    """By the last part of the address that a form posts to."""
    pictures: Mapping[str, PictureChoice] = field(default_factory=dict)
    """What is drawn when it is asked for, by the last part of its address."""
    previews: Collection[str] = ()
    """By the last part of the address that a form posts to: what shows the page again with what was typed, and changes
    nothing."""


_SOON = (ChannelState.STARTING, ChannelState.CONNECTING, ChannelState.SCANNED, ChannelState.WAITING_FOR_WORD)


def choose_tone(state: ChannelState) -> str:
    """Choose how a channel's state is coloured: `good`, `soon` or `bad`."""
    return "good" if state is ChannelState.ONLINE else "soon" if state in _SOON else "bad"


_SEVERITY_TONES = {Severity.CRITICAL: "bad", Severity.MAJOR: "bad", Severity.WARNING: "warn"}


def choose_severity_tone(severity: Severity | None) -> str:
    """Choose how an alert is coloured: `bad`, `warn` or `soon`."""
    return _SEVERITY_TONES.get(severity, "soon") if severity else "soon"


def local_path(text: str) -> str:
    """Give an address that a form names to return to; the first page where it is none of ours."""
    parts = urllib.parse.urlsplit(text)
    ours = parts.path == HOME or parts.path.startswith("/console/")
    if parts.scheme or parts.netloc or not ours or "\\" in text or any(ord(sign) < 32 for sign in text):  # noqa: PLR2004 - control characters
        return HOME
    return urllib.parse.urlunsplit(("", "", parts.path, parts.query, ""))


def asset_path(name: str) -> Path:
    """Give the path of a file that browsers get as it is."""
    return Path(__file__).parent / "static" / name
