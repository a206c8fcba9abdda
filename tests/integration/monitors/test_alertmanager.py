"""The client of Alertmanager's API: a real Alertmanager, and one that does what a network does."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from tests.fakes.real_monitors import needs_alertmanager, post_alerts, run_alertmanager
from tests.support import free_port, payload_bytes
from wxbridge.alerts.listing import read_listing
from wxbridge.alerts.notification_log import alert_key
from wxbridge.alerts.sources import alertmanager as webhook
from wxbridge.config.schema import Config
from wxbridge.config.types import WebSource
from wxbridge.core.findings import FindingState
from wxbridge.core.http import ApiError
from wxbridge.core.matchers import Matcher, parse_matchers
from wxbridge.core.model import AlertGroup, AlertStatus
from wxbridge.doctor import CHECKS, examine
from wxbridge.monitors.alertmanager import Alertmanager, GettableSilence
from wxbridge.monitors.grafana_alerts import GrafanaAlerts

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


# ---------------------------------------------------------------- a real one


@needs_alertmanager
async def test_a_real_alertmanager_lists_alerts_and_keeps_and_ends_silences(tmp_path: Path) -> None:
    async with run_alertmanager(tmp_path) as url, Alertmanager(WebSource(url=url)) as client:
        full, slow = {"alertname": "DiskFull", "instance": "db-1"}, {"alertname": "Slow", "instance": "web-1"}
        await post_alerts(url, full, slow)
        found = {each.alert.title: each for each in await read_listing(await client.list_alerts(), "alertmanager")}
        assert found.keys() == {"DiskFull", "Slow"}
        alert = found["DiskFull"].alert
        assert (alert.source, alert.status, alert.labels) == ("alertmanager", AlertStatus.FIRING, full)
        assert alert.annotations == {"summary": "it is full"}
        assert alert.link == "http://p/g"
        assert alert.starts_at is not None
        assert abs(alert.starts_at - datetime.now(UTC)) < HOUR

        some = await client.list_alerts(parse_matchers(['instance=~"db-\\d+"', 'alertname!="Slow"']))
        assert [each.labels["alertname"] for each in some] == ["DiskFull"]
        assert await client.list_alerts(parse_matchers(["instance=nowhere"])) == []

        wanted = parse_matchers(['instance=~"db-\\d+"', 'team!="x\\"y"', 'other!~"a|b"', "alertname=DiskFull"])
        name = await client.add_silence(wanted, NOW - HOUR, NOW + 2 * HOUR, "张三", "moving data")
        [kept] = await client.list_silences()
        assert (kept.id, kept.state, kept.ends_at) == (name, "active", NOW + 2 * HOUR)
        assert set(kept.matchers) == set(map(str, wanted))
        assert (kept.created_by, kept.comment) == ("张三", "moving data")
        assert await client.get_silence(name) == kept
        marks = {each.labels["alertname"]: each.silenced_by for each in await client.list_alerts()}
        assert marks == {"DiskFull": (name,), "Slow": ()}

        later = await client.add_silence(wanted[:1], NOW + HOUR, NOW + 3 * HOUR, "", "")
        assert [(each.id, each.state) for each in await client.list_silences()] == [
            (name, "active"),
            (later, "pending"),
        ]
        assert await client.expire_silence(name)
        assert not await client.expire_silence(name), "it is over"
        assert not await client.expire_silence("00000000-0000-0000-0000-000000000000")
        assert not await client.expire_silence("../alerts")
        assert [each.id for each in await client.list_silences()] == [later]


@needs_alertmanager
async def test_a_real_alertmanager_says_itself_what_it_does_not_take(
    tmp_path: Path, read: Callable[..., Config]
) -> None:
    async with run_alertmanager(tmp_path) as url, Alertmanager(WebSource(url=url)) as client:
        with pytest.raises(ApiError, match="at least one matcher must not match the empty string") as caught:
            await client.add_silence(parse_matchers(['a=~".*"']), NOW, NOW + HOUR, "me", "")
        assert caught.value.status == 400
        with pytest.raises(ApiError, match=r"HTTP 400: .*end time can.t be in the past"):
            await client.add_silence(parse_matchers(["a=b"]), NOW - 2 * HOUR, NOW - HOUR, "me", "")
        with pytest.raises(ApiError, match="error parsing regexp"):
            await client.list_alerts([Matcher("a", "=~", r"\C")])
        async with Alertmanager(WebSource(url=f"{url}/nowhere")) as lost:
            with pytest.raises(ApiError, match=r"there is no /api/v2/alerts .*is alertmanager.url right\?"):
                await lost.list_alerts()
        [finding] = await examine(read(f'alertmanager: {{url: "{url}"}}\n'), None, {"a": CHECKS["alertmanager"]})
        assert (finding.name, finding.state) == ("alertmanager", FindingState.OK)
        assert "version 0." in finding.found
        wrong = read(f'alertmanager: {{url: "{url}/nowhere"}}\n')
        [finding] = await examine(wrong, None, {"a": CHECKS["alertmanager"]})
        assert finding.state is FindingState.BAD


# ---------------------------------------------------------------- one that does as it is told


@dataclass
class Fake:
    """Answers with what stands in `answers`, one after another; the last for ever."""

    url: str = ""
    answers: list[Callable[[web.Request], Awaitable[web.StreamResponse]]] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, the header Authorization."""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path, request.headers.get("Authorization", "")))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    def says(self, *bodies: Any, status: int = 200, **more: Any) -> None:
        def answering(body: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
            async def answer(_request: web.Request) -> web.StreamResponse:
                text = body if isinstance(body, str) else json.dumps(body)
                return web.Response(text=text, status=status, **more)

            return answer

        self.answers += map(answering, bodies)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[Fake]:
    made = Fake()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def test_a_token_and_a_user_with_a_password_are_shown_and_never_told(fake: Fake) -> None:
    fake.says("", status=401)
    for source, shown in (
        (WebSource(url=fake.url, token=SecretStr("hush")), "Bearer hush"),
        (
            WebSource(url=fake.url, user="me", password=SecretStr("hush密")),
            "Basic " + base64.b64encode("me:hush密".encode()).decode(),
        ),
        (WebSource(url=fake.url.replace("//", "//u:hush@")), "Basic " + base64.b64encode(b"u:hush").decode()),
    ):
        async with Alertmanager(source) as client:
            with pytest.raises(ApiError, match="does not let us in") as caught:
                await client.list_alerts()
        assert fake.requests[-1][2] == shown
        assert "hush" not in str(caught.value)


async def test_a_passing_fault_is_asked_again_but_a_silence_is_posted_once(fake: Fake) -> None:
    async with Alertmanager(WebSource(url=fake.url)) as client:
        fake.says("", status=503)
        fake.says([])
        assert await client.list_alerts() == []
        assert len(fake.requests) == 2
        fake.answers.clear()
        fake.says("", status=503)
        with pytest.raises(ApiError, match="HTTP 503"):
            await client.add_silence(parse_matchers(["a=b"]), NOW, NOW + HOUR, "me", "")
        assert [method for method, _, _ in fake.requests].count("POST") == 1


async def test_a_connection_that_breaks_is_opened_again(fake: Fake) -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport
        request.transport.abort()
        return web.Response()

    fake.answers.append(hang_up)
    fake.says([])
    async with Alertmanager(WebSource(url=fake.url)) as client:
        assert await client.list_alerts() == []


async def test_who_does_not_answer_in_time_is_given_up(fake: Fake) -> None:
    async def sleep(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    fake.answers.append(sleep)
    async with Alertmanager(WebSource(url=fake.url), deadline=0.2) as client:
        with pytest.raises(ApiError, match=r"Alertmanager at http://127.* did not answer within 0.2 s"):
            await client.list_alerts()


async def test_nobody_at_the_address_is_told() -> None:
    async with Alertmanager(WebSource(url=f"http://127.0.0.1:{free_port()}")) as client:
        with pytest.raises(ApiError, match=r"cannot be reached: .*") as caught:
            await client.list_silences()
    assert caught.value.passing


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("<html>Login</html>", 200, "something that is no JSON: is alertmanager.url right?"),
        ({"status": "success"}, 200, "something else than its alerts"),
        ("x" * 3000, 200, "more than 2,000 bytes"),
        ("", 302, "redirects to http://elsewhere/login: is alertmanager.url right?"),
        ("not found", 404, "there is no /api/v2/alerts at"),
        ({"message": "down   for\nnow"}, 500, "HTTP 500: down for now"),
        ("<html>long page</html>", 500, "HTTP 500"),
    ],
)
async def test_what_is_no_answer_is_told_in_words(fake: Fake, body: Any, status: int, words: str) -> None:
    fake.says(body, status=status, headers={"Location": "http://elsewhere/login?secret=1"})
    async with Alertmanager(WebSource(url=fake.url), max_bytes=2000) as client:
        with pytest.raises(ApiError) as caught:
            await client.list_alerts()
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "html" not in str(caught.value)


async def test_odd_entries_are_passed_over_and_what_is_missing_is_empty(fake: Fake) -> None:
    fake.says([3, {}, {"labels": {"alertname": "A"}, "status": {"silencedBy": ["x"], "inhibitedBy": ["y"]}}])
    async with Alertmanager(WebSource(url=fake.url)) as client:
        [only] = await read_listing(await client.list_alerts(), "alertmanager")
        assert (only.alert.title, only.silenced_by, only.inhibited) == ("A", ("x",), True)
        fake.answers.clear()
        fake.says([{"id": "a", "matchers": [{"name": "x y", "value": "[[:a", "isRegex": True}, 3]}, None])
        assert await client.list_silences() == [GettableSilence("a", "", ('"x y"=~"[[:a"',), None, None)]
        fake.answers.clear()
        fake.says({})
        with pytest.raises(ApiError, match="something else than its silences"):
            await client.add_silence(parse_matchers(["a=b"]), NOW, NOW + HOUR, "me", "")


async def test_grafana_lists_its_alerts_as_its_webhook_tells_them(fake: Fake) -> None:
    # As Grafana 11 answers; what is private has two underscores.
    fake.says(
        [
            {
                "annotations": {"__value_string__": "[ var='B' labels={} value=97 ]", "summary": "full"},
                "endsAt": "2026-06-05T12:05:00.000Z",
                "fingerprint": "c6eadffa33fcdf37",
                "labels": {"__alert_rule_uid__": "u1", "alertname": "DatasourceNoData", "rulename": "Disk"},
                "startsAt": "2026-06-05T12:00:00.000Z",
                "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
                "generatorURL": "http://g/alerting/grafana/u1/view",
            }
        ]
    )
    async with GrafanaAlerts(WebSource(url=f"{fake.url}/sub")) as client:
        [only] = await read_listing(await client.list_alerts(), "grafana")
    assert fake.requests[0][1] == "/sub/api/alertmanager/grafana/api/v2/alerts"
    assert (only.alert.source, only.alert.status, only.alert.title) == ("grafana", AlertStatus.NO_DATA, "Disk")
    assert only.alert.labels == {"alertname": "DatasourceNoData", "rulename": "Disk"}
    assert [value.number for value in only.alert.values] == [97.0]
    # What lists names no sender; the overview compares without.
    assert alert_key(AlertGroup("grafana", "", ""), replace(only.alert, sender="")) == alert_key(
        AlertGroup("grafana", "k", "t"), webhook_alert("grafana", "c6eadffa33fcdf37")
    )


async def test_grafana_12_lists_figures_with_their_types(fake: Fake) -> None:
    listed = json.loads(payload_bytes("grafana/12.4.0/api-alertmanager-alerts"))
    fake.says(listed if isinstance(listed, list) else listed["body"])
    async with GrafanaAlerts(WebSource(url=fake.url)) as client:
        found = {each.alert.title: each.alert for each in await read_listing(await client.list_alerts(), "grafana")}
    assert [value.name for value in found["Math NaN Inf"].values] == ["A", "M", "N"]
    assert [value.name for value in found["Panel of testdata"].values] == ["B"]
    assert found["No data rule"].status is AlertStatus.NO_DATA
    assert found["Error rule"].state == "Error"


def webhook_alert(source: str, fingerprint: str) -> Any:
    data = {"alerts": [{"labels": {"alertname": "A"}, "fingerprint": fingerprint, "status": "firing"}]}
    return webhook.read_group(data, source, "", lambda _fields, _item: None).alerts[0]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with a certificate that vouches for itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("needs openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", "key.pem", "-out", "ca.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    return tmp_path


async def test_a_private_authority_is_trusted_where_it_is_named_and_only_there(authority: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority / "ca.pem", authority / "key.pem")
    made = Fake()
    made.says([])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        async with Alertmanager(WebSource(url=url, ca=authority / "ca.pem")) as client:
            assert await client.list_alerts() == []
        async with Alertmanager(WebSource(url=url)) as client:
            with pytest.raises(ApiError, match=r"is not trusted: name the authority that signed it as alertmanager.ca"):
                await client.list_alerts()
        async with Alertmanager(WebSource(url=url, ca=authority / "nowhere.pem")) as client:
            with pytest.raises(ApiError, match=r"cannot read alertmanager.ca, .*nowhere.pem: No such file"):
                await client.list_alerts()
        async with Alertmanager(WebSource(url=url, ca=authority / "key.pem")) as client:
            with pytest.raises(ApiError, match=r"cannot read alertmanager.ca, .*key.pem"):
                await client.list_alerts()
    finally:
        await runner.cleanup()


async def test_it_can_be_closed_twice_and_used_again(fake: Fake) -> None:
    fake.says([])
    client = Alertmanager(WebSource(url=fake.url))
    await client.close()
    assert await client.list_alerts() == []
    await client.close()
    await client.close()
