"""The keys that open `/compat/…`, and the access tokens of WeCom that are made of them."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web
from itsdangerous import BadSignature, URLSafeTimedSerializer

from wxbridge.config.hooks import CompatKey

TOKEN_SECONDS = 7200
"""For how long an access token opens: WeCom's own time."""
_SALT = "wxbridge compat access token"


@dataclass(frozen=True)
class KeyHolder:
    """Who shows a key: its targets, none where the routes decide, and a name that says nothing of the key."""

    name: str
    to: tuple[str, ...]
    key: str


class CompatKeys:
    """The keys of a configuration; one opens every language.

    Args:
        keys: As jobs.yaml has them.
    """

    def __init__(self, keys: Sequence[CompatKey]) -> None:
        self._holders = [
            KeyHolder(f"compat {index}", each.to, each.key.get_secret_value()) for index, each in enumerate(keys, 1)
        ]

    def find(self, shown: str) -> KeyHolder | None:
        """Find whose key is shown; None where it is nobody's. In constant time for each key."""
        raw = shown.encode("utf-8", "surrogateescape")
        return next((each for each in self._holders if hmac.compare_digest(raw, each.key.encode())), None)

    def make_token(self, holder: KeyHolder) -> str:
        """Make an access token. It needs no memory: a restart leaves it valid."""
        return str(_serializer(holder).dumps(holder.name))

    def find_by_token(self, token: str) -> KeyHolder | None:
        """Find whose access token is shown; None where it is nobody's, or too old."""
        for holder in self._holders:
            try:
                _serializer(holder).loads(token, max_age=TOKEN_SECONDS)
            except BadSignature:
                continue
            return holder
        return None


def _serializer(holder: KeyHolder) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(holder.key, salt=_SALT, signer_kwargs={"digest_method": hashlib.sha256})


COMPAT_KEYS = web.AppKey("compat_keys", CompatKeys)
"""Where an application keeps them."""
