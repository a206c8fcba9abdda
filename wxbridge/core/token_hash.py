"""Tokens as they are, or as a hash from which nobody can read the token (scrypt, RFC 7914)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field

from wxbridge.core.recent import RecentDict

COST, BLOCK_SIZE, PARALLEL = 4096, 8, 1
"""Of scrypt: some milliseconds for a token that was not shown before; tokens are long and random, not remembered."""
_FORM = re.compile(r"scrypt:(\d{1,7}):(\d{1,2}):(\d{1,2}):([A-Za-z0-9+/]{16,64}={0,2}):([A-Za-z0-9+/]{43}=)")
_MAX_COST = 2**20
_SALT_BYTES = 16
MAX_REMEMBERED = 1000
"""Shown tokens whose outcome is remembered, by a digest that only this process can make."""


def hash_token(token: str) -> str:
    """Make the hash of a token, as `server.tokens.NAME.hash` takes it."""
    salt = secrets.token_bytes(_SALT_BYTES)
    made = hashlib.scrypt(token.encode(), salt=salt, n=COST, r=BLOCK_SIZE, p=PARALLEL)[:32]
    return f"scrypt:{COST}:{BLOCK_SIZE}:{PARALLEL}:{base64.b64encode(salt).decode()}:{base64.b64encode(made).decode()}"


def check_hash_form(text: str) -> str:
    """Give a hash back. Raises `ValueError` where it is none of ours."""
    match = _FORM.fullmatch(text)
    cost = int(match[1]) if match else 0
    if match is None or cost < 2 or cost > _MAX_COST or cost & (cost - 1) or not int(match[2]) or not int(match[3]):  # noqa: PLR2004 - RFC 7914
        raise ValueError("this is no hash of a token; make one with `wxbridge token`")
    return text


@dataclass
class TokenCheck:
    """Tells whether what somebody shows is a token; of the token itself, or of its hash."""

    token: bytes = b""
    hashed: str = ""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _seen: RecentDict[bytes, bool] = field(default_factory=lambda: RecentDict(MAX_REMEMBERED), repr=False)

    def matches(self, raw: bytes) -> bool:
        """Compare in constant time; what was shown before is not hashed again."""
        if not self.hashed:
            return bool(self.token) and hmac.compare_digest(raw, self.token)
        digest = hmac.digest(self._key, raw, "sha256")
        if (known := self._seen.get(digest)) is None:
            known = self._seen[digest] = self._verify(raw)
        return known

    def _verify(self, raw: bytes) -> bool:
        _, cost, block, parallel, salt, wanted = self.hashed.split(":")
        made = hashlib.scrypt(
            raw, salt=base64.b64decode(salt), n=int(cost), r=int(block), p=int(parallel), maxmem=2**28
        )[:32]
        return hmac.compare_digest(made, base64.b64decode(wanted))

    @property
    def fingerprint(self) -> bytes:
        """What changes with the token, for the sessions that it opens."""
        return self.hashed.encode() or self.token
