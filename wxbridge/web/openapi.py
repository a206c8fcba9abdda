"""The OpenAPI 3.1 description of everything public, at `/api/openapi.json`. The tests hold the server to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

import wxbridge
from wxbridge.web.api_models import AcceptedAnswer, AlertAnswer, ErrorAnswer, PushBody, SilenceAnswer, SilenceBody

Json = dict[str, Any]

_TOKENS: list[Json] = [{"bearer": []}, {"basic": []}, {"query": []}]
_SIGNED: list[Json] = [*_TOKENS, {"signature": []}]
_ANYBODY: list[Json] = []
_ERRORS = {
    400: "The body cannot be read, or asks for what cannot be done. No retry mends it.",
    401: "The token (or, at a hook, the signature) is missing or wrong.",
    404: "There is none of that name.",
    408: "The body did not arrive in time.",
    413: "The body is larger than `server.max_body`, packed or unpacked.",
    503: "Not stored, or more requests than `server.rate` allows: to be sent again after `Retry-After` seconds.",
}
_RETRY = {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "string"}}}
_CHALLENGE = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}


def _text(about: str = "", **more: Any) -> Json:
    return {"type": "string", **({"description": about} if about else {}), **more}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _answer(about: str, schema: Json | None = None) -> Json:
    return {"description": about, **({"content": _json(schema)} if schema else {})}


def _errors(*statuses: int) -> Json:
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _path_name(name: str, about: str) -> Json:
    return {"name": name, "in": "path", "required": True, "description": about, "schema": _text(minLength=1)}


def _query(name: str, about: str) -> Json:
    return {"name": name, "in": "query", "required": False, "description": about, "schema": _text()}


def _operation(about: str, name: str, answers: Json, **more: Any) -> Json:
    """One operation; behind the token unless `security` says otherwise."""
    return {"operationId": name, "summary": about, "security": _TOKENS, **more, "responses": answers}


# ---------------------------------------------------------------- hooks

_BODY: Json = {
    "required": True,
    "description": "What the monitor sends. JSON that is no alert is delivered as text.",
    "content": {
        "application/json": {"schema": {}},
        "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
    },
}


def _hook(name: str, about: str, *parameters: Json) -> Json:
    return _operation(
        about,
        name,
        {"202": _answer("It is on disk.", _ref("Accepted")), **_errors(400, 401, 404, 408, 413, 503)},
        security=_SIGNED,
        tags=["hooks"],
        parameters=[
            *parameters,
            _query("to", "Names of targets with commas between them, instead of those that the routes say."),
        ],
        requestBody=_BODY,
    )


def _hooks() -> Json:
    hooks = "`grafana`, `alertmanager`, `openfalcon`, `host`, `generic`; the 404 lists what there is."
    source = _path_name("source", hooks)
    name = _path_name("name", "A mapping of jobs.yaml, or one that comes along.")
    return {
        "/": {
            "post": _hook("postBare", "The same as /hooks/grafana, for older Grafana channels."),
            "get": _operation("Leads to the login page.", "index", {"302": {
                "description": "To /login.", "headers": {"Location": {"required": True, "schema": _text()}},
            }, **_errors(401)}, tags=["pages"]),
        },
        "/hooks/{source}": {
            method: _hook(f"{method}Hook", "Take what a monitor sends.", source) for method in ("post", "put")
        },
        "/hooks/generic/{name}": {
            method: _hook(f"{method}Generic", "Take JSON of any shape, read by a mapping.", name)
            for method in ("post", "put")
        },
    }  # fmt: skip


# ---------------------------------------------------------------- api


_PUSH_FORM: Json = {
    "type": "object",
    "required": ["to"],
    "properties": {
        "to": _text("Names of targets with commas between them."),
        "text": _text(),
        "image": _text("An upload, base64, or an http(s) address.", contentMediaType="application/octet-stream"),
        "mentions": _text("Names with commas between them; `all` for everyone."),
    },
    "additionalProperties": False,
}


def _api() -> Json:
    silence_id = _path_name("id", "The `id` of a silence.")
    return {
        "/api/send": {"post": _operation(
            "Send a text, a picture or both.",
            "send",
            {"202": _answer("It is on disk.", _ref("Accepted")), **_errors(400, 401, 408, 413, 503)},
            tags=["messages"],
            requestBody={"required": True, "content": {
                "application/json": {"schema": _ref("Push")},
                "multipart/form-data": {"schema": _PUSH_FORM},
                "application/x-www-form-urlencoded": {"schema": _PUSH_FORM},
            }},
        )},
        "/api/alerts": {"get": _operation(
            "The alerts that fire now.", "alerts",
            {"200": _answer("The alerts.", {"type": "array", "items": _ref("Alert")}), **_errors(401, 503)},
            tags=["alerts"],
        )},
        "/api/silences": {
            "get": _operation(
                "The silences that are not over.", "silences",
                {"200": _answer("The silences.", {"type": "array", "items": _ref("Silence")}), **_errors(401, 503)},
                tags=["alerts"],
            ),
            "post": _operation(
                "Silence the alerts that all the matchers match.", "addSilence",
                {"201": _answer("It is kept.", _ref("Silence")), **_errors(400, 401, 408, 413, 503)},
                tags=["alerts"], requestBody={"required": True, "content": _json(_ref("NewSilence"))},
            ),
        },
        "/api/silences/{id}": {"delete": _operation(
            "End a silence now.", "expireSilence",
            {"204": _answer("It is over."), **_errors(401, 404, 503)}, tags=["alerts"], parameters=[silence_id],
        )},
        "/api/openapi.json": {"get": _operation(
            "This description.", "description", {"200": _answer("OpenAPI 3.1.", {"type": "object"}), **_errors(401)},
        )},
    }  # fmt: skip


# ---------------------------------------------------------------- pages


def _pages() -> Json:
    def page(media: str, about: str) -> Json:
        return {"200": {"description": about, "content": {media: {"schema": _text()}}}}

    ready = {
        "description": "Whether alerts can be taken, with the state of each part.",
        "content": _json(_ref("Ready")),
    }
    return {
        "/healthz": {"get": _operation(
            "Whether the process is alive.", "healthz",
            {"200": _answer("It is.", {"type": "object", "required": ["ok"], "properties": {"ok": {"const": True}}})},
            security=_ANYBODY, tags=["health"],
        )},
        "/readyz": {"get": _operation(
            "Whether alerts can be taken; WeChat is not needed for that.", "readyz", {"200": ready, "503": ready},
            security=_ANYBODY, tags=["health"],
            parameters=[_query("channels", "`all`: also whether every channel is up.")],
        )},
        "/metrics": {"get": _operation(
            "Figures for Prometheus.", "metrics",
            {**page("text/plain", "Prometheus' text format 0.0.4."), **_errors(401)}, tags=["health"],
        )},
        "/login": {"get": _operation(
            "The channels' states, and the QR code where a scan is awaited.", "login",
            {**page("text/html", "The page."), **_errors(401)}, tags=["pages"],
        )},
        "/pictures/{name}": {"get": _operation(
            "A stored picture, under its unguessable name.", "picture",
            {"200": {"description": "The picture.", "content": {
                media: {"schema": {}} for media in ("image/png", "image/jpeg", "image/gif")}}, **_errors(404)},
            security=_ANYBODY, tags=["pages"], parameters=[_path_name("name", "As in the link to it.")],
        )},
    }  # fmt: skip


# ---------------------------------------------------------------- what they share


_MODELS: Mapping[str, type[BaseModel]] = {
    "Error": ErrorAnswer,
    "Accepted": AcceptedAnswer,
    "Push": PushBody,
    "Alert": AlertAnswer,
    "NewSilence": SilenceBody,
    "Silence": SilenceAnswer,
}
_READY: Json = {
    "type": "object",
    "required": ["ready", "parts"],
    "properties": {
        "ready": {"type": "boolean"},
        "parts": {
            "type": "object",
            "required": ["database", "outbox"],
            "additionalProperties": {
                "type": "object",
                "required": ["ok"],
                "properties": {"ok": {"type": "boolean"}},
            },
        },
    },
}


def _schemas() -> Json:
    return {name: _schema_of(model) for name, model in _MODELS.items()} | {"Ready": _READY}


def _schema_of(model: type[BaseModel]) -> Json:
    schema = model.model_json_schema()
    for part in (schema, *schema["properties"].values()):
        for noise in ("title", "default"):
            part.pop(noise, None)
    return schema


def _responses() -> Json:
    headers: Mapping[int, Json] = {401: _CHALLENGE, 503: _RETRY}
    return {
        f"Error{status}": {
            "description": about,
            **({"headers": headers[status]} if status in headers else {}),
            "content": _json(_ref("Error")),
        }
        for status, about in _ERRORS.items()
    }


def describe_api() -> Json:
    """Describe everything public, as plain JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wxbridge",
            "version": wxbridge.__version__,
            "summary": "Carries what a team's monitoring sees into WeChat.",
            "description": 'Every error is `{"error": "a sentence"}`. 2xx means that it is on disk; 503 and other '
            "5xx are to be sent again. Where no token is configured (only on loopback), none is asked for.",
        },
        "servers": [{"url": "/"}],
        "paths": {**_hooks(), **_api(), **_pages()},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The password is the token."},
                "query": {"type": "apiKey", "in": "query", "name": "token"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Grafana-Alerting-Signature",
                    "description": "HMAC-SHA256 of the body with the hook's `hmac_secret`, as lowercase hex; of "
                    "`TIMESTAMP:BODY` where the hook has a `timestamp_header`. The header's name is configured.",
                },
            },
            "schemas": _schemas(),
            "responses": _responses(),
        },
    }
