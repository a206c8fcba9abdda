"""The templates of a request: its address, its headers and its body."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

import jinja2

from wxbridge.core.errors import WxbridgeError
from wxbridge.core.text.sandbox import join_limited, limited, make_environment

VARIABLES: Mapping[str, Any] = {
    "text": "CPU is high\nnode-1: 97 %",
    "title": "CPU is high",
    "target": "phone",
    "mentions": ["13800001111"],
    "timestamp": 1700000000,
    "picture": "",
    "picture_name": "",
    "picture_type": "",
    "picture_url": "",
}
"""What a template knows, with a value of each to try it with."""


class BrokenTemplate(WxbridgeError):
    """A template cannot be filled. The text says what is wrong, and holds nothing of what it was filled with."""


def _make(**filters: Any) -> jinja2.Environment:
    environment = make_environment()
    environment.filters |= {
        "md5": lambda text: hashlib.md5(str(text).encode(), usedforsecurity=False).hexdigest(),
        "sha256": lambda text: hashlib.sha256(str(text).encode()).hexdigest(),
        "hmac_sha256": lambda text, key: hmac.new(str(key).encode(), str(text).encode(), hashlib.sha256).hexdigest(),
        "base64": lambda text: base64.b64encode(str(text).encode()).decode(),
        **filters,
    }
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment


_TEXTS = _make()
_ADDRESSES = _make(urlencode=str)


def _fill(
    environment: jinja2.Environment,
    source: str,
    variables: Mapping[str, Any],
    escape: Callable[[str], str] | None = None,
) -> str:
    try:
        with limited(escape):
            return join_limited(environment.from_string(source).generate(variables))
    except jinja2.UndefinedError as error:
        raise BrokenTemplate(f"{error.message}; there are {', '.join(VARIABLES)}") from None
    except jinja2.TemplateSyntaxError as error:
        raise BrokenTemplate(f"line {error.lineno}: {error.message}") from None
    except jinja2.TemplateError as error:
        raise BrokenTemplate(str(error.message)) from None
    except Exception as error:  # noqa: BLE001 - named below
        # Whatever goes wrong in a template is the template's.
        raise BrokenTemplate(type(error).__name__) from None


def fill_text(source: str, variables: Mapping[str, Any]) -> str:
    """Fill the template of a body. Raises `BrokenTemplate`."""
    return _fill(_TEXTS, source, variables)


def fill_header(source: str, variables: Mapping[str, Any]) -> str:
    """Fill the template of a header's value, on one line. Raises `BrokenTemplate`."""
    return " ".join(_fill(_TEXTS, source, variables).split())


def fill_address(source: str, variables: Mapping[str, Any]) -> str:
    """Fill the template of an address. Raises `BrokenTemplate`.

    What is put in is quoted: what an alert says must not become another parameter.
    """
    return _fill(_ADDRESSES, source, variables, partial(quote, safe=""))
