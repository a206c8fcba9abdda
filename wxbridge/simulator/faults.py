"""What can be made to go wrong at the gateway on purpose: refusals, slow answers and silence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from grpclib.const import Status

from wxbridge.simulator.world import WorldError

SENDING = frozenset({"MessageSendText", "MessageSendFile", "MessageSendFileStream"})
"""The calls that a fault without a method's name applies to."""

EVERY_METHOD = "*"
"""In place of a method's name: any call but the event stream."""

UNARY_METHODS = (
    *("Start", "Stop", "Logout", "Ding", "Version", "DirtyPayload"),
    *("ContactList", "ContactPayload", "ContactAlias", "ContactSelfName"),
    *("RoomList", "RoomPayload", "RoomTopic", "RoomMemberList", "RoomMemberPayload"),
    *("MessagePayload", "MessageImage", "MessageFile", "MessageSendText", "MessageSendFile"),
)
"""The calls with one request and one answer; `ContactList` is done by `Gateway._contact_list`."""

METHODS = SENDING.union(UNARY_METHODS)
"""The calls that are answered in one piece; faults can be told for these."""

MAX_DELAY = 3600.0
"""The longest delay, in seconds."""


@dataclass(slots=True)
class _Fault:
    """One planned failure or delay; `left` None means until it is taken back."""

    left: int | None
    method: str | None
    after: bool
    status: Status | None = None
    seconds: float = 0.0

    def takes(self, method: str) -> bool:
        """Say whether this call is meant, and count it off."""
        wanted = method in SENDING if self.method is None else self.method in (method, EVERY_METHOD)
        if not wanted or self.left == 0:
            return False
        if self.left is not None:
            self.left -= 1
        return True


@dataclass(frozen=True, slots=True)
class CallPlan:
    """What goes wrong with one call: seconds of delay before and after its work, a status instead of it or after it."""

    delay_before: float = 0.0
    delay_after: float = 0.0
    refuse: Status | None = None
    blame: Status | None = None


class Faults:
    """The plans of what goes wrong next; a plan counts calls, oldest plan first."""

    def __init__(self) -> None:
        self._failures: list[_Fault] = []
        self._delays: list[_Fault] = []
        self._thawed = asyncio.Event()
        self._thawed.set()

    def fail_next(
        self,
        count: int = 1,
        code: str | Status = "UNAVAILABLE",
        *,
        method: str | None = None,
        after: bool = False,
    ) -> None:
        """Answer the next `count` calls with a gRPC status; 0 takes all planned failures back.

        `method` is one of METHODS or `*`, by default any of SENDING. With `after` the call does its work
        first: the message is there although the client was told that it failed.

        Raises:
            WorldError: the count is negative, or the code or the method is none.
        """
        status = code if isinstance(code, Status) else Status.__members__.get(code.upper())
        if status is None or status is Status.OK:
            names = ", ".join(name for name in Status.__members__ if name != "OK")
            raise WorldError(f"{code!r} is no gRPC status to fail with: use one of {names}.")
        if count < 0:
            raise WorldError("The count of failures cannot be negative.")
        _check_method(method)
        if count == 0:
            self._failures.clear()
        else:
            self._failures.append(_Fault(count, method, after, status=status))

    def delay(
        self, seconds: float, count: int | None = None, *, method: str | None = None, after: bool = False
    ) -> None:
        """Hold calls for `seconds` before they do their work, or (`after`) before they are answered.

        Applies to the next `count` calls, by default to all until `delay(0)` takes every delay back. A
        client that gives up waiting does not stop its call: the message still arrives, late.

        Raises:
            WorldError: the seconds are not within 0 to MAX_DELAY, the count is below 1, or the method
                is none.
        """
        if not 0 <= seconds <= MAX_DELAY:
            raise WorldError(f"A delay is 0 to {MAX_DELAY:.0f} seconds.")
        if count is not None and count < 1:
            raise WorldError("The count of delayed calls is at least 1.")
        _check_method(method)
        if seconds == 0:
            self._delays.clear()
        else:
            self._delays.append(_Fault(count, method, after, seconds=seconds))

    def freeze(self) -> None:
        """Let nothing be worked on or answered until `thaw`."""
        self._thawed.clear()

    def thaw(self) -> None:
        """End a freeze: what came in meanwhile is done now."""
        self._thawed.set()

    @property
    def frozen(self) -> bool:
        """Say whether the gateway is frozen."""
        return not self._thawed.is_set()

    def plan(self, method: str) -> CallPlan:
        """Count this call off the plans, and give what is planned for it."""
        delay = next((fault for fault in self._delays if fault.takes(method)), None)
        failure = next((fault for fault in self._failures if fault.takes(method)), None)
        self._delays = [fault for fault in self._delays if fault.left != 0]
        self._failures = [fault for fault in self._failures if fault.left != 0]
        return CallPlan(
            delay_before=delay.seconds if delay and not delay.after else 0.0,
            delay_after=delay.seconds if delay and delay.after else 0.0,
            refuse=failure.status if failure and not failure.after else None,
            blame=failure.status if failure and failure.after else None,
        )

    async def thawed(self) -> None:
        """Wait until the gateway is not frozen."""
        await self._thawed.wait()


def _check_method(method: str | None) -> None:
    if method is not None and method != EVERY_METHOD and method not in METHODS:
        raise WorldError(f"{method!r} is no method that can go wrong: use * or one of {', '.join(sorted(METHODS))}.")
