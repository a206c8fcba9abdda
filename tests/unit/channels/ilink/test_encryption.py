"""Files of iLink's CDN: the check values of the protocol's description, and that nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.channels.ilink.encryption import encrypt, md5_of, write_key
from wxbridge.simulator.ilink.encryption import decrypt, encrypted_size

KEY = bytes.fromhex("000102030405060708090a0b0c0d0e0f")


@pytest.mark.parametrize(
    ("plain", "md5", "encrypted"),
    [
        (b"hello wxbridge", "23c22dcb31a384f24aeb99175f9132e6", "6add5407e9fd90239c19a1c530a60e53"),
        (
            b"0123456789abcdef",
            "4032af8d61035123906e58e067140cc5",
            "281567ab2f4cf0d73d3198225b8b8393954f64f2e4e86e9eee82d20216684899",
        ),
    ],
)
def test_files_are_encrypted_as_the_service_expects(plain: bytes, md5: str, encrypted: str) -> None:
    assert encrypt(plain, KEY).hex() == encrypted
    assert md5_of(plain) == md5
    assert decrypt(bytes.fromhex(encrypted), KEY) == plain
    assert encrypted_size(len(plain)) == len(encrypted) // 2


def test_keys_are_written_as_hexadecimal_text() -> None:
    assert write_key(KEY) == "MDAwMTAyMDMwNDA1MDYwNzA4MDkwYTBiMGMwZDBlMGY="


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=16))
def test_what_was_encrypted_is_read_again(plain: bytes, key: bytes) -> None:
    assert decrypt(encrypt(plain, key), key) == plain
