"""The page behind a link that silences: for a group in which nobody can type commands.

Whoever has the link may silence the alerts that it names for a few hours, or until they end, and nothing else: no token
is asked for, and no session is made. To look at the page changes nothing, as chats fetch links to show what is behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from aiohttp import web

from wxbridge.alerts.alert_text import find_summary
from wxbridge.alerts.firing import FiringAlert
from wxbridge.alerts.kept_silences import SilenceRequest
from wxbridge.alerts.links import SILENCE_PATH, SilenceLink, shorten_key
from wxbridge.alerts.severity import severity_name, severity_of, write_severity_name
from wxbridge.alerts.silences import Silence
from wxbridge.core.audit import AuditAction, AuditDoor
from wxbridge.core.errors import BadBody, StorageError
from wxbridge.core.model import AlertStatus
from wxbridge.web.auth import count_wrong_token
from wxbridge.web.console.page import choose_severity_tone, say_in_console
from wxbridge.web.console.session import ConsoleRole
from wxbridge.web.console.site import SITE, add_headers, see_other
from wxbridge.web.origin import is_own_page, read_origin
from wxbridge.web.responses import CALLER, RequestRefused
from wxbridge.web.services import SERVICES

log = structlog.get_logger()

CHOICES: Mapping[str, float] = {"1h": 3600.0, "4h": 4 * 3600.0, "end": 30 * 86400.0}
"""For how long, by the value of its button, in seconds; `end` is until the alert is over, if that is sooner."""
MAX_NAME_CHARS = 40
_SAME_END_SECONDS = 60.0
"""By how much a silence may end sooner than what is asked for, where nothing is done."""


async def follow_link(request: web.Request) -> web.StreamResponse:
    """Show what a link silences, and the buttons; silence that where one was pressed, and lead back to the page."""
    changes = request.method == "POST"
    site, services = request.app[SITE], request.app[SERVICES]
    request[CALLER] = "link"
    name = request.match_info["link"]
    link = services.alerts.read_silence_link(name)
    if link is None:
        count_wrong_token(request, place=SILENCE_PATH)
        return _render(request, 404, problem="gone")
    if link.good_until <= site.clock.wall() or not link.target:
        return _render(request, 410, problem="over")
    if changes and not is_own_page(request, read_origin(request, site.tokens.proxies)):
        raise RequestRefused(403, "cross_site", "Another site's page may not do this.")
    try:
        found = await services.alerts.find_posted(link.short_keys)
        if changes and await _silence(request, link, found):
            return add_headers(see_other(f"{SILENCE_PATH}{name}"))
    except StorageError as error:
        log.error("a link could not be followed", error=str(error))  # noqa: TRY400 - the path is as good as a token
        return _render(request, 503, problem="storage")
    shown = [_describe(request, each) for each in found]
    return _render(
        request, 400 if changes else 200, alerts=shown, link=name, with_boxes=_has_boxes(link), is_none_chosen=changes
    )


def _has_boxes(link: SilenceLink) -> bool:
    """Tell whether a link's alerts are chosen among, as of a single one there is no choice."""
    return len(link.short_keys) > 1


async def _silence(request: web.Request, link: SilenceLink, found: Sequence[FiringAlert]) -> bool:
    """Silence what was chosen; False where nothing was."""
    services, site = request.app[SERVICES], request.app[SITE]
    form = await request.post()
    choice = str(form.get("for", ""))
    if choice not in CHOICES:
        raise BadBody("The form has no time that is offered.")
    chosen = {str(each) for each in form.getall("alert", [])} if _has_boxes(link) else set(link.short_keys)
    if not chosen:
        return False
    by = " ".join(str(form.get("by", "")).replace("\x00", "").split())[:MAX_NAME_CHARS]
    now = site.clock.wall()
    for each in found:
        is_over = each.alert.status is AlertStatus.RESOLVED
        known = _silence_of(request, each)
        ends_at = now + CHOICES[choice]
        if is_over or shorten_key(each.key) not in chosen or (known and known.ends_at >= ends_at - _SAME_END_SECONDS):
            continue
        name = f"{by} ({link.target})" if by else link.target
        made = await services.alerts.silence(
            SilenceRequest(
                tuple(each.silencing_matchers()), now, ends_at,
                created_by=name,
                comment=say_in_console(services.state.config.language, "link.comment"),
                ends_with=each.key if choice == "end" else None,
            )
        )  # fmt: skip
        log.info(
            "silenced by a link", alert=each.key, title=each.alert.title[:120], silence=made.id, time=choice, by=by,
            told_to=link.target, address=read_origin(request, site.tokens.proxies).address,
        )  # fmt: skip
        what = ", ".join(map(str, made.silence.matchers))
        await services.audit.record(AuditAction.SILENCED, what, by=name, via=AuditDoor.LINK)
    site.memory.overview.clear()
    return True


def _silence_of(request: web.Request, each: FiringAlert) -> Silence | None:
    return request.app[SERVICES].alerts.find_silence(each.labels)


def _describe(request: web.Request, each: FiringAlert) -> Mapping[str, Any]:
    alert, silence = each.alert, _silence_of(request, each)
    notes = alert.annotations
    return {
        "key": shorten_key(each.key),
        "title": alert.title or say_in_console(request.app[SITE].choose_language(request), "timeline.untitled"),
        "severity": write_severity_name(severity_name(alert), request.app[SITE].choose_language(request)),
        "tone": choose_severity_tone(severity_of(alert)),
        "is_over": alert.status is AlertStatus.RESOLVED,
        "since": each.since,
        "summary": notes.get(find_summary(notes), ""),
        "labels": {name: value for name, value in alert.labels.items() if name != "alertname"},
        "silence": silence,
        "until": datetime.fromtimestamp(silence.ends_at, UTC) if silence else None,
    }


def _render(
    request: web.Request,
    status: int = 200,
    *,
    problem: str = "",
    alerts: Sequence[Any] = (),
    link: str = "",
    with_boxes: bool = False,
    is_none_chosen: bool = False,
) -> web.Response:
    site = request.app[SITE]
    visit = site.visit(request, site.sessions.open(ConsoleRole.READ))
    shown = {
        "problem": problem, "alerts": alerts, "v": visit, "action": f"{SILENCE_PATH}{link}",
        "firing": any(not each["is_over"] for each in alerts), "with_boxes": with_boxes,
        "is_none_chosen": is_none_chosen,
    }  # fmt: skip
    response = site.render_outside(request, "silence-link.html", shown, status)
    # Nobody who indexes or previews pages keeps it.
    response.headers["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    add_headers(response)
    return response


ROUTES = [web.get(f"{SILENCE_PATH}{{link}}", follow_link), web.post(f"{SILENCE_PATH}{{link}}", follow_link)]
