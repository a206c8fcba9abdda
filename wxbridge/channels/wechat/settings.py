"""The keys of `wechat` and its targets in jobs.yaml, and what the channel can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from wxbridge.config.types import ALERT_LABELS, Names, Pace, PaceField, Rate, Secret, Section, TargetSettings
from wxbridge.core.errors import Permanent
from wxbridge.core.model import Capabilities

MAX_TEXT_CHARS = 2000
"""Of one text. WeChat publishes no figure; this is what clients get through in one piece."""

MAX_PICTURE_BYTES = 20 * 1024 * 1024
"""Of one picture."""

CAPABILITIES = Capabilities(text_limit=MAX_TEXT_CHARS, picture_limit=MAX_PICTURE_BYTES, hears=True)


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Take `host:port` apart; an IPv6 host stands in brackets.

    Raises:
        ValueError: it is none; the text says what one looks like.
    """
    text = endpoint.strip().removeprefix("http://").rstrip("/")
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host and not any(character in host for character in ":/@[] ")
    if not colon or not (bracketed or plain) or not port.isascii() or not port.isdigit():
        raise ValueError(f"{endpoint!r} is no gateway address; write host:port, like 127.0.0.1:8788")
    if not 0 < int(port) < 65536:  # noqa: PLR2004 - the ports there are
        raise ValueError(f"{endpoint!r} has no valid port; write one from 1 to 65535")
    return host.strip("[]"), int(port)


def _endpoint(value: str) -> str:
    host, port = split_endpoint(value)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class WechatSettings(Section):
    """The `wechat` section: which gateway, and who is in charge."""

    endpoint: Annotated[str, AfterValidator(_endpoint), Field(json_schema_extra={"pattern": r":[0-9]{1,5}/?\s*$"})]
    """`host:port` of the puppet-service gateway. It is spoken to in plain text: keep it on a private network."""
    token: Secret
    """The gateway's token."""
    master: str | None = None
    """Who is greeted and warned: id, alias, WeChat id or name of a contact."""
    greeting: str = "hello master!"
    """What the master is told once the bridge is up."""
    pace: PaceField = Pace(chat=Rate(1, 1.0), total=Rate(30, 60.0), day=Rate(600, 86400.0))
    """How fast to send. Careful by default: accounts that send much are blocked."""


class WechatTarget(TargetSettings):
    """A room or a contact of personal WeChat."""

    one_of = (("room", "contact", "to"),)
    address_keys: ClassVar[tuple[str, ...]] = ("room", "contact")

    channel: Literal["wechat"] = "wechat"
    room: str | None = None
    """A group chat: its id or its topic."""
    contact: str | None = None
    """A person: id, alias, WeChat id or name."""
    to: Literal["from-alert"] | None = None
    """Instead of a room or a contact: the people that the alert itself names (Open-Falcon's `tos`, or `from_label`)."""
    from_label: Names = ALERT_LABELS
    """With `to: from-alert`: labels or annotations of which the first that an alert has names the people, where its
    sender names none."""

    @model_validator(mode="after")
    def _one_of_them(self) -> WechatTarget:
        if sum(bool((value or "").strip()) for value in (self.room, self.contact, self.to)) != 1:
            raise ValueError(
                "a wechat target needs one of `room:` (id or topic), `contact:` (id, alias or name) "
                "and `to: from-alert`"
            )
        return self

    def address(self, recipient: str | None = None) -> WechatTarget:
        """This target, or the contact that one alert is for.

        Raises:
            Permanent: the alert is to say who is meant, and what is sent is none.
        """
        if self.to is None:
            return self
        if not recipient:
            raise Permanent("the target sends to those whom an alert names, and this names nobody")
        return WechatTarget(contact=recipient)

    def recipients(self, names: Sequence[str], people: Mapping[str, Mapping[str, str]]) -> list[str] | None:
        """A contact each."""
        if not self.to:
            return None
        return list(dict.fromkeys(people.get(name, {}).get("wechat", name) for name in names))

    def reaches(self, person: str) -> bool:
        """Whether this is the contact, or the people that an alert names."""
        return self.contact == person or self.to is not None

    def chat_key(self) -> str:
        """Tell this chat from the channel's others, as it is written in jobs.yaml."""
        if self.to:
            return self.to
        return f"room:{self.room}" if self.room else f"contact:{self.contact}"
