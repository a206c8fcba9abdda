"""The aiohttp application. It answers 2xx only after the commit; it knows its neighbours as callables."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from wxbridge import login
from wxbridge.errors import BadBody, StorageError
from wxbridge.metrics import Metrics
from wxbridge.model import Accepted, ChannelState, ChannelStatus
from wxbridge.web import auth
from wxbridge.web.push import Push, read_push

log = structlog.get_logger()

READ_LIMIT = 30.0
"""Seconds in which a body must have arrived."""
_LONGEST_NAME = 60
"""Characters. Ours are shorter, and a file system may choke on what is longer."""
RETRY_AFTER = 5
"""Seconds that a sender is asked to wait where the database does not take it."""


@dataclass(frozen=True)
class Neighbours:
    """What the server calls."""

    accept: Callable[[str, bytes, Mapping[str, str], Sequence[str]], Awaitable[Accepted]]
    push: Callable[[Push], Awaitable[Accepted]]
    refresh_gauges: Callable[[], Awaitable[None]]
    """Set what `/metrics` shows of this moment."""
    database_ok: Callable[[], Awaitable[bool]]
    channels: Callable[[], Mapping[str, ChannelStatus]]
    sources: Sequence[str]
    pictures_dir: Path
    outbox: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    """What waits, for `/readyz`."""


def make_app(
    neighbours: Neighbours,
    *,
    token: str | None,
    max_body: int,
    metrics: Metrics,
) -> web.Application:
    """Put the application together. `max_body` is in bytes. Without a `token` nobody is asked for one."""
    app = web.Application(
        middlewares=[_sentences(metrics), auth.required(token)], client_max_size=max_body,
    )  # fmt: skip
    server = _Server(neighbours, metrics)
    app.router.add_route("POST", "/hooks/{source}", server.hook)
    app.router.add_route("PUT", "/hooks/{source}", server.hook)
    # Older Grafana channels were pointed at the bare address.
    app.router.add_route("POST", "/", server.hook)
    app.router.add_post("/api/send", server.send)
    app.router.add_get("/healthz", server.healthz)
    app.router.add_get("/readyz", server.readyz)
    app.router.add_get("/metrics", server.metrics)
    app.router.add_get("/login", server.login)
    app.router.add_get("/", server.index)
    app.router.add_get("/pictures/{name}", server.picture)
    return app


def _sentences(metrics: Metrics) -> Any:
    """Turn every error into a JSON sentence, and count it."""

    @web.middleware
    async def translate(request: web.Request, handler: auth.Handler) -> web.StreamResponse:  # noqa: PLR0911 - a table
        try:
            return await handler(request)
        except BadBody as error:
            metrics.refused.labels("bad_body").inc()
            return _refusal(400, str(error))
        except StorageError as error:
            metrics.refused.labels("storage").inc()
            metrics.storage_errors.inc()
            log.error("not stored, told the sender to try again", path=request.path, error=str(error))  # noqa: TRY400
            return _refusal(503, f"Not stored: {error}. Try again.", {"Retry-After": str(RETRY_AFTER)})
        except web.HTTPRequestEntityTooLarge as error:
            metrics.refused.labels("too_large").inc()
            return _refusal(413, f"The body is too large; {error.text}")
        except TimeoutError:
            metrics.refused.labels("slow").inc()
            return _refusal(408, f"The body did not arrive within {READ_LIMIT:g} seconds.")
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004 - HTTP
                raise
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            return _refusal(error.status, error.reason if error.text is None else error.text, allowed)
        except (web.RequestPayloadError, UnicodeDecodeError, ValueError) as error:
            metrics.refused.labels("bad_body").inc()
            return _refusal(400, f"The body cannot be read: {error}")

    return translate


def _refusal(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": sentence}, status=status, headers=headers)


class _Server:
    def __init__(self, neighbours: Neighbours, metrics: Metrics) -> None:
        self._to = neighbours
        self._metrics = metrics

    async def hook(self, request: web.Request) -> web.Response:
        source = request.match_info.get("source", "grafana")
        if source not in self._to.sources:
            raise web.HTTPNotFound(
                text=f"There is no hook for {source!r}; there are {', '.join(sorted(self._to.sources))}.",
            )
        async with asyncio.timeout(READ_LIMIT):
            body = await request.read()
        to = [name.strip() for name in request.query.get("to", "").split(",") if name.strip()]
        accepted = await self._to.accept(source, body, request.headers, to)
        return self._accepted(source, accepted)

    async def send(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(READ_LIMIT):
            push = await read_push(request)
        return self._accepted("push", await self._to.push(push))

    def _accepted(self, source: str, accepted: Accepted) -> web.Response:
        self._metrics.accepted.labels(source).inc(accepted.queued)
        self._metrics.deduplicated.labels(source).inc(accepted.duplicates)
        return web.json_response(
            {"queued": accepted.queued, "duplicates": accepted.duplicates}, status=202,
        )  # fmt: skip

    async def healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def readyz(self, request: web.Request) -> web.Response:
        # Together: where the database hangs, each waits for its own limit.
        database_ok, outbox = await asyncio.gather(self._to.database_ok(), self._outbox())
        channels = self._to.channels()
        online = {name: status.state is ChannelState.ONLINE for name, status in channels.items()}
        ready = database_ok and (request.query.get("channels") != "all" or all(online.values()))
        parts: dict[str, Any] = {"database": {"ok": database_ok}, "outbox": outbox}
        for name, status in channels.items():
            parts[name] = {
                "ok": online[name],
                "state": status.state.value,
                "since": status.since.isoformat(),
                "detail": status.detail,
            }
        return web.json_response({"ready": ready, "parts": parts}, status=200 if ready else 503)

    async def _outbox(self) -> Mapping[str, Any]:
        """What waits. It does not count for readiness: alerts can be taken however long the others have waited."""
        return await self._to.outbox() if self._to.outbox else {"ok": True}

    async def metrics(self, _request: web.Request) -> web.Response:
        await self._to.refresh_gauges()
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def index(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(request.rel_url.with_path("/login", keep_query=True))

    async def login(self, _request: web.Request) -> web.Response:
        return web.Response(text=_login_page(self._to.channels()), content_type="text/html")

    async def picture(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = self._to.pictures_dir / name
        if "/" in name or name.startswith(".") or len(name) > _LONGEST_NAME or not path.is_file():
            raise web.HTTPNotFound(text="There is no such picture.")
        return web.FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})


def _login_page(channels: Mapping[str, ChannelStatus]) -> str:
    """Every channel with its state, and the QR code where a scan is awaited; reloads itself."""
    parts = []
    for name, status in channels.items():
        code = login.as_svg(status.qrcode) if status.qrcode else ""
        words = status.state.value.replace("_", " ")
        about = html.escape(" · ".join(text for text in (words, status.account, status.detail) if text))
        parts.append(f"<section><h1>{html.escape(name)}</h1><p>{about}</p>{code}</section>")
    body = "".join(parts) or "<p>No channel is configured.</p>"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
        '<meta name="viewport" content="width=device-width"><title>wxbridge login</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;"
        "background:#f4f5f4;color:#222}"
        "section{background:#fff;padding:2rem 3rem;border-radius:12px;text-align:center;"
        "box-shadow:0 2px 12px #0001}svg{width:280px;height:280px}h1{font-size:1.2rem;margin:0}"
        f"</style>{body}</html>"
    )
