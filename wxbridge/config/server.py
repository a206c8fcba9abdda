"""The section `server`: where alerts are taken, and what opens it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from wxbridge.config.types import BaseUrl, RateField, Secret, Section, reveal
from wxbridge.core.token_hash import TokenCheck, check_hash_form

LOOPBACK = ("127.0.0.1", "::1", "localhost")

Network = IPv4Network | IPv6Network

_NETWORKS = {"type": "array", "items": {"type": "string"}, "examples": [["10.0.0.0/8", "127.0.0.1"]]}


def _networks(value: Any) -> Any:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        raise ValueError("write a list of networks such as [10.0.0.0/8]")  # noqa: TRY004 - pydantic takes no other
    found = []
    for name in names:
        try:
            found.append(ip_network(str(name), strict=False))
        except ValueError:
            raise ValueError(f"{name!r} is no network; write one like 10.0.0.0/8 or 192.0.2.7") from None
    return tuple(found)


class TokenSettings(Section):
    """A token with the name of its owner, who stands as `by` beside what is done with it."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("token", "hash"),)
    role: Literal["read", "operate", "admin"]
    """`read` looks; `operate` posts, sends, silences, acknowledges, runs jobs too; `admin` logs accounts in and has the
    configuration read again too."""
    token: Secret | None = None
    """The token itself."""
    hash: Secret | None = None
    """Its hash, as `wxbridge token` makes it, so that the file does not hold the token."""

    @field_validator("hash")
    @classmethod
    def _of_ours(cls, value: Secret | None) -> Secret | None:
        if value is not None:
            check_hash_form(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _one_way(self) -> TokenSettings:
        if bool(reveal(self.token).strip()) == bool(self.hash):
            raise ValueError("a named token has one of `token` and `hash`, as `wxbridge token` makes it")
        return self

    def check(self) -> TokenCheck:
        """Make what compares a token that is shown."""
        if self.hash:
            return TokenCheck(hashed=self.hash.get_secret_value())
        return TokenCheck(self.token.get_secret_value().encode() if self.token else b"")


class ServerSettings(Section):
    """The HTTP server that takes alerts."""

    listen: str = "127.0.0.1:8080"
    """host:port. Beyond loopback a `token` is required."""
    token: Secret | None = None
    """What callers must show: `Authorization: Bearer`, basic (as the password), or `?token=`; it opens the console."""
    public_url: BaseUrl | None = None
    """Where people reach the console, such as `https://bridge.example.com`: alerts then link to their own page there,
    and in robots' groups to a page that silences them."""
    read_token: Secret | None = None
    """Opens the console, metrics and listings to those who may look and not change; it needs a `token` beside it."""
    tokens: dict[str, TokenSettings] = Field(default_factory=dict)
    """Further tokens by the name of their owner, each with a role; where there is any, nobody comes in without one."""
    proxies: Annotated[tuple[Network, ...], BeforeValidator(_networks), WithJsonSchema(_NETWORKS)] = ()
    """Networks of reverse proxies in front, such as `10.0.0.0/8`: whose `X-Forwarded-…` headers are believed."""
    max_body: Annotated[int, Field(gt=0)] = 4 * 1024 * 1024
    """The largest body that is read, in bytes."""
    rate: RateField | None = None
    """At most so many requests; beyond it the answer is 503 with Retry-After, which senders repeat."""

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - TCP
            raise ValueError(f"{value!r} is no address; write one like 127.0.0.1:8080")
        return value

    @model_validator(mode="after")
    def _token_beyond_loopback(self) -> ServerSettings:
        named = any(each.role == "admin" for each in self.tokens.values())
        if self.host not in LOOPBACK and not named and not reveal(self.token):
            raise ValueError(
                f"listening on {self.listen} without a token would let anybody in; "
                "set `server.token` or listen on 127.0.0.1",
            )
        return self

    @model_validator(mode="after")
    def _two_tokens(self) -> ServerSettings:
        reading = reveal(self.read_token)
        if reading and not reveal(self.token):
            raise ValueError("`read_token` without a `token`: everybody may change everything; set `server.token` too")
        if reading and self.token and reading == self.token.get_secret_value():
            raise ValueError("`read_token` and `token` are the same; whoever has one would have both")
        return self

    @property
    def host(self) -> str:
        """The address to bind, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to bind; 0 for any free one."""
        return int(self.listen.rpartition(":")[2])
