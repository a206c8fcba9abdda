"""Who is logged in where; the QR code where a scan is awaited; what to do about each state."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from wxbridge.channels import qr_code
from wxbridge.core.audit import AuditAction
from wxbridge.core.model import ChannelState, ChannelStatus, WantedDigits
from wxbridge.core.text.i18n import has_text
from wxbridge.web.console.page import ConsoleForm, ConsolePage, PageVisit, choose_tone


async def _show(visit: PageVisit) -> Mapping[str, Any]:
    statuses = visit.services.channels.statuses()
    can = set(visit.services.channels.list_logout_channels())
    return {"channels": [_channel(visit, name, status, can) for name, status in statuses.items()]}


def _channel(visit: PageVisit, name: str, status: ChannelStatus, can: set[str]) -> Mapping[str, Any]:
    kind = name.partition(":")[0]
    # Its own words where there are some: a robot cannot be scanned, and an application has no phone.
    advice = next(
        (key for key in (f"do.{kind}.{status.state}", f"do.{status.state}") if has_text(f"console.{key}")), None
    )
    # Whoever scans the code owns the login, which is more than looking.
    code = status.qrcode if visit.session.may_change else None
    wanted = visit.services.channels.wanted_digits(name)
    if wanted is not WantedDigits.NONE:
        advice = f"login.digits_{wanted}"
    told = advice and status.state in (ChannelState.WAITING_FOR_SCAN, ChannelState.SCANNED)
    return {
        "detail": "" if told else status.detail,
        "name": name,
        "status": status,
        "tone": choose_tone(status.state),
        "code": _write_code(code) if code else None,
        "hidden": bool(status.qrcode and not code),
        "advice": visit.say(advice) if advice else "",
        "digits": wanted if wanted is not WantedDigits.NONE else "",
        "can_log_out": name in can and status.state is ChannelState.ONLINE,
    }


def _write_code(code: str) -> str | None:
    """Write a QR code as an address that holds it; None where it does not fit into one."""
    try:
        drawn = qr_code.draw_svg(code)
    except ValueError:
        return None
    return "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()


async def _log_out(visit: PageVisit, form: ConsoleForm) -> str:
    name = form.text("channel", 100)
    if visit.services.orders.is_elsewhere:
        await visit.services.orders.place("log_out", channel=name)
    else:
        await visit.services.channels.log_out(name)
    await visit.record(form, AuditAction.LOGGED_OUT, name)
    return visit.say("login.logged_out", channel=name)


async def _type_digits(visit: PageVisit, form: ConsoleForm) -> str:
    visit.services.channels.type_digits(form.text("channel", 100), form.text("digits", 20))
    return visit.say("login.digits_typed")


PAGE = ConsolePage(_show, {"log-out": _log_out, "digits": _type_digits})
