"""What `wxbridge doctor` looks at in a monitoring server: is it well, does it let us in, does it speak our API."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Self

from wxbridge.config.types import WebSource
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.http import ApiClient, ApiError, ApiErrorTexts

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer of a monitoring server: its rules may be many."""
ANSWER_LIMIT_SECONDS = 5.0
_WITHOUT_PAGE = (404, 405)
"""What others that speak PromQL, and Mimir's Alertmanager, answer for `/-/ready`: they have no such page."""


@dataclass(frozen=True)
class ProbeAnswer:
    """What a server answered; its parsed body, or what was wrong."""

    status: int = 0
    body: Any = None
    problem: Finding | None = None


_FOUND_AND_ADVICE = ApiErrorTexts(
    too_late="no answer within {limit:g} seconds\nstart it, or correct `{section}.url`",
    unreachable="cannot be reached: {reason}\nstart it, or correct `{section}.url`",
    untrusted="its certificate: {reason}\nname the authority that signed it as `{section}.ca`",
    unreadable_ca="its `ca` {ca} cannot be read: {reason}\ncorrect `{section}.ca`",
    too_large="it answers with more than {max_bytes:,} bytes\ncorrect `{section}.url`",
)
"""What went wrong, and in the next line what to do."""


class MonitorProbe:
    """Asks a monitoring server, as it is configured, and tells what is wrong as a finding."""

    def __init__(self, name: str, source: WebSource) -> None:
        self._name, self._source = name, source
        address = source.address(name, name)
        self._client = ApiClient(address, max_bytes=MAX_ANSWER_BYTES, texts=_FOUND_AND_ADVICE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def ok(self, found: str) -> Finding:
        """Make a finding of a server that is well, with how it was entered."""
        how = "with its token" if self._source.token else "with user and password" if self._source.user else "freely"
        return Finding(self._name, FindingState.OK, f"{self._source.shown}: {found}, entered {how}")

    def bad(self, found: str, advice: str) -> Finding:
        """Make a finding of what is wrong, and what to do."""
        return Finding(self._name, FindingState.BAD, f"{self._source.shown}: {found}", advice)

    async def get(self, path: str, *, is_json: bool = True) -> ProbeAnswer:
        """Ask for something; what is wrong is a finding, in words that hold no secret."""
        try:
            async with self._client.within(ANSWER_LIMIT_SECONDS, path):
                answer = await self._client.ask("GET", path)
        except ApiError as error:
            found, _, advice = str(error).partition("\n")
            return ProbeAnswer(problem=self.bad(found, advice))
        problem = self._judged(answer.status)
        if problem is not None or not is_json or not answer.body.strip():
            return ProbeAnswer(answer.status, problem=problem)
        try:
            return ProbeAnswer(answer.status, json.loads(answer.body))
        except ValueError:
            return ProbeAnswer(problem=self.bad("the answer is no JSON", f"correct `{self._name}.url`"))

    async def get_once_ready(self, path: str) -> ProbeAnswer:
        """Ask for something where the server says that it is ready, or has no page that would; else why it is not."""
        ready = await self.get("/-/ready", is_json=False)
        return ready if ready.problem and ready.status not in _WITHOUT_PAGE else await self.get(path)

    def _judged(self, status: int) -> Finding | None:
        name, source = self._name, self._source
        if status in (401, 403):
            if source.token:
                return self.bad(f"it does not take the token ({status})", f"renew `{name}.token`")
            if source.user:
                return self.bad(f"it does not let {source.user} in ({status})", f"correct `{name}.user` and `password`")
            return self.bad(f"it asks who is there ({status})", f"give `{name}.token`, or `user` and `password`")
        if 300 <= status < 400:  # noqa: PLR2004 - HTTP
            return self.bad("it redirects", f"write its real address as `{name}.url`, or give credentials")
        if status >= 400:  # noqa: PLR2004 - HTTP
            return self.bad(f"it answers {status}", f"see its log, or correct `{name}.url`")
        return None


async def check_grafana(source: WebSource | None) -> list[Finding]:
    """Check that Grafana is well, and lets us in."""
    if source is None:
        return []
    async with MonitorProbe("grafana", source) as site:
        health = await site.get("/api/health")
        about = health.body if isinstance(health.body, dict) else {}
        if health.problem:
            return [health.problem]
        if about.get("database") != "ok":
            sick = site.bad(f"its database is {about.get('database')}", "see Grafana's log")
            return [sick if "database" in about else site.bad("this is no Grafana", "correct `grafana.url`")]
        if source.token or source.user:
            # Where anonymous access is on, this alone tells a wrong token from none. An old API key is no user: 404.
            known = await site.get("/api/user")
            if known.status == 401 and known.problem:  # noqa: PLR2004 - HTTP
                return [known.problem]
        entered = await site.get("/api/search?type=dash-db&limit=1")
        well = site.ok(f"version {about.get('version', 'unknown')}")
        if entered.problem is None and entered.body == []:
            advice = "give the service account or user the role Viewer, or let it see the folders"
            return [replace(well, state=FindingState.WARN, found=f"{well.found}, but sees no dashboard", advice=advice)]
        return [entered.problem or well]


async def check_prometheus(source: WebSource | None) -> list[Finding]:
    """Check that Prometheus is ready, lets us in, and answers a query."""
    if source is None:
        return []
    async with MonitorProbe("prometheus", source) as site:
        answer = await site.get_once_ready("/api/v1/query?query=1")
        if answer.problem:
            return [answer.problem]
        if not isinstance(answer.body, dict) or answer.body.get("status") != "success":
            return [site.bad("this is no Prometheus", "correct `prometheus.url`")]
        build = await site.get("/api/v1/status/buildinfo")
        data = build.body.get("data") if isinstance(build.body, dict) else None
        version = data.get("version") if isinstance(data, dict) else None
        return [site.ok(f"version {version or 'unknown'}, {await _describe_rules(site)}")]


async def _describe_rules(site: MonitorProbe) -> str:
    """Describe how many alerting rules a Prometheus has, whose charts follow their alerts."""
    answer = await site.get("/api/v1/rules?type=alert")
    try:
        groups = answer.body["data"]["groups"]
        count = sum(rule.get("type") == "alerting" for group in groups for rule in group["rules"])
    except (AttributeError, LookupError, TypeError):
        count = 0
    return f"{count} alerting rules" if count else "no alerting rules: charts come from what alerts link to"


async def check_alertmanager(source: WebSource | None) -> list[Finding]:
    """Check that Alertmanager is ready, lets us in, and speaks the API that alerts and silences are asked by."""
    if source is None:
        return []
    async with MonitorProbe("alertmanager", source) as site:
        answer = await site.get_once_ready("/api/v2/status")
        if answer.problem:
            return [answer.problem]
        build = answer.body.get("versionInfo") if isinstance(answer.body, dict) else None
        if not isinstance(build, dict):
            return [site.bad("this is no Alertmanager", "correct `alertmanager.url`")]
        return [site.ok(f"version {build.get('version', 'unknown')}")]
