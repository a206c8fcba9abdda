"""The login: a code, the scan, digits that the phone may want, the tap; beside a running bridge and within it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from wxbridge.channels.ilink.client import Credentials, IlinkClient, IlinkFault, IlinkRefusal

CODE_SECONDS = 300.0
"""After which a code is taken for too old, whatever the service says."""
POLL_SECONDS = 35.0
PAUSE_SECONDS = 1.0
RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0)
"""Before another code is asked for, where none could be had; the last is that of all further ones."""


class LoginView(Protocol):
    """Who shows a person what to do."""

    def show_code(self, address: str) -> None:
        """Show a new code: the address is drawn as a QR code, or opened in WeChat."""

    def show_scanned(self) -> None:
        """Say that the code was scanned, and waits for the tap."""

    def show_failure(self, why: str) -> None:
        """Say why there is no code at the moment."""

    async def ask_digits(self, *, is_wrong: bool) -> str:
        """Ask for the digits that the phone shows; `is_wrong`: those before were not right."""


async def log_in(
    client: IlinkClient, view: LoginView, known: Credentials | None = None, *, poll_seconds: float = POLL_SECONDS
) -> Credentials:
    """Show codes until one is confirmed; gives what it brings, or `known` where that login is still good.

    It goes on until it is cancelled.
    """
    failures = 0
    while True:
        try:
            handle, address = await client.make_code((known.token,) if known else ())
        except (IlinkFault, IlinkRefusal) as error:
            view.show_failure(str(error))
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1
            continue
        failures = 0
        view.show_code(address)
        found = await _follow(client, view, handle, known, poll_seconds)
        if found is not None:
            return found


async def _follow(
    client: IlinkClient, view: LoginView, handle: str, known: Credentials | None, poll_seconds: float
) -> Credentials | None:
    """Follow one code; None where another is needed."""
    host = digits = ""
    is_shown = False
    loop = asyncio.get_running_loop()
    ends_at = loop.time() + CODE_SECONDS
    while loop.time() < ends_at:
        began = loop.time()
        status = await client.read_code_status(handle, host, digits, poll_seconds)
        match status.status:
            case "confirmed" if status.credentials is not None:
                return status.credentials
            case "binded_redirect" if known is not None:
                return known
            case "expired" | "verify_code_blocked" | "confirmed" | "binded_redirect":
                return None
            case "need_verifycode":
                digits = await view.ask_digits(is_wrong=bool(digits))
                continue
            case "scaned_but_redirect":
                host = status.redirect_host or host
            case "scaned":
                digits = ""
                if not is_shown:
                    view.show_scanned()
                is_shown = True
        if loop.time() - began < PAUSE_SECONDS:
            await asyncio.sleep(min(PAUSE_SECONDS, poll_seconds))
    return None
