"""Group robots that are spoken to by a webhook: what one is, and those that the sender of an alert names.

`key: from-request` stands for the key in jobs.yaml; `?to=TARGET&key=KEY` in the sender's own address says which robot
it is: a new group is then a change at the sender alone. Only the key: the service's host is the target's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr

from wxbridge.channels.answers import AnswerVerdict, Meaning
from wxbridge.channels.http import HttpChannel, HttpService, encode_json, hash_secret
from wxbridge.config.types import FROM_REQUEST, Secret, TargetSettings, reveal
from wxbridge.core.errors import Permanent, Throttled
from wxbridge.core.model import Outgoing, Receipt, Text

MAX_KEY_CHARS = 128
"""Of a robot's key, and of what its requests are signed with."""
KEY = re.compile(r"[\w-]+", re.ASCII)
"""What such a key is made of."""


@dataclass(frozen=True)
class WebhookRobot:
    """One group robot, as it is spoken to."""

    vendor: str
    """Whose it is, for errors."""
    base_url: str
    key: str = field(repr=False)
    secret: str = field(default="", repr=False)
    """What its requests are signed with; empty where they are not."""
    name: str = "the robot"
    """How errors call it: its place among its target's robots."""
    ca: Path | None = None
    is_asked: bool = False
    """Whether a sender named it in its own address."""

    @property
    def identity(self) -> str:
        """What tells it from others without giving its key away."""
        return hash_secret(self.base_url, self.key)[:16]

    @property
    def service(self) -> HttpService:
        """Where its requests go."""
        shown = f"{self.vendor} ({self.name} at {self.base_url})"
        return HttpService(shown, self.base_url, self.ca, self.identity, self.is_asked)


class AskedRobotTarget(TargetSettings):
    """A group with a robot of which a sender may say which it is."""

    _asked: tuple[str, str] = PrivateAttr(default=("", ""))
    """The key that a sender named, and what its requests are signed with; both empty for the robot of jobs.yaml."""

    def key_as_written(self) -> Secret | None:
        """The robot's key as jobs.yaml has it."""
        raise NotImplementedError  # pragma: no cover - every channel has its own

    @property
    def is_from_request(self) -> bool:
        """Whether senders name the robot."""
        key = self.key_as_written()
        return reveal(key).strip() == FROM_REQUEST

    def read_request(self, key: str, secret: str) -> str:
        """Read a robot's key, and what it signs with. Raises `ValueError` where it can be none."""
        if not self.is_from_request:
            return super().read_request(key, secret)
        if not KEY.fullmatch(key) or len(key) > MAX_KEY_CHARS or key == FROM_REQUEST:
            raise ValueError(
                "write its key into the address as `&key=…`, as it stands in the robot's own webhook address"
            )
        if secret and (not KEY.fullmatch(secret) or len(secret) > MAX_KEY_CHARS):
            raise ValueError("what stands behind `&secret=` can be no robot's")
        return f"{key} {secret}".strip()

    def address(self, recipient: str | None = None) -> Self:
        """The robot; `recipient` is what `read_request` gave for the one that a sender named."""
        if not (recipient and self.is_from_request):
            return self
        key, _, secret = recipient.partition(" ")
        asked = self.model_copy()
        asked._asked = key, secret  # noqa: SLF001 - a copy of ours
        return asked

    def recipients(self, names: Sequence[str], people: Mapping[str, Mapping[str, str]]) -> list[str] | None:  # noqa: ARG002
        """Nobody whom an alert names: where the robot is left open, its sender says which."""
        return [] if self.is_from_request else None

    @property
    def is_asked(self) -> bool:
        """Whether this is the robot that a sender named."""
        return bool(self._asked[0])


class OneRobotTarget(AskedRobotTarget):
    """A group with one robot."""

    def robot(self) -> WebhookRobot:
        """The robot.

        Raises:
            ValueError: its address or its key can be none. The text shows neither.
        """
        raise NotImplementedError  # pragma: no cover - every channel has its own

    def chat_key(self) -> str:
        """The robot, without giving its key away."""
        return f"{self.channel}:{self.robot().identity}"


class OneRobotChannel(HttpChannel):
    """What channels have in common whose targets have one robot each; one that has sent too much rests."""

    vendor: ClassVar[str]
    """Whose robots they are, for errors."""
    max_body: ClassVar[int]
    """The largest request, in bytes."""
    unknown_message: ClassVar[Mapping[str, Any]]
    """A message of a type that there is not: nobody sees anything of it."""
    unknown_codes: ClassVar[tuple[str, ...]]
    """What a robot that is known answers to it."""

    def list_services(self, address: Any) -> Sequence[HttpService]:
        """Give the robot of a target."""
        return [address.robot().service] if isinstance(address, OneRobotTarget) else ()

    async def send(self, address: Any, body: Outgoing, mentions: tuple[str, ...] = ()) -> Receipt:
        """Send one message; `address` is a target of the channel.

        Raises:
            Throttled: the robot rests, or is to.
            Offline: the service is not reached. Unknown: no answer came. Transient: it is busy.
            BadAddress: the group is gone.
            Unauthorised: the robot or its signature is refused.
            Permanent: the message is, or what should upload its picture.
        """
        if not isinstance(address, OneRobotTarget):
            raise Permanent(f"this is no robot of {self.vendor}: {type(address).__name__}")
        robot = address.robot()
        if left := self._cooldowns.seconds_left(robot.identity):
            raise self.explain_rest(left)
        named = mentions or (body.mentions if isinstance(body, Text) else ())
        verdict = await self._post(robot, await self.build(address, body, named))
        if verdict.meaning is Meaning.THROTTLED:
            self._cooldowns.begin(robot.identity, verdict.wait)
        verdict.require_sent(robot.service.shown)
        return Receipt()

    async def probe(self, address: Any) -> str:
        """Tell whether the robot is known and its signature is good; nobody sees anything.

        Raises:
            SendError: it is not, or the service is not reached.
        """
        robot = address.robot()
        if address.is_from_request:
            return describe_asked(robot.base_url)
        verdict = await self._post(robot, self.unknown_message, sends=False)
        if verdict.code not in self.unknown_codes and verdict.meaning is not Meaning.THROTTLED:
            raise verdict.failure(robot.service.shown)
        self.note_let_in(robot.service)
        return f"the robot is known at {robot.base_url}"

    async def build(self, address: Any, body: Outgoing, mentions: tuple[str, ...]) -> Mapping[str, Any]:
        """Make the request of a message. Raises `SendError` where there can be none."""
        raise NotImplementedError  # pragma: no cover - every channel has its own

    def explain_rest(self, seconds: float) -> Throttled:
        """Make the error of a robot that rests for so long yet."""
        raise NotImplementedError  # pragma: no cover - every channel has its own

    def sign(self, robot: WebhookRobot, payload: Mapping[str, Any]) -> SignedRequest:
        """Make the request of a robot, signed where it is to be."""
        raise NotImplementedError  # pragma: no cover - every channel has its own

    async def _post(self, robot: WebhookRobot, payload: Mapping[str, Any], *, sends: bool = True) -> AnswerVerdict:
        signed = self.sign(robot, payload)
        data = encode_json(signed.payload)
        if len(data) > self.max_body:
            raise Permanent(f"the message has {len(data):,} bytes as a request; {self.vendor} takes {self.max_body:,}")
        return await self.ask(robot.service, signed.path, sends=sends, params=signed.params, data=data)


@dataclass(frozen=True)
class SignedRequest:
    """A request of a robot: where to, and what is posted there."""

    path: str
    payload: Mapping[str, Any]
    params: Mapping[str, str] | None = None


def describe_asked(base_url: str) -> str:
    """Say what can be known of a robot that senders name before one has."""
    return f"senders name the robot; {base_url} is where it is looked for"
