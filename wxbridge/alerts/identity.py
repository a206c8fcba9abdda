"""What tells one alert from all others, of all sources. Pure."""

from __future__ import annotations

import hashlib

from wxbridge.core.model import Alert


def identify(alert: Alert) -> str:
    """Give an alert's key in the table `alerts`: 32 hexadecimal digits; empty where its monitor gave no fingerprint."""
    if not alert.fingerprint:
        return ""
    whose = f"\0{alert.sender}" if alert.sender else ""
    return hash_text(f"{alert.source}\0{alert.fingerprint}{whose}")


def hash_text(text: str) -> str:
    """Hash a text: 32 hexadecimal digits."""
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
