"""`token`: makes a token, or the hash of one, for `server.tokens`."""

from __future__ import annotations

import getpass
import secrets
import sys
from typing import Annotated

import typer

from wxbridge.cli.common import WRONG_USAGE, ConfigOption, fail, say
from wxbridge.cli.reader import phrase
from wxbridge.core.token_hash import hash_token

MIN_CHARS = 16
"""Of a token: what is shorter can be guessed."""


def token(
    given: Annotated[bool, typer.Option("--stdin")] = False,  # noqa: FBT002
    config: ConfigOption = None,  # noqa: ARG001 - `cli.main` has read its language
) -> None:
    """Make a token and its hash for server.tokens: the hash goes into jobs.yaml, the token to its owner."""
    if given:
        text = (
            getpass.getpass(phrase("terminal.token.ask"))
            if sys.stdin.isatty()
            else sys.stdin.buffer.readline().decode(errors="surrogateescape")
        ).strip()
        if len(text) < MIN_CHARS:
            raise fail(f"a token has at least {MIN_CHARS} characters; `wxbridge token` makes one", WRONG_USAGE)
        if not text.isprintable():  # nor are bytes that are no UTF-8
            raise fail("a token is made of signs that can be printed; `wxbridge token` makes one", WRONG_USAGE)
    else:
        text = secrets.token_urlsafe(24)
        say(phrase("terminal.token.shown", token=text))
    print(hash_token(text))  # noqa: T201
