"""Who did what when, through which door; the newest first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.core.audit import MAX_NAME_CHARS, AuditAction
from wxbridge.web.console.page import ConsolePage, PageVisit, read_number


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    by, action = visit.query.get("by", "")[:MAX_NAME_CHARS], visit.query.get("action", "")
    action = action if action in list(AuditAction) else ""
    before = read_number(visit.query.get("after", "")) or 0
    found = await visit.services.audit.read(by=by, action=action, before=before)
    names = await visit.services.audit.list_names()
    return {
        "entries": found.entries,
        "next": found.entries[-1].id if found.has_more else None,
        "older": bool(before),
        "by": by,
        "action": action,
        "kept": {name: value for name, value in (("by", by), ("action", action)) if value},
        "names": sorted({*names} | ({by} - {""})),
        "actions": list(AuditAction),
    }


PAGE = ConsolePage(_show)
