"""A WeCom application."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from wxbridge.channels.http import HttpService, hash_secret


@dataclass(frozen=True)
class WecomApplication:
    """A WeCom application, as it is spoken to."""

    base_url: str
    corp_id: str
    secret: str = field(repr=False)
    agent_id: int
    ca: Path | None = None

    @property
    def identity(self) -> str:
        """What tells its tokens from others'. It gives nothing away: it is a hash."""
        return hash_secret(self.base_url, self.corp_id, self.secret)[:32]

    @property
    def service(self) -> HttpService:
        """Where its requests go."""
        shown = f"WeCom (application {self.agent_id} at {self.base_url})"
        return HttpService(shown, self.base_url, self.ca, f"{self.identity} {self.agent_id}")
