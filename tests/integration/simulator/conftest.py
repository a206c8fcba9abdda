"""A raw stub of the puppet service, which says what a client would."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from grpclib.client import Channel
from grpclib.const import Cardinality
from wechaty_grpc.wechaty import PuppetStub
from wechaty_grpc.wechaty import puppet as pb

from wxbridge.simulator import Simulator


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """A running simulator on free ports, with nobody logged in."""
    async with Simulator() as running:
        yield running


class Client:
    """One connection to the gateway: a stub, and the events as they come."""

    def __init__(self, endpoint: str, token: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self.channel = Channel(host, int(port))
        self.channel._authority = token
        self.stub = PuppetStub(self.channel, timeout=10)

    def events(self) -> AsyncIterator[pb.EventResponse]:
        return PuppetStub(self.channel).event()

    async def send_stream(self, *requests: pb.MessageSendFileStreamRequest) -> str:
        # betterproto 1.2.5 has no client for streamed requests.
        async with self.channel.request(
            "/wechaty.Puppet/MessageSendFileStream",
            Cardinality.STREAM_UNARY,
            pb.MessageSendFileStreamRequest,
            pb.MessageSendFileStreamResponse,
        ) as stream:
            for request in requests:
                await stream.send_message(request)
            await stream.end()
            return (await stream.recv_message()).id


@pytest.fixture
def connect(simulator: Simulator):
    with contextlib.ExitStack() as open_clients:

        def make(token: str | None = None) -> Client:
            client = Client(simulator.endpoint, simulator.token if token is None else token)
            open_clients.callback(client.channel.close)
            return client

        yield make


@pytest_asyncio.fixture
async def client(simulator: Simulator, connect: Callable[[], Client]) -> Client:
    """A client whose bot is logged in, without an event stream."""
    one = connect()
    await one.stub.start()
    simulator.world.scan()
    return one
