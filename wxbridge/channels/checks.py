"""What the checks of channels share: whether a port is open, whether a service lets a target in, the last state."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from wxbridge.channels import ChannelContext, ChannelPlugin
from wxbridge.config.schema import Config
from wxbridge.core.database import Database
from wxbridge.core.errors import Offline, SendError, StorageError, Throttled, Transient, Unknown, explain_cause
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.schema import read_fact

CONNECT_SECONDS = 5.0
"""How long a port may take to answer."""
PROBE_LIMIT_SECONDS = 8.0
"""How long a channel's service may take to say whether it lets a target in."""


async def try_port(host: str | None, port: int, tls: ssl.SSLContext | None = None) -> str:
    """Connect and cut the connection at once; give why it cannot be done, in words that hold no secret, or nothing.

    Raises:
        ssl.SSLCertVerificationError: the certificate is not trusted.
    """
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=tls)
    except TimeoutError:
        return f"does not answer within {CONNECT_SECONDS:g} seconds"
    except ssl.SSLCertVerificationError:
        raise
    except OSError as error:
        return f"cannot be reached: {explain_cause(error)}"
    writer.transport.abort()
    return ""


async def last_status(database: Database | None, lane: str) -> Mapping[str, Any]:
    """Give what the running bridge last said of a channel (`state`, `detail`, `account`); empty where it never did."""
    return await look_up_fact(database, f"channel:{lane}")


async def look_up_fact(database: Database | None, key: str) -> Mapping[str, Any]:
    """Give what a fact says; nothing where there is none, or it cannot be read."""
    try:
        value = await database.read(lambda c: read_fact(c, key)) if database else None
    except StorageError:
        return {}
    return value if isinstance(value, dict) else {}


async def probe_target(plugins: Mapping[str, ChannelPlugin], config: Config, database: Database, name: str) -> Finding:
    """Ask a channel's service whether it lets a target in; nobody sees anything of it."""
    target = config.targets[name]
    plugin = plugins[target.channel]
    section = config.section(plugin.section) if plugin.section else plugin.settings()

    async def tell(_line: str) -> None: ...

    context = ChannelContext(section, config.state_dir, database, {name: target}, tell, target.lane())
    channel: Any = plugin.create(context)
    what, advice = f"target {name}", f"correct `targets.{name}`, and see what the service says"
    try:
        async with asyncio.timeout(PROBE_LIMIT_SECONDS):
            return Finding(what, FindingState.OK, await channel.probe(target.address()))
    except TimeoutError:
        found = f"no answer within {PROBE_LIMIT_SECONDS:g} seconds"
        return Finding(what, FindingState.BAD, found, "is the service reached here?")
    except Throttled as error:
        return Finding(what, FindingState.WARN, str(error), "it is let in, but was sent too much; wait")
    except (Offline, Transient, Unknown) as error:
        return Finding(what, FindingState.BAD, str(error), "is the service reached from this host?")
    except SendError as error:
        return Finding(what, FindingState.BAD, str(error), advice)
    finally:
        if hasattr(channel, "close"):
            await channel.close()
