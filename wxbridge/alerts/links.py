"""Which addresses an alert's text shows, and the short ones of the bridge's own pages about alerts. Pure.

A page about an alert is `/a/ALERT` in the console, which asks who is there. A page that silences is `/s/LINK`, and asks
nobody: the link itself is signed, is good for a while and for the alerts that it names, and for nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import urllib.parse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wxbridge.alerts.identity import identify
from wxbridge.core.model import Alert

ALERT_PATH = "/a/"
SILENCE_PATH = "/s/"
MAX_GENERATOR_CHARS = 120
"""Of the address of a rule or of an expression that people are shown."""
SHORT_KEY_BYTES = 6
"""Of an alert's key, which tell it in a short link: of a million alerts two are alike once in 500."""
MAX_ALERTS_PER_LINK = 6
"""How many alerts one link silences, the worst of its message."""
LINK_SECONDS = 3 * 86400.0
"""That a link which silences is good."""
_TARGET_BYTES = 3
_SIGNATURE_BYTES = 12
_HEAD_BYTES = 4 + _TARGET_BYTES
_MAX_LINK_CHARS = 4 * (_HEAD_BYTES + MAX_ALERTS_PER_LINK * SHORT_KEY_BYTES + _SIGNATURE_BYTES + 2) // 3


@dataclass(frozen=True)
class SilenceLink:
    """What a link that silences says: which alerts, where it was told, until when it is good (since the epoch)."""

    short_keys: tuple[str, ...]
    target: str
    """The target's name; empty where there is none of that name any more."""
    good_until: float


@dataclass(frozen=True)
class AlertPages:
    """The bridge's own pages about alerts. `public_url` is where people reach it, `secret` signs links that silence."""

    public_url: str
    secret: bytes

    def show(self, key: str) -> str:
        """Write the address of an alert's page, by its key in the table `alerts`."""
        return f"{self.public_url}{ALERT_PATH}{shorten_key(key)}"

    def silence(self, keys: Sequence[str], target: str, now: float) -> str:
        """Write the address of a page that silences alerts, by their keys, for a target that is told of them."""
        head = int(now + LINK_SECONDS).to_bytes(4, "big") + _mark(target)
        said = head + b"".join(bytes.fromhex(shorten_key(key)) for key in keys[:MAX_ALERTS_PER_LINK])
        link = base64.urlsafe_b64encode(said + self._sign(said)).decode().rstrip("=")
        return f"{self.public_url}{SILENCE_PATH}{link}"

    def read(self, link: str, targets: Iterable[str]) -> SilenceLink | None:
        """Read what stands behind `SILENCE_PATH`, good or no longer; None where it is not ours."""
        if not (link.isascii() and 0 < len(link) <= _MAX_LINK_CHARS):
            return None
        try:
            raw = base64.urlsafe_b64decode(link + "=" * (-len(link) % 4))
        except ValueError:
            return None
        said, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
        keys = said[_HEAD_BYTES:]
        if not keys or len(keys) % SHORT_KEY_BYTES or not hmac.compare_digest(self._sign(said), signature):
            return None
        mark = said[4:_HEAD_BYTES]
        return SilenceLink(
            tuple(keys[at : at + SHORT_KEY_BYTES].hex() for at in range(0, len(keys), SHORT_KEY_BYTES)),
            next((name for name in targets if _mark(name) == mark), ""),
            float(int.from_bytes(said[:4], "big")),
        )

    def _sign(self, said: bytes) -> bytes:
        return hmac.digest(self.secret, b"silence\0" + said, "sha256")[:_SIGNATURE_BYTES]


def _mark(target: str) -> bytes:
    return hashlib.sha256(target.encode(errors="surrogatepass")).digest()[:_TARGET_BYTES]


def shorten_key(key: str) -> str:
    """Give what a short link says of an alert's key: its first digits."""
    return key[: 2 * SHORT_KEY_BYTES]


# ---------------------------------------------------------------- which addresses are shown


@dataclass(frozen=True)
class ShownLinks:
    """The addresses that an alert's text shows; empty where there is none."""

    main: str = ""
    graph: str = ""
    """The graph that fired, where `main` is something else."""


NO_LINKS = ShownLinks()


def choose_links(alert: Alert, page: str = "") -> ShownLinks:
    """Choose what an alert's text shows: what somebody wrote down for people before what the monitor made by itself.

    `page` is the bridge's own page about the alert, which stands in for what a phone cannot use: a machine's name
    without a dot, or an expression of many lines. Empty where there is none.
    """
    links = alert.links
    if not (links or alert.link):
        return NO_LINKS
    own = "" if alert.link in links.values() else alert.link or ""
    panel, generator = links.get("panel", ""), links.get("generator", "")
    # A dashboard beside a panel is Grafana's, like it; else the rule's author wrote it down.
    dashboard = _usable(links.get("dashboard", ""), page if panel else "")
    panel, generator = _usable(panel, page), _usable(generator, page, MAX_GENERATOR_CHARS)
    main = links.get("runbook") or _usable(own, page) or panel or dashboard or generator
    graphs = () if main == panel else (panel, dashboard, generator)
    graph = next((graph for graph in graphs if graph and graph != main), "")
    return ShownLinks(_write_whole(main), _write_whole(graph))


def _write_whole(address: str) -> str:
    """Write an address so that a chat takes all of it for one, though somebody wrote blanks or quotes into it."""
    return re.sub(r"""[\s"'<>]""", lambda sign: urllib.parse.quote(sign[0]), address.strip())


def links_of(alert: Alert, pages: AlertPages | None) -> ShownLinks:
    """Choose what an alert's text shows, where the bridge has such pages; see `choose_links`."""
    key = identify(alert) if pages else ""
    return choose_links(alert, pages.show(key) if pages and key else "")


def _usable(address: str, page: str, most: int = 0) -> str:
    """Give an address, or the page that stands in for it where people cannot use it."""
    if not address or not page:
        return address
    is_long = bool(most) and len(address) > most
    return page if is_long or not has_dotted_host(address) else address


def has_dotted_host(address: str) -> bool:
    """Tell whether an address names its host so that it can be found from elsewhere: a domain, or an IP address."""
    try:
        host = urllib.parse.urlsplit(address).hostname or ""
    except ValueError:
        return False
    return "." in host.strip(".") or ":" in host
