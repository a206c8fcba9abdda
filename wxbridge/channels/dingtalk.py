"""The channel `dingtalk`: group robots of DingTalk (钉钉自定义机器人), by webhook, signed.

open.dingtalk.com/document/robots/custom-robot-access
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import model_validator

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.channels.answers import AnswerVerdict, HttpAnswer, Meaning, ServiceCode, ServiceCodes, codes_meaning
from wxbridge.channels.http import (
    AccountCooldowns,
    HttpChannel,
    HttpService,
    HttpTiming,
    encode_json,
    parse_webhook,
)
from wxbridge.channels.mentions import is_everyone
from wxbridge.channels.robots import AskedRobotTarget, WebhookRobot, describe_asked
from wxbridge.channels.titles import make_title
from wxbridge.config.types import BaseUrl, FileBeside, Pace, PaceField, Rate, Secret, Section, TargetSettings
from wxbridge.core.errors import Permanent, Throttled
from wxbridge.core.model import Capabilities, Channel, Outgoing, Receipt, Text

DEFAULT_URL = "https://oapi.dingtalk.com"
MAX_BODY_BYTES = 20_000
"""Of a whole request."""
MAX_TEXT_BYTES = 15_000
"""Of UTF-8 in a text: line ends and quotes take two in the request, and there is more in it than the text."""
MUTED_SECONDS = 600.0
"""How long a robot is mute after more than 20 messages in a minute."""
RATE = Rate(20, 65.0)
"""A little less than the 20 a minute that are allowed: what exceeds them by a second's delay costs ten minutes."""

CAPABILITIES = Capabilities(
    text_limit=MAX_TEXT_BYTES,
    text_unit="bytes",
    formats={"markdown": MAX_TEXT_BYTES},
    hard_breaks=True,
    pictures="url",
)

_SIGNED = "look at `secret`, this host's clock (it may be an hour off), the robot's keywords and its allowed IPs"
_TOKEN = "the robot was removed, or the token is wrong; look at `access_token`"  # noqa: S105 - advice


CODES: ServiceCodes = {
    -1: ServiceCode(Meaning.PASSING, "it is busy"),
    130101: ServiceCode(Meaning.THROTTLED, "the robot is mute for ten minutes", MUTED_SECONDS),
    410100: ServiceCode(Meaning.THROTTLED, "too fast"),
    310000: ServiceCode(Meaning.WRONG_CONFIGURATION, _SIGNED),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _TOKEN, [300001, 300005, 400101, 400106]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "enable the robot in its group", [400102]),
    **codes_meaning(Meaning.BAD_ADDRESS, "the group was dissolved", [400013]),
    **codes_meaning(Meaning.REFUSED, "", [40035, 43004, 400105]),
    **codes_meaning(Meaning.REFUSED, "DingTalk does not let these words, links or pictures pass",
             [430101, 430102, 430103, 430104]),
}  # fmt: skip
"""The codes of the robot's page, and 300001, 300005 and 130101 as they are met."""

_MOBILE = re.compile(r"1\d{10}", re.ASCII)
_BAD_MESSAGE_TYPE = "400105"
_BAD_PARAMETER = "40035"
_BAD_SIGNATURE_OR_KEYWORD = "310000"


def sign(secret: str, milliseconds: int) -> str:
    """Make the signature of a moment; it is good for an hour before and after. It still has to be quoted for a URL."""
    words = f"{milliseconds}\n{secret}"
    return base64.b64encode(hmac.new(secret.encode(), words.encode(), hashlib.sha256).digest()).decode()


class DingtalkTarget(AskedRobotTarget):
    """A group with a robot of DingTalk."""

    one_of = (("access_token", "key", "url"),)
    channel: Literal["dingtalk"] = "dingtalk"
    access_token: Secret | None = None
    """The robot's token; `from-request` for the one that the sender of an alert names in its own address:
    `?to=TARGET&key=TOKEN&mention=all`, and `&secret=…` where its requests are signed."""
    key: Secret | None = None
    """The same, as other robots call it."""
    url: Secret | None = None
    """Instead of the token: the robot's whole webhook address."""
    secret: Secret | None = None
    """What requests are signed with (加签), where the robot wants that."""
    base_url: BaseUrl | None = None
    """Where DingTalk is; https://oapi.dingtalk.com where neither this nor `url` says otherwise."""
    ca: FileBeside | None = None
    """A file with the certificate authority to trust besides the system's."""
    format: Literal["markdown", "text"] = "markdown"
    """How alerts are written."""

    @model_validator(mode="after")
    def _whole(self) -> DingtalkTarget:
        if bool(self.key_as_written()) == bool(self.url) or (self.access_token and self.key):
            raise ValueError("a dingtalk target needs one of `access_token:` and `url:` (the whole webhook address)")
        self.robot()
        return self

    def robot(self) -> WebhookRobot:
        """The robot.

        Raises:
            ValueError: `url` is no webhook address. The text does not show it.
        """
        base = self.base_url or DEFAULT_URL
        if self.is_asked:
            return WebhookRobot("DingTalk", base, *self._asked, ca=self.ca, is_asked=True)
        written = self.key_as_written()
        token = written.get_secret_value().strip() if written else ""
        if self.url or "://" in token:
            whole = (self.url.get_secret_value() if self.url else token).strip()
            webhook = parse_webhook(whole, parameter="access_token", path="/robot/")
            if webhook is None:
                raise ValueError("the webhook address has no `?access_token=` in it; copy all of it")
            base, token = self.base_url or webhook.base_url, webhook.key
        if not token:
            raise ValueError("`access_token` is empty; copy what follows `?access_token=`")
        secret = self.secret.get_secret_value().strip() if self.secret else ""
        return WebhookRobot("DingTalk", base, token, secret, ca=self.ca)

    def key_as_written(self) -> Secret | None:
        """The robot's token as jobs.yaml has it."""
        return self.access_token or self.key

    def chat_key(self) -> str:
        """The robot, without giving its token away."""
        return f"dingtalk:{self.robot().identity}"


class DingtalkSettings(Section):
    """What holds for targets that say nothing else."""

    pace: PaceField = Pace(chat=RATE)


class DingtalkChannel(HttpChannel):
    """Sends through robots of DingTalk; implements `model.Channel`."""

    name = "dingtalk"
    capabilities = CAPABILITIES
    codes = CODES

    def __init__(
        self,
        *,
        timing: HttpTiming | None = None,
        targets: Mapping[str, TargetSettings] | None = None,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(timing, targets=targets, monotonic=monotonic)
        self._wall = wall
        self._cooldowns = AccountCooldowns(monotonic)

    def list_services(self, address: Any) -> Sequence[HttpService]:
        """Give the robot of a target."""
        return [address.robot().service] if isinstance(address, DingtalkTarget) else ()

    def judge(self, answer: HttpAnswer) -> AnswerVerdict:
        """Tell what DingTalk's answer means. A keyword that is missing is the message's fault, not the robot's."""
        verdict = super().judge(answer)
        is_keyword = verdict.code == _BAD_SIGNATURE_OR_KEYWORD and "keyword" in verdict.words.lower()
        return replace(verdict, meaning=Meaning.REFUSED) if is_keyword else verdict

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is a `DingtalkTarget`.

        Raises:
            Throttled: the robot is mute; nothing is sent until that is over.
            Offline: DingTalk is not reached. Unknown: no answer came. Transient: it is busy.
            BadAddress: the group is gone.
            Unauthorised: the robot or its signature is refused. Permanent: the message is.
        """
        if not isinstance(address, DingtalkTarget):
            raise Permanent(f"this is no robot of DingTalk: {type(address).__name__}")
        robot = address.robot()
        left = self._cooldowns.seconds_left(robot.identity)
        if left:
            raise Throttled(f"DingTalk's robot is mute for {left:.0f} s yet", retry_after=max(1.0, left), code="130101")
        data = encode_json(_build_payload(body, mentions or (body.mentions if isinstance(body, Text) else ())))
        if len(data) > MAX_BODY_BYTES:
            raise Permanent(f"the message has {len(data):,} bytes as a request; DingTalk takes {MAX_BODY_BYTES:,}")
        verdict = await self._post(robot, data)
        if verdict.meaning is Meaning.THROTTLED:
            self._cooldowns.begin(robot.identity, verdict.wait)
        if verdict.meaning is not Meaning.SENT:
            raise verdict.failure(robot.service.shown)
        return Receipt()

    async def probe(self, address: Any) -> str:
        """Tell whether token and signature are good; nobody sees anything: there is no message of this type.

        Raises:
            SendError: they are not, or DingTalk is not reached.
        """
        robot = address.robot()
        if address.is_from_request:
            return describe_asked(robot.base_url)
        verdict = await self._post(robot, encode_json({"msgtype": "wxbridge"}), sends=False)
        if verdict.code not in (_BAD_MESSAGE_TYPE, _BAD_PARAMETER) and verdict.meaning is not Meaning.THROTTLED:
            raise verdict.failure(robot.service.shown)
        self.note_let_in(robot.service)
        return f"the robot is known at {robot.base_url}"

    async def _post(self, robot: WebhookRobot, data: bytes, *, sends: bool = True) -> AnswerVerdict:
        params = {"access_token": robot.key}
        if robot.secret:
            moment = int(self._wall() * 1000)
            params |= {"timestamp": str(moment), "sign": sign(robot.secret, moment)}
        return await self.ask(robot.service, "/robot/send", sends=sends, params=params, data=data)


def _build_payload(body: Outgoing, mentions: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(body, Text):
        return _build_picture(body)
    who = [name.strip().removeprefix("@") for name in mentions]
    named = list(dict.fromkeys(name for name in who if not is_everyone(name)))
    mobiles = [name for name in named if _MOBILE.fullmatch(name)]
    users = [name for name in named if name not in mobiles]
    # Only who also stands in the text is shown as mentioned.
    marks = " ".join(f"@{name}" for name in named)
    at = {"atMobiles": mobiles, "atUserIds": users, "isAtAll": any(map(is_everyone, who))}
    if body.format == "markdown":
        text = f"{body.text}\n\n{marks}" if marks else body.text
        return {"msgtype": "markdown", "markdown": {"title": make_title(body.text), "text": text}, "at": at}
    content = f"{body.text}\n{marks}" if marks else body.text
    return {"msgtype": "text", "text": {"content": content}, "at": at}


def _build_picture(body: Any) -> Mapping[str, Any]:
    """Make the request of a picture that has an address; DingTalk fetches it from there."""
    url = getattr(body, "url", None)
    if not url:
        raise Permanent("DingTalk shows pictures only from an address it can reach; configure `pictures.publish`")
    name = re.sub(r"[\[\]()!]", "", body.name) or "picture"
    return {"msgtype": "markdown", "markdown": {"title": name, "text": f"![{name}]({url})"}}


def _create(context: ChannelContext) -> Channel:
    return DingtalkChannel(targets=context.targets)


PLUGIN = ChannelPlugin(
    target=DingtalkTarget, create=_create, capabilities=CAPABILITIES, settings=DingtalkSettings, has_probe=True
)
