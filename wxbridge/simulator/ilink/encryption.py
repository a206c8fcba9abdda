"""What the CDN and the phones do with files: AES-128-ECB with PKCS7 padding. The simulator stands for itself."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

_BLOCK_BYTES = 16


def encrypt(content: bytes, key: bytes) -> bytes:
    """Encrypt a file, as the phone does that sends one."""
    padder, encryptor = PKCS7(_BLOCK_BYTES * 8).padder(), _cipher(key).encryptor()
    return encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()


def decrypt(content: bytes, key: bytes) -> bytes:
    """Decrypt a file. Raises `ValueError` where it is not encrypted with this key."""
    decryptor, unpadder = _cipher(key).decryptor(), PKCS7(_BLOCK_BYTES * 8).unpadder()
    return unpadder.update(decryptor.update(content) + decryptor.finalize()) + unpadder.finalize()


def encrypted_size(size: int) -> int:
    """Give how many bytes a file of `size` bytes has when it is encrypted."""
    return (size // _BLOCK_BYTES + 1) * _BLOCK_BYTES


def md5_of(content: bytes) -> str:
    """Give the hexadecimal MD5 that the protocol asks for."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _cipher(key: bytes) -> Cipher[modes.ECB]:
    return Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305 - what the service uses
