"""`login`: a person scans, beside a running bridge or without one."""

from __future__ import annotations

import asyncio
import sys

from wxbridge.channels import qr_code
from wxbridge.channels.ilink.client import IlinkClient
from wxbridge.channels.ilink.login import log_in
from wxbridge.channels.ilink.settings import CHANNEL, IlinkSettings
from wxbridge.channels.ilink.store import PersonStore
from wxbridge.cli.common import WRONG_USAGE, ConfigOption, fail, with_database
from wxbridge.cli.reader import phrase, tell
from wxbridge.config.schema import Config
from wxbridge.core.database import Database


class _Terminal:
    """Shows the login on standard output, whether or not that is a terminal, and reads digits from standard input."""

    def show_code(self, address: str) -> None:
        """Show a code, and its address for those who cannot scan it here."""
        qr_code.print_code(address, sys.stdout)
        print(phrase("terminal.login.scan", address=address), flush=True)  # noqa: T201

    def show_scanned(self) -> None:
        """Say that the tap is awaited."""
        print(phrase("terminal.login.scanned"), flush=True)  # noqa: T201

    def show_failure(self, why: str) -> None:
        """Say why there is no code."""
        print(phrase("terminal.login.no_code", why=tell(why)), flush=True)  # noqa: T201

    async def ask_digits(self, *, is_wrong: bool) -> str:
        """Ask for the digits that the phone shows."""
        print(phrase("terminal.login.wrong_digits") if is_wrong else "", end="")  # noqa: T201
        print(phrase("terminal.login.digits"), end="", flush=True)  # noqa: T201
        line = await asyncio.to_thread(sys.stdin.readline)
        if not line:
            raise fail("there is nobody to type the digits: standard input has ended")
        return str(line).strip()


def login(person: str, config: ConfigOption = None) -> None:
    """Have a person scan a QR code, so that the bridge may write to them in personal WeChat."""

    async def work(settings: Config, database: Database) -> None:
        section = settings.section(CHANNEL)
        if not isinstance(section, IlinkSettings) or person not in section.people:
            known = ", ".join(section.people) if isinstance(section, IlinkSettings) else "none"
            raise fail(
                f"{settings.path}: `ilink.people` does not have {person!r} (there are: {known}); add the name there",
                WRONG_USAGE,
            )
        store, client = PersonStore(database, person), IlinkClient(section)
        try:
            before = await store.load()
            found = await log_in(client, _Terminal(), before.credentials)
            if found != before.credentials:
                await store.save(before.logged_in(found))
        finally:
            await client.close()

    with_database(config, work)
    print(phrase("terminal.login.done", name=person))  # noqa: T201
