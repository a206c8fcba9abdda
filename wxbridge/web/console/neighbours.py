"""What the console asks of the rest of the bridge, as callables: it imports no other service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from wxbridge.alerts.firing import FiringAlert, FiringOverview
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody
from wxbridge.core.model import PictureSpec
from wxbridge.core.pictures import Theme
from wxbridge.core.text.i18n import Language
from wxbridge.delivery.outbox import Outbox
from wxbridge.hosts.samples import Host
from wxbridge.jobs.store import JobStatus


@dataclass(frozen=True)
class Budget:
    """What is left of a rate: `rate` as it is written (`30/min`), of which `left` may go now."""

    rate: str
    count: int
    left: int
    own: bool = False
    """Whether it is the target's own, and not shared with the whole channel."""


@dataclass(frozen=True)
class TargetView:
    """A configured target."""

    name: str
    channel: str
    """Its account's name among the channels (`wechat`, `wecom_bot:NAME`)."""
    address: str
    """Where it leads to, without secrets: a room, a contact; empty where the address is a secret."""
    fallback: tuple[str, ...] = ()
    budgets: tuple[Budget, ...] = ()
    unpaced: bool = False
    """Whether nothing limits how fast it is sent to."""
    pictures: bool = True


@dataclass(frozen=True)
class ConfigView:
    """The configuration in use."""

    files: tuple[str, ...]
    """Every file that it was read from, the main one first."""
    loaded_at: float
    """Seconds since the epoch."""
    text: str
    """As YAML, with its secrets masked."""
    problems: tuple[str, ...] = ()
    """What was wrong the last time that the files were read, each with its line; empty where nothing was."""
    later: tuple[str, ...] = ()
    """What takes effect at the next start."""
    version: str = ""
    started_at: float = 0.0


@dataclass(frozen=True)
class FindingView:
    """One thing that `doctor` looked at. `state` is `ok`, `warn` or `bad`."""

    name: str
    state: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class SilenceView:
    """A silence, wherever it is kept."""

    id: str
    matchers: Sequence[str]
    starts_at: datetime | None
    ends_at: datetime | None
    by: str
    comment: str
    places: Sequence[str] = ()
    """Of `bridge`, `alertmanager` and `grafana`, where it holds."""
    can_end: bool = False
    """Whether it can be ended from here."""


@dataclass(frozen=True)
class Seeing:
    """For whom a picture is drawn: in which language, on which ground, as of when (seconds since the epoch)."""

    language: Language
    theme: Theme
    at: float


def _nothing() -> tuple[()]:
    return ()


async def _no_jobs() -> Sequence[JobStatus]:
    return ()


async def _nothing_fires() -> FiringOverview:
    return FiringOverview(())


async def _no_silences(_language: Language) -> tuple[Sequence[SilenceView], Sequence[str]]:
    return (), ()


async def _no_pictures(_firing: Sequence[FiringAlert], _seeing: Seeing) -> Mapping[str, PictureSpec]:
    return {}


async def _refused(*_: Any) -> Any:
    raise BadBody("This bridge cannot do that.")


def _no_run(_job: str) -> None:
    raise BadBody("This bridge runs no jobs.")


@dataclass(frozen=True)
class Console:
    """What the console shows and does. What changes things raises `WxbridgeError` with a sentence for the person."""

    database: Database
    outbox: Outbox
    language: Callable[[], Language]
    timezone: Callable[[], ZoneInfo]
    targets: Callable[[], Sequence[TargetView]] = _nothing
    retry: Callable[[Sequence[int]], Awaitable[int]] = _refused
    """Queue messages again; gives how many."""
    drop: Callable[[Sequence[int]], Awaitable[int]] = _refused
    """Close queued messages unsent; gives how many."""
    send_to: Callable[[int, str], Awaitable[None]] = _refused
    """Tell another target of a message."""
    can_log_out: Callable[[], Collection[str]] = _nothing
    """The channels that can be logged out from here."""
    log_out: Callable[[str], Awaitable[None]] = _refused
    jobs: Callable[[], Awaitable[Sequence[JobStatus]]] = _no_jobs
    run_job: Callable[[str], None] = _no_run
    mute_job: Callable[[str, float, str], Awaitable[Any]] = _refused
    """Until when, in seconds since the epoch, and by whom."""
    unmute_job: Callable[[str], Awaitable[Any]] = _refused
    upcoming: Callable[[datetime, datetime], Mapping[str, Sequence[datetime]]] = field(default=lambda _a, _b: {})
    """When each job runs between two moments; of one that runs very often, not all times."""
    config: Callable[[], ConfigView | None] = lambda: None
    examine: Callable[[], Awaitable[Sequence[FindingView]]] = _refused
    reload: Callable[[], None] | None = None
    """Have the files read again."""
    overview: Callable[[], Awaitable[FiringOverview]] = _nothing_fires
    """What fires, by all that can be asked."""
    silences: Callable[[Language], Awaitable[tuple[Sequence[SilenceView], Sequence[str]]]] = _no_silences
    """Those that are not over, and sentences about who did not answer."""
    silence: Callable[[Sequence[str], float, str, str, Language], Awaitable[str]] = _refused
    """Silence by matchers: for how many seconds, by whom, why. This and the next two give a sentence for the person."""
    unsilence: Callable[[str, str, Language], Awaitable[str]] = _refused
    """End a silence by its id: by whom."""
    ack: Callable[[str, str, str, Language], Awaitable[str]] = _refused
    """Look after an alert, by its key: by whom, why."""
    matchers_of: Callable[[FiringAlert], Sequence[str]] = field(default=lambda _firing: ())
    """The matchers that silence an alert, and not its kind elsewhere."""
    alert_pictures: Callable[[Sequence[FiringAlert], Seeing], Awaitable[Mapping[str, PictureSpec]]] = _no_pictures
    """Which pictures there would be of alerts, by key."""
    draw: Callable[[PictureSpec], Awaitable[bytes]] = _refused
    """Draw a picture. Raises `PictureError`."""
    hosts: Callable[[], Sequence[Host] | None] = lambda: None
    """The machines that are watched; None where none are to be."""
    memory: dict[str, Any] = field(default_factory=dict, compare=False)
    """What pages keep from one request to the next."""
