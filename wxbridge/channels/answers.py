"""What the answers of robots and applications mean for the message that they answer.

These services answer `{"errcode": 0, "errmsg": "ok"}`, under these names or others (`AnswerNames`). The body decides,
never the HTTP status alone. Each service has a table of its codes (`ServiceCodes`); what is no such answer is judged by
one table of HTTP statuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from wxbridge.core.errors import (
    BadAddress,
    Offline,
    Permanent,
    SendError,
    Throttled,
    Transient,
    Unauthorised,
    Unknown,
)

DEFAULT_WAIT_SECONDS = 60.0
"""How long to wait where a service wants us slower and does not say for how long."""
MAX_WAIT_SECONDS = 3600.0
"""The longest wait that a service may ask for."""
MAX_WORDS_CHARS = 300
"""How much is kept of a service's own words."""
WEB_PAGE = "a web page"
"""What is said of a page instead of its words."""


class Meaning(StrEnum):
    """What an answer means for the message that it answers."""

    SENT = "sent"
    PARTLY_SENT = "partly sent"
    THROTTLED = "throttled"
    RENEW_TOKEN = "refresh token once"  # noqa: S105 - no secret
    BAD_ADDRESS = "bad address"
    TOO_BIG = "too big"
    WRONG_CONFIGURATION = "wrong configuration"
    REFUSED = "refused"
    PASSING = "passing fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ServiceCode:
    """What a code means, what a person can do about it, and how many seconds to wait where we are to be slower."""

    meaning: Meaning
    advice: str = ""
    wait: float = DEFAULT_WAIT_SECONDS


ServiceCodes = Mapping[int, ServiceCode]


@dataclass(frozen=True)
class AnswerNames:
    """What a service calls the two parts of its answers; the first name that is there counts."""

    codes: tuple[str, ...] = ("errcode",)
    words: tuple[str, ...] = ("errmsg",)


UNLISTED = ServiceCode(Meaning.PASSING)
"""A code that nobody documents: certainly not sent. A few more tries cost little, a lost alert much."""


def codes_meaning(
    meaning: Meaning, advice: str, codes: Iterable[int], wait: float = DEFAULT_WAIT_SECONDS
) -> dict[int, ServiceCode]:
    """Make the rows of a table for codes that mean the same."""
    return dict.fromkeys(codes, ServiceCode(meaning, advice, wait))


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer: its status, its body, and the seconds that `Retry-After` asks for."""

    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True)
class AnswerVerdict:
    """An answer, understood."""

    meaning: Meaning
    code: str | None = None
    """The service's own code, where it gave one."""
    words: str = ""
    """The service's own words, or what the body was instead."""
    advice: str = ""
    wait: float = DEFAULT_WAIT_SECONDS
    """Seconds, where we are to be slower."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The whole answer."""

    @property
    def is_sent(self) -> bool:
        """Whether people see the message, at least some of them."""
        return self.meaning in (Meaning.SENT, Meaning.PARTLY_SENT)

    @property
    def is_from_service(self) -> bool:
        """Whether the service itself answered, and not something that stands before it or broke."""
        return self.code is not None or self.meaning in (Meaning.TOO_BIG, Meaning.THROTTLED)

    def require_sent(self, service: str) -> None:
        """Raise the error that the answer is, unless it means that all went well; `service` names who answered."""
        if self.meaning is not Meaning.SENT:
            raise self.failure(service)

    def failure(self, service: str) -> SendError:
        """Make the error that tells delivery what to do; `service` names who answered."""
        said = " ".join(part for part in (self.code, self.words) if part)
        text = f"{service} answers {said}" + (f"; {self.advice}" if self.advice else "")
        match self.meaning:
            case Meaning.THROTTLED:
                return Throttled(text, retry_after=self.wait, code=self.code)
            case Meaning.BAD_ADDRESS:
                return BadAddress(text, code=self.code)
            case Meaning.WRONG_CONFIGURATION:
                return Unauthorised(text, code=self.code)
            case Meaning.TOO_BIG | Meaning.REFUSED:
                return Permanent(text, code=self.code)
            case Meaning.UNKNOWN:
                return Unknown(f"{text}; it may have been sent", code=self.code)
            case _:
                return Transient(text, code=self.code) if self.is_from_service else Offline(text)


def judge_answer(answer: HttpAnswer, codes: ServiceCodes, names: AnswerNames = AnswerNames()) -> AnswerVerdict:
    """Tell what an answer means by its code; where it has none, by what came instead of one.

    What certainly did not reach the service is a passing fault; where it may have, the meaning is unknown.
    """
    data = read_object(answer.body) or {}
    number = _read_code(data, names)
    if number is None:
        return judge_status(answer, missing=f"no JSON with an {names.codes[0]}")
    known = ServiceCode(Meaning.SENT) if number == 0 else codes.get(number, UNLISTED)
    words = next((str(data[name]) for name in names.words if name in data), "").strip()[:MAX_WORDS_CHARS]
    return AnswerVerdict(known.meaning, str(number), words, known.advice, known.wait, data)


def without_doubt(verdict: AnswerVerdict) -> AnswerVerdict:
    """Give the verdict on what nobody sees, a token or an upload: what may have happened does not matter."""
    return replace(verdict, meaning=Meaning.PASSING) if verdict.meaning is Meaning.UNKNOWN else verdict


def read_object(text: str | bytes) -> dict[str, Any] | None:
    """Read a JSON object; None where it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_web_page(body: bytes) -> bool:
    """Tell whether this is a page for people, such as a proxy's, instead of an answer."""
    return _head(body).startswith((b"<!doctype", b"<html", b"<head", b"<body"))


def _head(body: bytes) -> bytes:
    return body[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()


def hide_pieces(words: str, pieces: Iterable[str]) -> str:
    """Give a service's words without the pieces of a target that may be secrets, the longest first."""
    for piece in sorted(set(pieces), key=len, reverse=True):
        words = words.replace(piece, "…")
    return words


def _read_code(data: Mapping[str, Any], names: AnswerNames) -> int | None:
    code = next((data[name] for name in names.codes if name in data), None)
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    try:
        return int(code)
    except ValueError:
        return None


_STATUSES: ServiceCodes = {
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "look at `base_url`", [404, 405, 410]),
    # The service, or a proxy in front of it, broke after the request had come: the message may be out.
    **codes_meaning(Meaning.UNKNOWN, "", [500, 502, 504]),
    **codes_meaning(Meaning.TOO_BIG, "", [413]),
    **codes_meaning(Meaning.THROTTLED, "", [429]),
}
"""What an HTTP status means where the body has no code of the service."""
_FROM_A_PROXY = ServiceCode(Meaning.PASSING, "a proxy seems to answer in its place")


def judge_status(answer: HttpAnswer, *, missing: str) -> AnswerVerdict:
    """Tell what an answer means by its status alone; `missing` is what was looked for in its body."""
    is_page = is_web_page(answer.body)
    what = "an empty body" if not _head(answer.body) else WEB_PAGE if is_page else missing
    is_success = answer.status < 300 and not is_page  # noqa: PLR2004 - HTTP
    known = _STATUSES.get(answer.status, ServiceCode(Meaning.UNKNOWN) if is_success else _FROM_A_PROXY)
    wait = min(answer.retry_after or known.wait, MAX_WAIT_SECONDS)
    return AnswerVerdict(known.meaning, None, f"HTTP {answer.status} with {what}", known.advice, wait)
