"""The channel `wecom_robot`: group robots of WeCom (企业微信群机器人), by webhook.

developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BeforeValidator, model_validator

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.http import AccountCooldowns, AnswerVerdict, HttpChannel, HttpTiming, Meaning, as_json, harmless
from wxbridge.channels.wecom.answers import BAD_PARAMETER, DEFAULT_URL, EMPTY_TEXT, classify, receipt
from wxbridge.channels.wecom.media import MediaUpload, file_of, form_of
from wxbridge.channels.wecom.pictures import within
from wxbridge.config.types import BaseUrl, FileBeside, Names, Pace, PaceField, Rate, Secret, Section, TargetSettings
from wxbridge.core import imaging
from wxbridge.core.errors import Permanent, PictureError, SendError, Throttled, Transient
from wxbridge.core.model import Capabilities, Channel, Outgoing, PictureFile, Receipt, Text

TEXT_LIMIT = 2048
"""Bytes of UTF-8 in a text."""
MARKDOWN_LIMIT = 4096
"""Bytes of UTF-8 in a markdown of either version."""
CARD_TITLE, CARD_TEXT = 128, 512
"""Bytes of UTF-8 in a card's title and in its description; WeCom cuts off what is longer."""
PICTURE_LIMIT = 2 * 1024 * 1024
"""Bytes of a picture before base64."""
A_MINUTE = 20
"""Messages that a robot may send in a minute."""
DEAD_FOR = 600.0
"""Seconds that a robot whose key was refused is passed over, where there is another."""
EVERYBODY = "@all"

CAPABILITIES = Capabilities(
    text_limit=TEXT_LIMIT,
    text_unit="bytes",
    # Larger ones are made smaller here, so that they need not be for a channel that takes them.
    picture_limit=20 * 1024 * 1024,
    picture_types=("image/png", "image/jpeg", "image/gif"),
    formats={"markdown": MARKDOWN_LIMIT, "markdown_v2": MARKDOWN_LIMIT, "news": TEXT_LIMIT},
    colours=True,
)

_SEND = "/cgi-bin/webhook/send"
_LINK = re.compile(r"https?://[^\s<>\"]+")
_MOBILE = re.compile(r"1\d{10}", re.ASCII)
_KEY = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True)
class WecomRobot:
    """One group robot."""

    base_url: str
    key: str = field(repr=False)
    name: str
    """How it is called in errors: its place among its target's robots."""
    ca: Path | None = None

    @property
    def identity(self) -> str:
        """What tells it from others without giving its key away."""
        return hashlib.sha256(f"{self.base_url}\0{self.key}".encode()).hexdigest()[:16]


def _several(value: Any) -> Any:
    """One key, a list, or (from a file or a variable) several parted by white space or commas."""
    return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value


class RobotTarget(TargetSettings):
    """A group with one or several robots of WeCom."""

    channel: Literal["wecom_robot"] = "wecom_robot"
    key: Secret | None = None
    """The robot's key, or its whole webhook address."""
    keys: Annotated[tuple[Secret, ...], BeforeValidator(_several)] = ()
    """Several robots of one group, which take turns: each may send 20 messages a minute."""
    base_url: BaseUrl | None = None
    """Where WeCom is; https://qyapi.weixin.qq.com where neither this nor the key says otherwise."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""
    format: Literal["text", "markdown", "markdown_v2", "news"] = "text"
    """How alerts are written. Members who read the group in WeChat itself see the source of any markdown; `news` is a
    card that opens the alert's link, and plain text where there is no link or too much to say."""
    mention_mobiles: Names = ()
    """Mobile numbers that every text mentions."""

    @model_validator(mode="after")
    def _whole(self) -> RobotTarget:
        if bool(self.key) == bool(self.keys):
            raise ValueError("a wecom_robot target needs one of `key:` (a robot's key) and `keys:` (several robots')")
        robots = self.robots()
        if len({robot.identity for robot in robots}) < len(robots):
            raise ValueError("`keys` names a robot twice")
        bad = [mobile for mobile in self.mention_mobiles if not _MOBILE.fullmatch(mobile)]
        if bad:
            raise ValueError(f"`mention_mobiles`: {bad[0]!r} is no mobile number of 11 digits")
        if self.pace is None and len(robots) > 1:
            # The model is frozen for everybody else.
            object.__setattr__(self, "pace", Pace(chat=Rate(A_MINUTE * len(robots), 60.0)))
        return self

    def robots(self) -> tuple[WecomRobot, ...]:
        """The robots, in the order of the file.

        Raises:
            ValueError: a key cannot be one.
        """
        secrets = self.keys or ((self.key,) if self.key else ())
        count = len(secrets)
        return tuple(
            self._robot(secret.get_secret_value().strip(), f"robot {index} of {count}" if count > 1 else "the robot")
            for index, secret in enumerate(secrets, 1)
        )

    def _robot(self, key: str, name: str) -> WecomRobot:
        base = self.base_url or DEFAULT_URL
        if "://" in key:
            address = urlsplit(key)
            found = parse_qs(address.query).get("key", [""])
            # Not the address itself: it holds the key.
            if address.scheme not in ("http", "https") or not address.netloc or not found[0]:
                raise ValueError(f"`key`: {name}'s webhook address has no `?key=` in it; copy all of it")
            path = address.path.partition("/cgi-bin/")[0].rstrip("/")
            base = self.base_url or f"{address.scheme}://{address.netloc}{path}"
            key = found[0]
        if not _KEY.fullmatch(key):
            raise ValueError(f"`key`: {name}'s key is {'not one' if key else 'empty'}; copy what follows `?key=`")
        return WecomRobot(base, key, name, self.ca)

    def chat_key(self) -> str:
        """The robots, without giving their keys away."""
        return "robot:" + "+".join(sorted(robot.identity for robot in self.robots()))


class RobotSettings(Section):
    """What holds for robots whose target says nothing else."""

    pace: PaceField = Pace(chat=Rate(A_MINUTE, 60.0))


class RobotChannel(HttpChannel):
    """Sends through group robots; implements `model.Channel`. There is nothing to connect, so it is always online."""

    capabilities = CAPABILITIES

    def __init__(self, *, timing: HttpTiming | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(timing)
        self._rests = AccountCooldowns(monotonic)
        self._dead: set[str] = set()
        """Robots whose key was refused, until it is taken again."""

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is a `RobotTarget`. The robot that has rested longest has its turn.

        Where a robot is throttled or its key is refused, the next one is asked at once.

        Raises:
            Throttled: all robots are to be slower.
            Offline: WeCom is not reached. Unknown: no answer came. Transient: it is busy.
            Permanent: every key is refused, or the message itself is.
        """
        if not isinstance(address, RobotTarget):
            raise Permanent(f"this is no robot of WeCom: {type(address).__name__}")
        part, note = await _part(body, mentions or (body.mentions if isinstance(body, Text) else ()), address)
        found: list[str] = []
        refused: SendError | None = None
        for robot in self._in_turn(address.robots()):
            self._rests.use(robot.identity)
            verdict = await self._ask(robot, await self._request(robot, part))
            match verdict.meaning:
                case Meaning.SENT | Meaning.PARTLY_SENT:
                    self._well(robot)
                    return receipt(verdict, "; ".join(filter(None, (note, *found))))
                case Meaning.THROTTLED:
                    self._dead.discard(robot.identity)
                    self._rests.rest(robot.identity, verdict.wait)
                case Meaning.WRONG_CONFIGURATION if verdict.code:
                    refused = verdict.failure(_service(robot))
                    found += [] if robot.identity in self._dead else [str(refused)]
                    self._dead.add(robot.identity)
                    self._rests.rest(robot.identity, DEAD_FOR)
                case _:
                    raise verdict.failure(_service(robot))
        raise self._nobody(address.robots(), refused)

    async def probe(self, address: RobotTarget) -> str:
        """Tell whether the keys are good; nobody sees anything: WeCom refuses an empty text only from a known robot.

        Raises:
            SendError: a key is not, or WeCom is not reached.
        """
        for robot in address.robots():
            verdict = await self._ask(robot, {"msgtype": "text", "text": {"content": ""}}, sends=False)
            if verdict.code not in (EMPTY_TEXT, BAD_PARAMETER) and verdict.meaning is not Meaning.THROTTLED:
                raise verdict.failure(_service(robot))
        return f"{len(address.robots())} key(s) known at {address.robots()[0].base_url}"

    def _in_turn(self, robots: tuple[WecomRobot, ...]) -> list[WecomRobot]:
        """Who may be asked, the longest unused first; where all that do not rest are refused, those are asked again."""
        awake = [robot for robot in robots if not self._rests.left(robot.identity)]
        if not awake:
            awake = [robot for robot in robots if robot.identity in self._dead]
        return sorted(awake, key=lambda robot: self._rests.longest_unused(robot.identity))

    def _well(self, robot: WecomRobot) -> None:
        self._dead.discard(robot.identity)
        self._rests.wake(robot.identity)

    def _nobody(self, robots: tuple[WecomRobot, ...], refused: SendError | None) -> SendError:
        waits = [self._rests.left(robot.identity) for robot in robots if robot.identity not in self._dead]
        if waits:
            who = "every robot of this target" if len(robots) > 1 else "the robot"
            text = f"WeCom wants {who} slower; wait {min(waits):.0f} s"
            return Throttled(text, retry_after=max(1.0, min(waits)), code="45009")
        return refused or Transient("no robot could be asked")

    async def _request(self, robot: WecomRobot, part: Mapping[str, Any] | MediaUpload) -> Mapping[str, Any]:
        """The request for a robot: a file is uploaded with its own key first."""
        if not isinstance(part, MediaUpload):
            return part
        answer = await self._http.ask(
            "POST",
            f"{robot.base_url}/cgi-bin/webhook/upload_media",
            service=_service(robot),
            sends=False,
            ca=robot.ca,
            params={"key": robot.key, "type": part.kind},
            data=form_of(part),
            size=len(part.data),
        )
        verdict = harmless(classify(answer))
        if verdict.meaning is not Meaning.SENT:
            raise verdict.failure(_service(robot))
        return {"msgtype": part.kind, part.kind: {"media_id": str(verdict.data.get("media_id") or "")}}

    async def _ask(self, robot: WecomRobot, payload: Mapping[str, Any], *, sends: bool = True) -> AnswerVerdict:
        answer = await self._http.ask(
            "POST",
            robot.base_url + _SEND,
            service=_service(robot),
            sends=sends,
            ca=robot.ca,
            params={"key": robot.key},
            data=as_json(payload),
        )
        return classify(answer)


def _service(robot: WecomRobot) -> str:
    return f"WeCom ({robot.name} at {robot.base_url})"


# ---------------------------------------------------------------- what goes on the wire


async def _part(
    body: Outgoing, mentions: tuple[str, ...], target: RobotTarget
) -> tuple[Mapping[str, Any] | MediaUpload, str]:
    """The request for a message, or the file that is to be uploaded first; and what it could not carry."""
    if isinstance(body, Text):
        return _text(body, mentions, target.mention_mobiles)
    try:
        return await asyncio.to_thread(_picture, body), ""
    except OSError as error:
        raise Permanent(f"the picture {body.name} cannot be read: {error.strerror or error}") from None
    except PictureError as error:
        raise Permanent(str(error)) from None


def _text(body: Text, mentions: tuple[str, ...], mobiles: tuple[str, ...]) -> tuple[Mapping[str, Any], str]:
    who = list(dict.fromkeys(_who(name) for name in mentions))
    if body.format == "markdown":
        content, left_out = _with_mentions(body.text, who)
        note = f"not mentioned, for want of room or of an id: {', '.join(left_out)}" if left_out else ""
        return {"msgtype": "markdown", "markdown": {"content": content}}, note
    if body.format == "markdown_v2":
        note = f"not mentioned, as markdown_v2 cannot: {', '.join(who)}" if who else ""
        return {"msgtype": "markdown_v2", "markdown_v2": {"content": body.text}}, note
    card = None if who or mobiles or body.format != "news" else _card(body.text)
    if card:
        return {"msgtype": "news", "news": {"articles": [card]}}, ""
    text: dict[str, Any] = {"content": body.text}
    ids = [name for name in who if not _MOBILE.fullmatch(name)]
    numbers = list(dict.fromkeys([name for name in who if _MOBILE.fullmatch(name)] + list(mobiles)))
    text |= {"mentioned_list": ids} if ids else {}
    text |= {"mentioned_mobile_list": numbers} if numbers else {}
    return {"msgtype": "text", "text": text}, ""


def _card(text: str) -> dict[str, str] | None:
    """The text as a card that opens its last link; None where it has none, or would lose a word as a card."""
    links = _LINK.findall(text)
    if not links:
        return None
    title, _, rest = text.strip().partition("\n")
    # A line that is the link alone is what the card itself is for.
    lines = [line for line in rest.split("\n") if line.replace(links[-1], "").strip(" 🔗")]
    description = "\n".join(lines).strip()
    fits = len(title.encode()) <= CARD_TITLE and len(description.encode()) <= CARD_TEXT
    return {"title": title, "description": description, "url": links[-1]} if fits else None


def _who(name: str) -> str:
    bare = name.strip().removeprefix("@")
    return EVERYBODY if bare.casefold() in ("all", "所有人") else bare


def _with_mentions(text: str, who: list[str]) -> tuple[str, list[str]]:
    """Add `<@id>` for everybody whom there is room for; the others, and mobile numbers, which it cannot mention."""
    left_out = []
    separator = "\n"
    for name in who:
        mark = f"{separator}<@{name.removeprefix('@')}>"
        if _MOBILE.fullmatch(name) or len((text + mark).encode(errors="replace")) > MARKDOWN_LIMIT:
            left_out.append(name)
        else:
            text, separator = text + mark, ""
    return text, left_out


def _picture(body: PictureFile) -> Mapping[str, Any] | MediaUpload:
    """A picture with the MD5 of its raw bytes, or the file that is none."""
    data = Path(body.path).read_bytes()
    if imaging.sniff(data) is None:
        return file_of(body.name, data)
    data = within(data, PICTURE_LIMIT)
    digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return {"msgtype": "image", "image": {"base64": base64.b64encode(data).decode(), "md5": digest}}


def _create(context: ChannelContext) -> Channel:  # noqa: ARG001 - every target says all that is needed
    return RobotChannel()


PLUGIN = ChannelPlugin(
    target=RobotTarget, create=_create, capabilities=CAPABILITIES, settings=RobotSettings, has_probe=True
)
