"""Who we are to other servers: the address and the credentials of an API, and those of a site's pages and pictures."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True)
class ApiAddress:
    """Where a server's API is, and how to get in."""

    name: str
    """What people call it: `Alertmanager`."""
    section: str
    """The section of jobs.yaml that says where it is, for advice."""
    base: str
    """`http` or `https`, host and path, without a slash in the end; without user and password."""
    token: str | None = field(default=None, repr=False)
    """Sent as `Authorization: Bearer`."""
    user: str | None = None
    password: str = field(default="", repr=False)
    ca: Path | None = None
    """A file with the certificate authority to trust besides the system's."""

    @property
    def server(self) -> str:
        """What an error calls it: `Alertmanager at http://alertmanager:9093`."""
        return f"{self.name} at {self.base}"

    @property
    def headers(self) -> dict[str, str]:
        """What a request says of us: its token, or user and password."""
        found = {"Accept": "application/json"}
        if self.token is not None:
            found["Authorization"] = f"Bearer {self.token}"
        elif self.user is not None:
            found["Authorization"] = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return found


@dataclass(frozen=True)
class SiteCredentials:
    """Credentials for all below one address, `prefix` (`http://grafana:3000`, no slash in the end).

    `headers` go nowhere else, not even with a redirect; `cookies` are the host's, as cookies are. `keep` is
    handed the site's cookies after a page was shot, since the site may have renewed them.
    """

    prefix: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    keep: Callable[[Mapping[str, str]], None] | None = field(default=None, compare=False, repr=False)

    def covers(self, url: str) -> bool:
        """Whether a URL belongs to the site."""
        return url == self.prefix or url.startswith((self.prefix + "/", self.prefix + "?"))

    @property
    def request_headers(self) -> dict[str, str]:
        """The headers of a request that we make ourselves: the cookies among them."""
        headers = dict(self.headers)
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return headers


def strip_to_address(url: str) -> str:
    """Give an address without user, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
