"""The simulator's web side: the chat page, the control API under /api, and the demo under /demo."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import qrcode
import qrcode.image.svg
from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from yarl import URL

from wxbridge.simulator import demo
from wxbridge.simulator.gateway import Gateway
from wxbridge.simulator.world import ChangeKind, SimulatedMessage, World, WorldChange, WorldError

STATIC = Path(__file__).parent / "static"
MAX_BODY = 1024 * 1024
"""The largest body the control API takes, in bytes."""

MAX_SECONDS = 10**9
"""The longest delay that is read; a fault takes much less."""
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


class _PostedBody(BaseModel):
    """What is posted to the control API, each with the type it must have; nothing else may stand beside it."""

    model_config = ConfigDict(strict=True, extra="forbid")


_Needed = Annotated[str, Field(min_length=1)]


class _Say(_PostedBody):
    text: _Needed
    room: str | None = None
    contact: str | None = None
    talker: str | None = Field(default=None, alias="from")
    mention: bool | None = None
    mention_ids: bool | None = None


class _Fail(_PostedBody):
    count: int | None = None
    code: str | None = None
    method: str | None = None
    after: bool | None = None


class _Delay(_PostedBody):
    # A whole number can be too large for a float; as seconds it is as good as any that is too large.
    seconds: Annotated[float, BeforeValidator(lambda value: min(value, MAX_SECONDS) if type(value) is int else value)]
    count: int | None = None
    method: str | None = None
    after: bool | None = None


class _RenameRoom(_PostedBody):
    room: _Needed
    topic: _Needed


_WRONG = {
    "bool_type": "has to be true or false",
    "int_type": "has to be a whole number",
    "string_unicode": "is no proper text: it has half a character",
}


def _explain(error: ValidationError) -> str:
    """Say in a sentence what is wrong first."""
    wrong = error.errors()[0]
    name, kind = wrong["loc"][0], wrong["type"]
    if kind == "extra_forbidden":
        return f"Nobody knows the field {name!r}."
    if name == "seconds":
        return f"{name!r} has to be a number of seconds."
    is_missing = wrong["input"] is None or kind in ("missing", "string_too_short")
    return f"{name!r} {'is missing' if is_missing else _WRONG.get(kind, 'has to be a string')}."


async def _read(request: web.Request, model: type[_PostedBody]) -> _PostedBody:
    raw = await request.read()
    try:
        body = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadRequestError("The body is no JSON.") from error
    if not isinstance(body, dict):
        raise BadRequestError("The body has to be a JSON object.")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadRequestError(_explain(error)) from None


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


def _call(action: Callable[[], Any], _nothing: _PostedBody) -> Any:
    return action()


def _posted(model: type[_PostedBody], action: Callable[[Any], Any]) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        result = action(await _read(request, model))
        if asyncio.iscoroutine(result):
            result = await result
        return web.json_response({"ok": True, **(result or {})})

    return handle


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
        world, gateway = self._world, self._gateway
        plain: dict[str, Callable[[], Any]] = {
            "scan": world.scan,
            "refresh-qrcode": lambda: {"qrcode": world.refresh_qrcode()},
            "logout": world.logout,
            "drop": lambda: {"connections": gateway.drop()},
            "takeover": gateway.takeover,
            "freeze": gateway.freeze,
            "thaw": gateway.thaw,
            "new-ids": world.relogin_with_new_ids,
            "kill-gateway": gateway.kill,
            "restart-gateway": self._restart_gateway,
        }
        posts: dict[str, tuple[type[_PostedBody], Callable[[Any], Any]]] = {
            "say": (_Say, self._say),
            "fail": (_Fail, self._fail),
            "delay": (_Delay, self._delay),
            "rename-room": (_RenameRoom, self._rename_room),
        }
        return [
            web.get("/", self._index),
            web.get("/favicon.ico", self._icon),
            web.get("/api/state", self._get_state),
            web.get("/api/messages", self._get_messages),
            web.get("/api/picture/{id}", self._get_picture),
            web.get("/api/qrcode.svg", self._get_qrcode),
            web.get("/api/events", self._get_events),
            *(web.post(f"/api/{name}", _posted(_PostedBody, partial(_call, do))) for name, do in plain.items()),
            *(web.post(f"/api/{name}", _posted(*post)) for name, post in posts.items()),
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

    def _say(self, asked: _Say) -> dict[str, Any]:
        said = self._world.say(
            asked.text,
            room=asked.room,
            contact=asked.contact,
            talker=asked.talker,
            mention=asked.mention,
            with_mention_ids=asked.mention_ids is not False,
        )
        return {"message": self._message(said)}

    def _fail(self, asked: _Fail) -> None:
        self._gateway.faults.fail_next(
            1 if asked.count is None else asked.count,
            "UNAVAILABLE" if asked.code is None else asked.code,
            method=asked.method,
            after=bool(asked.after),
        )

    def _delay(self, asked: _Delay) -> None:
        self._gateway.faults.delay(asked.seconds, asked.count, method=asked.method, after=bool(asked.after))

    def _rename_room(self, asked: _RenameRoom) -> None:
        self._world.rename_room(asked.room, asked.topic)

    async def _restart_gateway(self) -> None:
        if self._gateway.running:
            raise BadRequestError("The gateway is running.")
        try:
            await self._gateway.restart()
        except OSError as error:
            raise BadRequestError(f"The gateway's port cannot be opened: {error.strerror}.") from error
