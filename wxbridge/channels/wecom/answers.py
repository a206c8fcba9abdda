"""What WeCom's answers mean.

The codes are those of the global list (developer.work.weixin.qq.com/document/path/90313) that a message, an upload
or a token can be answered with.
"""

from __future__ import annotations

from dataclasses import replace

from wxbridge.channels.answers import (
    AnswerVerdict,
    HttpAnswer,
    Meaning,
    ServiceCode,
    ServiceCodes,
    codes_meaning,
    judge_answer,
)
from wxbridge.channels.http import HttpChannel
from wxbridge.core.model import Receipt

DEFAULT_URL = "https://qyapi.weixin.qq.com"

INVALID_MEDIA = "40007"
EMPTY_TEXT = "44004"
BAD_PARAMETER = "40058"

_SECRET = "look at `corp_id` and `secret`"  # noqa: S105 - advice
_VISIBLE = "is everybody in the application's visible range, and is the id right?"
_AGENT = "look at `agent_id`, and whether the application is enabled"
_ROBOT = "the robot was removed from its group, or the key is wrong; look at `key`"


CODES: ServiceCodes = {
    -1: ServiceCode(Meaning.PASSING, "it is busy"),
    **codes_meaning(Meaning.THROTTLED, "", [45009]),
    **codes_meaning(Meaning.THROTTLED, "too many requests at once", [45033], wait=5.0),
    **codes_meaning(Meaning.RENEW_TOKEN, "", [40014, 41001, 42001]),
    **codes_meaning(Meaning.BAD_ADDRESS, _VISIBLE, [40003, 40031, 46004, 50002, 60011, 60111, 81013, 82001]),
    **codes_meaning(Meaning.BAD_ADDRESS, "look at `party`", [40066, 60003, 60123]),
    **codes_meaning(Meaning.BAD_ADDRESS, "look at `tag`", [40068, 40070]),
    **codes_meaning(Meaning.TOO_BIG, "", [40006, 40009, 40011, 45001, 45002, 45008]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _SECRET, [40001, 40013, 40091, 41002, 41004]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _AGENT, [40056, 41011, 48002, 50003, 301002]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "add this host's address to the application's trusted IPs", [60020]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _ROBOT, [93000, 93004, 93008]),
    **codes_meaning(
        Meaning.REFUSED,
        "",
        [40004, 40005, 40007, 40008, 40032, 40033, 40035, 40058, 40063, 41006, 44001, 44004, 82002, 82003, 301019],
    ),
}

NOT_REACHED = {"invaliduser": "members", "unlicenseduser": "members without a licence", "invalidparty": "parties",
               "invalidtag": "tags"}  # fmt: skip
"""Where an answer names whom a message did not reach, and what they are."""


def classify(answer: HttpAnswer) -> AnswerVerdict:
    """Tell what WeCom's answer means (`Meaning`). The body decides."""
    verdict = judge_answer(answer, CODES)
    if verdict.meaning is Meaning.SENT and describe_missed(verdict):
        return replace(verdict, meaning=Meaning.PARTLY_SENT)
    return verdict


def describe_missed(verdict: AnswerVerdict) -> str:
    """Name whom a message did not reach although it was taken; empty where it reached everybody."""
    found = ((what, str(verdict.data.get(key) or "").strip("|")) for key, what in NOT_REACHED.items())
    return "; ".join(f"{what} {ids.replace('|', ', ')}" for what, ids in found if ids)


def make_receipt(verdict: AnswerVerdict, note: str = "") -> Receipt:
    """Make the receipt of what was sent or partly sent."""
    missed = describe_missed(verdict)
    notes = [f"WeCom did not reach {missed}" if missed else "", note]
    number = verdict.data.get("msgid")
    return Receipt(str(number) if number else None, "; ".join(filter(None, notes)))


class WecomChannel(HttpChannel):
    """What WeCom's robots and applications have in common."""

    codes = CODES

    def judge(self, answer: HttpAnswer) -> AnswerVerdict:
        """Tell what WeCom's answer means, also that it reached some only."""
        return classify(answer)
