"""The keys of `bots` and of the bots' targets in jobs.yaml, and what a bot can carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from wxbridge.config.types import FileBeside, Pace, PaceField, Rate, Secret, Section, TargetSettings
from wxbridge.core.errors import WxbridgeError
from wxbridge.core.model import Capabilities

CHANNEL = "wecom_bot"

WS_URL = "wss://openws.work.weixin.qq.com"

MAX_MARKDOWN_BYTES = 20480
"""Of a text in UTF-8, as it goes on the wire: the document's limit of `markdown.content`."""

MAX_TEXT_BYTES = 6000
"""Of a plain text: with every character escaped it still is within `MAX_MARKDOWN_BYTES`."""

MAX_PICTURE_BYTES = 10_000_000
"""Of one picture: the document says 10 MB."""

CAPABILITIES = Capabilities(
    hears=True,
    text_limit=MAX_TEXT_BYTES,
    text_unit="bytes",
    picture_limit=MAX_PICTURE_BYTES,
    formats={"markdown": MAX_MARKDOWN_BYTES},
)


class BotSettings(Section):
    """One bot: created in WeCom in API mode, with the long connection."""

    bot_id: Annotated[str, Field(min_length=1)]
    """The Bot ID that WeCom shows beside the secret."""
    secret: Secret
    """The secret for the long connection."""
    ws_url: str = WS_URL
    """Where to connect to; private deployments have their own."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""
    name: str | None = None
    """What the bot is called in groups, so that its mention is taken out of what people write to it. Where it is not
    given, the first word of a group message goes if it begins with @."""
    pace: PaceField = Pace(chat=Rate(30, 60.0))
    """How fast to send. WeCom takes 30 a minute and 1000 an hour in a conversation."""

    @field_validator("ws_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.match(r"wss?://[^/?#\s]+\S*\Z", value):
            raise ValueError(f"{value!r} is no address of a long connection; write one like {WS_URL}")
        return value

    @field_validator("bot_id", "secret")
    @classmethod
    def _filled_in(cls, value: str | Secret) -> str | Secret:
        text = value if isinstance(value, str) else value.get_secret_value()
        if not text.strip():
            raise ValueError("it is empty; copy it from WeCom's page of the bot")
        return value


class BotsSettings(Section):
    """The `bots` section: WeCom's AI bots by the names that targets call them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, BotSettings]

    @property
    def bots(self) -> Mapping[str, BotSettings]:
        """The bots by name."""
        return self.__pydantic_extra__


class WecomBotTarget(TargetSettings):
    """A group or a person that a bot writes to."""

    address_keys: ClassVar[tuple[str, ...]] = ("bot", "chat")

    channel: Literal["wecom_bot"] = "wecom_bot"
    bot: Annotated[str, Field(min_length=1)]
    """Which of `bots:` writes."""
    chat: Annotated[str, Field(min_length=1)]
    """A group's chat id, or a person's user id. Somebody has to write to the bot there first: its id then is in the
    log and in `wxbridge rooms` or `wxbridge contacts`."""
    chat_type: Literal["group", "single"] | None = None
    """Which of the two `chat` is; WeCom finds out where it is not given."""
    format: Literal["markdown", "text"] = "markdown"
    """How alerts are written here."""

    def lane(self) -> str:
        """Each bot has a connection and a state of its own."""
        return f"{CHANNEL}:{self.bot}"

    def lacks(self, section: Any) -> list[str]:
        """The bot, where the `bots` section does not have it."""
        return [] if isinstance(section, BotsSettings) and self.bot in section.bots else [f"bots.{self.bot}"]

    def chat_key(self) -> str:
        """The conversation, to which WeCom's limits apply."""
        return self.chat


def lanes(settings: Section | None) -> tuple[str, ...]:
    """The lanes of all bots, also of those that no target uses yet: their chats' ids are found by being connected."""
    return tuple(f"{CHANNEL}:{name}" for name in settings.bots) if isinstance(settings, BotsSettings) else ()


def bot_of(settings: Section | None, lane: str) -> BotSettings:
    """The settings of the bot that a lane (`wecom_bot:NAME`) is about.

    Raises:
        WxbridgeError: `bots:` has no such bot.
    """
    bots = settings.bots if isinstance(settings, BotsSettings) else {}
    name = lane.partition(":")[2]
    if name in bots:
        return bots[name]
    known = ", ".join(bots) or "none"
    raise WxbridgeError(f"there is no bot `{name}` in `bots:` (there are: {known}); write its bot_id and secret there")
