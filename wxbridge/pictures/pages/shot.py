"""What to shoot, and with which credentials: the words that the browser and Grafana share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from wxbridge.core.credentials import SiteCredentials
from wxbridge.core.errors import PictureError
from wxbridge.pictures.pages.readiness import MAX_HEIGHT


@dataclass(frozen=True)
class Shot:
    """What to shoot. Sizes are CSS pixels, times are seconds."""

    url: str
    width: int = 1440
    height: int = 900
    """The least height of the picture, and what the page takes its window to be while it loads."""
    scale: float = 1.0
    """Pixels of the picture per CSS pixel."""
    full_page: bool = True
    """The whole page (up to `MAX_HEIGHT`), also where it scrolls in an inner element; else the window
    only."""
    timezone: str | None = None
    """An IANA name; the bridge's own time zone when not given."""
    language: str | None = None
    """What the page is told that the reader speaks: `en-US`, `zh-CN`."""
    theme: Literal["light", "dark"] | None = None
    """The colour scheme that the page is told the reader prefers."""
    wait_for: str | None = None
    """A CSS selector of what has to be visible before the page is shot."""
    selector: str | None = None
    """A CSS selector of the one element to shoot instead of the page."""
    expand: bool = True
    """Whether the collapsed rows of a Grafana dashboard are opened first."""
    marks: bool = False
    """Whether the PNG is to say where it may be cut (see `page_parts`)."""
    auth: SiteCredentials | None = None
    must_succeed: str | None = None
    """A regular expression for the addresses of requests without which the page shows nothing but an
    error."""
    trust_key: str | None = field(default=None, repr=False)
    """A key (see `core.browser_tls`) whose certificate the browser is to accept though it does not know who signed."""
    deadline: float = 60.0
    """From being asked for to the bytes, with the wait for a free place and the start of the browser."""
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
        if not 1 <= self.width <= 8000 or not 1 <= self.height <= MAX_HEIGHT:  # noqa: PLR2004 - said in the text
            raise PictureError(f"a page is shot 1 to 8000 wide and 1 to {MAX_HEIGHT} high")
        if not 0.1 <= self.scale <= 4:  # noqa: PLR2004 - said in the text
            raise PictureError("the scale of a shot is 0.1 to 4")
        if self.deadline <= 0:
            raise PictureError("no time is left to shoot the page", retry=True)

    @property
    def name(self) -> str:
        """The address without user, password, query and fragment, which may hold secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"
