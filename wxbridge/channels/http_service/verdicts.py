"""What an answer means: by what the target says of it, else by its HTTP status."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from wxbridge.channels.answers import (
    MAX_WAIT_SECONDS,
    WEB_PAGE,
    AnswerVerdict,
    HttpAnswer,
    Meaning,
    ServiceCode,
    ServiceCodes,
    codes_meaning,
    hide_pieces,
    is_web_page,
    judge_status,
)
from wxbridge.channels.http_service.settings import AnswerCondition, HttpTarget
from wxbridge.config.expressions import compiled
from wxbridge.core.json_values import as_text

MAX_WORDS_CHARS = 200
MIN_SECRET_CHARS = 6
"""From how many on a piece of an address or a header may be a secret."""
MIN_BODY_SECRET_CHARS = 12
"""Likewise of a body, which is mostly words."""
_STATUSES: ServiceCodes = {
    **codes_meaning(Meaning.THROTTLED, "", [429]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "look at `headers` and `url`", [401, 403, 407]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "look at `url` and `method`", [404, 405, 410]),
    **codes_meaning(Meaning.PASSING, "", [408, 425, 501, 503, *range(505, 600)]),
    # The service broke after the request had come: the message may be out.
    **codes_meaning(Meaning.UNKNOWN, "", [500, 502, 504]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "it sends elsewhere; write that into `url`", range(300, 400)),
}
"""What a status means of which a target says nothing; any other is a refusal."""
_ABSENT = object()


def judge(answer: HttpAnswer, target: HttpTarget) -> AnswerVerdict:
    """Tell what an answer means for a message. `final` is looked at first, then `later`, then `success`.

    Where nothing of that is so, a 2xx is sent if the target has no `success` of its own, else it is not, and is tried a
    few times more. What may have been sent all the same (500, 502, 504, no JSON where JSON is looked at) is unknown.
    """
    document = _read_document(answer.body)
    code, words = str(answer.status), describe(answer, target)
    wait = min(answer.retry_after or target.later_after, MAX_WAIT_SECONDS)
    if _is_any(target.final, answer, document):
        return AnswerVerdict(Meaning.REFUSED, code, words)
    if _is_any(target.later, answer, document):
        return AnswerVerdict(Meaning.THROTTLED, code, words, wait=wait)
    is_success = 200 <= answer.status < 300  # noqa: PLR2004 - HTTP
    is_page = is_web_page(answer.body)
    is_other = is_page if not target.success else document is _ABSENT and any(s.when for s in target.success)
    if _is_any(target.success, answer, document) or (is_success and not target.success and not is_other):
        return AnswerVerdict(Meaning.SENT, code, words, data=_receipt(target, document))
    if is_success and is_other:
        # Something else answered, or the service said yes in other words.
        return judge_status(answer, missing="no JSON")
    if is_success:
        return AnswerVerdict(Meaning.PASSING, code, words, "`success` says that this is none")
    known = _STATUSES.get(answer.status, ServiceCode(Meaning.REFUSED))
    # What is away, or broke, has not answered itself.
    is_its_own = known.meaning not in (Meaning.PASSING, Meaning.UNKNOWN)
    return AnswerVerdict(known.meaning, code if is_its_own else None, words, known.advice, wait)


def _is_any(conditions: Sequence[AnswerCondition], answer: HttpAnswer, document: Any) -> bool:
    return any(_is_so(condition, answer, document) for condition in conditions)


def _is_so(condition: AnswerCondition, answer: HttpAnswer, document: Any) -> bool:
    if condition.status is not None and not any(low <= answer.status <= high for low, high in condition.status):
        return False
    if condition.when is None:
        return True
    return document is not _ABSENT and _is_true(compiled(condition.when)(document))


def _is_true(value: Any) -> bool:
    """Tell whether an expression found something true; of a number, 0 is not, and JMESPath's own truth says it is."""
    return bool(value) and value != "false"


def _read_document(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _ABSENT


def _receipt(target: HttpTarget, document: Any) -> dict[str, Any]:
    found = compiled(target.receipt)(document) if target.receipt and document is not _ABSENT else None
    return {"receipt": as_text(found)} if found is not None else {}


def describe(answer: HttpAnswer, target: HttpTarget) -> str:
    """Write what the service said, in a line, without what may be a secret of the target's."""
    head = answer.body[: 4 * MAX_WORDS_CHARS].decode(errors="replace")
    said = WEB_PAGE if is_web_page(answer.body) else " ".join(head.split())
    return hide_pieces(said, _secret_pieces(target))[:MAX_WORDS_CHARS] or "nothing"


def _secret_pieces(target: HttpTarget) -> list[str]:
    """List what of a target's own words must not be repeated."""
    picture = target.picture
    addresses = [target.url, *([picture.url] if picture and picture.url else [])]
    headers = [*target.headers.values(), *((picture.headers or {}).values() if picture else ())]
    bodies = [body for body in (target.body, picture.body if picture else None) if body is not None]
    return [
        *_split(addresses, r"[/:@?&=#%+,\s]+", MIN_SECRET_CHARS),
        *_split(headers, r"[\s,;=:]+", MIN_SECRET_CHARS),
        *_split(bodies, r"[^\w.+/=-]+", MIN_BODY_SECRET_CHARS),
    ]


def _split(values: Iterable[Any], pattern: str, least: int) -> list[str]:
    return [piece for value in values for piece in re.split(pattern, value.get_secret_value()) if len(piece) >= least]
