"""The OpenAPI description of everything public, at `/api/openapi.json`. The tests hold the server to it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

import wxbridge
from wxbridge.web.api_models import AcceptedAnswer, AlertAnswer, ErrorAnswer, PushBody, SilenceAnswer, SilenceBody

_FILE = Path(__file__).with_suffix(".yaml")
_MODELS: Mapping[str, type[BaseModel]] = {
    "Error": ErrorAnswer,
    "Accepted": AcceptedAnswer,
    "Push": PushBody,
    "Alert": AlertAnswer,
    "NewSilence": SilenceBody,
    "Silence": SilenceAnswer,
}


@cache
def describe_api() -> dict[str, Any]:
    """Describe everything public, as plain JSON: the file beside this one, with what is known here."""
    description: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    tokens = description.pop("x-parts")["tokens"]
    description["info"]["version"] = wxbridge.__version__
    components = description["components"]
    components["schemas"] |= {name: _schema_of(model) for name, model in _MODELS.items()}
    for answer in components["responses"].values():
        answer["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operations in description["paths"].values():
        for operation in operations.values():
            operation.setdefault("security", tokens)
    return description


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    for part in (schema, *schema["properties"].values()):
        for noise in ("title", "default"):
            part.pop(noise, None)
    return schema
