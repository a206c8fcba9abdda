"""What a template makes of a body, while somebody writes either."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wxbridge.alerts.intake import prepare_group
from wxbridge.alerts.templates import Templates
from wxbridge.core.errors import BadBody, WxbridgeError
from wxbridge.web.console.page import ConsolePage, PageVisit

MAX_BODY_CHARS = 200_000
USUAL_SAMPLE = "alertmanager"
BUILT_IN = ""
"""Stands for the built-in text."""
OWN = "*"
"""Stands for the template that is written on the page."""


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    typed, settings = visit.typed, visit.services.alerts.settings
    samples = await asyncio.to_thread(visit.services.samples)
    source = typed.get("source") or visit.query.get("source") or USUAL_SAMPLE
    hooks = {name: sample.hook for name, sample in samples.items()} | {hook: hook for hook in settings.sources}
    sample = samples.get(source)
    body = typed.get("body", "")
    if sample and (not body or "sample" in typed):
        made = await asyncio.to_thread(sample.body, resolved=typed.get("status") == "resolved")
        body = made.decode(errors="replace")
    shown = await asyncio.to_thread(_render, visit, hooks.get(source, "generic"), body, sample)
    templates = settings.templates
    return {
        "sources": sorted(hooks),
        "source": source,
        "body": body,
        "name": typed.get("template", BUILT_IN),
        "own": typed.get("own", ""),
        "names": await asyncio.to_thread(templates.names) if templates and templates.path.is_dir() else [],
        "folder": str(templates.path) if templates else "",
        "result": shown[0],
        "problem": shown[1],
    }


def _render(visit: PageVisit, hook: str, body: str, sample: Any) -> tuple[str, str]:
    """Render a body in the words that are chosen: the text, and what is wrong where something is."""
    settings, name, now = visit.services.alerts.settings, visit.typed.get("template", BUILT_IN), datetime.now(UTC)
    if not body.strip():
        return "", ""
    try:
        if len(body) > MAX_BODY_CHARS:
            raise BadBody(visit.say("templates.too_long", n=MAX_BODY_CHARS))
        headers = {"Content-Type": sample.content_type} if sample else {}
        parse = settings.sources.get(hook)
        if parse is None:
            raise BadBody(visit.say("templates.no_source", source=hook))
        group = prepare_group(parse(body.encode(errors="replace"), headers), "")
        templates = settings.templates or Templates(visit.config.templates, settings.language, settings.timezone)
        own = visit.typed.get("own", "")
        if name == OWN or (own.strip() and not name):
            return templates.renderer.render_text(own, group, "ops", now), ""
        if name:
            return templates.renderer.render(name, group, "ops", now), ""
        return templates.renderer.render_text("{{ builtin }}", group, "ops", now), ""
    except WxbridgeError as error:
        return "", str(error)


PAGE = ConsolePage(_show, previews=("render",))
