"""Whom TLS connections trust."""

from __future__ import annotations

import ssl
from pathlib import Path


def make_tls_context(ca: Path | str | None = None) -> ssl.SSLContext:
    """Trust the system's authorities and, where given, the certificate authority in a file. It reads files.

    Python 3.13 refuses authorities that lack what RFC 5280 asks for, such as most that people make with openssl for
    themselves. One that is named in the configuration is trusted as earlier Pythons do.

    Raises:
        OSError: the file cannot be read or holds no certificate (`ssl.SSLError` is one).
    """
    context = ssl.create_default_context()
    if ca is not None:
        context.load_verify_locations(cafile=str(ca))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
