"""The simulator's web side: the chat page, the control API under /api, and the demo under /demo."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import qrcode
import qrcode.image.svg
from aiohttp import web
from yarl import URL

from wxbridge.simulator import demo
from wxbridge.simulator.gateway import Gateway
from wxbridge.simulator.world import ChangeKind, SimulatedMessage, World, WorldChange, WorldError

STATIC = Path(__file__).parent / "static"
MAX_BODY = 1024 * 1024
"""The largest body the control API takes, in bytes."""

PING = 15.0
"""Seconds between signs of life on a silent event stream."""

# Scripts and styles come from here alone, so a text that were markup could not run either.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BadRequestError(ValueError):
    """A request to the control API that says something wrong; the text says what."""


class Fields:
    """The fields of a JSON body, each taken with the type it must have."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body

    def text(self, name: str) -> str | None:
        """Give a string, or None where there is none.

        Raises:
            BadRequestError: it is something else.
        """
        value = self._body.pop(name, None)
        if value is not None and not isinstance(value, str):
            raise BadRequestError(f"{name!r} has to be a string.")
        try:
            (value or "").encode()
        except UnicodeEncodeError as error:
            raise BadRequestError(f"{name!r} is no proper text: it has half a character.") from error
        return value

    def need(self, name: str) -> str:
        """Give a string that has to be there.

        Raises:
            BadRequestError: it is missing, empty or something else.
        """
        value = self.text(name)
        if not value:
            raise BadRequestError(f"{name!r} is missing.")
        return value

    def flag(self, name: str) -> bool | None:
        """Give true or false, or None where there is none.

        Raises:
            BadRequestError: it is something else.
        """
        value = self._body.pop(name, None)
        if value is not None and not isinstance(value, bool):
            raise BadRequestError(f"{name!r} has to be true or false.")
        return value

    def whole(self, name: str) -> int | None:
        """Give a whole number, or None where there is none.

        Raises:
            BadRequestError: it is something else.
        """
        value = self._body.pop(name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise BadRequestError(f"{name!r} has to be a whole number.")
        return value

    def seconds(self, name: str) -> float:
        """Give a number that has to be there.

        Raises:
            BadRequestError: it is missing or something else.
        """
        value = self._body.pop(name, None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadRequestError(f"{name!r} has to be a number of seconds.")
        # A whole number can be too large for a float; as seconds it is as good as any that is too large.
        return float(min(value, 1e9))

    def end(self) -> None:
        """Say that all fields have been taken.

        Raises:
            BadRequestError: some are left, which nobody knows.
        """
        if self._body:
            raise BadRequestError(f"Nobody knows the field {next(iter(self._body))!r}.")


async def _fields(request: web.Request) -> Fields:
    raw = await request.read()
    if not raw.strip():
        return Fields({})
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The body is no JSON.") from error
    if not isinstance(body, dict):
        raise BadRequestError("The body has to be a JSON object.")
    return Fields(body)


@web.middleware
async def _sentences(request: web.Request, handler: _Handler) -> web.StreamResponse:
    origin = request.headers.get("Origin")
    if request.method == "POST" and origin is not None and URL(origin).authority != URL(f"//{request.host}").authority:
        return web.json_response({"error": "Another site's page may not do this."}, status=403)
    try:
        response = await handler(request)
    except (WorldError, BadRequestError) as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        if not request.path.startswith("/api/"):
            raise
        return web.json_response({"error": f"{error.reason}."}, status=error.status)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
    return response


class SimulatorPage:
    """Answers the page's and the control API's requests about one world and its gateway."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self._world, self._gateway = world, gateway
        self._readers: set[asyncio.Queue[str | None]] = set()

    def build_app(self) -> web.Application:
        """Make the web application."""
        app = web.Application(middlewares=[_sentences], client_max_size=MAX_BODY)
        app.add_routes(self._routes())
        app.on_shutdown.append(self._end_streams)
        return app

    def tell_readers(self, change: WorldChange | None) -> None:
        """Tell the readers of /api/events what happened; None stands for a change of the connection."""
        if change is not None and change.kind is ChangeKind.MESSAGE and change.message is not None:
            event = {"message": self._message(change.message)}
        else:
            event = {"state": self._state()}
        line = json.dumps(event, ensure_ascii=False)
        for reader in self._readers:
            reader.put_nowait(line)

    async def _end_streams(self, _: web.Application) -> None:
        for reader in self._readers:
            reader.put_nowait(None)

    def _routes(self) -> list[web.AbstractRouteDef]:
        """Give the routes of the page, the API and the demo."""
        posts: dict[str, Callable[[Fields], Any]] = {
            "scan": self._scan,
            "refresh-qrcode": self._refresh_qrcode,
            "logout": self._logout,
            "say": self._say,
            "fail": self._fail,
            "delay": self._delay,
            "drop": self._drop,
            "takeover": self._takeover,
            "freeze": self._freeze,
            "thaw": self._thaw,
            "new-ids": self._new_ids,
            "rename-room": self._rename_room,
            "kill-gateway": self._kill_gateway,
            "restart-gateway": self._restart_gateway,
        }
        return [
            web.get("/", self._index),
            web.get("/favicon.ico", self._icon),
            web.get("/api/state", self._get_state),
            web.get("/api/messages", self._get_messages),
            web.get("/api/picture/{id}", self._get_picture),
            web.get("/api/qrcode.svg", self._get_qrcode),
            web.get("/api/events", self._get_events),
            *(web.post(f"/api/{name}", self._posted(action)) for name, action in posts.items()),
            *demo.routes(STATIC),
            web.static("/static", STATIC),
        ]

    # What is shown

    async def _index(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _icon(self, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "icon.svg")

    async def _get_state(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._state())

    def _state(self) -> dict[str, Any]:
        world, gateway = self._world, self._gateway
        messages = world.messages()
        return {
            "login": str(world.state),
            "qrcode": world.qrcode or None,
            "endpoint": gateway.endpoint,
            "gateway": "frozen" if gateway.faults.frozen else "running" if gateway.running else "stopped",
            "client_connected": gateway.client_connected,
            "connections": gateway.connections,
            "bot": {"id": world.bot.id, "name": world.bot.name},
            "contacts": [
                {"id": who.id, "name": who.name, "alias": who.alias, "weixin": who.weixin}
                for who in world.contacts.values()
            ],
            "rooms": [
                {
                    "id": room.id,
                    "topic": room.topic,
                    "members": [{"id": member, "name": world.name_in(member, room.id)} for member in room.member_ids],
                }
                for room in world.rooms.values()
            ],
            "counts": {
                "messages": len(messages),
                "sent_by_bot": sum(message.sent_by_bot for message in messages),
                "calls": dict(gateway.calls),
            },
        }

    def _message(self, message: SimulatedMessage) -> dict[str, Any]:
        media = message.media
        return {
            "id": message.id,
            "sequence": message.sequence,
            "kind": str(message.kind),
            "talker": {
                "id": message.talker_id,
                "name": self._world.name_in(message.talker_id, message.room_id),
            },
            "room_id": message.room_id or None,
            "contact_id": message.peer_id or None,
            "conversation": self._world.conversation_name(message),
            "text": message.text,
            "mention_ids": list(message.mention_ids),
            "media": None
            if media is None
            else {
                "name": media.name,
                "content_type": media.content_type,
                "size": len(media.data),
                "width": media.width,
                "height": media.height,
            },
            "timestamp": message.timestamp,
            "sent_by_bot": message.sent_by_bot,
        }

    async def _get_messages(self, request: web.Request) -> web.StreamResponse:
        unknown = set(request.query) - {"room", "contact", "after"}
        if unknown:
            raise BadRequestError(f"Nobody knows the parameter {min(unknown)!r}.")
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdecimal()) or len(after) > 15:  # noqa: PLR2004 - beyond any count
            raise BadRequestError("'after' has to be the sequence of a message, a whole number.")
        found = self._world.messages(request.query.get("room"), request.query.get("contact"), int(after))
        return web.json_response([self._message(message) for message in found])

    async def _get_picture(self, request: web.Request) -> web.StreamResponse:
        try:
            media = self._world.message(request.match_info["id"]).media
        except WorldError as error:
            return web.json_response({"error": str(error)}, status=404)
        if media is None:
            return web.json_response({"error": "This message carries no picture or file."}, status=404)
        if media.width:
            return web.Response(body=media.data, content_type=media.content_type)
        # A file is handed out for download only: it may be a web page.
        return web.Response(
            body=media.data,
            content_type="application/octet-stream",
            headers={"Content-Disposition": "attachment"},
        )

    async def _get_qrcode(self, _: web.Request) -> web.StreamResponse:
        if not self._world.qrcode:
            return web.json_response({"error": "No QR code is being shown."}, status=404)
        image = qrcode.make(self._world.qrcode, image_factory=qrcode.image.svg.SvgPathFillImage, border=2)
        drawn = io.BytesIO()
        image.save(drawn)
        return web.Response(body=drawn.getvalue(), content_type="image/svg+xml")

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        reader: asyncio.Queue[str | None] = asyncio.Queue()
        self._readers.add(reader)
        try:
            await response.write(b"retry: 1000\n\n")
            while True:
                try:
                    line = await asyncio.wait_for(reader.get(), PING)
                except TimeoutError:
                    await response.write(b": still here\n\n")
                    continue
                if line is None:
                    break
                await response.write(f"data: {line}\n\n".encode())
        except ConnectionError:
            # The reader has closed the page.
            pass
        finally:
            self._readers.discard(reader)
        return response

    # What can be done

    @staticmethod
    def _posted(action: Callable[[Fields], Any]) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            result = action(await _fields(request))
            if asyncio.iscoroutine(result):
                result = await result
            return web.json_response({"ok": True, **(result or {})})

        return handle

    def _scan(self, fields: Fields) -> None:
        fields.end()
        self._world.scan()

    def _refresh_qrcode(self, fields: Fields) -> dict[str, Any]:
        fields.end()
        return {"qrcode": self._world.refresh_qrcode()}

    def _logout(self, fields: Fields) -> None:
        fields.end()
        self._world.logout()

    def _say(self, fields: Fields) -> dict[str, Any]:
        room, contact, talker = fields.text("room"), fields.text("contact"), fields.text("from")
        text, mention = fields.need("text"), fields.flag("mention")
        with_ids = fields.flag("mention_ids")
        fields.end()
        said = self._world.say(
            text,
            room=room,
            contact=contact,
            talker=talker,
            mention=mention,
            with_mention_ids=with_ids is not False,
        )
        return {"message": self._message(said)}

    def _fail(self, fields: Fields) -> None:
        count, code = fields.whole("count"), fields.text("code")
        method, after = fields.text("method"), fields.flag("after")
        fields.end()
        self._gateway.faults.fail_next(
            1 if count is None else count,
            "UNAVAILABLE" if code is None else code,
            method=method,
            after=bool(after),
        )

    def _delay(self, fields: Fields) -> None:
        seconds, count = fields.seconds("seconds"), fields.whole("count")
        method, after = fields.text("method"), fields.flag("after")
        fields.end()
        self._gateway.faults.delay(seconds, count, method=method, after=bool(after))

    def _drop(self, fields: Fields) -> dict[str, Any]:
        fields.end()
        return {"connections": self._gateway.drop()}

    def _takeover(self, fields: Fields) -> None:
        fields.end()
        self._gateway.takeover()

    def _freeze(self, fields: Fields) -> None:
        fields.end()
        self._gateway.freeze()

    def _thaw(self, fields: Fields) -> None:
        fields.end()
        self._gateway.thaw()

    def _new_ids(self, fields: Fields) -> None:
        fields.end()
        self._world.relogin_with_new_ids()

    def _rename_room(self, fields: Fields) -> None:
        room, topic = fields.need("room"), fields.need("topic")
        fields.end()
        self._world.rename_room(room, topic)

    async def _kill_gateway(self, fields: Fields) -> None:
        fields.end()
        await self._gateway.kill()

    async def _restart_gateway(self, fields: Fields) -> None:
        fields.end()
        if self._gateway.running:
            raise BadRequestError("The gateway is running.")
        try:
            await self._gateway.restart()
        except OSError as error:
            raise BadRequestError(f"The gateway's port cannot be opened: {error.strerror}.") from error
