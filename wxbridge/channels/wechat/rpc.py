"""How a call to the gateway can end badly, and what that means for a message."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from wxbridge.core.errors import Offline, Permanent, SendError, Throttled, Transient, Unknown

if TYPE_CHECKING:
    from wxbridge.channels.wechat.connection import Connection


class GatewayError(Exception):
    """A call to the gateway did not bring its answer. `str(error)` is fit to be shown."""


class NotSent(GatewayError):
    """The request never left: nobody listens, or the connection was gone before."""


class NoAnswer(GatewayError):
    """The request went out and nothing (or nothing readable) came back: it may have been done."""

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Refused(GatewayError):
    """The gateway answered with a gRPC status; `code` is its name."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}" if words else code)
        self.code = code
        self.words = words


class StreamEnded(GatewayError):
    """The gateway ended the event stream in good order: it shuts down, or another client took over."""


class NoCode(GatewayError):
    """The account is logged out and no QR code comes: the login has to be started again."""


_TOO_LARGE = re.compile(r"larg|too (big|long)|size|\bmax", re.IGNORECASE)
_WRONG = ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED")
_PERHAPS = ("DEADLINE_EXCEEDED", "CANCELLED")
_THROTTLE = 60.0
"""Seconds to wait where the gateway says that it was too much."""


async def log_out(connection: Connection) -> None:
    """Have the gateway end the account's login. Raises `GatewayError`."""
    # Not PuppetService.logout: it keeps an error to itself, and tells of a logout that may not have been.
    await connection._call(connection._puppet.puppet_stub.logout())  # noqa: SLF001 - a call like the connection's own


def translate(error: GatewayError, done: str = "sent") -> SendError:
    """Say in wxbridge's words what a failed send means; the kind tells delivery whether to try again.

    `done` is what may have happened where no answer came.
    """
    match error:
        case NotSent():
            return Offline(f"the WeChat gateway was not reached: {error}")
        case NoAnswer():
            return Unknown(f"the WeChat gateway did not answer: {error}; it may have been {done}", code=error.code)
        case Refused():
            return _refused(error, done)
        case _:
            return Unknown(str(error))


def _refused(error: Refused, done: str) -> SendError:
    text = f"the WeChat gateway answered {error}"
    if error.code == "RESOURCE_EXHAUSTED":
        if _TOO_LARGE.search(error.words):
            return Permanent(text, code=error.code)
        return Throttled(text, retry_after=_THROTTLE, code=error.code)
    if error.code in _WRONG:
        return Permanent(text, code=error.code)
    if error.code in _PERHAPS:
        return Unknown(f"{text}; it may have been {done}", code=error.code)
    if error.code == "UNAUTHENTICATED":
        return Offline(f"{text}; check `wechat.token`", code=error.code)
    return Transient(text, code=error.code)
