"""Group robots that are spoken to by a webhook: what one is, and those that the sender of an alert names.

`key: from-request` stands for the key in jobs.yaml; `?to=TARGET&key=KEY` in the sender's own address says which robot
it is: a new group is then a change at the sender alone. Only the key: the service's host is the target's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pydantic import PrivateAttr

from wxbridge.channels.http import HttpService, hash_secret
from wxbridge.config.types import FROM_REQUEST, Secret, TargetSettings

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
        return key is not None and key.get_secret_value().strip() == FROM_REQUEST

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


def describe_asked(base_url: str) -> str:
    """Say what can be known of a robot that senders name before one has."""
    return f"senders name the robot; {base_url} is where it is looked for"
