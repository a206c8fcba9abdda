"""What `wxbridge doctor` looks at for the channel `wecom_bot`: whether each bot can connect."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from wxbridge.channels import CheckContext
from wxbridge.channels.checks import last_status, try_port
from wxbridge.channels.wecom_bot.settings import CHANNEL, BotSettings, BotsSettings
from wxbridge.core.database import Database
from wxbridge.core.errors import explain_cause
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.tls import make_tls_context


async def check_bots(context: CheckContext) -> list[Finding]:
    """Tell whether the bots can connect. Their secrets cannot be tried: a second connection would end the bridge's."""
    if not isinstance(context.settings, BotsSettings):
        return []
    bots = context.settings.bots
    return await asyncio.gather(*(_check_bot(name, bot, context.database) for name, bot in bots.items()))


async def _check_bot(name: str, bot: BotSettings, database: Database | None) -> Finding:
    what = f"bot {name}"
    try:
        problem = await _try_address(bot)
    except ssl.SSLCertVerificationError as error:
        found = f"{bot.ws_url}: its certificate: {error.verify_message}"
        return Finding(what, FindingState.BAD, found, f"name the authority that signed it as `bots.{name}.ca`")
    if problem:
        advice = f"let this host connect there, or correct `bots.{name}.ws_url`"
        return Finding(what, FindingState.BAD, f"{bot.ws_url} {problem}", advice)
    status = await last_status(database, f"{CHANNEL}:{name}")
    found = f"{bot.ws_url} is open"
    if not status:
        words = f"{found}; no bridge has connected yet"
        return Finding(what, FindingState.WARN, words, "start it: it tells of a wrong secret")
    last = str(status.get("state", "")).replace("_", " ")
    if last == "online":
        return Finding(what, FindingState.OK, f"{found}, and the bridge last was {last}")
    words = " ".join(filter(None, (f"{found}, but the bridge last was {last}:", status.get("detail"))))
    return Finding(what, FindingState.WARN, words, "see `wxbridge status`")


async def _try_address(bot: BotSettings) -> str:
    """Give why the bot's address is not reached; nothing where it is. Raises SSLCertVerificationError."""
    address = urlsplit(bot.ws_url)
    secure = address.scheme == "wss"
    try:
        tls = await asyncio.to_thread(make_tls_context, bot.ca) if secure else None
        return await try_port(address.hostname, address.port or (443 if secure else 80), tls)
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        return f"cannot be reached: {explain_cause(error)}"
    except ValueError as error:
        return f"cannot be reached: {type(error).__name__}"
