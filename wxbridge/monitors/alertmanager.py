"""A client of Alertmanager's API, version 2: what fires there, and its silences. Grafana's own speaks it too.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml; what differs between versions is said where
it matters.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wxbridge.config.types import WebSource
from wxbridge.core.closing import Closing
from wxbridge.core.credentials import ApiAddress
from wxbridge.core.http import DEADLINE_SECONDS, MAX_ANSWER_BYTES, ApiClient, ApiError, ApiErrorTexts
from wxbridge.core.json_values import as_labels, as_text, as_time
from wxbridge.core.matchers import Matcher

_ROOT = "/api/v2"
_ALERTS_AT_ONCE = 200
"""How many alerts are read before other tasks get their turn."""
_SILENCE_ID = re.compile(r"[0-9A-Fa-f-]{36}")


@dataclass(frozen=True)
class GettableAlert:
    """An alert that fires, as the server lists it."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    fingerprint: str = ""
    starts_at: datetime | None = None
    generator_url: str = ""
    silenced_by: tuple[str, ...] = ()
    """The ids of the silences that hold it back there."""
    inhibited_by: tuple[str, ...] = ()
    """The fingerprints of the alerts that hold it back."""


@dataclass(frozen=True)
class GettableSilence:
    """A silence as the server keeps it. Its expressions are Go's, and are not compiled here."""

    id: str
    state: str
    """`pending`, `active` or `expired`."""
    matchers: tuple[str, ...]
    starts_at: datetime | None
    ends_at: datetime | None
    created_by: str = ""
    comment: str = ""


class Alertmanager(Closing):
    """A client of one Alertmanager. Use from one event loop, and `close()` in the end.

    Args:
        source: Where it is (the address may have a path, as `--web.route-prefix` or Mimir's) and how to get in.
        deadline: Seconds for one answer.
        max_bytes: Of one answer.
    """

    def __init__(
        self,
        source: WebSource,
        *,
        name: str = "Alertmanager",
        section: str = "alertmanager",
        root: str = _ROOT,
        texts: ApiErrorTexts | None = None,
        deadline: float = DEADLINE_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._name = name
        self._client = ApiClient(source.address(name, section), deadline=deadline, max_bytes=max_bytes, texts=texts)
        self._root = root

    @property
    def address(self) -> ApiAddress:
        """Where it is, and how it is entered."""
        return self._client.address

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def list_alerts(self, filters: Sequence[Matcher] = ()) -> list[GettableAlert]:
        """List what fires now, silenced or not; with filters, what fulfils all of them by the server's own reading.

        Raises:
            ApiError: out of reach, too late, refused, too much, or no such API.
        """
        asked = [("filter", str(matcher)) for matcher in filters]
        data = await self._client.get(f"{self._root}/alerts", asked)
        found: list[GettableAlert] = []
        for number, item in enumerate(self._items(data, "alerts"), start=1):
            if isinstance(item.get("labels"), dict) and item["labels"]:
                found.append(_read_alert(item))
            if number % _ALERTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        return found

    async def list_silences(self) -> list[GettableSilence]:
        """List the silences that are not over, those that end first at the top. Raises `ApiError`."""
        data = await self._client.get(f"{self._root}/silences")
        kept = [_read_silence(item) for item in self._items(data, "silences")]
        never = datetime.max.replace(tzinfo=UTC)
        return sorted((each for each in kept if each.state != "expired"), key=lambda each: each.ends_at or never)

    async def get_silence(self, silence_id: str) -> GettableSilence | None:
        """Get one silence, also one that is over; None where there is none of that id. Raises `ApiError`."""
        if not _SILENCE_ID.fullmatch(silence_id):
            return None
        try:
            data = await self._client.get(f"{self._root}/silence/{silence_id}")
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                return None
            raise
        return _read_silence(data) if isinstance(data, dict) else None

    async def add_silence(
        self, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, by: str, comment: str
    ) -> str:
        """Create a silence and return its id. One that holds for every alert is refused by the server.

        Raises:
            ApiError: it was not kept; where the answer was late it may be.
        """
        data = await self._client.post(
            f"{self._root}/silences",
            {
                "matchers": [
                    {
                        "name": each.name,
                        "value": each.value,
                        "isRegex": each.operator in ("=~", "!~"),
                        "isEqual": each.operator in ("=", "=~"),
                    }
                    for each in matchers
                ],
                "startsAt": starts_at.astimezone(UTC).isoformat(),
                "endsAt": ends_at.astimezone(UTC).isoformat(),
                "createdBy": by or "wxbridge",
                "comment": comment or "wxbridge",
            },
        )
        made = as_text(data.get("silenceID")) if isinstance(data, dict) else ""
        if not made:
            raise self._odd("silences")
        return made

    async def expire_silence(self, silence_id: str) -> bool:
        """End a silence now; False where there is none of that id that is not over. Raises `ApiError`."""
        kept = await self.get_silence(silence_id)
        # Asked first: for an unknown one versions answer 404 or 500, for one that is over 200 or 500.
        if kept is None or kept.state == "expired":
            return False
        await self._client.delete(f"{self._root}/silence/{silence_id}")
        return True

    def _items(self, data: Any, what: str) -> list[dict[str, Any]]:
        if not isinstance(data, list):
            raise self._odd(what)
        return [item for item in data if isinstance(item, dict)]

    def _odd(self, what: str) -> ApiError:
        return ApiError(f"{self._name} answered with something else than its {what}: is the address right?")


def _read_alert(item: Mapping[str, Any]) -> GettableAlert:
    status = item.get("status")
    status = status if isinstance(status, dict) else {}
    return GettableAlert(
        as_labels(item.get("labels")),
        as_labels(item.get("annotations")),
        as_text(item.get("fingerprint")),
        as_time(item.get("startsAt")),
        as_text(item.get("generatorURL")).strip(),
        _texts(status.get("silencedBy")),
        _texts(status.get("inhibitedBy")),
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(as_text(item) for item in value) if isinstance(value, list) else ()


def _read_silence(item: Mapping[str, Any]) -> GettableSilence:
    status = item.get("status")
    matchers = item.get("matchers")
    return GettableSilence(
        as_text(item.get("id")),
        as_text(status.get("state")) if isinstance(status, dict) else "",
        tuple(
            _write_matchers(each for each in matchers if isinstance(each, dict)) if isinstance(matchers, list) else ()
        ),
        as_time(item.get("startsAt")),
        as_time(item.get("endsAt")),
        as_text(item.get("createdBy")),
        as_text(item.get("comment")),
    )


def _write_matchers(matchers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Write the matchers of a silence as Alertmanager does; its expressions are not compiled."""
    for each in matchers:
        # Before 0.22 there is no `isEqual`, and nothing but equality.
        sign = "=" if each.get("isEqual", True) else "!"
        operator = f"{sign}~" if each.get("isRegex") else {"=": "=", "!": "!="}[sign]
        # Written as equalities, since Python may not know the expression.
        name = str(Matcher(as_text(each.get("name")), "=", "")).removesuffix('=""')
        yield name + operator + str(Matcher("_", "=", as_text(each.get("value")))).removeprefix("_=")
