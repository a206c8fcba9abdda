"""No secret of any kind reaches a log, an error, a metric, a page or what a command prints."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from tests.e2e.bridge_harness import BridgeHarness, BridgeProcess, Launcher
from tests.support import payload_bytes
from wxbridge import registry
from wxbridge.config.schema import load
from wxbridge.config.types import Section
from wxbridge.core.errors import ConfigError
from wxbridge.simulator import Simulator

NAMES = (
    "server_token", "grafana_hook_token", "grafana_hmac", "alertmanager_hook_token", "falcon_hook_token",
    "generic_hook_token", "gateway_token", "grafana_token", "prometheus_password", "heartbeat_path", "robot_key",
    "job_password", "read_token", "alertmanager_password", "host_hook_token",
)  # fmt: skip
SECRETS = {name: f"s3cr3t-{hashlib.sha256(name.encode()).hexdigest()[:20]}" for name in NAMES}
WRONG = "wr0ng-0123456789abcdef"
"""What somebody shows who does not know: it may be another service's secret."""


def hidden_in(text: str) -> list[str]:
    """The names of the secrets that a text gives away."""
    return [name for name, value in (SECRETS | {"wrong_token": WRONG}).items() if value in text]


def configuration(directory: Path, gateway: str, grafana: str) -> Path:
    """A jobs.yaml with every kind of secret, three of them in the environment or in a file."""
    (directory / "grafana.token").write_text(SECRETS["grafana_token"] + "\n", encoding="utf-8")
    path = directory / "jobs.yaml"
    path.write_text(
        f"""\
server: {{listen: "127.0.0.1:0", token: "{SECRETS["server_token"]}", read_token: "{SECRETS["read_token"]}"}}
wechat: {{endpoint: "{gateway}", token: "${{GATEWAY_TOKEN}}", master: 主人, pace: none}}
grafana: {{url: "http://{grafana}", token_file: grafana.token}}
prometheus: {{url: "http://{grafana}/prometheus", user: reader, password: "{SECRETS["prometheus_password"]}"}}
alertmanager: {{url: "http://{grafana}/alertmanager", user: reader, password: "{SECRETS["alertmanager_password"]}"}}
pictures: {{allow: [127.0.0.1]}}
host: {{name: web-1, cpu: null, memory: null, disk: null}}
watch: {{heartbeat: "http://{grafana}/ping/{SECRETS["heartbeat_path"]}", every: 1s}}
hooks:
  grafana: {{token: "{SECRETS["grafana_hook_token"]}", hmac_secret: "{SECRETS["grafana_hmac"]}"}}
  alertmanager: {{token: "{SECRETS["alertmanager_hook_token"]}"}}
  openfalcon: {{token: "{SECRETS["falcon_hook_token"]}"}}
  generic: {{token: "{SECRETS["generic_hook_token"]}"}}
  host: {{token: "{SECRETS["host_hook_token"]}"}}
targets:
  ops: {{channel: wechat, room: 技术讨论群}}
  robot: {{channel: wecom_robot, key: "{SECRETS["robot_key"]}", base_url: "http://{grafana}/wecom"}}
routes:
  - {{match: {{severity: robot}}, to: [robot]}}
  - {{to: [ops]}}
jobs:
  - {{id: pic, kind: picture, url: "http://user:{SECRETS["job_password"]}@{grafana}/gone.png", every: 30d, to: ops}}
""",
        encoding="utf-8",
    )
    return path


# ---------------------------------------------------------------- what is wrong in the file


BROKEN = {
    "a scalar for a section": 'prometheus: "{s}"',
    "a list for a secret": 'server: {{token: ["{s}"]}}',
    "a mapping for a secret": 'server: {{token: {{value: "{s}"}}}}',
    "a misspelt key": 'server: {{tokn: "{s}"}}',
    "a secret where a section is expected": 'server: "{s}"',
    "a hook that is a scalar": 'hooks: {{grafana: "{s}"}}',
    "a misspelt hook": 'hooks: {{grafanaa: {{token: "{s}"}}}}',
    "a password without a user": 'prometheus: {{url: "http://p", password: "{s}"}}',
    "two ways in": 'grafana: {{url: "http://g", token: "{s}", user: u, password: "{s}"}}',
    "a password in a wrong address": 'grafana: {{url: "ftp://user:{s}@g"}}',
    "a password with a slash in a wrong address": 'grafana: {{url: "ftp://user:x/{s}@g"}}',
    "a query in a wrong address": 'grafana: {{url: "//g/?token={s}"}}',
    "Alertmanager's password without a user": 'alertmanager: {{url: "http://a", password: "{s}"}}',
    "Alertmanager's password in a wrong address": 'alertmanager: {{url: "ftp://user:{s}@a"}}',
    "a token for reading that is a list": 'server: {{token: x, read_token: ["{s}"]}}',
    "a heartbeat that is no address": 'watch: {{heartbeat: "{s}"}}',
    "a heartbeat that is a list": 'watch: {{heartbeat: ["{s}"]}}',
    "a gateway with a token in it": 'wechat: {{endpoint: "token:{s}@host", token: x}}',
    "a gateway's token that is a list": 'wechat: {{endpoint: "h:1", token: ["{s}"]}}',
    "a robot's key that is a list": "targets: {{r: {{channel: wecom_robot, key: ['{s}']}}}}",
    "a robot's address without a key": "targets: {{r: {{channel: wecom_robot, key: 'https://q.example.com/{s}'}}}}",
    "a token and a file of it": 'server: {{token: "{s}", token_file: nowhere}}',
    "an unended quote": 'server: {{token: "{s}}}',
    "a tab": 'server:\n\ttoken: "{s}"',
    "a duplicate key": 'server: {{token: "{s}", token: "{s}"}}',
    "a key without a colon": 'server:\n  token "{s}"\n  listen: x',
    "a job's password": "jobs: [{{id: a, kind: picture, url: 'gopher://user:{s}@h/x', cron: '* * *', to: [ops]}}]",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_wrong_file_is_explained_without_what_is_secret_in_it(config_file: Callable[[str], Path], text: str) -> None:
    path = config_file(text.format(s=SECRETS["server_token"]) + "\n")
    with pytest.raises(ConfigError) as caught:
        load(path, registry.plugin_settings(), {})
    assert str(caught.value)
    assert hidden_in(str(caught.value)) == []


def test_what_is_called_like_a_secret_is_one() -> None:
    """So that it is shown as stars: every key that is called token, secret, password or key."""

    def models(model: type[Section], found: set[type[Section]]) -> set[type[Section]]:
        found.add(model)
        for info in model.model_fields.values():
            for part in _types(info.annotation):
                if issubclass(part, Section) and part not in found:
                    models(part, found)
        return found

    named = {
        (model.__name__, name): info.annotation
        for model in models(registry.plugin_settings().model, set())
        for name, info in model.model_fields.items()
        if name in ("key", "keys", "heartbeat") or any(word in name for word in ("token", "secret", "password"))
    }
    assert len(named) > 8
    # A section has keys of its own, which are looked at too.
    plain = {where: [*_types(annotation)] for where, annotation in named.items()}
    assert [
        where for where, types in plain.items()
        if SecretStr not in types and not any(issubclass(each, Section) for each in types)
    ] == []  # fmt: skip


def _types(annotation: object) -> Iterable[type]:
    inner = getattr(annotation, "__args__", ())
    if isinstance(annotation, type) and not inner:
        yield annotation
    for part in inner:
        yield from _types(part)


# ---------------------------------------------------------------- a bridge in trouble


@asynccontextmanager
async def unfriendly() -> AsyncIterator[str]:
    """A Grafana, Prometheus, WeCom and dead man's switch that let nobody in; gives host:port."""

    async def refuse(request: web.Request) -> web.Response:
        await request.read()
        if "ping" in request.path:
            return web.Response(status=302, headers={"Location": f"http://127.0.0.1:9{request.path}"})
        return web.json_response({"message": "Unauthorized"}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def command(harness: BridgeHarness, path: Path, *words: str) -> str:
    """All that a command prints."""
    _, out, err = await harness.command(*words, config=path)
    return out + err


async def requests(bridge: BridgeProcess, grafana: str) -> dict[str, str]:
    """Everything that can be asked of a bridge, right and wrong; headers and bodies of the answers by request."""
    right = {"Authorization": f"Bearer {SECRETS['server_token']}"}
    wrong = {"Authorization": f"Bearer {WRONG}"}
    body = payload_bytes("grafana/unified_firing_v12")
    signature = hmac.new(SECRETS["grafana_hmac"].encode(), body, hashlib.sha256).hexdigest()
    alert = json.dumps({"title": "picture", "state": "alerting", "imageUrl": f"http://{grafana}/render?x=1"})
    robot = json.dumps({"title": "robot", "severity": "robot"}).encode()
    token = SECRETS["server_token"]
    asked: list[tuple[str, str, dict[str, str], bytes | None]] = [
        *(("GET", path, headers, None) for headers in (right, wrong, {}) for path in (
            "/", "/metrics", "/readyz", "/readyz?channels=all", "/healthz", "/login", "/api/openapi.json",
            "/api/silences", "/api/alerts", "/nowhere", "/api/nowhere",
        )),
        ("GET", f"/metrics?token={token}", {}, None),
        *(("GET", f"{path}?token={SECRETS['read_token']}", {}, None) for path in (
            "/metrics", "/", "/api/silences", "/nowhere", "/readyz",
        )),
        ("POST", f"/api/send?token={SECRETS['read_token']}", {}, b"{}"),
        ("POST", f"/hooks/host?token={SECRETS['host_hook_token']}", {}, b'{"samples": 3}'),
        ("POST", f"/hooks/host?token={SECRETS['read_token']}", {}, b'{"samples": []}'),
        ("GET", f"/nowhere?token={token}", {}, None),
        ("PUT", f"/api/send?token={token}", {}, b"{"),
        ("POST", f"/hooks/nope?token={token}", {}, b"{}"),
        ("POST", f"/hooks/grafana?token={WRONG}", {}, b"{}"),
        ("POST", f"/hooks/grafana?token={token}&to=nobody", {}, b"{"),
        ("POST", f"/hooks/openfalcon?token={SECRETS['falcon_hook_token']}", {}, b"tos=a&content=b"),
        ("POST", f"/hooks/alertmanager?token={SECRETS['alertmanager_hook_token']}", {}, b"[" * 200),
        ("POST", f"/hooks/generic?token={SECRETS['generic_hook_token']}", {}, robot),
        ("POST", f"/hooks/generic/{token}", right, b"{}"),
        ("POST", "/hooks/grafana", {"X-Grafana-Alerting-Signature": signature}, body),
        ("POST", "/hooks/grafana", {"X-Grafana-Alerting-Signature": signature}, body + b" "),
        ("POST", "/hooks/grafana", {"X-Grafana-Alerting-Signature": SECRETS["grafana_hmac"]}, body),
        ("POST", "/hooks/grafana", {"Authorization": f"Bearer {SECRETS['grafana_hook_token']}"}, alert.encode()),
        ("POST", "/api/send", right, json.dumps({"to": ["ops"], "text": "x", "image": "!"}).encode()),
        ("POST", "/api/send", right, b'{"to": 3}'),
        ("POST", "/api/silences", right, b'{"matchers": ["a"]}'),
        ("DELETE", f"/api/silences/{token}", wrong, None),
    ]  # fmt: skip
    answers = {}
    async with aiohttp.ClientSession() as session:
        for number, (method, path, headers, data) in enumerate(asked):
            async with session.request(method, bridge.url + path, headers=headers, data=data) as answer:
                said = f"{answer.status} {dict(answer.headers)}\n{(await answer.read()).decode(errors='replace')}"
                answers[f"{number} {method} {path.partition('?')[0]} {answer.status}"] = said
    return answers


async def test_nothing_gives_a_secret_away_whatever_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: Launcher
) -> None:
    monkeypatch.setenv("GATEWAY_TOKEN", SECRETS["gateway_token"])
    monkeypatch.setitem(os.environ, "NO_COLOR", "1")
    said: dict[str, str] = {}
    async with unfriendly() as grafana, Simulator(auto_scan=True, token="another token") as simulator:
        path = configuration(tmp_path, simulator.endpoint, grafana)
        harness = BridgeHarness(simulator, tmp_path, launcher=launcher)
        bridge = BridgeProcess(path, launcher, log_level="debug")
        try:
            await bridge.start()
            await bridge.event("wechat state", state="unauthorised")
            said |= await requests(bridge, grafana)
            names = ("check", "check --strict", "doctor --json", "status --json", "outbox list --json", "jobs list",
                     "jobs run pic", "alert test", "alert test --source openfalcon", "outbox show 1",
                     "routes test a=b", "rooms --json", "silences list")  # fmt: skip
            for some in (names[:5], names[5:9], names[9:]):
                outputs = await asyncio.gather(*(command(harness, path, *name.split()) for name in some))
                said |= dict(zip(some, outputs, strict=True))
            await simulator.gateway.kill()
            whole = path.read_text(encoding="utf-8")
            path.write_text(whole.replace("pace: none", "pace: 7"), encoding="utf-8")
            await bridge.event("configuration not reloaded, the old one stays")
            said["check of a broken file"] = await command(harness, path, "check")
            path.write_text(whole.replace("every: 1s", "every: 2s"), encoding="utf-8")
            await bridge.event("configuration reloaded")
            said |= {f"again: {name}": text for name, text in (await requests(bridge, grafana)).items()}
        finally:
            await bridge.stop()
        said |= {"standard output": "\n".join(bridge.output), "log": "\n".join(map(str, bridge.logs))}
        said["outbox of the stopped"] = await command(harness, path, "outbox", "list", "--json")
        said["status of the stopped"] = await command(harness, path, "status")
        said["alert test of the stopped"] = await command(harness, path, "alert", "test")
    for name in ("check --strict", "doctor --json"):
        assert "401" in said[name], f"Grafana was asked: {said[name]}"
    assert any(name.endswith("401") for name in said)
    assert any(name.endswith("202") for name in said)
    found = {name: given for name, text in said.items() if (given := hidden_in(text))}
    # Whoever shows a name in an address is told what there is not; a path holds no secret of ours.
    found = {name: given for name, given in found.items() if "/hooks/generic/" not in name}
    assert found == {}, {name: said[name][:2000] for name in found}
