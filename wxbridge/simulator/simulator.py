"""The simulator as one object: a pretend WeChat, its gateway and its web page."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from aiohttp import web

from wxbridge.simulator.gateway import Gateway
from wxbridge.simulator.page import SimulatorPage
from wxbridge.simulator.world import ChangeKind, SimulatedMessage, World, WorldChange

DEFAULT_TOKEN = "insecure_00000000-0000-4000-8000-000000000000"  # noqa: S105 - the name says it: nothing to keep
DEFAULT_CONTACTS = ("主人", "张三", "李四", "王五")
DEFAULT_ROOMS = ("技术讨论群", "运维值班")

T = TypeVar("T")
OnMessage = Callable[[SimulatedMessage], None]


class PortTakenError(OSError):
    """A port of the simulator cannot be had; says which option names another."""

    def __init__(self, option: str, host: str, port: int, error: OSError) -> None:
        why = os.strerror(error.errno) if error.errno else str(error)
        super().__init__(f"cannot listen on {host}:{port}: {why}; free the port, or choose another with {option}")


class Simulator:
    """A WeChat to develop and test against; use it as `async with Simulator() as sim`.

    It starts with the contacts 主人, 张三, 李四 and 王五 and the rooms 技术讨论群 and 运维值班, which all
    of them are in; `contacts` and `rooms` are names of more. With port 0 any free port is taken. With
    `auto_scan` the bot is logged in without anybody scanning. `on_message` is called with every message
    that the bot sends.

    What people do and what is seen of it is `world`; what goes wrong is done to `gateway` and planned in its `faults`.
    """

    def __init__(
        self,
        *,
        token: str = DEFAULT_TOKEN,
        host: str = "127.0.0.1",
        gateway_port: int = 0,
        page_port: int = 0,
        rooms: Iterable[str] = (),
        contacts: Iterable[str] = (),
        auto_scan: bool = False,
        on_message: OnMessage | None = None,
    ) -> None:
        self.token = token
        self.world = World()
        self._host, self._gateway_port, self._page_port = host, gateway_port, page_port
        for name in dict.fromkeys([*DEFAULT_CONTACTS, *contacts]):
            self.world.add_contact(name)
        for topic in dict.fromkeys([*DEFAULT_ROOMS, *rooms]):
            self.world.add_room(topic)
        self.gateway = Gateway(self.world, token, auto_scan=auto_scan)
        self._on_message = on_message
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Event()
        """Set at the next change, and then another."""
        self._page = SimulatorPage(self.world, self.gateway)
        self.gateway.changed = lambda: self._notice(None)
        self.world.subscribe(self._notice)

    # Life

    async def start(self) -> None:
        """Open the gateway and the page.

        Raises:
            PortTakenError: a port cannot be had.
        """
        try:
            await self.gateway.listen(self._host, self._gateway_port)
        except OSError as error:
            raise PortTakenError("--gateway-port", self._host, self._gateway_port, error) from error
        # Open event streams of pages must not hold up the end.
        runner = web.AppRunner(self._page.build_app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._page_port).start()
        except OSError as error:
            await runner.cleanup()
            await self.gateway.kill()
            raise PortTakenError("--page-port", self._host, self._page_port, error) from error
        self._runner = runner
        self._page_port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the gateway and the page; without effect when closed already."""
        runner, self._runner = self._runner, None
        await self.gateway.kill()
        if runner is not None:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def endpoint(self) -> str:
        """Give the gateway's `host:port`."""
        return self.gateway.endpoint

    @property
    def gateway_port(self) -> int:
        """Give the gateway's port."""
        return int(self.endpoint.rpartition(":")[2])

    @property
    def page_port(self) -> int:
        """Give the page's port."""
        return self._page_port

    @property
    def url(self) -> str:
        """Give the page's address, without a slash at the end."""
        return f"http://{self._host}:{self._page_port}"

    async def wait_for(self, predicate: Callable[[], T], timeout: float = 10.0) -> T:  # noqa: ASYNC109 - reads best in tests
        """Wait until `predicate()` is true and give its value; it is asked again after every change.

        `timeout` is in seconds.

        Raises:
            TimeoutError: it did not become true in time; the text says how things stand.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (value := predicate()):
                    await self._changed.wait()
                return value
        except TimeoutError:
            client = "connected" if self.gateway.client_connected else "not connected"
            raise TimeoutError(
                f"Nothing after {timeout:g} s: the login is {self.world.state}, the client is {client}, "
                f"{len(self.world.messages(sent_by_bot=True))} messages came from the bot."
            ) from None

    def _notice(self, change: WorldChange | None) -> None:
        message = change.message if change is not None and change.kind is ChangeKind.MESSAGE else None
        if message is not None and message.sent_by_bot and self._on_message is not None:
            self._on_message(message)
        self._page.tell_readers(change)
        self._changed.set()
        self._changed = asyncio.Event()


async def serve(simulator: Simulator, tell: Callable[[str], None] = print) -> None:
    """Run a simulator until cancelled; `tell` is given the lines that say where it is.

    Raises:
        PortTakenError: a port cannot be had.
    """
    async with simulator:
        tell(f"WeChat page   {simulator.url}/")
        tell(f"gateway       WECHATY_PUPPET_SERVICE_ENDPOINT={simulator.endpoint}")
        tell(f"token         WECHATY_PUPPET_SERVICE_TOKEN={simulator.token}")
        await asyncio.get_running_loop().create_future()
