from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.integration.web.web_harness import HOOKS, TOKEN, Time, alone
from wxbridge.config.hooks import HookSettings
from wxbridge.web import auth
from wxbridge.web.limits import HttpLimits

SECRET = "test-hmac-secret"
BODY = b'{"status":"firing"}'
VECTOR = "c15dccf5f5f9fe856bad1db009b905491433d426d7280ed9db83dd50b5d280be"
"""Of Grafana, for this secret and this body."""
HEADER = "X-Grafana-Alerting-Signature"


def hook(token: str | None = None, secret: str | None = None, **more: Any) -> HookSettings:
    return HookSettings(token=token and SecretStr(token), hmac_secret=secret and SecretStr(secret), **more)


def signed(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("/hooks/grafana", TOKEN, 202),
        ("/hooks/grafana", "grafana-t0ken", 202),
        ("/", "grafana-t0ken", 202),
        ("/hooks/grafana", "generic-t0ken", 401),
        ("/hooks/alertmanager", "grafana-t0ken", 401),
        ("/hooks/alertmanager", TOKEN, 202),
        ("/hooks/generic", "generic-t0ken", 202),
        ("/hooks/generic/uptime-kuma", "generic-t0ken", 202),
        ("/hooks/generic%2Fuptime-kuma", "generic-t0ken", 202),
        ("/hooks/generic/uptime-kuma", "grafana-t0ken", 401),
        ("/hooks/generic/nothing", "generic-t0ken", 404),
        ("/hooks/generic/nothing", "grafana-t0ken", 401),
        ("/hooks/nagios", "grafana-t0ken", 401),
        ("/api/send", "grafana-t0ken", 401),
        ("/api/silences", "generic-t0ken", 401),
        ("/hooks/grafana", "", 401),
    ],
)
async def test_the_server_token_opens_everything_and_a_hooks_own_only_its_hook(
    tmp_path: Path, path: str, token: str, status: int
) -> None:
    hooks = {"grafana": hook("grafana-t0ken"), "generic": hook("generic-t0ken"), "alertmanager": hook()}
    async with alone(tmp_path, hooks=hooks) as server:
        assert (await server.post(path, BODY, Authorization=f"Bearer {token}"))[0] == status
        assert (await server.ask("POST", path, data=BODY, params={"token": token}))[0] == status
        assert (await server.post(path, BODY, **{"X-Gitlab-Token": token}))[0] == status
        assert len(server.taken) == (3 if status == 202 else 0)


async def test_a_hooks_own_token_does_not_let_anybody_look(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"grafana": hook("grafana-t0ken")}) as server:
        for path in ("/", "/metrics", "/login", "/api/openapi.json", "/api/alerts", "/hooks/grafana"):
            status, _ = await server.ask("GET", path, headers={"Authorization": "Bearer grafana-t0ken"})
            assert status == 401, path


async def test_without_a_server_token_only_the_hooks_that_have_something_of_their_own_ask_for_it(
    tmp_path: Path,
) -> None:
    hooks = {"grafana": hook("grafana-t0ken"), "alertmanager": hook(secret=SECRET), "generic": hook()}
    async with alone(tmp_path, token=None, hooks=hooks) as server:
        assert (await server.post("/hooks/grafana", BODY))[0] == 401
        assert (await server.post("/", BODY))[0] == 401
        assert (await server.post("/hooks/grafana?token=grafana-t0ken", BODY))[0] == 202
        status, answer = await server.post("/hooks/alertmanager", BODY)
        assert (status, answer["error"].partition(".")[0]) == (401, "The signature is missing")
        assert (await server.post("/hooks/alertmanager?token=", BODY))[0] == 401
        for path in ("/hooks/openfalcon", "/hooks/generic", "/hooks/generic/uptime-kuma"):
            assert (await server.post(path, BODY))[0] == 202, path
        empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
        assert (await server.post("/hooks/alertmanager", BODY, **{HEADER: empty}))[0] == 401
        assert (await server.ask("GET", "/metrics"))[0] == 200


async def test_an_unknown_hook_is_told_with_all_that_there_are(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        for path in ("/hooks/nagios", "/hooks/generic/nagios", "/hooks/" + "x" * 5000):
            status, answer = await server.post(path, BODY, Authorization=f"Bearer {TOKEN}")
            assert status == 404
            assert answer["error"].endswith("; there are " + ", ".join(sorted(HOOKS)) + ".")
            assert len(answer["error"]) < 250


# ---------------------------------------------------------------- signatures


async def test_grafanas_own_signature_stands_for_the_token(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET)}) as server:
        assert (await server.post("/hooks/grafana", BODY, **{HEADER: VECTOR}))[0] == 202
        assert (await server.post("/hooks/grafana", BODY, **{HEADER.lower(): VECTOR}))[0] == 202
        assert (await server.post("/", BODY, **{HEADER: VECTOR}))[0] == 202
        assert server.taken == [("grafana", BODY, [])] * 3
        assert (await server.post("/hooks/alertmanager", BODY, **{HEADER: VECTOR}))[0] == 401
        assert (await server.post("/hooks/grafana?token=wrong", BODY, **{HEADER: VECTOR}))[0] == 202


async def test_who_signs_may_also_show_a_token_instead(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"grafana": hook("own-t0ken", SECRET)}) as server:
        for token in ("own-t0ken", TOKEN):
            assert (await server.post(f"/hooks/grafana?token={token}", BODY))[0] == 202
            assert (await server.post(f"/hooks/grafana?token={token}", BODY, **{HEADER: "0" * 64}))[0] == 202


async def test_a_signature_as_github_writes_it_is_read_too(tmp_path: Path) -> None:
    settings = hook(secret=SECRET, signature_header="X-Hub-Signature-256")
    async with alone(tmp_path, hooks={"generic": settings}) as server:
        headers = {"X-Hub-Signature-256": "sha256=" + VECTOR}
        assert (await server.post("/hooks/generic/uptime-kuma", BODY, **headers))[0] == 202


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "The token is missing or wrong. Send it as `Authorization: Bearer TOKEN`"),
        ({HEADER: ""}, f"The signature in {HEADER} is malformed: 64 lowercase hex digits"),
        ({HEADER: VECTOR.upper()}, f"The signature in {HEADER} is malformed"),
        ({HEADER: VECTOR[:-1]}, f"The signature in {HEADER} is malformed"),
        ({HEADER: "主人"}, f"The signature in {HEADER} is malformed"),
        ({HEADER: "0" * 64}, f"The signature in {HEADER} is wrong: it was made with another secret"),
        ({HEADER: signed(BODY, "another")}, f"The signature in {HEADER} is wrong"),
        ({HEADER: signed(BODY + b" ")}, f"The signature in {HEADER} is wrong"),
    ],
)
async def test_a_signature_that_does_not_open_is_told_why_and_nothing_else(
    tmp_path: Path, headers: dict[str, str], sentence: str
) -> None:
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET)}) as server:
        status, answer = await server.post("/hooks/grafana?token=a-wrong-t0ken", BODY, **headers)
        assert status == 401
        assert answer["error"].startswith(sentence)
        assert server.taken == []
        assert server.refused("unauthorised") == 1
        for secret in (SECRET, VECTOR, TOKEN, "t0ken", "0" * 64):
            assert secret not in json.dumps(answer)


STAMPED = {"timestamp_header": "X-Signed-At", "max_age": "5m"}


@pytest.mark.parametrize(
    ("age", "stamp", "sentence"),
    [
        (0, None, ""),
        (300, None, ""),
        (-300, None, ""),
        (301, None, ("The signature is stale: its timestamp in X-Signed-At is 301 seconds old, and 300 are allowed.")),
        (-301, None, "The signature is stale: its timestamp in X-Signed-At is 301 seconds ahead of us"),
        (0, "", "The signature's timestamp is missing: X-Signed-At was expected"),
        (0, "yesterday", "The signature's timestamp in X-Signed-At is malformed"),
        (0, "1e9", "The signature's timestamp in X-Signed-At is malformed"),
        (0, "9" * 5000, "The signature's timestamp in X-Signed-At is malformed"),
        (0, "٣", "The signature's timestamp in X-Signed-At is malformed"),
    ],
)
async def test_a_signed_timestamp_must_be_of_now(tmp_path: Path, age: int, stamp: str | None, sentence: str) -> None:
    time = Time()
    written = stamp if stamp is not None else str(int(time.now) - age)
    headers = {HEADER: signed(written.encode() + b":" + BODY), "x-signed-at": written}
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET, **STAMPED)}, clock=time.clock()) as server:
        status, answer = await server.post("/hooks/grafana", BODY, **headers)
        assert (status, sentence) == (202, "") if not sentence else status == 401
        assert answer.get("error", "").startswith(sentence)


async def test_a_timestamp_is_part_of_what_is_signed(tmp_path: Path) -> None:
    time = Time()
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET, **STAMPED)}, clock=time.clock()) as server:
        old = str(int(time.now) - 1000)
        fresh = {HEADER: signed(f"{old}:".encode() + BODY), "X-Signed-At": str(int(time.now))}
        status, answer = await server.post("/hooks/grafana", BODY, **fresh)
        assert status == 401
        assert "is wrong" in answer["error"]
        assert (await server.post("/hooks/grafana", BODY, **{**fresh, HEADER: VECTOR}))[0] == 401


async def test_a_body_is_read_for_its_signature_no_further_than_the_limit(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET)}, max_body=1000) as server:
        status, _ = await server.post("/hooks/grafana", b" " * 2000, **{HEADER: VECTOR})
        assert status == 413
        assert server.refused("too_large") == 1


async def test_a_wrong_token_is_refused_before_the_body_has_come(tmp_path: Path) -> None:
    async with alone(tmp_path, limits=HttpLimits(linger_seconds=0.1)) as server:
        head = b"POST /hooks/grafana HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n{"
        answer = await server.raw(head)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"Connection: close" in answer


@given(
    st.binary(), st.binary(min_size=1), st.none() | st.integers(0, 10**12 - 1).map(str), st.integers(0, 10**12),
    st.text(),
)  # fmt: skip
def test_a_signature_holds_for_its_secret_body_and_time_and_any_other_text_is_none(
    body: bytes, secret: bytes, stamp: str | None, now: int, noise: str
) -> None:
    signing = auth.HmacSigning(secret, "S", "T" if stamp else None, 10.0**12)
    whole = (f"{stamp}:".encode() if stamp else b"") + body
    headers = {"S": hmac.new(secret, whole, hashlib.sha256).hexdigest(), "T": stamp or ""}
    claim = signing.read_claim(headers, now)
    assert claim
    assert claim.holds(secret, body)
    assert not claim.holds(secret + b"x", body)
    assert not claim.holds(secret, body + b"x")
    with pytest.raises(ValueError):
        signing.read_claim({**headers, "S": noise}, now)


# ---------------------------------------------------------------- guesses


async def test_all_doors_share_one_limit_of_wrong_tokens_and_the_right_one_always_passes(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"generic": hook(secret=SECRET)}) as server:
        doors = [
            {"method": "GET", "path": "/metrics"}, {"method": "GET", "path": "/api/alerts"},
            {"method": "POST", "path": "/api/send"}, {"method": "POST", "path": "/hooks/grafana"},
            {"method": "GET", "path": "/login"},
        ]  # fmt: skip
        wrong = {"Authorization": "Bearer wrong"}
        got = [(await server.ask(**door, headers=wrong))[0] for _ in range(3) for door in doors]
        assert got == [401] * 10 + [429] * 5
        forged = {HEADER: signed(BODY, "another")}
        assert (await server.ask("POST", "/hooks/generic", data=BODY, headers=forged))[0] == 429
        assert (await server.ask("POST", "/hooks/generic", data=BODY, headers={HEADER: signed(BODY)}))[0] == 202
        assert (await server.post("/hooks/grafana", BODY, Authorization=f"Bearer {TOKEN}"))[0] == 202
        assert (await server.ask("GET", "/metrics"))[0] == 401, "who shows nothing guesses nothing"
        assert server.refused("attempts") == 6


async def test_a_signature_covers_what_the_address_asks_for(tmp_path: Path) -> None:
    async with alone(tmp_path, hooks={"grafana": hook(secret=SECRET)}) as server:
        assert (await server.post("/hooks/grafana", BODY, **{HEADER: signed(BODY)}))[0] == 202
        status, answer = await server.post("/hooks/grafana?to=boss", BODY, **{HEADER: signed(BODY)})
        assert (status, "was not signed" in answer["error"]) == (401, True)
        right = signed(b"?to=boss:" + BODY)
        assert (await server.post("/hooks/grafana?to=boss", BODY, **{HEADER: right}))[0] == 202
        assert (await server.post("/hooks/grafana?to=ops", BODY, **{HEADER: right}))[0] == 401
        assert len(server.taken) == 2
