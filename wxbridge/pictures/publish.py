"""Putting pictures where services that take addresses only can fetch them: an S3-compatible store, or our own server.

Requests are signed as AWS describes it (Signature Version 4, in the query): an upload and the address that people's
services fetch differ in the method alone. This is all of S3 that is needed here, so no client library is.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from wxbridge.config.types import PublishSettings, S3Settings
from wxbridge.core.errors import PictureError
from wxbridge.core.recent import RecentDict

DEADLINE_SECONDS = 20.0
"""For an upload; a large picture gets longer."""
_MIN_BYTES_PER_SECOND = 256 * 1024
_UPLOAD_ADDRESS_SECONDS = 900
"""In which an upload has to begin."""
_MAX_REMEMBERED = 256
"""Addresses, so that a picture for several targets is uploaded once."""
_REUSE_SHARE = 0.5
"""The part of an address's life in which it is given out again."""
_MAX_ERROR_BYTES = 4096


class Publisher(Protocol):
    """Where pictures are published."""

    async def address(self, path: Path, content_type: str) -> str:
        """The address at which everybody who knows it can fetch the picture, for a while.

        Raises:
            PictureError: it could not be published; `retry` tells whether another attempt may succeed.
        """


def make_publisher(settings: PublishSettings | None) -> Publisher | None:
    """Make what `pictures.publish` asks for; None where it says nothing."""
    if settings is None:
        return None
    return S3Publisher(settings.s3) if settings.s3 else OwnServerPublisher(settings.url or "")


@dataclass(frozen=True)
class OwnServerPublisher:
    """wxbridge's own server, which shows a stored picture to whoever knows its unguessable name."""

    url: str
    """Where the server is reached from outside."""

    async def address(self, path: Path, content_type: str) -> str:  # noqa: ARG002 - it is in the name
        """The address below our own."""
        return f"{self.url}/pictures/{quote(path.name)}"


class S3Publisher:
    """An S3-compatible store. `wall` is the clock, in seconds since the epoch; `deadline` is in seconds."""

    def __init__(
        self, settings: S3Settings, *, wall: Callable[[], float] = time.time, deadline: float = DEADLINE_SECONDS
    ) -> None:
        self._settings = settings
        self._wall = wall
        self._deadline = deadline
        self._given = RecentDict[str, tuple[str, float]](_MAX_REMEMBERED)
        """By file name: the address, and until when it is given out again."""
        self._locks: dict[str, asyncio.Lock] = {}

    async def address(self, path: Path, content_type: str) -> str:
        """Upload the picture, unless it is there, and give its signed address, valid for `expires`."""
        lock = self._locks.setdefault(path.name, asyncio.Lock())
        try:
            async with lock:
                url, until = self._given.get(path.name, ("", 0.0))
                if until > self._wall():
                    return url
                await self._upload(path, content_type)
                expires = int(self._settings.expires)
                url = self._signed("GET", path.name, expires)
                self._given[path.name] = url, self._wall() + expires * _REUSE_SHARE
                return url
        finally:
            if not lock.locked():
                self._locks.pop(path.name, None)

    async def _upload(self, path: Path, content_type: str) -> None:
        where = f"the picture store at {self._settings.endpoint}"
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise PictureError(f"the picture file {path.name} cannot be read: {error.strerror}") from None
        deadline = self._deadline + len(data) / _MIN_BYTES_PER_SECOND
        try:
            async with (
                asyncio.timeout(deadline),
                aiohttp.ClientSession(headers={"User-Agent": "wxbridge"}, trust_env=True) as session,
                session.put(
                    # As it was signed: quoting it otherwise would break the signature.
                    URL(self._signed("PUT", path.name, _UPLOAD_ADDRESS_SECONDS), encoded=True),
                    data=data,
                    headers={"Content-Type": content_type},
                    allow_redirects=False,
                ) as answer,
            ):
                if answer.status == 200:  # noqa: PLR2004 - HTTP
                    return
                said = await answer.content.read(_MAX_ERROR_BYTES)
        except TimeoutError:
            raise PictureError(f"{where} did not answer within {deadline:.3g} s", retry=True) from None
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            # Without the error's own words: they hold the signed address.
            raise PictureError(f"{where} is not reached ({type(error).__name__})", retry=True) from None
        again = answer.status in (408, 429) or answer.status >= 500  # noqa: PLR2004 - HTTP
        code = _between(said.decode(errors="replace"), "<Code>", "</Code>")
        words = f"{where} answers {answer.status} {code}".rstrip()
        raise PictureError(words if again else f"{words}; look at `pictures.publish`", retry=again)

    def _signed(self, method: str, name: str, expires: int) -> str:
        settings = self._settings
        site = urlsplit(settings.endpoint)
        host, path = site.netloc, f"{site.path}/{settings.prefix}{name}"
        if settings.addressing == "path":
            path = f"{site.path}/{settings.bucket}/{settings.prefix}{name}"
        else:
            host = f"{settings.bucket}.{host}"
        return sign_url(
            method,
            S3Address(f"{site.scheme}://{host}", path),
            S3Key(settings.access_key, settings.secret_key.get_secret_value(), settings.region),
            now=datetime.fromtimestamp(self._wall(), UTC),
            expires=expires,
        )


# ---------------------------------------------------------------- Signature Version 4


@dataclass(frozen=True)
class S3Address:
    """What is asked for: scheme and host, and the path before any quoting."""

    site: str
    path: str


@dataclass(frozen=True)
class S3Key:
    """Who asks, and in which region the store says it is."""

    access: str
    secret: str
    region: str


def sign_url(method: str, address: S3Address, key: S3Key, *, now: datetime, expires: int) -> str:
    """Sign the address of an object in S3, good for one method and `expires` seconds from `now`, for whoever has it.

    docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{key.region}/s3/aws4_request"
    path = quote(address.path, safe="/~")
    query = "&".join(
        f"{name}={quote(value, safe='~')}"
        for name, value in (
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", f"{key.access}/{scope}"),
            ("X-Amz-Date", moment),
            ("X-Amz-Expires", str(expires)),
            ("X-Amz-SignedHeaders", "host"),
        )
    )
    host = urlsplit(address.site).netloc
    asked = "\n".join([method, path, query, f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"])
    words = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(asked.encode()).hexdigest()])
    secret = f"AWS4{key.secret}".encode()
    for part in (moment[:8], key.region, "s3", "aws4_request"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, words.encode(), hashlib.sha256).hexdigest()
    return f"{address.site}{path}?{query}&X-Amz-Signature={signature}"


def _between(text: str, start: str, end: str) -> str:
    return text.partition(start)[2].partition(end)[0][:100]
