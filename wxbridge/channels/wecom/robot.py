"""The channel `wecom_robot`: group robots of WeCom (企业微信群机器人), by webhook.

developer.work.weixin.qq.com/document/path/91770
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from wxbridge.channels import ChannelPlugin
from wxbridge.channels.answers import AnswerVerdict, Meaning
from wxbridge.channels.http import HttpService, encode_json, parse_webhook
from wxbridge.channels.mentions import is_mobile
from wxbridge.channels.robots import KEY, AskedRobotTarget, WebhookRobot, describe_asked
from wxbridge.channels.wecom.answers import BAD_PARAMETER, DEFAULT_URL, EMPTY_TEXT, WecomChannel, make_receipt
from wxbridge.channels.wecom.media import make_form
from wxbridge.channels.wecom.robot_message import (
    MAX_MARKDOWN_BYTES,
    MAX_TEXT_BYTES,
    RobotMessage,
    build_message,
)
from wxbridge.config.types import (
    ONE_OR_MANY,
    BaseUrl,
    FileBeside,
    Names,
    Pace,
    PaceField,
    Rate,
    Secret,
    Section,
)
from wxbridge.core.errors import Permanent, SendError, Throttled, Transient
from wxbridge.core.model import Capabilities, Outgoing, Receipt, Text

MESSAGES_PER_MINUTE = 20
"""What a robot may send."""
REFUSED_KEY_SECONDS = 600.0
"""How long a robot whose key was refused is passed over, where there is another."""

CAPABILITIES = Capabilities(
    text_limit=MAX_TEXT_BYTES,
    text_unit="bytes",
    # Larger ones are made smaller here, so that they need not be for a channel that takes them.
    picture_limit=20 * 1024 * 1024,
    formats={"markdown": MAX_MARKDOWN_BYTES, "markdown_v2": MAX_MARKDOWN_BYTES, "news": MAX_TEXT_BYTES},
    colours=True,
)


def _split_keys(value: Any) -> Any:
    """Take one key, a list, or (from a file or a variable) several parted by white space or commas."""
    return [part for part in re.split(r"[\s,]+", value) if part] if isinstance(value, str) else value


class RobotTarget(AskedRobotTarget):
    """A group with one or several robots of WeCom."""

    one_of = (("key", "keys"),)
    channel: Literal["wecom_robot"] = "wecom_robot"
    key: Secret | None = None
    """The robot's key, or its whole webhook address; `from-request` for the one that the sender of an alert names in
    its own address: `?to=TARGET&key=KEY&mention=all`."""
    keys: Annotated[tuple[Secret, ...], BeforeValidator(_split_keys), Field(json_schema_extra=ONE_OR_MANY)] = ()
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
        bad = [mobile for mobile in self.mention_mobiles if not is_mobile(mobile)]
        if bad:
            raise ValueError(f"`mention_mobiles`: {bad[0]!r} is no mobile number of 11 digits")
        if self.pace is None and len(robots) > 1:
            # The model is frozen for everybody else.
            object.__setattr__(self, "pace", Pace(chat=Rate(MESSAGES_PER_MINUTE * len(robots), 60.0)))
        return self

    def robots(self) -> tuple[WebhookRobot, ...]:
        """The robots, in the order of the file.

        Raises:
            ValueError: a key cannot be one.
        """
        if self.is_asked:
            return (self._robot(self._asked[0], "the robot of the request"),)
        secrets = self.keys or ((self.key,) if self.key else ())
        count = len(secrets)
        return tuple(
            self._robot(secret.get_secret_value().strip(), f"robot {index} of {count}" if count > 1 else "the robot")
            for index, secret in enumerate(secrets, 1)
        )

    def _robot(self, key: str, name: str) -> WebhookRobot:
        base = self.base_url or DEFAULT_URL
        if "://" in key:
            webhook = parse_webhook(key, parameter="key", path="/cgi-bin/")
            if webhook is None:
                # Not the address itself: it holds the key.
                raise ValueError(f"`key`: {name}'s webhook address has no `?key=` in it; copy all of it")
            base, key = self.base_url or webhook.base_url, webhook.key
        if not KEY.fullmatch(key):
            problem = f"{name}'s key is not one" if key else f"{name}'s key is empty"
            raise ValueError(f"`key`: {problem}; copy what follows `?key=`")
        return WebhookRobot("WeCom", base, key, name=name, ca=self.ca, is_asked=self.is_asked)

    def key_as_written(self) -> Secret | None:
        """The robot's key as jobs.yaml has it."""
        return self.key

    def chat_key(self) -> str:
        """The robots, without giving their keys away."""
        return "robot:" + "+".join(sorted(robot.identity for robot in self.robots()))


class RobotSettings(Section):
    """What holds for robots whose target says nothing else."""

    pace: PaceField = Pace(chat=Rate(MESSAGES_PER_MINUTE, 60.0))


class RobotChannel(WecomChannel):
    """Sends through group robots; implements `model.Channel`."""

    name = "wecom_robot"
    capabilities = CAPABILITIES

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._refused: set[str] = set()
        """Robots whose key was refused, until it is taken again."""

    def list_services(self, address: Any) -> Sequence[HttpService]:
        """List the robots of a target."""
        return [robot.service for robot in address.robots()] if isinstance(address, RobotTarget) else ()

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is a `RobotTarget`. The robot that has rested longest has its turn.

        Where a robot is throttled or its key is refused, the next one is asked at once.

        Raises:
            Throttled: all robots are to be slower.
            Offline: WeCom is not reached. Unknown: no answer came. Transient: it is busy.
            Unauthorised: every key is refused. Permanent: the message is.
        """
        if not isinstance(address, RobotTarget):
            raise Permanent(f"this is no robot of WeCom: {type(address).__name__}")
        message = await build_message(
            body, mentions or (body.mentions if isinstance(body, Text) else ()), mobiles=address.mention_mobiles
        )
        notes = [message.note]
        refusal: SendError | None = None
        for robot in self._in_turn(address.robots()):
            self._cooldowns.note_use(robot.identity)
            verdict = await self._post(robot, await self._payload(robot, message))
            if verdict.is_sent:
                self._refused.discard(robot.identity)
                self._cooldowns.end(robot.identity)
                return make_receipt(verdict, "; ".join(filter(None, notes)))
            if verdict.meaning is Meaning.THROTTLED:
                self._refused.discard(robot.identity)
                self._cooldowns.begin(robot.identity, verdict.wait)
            elif verdict.meaning is Meaning.WRONG_CONFIGURATION and verdict.code:
                refusal = verdict.failure(robot.service.shown)
                notes += [] if robot.identity in self._refused else [str(refusal)]
                self._refused.add(robot.identity)
                self._cooldowns.begin(robot.identity, REFUSED_KEY_SECONDS)
            else:
                raise verdict.failure(robot.service.shown)
        raise self._explain_nobody(address.robots(), refusal)

    async def probe(self, address: Any) -> str:
        """Tell whether the keys are good; nobody sees anything: WeCom refuses an empty text only from a known robot.

        Raises:
            SendError: a key is not, or WeCom is not reached.
        """
        if address.is_from_request:
            return describe_asked(address.robots()[0].base_url)
        failures = []
        for robot in address.robots():
            verdict = await self._post(robot, {"msgtype": "text", "text": {"content": ""}}, sends=False)
            if verdict.code not in (EMPTY_TEXT, BAD_PARAMETER) and verdict.meaning is not Meaning.THROTTLED:
                failures.append(verdict.failure(robot.service.shown))
            else:
                self.note_let_in(robot.service)
        if failures:
            raise failures[0]
        return f"{len(address.robots())} key(s) known at {address.robots()[0].base_url}"

    def _in_turn(self, robots: tuple[WebhookRobot, ...]) -> list[WebhookRobot]:
        """Give who may be asked, the longest unused first; where all that do not rest are refused, those once more."""
        awake = [robot for robot in robots if not self._cooldowns.seconds_left(robot.identity)]
        if not awake:
            awake = [robot for robot in robots if robot.identity in self._refused]
        return sorted(awake, key=lambda robot: self._cooldowns.last_use(robot.identity))

    def _explain_nobody(self, robots: tuple[WebhookRobot, ...], refusal: SendError | None) -> SendError:
        waits = [
            self._cooldowns.seconds_left(robot.identity) for robot in robots if robot.identity not in self._refused
        ]
        if waits:
            who = "every robot of this target" if len(robots) > 1 else "the robot"
            text = f"WeCom wants {who} slower; wait {min(waits):.0f} s"
            return Throttled(text, retry_after=max(1.0, min(waits)), code="45009")
        return refusal or Transient("no robot could be asked")

    async def _payload(self, robot: WebhookRobot, message: RobotMessage) -> Mapping[str, Any]:
        """Give the request for a robot: a file is uploaded with its own key first."""
        upload = message.upload
        if upload is None:
            return message.payload
        verdict = await self.ask(
            robot.service,
            "/cgi-bin/webhook/upload_media",
            sends=False,
            params={"key": robot.key, "type": upload.kind},
            data=make_form(upload),
            size=len(upload.data),
        )
        verdict.require_sent(robot.service.shown)
        return {"msgtype": upload.kind, upload.kind: {"media_id": str(verdict.data.get("media_id") or "")}}

    async def _post(self, robot: WebhookRobot, payload: Mapping[str, Any], *, sends: bool = True) -> AnswerVerdict:
        return await self.ask(
            robot.service, "/cgi-bin/webhook/send", sends=sends, params={"key": robot.key}, data=encode_json(payload)
        )


PLUGIN = ChannelPlugin(
    target=RobotTarget,
    create=lambda context: RobotChannel(context.targets),
    capabilities=CAPABILITIES,
    settings=RobotSettings,
    has_probe=True,
    people="wecom",
)
