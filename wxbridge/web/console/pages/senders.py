"""Ready addresses for each sender and target, to be copied into it; and a sample of each, to see where it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from wxbridge.alerts.intake import TEST_HEADER
from wxbridge.core.audit import AuditAction
from wxbridge.core.errors import BadBody
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit

USUAL = "grafana"
_TOKEN = "TOKEN"  # noqa: S105 - stands for it
_ONLY_ADDRESSES = ("openfalcon", "generic/uptime-kuma", "generic/aliyun", "generic/tencent", "generic/huawei")
"""The hooks of senders that often have no field for a header: the token stands in the address."""


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    settings = visit.services.alerts.settings
    targets = visit.services.channels.targets
    chosen = visit.query.get("to", "")
    samples = await asyncio.to_thread(visit.services.samples)
    hooks = sorted({sample.hook for sample in samples.values()} | set(settings.sources))
    return {
        "targets": list(targets),
        "to": chosen if chosen in targets else "",
        "senders": [_describe(visit, hook, chosen) for hook in hooks],
        "samples": list(samples),
        "usual": USUAL,
        "asks": bool(visit.config.server.token),
        "public": bool(visit.config.server.public_url),
    }


def _describe(visit: PageVisit, hook: str, to: str) -> Mapping[str, Any]:
    base = visit.config.server.public_url or visit.base
    target = visit.services.channels.targets.get(to)
    asked = {"to": to} if target else {}
    if target is not None:
        asked |= dict(target.request_keys())
    address = f"{base}/hooks/{hook}" + (f"?{urlencode(asked)}" if asked else "")
    whole = f"{base}/hooks/{hook}?{urlencode(asked | {'token': _TOKEN})}"
    return {
        "name": hook,
        "address": address,
        "whole": whole if visit.config.server.token else "",
        "in_address": hook in _ONLY_ADDRESSES,
    }


async def _send(visit: PageVisit, form: ConsoleForm) -> str:
    name, to, resolved = form.text("sample", 100), form.text("to", 200), form.text("status", 20) == "resolved"
    samples = await asyncio.to_thread(visit.services.samples)
    sample = samples.get(name)
    if sample is None:
        raise BadBody(visit.say("senders.no_sample", name=name))
    if to and to not in visit.services.channels.targets:
        raise BadBody(visit.say("timeline.no_target", target=to))
    body = await asyncio.to_thread(sample.body, resolved=resolved)
    headers = {"Content-Type": sample.content_type, TEST_HEADER: "1"}
    accepted = await visit.services.alerts.accept(sample.hook, body, headers, [to] if to else ())
    await visit.record(form, AuditAction.SENT, f"{name} → {to}" if to else name)
    return visit.say("senders.sent", name=name, n=accepted.queued)


PAGE = ConsolePage(_show, {"sample": _send})
