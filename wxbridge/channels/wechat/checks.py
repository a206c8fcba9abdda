"""What `wxbridge doctor` looks at for the channel `wechat`: the gateway, the login, and whom the targets mean."""

from __future__ import annotations

from typing import Any

from wxbridge.channels import CheckContext
from wxbridge.channels.checks import last_status, try_port
from wxbridge.channels.wechat.directory import CHANNEL, list_contacts, list_rooms, read_account
from wxbridge.channels.wechat.identity import AddressProblem, Found, Known, resolve_contact, resolve_room
from wxbridge.channels.wechat.identity_store import IdentityStore
from wxbridge.channels.wechat.resolver import list_named
from wxbridge.channels.wechat.settings import WechatSettings, split_endpoint
from wxbridge.core.findings import Finding, FindingState


async def check_gateway(context: CheckContext) -> list[Finding]:
    """Tell whether the gateway's port answers. The token is not tried: a second client would send the bridge away."""
    wechat = context.settings
    if not isinstance(wechat, WechatSettings):
        return []
    problem = await try_port(*split_endpoint(wechat.endpoint))
    if problem:
        advice = "start the gateway, or correct `wechat.endpoint`"
        return [Finding("gateway", FindingState.BAD, f"{wechat.endpoint} {problem}", advice)]
    return [Finding("gateway", FindingState.OK, f"{wechat.endpoint} is open")]


async def check_login(context: CheckContext) -> list[Finding]:
    """Tell what the running bridge last said of its login."""
    if not isinstance(context.settings, WechatSettings):
        return []
    status = await last_status(context.database, CHANNEL)
    if not status:
        return [Finding("login", FindingState.WARN, "no bridge has connected yet", "start it, and scan its QR code")]
    found = "; ".join(filter(None, (str(status.get("state", "")).replace("_", " "), status.get("account"))))
    if status.get("state") == "online":
        return [Finding("login", FindingState.OK, found)]
    advice = "scan the QR code at /login" if "scan" in found else "see `wxbridge status`"
    return [Finding("login", FindingState.WARN, "; ".join(filter(None, (found, status.get("detail")))), advice)]


async def check_addresses(context: CheckContext) -> list[Finding]:
    """Tell whether each room and contact that is named is known, and only one."""
    if not isinstance(context.settings, WechatSettings):
        return []
    wanted = list_named(context.targets, context.settings.master)
    database = context.database
    rooms, contacts = (await list_rooms(database), await list_contacts(database)) if database else ([], [])
    if database is None or not (rooms or contacts):
        found = "cannot be told: no bridge has been logged in here yet"
        return [Finding(f"target {name}", FindingState.WARN, found, "run the bridge once, and scan") for name in wanted]
    store = IdentityStore(database)
    await store.load()
    account = await read_account(database)
    people = {contact.id: contact.name for contact in contacts if contact.name}
    findings = []
    for name, target in wanted.items():
        before = store.get(target.chat_key())
        result: Found[Any] | AddressProblem = (
            resolve_room(target.room, before, Known(rooms, account, people))
            if target.room
            else resolve_contact(target.contact or "", before, Known(contacts, account))
        )
        findings.append(_finding(f"target {name}", result))
    return findings


def _finding(name: str, result: Found[Any] | AddressProblem) -> Finding:
    if isinstance(result, AddressProblem):
        candidates = f" It could be {', '.join(result.candidates)}." if result.candidates else ""
        return Finding(name, FindingState.BAD, result.text, f"correct the name, or write the id.{candidates}")
    if result.notice:
        advice = "write the present name, or the id, into jobs.yaml"
        return Finding(name, FindingState.WARN, result.notice.text, advice)
    return Finding(name, FindingState.OK, str(result.entry))
