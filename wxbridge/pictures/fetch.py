"""Fetching a picture that somebody else has drawn: from allowed hosts, Grafana, a `data:` URL or a file.

The address may come from a monitor's POST, so it is not trusted: see `allowed_hosts.AllowList` for where it may lead.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re
import socket
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from wxbridge.core import imaging
from wxbridge.core.addresses import join_address, parse_address
from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import PictureError, explain_cause
from wxbridge.monitors.grafana import Grafana, take_org
from wxbridge.pictures.allowed_hosts import Address, AllowList
from wxbridge.pictures.placeholders import PLACEHOLDERS, placeholder_error, refuse_placeholder, requested_size

MAX_REDIRECTS = 5
MAX_PICTURE_BYTES = 20 * 1024 * 1024
"""Bytes of a picture, unpacked."""
_CHUNK_BYTES = 64 * 1024
_REDIRECT_STATUSES = (301, 302, 303, 307, 308)
_MAX_SHOWN_CHARS = 200
"""Of an address, in an error."""
_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)


@dataclass(frozen=True)
class FetchedPicture:
    """A picture's bytes with the type that they have, whatever their server claimed."""

    data: bytes
    content_type: imaging.ContentType


@dataclass(frozen=True)
class _FetchLimits:
    """From where, and how much."""

    allow: AllowList
    grafana: Grafana | None
    org: str
    """The organisation of Grafana to be in, where its addresses name none."""
    max_bytes: int
    trusted: URL | None
    """An origin that the operator himself named: it may be anywhere."""


@dataclass(frozen=True)
class _FetchAnswer:
    """What came from one address: a body, a redirect, or the status of an error."""

    status: int
    body: bytes = b""
    location: URL | None = None


async def fetch(
    url: str,
    *,
    allow: AllowList | Sequence[str] = (),
    grafana: Grafana | None = None,
    org: str = "",
    trusted: bool = False,
    max_bytes: int = MAX_PICTURE_BYTES,
    deadline: float = 60.0,
) -> FetchedPicture:
    """Fetch a picture: PNG, JPEG or GIF as they are, WebP as PNG. `data:` URLs work too.

    Redirects (at most five) are followed by hand and checked like the first address. Grafana's credentials
    go to where Grafana draws alone, with the organisation as a header, and its session is renewed once when it has
    expired. Grafana's "no renderer" placeholders are recognised, also where it put them into another store.

    Args:
        url: Where it is.
        allow: From where pictures may be fetched besides Grafana.
        grafana: Whose pictures are always allowed.
        org: The organisation of Grafana to be in; empty for that of the address, else the account's own.
        trusted: Whether the operator himself wrote this address; its host is allowed then, what it redirects to not.
        max_bytes: Bytes, as they arrive and unpacked.
        deadline: Seconds for everything.

    Raises:
        PictureError: not allowed, not there, too large or no picture (no retry); out of reach or 5xx (retry).
    """
    url = grafana.from_public(url) if grafana else url
    hosts = allow if isinstance(allow, AllowList) else AllowList(allow)
    name = _shown(url)
    is_data = url[:5].lower() == "data:"
    limits = _FetchLimits(hosts, grafana, org, max_bytes, _parse_url(url).origin() if trusted and not is_data else None)
    try:
        async with asyncio.timeout(deadline):
            if is_data:
                body = _decode_data_url(url, max_bytes)
            else:
                body = await _get_from_web(_parse_url(url), limits)
            data, content_type = await asyncio.to_thread(imaging.checked, body, name)
            refuse_placeholder(data, is_stored=requested_size(url) is None)
            await _refuse_own_placeholder(url, data, limits)
    except TimeoutError:
        raise PictureError(f"{name} could not be fetched within {deadline:g} s", retry=True) from None
    return FetchedPicture(data, content_type)


async def read_file(path: str | os.PathLike[str], *, max_bytes: int = MAX_PICTURE_BYTES) -> FetchedPicture:
    """Read a picture from a file, checked as by `fetch`. Only for paths that the configuration names.

    Raises:
        PictureError: it cannot be read (retry where it is not there: it may be written yet), is too large, or is no
            picture.
    """
    return await asyncio.to_thread(_read_file, Path(path), max_bytes)


def _read_file(path: Path, max_bytes: int) -> FetchedPicture:
    try:
        # Not waiting: opening a pipe would never return.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise PictureError(f"{path} is no regular file")
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise PictureError(
            f"cannot read the picture {path}: {error.strerror}", retry=isinstance(error, FileNotFoundError)
        ) from None
    if len(data) > max_bytes:
        raise _too_large(str(path), max_bytes)
    return FetchedPicture(*imaging.checked(data, str(path)))


# ---------------------------------------------------------------- addresses


def _shown(url: str) -> str:
    """The address without user, password and query, which may hold secrets."""
    if url[:5].lower() == "data:":
        return "the data: URL"
    bare = re.sub(r"//[^/?#]*@", "//", url.partition("?")[0].partition("#")[0])
    return bare[:_MAX_SHOWN_CHARS]


def _parse_url(url: str) -> URL:
    try:
        parsed = parse_address(url)
        valid = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
    except ValueError:
        valid = False
    if not valid:
        raise PictureError(f"{_shown(url)!r} is no http or https address")
    return parsed


def _decode_data_url(url: str, max_bytes: int) -> bytes:
    match = _DATA_URL.match(url[:300])
    if not match:
        raise PictureError("the data: URL is malformed")
    kind, parameters = match[1].strip().lower(), match[2].lower()
    if kind and not kind.startswith("image/"):
        raise PictureError(f"the data: URL holds {kind}, no picture")
    if len(url) - match.end() > max_bytes * 4 // 3 + 4096:
        raise _too_large("the data: URL", max_bytes)
    data = unquote_to_bytes(url[match.end() :])
    if ";base64" not in parameters:
        return data
    try:
        data = base64.b64decode(re.sub(rb"\s+", b"", data), validate=True)
    except (binascii.Error, ValueError):
        raise PictureError("the data: URL is not valid base64") from None
    if len(data) > max_bytes:
        raise _too_large("the data: URL", max_bytes)
    return data


# ---------------------------------------------------------------- the web


class _PinnedResolver(AbstractResolver):
    """Resolves to the addresses that were checked, so that a second look-up cannot lead elsewhere."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = addresses

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the base class has it
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004 - IPv4
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing to close."""


async def _get_from_web(url: URL, limits: _FetchLimits) -> bytes:
    """Follow the redirects; log in to Grafana again, once, where it asks for that."""
    grafana = limits.grafana
    is_renewed = False
    asked = url
    for _ in range(MAX_REDIRECTS + 2):
        auth: SiteCredentials | None = None
        if grafana is not None and grafana.owns(str(url)):
            address = take_org(str(url))
            url = _parse_url(address.url)
            auth = await grafana.get_picture_credentials(address.url, limits.org or address.org)
        answer = await _get(url, auth, limits)
        status = answer.status
        if grafana is not None and _wants_login(grafana, url, answer):
            if auth is None:
                raise PictureError(f"{_shown(str(asked))} wants a login, and is no picture that Grafana draws")
            if is_renewed or await grafana.renew(auth) is None:
                raise grafana.login_error(_shown(str(asked)))
            is_renewed = True
            url = asked
        elif answer.location is not None:
            url = answer.location
        elif status == 200:  # noqa: PLR2004 - HTTP
            return answer.body
        else:
            hint = " (not allowed)" if status in (401, 403) else " (not there)" if status in (404, 410) else ""
            raise PictureError(
                f"{_shown(str(url))} was answered with HTTP {status}{hint}",
                retry=status >= 500 or status in (408, 429),  # noqa: PLR2004 - HTTP
            )
    raise PictureError(f"{_shown(str(asked))} redirects more than {MAX_REDIRECTS} times")


def _wants_login(grafana: Grafana, url: URL, answer: _FetchAnswer) -> bool:
    if not grafana.owns(str(url)):
        return False
    if answer.location is not None:
        return grafana.owns(str(answer.location)) and answer.location.path.rstrip("/").endswith("/login")
    return answer.status == 401  # noqa: PLR2004 - HTTP


async def _get(url: URL, auth: SiteCredentials | None, limits: _FetchLimits) -> _FetchAnswer:
    """Get what is at one address."""
    grafana = limits.grafana
    trusted = grafana is not None and grafana.owns(str(url))
    addresses = await limits.allow.addresses(url, trusted=trusted or url.origin() == limits.trusted)
    tls = await grafana.tls() if trusted and grafana is not None else None
    connector = aiohttp.TCPConnector(resolver=_PinnedResolver(addresses), use_dns_cache=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # unpacked by hand below, with a limit
                trust_env=False,
                timeout=aiohttp.ClientTimeout(total=None),  # the deadline is around all of this
            ) as session,
            session.get(url, headers=_headers(auth), allow_redirects=False, ssl=tls or True) as response,
        ):
            if response.status in _REDIRECT_STATUSES:
                target = _redirect_target(url, response.headers.get("Location", ""))
                return _FetchAnswer(response.status, location=target)
            if response.status != 200:  # noqa: PLR2004 - HTTP
                return _FetchAnswer(response.status)
            return _FetchAnswer(response.status, await _read_body(response, limits.max_bytes))
    except aiohttp.ClientConnectorCertificateError:
        raise PictureError(f"{_shown(str(url))} has a certificate that is not trusted") from None
    except (aiohttp.ClientError, OSError) as error:
        reason = explain_cause(error)
        raise PictureError(f"{_shown(str(url))} cannot be reached: {reason}", retry=True) from None


def _headers(auth: SiteCredentials | None) -> dict[str, str]:
    headers = {"Accept": "image/png,image/jpeg,image/gif,image/webp", "Accept-Encoding": "identity"}
    return headers | auth.request_headers if auth else headers


def _redirect_target(url: URL, location: str) -> URL:
    if not location:
        raise PictureError(f"{_shown(str(url))} redirects to nowhere")
    try:
        return _parse_url(join_address(url, location))
    except ValueError:
        raise PictureError(f"{_shown(str(url))} redirects to something that is no address") from None


async def _read_body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Read a body, unpacking gzip and deflate, and stop as soon as it is too large."""
    name = _shown(str(response.url))
    if (response.content_length or 0) > max_bytes:
        raise _too_large(name, max_bytes)
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    unpack = _unpacker(encoding, name)
    data = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        room = max_bytes + 1 - len(data)
        try:
            data += unpack.decompress(chunk, room) if unpack else chunk
        except zlib.error:
            raise PictureError(f"{name} is damaged: it is not the {encoding} that it claims to be") from None
        if len(data) > max_bytes:
            raise _too_large(name, max_bytes)
    return bytes(data)


def _unpacker(encoding: str, name: str) -> Any:
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip", "deflate"):
        return zlib.decompressobj(wbits=47)  # gzip or zlib, told by the header
    raise PictureError(f"{name} is packed as {encoding[:20]}, which was not asked for")


def _too_large(name: str, max_bytes: int) -> PictureError:
    return PictureError(f"{name} is larger than {max_bytes:,} bytes")


# ---------------------------------------------------------------- Grafana's placeholders


async def _refuse_own_placeholder(url: str, data: bytes, limits: _FetchLimits) -> None:
    """Tell a panel from the picture that Grafana serves, with 200, where it cannot render.

    A rendered panel has the size that was asked for. Where the size is another one, Grafana is asked for its
    placeholders, which are public files of its own, and they are compared.
    """
    grafana = limits.grafana
    size = requested_size(url)
    if size is None or grafana is None or not grafana.owns(url):
        return
    with imaging.open_picture(data, _shown(url)) as image:
        if image.size == size:
            return
    for name in PLACEHOLDERS:
        try:
            answer = await _get(URL(f"{grafana.base}/public/img/{name}"), None, limits)
        except PictureError:
            continue
        if answer.body == data:
            raise placeholder_error(name)
