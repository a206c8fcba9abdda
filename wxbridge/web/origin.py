"""Where a request comes from: through which proxies, from which address, from whose page."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from aiohttp import web

from wxbridge.config.server import LOOPBACK, Network

MAX_NAME_CHARS = 60
"""Of what is no address, where a subscriber is named by it."""


@dataclass(frozen=True)
class RequestOrigin:
    """Where a request comes from, through the proxies that were declared."""

    address: str
    secure: bool
    """Whether the browser speaks TLS."""
    host: str
    """The `Host` that the browser asked for."""


def read_origin(request: web.Request, proxies: Sequence[Network]) -> RequestOrigin:
    """Look at a connection, and at `X-Forwarded-For`, `-Proto` and `-Host` where a declared proxy holds it."""
    peer = request.remote or ""
    if not is_among(peer, proxies):
        return RequestOrigin(peer, request.secure, request.host)
    # From the right: what stands further left anybody can write.
    hops = [hop.strip() for value in request.headers.getall("X-Forwarded-For", []) for hop in value.split(",")]
    address = next((hop for hop in reversed(hops) if hop and not is_among(hop, proxies)), peer)
    proto = _last(request.headers.get("X-Forwarded-Proto", ""))
    host = _last(request.headers.get("X-Forwarded-Host", "")) or request.host
    return RequestOrigin(address, request.secure or proto.lower() == "https", host)


def _last(value: str) -> str:
    return value.rpartition(",")[2].strip()


def is_among(address: str, networks: Iterable[Network]) -> bool:
    """Tell whether an address is in one of some networks."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in network for network in networks if network.version == mapped.version)


def is_own_page(request: web.Request, origin: RequestOrigin) -> bool:
    """Whether a request comes from a page of ours, or from no page at all, as far as its browser tells."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    said = request.headers.get("Origin")
    # `null` is what browsers write for a page that sends no referrer, as ours; the form's secret decides then.
    return said in (None, "null") or urlsplit(said).netloc.lower() == origin.host.lower()


def is_known_host(origin: RequestOrigin) -> bool:
    """Whether a browser asked for this machine by a name that no other site can have (DNS rebinding)."""
    try:
        name = urlsplit(f"//{origin.host}").hostname or ""
    except ValueError:
        return False
    return name in LOOPBACK or name.endswith(".localhost")


def name_subscriber(address: str) -> str:
    """Name who is behind an address: itself, or the network that one subscriber of IPv6 has all of."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:MAX_NAME_CHARS]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
