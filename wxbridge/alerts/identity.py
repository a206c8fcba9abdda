"""What tells one alert from all others, of all sources. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from wxbridge.core.model import Alert


def identify(alert: Alert) -> str:
    """Give an alert's key in the table `alerts`: 32 hexadecimal digits; empty where its monitor gave no fingerprint."""
    return _identify(alert.source, alert.fingerprint, alert.sender) if alert.fingerprint else ""


@lru_cache(4096)
def _identify(source: str, fingerprint: str, sender: str) -> str:
    whose = f"\0{sender}" if sender else ""
    return hash_text(f"{source}\0{fingerprint}{whose}")


def hash_text(text: str) -> str:
    """Hash a text: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
