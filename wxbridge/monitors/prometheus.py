"""One Prometheus, or what speaks its HTTP API (VictoriaMetrics, Thanos, Mimir): its rules, and series for a chart.

https://prometheus.io/docs/prometheus/latest/querying/api/
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import ssl
import time
from bisect import insort
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Generic, Self, TypeVar, cast
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import aiohttp

from wxbridge.config.types import WebSource
from wxbridge.core.deadline import seconds_left
from wxbridge.core.errors import NothingToDraw, PictureError, PictureRefused, PictureTimeout
from wxbridge.core.tls import make_tls_context
from wxbridge.monitors.promql import Analysis, Choice, Curve, Period, Role, chosen
from wxbridge.monitors.promql_tree import NotUnderstood, tokens
from wxbridge.pictures.charts.chart import badness

DEADLINE = 15.0
"""Seconds for one answer, where the picture has no deadline of its own."""
MAX_BYTES = 32 * 1024 * 1024
"""Of one answer, unpacked."""
MAX_SERIES = 20
"""Of one curve."""
RULES_LIFE = 30.0
"""How many seconds the rules are taken as they were."""
_FAILURE_LIFE = 0.4
"""Likewise a failure: for those who ask together. The next attempt at a picture, half a second later, asks anew."""
_GAP = 1.5
"""Steps between two points that are still joined."""
_PORTION = 0.002
"""Seconds of work after which others get their turn."""
_CHUNK = 64 * 1024
_VALUES = re.compile(r'"values"\s*:\s*\[([\[\],\s\d.eE+"NaInf-]*)\]')
_NO_NUMBER = str.maketrans("", "", '[]" \t\r\n')
_GROUPS = re.compile(r'"groups"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")

T = TypeVar("T")
_Portions = Generator[None, None, T]
"""A work that can be interrupted at every `yield`."""
Choose = Callable[[Sequence[Mapping[str, str]]], Choice]
"""Chooses among series by their labels."""
Rank = Callable[[float, float], float]
"""How much a series is to be seen whose values lie between these two."""


class RefusedQuery(PictureRefused):
    """The expression itself was refused, or cannot be computed; the message has the server's own words."""


@dataclass(frozen=True)
class Rule:
    """An alerting rule as the server knows it."""

    name: str
    group: str
    expr: str
    hold: float = 0.0
    """Its `for`, seconds."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What it adds to the labels of its series; a value may be a template."""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """A series over a period. `points` are (seconds since the epoch, value), in order; a gap is a point with NaN."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Answer:
    """What a range query gave."""

    series: tuple[Series, ...]
    others: int = 0
    """How many more series there are that were chosen too, above the limit."""
    sure: bool = True
    """Whether the series are chosen by their labels with certainty."""
    notes: tuple[str, ...] = ()
    """The server's warnings, a partial answer, and what could not be told apart."""


@dataclass(frozen=True)
class Drawing:
    """What a chart shows: each curve with its answer (the same order), and the period."""

    curves: tuple[tuple[Curve, Answer], ...]
    period: Period
    notes: tuple[str, ...] = ()

    @property
    def others(self) -> int:
        """How many series are left out."""
        return sum(answer.others for _, answer in self.curves)


@dataclass(frozen=True)
class Metadata:
    """What the server knows of a metric."""

    type: str = ""
    """`counter`, `gauge`, `histogram`, `summary`, … ."""
    unit: str = ""
    help: str = ""


class Prometheus:
    """A client of one server. Use from one event loop, and `close()` in the end.

    Args:
        settings: Where it is (the address may have a path, as Mimir's `/prometheus`) and how to get in.
        deadline: Seconds for one answer.
        max_bytes: Of one answer.
        clock: Seconds that only go forward; for tests.
    """

    def __init__(
        self,
        settings: WebSource,
        *,
        deadline: float = DEADLINE,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._clock = clock
        parts = urlsplit(settings.url)
        entry, _, host = parts.netloc.rpartition("@")
        self._name = urlunsplit((parts.scheme, host, parts.path, "", ""))
        self._url_entry = entry
        """`user:password` in the address itself, which counts where nothing else is configured."""
        self._session: aiohttp.ClientSession | None = None
        self._rules: _Kept[tuple[Rule, ...]] = _Kept(clock)
        self._metadata: dict[str, Metadata] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def rules(self) -> tuple[Rule, ...]:
        """Get all alerting rules, at most once in 30 seconds, however many ask.

        Those who ask together share a failure too.

        Raises:
            PictureError: as `query_range`.
        """
        return await self._rules.get(self._get_rules)

    async def rule_of(self, labels: Mapping[str, str], generator_url: str | None = None) -> Rule | None:
        """Find the rule that an alert with these labels comes from; see `rule_among`.

        Raises:
            PictureError: as `query_range`.
        """
        return rule_among(await self.rules(), labels, expr_of(generator_url))

    async def query_range(
        self,
        expr: str,
        period: Period,
        *,
        choose: Choose | None = None,
        limit: int = MAX_SERIES,
        rank: Rank | None = None,
    ) -> Answer:
        """Compute an expression over a period.

        Args:
            expr: PromQL.
            period: At most 11,000 points.
            choose: Which of the answered series to keep; all without it.
            limit: How many series to give; the others are counted.
            rank: Which series are given where there are more: those of the highest rank. Without it, the first.

        Raises:
            RefusedQuery: the expression is wrong or cannot be computed, in the server's own words.
            PictureError: no entry, no such API, too large an answer (no retry); out of reach, overloaded or too
                late (retry).
        """
        form = {"query": expr, "start": repr(period.start), "end": repr(period.end), "step": repr(period.step)}
        body = await self._ask("query_range", form)
        return await self._read(_answer(body, period.step, choose, limit, rank))

    async def metadata(self, metric: str) -> Metadata:
        """What the server knows of a metric; empty where it knows nothing or has no such API."""
        if metric not in self._metadata:
            try:
                head = _mapping(json.loads(await self._ask("metadata", {"metric": metric}, post=False)))
                found = _mapping(_mapping(head.get("data")).get(metric, [{}])[:1][0])
            except (PictureError, LookupError, TypeError, ValueError):
                found = {}
            if len(self._metadata) >= 1000:  # noqa: PLR2004 - enough for any rule file
                self._metadata.clear()
            self._metadata[metric] = Metadata(*(str(found.get(key) or "") for key in ("type", "unit", "help")))
        return self._metadata[metric]

    # ------------------------------------------------------------ inside

    async def _get_rules(self) -> tuple[Rule, ...]:
        body = await self._ask("rules", {"type": "alert", "exclude_alerts": "true"}, post=False)
        return await self._read(_rules(body))

    async def _read(self, portions: _Portions[T]) -> T:
        try:
            return await _in_portions(portions)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            what = (str(error) or type(error).__name__)[:200]
            raise PictureError(
                f"Prometheus at {self._name} answered something else than its API says: {what}"
            ) from None

    async def _ask(self, path: str, form: Mapping[str, str], *, post: bool = True) -> bytes:
        limit = min(self._deadline, seconds_left(self._deadline))
        if path == "query_range":
            form = {**form, "timeout": f"{max(1, math.floor(limit * 1000))}ms"}
        try:
            async with asyncio.timeout(limit):
                status, body = await self._send(path, form, post=post)
                if post and status == 405:  # noqa: PLR2004 - a proxy before it that lets nobody post
                    status, body = await self._send(path, form, post=False)
        except TimeoutError:
            raise PictureTimeout(f"Prometheus at {self._name} did not answer within {limit:.3g} s") from None
        except aiohttp.ClientConnectorCertificateError:
            raise PictureError(f"the certificate of {self._name} is not trusted: set prometheus.ca") from None
        except (aiohttp.ClientError, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise PictureError(f"Prometheus at {self._name} cannot be reached: {reason}", retry=True) from None
        if status == 200:  # noqa: PLR2004 - HTTP
            return body
        raise self._refusal(status, path, body)

    async def _send(self, path: str, form: Mapping[str, str], *, post: bool) -> tuple[int, bytes]:
        session = await self._opened_session()
        given: dict[str, Any] = {"data": form} if post else {"params": form}
        url = f"{self._name}/api/v1/{path}"
        async with session.request("POST" if post else "GET", url, allow_redirects=False, **given) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > self._max_bytes:
                    raise PictureError(
                        f"Prometheus at {self._name} answers with more than {self._max_bytes:,} bytes: too many series"
                    )
            if response.status in (301, 302, 303, 307, 308):
                body = bytearray(response.headers.get("Location", "").partition("?")[0].encode())
            return response.status, bytes(body)

    async def _opened_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = await self._tls()
            # Somebody else may have opened one meanwhile.
            self._session = self._session or aiohttp.ClientSession(
                headers=self._headers(),
                connector=aiohttp.TCPConnector(ssl=context or True, limit=8),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # the deadline is around all of this
                trust_env=False,
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        settings = self._settings
        headers = {"Accept": "application/json"}
        if settings.token is not None:
            headers["Authorization"] = f"Bearer {settings.token.get_secret_value()}"
        elif settings.user is not None:
            password = settings.password.get_secret_value() if settings.password else ""
            headers["Authorization"] = aiohttp.encode_basic_auth(settings.user, password, encoding="utf-8")
        elif self._url_entry:
            user, password = map(unquote, self._url_entry.partition(":")[::2])
            headers["Authorization"] = aiohttp.encode_basic_auth(user, password, encoding="utf-8")
        return headers

    async def _tls(self) -> ssl.SSLContext | None:
        ca = self._settings.ca
        if ca is None:
            return None
        try:
            return await asyncio.to_thread(make_tls_context, ca)
        except OSError as error:
            raise PictureError(f"cannot read prometheus.ca, {ca}: {error.strerror or error}") from None

    def _refusal(self, status: int, path: str, body: bytes) -> PictureError:
        said = _said(body)
        words = said.get("error")
        if words and status in (400, 422) and said.get("errorType") in ("bad_data", "execution", "", None, str(status)):
            return RefusedQuery(f"Prometheus refuses the expression: {str(words)[:500]}")
        if status in (401, 403):
            given = self._settings.token or self._settings.user or self._url_entry
            what = "prometheus.token, or user and password, are right" if given else "they are needed: none are set"
            return PictureRefused(f"Prometheus at {self._name} lets nobody in (HTTP {status}): see whether {what}")
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            target = body.decode(errors="replace")[:200]
            return PictureError(f"Prometheus at {self._name} redirects to {target}: is prometheus.url right?")
        if status == 404 and not words:  # noqa: PLR2004 - HTTP
            return PictureError(f"there is no /api/v1/{path} below {self._name}: is prometheus.url right?")
        what = f": {str(words)[:500]}" if words else ""
        retry = status >= 500 or status in (408, 429)  # noqa: PLR2004 - HTTP
        return PictureError(f"Prometheus at {self._name} answered with HTTP {status}{what}", retry=retry)


# ---------------------------------------------------------------- rules


def rule_among(rules: Sequence[Rule], labels: Mapping[str, str], expr: str | None = None) -> Rule | None:
    """Find the rule of an alert: by its name and, where several share that, by group, expression and labels.

    A rule that sets a label otherwise than the alert has it is not the alert's; of the others, the one that sets the
    most. Values that are templates are not compared.

    Args:
        rules: The server's.
        labels: The alert's. VictoriaMetrics puts the group's name into `alertgroup`.
        expr: What the alert's link says (`expr_of`).
    """
    found = [rule for rule in rules if rule.name == labels.get("alertname")]
    group = labels.get("alertgroup")
    found = [rule for rule in found if rule.group == group] or found
    if expr is not None:
        words = _words(expr)
        found = [rule for rule in found if _words(rule.expr) == words] or found
    fitting = [
        rule
        for rule in found
        if all(labels.get(name, "") == value for name, value in rule.labels.items() if "{{" not in value)
    ]
    return max(fitting or found, key=lambda rule: len(rule.labels), default=None)


def _words(expr: str) -> tuple[str, ...]:
    try:
        return tuple(token.text for token in tokens(expr))
    except NotUnderstood:
        return tuple(expr.split())


@lru_cache(maxsize=256)
def expr_of(generator_url: str | None) -> str | None:
    """The expression in an alert's link to Prometheus's or Thanos's own page (`g0.expr`); None where there is none.

    Only this is taken from it: the link names the server as it calls itself, which may be nobody's address.
    """
    try:
        found = parse_qs(urlsplit(generator_url or "").query, max_num_fields=100).get("g0.expr")
    except ValueError:
        return None
    return found[0].strip() or None if found else None


def rules_in(body: bytes) -> tuple[Rule, ...]:
    """Read the answer of `/api/v1/rules`. What is no alerting rule is passed over.

    Raises:
        ValueError: it is no such answer. TypeError and LookupError, likewise.
    """
    return _at_once(_rules(body))


def _rules(body: bytes) -> _Portions[tuple[Rule, ...]]:
    groups, _ = yield from _opened(body)
    return tuple(
        Rule(
            name=str(rule["name"]),
            group=str(group.get("name") or ""),
            expr=str(rule["query"]),
            hold=float(rule.get("duration") or 0),
            labels=_texts(rule.get("labels")),
            annotations=_texts(rule.get("annotations")),
        )
        for group in groups
        for rule in group.get("rules") or ()
        if rule.get("type") in ("alerting", None) and "query" in rule
    )


# ---------------------------------------------------------------- series


async def drawing(prometheus: Prometheus, analysis: Analysis, period: Period, *, limit: int = MAX_SERIES) -> Drawing:
    """Get what a chart shows: all curves of an analysis at once, the series of the firing instances alone.

    Where matchers leave nothing (a label was changed between the series and the alert), or the server refuses them,
    the rule's own text is asked for and the series are chosen by their labels. What the value is compared with may
    be missing; a note says so.

    Raises:
        NothingToDraw: there is no data.
        PictureError: as `Prometheus.query_range`.
    """
    answers = await asyncio.gather(
        *(_asked(prometheus, analysis, curve, period, limit) for curve in analysis.curves), return_exceptions=True
    )
    got: list[tuple[Curve, Answer]] = []
    notes: list[str] = []
    for curve, answer in zip(analysis.curves, answers, strict=True):
        if isinstance(answer, Answer):
            got.append((curve, answer))
            notes += answer.notes
        elif isinstance(answer, PictureError) and curve.role in (Role.REFERENCE, Role.VANISHED):
            notes.append(f"{curve.text} is not drawn: {answer}")
        else:
            raise answer
    shown = tuple((curve, answer) for curve, answer in got if _has_values(answer))
    if not any(curve.role is not Role.REFERENCE for curve, _ in shown):
        raise NothingToDraw(f"Prometheus has no data to draw for {analysis.expr.strip()[:200]}")
    return Drawing(shown, period, tuple(dict.fromkeys(notes)))


async def _asked(prometheus: Prometheus, analysis: Analysis, curve: Curve, period: Period, limit: int) -> Answer:
    def choose(series: Sequence[Mapping[str, str]]) -> Choice:
        if not any(analysis.instances):
            return Choice(tuple(range(len(series))))
        return chosen(curve, series, analysis.instances)

    def rank(lowest: float, highest: float) -> float:
        return badness(lowest, highest, limits)

    limits = [(each.op, each.value) for each in analysis.thresholds]
    asked = partial(prometheus.query_range, period=period, choose=choose, limit=limit, rank=rank)
    try:
        answer = await asked(curve.query)
    except RefusedQuery:
        if curve.query == curve.text:
            raise
    else:
        if answer.series or curve.query == curve.text or curve.role not in (Role.VALUE, Role.REFERENCE):
            return answer
    return await asked(curve.text)


def _has_values(answer: Answer) -> bool:
    return any(not math.isnan(value) for series in answer.series for _, value in series.points)


def answer_in(
    body: bytes, step: float, *, choose: Choose | None = None, limit: int = MAX_SERIES, rank: Rank | None = None
) -> Answer:
    """Read the answer of `/api/v1/query_range`: pure, for a thread or another process.

    Values that are no finite number, and points that are missing, are gaps: points with NaN.

    Raises:
        ValueError: it is no such answer. TypeError and LookupError, likewise.
    """
    return _at_once(_answer(body, step, choose, limit, rank))


def _answer(body: bytes, step: float, choose: Choose | None, limit: int, rank: Rank | None) -> _Portions[Answer]:
    # The points are read from the text itself: as JSON each is a list, and so many lists make Python's garbage
    # collector go through the whole memory again and again, tens of milliseconds each time.
    text = body.decode()
    short: list[str] = []
    spans: list[tuple[int, int]] = []
    last = 0
    for found in _VALUES.finditer(text):
        short += [text[last : found.start()], f'"values":{len(spans)}']
        spans.append(found.span(1))
        last = found.end()
        yield
    head = _mapping(json.loads("".join([*short, text[last:]])))
    items = [_mapping(item) for item in _mapping(head["data"])["result"]]
    notes = [str(each)[:300] for each in [*(head.get("warnings") or ()), *(head.get("infos") or ())]]
    if head.get("isPartial") is True:
        notes.append("the answer is partial: a part of the storage did not answer")
    labels = [_texts(item.get("metric")) for item in items]
    choice = choose(labels) if choose is not None else Choice(tuple(range(len(items))))
    if choice.note and choice.places:
        notes.append(choice.note)
    series: list[tuple[float, int, Series]] = []
    """The highest first, of equals the first."""
    some = choice.places if rank is not None and len(choice.places) > limit else choice.places[:limit]
    for number, place in enumerate(some):
        start, end = spans[items[place]["values"]] if "values" in items[place] else (0, 0)
        points = _points(text[start:end], step)
        score = _rank(points, rank) if rank is not None and len(some) > limit else 0.0
        insort(series, (-score, number, Series(labels[place], points)))
        del series[limit:]
        yield
    return Answer(
        tuple(each for _, _, each in series), max(0, len(choice.places) - limit), choice.sure or not items, tuple(notes)
    )


def _rank(points: Sequence[tuple[float, float]], rank: Rank) -> float:
    values = [value for _, value in points if not math.isnan(value)]
    return rank(min(values), max(values)) if values else -math.inf


def _points(text: str, step: float) -> tuple[tuple[float, float], ...]:
    """Read `[1435781430.781,"1"],[1435781445.781,"NaN"]`."""
    numbers = map(float, text.translate(_NO_NUMBER).split(",") if text else ())
    points: list[tuple[float, float]] = []
    last = math.inf
    for at, value in zip(numbers, numbers, strict=True):
        if at - last > _GAP * step:
            points.append((last + step, math.nan))
        points.append((at, value if math.isfinite(value) else math.nan))
        last = at
    return tuple(points)


def _at_once(portions: _Portions[T]) -> T:
    while True:
        try:
            next(portions)
        except StopIteration as stop:
            return cast("T", stop.value)


async def _in_portions(portions: _Portions[T]) -> T:
    """Do a long work between what else there is to do. A thread would not help: the JSON reader lets none run."""
    begun = time.perf_counter()
    while True:
        try:
            next(portions)
        except StopIteration as stop:
            return cast("T", stop.value)
        if time.perf_counter() - begun > _PORTION:
            await asyncio.sleep(0)
            begun = time.perf_counter()


def _opened(body: bytes) -> _Portions[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """The groups of the rules, read one by one, and the answer without them."""
    text = body.decode()
    found = _GROUPS.search(text)
    items: list[dict[str, Any]] = []
    if found is None:
        return items, _mapping(json.loads(text))
    decode = json.JSONDecoder().raw_decode
    place = _after_blanks(text, found.end())
    while not text.startswith("]", place):
        item, place = decode(text, place)
        items.append(_mapping(item))
        yield
        place = _after_blanks(text, place)
    return items, _mapping(json.loads(text[: found.end()] + text[place:]))


def _after_blanks(text: str, place: int) -> int:
    match = _BETWEEN.match(text, place)
    return match.end() if match else place


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{str(value)[:50]!r} is no object")
    return value


def _texts(value: Any) -> dict[str, str]:
    return {str(name): str(text) for name, text in _mapping(value or {}).items()}


def _said(body: bytes) -> dict[str, Any]:
    """An error's JSON; empty where it is a page or anything else."""
    try:
        return _mapping(json.loads(body))
    except (TypeError, ValueError):
        return {}


class _Kept(Generic[T]):
    """A value that is got at most once at a time and kept for a while, or its error for a shorter one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._until = -math.inf
        self._value: T | PictureError | None = None

    async def get(self, fetch: Callable[[], Awaitable[T]]) -> T:
        async with self._lock:
            if self._value is None or self._clock() >= self._until:
                try:
                    self._value = await fetch()
                except PictureError as error:
                    self._value = error
                life = _FAILURE_LIFE if isinstance(self._value, PictureError) else RULES_LIFE
                self._until = self._clock() + life
            if isinstance(self._value, PictureError):
                raise self._value
            return self._value
