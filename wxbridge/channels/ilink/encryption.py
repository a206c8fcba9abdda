"""How iLink's CDN wants files: AES-128-ECB with PKCS7 padding, the key as text of hexadecimal digits, in base64."""

from __future__ import annotations

import base64
import hashlib
import re

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

BLOCK_BYTES = 16
_HEX_KEY = re.compile(rb"[0-9a-fA-F]{32}")


def encrypt(content: bytes, key: bytes) -> bytes:
    """Encrypt a file with a key of 16 bytes; the result has `encrypted_size` bytes."""
    padder = PKCS7(BLOCK_BYTES * 8).padder()
    encryptor = _cipher(key).encryptor()
    return encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()


def decrypt(content: bytes, key: bytes) -> bytes:
    """Decrypt a file. Raises `ValueError` where it is not encrypted with this key."""
    decryptor = _cipher(key).decryptor()
    unpadder = PKCS7(BLOCK_BYTES * 8).unpadder()
    return unpadder.update(decryptor.update(content) + decryptor.finalize()) + unpadder.finalize()


def encrypted_size(size: int) -> int:
    """Give how many bytes a file of `size` bytes has when it is encrypted."""
    return (size // BLOCK_BYTES + 1) * BLOCK_BYTES


def write_key(key: bytes) -> str:
    """Write a key as messages have it: base64 of its hexadecimal text."""
    return base64.b64encode(key.hex().encode()).decode()


def read_key(text: str) -> bytes:
    """Read a key of a message, which may be in base64 itself or as hexadecimal text in base64.

    Raises:
        ValueError: it is neither.
    """
    raw = base64.b64decode(text)
    if len(raw) == BLOCK_BYTES:
        return raw
    if _HEX_KEY.fullmatch(raw):
        return bytes.fromhex(raw.decode())
    raise ValueError("this is no key of a file")


def md5_of(content: bytes) -> str:
    """Give the hexadecimal MD5 that the service wants of a file."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    # The service asks for this mode; each file has a key of its own.
    return Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305
