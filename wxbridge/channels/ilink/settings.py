"""The section `ilink` and the targets of this channel in jobs.yaml, and what it can carry."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from wxbridge.config.types import Duration, Names, Pace, PaceField, Rate, Section, TargetSettings
from wxbridge.core.model import Capabilities

CHANNEL = "ilink"
API_URL = "https://ilinkai.weixin.qq.com"
CDN_URL = "https://novac2c.cdn.weixin.qq.com/c2c"
CLIENT_VERSION = "2.4.9"
"""Of Tencent's own plug-in; WeChat on the phone refuses the login of older ones."""
MAX_TEXT_CHARS = 2000
"""Of one message: longer ones were cut on phones."""
MAX_PICTURE_BYTES = 5 * 1024 * 1024
"""Of one picture; the service names no limit."""

CAPABILITIES = Capabilities(
    hears=True,
    text_limit=MAX_TEXT_CHARS,
    picture_limit=MAX_PICTURE_BYTES,
    mentions=False,
    is_scarce=True,
)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class IlinkSettings(Section):
    """Tencent's bot interface for personal WeChat: a scan for each person."""

    people: Annotated[Names, Field(min_length=1)]
    """The people who may be written to; each scans a code of their own, once."""
    master: str | None = None
    """Which of them is greeted, and warned of what the bridge itself suffers, where `wechat.master` names nobody; the
    first of them when not given."""
    greeting: str = "hello master!"
    """What the master is told when the bridge comes up."""
    url: str = API_URL
    """Where the interface is; plain http only on this machine."""
    cdn: str = CDN_URL
    """Where pictures are stored."""
    client_version: str = CLIENT_VERSION
    """Which version of Tencent's plug-in the bridge speaks; WeChat refuses the login of old ones."""
    pace: PaceField = Pace(chat=Rate(7, 300.0))
    """How fast to send: about seven messages in five minutes were reported to be taken."""
    window: Duration = 24 * 3600.0
    """How long after a person's last message they may be written to."""
    window_messages: Annotated[int, Field(ge=2, le=100)] = 10
    """How many messages may follow each message of a person."""

    @field_validator("url", "cdn")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{value!r} is no web address; write one like {API_URL}")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError(f"{value!r} would send the login's token in the clear; write https://")
        return value.rstrip("/")

    @field_validator("client_version")
    @classmethod
    def _version(cls, value: str) -> str:
        if not re.fullmatch(r"\d{1,3}\.\d{1,3}\.\d{1,3}", value):
            raise ValueError(f"{value!r} is no version; write one like {CLIENT_VERSION}")
        return value

    @model_validator(mode="after")
    def _known_master(self) -> IlinkSettings:
        if self.master is None:
            # The model is frozen for everybody else.
            object.__setattr__(self, "master", self.people[0])
        elif self.master not in self.people:
            raise ValueError(f"`master` is {self.master!r}, who is none of `people`")
        return self


class IlinkTarget(TargetSettings):
    """The private chat with one person."""

    any_of = (("person",),)
    address_keys: ClassVar[tuple[str, ...]] = ("person",)

    channel: Literal["ilink"] = "ilink"
    person: str | None = None
    """Which of `ilink.people`."""
    room: str | None = Field(default=None, json_schema_extra={"deprecated": True})
    """Not possible here."""

    @model_validator(mode="after")
    def _no_room(self) -> IlinkTarget:
        if self.room is not None:
            raise ValueError(
                "iLink has private chats only, no rooms: Tencent does not let these bots into groups; "
                "use `person:`, or the channel wechat or wecom_robot for a room"
            )
        if not self.person:
            raise ValueError("`person` is missing: which of `ilink.people` is written to")
        return self

    def lane(self) -> str:
        """Each person has a login and a state of their own."""
        return f"{CHANNEL}:{self.person}"

    def lacks(self, section: Any) -> list[str]:
        """The person, where the section does not have them."""
        known = section.people if isinstance(section, IlinkSettings) else ()
        return [] if self.person in known else [f"ilink.people: {self.person}"]

    def reaches(self, person: str) -> bool:
        """Whether this is the person's chat."""
        return self.person == person

    def chat_key(self) -> str:
        """The person, to whom the window applies."""
        return str(self.person)


def lanes(settings: Section | None) -> tuple[str, ...]:
    """The lanes of all people, also of those to whom no target leads yet: their codes are shown."""
    return tuple(f"{CHANNEL}:{name}" for name in settings.people) if isinstance(settings, IlinkSettings) else ()
