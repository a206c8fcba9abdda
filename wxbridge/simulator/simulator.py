"""The simulator as one object: a pretend WeChat, its gateway and its web page."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from typing import Self, TypeVar

from aiohttp import web
from grpclib.const import Status

from wxbridge.simulator.gateway import Gateway
from wxbridge.simulator.page import SimulatorPage
from wxbridge.simulator.world import ChangeKind, LoginState, SimulatedMessage, World, WorldChange

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

    Attributes that are there from the start: `world` (the state), `gateway`, `token`. Names of rooms and
    contacts may be given as ids everywhere. Methods that take a name raise WorldError (a ValueError) for
    an unknown one.
    """

    def __init__(  # noqa: PLR0913 - all optional, all by name
        self,
        *,
        token: str = DEFAULT_TOKEN,
        host: str = "127.0.0.1",
        gateway_port: int = 0,
        page_port: int = 0,
        bot_name: str = "小桥",
        rooms: Iterable[str] = (),
        contacts: Iterable[str] = (),
        auto_scan: bool = False,
        on_message: OnMessage | None = None,
    ) -> None:
        self.token = token
        self.world = World(bot_name)
        self._host, self._gateway_port, self._page_port = host, gateway_port, page_port
        for name in dict.fromkeys([*DEFAULT_CONTACTS, *contacts]):
            self.world.add_contact(name)
        for topic in dict.fromkeys([*DEFAULT_ROOMS, *rooms]):
            self.world.add_room(topic)
        self.gateway = Gateway(self.world, token, auto_scan=auto_scan)
        self._on_message = on_message
        self._runner: web.AppRunner | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._page = SimulatorPage(self.world, self.gateway)
        self._watchers: list[Callable[[WorldChange | None], None]] = [self._page.tell_readers]
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

    async def kill_gateway(self) -> None:
        """Let the gateway die: its port closes and connections are cut; the page and the state stay."""
        await self.gateway.kill()

    async def restart_gateway(self) -> None:
        """Bring the gateway back on the same port after `kill_gateway`.

        Raises:
            RuntimeError: it is running.
            OSError: something else has taken the port.
        """
        await self.gateway.restart()

    # What people do

    def scan(self) -> None:
        """Scan and confirm the QR code: the bot is logged in afterwards.

        Raises:
            WorldError: no QR code is being shown (no client has called Start, or the bot is logged in).
        """
        self.world.scan()

    def logout(self) -> None:
        """Log the bot out; a fresh QR code is shown.

        Raises:
            WorldError: the bot is not logged in.
        """
        self.world.logout()

    def refresh_qrcode(self) -> str:
        """Let the QR code expire; gives the next one.

        Raises:
            WorldError: no QR code is being shown.
        """
        return self.world.refresh_qrcode()

    def say(
        self,
        text: str,
        *,
        room: str | None = None,
        contact: str | None = None,
        talker: str | None = None,
        mention: bool | None = None,
        with_mention_ids: bool = True,
    ) -> SimulatedMessage:
        """Let a person say something; see `World.say` for what the arguments mean and what is raised."""
        return self.world.say(
            text,
            room=room,
            contact=contact,
            talker=talker,
            mention=mention,
            with_mention_ids=with_mention_ids,
        )

    def new_ids(self) -> None:
        """Give every contact and room a new id, with a logout and login where the bot was logged in."""
        self.world.relogin_with_new_ids()

    def rename_room(self, room: str, topic: str) -> None:
        """Change a room's topic; the client gets a room-topic event.

        Raises:
            WorldError: the room is unknown or the topic is empty.
        """
        self.world.rename_room(room, topic)

    # What goes wrong

    def fail_next(
        self,
        count: int = 1,
        code: str | Status = "UNAVAILABLE",
        *,
        method: str | None = None,
        after: bool = False,
    ) -> None:
        """Answer the next `count` sends with a gRPC status; see `Faults.fail_next`."""
        self.gateway.faults.fail_next(count, code, method=method, after=after)

    def delay(
        self, seconds: float, count: int | None = None, *, method: str | None = None, after: bool = False
    ) -> None:
        """Hold sends for `seconds`, all of them or the next `count`; see `Faults.delay`."""
        self.gateway.faults.delay(seconds, count, method=method, after=after)

    def drop(self) -> int:
        """Cut every TCP connection to the gateway; gives how many there were."""
        return self.gateway.drop()

    def takeover(self) -> None:
        """Let another client take the event stream; Event is ALREADY_EXISTS until somebody calls Stop."""
        self.gateway.takeover()

    def freeze(self) -> None:
        """Accept connections and calls, answer nothing, until `thaw`."""
        self.gateway.freeze()

    def thaw(self) -> None:
        """End a `freeze`; what came in meanwhile is done now."""
        self.gateway.thaw()

    # Watching

    @property
    def client_connected(self) -> bool:
        """Say whether a client listens to the events."""
        return self.gateway.client_connected

    @property
    def logged_in(self) -> bool:
        """Say whether the bot is logged in."""
        return self.world.state is LoginState.LOGGED_IN

    def messages(
        self, room: str | None = None, contact: str | None = None, *, sent_by_bot: bool | None = None
    ) -> tuple[SimulatedMessage, ...]:
        """Give the messages, oldest first: of a room, of the direct chat with a contact, or all.

        `sent_by_bot` True leaves only the bot's own, False only other people's.
        """
        found = self.world.messages(room, contact)
        return tuple(message for message in found if sent_by_bot in (None, message.sent_by_bot))

    async def wait_for(self, predicate: Callable[[], T], timeout: float = 10.0) -> T:  # noqa: ASYNC109 - reads best in tests
        """Wait until `predicate()` is true and give its value; it is asked again after every change.

        `timeout` is in seconds.

        Raises:
            TimeoutError: it did not become true in time; the text says how things stand.
        """
        try:
            async with asyncio.timeout(timeout):
                while not (value := predicate()):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.add(waiter)
                    try:
                        await waiter
                    finally:
                        self._waiters.discard(waiter)
                return value
        except TimeoutError:
            client = "connected" if self.client_connected else "not connected"
            raise TimeoutError(
                f"Nothing after {timeout:g} s: the login is {self.world.state}, the client is {client}, "
                f"{len(self.messages(sent_by_bot=True))} messages came from the bot."
            ) from None

    async def wait_for_messages(
        self,
        count: int = 1,
        *,
        room: str | None = None,
        contact: str | None = None,
        timeout: float = 10.0,  # noqa: ASYNC109 - reads best in tests
    ) -> tuple[SimulatedMessage, ...]:
        """Wait until the bot has sent `count` messages (to a room or contact, or at all) and give them.

        Raises:
            TimeoutError: fewer came in time.
        """

        def enough() -> tuple[SimulatedMessage, ...]:
            found = self.messages(room, contact, sent_by_bot=True)
            return found if len(found) >= count else ()

        return await self.wait_for(enough, timeout)

    def watch(self, watcher: Callable[[WorldChange | None], None]) -> Callable[[], None]:
        """Have `watcher` called after every change (None: of the connection); the result ends it."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)

    def _notice(self, change: WorldChange | None) -> None:
        message = change.message if change is not None and change.kind is ChangeKind.MESSAGE else None
        if message is not None and message.sent_by_bot and self._on_message is not None:
            self._on_message(message)
        for watcher in tuple(self._watchers):
            watcher(change)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


async def serve(  # noqa: PLR0913 - all optional, all by name
    *,
    token: str = DEFAULT_TOKEN,
    host: str = "127.0.0.1",
    gateway_port: int = 8788,
    page_port: int = 8789,
    bot_name: str = "小桥",
    rooms: Iterable[str] = (),
    contacts: Iterable[str] = (),
    auto_scan: bool = False,
    on_message: OnMessage | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Run a simulator until cancelled; `tell` is given the lines that say where it is.

    Raises:
        PortTakenError: a port cannot be had.
    """
    async with Simulator(
        token=token,
        host=host,
        gateway_port=gateway_port,
        page_port=page_port,
        bot_name=bot_name,
        rooms=rooms,
        contacts=contacts,
        auto_scan=auto_scan,
        on_message=on_message,
    ) as simulator:
        tell(f"WeChat page   {simulator.url}/")
        tell(f"gateway       WECHATY_PUPPET_SERVICE_ENDPOINT={simulator.endpoint}")
        tell(f"token         WECHATY_PUPPET_SERVICE_TOKEN={simulator.token}")
        await asyncio.get_running_loop().create_future()
