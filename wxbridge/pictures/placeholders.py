"""What Grafana serves, with status 200, in place of a panel that it did not render."""

from __future__ import annotations

import hashlib
from urllib.parse import parse_qs, urlsplit

from wxbridge.core.errors import PictureError

PLACEHOLDERS = (
    "rendering_plugin_not_installed.png",
    "rendering_limit_dark.png",
    "rendering_limit_light.png",
    "rendering_limit.png",
    "rendering_error_dark.png",
    "rendering_error_light.png",
    "rendering_error.png",
    "rendering_timeout_dark.png",
    "rendering_timeout_light.png",
    "rendering_timeout.png",
)
"""What Grafana serves, with status 200, in place of a rendered panel; to be had below its /public/img/."""
PLACEHOLDER_DIGESTS = {
    "02923f5883878de815eb8cb64ab06fe0073362744cfdcaed134744d563392af8": "rendering_plugin_not_installed.png",
    "8af5c59b9cd29655bb166b0449fc5d7bdd74afb0e756c35af6dbbf4b9a1c6b65": "rendering_limit_dark.png",
    "967b67a952d5cf1d5ddf4774faa9c16c1725f62b763b1552f27a629c55b80d39": "rendering_limit_light.png",
    "af1a5ca17fc27b17e030c0f3b2f85f0e480a07ab6f12a26edcbe0d5aa6ba2100": "rendering_error_dark.png",
    "d1593b71c2f13b697887c4cccc4bde0345613edda3bd96a29c471e9613c64a8c": "rendering_error_light.png",
    "beea44a00d5a65dda51f444501de2c360a27f10d547bc939d8f9bfd98691f431": "rendering_timeout_dark.png",
    "e5c26d42fee4d58de578fb53f7354a9d4bdda0fa4222d5c5249310906f0680b3": "rendering_timeout_light.png",
}
"""Their SHA-256, the same from 7.5 to 12.4, by which one is known that Grafana has put into an image store."""
_MAX_PLACEHOLDER_BYTES = 100_000


def refuse_placeholder(data: bytes, *, is_stored: bool) -> None:
    """Refuse one of the `PLACEHOLDERS`, wherever it comes from; one that `is_stored` stays what it is: no retry.

    Raises:
        PictureError: it is one.
    """
    if len(data) <= _MAX_PLACEHOLDER_BYTES and (name := PLACEHOLDER_DIGESTS.get(hashlib.sha256(data).hexdigest())):
        error = placeholder_error(name)
        error.retry = error.retry and not is_stored
        raise error


def placeholder_error(name: str) -> PictureError:
    """Make the error for one of the `PLACEHOLDERS` that Grafana served in place of a panel."""
    if "limit" in name:
        return PictureError("Grafana's renderer is busy: it served a placeholder (over its limit)", retry=True)
    if "timeout" in name:
        return PictureError("Grafana's renderer took too long: it served a placeholder", retry=True)
    if "error" in name:
        return PictureError("Grafana's renderer failed: it served a placeholder; see Grafana's log", retry=True)
    return PictureError("Grafana has no image renderer: it served a placeholder; use `kind: screenshot` instead")


def requested_size(url: str) -> tuple[int, int] | None:
    """Tell the pixels that a /render URL asks for; None where it is none, or leaves a side open."""
    parts = urlsplit(url)
    if "/render/" not in parts.path:
        return None
    query = parse_qs(parts.query)
    try:
        scale = float(query.get("scale", ["1"])[0] or 1)
        width, height = (round(int(query[side][0]) * scale) for side in ("width", "height"))
    except (KeyError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None
