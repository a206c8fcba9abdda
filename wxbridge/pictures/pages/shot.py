"""A page request made ready for the browser: an absolute address, with credentials and limits."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Self
from urllib.parse import urlsplit

from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import PictureError
from wxbridge.core.pictures import PageRequest

MAX_HEIGHT = 16_000
"""The tallest page that is shot whole, in CSS pixels; what is below it is cut off."""
MAX_WIDTH = 8_000
MIN_SCALE, MAX_SCALE = 0.1, 4
USUAL_HEIGHT = 900
"""What a page takes its window's height to be, in CSS pixels, where nobody chose one."""


@dataclass(frozen=True)
class Shot(PageRequest):
    """What to shoot; `kiosk`, `hide_controls` and `only_grafana` have done their work by now."""

    auth: SiteCredentials | None = None
    trust_key: str | None = field(default=None, repr=False)
    """A key (see `core.browser_tls`) whose certificate the browser accepts though it does not know who signed it."""
    deadline: float = 60.0
    """Seconds from being asked for to the bytes, with the wait for a free place and the start of the browser."""
    max_bytes: int = 20 * 1024 * 1024
    """A larger PNG is reduced to 256 colours, then made smaller."""

    def __post_init__(self) -> None:
        """Refuse what no browser can do.

        Raises:
            PictureError: the address is no http(s) one, or a size or the deadline is out of bounds.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PictureError(f"{self.url!r} is no http or https address")
        if not 1 <= self.width <= MAX_WIDTH or not 1 <= self.window_height <= MAX_HEIGHT:
            raise PictureError(f"a page is shot 1 to {MAX_WIDTH} wide and 1 to {MAX_HEIGHT} high")
        if not MIN_SCALE <= self.scale <= MAX_SCALE:
            raise PictureError(f"the scale of a shot is {MIN_SCALE} to {MAX_SCALE}")
        if self.deadline <= 0:
            raise PictureError("no time is left to shoot the page", retry=True)

    @classmethod
    def of(cls, request: PageRequest, **changes: Any) -> Self:
        """Make a shot of a request, with some fields changed and those that requests do not have."""
        return cls(**{each.name: getattr(request, each.name) for each in fields(PageRequest)} | changes)

    @property
    def window_height(self) -> int:
        """What the page takes its window's height to be while it loads, in CSS pixels."""
        return self.height or USUAL_HEIGHT

    @property
    def is_whole(self) -> bool:
        """Whether all that can be scrolled to is taken; a panel alone is as high as asked, however much it repeats."""
        return self.full_page and "/d-solo/" not in urlsplit(self.url).path

    @property
    def name(self) -> str:
        """The address without user, password, query and fragment, which may hold secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
