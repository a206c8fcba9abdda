"""A client of Alertmanager's API, version 2: what fires there, and its silences. Grafana's own speaks it too.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml; what differs between versions is said where
it matters.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from wxbridge.alerts.sources import alertmanager, grafana_unified
from wxbridge.config.types import WebSource
from wxbridge.core.http import DEADLINE_SECONDS, MAX_ANSWER_BYTES, ApiClient, ApiError
from wxbridge.core.json_values import as_labels, as_text, as_time
from wxbridge.core.matchers import Matcher
from wxbridge.core.model import Alert, AlertGroup

_ROOT = "/api/v2"
_GRAFANAS_ROOT = "/api/alertmanager/grafana/api/v2"
_GRAFANAS_VALUES = "__value_string__"
_AT_ONCE = 200
"""How many alerts are read before others get their turn."""


@dataclass(frozen=True)
class Listed:
    """An alert that fires, as the server lists it."""

    alert: Alert
    silenced_by: tuple[str, ...] = ()
    """The ids of the silences that hold it back there."""
    inhibited: bool = False
    """Whether another alert holds it back."""


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


class Alertmanager:
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
        deadline: float = DEADLINE_SECONDS,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._name = name
        self._client = ApiClient(source.address(name, section), deadline=deadline, max_bytes=max_bytes)
        self._root = root
        self._parse: Callable[[dict[str, Any]], AlertGroup] = alertmanager.read

    @classmethod
    def of_grafana(cls, source: WebSource) -> Self:
        """Make a client of the one within Grafana (unified alerting, version 9 and later)."""
        made = cls(source, name="Grafana", section="grafana", root=_GRAFANAS_ROOT)
        made._parse = grafana_unified.read
        return made

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def alerts(self, filters: Sequence[Matcher] = ()) -> list[Listed]:
        """What fires now, silenced or not; with filters, what fulfils all of them by the server's own reading.

        Raises:
            ApiError: out of reach, too late, refused, too much, or no such API.
        """
        asked = [("filter", str(matcher)) for matcher in filters]
        data = await self._client.get(f"{self._root}/alerts", asked)
        found = [item for item in self._list(data, "alerts") if as_labels(item.get("labels"))]
        listed: list[Listed] = []
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            group = self._parse({"alerts": [_as_posted(item) for item in some], "receiver": ""})
            listed += map(_listed, group.alerts, some)
            await asyncio.sleep(0)
        return listed

    async def silences(self) -> list[GettableSilence]:
        """The silences that are not over, those that end first at the top. Raises `ApiError`."""
        data = await self._client.get(f"{self._root}/silences")
        kept = [_kept(item) for item in self._list(data, "silences")]
        never = datetime.max.replace(tzinfo=UTC)
        return sorted((each for each in kept if each.state != "expired"), key=lambda each: each.ends_at or never)

    async def silence(self, silence_id: str) -> GettableSilence | None:
        """One silence, also one that is over; None where there is none of that id. Raises `ApiError`."""
        if not _UUID.fullmatch(silence_id):
            return None
        try:
            data = await self._client.get(f"{self._root}/silence/{silence_id}")
        except ApiError as error:
            if error.status == 404:  # noqa: PLR2004 - HTTP
                return None
            raise
        return _kept(data) if isinstance(data, dict) else None

    async def add_silence(
        self, matchers: Sequence[Matcher], starts_at: datetime, ends_at: datetime, by: str, comment: str
    ) -> str:
        """Keep a silence; gives its id. One that holds for every alert is refused by the server.

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
        kept = await self.silence(silence_id)
        # Asked first: for an unknown one versions answer 404 or 500, for one that is over 200 or 500.
        if kept is None or kept.state == "expired":
            return False
        await self._client.delete(f"{self._root}/silence/{silence_id}")
        return True

    def _list(self, data: Any, what: str) -> list[dict[str, Any]]:
        if not isinstance(data, list):
            raise self._odd(what)
        return [item for item in data if isinstance(item, dict)]

    def _odd(self, what: str) -> ApiError:
        return ApiError(f"{self._name} answered with something else than its {what}: is the address right?")


_UUID = re.compile(r"[0-9A-Fa-f-]{36}")


def _as_posted(item: Mapping[str, Any]) -> dict[str, Any]:
    """An alert of the API as the webhook has it: Grafana's keeps what is private to itself, with two underscores."""
    annotations = as_labels(item.get("annotations"))
    return {
        **item,
        "status": "firing",
        "labels": _public(as_labels(item.get("labels"))),
        "annotations": _public(annotations),
        "valueString": annotations.get(_GRAFANAS_VALUES, ""),
    }


def _public(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def _listed(alert: Alert, item: Mapping[str, Any]) -> Listed:
    status = item.get("status")
    status = status if isinstance(status, dict) else {}
    return Listed(alert, _texts(status.get("silencedBy")), bool(_texts(status.get("inhibitedBy"))))


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(as_text(item) for item in value) if isinstance(value, list) else ()


def _kept(item: Mapping[str, Any]) -> GettableSilence:
    status = item.get("status")
    matchers = item.get("matchers")
    return GettableSilence(
        as_text(item.get("id")),
        as_text(status.get("state")) if isinstance(status, dict) else "",
        tuple(_written(each for each in matchers if isinstance(each, dict)) if isinstance(matchers, list) else ()),
        as_time(item.get("startsAt")),
        as_time(item.get("endsAt")),
        as_text(item.get("createdBy")),
        as_text(item.get("comment")),
    )


def _written(matchers: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for each in matchers:
        # Before 0.22 there is no `isEqual`, and nothing but equality.
        sign = "=" if each.get("isEqual", True) else "!"
        operator = f"{sign}~" if each.get("isRegex") else {"=": "=", "!": "!="}[sign]
        # Written as equalities, since Python may not know the expression.
        name = str(Matcher(as_text(each.get("name")), "=", "")).removesuffix('=""')
        yield name + operator + str(Matcher("_", "=", as_text(each.get("value")))).removeprefix("_=")
