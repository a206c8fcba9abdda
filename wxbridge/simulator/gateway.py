"""The puppet service: what a TypeScript Wechaty gateway answers over gRPC, played on a World."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import betterproto
from grpclib.const import Cardinality, Status
from grpclib.const import Handler as Method
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from wechaty_grpc.wechaty import puppet as pb

from wxbridge.simulator import filebox
from wxbridge.simulator.faults import UNARY_METHODS, Faults
from wxbridge.simulator.transport import GatewayServer
from wxbridge.simulator.world import (
    ChangeKind,
    LoginState,
    MessageKind,
    ScanStatus,
    SimulatedFile,
    World,
    WorldChange,
    WorldError,
)

SERVICE = "wechaty.Puppet"
VERSION = "1.19.9"
HEARTBEAT = 15.0
"""Seconds between heartbeat events on a silent stream."""

# A payload's type travels with the numbers of the TypeScript puppet, not with those of the proto file.
_TYPESCRIPT_TYPE = {MessageKind.FILE: 1, MessageKind.IMAGE: 6, MessageKind.TEXT: 7}

_Event = tuple[int, dict[str, Any]]
_Events = asyncio.Queue[_Event | None]
_Work = Callable[[Any], Any]


class Gateway:
    """Serves one World to one client at a time, with the faults that were planned.

    The token is the `:authority` of every call. `changed` is called whenever a client takes or leaves
    the event stream.
    """

    def __init__(self, world: World, token: str, *, auto_scan: bool = False) -> None:
        self.world = world
        self.token = token
        self.auto_scan = auto_scan
        self.faults = Faults()
        self.changed: Callable[[], None] = lambda: None
        self.calls: dict[str, int] = {}
        self._server: GatewayServer | None = None
        self._host, self._port = "127.0.0.1", 0
        self._holder: _Events | None = None
        self._taken_over = False
        self._works: set[asyncio.Task[Any]] = set()
        world.subscribe(self._tell)

    # Life

    async def listen(self, host: str, port: int = 0) -> None:
        """Open the port (0: any free one; after a `kill` the same one again).

        Raises:
            RuntimeError: it is open already.
            OSError: the port is taken.
        """
        if self._server is not None:
            raise RuntimeError("The gateway is listening already.")
        server = GatewayServer(self.token, self._methods())
        await server.start(host, port or self._port)
        self._server, self._host, self._port = server, host, server.port
        if self.faults.frozen:
            server.freeze()
        self.changed()

    async def restart(self) -> None:
        """Open the port again after a `kill`, the same one.

        Raises:
            RuntimeError: it is open already.
            OSError: something else has taken the port.
        """
        await self.listen(self._host, self._port)

    async def kill(self) -> None:
        """Close the port and cut every connection, as when the process dies; the world stays as it is."""
        server, self._server = self._server, None
        if server is None:
            return
        self._holder, self._taken_over = None, False
        for work in self._works:
            work.cancel()
        server.close()
        server.drop()
        await server.wait_closed()
        self.changed()

    @property
    def endpoint(self) -> str:
        """Give `host:port`, as a client wants it."""
        return f"{self._host}:{self._port}"

    @property
    def running(self) -> bool:
        """Say whether the port is open."""
        return self._server is not None

    @property
    def client_connected(self) -> bool:
        """Say whether a client listens to the events (one that took over on purpose does not count)."""
        return self._holder is not None and not self._taken_over

    @property
    def connections(self) -> int:
        """Say how many TCP connections are open."""
        return 0 if self._server is None else self._server.connections

    # Things that happen to a gateway

    def drop(self) -> int:
        """Cut every TCP connection; the port stays open. Gives how many there were."""
        return 0 if self._server is None else self._server.drop()

    def takeover(self) -> None:
        """Let another client take the event stream and keep it until somebody calls Stop.

        The holder's stream ends; until the Stop, Event answers ALREADY_EXISTS.
        """
        self.end_stream()
        self._holder, self._taken_over = asyncio.Queue(), True
        self.changed()

    def freeze(self) -> None:
        """Go on accepting connections and calls, but answer nothing at all until `thaw`."""
        self.faults.freeze()
        if self._server is not None:
            self._server.freeze()

    def thaw(self) -> None:
        """Wake up from `freeze`: the calls that came in meanwhile are done now."""
        self.faults.thaw()
        if self._server is not None:
            self._server.thaw()

    def end_stream(self) -> None:
        """End the stream of events; the client sees it end, and may begin another."""
        if self._holder is not None:
            self._holder.put_nowait(None)
        self._holder, self._taken_over = None, False

    # Events

    def emit(self, kind: int, payload: dict[str, Any]) -> None:
        """Send an event to the client that listens, whatever is in it; nothing where none does."""
        if self._holder is not None and not self._taken_over:
            self._holder.put_nowait((kind, payload))

    def _emit_scan(self, status: int) -> None:
        self.emit(pb.EventType.EVENT_TYPE_SCAN, {"qrcode": self.world.qrcode, "status": status})

    def emit_login(self, contact_id: str) -> None:
        """Send the two events of a login."""
        self.emit(pb.EventType.EVENT_TYPE_LOGIN, {"contactId": contact_id})
        self.emit(pb.EventType.EVENT_TYPE_READY, {"data": "ready"})

    def _tell(self, change: WorldChange) -> None:
        match change.kind:
            case ChangeKind.SCAN:
                self._emit_scan(change.scan_status)
                if self.auto_scan and self.running and change.scan_status == ScanStatus.WAITING:
                    asyncio.get_running_loop().call_soon(self._scan)
            case ChangeKind.LOGIN:
                self.emit_login(change.contact_id)
            case ChangeKind.LOGOUT:
                self.emit(pb.EventType.EVENT_TYPE_LOGOUT, {"contactId": change.contact_id, "data": "logged out"})
            case ChangeKind.MESSAGE if change.message and self.world.state is LoginState.LOGGED_IN:
                self.emit(pb.EventType.EVENT_TYPE_MESSAGE, {"messageId": change.message.id})
            case ChangeKind.TOPIC if self.world.state is LoginState.LOGGED_IN:
                self.emit(
                    pb.EventType.EVENT_TYPE_ROOM_TOPIC,
                    {
                        "changerId": change.contact_id,
                        "newTopic": self.world.rooms[change.room_id].topic,
                        "oldTopic": change.old_topic,
                        "roomId": change.room_id,
                        "timestamp": int(time.time()),
                    },
                )
            case _:
                pass

    def _scan(self) -> None:
        if self.world.state is LoginState.WAITING:
            self.world.scan()

    async def _event(self, stream: Stream) -> None:
        await stream.recv_message()
        self._count("Event")
        await self.faults.thawed()
        if self._holder is not None:
            raise GRPCError(Status.ALREADY_EXISTS, "GrpcServerImpl event() can not call twice")
        events = self._holder = asyncio.Queue()
        self.changed()
        # A client that comes late is told how things stand.
        if self.world.state is LoginState.LOGGED_IN:
            self.emit_login(self.world.bot.id)
        elif self.world.state is LoginState.WAITING:
            self._emit_scan(ScanStatus.WAITING)
        try:
            await stream.send_initial_metadata()
            while (event := await self._next(events)) is not None:
                await self.faults.thawed()
                kind, payload = event
                await stream.send_message(pb.EventResponse(type=kind, payload=json.dumps(payload, ensure_ascii=False)))
        finally:
            if self._holder is events:
                self._holder = None
                self.changed()

    @staticmethod
    async def _next(events: _Events) -> _Event | None:
        # Not `wait_for`: on Python 3.11 it swallows a cancellation that comes together with an event, and the stream
        # of a client that is gone would stay taken.
        try:
            async with asyncio.timeout(HEARTBEAT):
                return await events.get()
        except TimeoutError:
            return pb.EventType.EVENT_TYPE_HEARTBEAT, {"data": "heartbeat@simulator", "timeout": 60_000}

    # Calls

    def _count(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1

    def _methods(self) -> dict[str, Method]:
        methods = {
            f"/{SERVICE}/{name}": Method(
                self._answering(name, getattr(self, _method_name(name)), _one),
                Cardinality.UNARY_UNARY,
                getattr(pb, f"{name}Request"),
                getattr(pb, f"{name}Response"),
            )
            for name in UNARY_METHODS
        }
        methods[f"/{SERVICE}/MessageSendFileStream"] = Method(
            self._answering("MessageSendFileStream", self._message_send_file_stream, _all),
            Cardinality.STREAM_UNARY,
            pb.MessageSendFileStreamRequest,
            pb.MessageSendFileStreamResponse,
        )
        methods[f"/{SERVICE}/Event"] = Method(self._event, Cardinality.UNARY_STREAM, pb.EventRequest, pb.EventResponse)
        return methods

    def _answering(
        self, name: str, work: _Work, receive: Callable[[Stream], Awaitable[Any]]
    ) -> Callable[[Stream], Awaitable[None]]:
        async def answer(stream: Stream) -> None:
            request = await receive(stream)
            # The work goes on when the client gives up, as it does in Node.
            task = asyncio.create_task(self._work(name, work, request))
            self._works.add(task)
            task.add_done_callback(self._done)
            await stream.send_message(await asyncio.shield(task))

        return answer

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._works.discard(task)
        if not task.cancelled():
            # Read here too: nobody else does when the client has gone.
            task.exception()

    async def _work(self, name: str, work: _Work, request: Any) -> Any:
        self._count(name)
        plan = self.faults.plan(name)
        await asyncio.sleep(plan.delay_before)
        await self.faults.thawed()
        if plan.refuse is not None:
            raise GRPCError(plan.refuse, f"simulated failure of {name}")
        try:
            reply = work(request)
        except (WorldError, filebox.FileBoxError) as error:
            raise GRPCError(Status.INTERNAL, str(error)) from error
        await asyncio.sleep(plan.delay_after)
        if plan.blame is not None:
            raise GRPCError(plan.blame, f"simulated failure of {name} after its work was done")
        return reply

    def _start(self, _: Any) -> Any:
        self.world.start()
        return pb.StartResponse()

    def _stop(self, _: Any) -> Any:
        self.end_stream()
        self.world.stop()
        self.changed()
        return pb.StopResponse()

    def _logout(self, _: Any) -> Any:
        self.world.logout()
        return pb.LogoutResponse()

    def _ding(self, request: Any) -> Any:
        self.emit(pb.EventType.EVENT_TYPE_DONG, {"data": request.data})
        return pb.DingResponse()

    def _version(self, _: Any) -> Any:
        return pb.VersionResponse(version=VERSION)

    def _dirty_payload(self, _: Any) -> Any:
        return pb.DirtyPayloadResponse()

    def _contact_list(self, _: Any) -> Any:
        self.world.require_login()
        return pb.ContactListResponse(ids=[self.world.bot.id, *self._listed(self.world.contacts)])

    def _contact(self, contact_id: str) -> Any:
        if contact_id == self.world.bot.id:
            return self.world.bot
        if contact_id not in self.world.contacts:
            raise WorldError(f"There is no contact with the id {contact_id!r}.")
        return self.world.contacts[contact_id]

    def _contact_payload(self, request: Any) -> Any:
        contact = self._contact(request.id)
        return pb.ContactPayloadResponse(
            id=contact.id,
            type=pb.ContactType.CONTACT_TYPE_PERSONAL,
            name=contact.name,
            alias=contact.alias,
            weixin=contact.weixin,
            friend=contact is not self.world.bot,
        )

    def _contact_alias(self, request: Any) -> Any:
        contact = self._contact(request.id)
        if request.alias is not None:
            self.world.rename_contact(contact.id, alias=request.alias)
        return pb.ContactAliasResponse(alias=contact.alias)

    def _contact_self_name(self, request: Any) -> Any:
        self.world.rename_contact(self.world.bot.id, name=request.name)
        return pb.ContactSelfNameResponse()

    def _room(self, room_id: str) -> Any:
        if room_id not in self.world.rooms:
            raise WorldError(f"There is no room with the id {room_id!r}.")
        return self.world.rooms[room_id]

    def _room_list(self, _: Any) -> Any:
        self.world.require_login()
        return pb.RoomListResponse(ids=self._listed(self.world.rooms))

    def _listed(self, ids: Iterable[str]) -> list[str]:
        return [each for each in ids if each not in self.world.unlisted]

    def _room_payload(self, request: Any) -> Any:
        room = self._room(request.id)
        return pb.RoomPayloadResponse(
            id=room.id,
            topic=room.topic,
            owner_id=room.owner_id,
            admin_ids=[room.owner_id],
            member_ids=list(room.member_ids),
        )

    def _room_topic(self, request: Any) -> Any:
        room = self._room(request.id)
        if request.topic:
            self.world.rename_room(room.id, request.topic, self.world.bot.id)
        return pb.RoomTopicResponse(topic=room.topic)

    def _room_member_list(self, request: Any) -> Any:
        return pb.RoomMemberListResponse(member_ids=list(self._room(request.id).member_ids))

    def _room_member_payload(self, request: Any) -> Any:
        room = self._room(request.id)
        if request.member_id not in room.member_ids:
            raise WorldError(f"{request.member_id!r} is no member of {room.topic!r}.")
        return pb.RoomMemberPayloadResponse(
            id=request.member_id,
            room_alias=room.aliases.get(request.member_id, ""),
            inviter_id=room.owner_id,
            name=self._contact(request.member_id).name,
        )

    def _message_payload(self, request: Any) -> Any:
        message = self.world.message(request.id)
        return pb.MessagePayloadResponse(
            id=message.id,
            filename=message.media.name if message.media else "",
            text=message.text,
            timestamp=int(message.timestamp),
            type=_TYPESCRIPT_TYPE[message.kind],
            from_id=message.talker_id,
            room_id=message.room_id,
            to_id=message.to_id,
            mention_ids=list(message.mention_ids),
        )

    def _media(self, message_id: str) -> SimulatedFile:
        media = self.world.message(message_id).media
        if media is None:
            raise WorldError(f"The message {message_id!r} carries no file.")
        return media

    def _message_image(self, request: Any) -> Any:
        return pb.MessageImageResponse(filebox=filebox.encode(self._media(request.id)))

    def _message_file(self, request: Any) -> Any:
        return pb.MessageFileResponse(filebox=filebox.encode(self._media(request.id)))

    def _message_send_text(self, request: Any) -> Any:
        sent = self.world.send(request.conversation_id, text=request.text, mention_ids=request.mentonal_ids)
        return pb.MessageSendTextResponse(id=sent.id)

    def _message_send_file(self, request: Any) -> Any:
        sent = self.world.send(request.conversation_id, media=filebox.decode(request.filebox))
        return pb.MessageSendFileResponse(id=sent.id)

    def _message_send_file_stream(self, requests: list[Any]) -> Any:
        conversation_id, name, data = "", "", bytearray()
        for request in requests:
            part, value = betterproto.which_one_of(request, "payload")
            if part == "conversation_id":
                conversation_id = value
            elif part == "file_box_chunk":
                field, content = betterproto.which_one_of(value, "payload")
                if field == "name":
                    name = content
                elif field == "data":
                    data += content
        if not conversation_id:
            raise WorldError("The stream has no conversation id.")
        if not name:
            raise WorldError("The stream has no file name.")
        sent = self.world.send(conversation_id, media=filebox.inspect(name, bytes(data)))
        return pb.MessageSendFileStreamResponse(id=sent.id)


def _method_name(call: str) -> str:
    return re.sub(r"(?=[A-Z])", "_", call).lower()


async def _one(stream: Stream) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise GRPCError(Status.INTERNAL, "Missing request message.")
    return request


async def _all(stream: Stream) -> list[Any]:
    requests: list[Any] = []
    try:
        async for request in stream:
            requests.append(request)  # noqa: PERF401 - an async comprehension would lose the rest below
    except GRPCError:
        # Read to the end before refusing: a client in the middle of sending would miss the status.
        async for _ in stream:
            pass
        raise
    return requests
