"""The nouns of wxbridge: frozen values, standard library only.

Times are aware `datetime`s in UTC unless a name says otherwise; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from operator import is_
from typing import Any, Protocol, Self, runtime_checkable

# ---------------------------------------------------------------- alerts: what a monitor said


class AlertStatus(StrEnum):
    """What an alert is doing. A state that no monitor documents counts as firing, so that it is told."""

    FIRING = "firing"
    RESOLVED = "resolved"
    NO_DATA = "no_data"


class Severity(StrEnum):
    """How bad an alert is, whoever sent it; the worst first."""

    CRITICAL = "critical"
    MAJOR = "major"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True)
class Value:
    """One measured figure of an alert: `name: number`, with the labels that tell it from its neighbours.

    `number` is None where the monitor had none; `text` is the monitor's own wording where it is no number.
    """

    name: str
    number: float | None = None
    text: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    unit: str = ""
    """What the figure is counted in, where it is known: `%`, `ratio` (1 is 100 %), `bytes`, `seconds`, `ms`, … ."""


@dataclass(frozen=True)
class PictureSpec:
    """What to draw: `kind` names a painter in the registry, `params` are its arguments as plain JSON.

    Times in `params` are absolute, so that a picture drawn late still shows the moment it was asked for.
    `link` stands in for the picture where it cannot be drawn.
    """

    kind: str
    params: Mapping[str, Any]
    link: str | None = None


LABEL_SEPARATOR = ", "
"""Between the values of a label that its sender gave several (`Alert.repeated`)."""


@dataclass(frozen=True)
class Alert:
    """One alert of one POST, in the words that all monitors share."""

    source: str
    status: AlertStatus
    title: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    values: tuple[Value, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    link: str | None = None
    """The address that its sender calls the alert's own; which ones people are shown, `alerts.links` chooses."""
    links: Mapping[str, str] = field(default_factory=dict)
    """What the sender linked to, by what it is: `panel`, `dashboard`, `generator`, `silence`, `runbook`."""
    picture: PictureSpec | None = None
    fingerprint: str = ""
    """What its sender tells it from its other alerts by; empty where it cannot be told from a later one."""
    state: str = ""
    """The monitor's own word for the status, where it is none of ours."""
    sender: str = ""
    """Which of several monitors of one source sent it, in its own words (`grafana.example.com`); empty where nothing
    says so."""
    severity: Severity | None = None
    """What jobs.yaml says of the word that its sender has for how bad it is; None where the built-in table counts."""
    is_test: bool = False
    """Whether it is told and never fires: somebody pressed a test button, or a build ended without a verdict. Such a
    thing has no fingerprint."""
    is_reminder: bool = False
    """Whether it fires still, and its target was told of it before."""
    duration: float | None = None
    """How long it had gone on, or lasted, when it came in, in seconds, where its sender says that, and not or not for
    sure when it began: on a clock of which nobody knows the zone."""
    is_once: bool = False
    """Whether its fingerprint names one problem, and not what it is about: such a thing ends once."""
    repeated: tuple[str, ...] = ()
    """The names of labels that its sender gave several values, with `LABEL_SEPARATOR` between."""


@dataclass(frozen=True)
class AlertGroup:
    """What one POST said: its alerts, or `text` where nothing could be parsed."""

    source: str
    group_key: str
    title: str
    alerts: tuple[Alert, ...] = ()
    truncated: int = 0
    """How many alerts the sender left out."""
    text: str | None = None
    """The body in words, where it was no alert."""
    dedupe: str | None = None
    """What else than its alerts tells this POST from others, where its sender retries; None where it does not, and
    whatever it says again is said on purpose."""
    recipients: tuple[str, ...] = ()
    """The people that the sender named, for targets that send `to: from-alert`."""
    dedupe_seconds: float | None = None
    """How long the same can come from a replica, where its sender never retries; None where it does."""
    still: tuple[Alert, ...] = ()
    """What came along that a target knows already: it fires still, and only its name is told."""
    pictures: tuple[PictureSpec, ...] = ()
    """Pictures beside those of its alerts; those of a text."""

    @property
    def is_news(self) -> bool:
        """Whether it says anything that somebody is to be told: a build that only goes on does not."""
        return bool(self.alerts or self.pictures) or self.text is not None

    def with_alerts(self, alerts: Sequence[Alert]) -> AlertGroup:
        """Give the group with other alerts, or with some of its own; itself where they are the same objects."""
        is_same = len(alerts) == len(self.alerts) and all(map(is_, alerts, self.alerts))
        return self if is_same else replace(self, alerts=tuple(alerts))


# ---------------------------------------------------------------- messages: what goes on the wire


class Priority(IntEnum):
    """Lower goes first."""

    REPLY = 10
    CRITICAL = 20
    ALERT = 30
    SYSTEM = 40
    ROUTINE = 50


@dataclass(frozen=True)
class Text:
    """A text as it stands in the chat. `mentions` are names or ids as written in jobs.yaml, `all` for everyone."""

    text: str
    mentions: tuple[str, ...] = ()
    format: str = "text"
    """Plain `text`, or one of the other formats in the channel's `Capabilities`, such as `markdown`."""


@dataclass(frozen=True)
class Picture:
    """A picture: a drawn file (`file`, a name below the picture store) or what is still to be drawn (`spec`)."""

    file: str | None = None
    spec: PictureSpec | None = None
    name: str = "picture.png"
    """The file name that the chat shows, where it shows one."""


Body = Text | Picture


@dataclass(frozen=True)
class PictureFile:
    """A drawn picture in the hands of a channel."""

    path: str
    name: str
    content_type: str
    size: int
    """Bytes."""
    url: str | None = None
    """Where the service can fetch it, for channels that take addresses only."""


Outgoing = Text | PictureFile


class NotificationKind(StrEnum):
    """What a notification's `content` is, so that it can be told again in other words."""

    ALERT = "alert"
    """An `AlertGroup`: composed afresh for another channel, merged in a storm."""
    DIGEST = "digest"
    """What a storm was merged into; merged further while it waits."""
    GREETING = "greeting"
    """Means nothing elsewhere: it never fails over."""
    OTHER = "other"


@dataclass(frozen=True)
class Notification:
    """What was decided to tell one target: one or several bodies, each a message of its own.

    A picture follows the text before it. `content` is kept as JSON, so that the notification can be composed
    afresh for another channel. `waits` is the reason where it waits for a configuration with somebody to send it to.
    """

    source: str
    target: str
    bodies: tuple[Body, ...]
    priority: Priority = Priority.ALERT
    kind: NotificationKind = NotificationKind.OTHER
    dedupe_key: str | None = None
    """What tells this from a deliberate repeat; the same key within the window is a repeat."""
    dedupe_group: str | None = None
    """Where given, only the newest of its group can be repeated: an alert that fires, resolves and fires again in
    the same words is news each time."""
    content: Any = None
    expires_after: float = 86400.0
    """Seconds."""
    waits: str | None = None
    recipient: str | None = None
    """Who it is for, as the channel knows them, where the target itself does not say (`to: from-alert`)."""
    origin: int | None = None
    """The notification whose place this one takes at a fallback."""
    dedupe_seconds: float | None = None
    """How long it can be repeated, where that is less than the window; asks for `dedupe_group`."""


@dataclass(frozen=True)
class Accepted:
    """What became of notifications that were put into the outbox, counted in messages."""

    queued: int
    duplicates: int
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Received:
    """What one POST said, and how it was routed: for each target plain JSON, as `RouteReasons.routed` gives it."""

    source: str
    title: str
    alerts: int
    routed: Sequence[Mapping[str, Any]]
    news: Sequence[str] = ()
    """The keys of the alerts of which it says what was not heard before."""
    due: Sequence[str] = ()
    """The keys of the alerts that are told, unless that turns out to be a repeat."""


class StoredAlong(Protocol):
    """What another owner stores in the transaction of the notifications that it belongs to."""

    @classmethod
    def store_all(cls, connection: Any, parts: Sequence[Self], *, now: float) -> None:
        """Write the parts of all who share a transaction, with few statements; `connection` is SQLAlchemy's.

        What it raises leaves nothing of the transaction.
        """


class PictureDrawer(Protocol):
    """What draws pictures."""

    async def draw(self, spec: PictureSpec) -> bytes:
        """Draw a picture, and return its bytes. Raises `PictureError`."""


class NotificationSink(Protocol):
    """Where notifications are put to be sent: the outbox, for those who stand below it."""

    async def put(
        self,
        items: Sequence[Notification],
        *,
        received: Received | None = None,
        also: StoredAlong | None = None,
    ) -> Accepted:
        """Store notifications, the POST that led to them, and what else belongs to the same transaction.

        All of it is on disk when this returns.

        Raises:
            StorageError: none of it was stored.
        """


class MessageState(StrEnum):
    """Where a message of the outbox stands. Only the first two are still to do."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    UNKNOWN = "unknown"
    MERGED = "merged"
    FAILED_OVER = "failed_over"
    EXPIRED = "expired"
    DEAD = "dead"
    NO_PICTURE = "no_picture"
    """A picture that could not be made; its text went without it."""


OPEN_STATES = (MessageState.QUEUED, MessageState.SENDING)
"""What is still to be sent."""


@dataclass(frozen=True)
class Message:
    """A row of the outbox: one message on the wire. Times are seconds since the epoch."""

    id: int
    notification_id: int
    target: str
    priority: int
    state: MessageState
    body: Body
    created_at: float
    expires_at: float
    next_try_at: float
    tries: int
    maybe_sent: bool
    """Whether an earlier attempt ended without an answer: the next one is marked as a possible repeat."""
    recipient: str | None = None
    settled_at: float | None = None
    receipt: str | None = None
    error_code: str | None = None
    error: str | None = None
    drawn_at: float | None = None
    """When its picture was drawn, where it waited for that."""
    first_tried_at: float | None = None
    tried_at: float | None = None
    """When it was given to its channel last."""


@dataclass(frozen=True)
class Receipt:
    """The service's own answer that it took a message. `id` is the service's id, where it gives one."""

    id: str | None = None
    note: str = ""
    """What it said besides, such as whom of several it could not reach: told to the person in charge."""


# ---------------------------------------------------------------- channels


class ChannelState(StrEnum):
    """Where a channel stands. Messages are sent only while it is ONLINE."""

    STARTING = "starting"
    CONNECTING = "connecting"
    WAITING_FOR_SCAN = "waiting_for_scan"
    SCANNED = "scanned"
    ONLINE = "online"
    LOGGED_OUT = "logged_out"
    UNAUTHORISED = "unauthorised"
    TAKEN_OVER = "taken_over"
    UNREACHABLE = "unreachable"
    WAITING_FOR_WORD = "waiting_for_word"
    """Logged in, but the service lets nobody be written to before they write themselves."""
    STOPPED = "stopped"

    @property
    def is_well(self) -> bool:
        """Whether nobody has to mend anything, though it may be that nothing can be sent."""
        return self in (ChannelState.ONLINE, ChannelState.WAITING_FOR_WORD)


class WantedDigits(StrEnum):
    """Whether a login waits for digits that the phone shows."""

    NONE = "none"
    FIRST = "first"
    OTHERS = "others"
    """Those that were typed are not right."""


@dataclass(frozen=True)
class ChannelStatus:
    """A channel's state with what a person wants to know beside it."""

    state: ChannelState
    since: datetime
    detail: str = ""
    account: str = ""
    """Who is logged in: `name (id)`."""
    qrcode: str | None = None
    """The text of the login QR code while a scan is awaited."""


@dataclass(frozen=True)
class Capabilities:
    """What a channel can carry, as data: compose, splitting and pacing read it, no channel re-implements it."""

    text_limit: int
    """The longest text of one message, in `text_unit`."""
    text_unit: str = "characters"
    """`characters` (Unicode code points) or `bytes` (UTF-8)."""
    picture_limit: int = 20 * 1024 * 1024
    """Bytes."""
    mentions: bool = True
    formats: Mapping[str, int] = field(default_factory=dict)
    """What else than plain text it can carry, by name, each with its longest text in `text_unit`."""
    colours: bool = False
    """Whether its `markdown` knows WeCom's colours."""
    hard_breaks: bool = False
    """Whether its markdown takes a line end alone for a blank."""
    escapes: str = "backslash"
    """How its markdown writes a character that is to mean nothing: with a `backslash`, or as an `entity` (`&#42;`)."""
    repeats_absorbed: float = 0.0
    """Seconds in which the service itself takes the same message only once: until then a repeat needs no mark."""
    is_scarce: bool = False
    """Whether each message costs one of a few: nothing is said that could be left out."""
    pictures: str = "file"
    """How it takes pictures: `file` (bytes), `url` (an address that the service fetches), or `none`."""
    hears: bool = False
    """Whether what people write there reaches the bridge, so that they can type commands."""


@dataclass(frozen=True)
class Inbound:
    """A message somebody wrote where the bot can read it."""

    channel: str
    id: str
    sender_id: str
    sender_name: str
    room_id: str | None
    room_topic: str | None
    text: str
    mentioned: bool
    """Whether the bot was addressed: by a mention, or by its name after an @. True in a direct chat."""
    at: datetime
    called: tuple[str, ...] = ()
    """What the bot is called in this room, so that a mention is found within `text`; empty where the channel has
    taken the mention out itself, or there is no @ in the text."""


OnInbound = Callable[[Inbound], Awaitable[None]]
OnStatus = Callable[[ChannelStatus], None]


@runtime_checkable
class AccountChannel(Protocol):
    """A channel that serves several accounts, of which one may be away while the others are up."""

    def status_of(self, address: Any) -> ChannelStatus:
        """Tell the state of what a target's address needs: only while that is ONLINE anything is sent there."""


@runtime_checkable
class ProvableChannel(Protocol):
    """A channel that can ask whether its service is alive, without anybody seeing it."""

    async def prove_alive(self, address: Any) -> None:
        """Return once what a target's address needs has answered something. Raises `Offline` where it does not."""


@dataclass(frozen=True)
class SendWindowState:
    """How much a channel may still send before somebody has to write to it."""

    messages_left: int
    seconds_left: float
    not_shown: int
    """How many messages the service took, since the start, and did not show."""


@runtime_checkable
class WindowedChannel(Protocol):
    """A channel that may send little until it is written to, and keeps the last of it for what is most important."""

    def check_priority(self, priority: int) -> None:
        """Raise a `SendError` where a message of this priority may not go now, though others may."""

    def count_singly(self) -> int:
        """Tell how many waiting messages are worth what is left; more of them become one."""

    def describe_window(self) -> SendWindowState:
        """Tell what is left."""


@runtime_checkable
class TypingChannel(Protocol):
    """A channel that can show in a chat that an answer is being made."""

    async def show_typing(self, inbound: Inbound, *, is_on: bool) -> None:
        """Show it to whoever wrote, for some seconds, or no longer. Whatever goes wrong with that is passed over."""


@runtime_checkable
class RememberingChannel(Protocol):
    """A channel whose troubles with its services are kept over restarts, and by the next channel of its lane."""

    def list_troubles(self) -> list[dict[str, Any]]:
        """Give what counts as trouble, in JSON's types."""

    def recall_troubles(self, troubles: Sequence[Mapping[str, Any]]) -> None:
        """Take over what another gave, of the services that this channel has; called before `run`."""


class Channel(Protocol):
    """A way into WeChat. It translates its service's answers into the error tree."""

    capabilities: Capabilities

    @property
    def status(self) -> ChannelStatus:
        """The present state."""

    async def run(self, on_inbound: OnInbound, on_status: OnStatus) -> None:
        """Stay connected until cancelled. `on_status` is called at every change, on the event loop."""

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message to a target's address.

        Raises a `SendError`: which kind decides whether a retry can help.
        """
