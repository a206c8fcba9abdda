"""Who is logged in on a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class WechatLogin:
    """The bot's account; empty where nobody is logged in."""

    account: str = ""
    """Its id."""
    name: str = ""

    @property
    def shown(self) -> str:
        """The account as states tell it."""
        return f"{self.name} ({self.account})" if self.name else self.account
