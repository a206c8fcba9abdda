"""The links by which alerts lead to the rules that they come from."""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import parse_qs, urlsplit


@lru_cache(64)
def expr_of(generator_url: str | None) -> str | None:
    """The expression in an alert's link to Prometheus's or Thanos's own page (`g0.expr`); None where there is none.

    Only this is taken from it: the link names the server as it calls itself, which may be nobody's address.
    """
    try:
        found = parse_qs(urlsplit(generator_url or "").query, max_num_fields=100).get("g0.expr")
    except ValueError:
        return None
    return found[0].strip() or None if found else None
