"""How iLink's CDN wants files: AES-128-ECB with PKCS7 padding, the key as text of hexadecimal digits, in base64."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7


def encrypt(content: bytes, key: bytes) -> bytes:
    """Encrypt a file with a key of 16 bytes."""
    padder = PKCS7(algorithms.AES128.block_size).padder()
    # The service asks for this mode; each file has a key of its own.
    encryptor = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()


def write_key(key: bytes) -> str:
    """Write a key as messages have it: base64 of its hexadecimal text."""
    return base64.b64encode(key.hex().encode()).decode()


def md5_of(content: bytes) -> str:
    """Give the hexadecimal MD5 that the service wants of a file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
