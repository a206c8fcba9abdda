"""Letting the browser trust a certificate that Python has verified.

Chromium cannot be given a certificate authority for one site. It can be told the hashes of keys whose certificates
it shall accept: so the certificate is verified here, with `ca`, and the browser is pinned to its key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl

from wxbridge.core.errors import PictureError


async def fetch_verified_key(host: str, port: int, context: ssl.SSLContext) -> str:
    """Connect, verify the certificate, and give the hash of its public key as Chromium wants it (base64, SHA-256).

    Raises:
        PictureError: the certificate is not to be trusted or cannot be read (no retry), or nothing answers (retry).
    """
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLCertVerificationError as error:
        raise PictureError(f"the certificate of {host} is not signed by `ca`: {error.verify_message}") from None
    except OSError as error:
        raise PictureError(f"{host}:{port} cannot be reached: {error.strerror or error}", retry=True) from None
    try:
        certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
    return base64.b64encode(hashlib.sha256(_read_public_key(certificate)).digest()).decode()


def _read_public_key(certificate: bytes) -> bytes:
    """Take the SubjectPublicKeyInfo out of a certificate, both in DER."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    from cryptography.x509 import load_der_x509_certificate

    try:
        key = load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        raise PictureError("the certificate cannot be read") from None
