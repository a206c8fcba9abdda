"""Looks at everything that the bridge needs from outside: is it there, does it let us in, and what to do if not.

A check is one function in `CHECKS`: `async (config, database) -> list[Finding]`. It changes nothing, sends nothing,
and does not call the heartbeat. `examine` runs all at once, each within its deadline.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiohttp

from wxbridge.alerts.templates import DEFAULT, TemplateError, Templates
from wxbridge.channels import ChannelCheck, ChannelContext, CheckContext
from wxbridge.config.routes import NestedRoute
from wxbridge.config.schema import Config
from wxbridge.config.types import WebSource
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import Offline, PictureError, SendError, StorageError, Throttled, Transient, Unknown
from wxbridge.core.findings import Finding, FindingState
from wxbridge.core.http import ApiClient, ApiError, ApiErrorTexts
from wxbridge.core.schema import read_facts
from wxbridge.registry import CHANNELS

DEADLINE = 10.0
"""Seconds that a check may take."""
BROWSER_DEADLINE = 40.0
"""Seconds that a browser may take to start, on a small machine that has not done it before."""
PROBE_DEADLINE = 8.0
"""Seconds that a channel's service may take to tell whether it lets a target in; less than `DEADLINE`."""
_MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Of one answer of a monitoring server: its rules may be many."""
_CONNECT = 5.0
_ENOUGH_ROOM = 200 * 1024 * 1024
"""Bytes that should be free for database and pictures."""

Check = Callable[[Config, Database | None], Awaitable[list[Finding]]]
"""`database` is None where no bridge has ever run on the state directory."""


async def examine(
    config: Config, database: Database | None, checks: Mapping[str, Check] | None = None
) -> list[Finding]:
    """Run all checks at once; their findings in the order of the table. It raises nothing."""
    chosen = CHECKS if checks is None else checks
    found = await asyncio.gather(*(_one(name, check, config, database) for name, check in chosen.items()))
    return [finding for findings in found for finding in findings]


async def _one(name: str, check: Check, config: Config, database: Database | None) -> list[Finding]:
    limit = BROWSER_DEADLINE if check is browser else DEADLINE
    try:
        async with asyncio.timeout(limit):
            return await check(config, database)
    except TimeoutError:
        return [Finding(name, FindingState.BAD, f"no answer within {limit:g} seconds")]
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        return [Finding(name, FindingState.BAD, f"it could not be looked at: {type(error).__name__}: {error}")]


# ---------------------------------------------------------------- this machine


async def state_dir(config: Config, _database: Database | None) -> list[Finding]:
    """Whether the state directory can be written to, and has room."""
    folder = config.state_dir
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    user = f"let the user {os.getuid()} write there, or set `state_dir`"
    if not there.is_dir():
        return [Finding("state_dir", FindingState.BAD, f"{there} is no folder", user)]
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder) as file:
                file.write(b"x")
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        return [Finding("state_dir", FindingState.BAD, f"{there} cannot be written to: {error.strerror}", user)]
    free = shutil.disk_usage(there).free
    found = f"{folder}{'' if there == folder else ' (will be made)'}, {free // 2**20} MB free"
    if free < _ENOUGH_ROOM:
        return [Finding("state_dir", FindingState.WARN, found, "make room: on a full disk no alert is taken")]
    return [Finding("state_dir", FindingState.OK, found)]


async def bridge(config: Config, database: Database | None) -> list[Finding]:
    """Whether the bridge answers; where it does not run, whether it could listen."""
    about = await _fact(database, "bridge")
    if about:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_CONNECT)) as session,
                session.get(f"{about.get('url')}/readyz") as answer,
            ):
                if answer.status == 200:  # noqa: PLR2004 - HTTP
                    return [Finding("bridge", FindingState.OK, f"runs at {about.get('url')}")]
                return [Finding("bridge", FindingState.BAD, f"{about.get('url')} takes no alerts", "see its log")]
    server = config.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((server.host, server.port))
    except OSError as error:
        found = f"it does not run, and cannot listen on {server.listen}: {error.strerror or error}"
        return [Finding("bridge", FindingState.BAD, found, "free the port, or set `server.listen` to another")]
    return [Finding("bridge", FindingState.WARN, "it does not run", "start it with `wxbridge run`")]


async def browser(config: Config, _database: Database | None) -> list[Finding]:
    """Whether there is a browser for screenshots, and whether it starts and draws."""
    from wxbridge.pictures.pages.browser import Browser, find_browser
    from wxbridge.pictures.pages.shot import Shot

    wanted = config.grafana is not None or any(job.kind == "screenshot" for job in config.jobs)
    missing = FindingState.BAD if wanted else FindingState.WARN
    path = find_browser(config.pictures.browser)
    advice = "install one (Debian: apt install chromium-headless-shell), or set `pictures.browser`"
    if path is None:
        return [Finding("browser", missing, "no Chromium, Chrome or Edge was found", advice)]
    server = await asyncio.start_server(_page, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        started = time.monotonic()
        async with Browser(path) as made:
            await made.shoot(Shot(f"http://127.0.0.1:{port}/", width=200, height=100, deadline=BROWSER_DEADLINE - 5))
        seconds = time.monotonic() - started
    except PictureError as error:
        return [Finding("browser", missing, f"{path} does not work: {error}", advice)]
    finally:
        server.close()
    return [Finding("browser", FindingState.OK, f"{path}: started, and drew a page in {seconds:.1f} s")]


async def _page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whatever is asked with a page that is not blank."""
    body = "<!doctype html><meta charset=utf-8><title>t</title><h1>wxbridge 监控</h1>".encode()
    with suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
    writer.close()


async def font(_config: Config, _database: Database | None) -> list[Finding]:
    """Whether Chinese text in pictures is more than empty boxes."""
    from wxbridge.pictures.pages.fonts import find_chinese_font

    found = await asyncio.to_thread(find_chinese_font)
    if found is None:
        advice = "install one (Debian: apt install fonts-noto-cjk or fonts-wqy-microhei)"
        return [
            Finding(
                "font", FindingState.WARN, "no font has Chinese letters: in pictures they become empty boxes", advice
            )
        ]
    return [Finding("font", FindingState.OK, found.family)]


# ---------------------------------------------------------------- channels


async def channels(config: Config, database: Database | None) -> list[Finding]:
    """Whether robots, applications and other services let each target in. Nobody sees anything of it."""
    wanted = [name for name, target in config.targets.items() if CHANNELS[target.channel].has_probe]
    if not wanted:
        return []
    async with AsyncExitStack() as stack:
        if database is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            database = stack.enter_context(closing(Database.open(sqlite_url(Path(folder)))))
        return await asyncio.gather(*(_probe(config, database, name) for name in wanted))


async def _probe(config: Config, database: Database, name: str) -> Finding:
    target = config.targets[name]
    plugin = CHANNELS[target.channel]
    section = config.section(plugin.section) if plugin.section else plugin.settings()

    async def tell(_line: str) -> None: ...

    context = ChannelContext(section, config.state_dir, database, {name: target}, tell, target.lane())
    channel: Any = plugin.create(context)
    what, advice = f"target {name}", f"correct `targets.{name}`, and see what the service says"
    try:
        async with asyncio.timeout(PROBE_DEADLINE):
            return Finding(what, FindingState.OK, await channel.probe(target.address()))
    except TimeoutError:
        return Finding(
            what, FindingState.BAD, f"no answer within {PROBE_DEADLINE:g} seconds", "is the service reached here?"
        )
    except Throttled as error:
        return Finding(what, FindingState.WARN, str(error), "it is let in, but was sent too much; wait")
    except (Offline, Transient, Unknown) as error:
        return Finding(what, FindingState.BAD, str(error), "is the service reached from this host?")
    except SendError as error:
        return Finding(what, FindingState.BAD, str(error), advice)
    finally:
        if hasattr(channel, "close"):
            await channel.close()


def _channel_checks() -> dict[str, Check]:
    """The checks of all channels; targets that can be probed are, in place of the first channel that has such."""
    found: dict[str, Check] = {}
    for name, plugin in CHANNELS.items():
        if plugin.has_probe:
            found.setdefault("channels", channels)
        found |= {each: partial(_check_channel, name, check) for each, check in plugin.checks.items()}
    return found


async def _check_channel(channel: str, check: ChannelCheck, config: Config, database: Database | None) -> list[Finding]:
    section = CHANNELS[channel].section
    targets = {name: target for name, target in config.targets.items() if target.channel == channel}
    return await check(CheckContext(config.section(section) if section else None, targets, database))


# ---------------------------------------------------------------- Grafana, Prometheus


async def grafana(config: Config, _database: Database | None) -> list[Finding]:
    """Whether Grafana is well, and lets us in."""
    source = config.grafana
    if source is None:
        return []
    async with _MonitorProbe("grafana", source) as site:
        health = await site.get("/api/health")
        if health.problem:
            return [health.problem]
        if not isinstance(health.body, dict) or "database" not in health.body:
            return [site.bad("this is no Grafana", "correct `grafana.url`")]
        if health.body["database"] != "ok":
            return [site.bad(f"its database is {health.body['database']}", "see Grafana's log")]
        # Anybody who is let in may search; nobody else may, unless anonymous access is on.
        entered = await site.get("/api/search?limit=1")
        return [entered.problem or site.ok(f"version {health.body.get('version', 'unknown')}")]


async def painter(config: Config, _database: Database | None) -> list[Finding]:
    """Whether the dashboard that draws alerts' charts is there, and may be saved. Where not, the bridge draws them."""
    from wxbridge.pictures.scratch_panel import refused, unusable

    settings = config.pictures.alerts.painter
    if settings is None:
        return []
    uid = settings.dashboard
    missing = "grafana" if config.grafana is None else "prometheus" if config.prometheus is None else ""
    problem: tuple[str, str] | None = (f"there is no `{missing}: url:`", "give it, or drop pictures.alerts.painter")
    if config.grafana is not None and not missing:
        async with _MonitorProbe("grafana", config.grafana) as site:
            answer = await site.get(f"/api/dashboards/uid/{uid}")
        problem = refused(answer.status, uid)
        if problem is None and answer.problem is not None:
            problem = answer.problem.found, answer.problem.advice
        problem = problem or unusable(answer.body, settings.panel)
    if problem is None:
        return [
            Finding("painter", FindingState.OK, f"panel {settings.panel} of Grafana's dashboard {uid} may be saved")
        ]
    return [Finding("painter", FindingState.WARN, problem[0], f"{problem[1]}; until then the bridge draws the charts")]


async def prometheus(config: Config, _database: Database | None) -> list[Finding]:
    """Whether Prometheus is ready, lets us in, and answers a query."""
    source = config.prometheus
    if source is None:
        return []
    async with _MonitorProbe("prometheus", source) as site:
        ready = await site.get("/-/ready", is_json=False)
        if ready.problem and ready.status not in (404, 405):  # others that speak PromQL have no such page
            return [ready.problem]
        answer = await site.get("/api/v1/query?query=1")
        if answer.problem:
            return [answer.problem]
        if not isinstance(answer.body, dict) or answer.body.get("status") != "success":
            return [site.bad("this is no Prometheus", "correct `prometheus.url`")]
        build = await site.get("/api/v1/status/buildinfo")
        data = build.body.get("data") if isinstance(build.body, dict) else None
        version = data.get("version") if isinstance(data, dict) else None
        return [site.ok(f"version {version or 'unknown'}, {await _rules(site)}")]


async def _rules(site: _MonitorProbe) -> str:
    """How many alerting rules a Prometheus knows, whose charts follow their alerts."""
    answer = await site.get("/api/v1/rules?type=alert")
    try:
        groups = answer.body["data"]["groups"]
        count = sum(rule.get("type") == "alerting" for group in groups for rule in group["rules"])
    except (AttributeError, LookupError, TypeError):
        count = 0
    return f"{count} alerting rules" if count else "no alerting rules: charts come from what alerts link to"


async def alertmanager(config: Config, _database: Database | None) -> list[Finding]:
    """Whether Alertmanager is ready, lets us in, and speaks the API that alerts and silences are asked by."""
    source = config.alertmanager
    if source is None:
        return []
    async with _MonitorProbe("alertmanager", source) as site:
        ready = await site.get("/-/ready", is_json=False)
        if ready.problem and ready.status not in (404, 405):  # Mimir's has no such page
            return [ready.problem]
        answer = await site.get("/api/v2/status")
        if answer.problem:
            return [answer.problem]
        build = answer.body.get("versionInfo") if isinstance(answer.body, dict) else None
        if not isinstance(build, dict):
            return [site.bad("this is no Alertmanager", "correct `alertmanager.url`")]
        return [site.ok(f"version {build.get('version', 'unknown')}")]


@dataclass(frozen=True)
class _Answer:
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


class _MonitorProbe:
    """Asks a monitoring server, as it is configured, and tells what is wrong as a finding."""

    def __init__(self, name: str, source: WebSource) -> None:
        self._name, self._source = name, source
        address = source.address(name, name)
        self._client = ApiClient(address, max_bytes=_MAX_ANSWER_BYTES, texts=_FOUND_AND_ADVICE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def ok(self, found: str) -> Finding:
        how = "with its token" if self._source.token else "with user and password" if self._source.user else "freely"
        return Finding(self._name, FindingState.OK, f"{self._source.shown}: {found}, entered {how}")

    def bad(self, found: str, advice: str) -> Finding:
        return Finding(self._name, FindingState.BAD, f"{self._source.shown}: {found}", advice)

    async def get(self, path: str, *, is_json: bool = True) -> _Answer:
        """Ask for something; what is wrong is a finding, in words that hold no secret."""
        try:
            async with self._client.within(_CONNECT, path):
                answer = await self._client.ask("GET", path)
        except ApiError as error:
            found, _, advice = str(error).partition("\n")
            return _Answer(problem=self.bad(found, advice))
        problem = self._judged(answer.status)
        if problem is not None or not is_json or not answer.body.strip():
            return _Answer(answer.status, problem=problem)
        try:
            return _Answer(answer.status, json.loads(answer.body))
        except ValueError:
            return _Answer(problem=self.bad("the answer is no JSON", f"correct `{self._name}.url`"))

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


async def _fact(database: Database | None, key: str) -> dict[str, Any]:
    if database is None:
        return {}
    try:
        facts = await database.read(lambda c: read_facts(c, key))
    except StorageError:
        return {}
    value = facts.get("", ({}, 0.0))[0]
    return value if isinstance(value, dict) else {}


# ---------------------------------------------------------------- templates


async def templates(config: Config, _database: Database | None) -> list[Finding]:
    """Whether the templates that targets and routes name are there and can be read."""
    folder = Templates(config.templates, config.language, config.timezone)
    names = {target.template for target in config.targets.values()} | {*_templates_of(config.routes)}
    if folder.find(DEFAULT):
        names.add(DEFAULT)
    findings = []
    for name in sorted(name for name in names if name):
        try:
            folder.check(name)
        except TemplateError as error:
            advice = f"until then the built-in text is sent; try `wxbridge template render {name}`"
            findings.append(Finding(f"template {name}", FindingState.WARN, str(error), advice))
        else:
            findings.append(
                Finding(f"template {name}", FindingState.OK, str(config.templates / (folder.find(name) or name)))
            )
    return findings


def _templates_of(routes: Sequence[NestedRoute]) -> Iterator[str | None]:
    for route in routes:
        yield route.template
        yield from _templates_of(route.routes)


CHECKS: dict[str, Check] = {
    "state_dir": state_dir,
    "bridge": bridge,
    **_channel_checks(),
    "grafana": grafana,
    "painter": painter,
    "prometheus": prometheus,
    "alertmanager": alertmanager,
    "browser": browser,
    "font": font,
    "templates": templates,
}
"""Every check, by the name that stands in for its findings where it fails itself."""


def worst(findings: Sequence[Finding]) -> FindingState:
    """The worst state among findings; ok where there are none."""
    order = (FindingState.BAD, FindingState.WARN, FindingState.OK)
    return min((finding.state for finding in findings), key=order.index, default=FindingState.OK)


def database_file(folder: Path) -> Path:
    """Where a bridge keeps its database; it need not exist."""
    # `database.sqlite_url` would make the folder.
    return folder / "wxbridge.db"
