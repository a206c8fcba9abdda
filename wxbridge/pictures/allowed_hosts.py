"""Which addresses pictures may be fetched from: the guard against being sent to look inside the network.

An entry of `pictures.allow` is a host name (`img.example.com`), a pattern for everything below a domain
(`*.example.com`), an address or a network (`10.0.0.0/8`); names and addresses may carry a port (`host:8080`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from yarl import URL

from wxbridge.core.errors import PictureError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Lookup = Callable[[str, int], Awaitable[list[Address]]]
"""A host's name and a port → its addresses. Raises `PictureError`."""

_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "100.100.100.200/32",
        "168.63.129.16/32",
        "192.0.0.192/32",
        "fd00:ec2::/32",
    )
)
"""Link-local addresses, and where clouds hand out credentials besides (Alibaba, Azure, Oracle, AWS on
IPv6)."""
_LOOPBACK = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "::1/128", "0.0.0.0/8", "::/128"))
_NEVER = tuple(ipaddress.ip_network(text) for text in ("224.0.0.0/4", "ff00::/8", "240.0.0.0/4"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class _AllowedHost:
    """An entry of `pictures.allow`: a host or a network, at one port or at all."""

    host: str | None
    network: Network | None
    port: int | None

    def is_name_of(self, host: str, port: int) -> bool:
        if self.host is None or self.port not in (None, port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and host != self.host[2:]
        return host == self.host

    def has_address(self, address: Address, port: int) -> bool:
        if self.network is None or self.port not in (None, port):
            return False
        return address.version == self.network.version and address in self.network


class AllowList:
    """The hosts and networks pictures may come from. With no entry, nothing may be fetched.

    What a name resolves to is checked as well: link-local addresses (where clouds keep their credentials)
    and loopback need an entry within that very range, or, for loopback, the name `localhost`.
    A host that is listed by name may be in a private network.
    """

    def __init__(self, entries: Iterable[str] = (), *, lookup: Lookup | None = None) -> None:
        """Take the entries of `pictures.allow`; tests put `lookup(host, port)` for the system's resolver.

        Raises:
            PictureError: an entry is neither a host nor a network.
        """
        self._entries = tuple(_parse(entry) for entry in entries)
        self._lookup = lookup or _system_lookup

    async def addresses(self, url: URL, *, trusted: bool = False) -> list[Address]:
        """Resolve and check a URL's host; only the addresses given back may be connected to.

        `trusted` is for Grafana's own address, which the configuration names: it may be anywhere.

        Raises:
            PictureError: the host is not allowed, or (retry) its name does not resolve now.
        """
        host, port = (url.host or "").rstrip(".").lower(), url.port or 0
        literal = _parse_address(host)
        named = trusted or any(entry.is_name_of(host, port) for entry in self._entries)
        if literal is None and not named and not any(entry.network for entry in self._entries):
            raise _refused(host)  # not even looked up: a name alone can carry a secret outside
        found = [literal] if literal is not None else await self._lookup(host, port)
        if not trusted:
            for address in found:
                self._check(host, port, address, named=named)
        return found

    def _check(self, host: str, port: int, address: Address, *, named: bool) -> None:
        real = _unwrap(address)
        listed = [entry.network for entry in self._entries if entry.network and entry.has_address(real, port)]
        for special in (_METADATA, _LOOPBACK, _NEVER):
            within = [network for network in special if real.version == network.version and real in network]
            if not within:
                continue
            by_name = special is _LOOPBACK and named and host == "localhost"
            if not by_name and not any(_is_within(network, special) for network in listed):
                raise _refused(host, str(real))
            return
        if not named and not listed:
            raise _refused(host, str(real))


def _is_within(network: Network, special: tuple[Network, ...]) -> bool:
    same = [wide for wide in special if wide.version == network.version]
    return any(network.subnet_of(wide) for wide in same)  # type: ignore[arg-type] # of one version, as was seen to


def _refused(host: str, address: str | None = None) -> PictureError:
    where = f"{host} ({address})" if address and address != host else host
    return PictureError(
        f"pictures may not be fetched from {where}: if it is meant, add it to `pictures: allow:` "
        "(loopback and link-local addresses must be listed as such)",
    )


def _parse(entry: str) -> _AllowedHost:
    text = entry.strip().lower()
    host, port = _split_port(text)
    try:
        return _AllowedHost(None, ipaddress.ip_network(host.strip("[]"), strict=False), port)
    except ValueError:
        pass
    bare = host.removeprefix("*.").rstrip(".")
    if not bare or any(character in bare for character in "/*?#@[]: "):
        raise PictureError(
            f"`pictures: allow:` has {entry!r}, which is neither a host (img.example.com, *.example.com) "
            "nor a network (10.0.0.0/8)",
        )
    return _AllowedHost(host.rstrip("."), None, port)


def _split_port(text: str) -> tuple[str, int | None]:
    host, colon, port = text.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        return host, int(port)
    return text, None


def _parse_address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _unwrap(address: Address) -> Address:
    """Unwrap the IPv4 address that an IPv6 one carries (mapped, 6to4, NAT64): that is where it leads."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            return inner
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


async def _system_lookup(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such name"
        raise PictureError(f"the name {host} cannot be resolved: {reason}", retry=True) from None
    return list(dict.fromkeys(ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found))
