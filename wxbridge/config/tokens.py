"""The named tokens of `server.tokens`: who may do what."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from wxbridge.config.types import Secret, Section, reveal
from wxbridge.core.token_hash import TokenCheck, check_hash_form


class TokenSettings(Section):
    """A token with the name of its owner, who stands as `by` beside what is done with it."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("token", "hash"),)
    role: Literal["read", "operate", "admin"]
    """`read` looks; `operate` posts, sends, silences, acknowledges, runs jobs too; `admin` logs accounts in and has the
    configuration read again too."""
    token: Secret | None = None
    """The token itself."""
    hash: Secret | None = None
    """Its hash, as `wxbridge token` makes it, so that the file does not hold the token."""

    @field_validator("hash")
    @classmethod
    def _of_ours(cls, value: Secret | None) -> Secret | None:
        if value is not None:
            check_hash_form(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _one_way(self) -> TokenSettings:
        if bool(reveal(self.token).strip()) == bool(self.hash):
            raise ValueError("a named token has one of `token` and `hash`, as `wxbridge token` makes it")
        return self

    def check(self) -> TokenCheck:
        """Make what compares a token that is shown."""
        if self.hash:
            return TokenCheck(hashed=self.hash.get_secret_value())
        return TokenCheck(self.token.get_secret_value().encode() if self.token else b"")
