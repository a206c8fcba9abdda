"""Where messages go: how each target is, what waits for it, and how much more it may be sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wxbridge.core.errors import BadBody
from wxbridge.web.console.page import Form, Page, Visit
from wxbridge.web.console.pages.login import tone
from wxbridge.web.push import Push


async def _show(visit: Visit) -> Mapping[str, Any]:
    waiting = {row.target: row[1:] for row in await visit.console.outbox.count_backlog()}
    statuses = visit.bridge.channels()
    views = visit.console.targets()
    rows = [
        {
            "it": target,
            "status": (status := statuses.get(target.channel)),
            "tone": tone(status.state) if status else "bad",
            "waiting": waiting.get(target.name, (0, None))[0],
            "oldest": waiting.get(target.name, (0, None))[1],
        }
        for target in views
    ]
    gone = [(name, *its) for name, its in waiting.items() if name not in {target.name for target in views}]
    return {"rows": rows, "gone": gone}


async def _test(visit: Visit, form: Form) -> str:
    name, text = form.text("target", 200), form.text("text")
    if name not in {target.name for target in visit.console.targets()}:
        raise BadBody(visit.say("timeline.no_target", target=name))
    if not text and form.picture is None:
        raise BadBody(visit.say("targets.nothing"))
    await visit.bridge.push(Push((name,), text, form.picture))
    return visit.say("targets.queued", target=name)


PAGE = Page(
    "targets",
    _show,
    "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 12h.01",
    {"test": _test},
)
