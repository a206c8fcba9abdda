"""Letting the browser trust a certificate that Python has verified.

Chromium cannot be given a certificate authority for one site. It can be told the hashes of keys whose certificates
it shall accept: so the certificate is verified here, with `ca`, and the browser is pinned to its key.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from typing import TYPE_CHECKING

from wxbridge.core.errors import PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = 0xA0
_LONG = 0x80
_KEY_FIELD = 5
"""The public key comes after serial number, algorithm, issuer, validity and subject (RFC 5280, 4.1)."""


async def verified_key(host: str, port: int, context: ssl.SSLContext) -> str:
    """Connect, verify the certificate, and give the hash of its public key as Chromium wants it (base64, SHA-256).

    Raises:
        PictureError: the certificate is not to be trusted (no retry), or nothing answers (retry).
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
    return base64.b64encode(hashlib.sha256(public_key(certificate)).digest()).decode()


def public_key(certificate: bytes) -> bytes:
    """Take the SubjectPublicKeyInfo out of a certificate in DER.

    Raises:
        PictureError: it is no certificate.
    """
    try:
        (_, inner), *_ = _elements(certificate)
        (_, signed), *_ = _elements(inner)
        fields = [signed[start:end] for tag, start, end in _spans(signed) if tag != _VERSION]
        return fields[_KEY_FIELD]
    except (IndexError, ValueError):
        raise PictureError("the certificate cannot be read") from None


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    for tag, start, end in _spans(data):
        _, header = _header(data, start)
        yield tag, data[header:end]


def _spans(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The tag, the start and the end of each DER element."""
    position = 0
    while position < len(data):
        length, header = _header(data, position)
        yield data[position], position, header + length
        position = header + length


def _header(data: bytes, position: int) -> tuple[int, int]:
    """The length of the element at a position, and where its content starts."""
    length = data[position + 1]
    if length < _LONG:
        return length, position + 2
    count = length - _LONG
    return int.from_bytes(data[position + 2 : position + 2 + count], "big"), position + 2 + count
