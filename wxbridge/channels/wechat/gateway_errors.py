"""How a call to the gateway can end badly, and what that means for a message."""

from __future__ import annotations

import re

from wxbridge.core.errors import Offline, Permanent, SendError, Throttled, Transient, Unknown


class GatewayError(Exception):
    """A call to the gateway did not bring its answer. `str(error)` is fit to be shown."""


class GatewayRequestNotSent(GatewayError):
    """The request never left: nobody listens, or the connection was gone before."""


class GatewayNoAnswer(GatewayError):
    """The request went out and nothing (or nothing readable) came back: it may have been done."""

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class GatewayRefusal(GatewayError):
    """The gateway answered with a gRPC status; `code` is its name."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(f"{code}: {words}" if words else code)
        self.code = code
        self.words = words


class EventStreamEnded(GatewayError):
    """The gateway ended the event stream in good order: it shuts down, or another client took over."""


class NoLoginCode(GatewayError):
    """The account is logged out and no QR code comes: the login has to be started again."""


_TOO_LARGE = re.compile(r"larg|too (big|long)|size|\bmax", re.IGNORECASE)
_WRONG = ("INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "UNIMPLEMENTED")
_PERHAPS = ("DEADLINE_EXCEEDED", "CANCELLED")
THROTTLE_SECONDS = 60.0
"""How long to wait where the gateway says that it was too much."""


def explain_error(error: GatewayError, done: str = "sent") -> SendError:
    """Say in wxbridge's words what a failed send means; the kind tells delivery whether to try again.

    `done` is what may have happened where no answer came.
    """
    match error:
        case GatewayRequestNotSent():
            return Offline(f"the WeChat gateway was not reached: {error}")
        case GatewayNoAnswer():
            text = f"the WeChat gateway did not answer: {error}; it may have been {done}"
            return Unknown(text, code=error.code, is_cut=error.code is None)
        case GatewayRefusal():
            return _explain_refusal(error, done)
        case _:
            return Unknown(str(error))


def _explain_refusal(error: GatewayRefusal, done: str) -> SendError:
    text = f"the WeChat gateway answered {error}"
    if error.code == "RESOURCE_EXHAUSTED":
        if _TOO_LARGE.search(error.words):
            return Permanent(text, code=error.code)
        return Throttled(text, retry_after=THROTTLE_SECONDS, code=error.code)
    if error.code in _WRONG:
        return Permanent(text, code=error.code)
    if error.code in _PERHAPS:
        return Unknown(f"{text}; it may have been {done}", code=error.code)
    if error.code == "UNAUTHENTICATED":
        return Offline(f"{text}; check `wechat.token`", code=error.code)
    return Transient(text, code=error.code)
