"""What the checks of channels share: whether a port is open, and what the running bridge last said of a channel."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Any

from wxbridge.core.database import Database
from wxbridge.core.errors import StorageError
from wxbridge.core.schema import read_facts

CONNECT_SECONDS = 5.0
"""How long a port may take to answer."""


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
        return f"cannot be reached: {explain_os_error(error)}"
    writer.transport.abort()
    return ""


def explain_os_error(error: OSError) -> str:
    """Say why nothing was reached, in words that hold no address with a secret in it."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


async def last_status(database: Database | None, lane: str) -> Mapping[str, Any]:
    """Give what the running bridge last said of a channel (`state`, `detail`, `account`); empty where it never did."""
    if database is None:
        return {}
    try:
        facts = await database.read(lambda connection: read_facts(connection, f"channel:{lane}"))
    except StorageError:
        return {}
    value = facts.get("", ({}, 0.0))[0]
    return value if isinstance(value, dict) else {}
