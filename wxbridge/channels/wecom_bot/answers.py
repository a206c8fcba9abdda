"""What WeCom's codes mean for a message of a bot.

The long connection's document lists no codes. These are WeCom's global list
(developer.work.weixin.qq.com/document/path/90313) and what users of the connection report: 846605, 846608, 846609,
853000, 853006, 93006, 40008, 40058, 40201.
"""

from __future__ import annotations

import re

from wxbridge.channels.answers import (
    MAX_WORDS_CHARS,
    UNLISTED,
    AnswerVerdict,
    Meaning,
    ServiceCode,
    ServiceCodes,
    codes_meaning,
)
from wxbridge.core.errors import Offline, SendError

OK = 0
NOT_SUBSCRIBED = 846609
"""The connection stands, and the subscription on it is gone: only another one helps."""
BAD_SECRET = (853000, 40001, 40013, 40125)
"""The bot id or the secret is wrong."""
BAD_MEDIA = 40007
"""WeCom does not have the picture (any more)."""

WAKE = (
    "the conversation is not open for the bot: somebody has to write to it there first (in a group: mention it), and "
    "what waits is sent then; or the id in `chat` is wrong"
)
_NOBODY = "`wxbridge rooms` and `wxbridge contacts` list the ids of those who have written to the bot"
_NOT_ALLOWED = "the bot may not do this; look at its permissions in WeCom"


CODES: ServiceCodes = {
    **codes_meaning(Meaning.PASSING, "", [-1, 6000, 45033, 50001, BAD_MEDIA, 846605, 846608]),
    **codes_meaning(Meaning.THROTTLED, "", [45009]),
    **codes_meaning(Meaning.BAD_ADDRESS, WAKE, [93006, 95001, 95018, 45015, 45047]),
    **codes_meaning(Meaning.BAD_ADDRESS, _NOBODY, [40003, 40031, 46004, 60111, 81013, 86001, 86003]),
    **codes_meaning(Meaning.TOO_BIG, "the message is too big", [40006, 40009, 45001, 45002]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _NOT_ALLOWED, [48002, 60011, 60020, 301002, 853006]),
    **codes_meaning(Meaning.REFUSED, "WeCom's spam check does not let the content pass", [40201]),
    **codes_meaning(Meaning.REFUSED, "", [40004, 40008, 40035, 40058, 41001, 44001, 44004]),
}

_SAYS_TOO_BIG = re.compile(r"exceed\w* max|too (long|large|big)|size limit", re.IGNORECASE)
_SAYS_WINDOW = re.compile(
    r"(session|conversation|chat)\b.*\b(closed?|expired?|inactive|not (active|open|found|allow\w*))"
    r"|(user|member|chat)\b.*\b(first|has not|hasn't|never)\b",
    re.IGNORECASE,
)


def classify(code: int | None, words: str) -> SendError | None:
    """Say in wxbridge's words what an answer means; None: it was sent.

    A code that no table knows was a refusal, so nothing was sent: by its words it is a closed window, or it is
    tried again a few times. `code` is None where the answer had none: that may have been sent.
    """
    said = words.strip()[:MAX_WORDS_CHARS]
    if code == OK:
        return None
    if code is None:
        return AnswerVerdict(Meaning.UNKNOWN, None, said or "without an errcode").failure("WeCom")
    if code == NOT_SUBSCRIBED:
        return Offline(f"WeCom answers {code} {said}; wxbridge connects again", code=str(code))
    if code in BAD_SECRET:
        return Offline(f"WeCom answers {code} {said}; look at the bot's `bot_id` and `secret`", code=str(code))
    known = _known(code, said)
    return AnswerVerdict(known.meaning, str(code), said, known.advice, known.wait).failure("WeCom")


def is_passing(code: int | None) -> bool:
    """Tell whether the same may be asked again soon."""
    known = None if code is None else CODES.get(code)
    return known is not None and known.meaning in (Meaning.PASSING, Meaning.THROTTLED)


def _known(code: int, words: str) -> ServiceCode:
    found = CODES.get(code)
    if found is None:
        return ServiceCode(Meaning.BAD_ADDRESS, WAKE) if _SAYS_WINDOW.search(words) else UNLISTED
    if found.meaning is Meaning.REFUSED and _SAYS_TOO_BIG.search(words):
        return ServiceCode(Meaning.TOO_BIG, "the message is too big")
    return found
