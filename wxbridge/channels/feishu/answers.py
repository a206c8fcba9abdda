"""What Feishu's answers mean: those of the robot's page, of uploads and of tokens."""

from __future__ import annotations

from wxbridge.channels.answers import AnswerNames, Meaning, ServiceCode, ServiceCodes, codes_meaning

ANSWER_NAMES = AnswerNames(("code", "StatusCode"), ("msg", "StatusMessage"))
"""A robot answers with both, an older one with the second alone."""
BUSY_SECONDS = 10.0
"""Until a robot is tried again that was limited: it is paced below its quota, so that is Feishu's own load, which its
page says is met at full and half hours."""

_KEY = "the robot was removed, or the key is wrong; look at `key`"
_SIGNED = "look at `secret`, and at this host's clock (it may be an hour off)"
_APPLICATION = "look at `app_id` and `app_secret`"

CODES: ServiceCodes = {
    2200: ServiceCode(Meaning.PASSING, "it is busy"),
    **codes_meaning(Meaning.THROTTLED, "too many requests", [11232, 99991400], wait=BUSY_SECONDS),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _KEY, [19001]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _SIGNED, [19021]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "add this host's address to the robot's allowed IPs", [19022]),
    **codes_meaning(Meaning.REFUSED, "the robot wants one of its keywords in every message", [19024]),
    **codes_meaning(Meaning.REFUSED, "", [9499, 19002, 11246, 230099, 234001, 234010, 234011]),
    **codes_meaning(Meaning.TOO_BIG, "", [19036, 234006, 234039]),
    **codes_meaning(Meaning.RENEW_TOKEN, "", [99991661, 99991663, 99991664, 99991665, 99991671]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, _APPLICATION, [10003, 10012, 10014, 10015, 99991543]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "give the application the right im:resource", [99991672, 234002]),
    **codes_meaning(Meaning.WRONG_CONFIGURATION, "switch the application's bot ability on", [234007]),
}
