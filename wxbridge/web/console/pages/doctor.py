"""Looks at everything that the bridge needs from outside, when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.core.findings import FindingState
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit

TONES = {FindingState.OK: "good", FindingState.WARN: "warn", FindingState.BAD: "bad"}
_ORDER = (FindingState.BAD, FindingState.WARN, FindingState.OK)


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    findings = sorted(visit.memory.findings, key=lambda finding: _ORDER.index(finding.state))
    return {"at": visit.memory.findings_at, "findings": findings, "tones": TONES}


async def _run(visit: PageVisit, _form: ConsoleForm) -> str:
    findings = await visit.services.examine()
    visit.memory.findings, visit.memory.findings_at = findings, visit.now
    bad = sum(finding.state is FindingState.BAD for finding in findings)
    return visit.say("doctor.done", n=len(findings), bad=bad)


PAGE = ConsolePage(_show, {"run": _run})
