"""Looks at everything that the bridge needs from outside, when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.web.console.page import Form, Page, Visit

TONES = {"ok": "good", "warn": "warn", "bad": "bad"}
_ORDER = ("bad", "warn", "ok")


async def _show(visit: Visit) -> Mapping[str, Any]:
    at, findings = visit.console.memory.get("doctor", (None, ()))
    ordered = sorted(findings, key=lambda each: _ORDER.index(each.state))
    return {"at": at, "findings": ordered, "tones": TONES}


async def _run(visit: Visit, _form: Form) -> str:
    findings = await visit.console.examine()
    visit.console.memory["doctor"] = (visit.now, findings)
    bad = sum(each.state == "bad" for each in findings)
    return visit.say("doctor.done", n=len(findings), bad=bad)


PAGE = Page("doctor", _show, "M4 13h4l2-6 4 11 2-5h4", {"run": _run})
