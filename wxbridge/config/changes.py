"""What two configurations do not have in common, and what of a new one a running bridge cannot take over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wxbridge.config.schema import Config
from wxbridge.config.server import LOOPBACK
from wxbridge.config.types import reveal

SERVED_BY = ("server", "hooks", "language")
"""The sections that the HTTP application is made from."""


def sections_of(*configs: Config) -> list[str]:
    """List the sections that any of some configurations may have."""
    return list(dict.fromkeys(name for each in configs for name in type(each).model_fields if name != "path"))


def list_differing(old: Config, new: Config, names: Iterable[str]) -> list[str]:
    """List the sections that two configurations do not have in common."""
    return [name for name in names if getattr(old, name, None) != getattr(new, name, None)]


def restrict_to_running(old: Config, new: Config) -> tuple[Config, tuple[str, ...]]:
    """Give a new configuration with what cannot change while the bridge runs as it was, and what that is."""
    update: dict[str, Any] = {}
    later = []
    if new.state_dir != old.state_dir:
        update["state_dir"] = old.state_dir
        later.append("state_dir")
    if new.database != old.database:
        update["database"] = old.database
        later.append("database")
    if new.server.listen != old.server.listen:
        # Beyond loopback nobody is let in without a token, so what is fit for another address may not be for this.
        open_door = old.server.host not in LOOPBACK and not reveal(new.server.token)
        update["server"] = old.server if open_door else new.server.model_copy(update={"listen": old.server.listen})
        later.append("server" if open_door else "server.listen")
    return (new.model_copy(update=update) if update else new), tuple(later)
