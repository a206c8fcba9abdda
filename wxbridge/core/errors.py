"""The one tree of errors: what a person is told, and whether a retry can help.

A channel raises one of the `SendError` kinds and so decides *whether* a retry can help;
delivery reads the kind and performs it. Every message is a sentence for a person: what
happened, where, and what to do.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


class WxbridgeError(Exception):
    """Anything that wxbridge raises on purpose. `str(error)` is fit to be shown."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong in a configuration file: where, and what was expected instead."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class ConfigError(WxbridgeError):
    """The configuration cannot be used. Carries every problem found, in the file's order."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BadBody(WxbridgeError):
    """A posted body that cannot be read at all: answered with 400, nothing is stored."""


class CannotAnswer(WxbridgeError):
    """What a person asked for has no answer. The text is for them, in their language: what is wrong, what to do."""


class StorageError(WxbridgeError):
    """The database did not take it (disk full, locked, read-only): answered with 503, to be tried again."""


class UnusableState(StorageError):
    """The database or its directory cannot be used, and waiting does not help: a newer schema, or no right to write."""


class AlreadyRunning(WxbridgeError):
    """Another bridge holds this state directory."""


class AddressTaken(WxbridgeError):
    """The bridge cannot listen where it should. `what` says so; what to do depends on who asked."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; free the port, or set `server.listen` to another")
        self.what = what


class PictureError(WxbridgeError):
    """A picture could not be made. `retry` tells whether another attempt may succeed."""

    def __init__(self, text: str, *, retry: bool = False) -> None:
        super().__init__(text)
        self.retry = retry


class NothingToDraw(PictureError):
    """There is no picture of this, and nothing is wrong.

    `reason` is a word for the metrics, such as `no_rule`, `no_data`, or `no_source`: what it was to be drawn from is
    no longer configured.
    """

    def __init__(self, text: str, *, reason: str = "no_data") -> None:
        super().__init__(text)
        self.reason = reason


class PictureTimeout(PictureError):
    """The picture was not made in time; another attempt may succeed."""

    def __init__(self, text: str) -> None:
        super().__init__(text, retry=True)


class PictureRefused(PictureError):
    """Whoever was asked for the picture said no: nobody is let in, or the question itself is wrong."""


def failure_reason(error: PictureError) -> str:
    """Name a failure for the metrics: a `NothingToDraw` by its reason, `deadline`, `refused`, `passing`, `failed`."""
    if isinstance(error, NothingToDraw):
        return error.reason
    if isinstance(error, PictureTimeout):
        return "deadline"
    if isinstance(error, PictureRefused):
        return "refused"
    return "passing" if error.retry else "failed"


class SendError(WxbridgeError):
    """A message was not confirmed by its service.

    `code` is the service's own code, where it gave one; the text carries the service's own words.
    """

    def __init__(self, text: str, *, code: str | None = None) -> None:
        super().__init__(text)
        self.code = code


class Offline(SendError):
    """The channel is not up: the message waits, and no try is spent. `retry_after` is in seconds."""

    def __init__(self, text: str, *, code: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(text, code=code)
        self.retry_after = retry_after


class NotReady(Offline):
    """The channel is up and nothing is wrong, but it cannot take this message yet.

    It has not read yet whom the message is for, or keeps what little it may send for what is more important.
    """


class Unauthorised(Offline):
    """The service does not let us in: a key was refused, an application revoked, a robot removed.

    It waits like any message whose channel is away; somebody has to mend the configuration, or the service.
    """


class Throttled(SendError):
    """The service wants us slower: nothing was sent; wait `retry_after` seconds."""

    def __init__(self, text: str, *, retry_after: float, code: str | None = None) -> None:
        super().__init__(text, code=code)
        self.retry_after = retry_after


class Held(Throttled):
    """The channel itself keeps the message back for some seconds, to merge what else comes with it: no trouble."""


class Transient(SendError):
    """A passing fault, and certainly not sent: try again with backoff."""


class Unknown(SendError):
    """No clear answer: it may have been sent. Repeated, marked as a possible repeat, with growing pauses.

    `is_cut` says that the connection died under it: such an attempt does not count as a try.
    """

    def __init__(self, text: str, *, code: str | None = None, is_cut: bool = False) -> None:
        super().__init__(text, code=code)
        self.is_cut = is_cut


class Permanent(SendError):
    """No retry can mend it (too big, refused, wrong configuration): the message dies, and somebody is told."""


class BadAddress(SendError):
    """The room or contact cannot be told: unknown or ambiguous. `candidates` are what it could be.

    The message waits like one for an offline channel: the name may appear with the next sync.
    """

    def __init__(self, text: str, *, code: str | None = None, candidates: tuple[str, ...] = ()) -> None:
        super().__init__(text, code=code)
        self.candidates = candidates


def _find_system_words(error: BaseException) -> str | None:
    """Give the system's own words for a failure (`Connection refused`), which hold no address and so no secret.

    None where it has none. asyncio's own words for a refused connection are "Connect call failed".
    """
    cause = getattr(error, "os_error", None) or error
    number = getattr(cause, "errno", None)
    if not isinstance(number, int):
        return None  # the words of an error without a number are aiohttp's, which name the address
    return os.strerror(number) if number > 0 else getattr(cause, "strerror", None)


def explain_cause(error: BaseException) -> str:
    """Say why something failed by the system's words, else by the error's name: neither holds an address or a key."""
    return _find_system_words(error) or type(error).__name__


def describe_error(error: BaseException) -> str:
    """Give the words of an error, the system's where it has some; its name where there are none."""
    return _find_system_words(error) or str(error) or type(error).__name__
