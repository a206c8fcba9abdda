"""Web addresses that others wrote, kept byte for byte: many are signed, and any other way to write them is refused."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from yarl import URL

_LEGAL = "%:/?#[]@!$&'()*+,;=~"
"""What a request's address may hold beside letters, digits and `-._`, and is left as it is."""


def parse_address(text: str) -> URL:
    """Read an address so that it is asked for as it is written; what a request cannot hold is percent-encoded.

    Dot segments (`/a/../b`, also as `%2e`) are resolved, as browsers do: nothing leads out of a path by them.

    Raises:
        ValueError: it is no address.
    """
    parts = urlsplit(text.strip())
    where = URL(f"{parts.scheme}://{parts.netloc}")  # its host as it is resolved: IDNA, lower case
    if not where.host:
        raise ValueError("an address without a host")
    path = _resolve_dots(quote(parts.path or "/", safe=_LEGAL, errors="surrogateescape"))
    query = quote(parts.query, safe=_LEGAL, errors="surrogateescape")
    return URL.build(scheme=where.scheme, authority=where.raw_authority, path=path, query_string=query, encoded=True)


def join_address(base: URL, location: str) -> str:
    """Write out where a redirect from `base` leads. Raises `ValueError`: to no address."""
    location = location.strip()
    if urlsplit(location).scheme:
        return location
    if location.startswith("//"):
        return f"{base.scheme}:{location}"
    if location.startswith("/"):
        path = location
    elif location.startswith("?"):
        path = base.raw_path + location
    else:
        path = f"{base.raw_path.rpartition('/')[0]}/{location}"
    return f"{base.scheme}://{base.raw_authority}{path}"


def _resolve_dots(path: str) -> str:
    segments = path.split("/")
    plain = [segment.lower().replace("%2e", ".") for segment in segments]
    if not {".", ".."} & set(plain):
        return path
    kept: list[str] = []
    for segment, dots in zip(segments[1:], plain[1:], strict=True):
        if dots == ".." and kept:
            kept.pop()
        if dots not in (".", ".."):
            kept.append(segment)
    is_directory = plain[-1] in (".", "..")
    return "/" + "/".join(kept) + ("/" if is_directory and kept else "")
