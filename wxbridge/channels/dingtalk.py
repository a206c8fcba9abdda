"""The channel `dingtalk`: group robots of DingTalk (钉钉自定义机器人), by webhook, signed.

open.dingtalk.com/document/robots/custom-robot-access
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.answers import AnswerVerdict, HttpAnswer, Meaning, ServiceCode, ServiceCodes, codes_meaning
from wxbridge.channels.http import parse_webhook
from wxbridge.channels.mentions import is_everyone, is_mobile
from wxbridge.channels.robots import OneRobotChannel, OneRobotTarget, SignedRequest, WebhookRobot
from wxbridge.channels.titles import make_title
from wxbridge.config.types import BaseUrl, FileBeside, Pace, PaceField, Rate, Secret, Section, reveal
from wxbridge.core.errors import Permanent, Throttled
from wxbridge.core.model import Capabilities, Outgoing, Text

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

_BAD_MESSAGE_TYPE = "400105"
_BAD_PARAMETER = "40035"
_BAD_SIGNATURE_OR_KEYWORD = "310000"


def sign(secret: str, milliseconds: int) -> str:
    """Make the signature of a moment; it is good for an hour before and after. It still has to be quoted for a URL."""
    words = f"{milliseconds}\n{secret}"
    return base64.b64encode(hmac.new(secret.encode(), words.encode(), hashlib.sha256).digest()).decode()


class DingtalkTarget(OneRobotTarget):
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
        token = reveal(written).strip()
        if self.url or "://" in token:
            whole = (self.url.get_secret_value() if self.url else token).strip()
            webhook = parse_webhook(whole, parameter="access_token", path="/robot/")
            if webhook is None:
                raise ValueError("the webhook address has no `?access_token=` in it; copy all of it")
            base, token = self.base_url or webhook.base_url, webhook.key
        if not token:
            raise ValueError("`access_token` is empty; copy what follows `?access_token=`")
        secret = reveal(self.secret).strip()
        return WebhookRobot("DingTalk", base, token, secret, ca=self.ca)

    def key_as_written(self) -> Secret | None:
        """The robot's token as jobs.yaml has it."""
        return self.access_token or self.key


class DingtalkSettings(Section):
    """What holds for targets that say nothing else."""

    pace: PaceField = Pace(chat=RATE)


class DingtalkChannel(OneRobotChannel):
    """Sends through robots of DingTalk; implements `model.Channel`."""

    name = "dingtalk"
    vendor = "DingTalk"
    capabilities = CAPABILITIES
    codes = CODES
    max_body = MAX_BODY_BYTES
    unknown_message: ClassVar[Mapping[str, Any]] = {"msgtype": "wxbridge"}
    unknown_codes = (_BAD_MESSAGE_TYPE, _BAD_PARAMETER)

    def judge(self, answer: HttpAnswer) -> AnswerVerdict:
        """Tell what DingTalk's answer means. A keyword that is missing is the message's fault, not the robot's."""
        verdict = super().judge(answer)
        is_keyword = verdict.code == _BAD_SIGNATURE_OR_KEYWORD and "keyword" in verdict.words.lower()
        return replace(verdict, meaning=Meaning.REFUSED) if is_keyword else verdict

    def explain_rest(self, seconds: float) -> Throttled:
        """Make the error of a robot that is mute for so long yet."""
        text = f"DingTalk's robot is mute for {seconds:.0f} s yet"
        return Throttled(text, retry_after=max(1.0, seconds), code="130101")

    async def build(self, address: Any, body: Outgoing, mentions: tuple[str, ...]) -> Mapping[str, Any]:  # noqa: ARG002
        """Make the request of a message. Raises `Permanent` where it is a picture without an address."""
        return _build_text(body, mentions) if isinstance(body, Text) else _build_picture(body)

    def sign(self, robot: WebhookRobot, payload: Mapping[str, Any]) -> SignedRequest:
        """Make the request of a robot; the signature stands in its address."""
        params = {"access_token": robot.key}
        if robot.secret:
            moment = int(self._wall() * 1000)
            params |= {"timestamp": str(moment), "sign": sign(robot.secret, moment)}
        return SignedRequest("/robot/send", payload, params)


def _build_text(body: Text, mentions: tuple[str, ...]) -> Mapping[str, Any]:
    who = [name.strip().removeprefix("@") for name in mentions]
    named = list(dict.fromkeys(name for name in who if not is_everyone(name)))
    mobiles = [name for name in named if is_mobile(name)]
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


PLUGIN = ChannelPlugin(
    target=DingtalkTarget,
    create=lambda context: DingtalkChannel(context.targets),
    capabilities=CAPABILITIES,
    settings=DingtalkSettings,
    has_probe=True,
)
