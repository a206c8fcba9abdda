"""Which files are in use, since when, what was wrong with them last, and what is in them without its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.web.console.page import Form, Page, Visit


async def _show(visit: Visit) -> Mapping[str, Any]:
    return {"config": visit.console.config(), "can_reload": visit.console.reload is not None}


async def _reload(visit: Visit, _form: Form) -> str:
    if visit.console.reload is None:
        return visit.say("no_such_action")
    visit.console.reload()
    return visit.say("configuration.asked")


PAGE = Page(
    "configuration", _show, "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4M4 12h16", {"reload": _reload},
    wanted=lambda console: console.config() is not None,
)  # fmt: skip
