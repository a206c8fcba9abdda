"""What is closed at the end of an `async with` block."""

from __future__ import annotations

from typing import Self


class Closing:
    """Has `close` called at the end of an `async with` block."""

    async def close(self) -> None:
        """Let go of what was opened."""
        raise NotImplementedError  # pragma: no cover - everybody has something else to let go of

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
