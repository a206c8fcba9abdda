from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.web.web_harness import SETTINGS, StoredWeb, start
from tests.support import payload_bytes
from wxbridge.config.schema import Config

ALERT = payload_bytes("grafana/legacy_alerting")


async def test_an_alert_is_on_disk_before_it_is_answered(bench: StoredWeb) -> None:
    status, answer = await bench.post("/hooks/grafana", ALERT)
    assert (status, answer) == (202, {"queued": 2, "duplicates": 0})
    (ops, text), (_, picture) = await bench.texts()
    assert ops == "ops"
    assert text.startswith("🔥 [Alerting] Panel Title alert\nCount: 1\n")
    assert picture == "[picture]"


async def test_a_repeat_is_absorbed_and_counted(bench: StoredWeb) -> None:
    for expected in ({"queued": 2, "duplicates": 0}, {"queued": 0, "duplicates": 2}):
        assert await bench.post("/hooks/grafana", ALERT) == (202, expected)
    assert len(await bench.messages()) == 2


async def test_an_alert_that_fires_resolves_and_fires_again_is_news_each_time(bench: StoredWeb) -> None:
    fires = json.dumps({"title": "[Alerting] x", "ruleId": 7, "state": "alerting"})
    resolves = json.dumps({"title": "[OK] x", "ruleId": 7, "state": "ok"})
    other = json.dumps({"title": "[Alerting] y", "ruleId": 8, "state": "alerting"})
    for body in (fires, other, resolves, fires, resolves):
        assert await bench.post("/hooks/grafana", body) == (202, {"queued": 1, "duplicates": 0})
    assert await bench.post("/hooks/grafana", other) == (202, {"queued": 0, "duplicates": 1})


async def test_many_repeats_at_the_same_moment_become_one(bench: StoredWeb) -> None:
    answers = await asyncio.gather(*(bench.post("/hooks/grafana", ALERT) for _ in range(20)))
    assert {status for status, _ in answers} == {202}
    assert sum(answer["queued"] for _, answer in answers) == 2
    assert sum(answer["duplicates"] for _, answer in answers) == 38


async def test_a_repeat_for_another_target_is_none(bench: StoredWeb) -> None:
    await bench.post("/hooks/grafana", ALERT)
    assert await bench.post("/hooks/grafana?to=dba", ALERT) == (202, {"queued": 2, "duplicates": 0})
    assert await bench.post("/hooks/grafana?to=ops,dba", ALERT) == (202, {"queued": 0, "duplicates": 4})


async def test_a_post_to_the_bare_address_is_one_for_grafana(bench: StoredWeb) -> None:
    assert await bench.post("/", ALERT) == (202, {"queued": 2, "duplicates": 0})
    assert await bench.post("/hooks/grafana", ALERT) == (202, {"queued": 0, "duplicates": 2})


async def test_put_is_taken_like_post(bench: StoredWeb) -> None:
    assert await bench.ask("PUT", "/hooks/grafana", data=ALERT) == (202, {"queued": 2, "duplicates": 0})


async def test_routes_decide_and_to_overrides_them(bench: StoredWeb) -> None:
    await bench.post("/hooks/grafana", json.dumps({"title": "a", "tags": {"team": "db"}}))
    await bench.post("/hooks/grafana?to=dba", json.dumps({"title": "b"}))
    await bench.post("/hooks/grafana?to=dba,%20ops,dba", json.dumps({"title": "c"}))
    await bench.post("/hooks/grafana?to=", json.dumps({"title": "d"}))
    assert await bench.texts() == [
        ("dba", "🔥 a"), ("ops", "🔥 a"), ("dba", "🔥 b"), ("dba", "🔥 c"), ("ops", "🔥 c"), ("ops", "🔥 d"),
    ]  # fmt: skip


async def test_a_name_that_no_target_has_is_refused_and_the_alert_goes_to_the_operators_once(bench: StoredWeb) -> None:
    status, answer = await bench.post("/hooks/grafana?to=ops,nowhere", json.dumps({"title": "b"}))
    assert (status, answer["error"]) == (400, "There is no target nowhere; there are dba, master, ops.")
    metrics = bench.bridge.metrics.registry
    assert metrics.get_sample_value("wxbridge_alerts_without_target_total", {"reason": "no_target"}) == 1
    assert await bench.texts() == [
        ("ops", "🔥 b"),
        ("master", "There is no target nowhere:\n\n🔥 b"),
    ]


async def test_operators_get_what_no_target_takes_each_of_them(read: Callable[..., Config]) -> None:
    text = """
        server: {listen: "127.0.0.1:0"}
        operators: [one, two]
        targets: {one: {channel: console}, two: {channel: console}, ops: {channel: console}}
        """
    async with AsyncExitStack() as stack:
        bench = await start(stack, read(text))
        assert (await bench.post("/hooks/grafana", json.dumps({"title": "a"})))[0] == 202
        assert (await bench.post("/hooks/grafana?to=gone", json.dumps({"title": "b"})))[0] == 400
        assert await bench.texts() == [
            ("one", "No route matches this alert:\n\n🔥 a"), ("two", "No route matches this alert:\n\n🔥 a"),
            ("one", "There is no target gone:\n\n🔥 b"), ("two", "There is no target gone:\n\n🔥 b"),
        ]  # fmt: skip


async def test_with_nobody_to_tell_an_alert_waits(read: Callable[..., Config]) -> None:
    async with AsyncExitStack() as stack:
        bench = await start(stack, read('server: {listen: "127.0.0.1:0"}'))
        status, answer = await bench.post("/hooks/grafana", json.dumps({"title": "a"}))
        assert (status, answer["queued"]) == (202, 1)
        (message,) = await bench.bridge.outbox.list_messages(states=["queued"])
        assert message.error == "no route matches, and nobody is in charge"
        assert "🔥 a" in message.body.text


@pytest.mark.parametrize("body", ['["a", 1]', '"just words"', "42", "true", "{}", '{"who": "knows"}'])
async def test_json_that_is_no_alert_is_delivered_as_text(bench: StoredWeb, body: str) -> None:
    assert await bench.post("/hooks/grafana", body) == (202, {"queued": 1, "duplicates": 0})
    ((target, text),) = await bench.texts()
    assert target == "ops"
    assert text.startswith("📨 grafana\n")
    assert "just words" in text if "words" in body else json.loads(text.partition("\n")[2]) == json.loads(body)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "The body is empty; a JSON object was expected."),
        (b"null", "There is nothing in the body (null, or an empty list); an alert or a text was expected."),
        (b"[]", "There is nothing in the body (null, or an empty list); an alert or a text was expected."),
        (b"\0" * 9, "The body is no text."),
        (b"[" * 100_000, "The JSON is nested too deeply or holds a number too long to read."),
    ],
)  # fmt: skip
async def test_what_cannot_be_read_is_refused_with_a_sentence(bench: StoredWeb, body: bytes, sentence: str) -> None:
    assert await bench.post("/hooks/grafana", body) == (400, {"error": sentence})
    assert await bench.room_messages() == []


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense",
                     "a/b; charset=zz",                      "application/json; charset=gbk"]
)  # fmt: skip
async def test_json_under_a_wrong_content_type_is_taken_all_the_same(bench: StoredWeb, content_type: str) -> None:
    assert await bench.post("/hooks/grafana", ALERT, headers={"Content-Type": content_type}) == (
        202, {"queued": 2, "duplicates": 0},
    )  # fmt: skip


async def test_a_packed_body_is_unpacked_and_a_broken_one_refused(bench: StoredWeb) -> None:
    headers = {"Content-Encoding": "gzip"}
    assert (await bench.post("/hooks/grafana", gzip.compress(ALERT), headers=headers))[0] == 202
    status, answer = await bench.post("/hooks/grafana", b"no gzip at all", headers=headers)
    assert status == 400
    assert answer["error"]


async def test_five_megabytes_of_an_alert_are_taken(bench: StoredWeb) -> None:
    began = time.monotonic()
    status, answer = await bench.post(
        "/hooks/grafana", json.dumps({"title": "big", "message": "警告 " * 700_000}, ensure_ascii=False)
    )
    assert (status, answer["duplicates"]) == (202, 0)
    first, *_, last = await bench.texts()
    assert first[1].startswith("(1/5) 🔥 big")
    assert "characters more" in last[1]
    assert time.monotonic() - began < 10, "the loop that serves everybody must not be held up for long"


async def test_more_than_the_limit_is_too_large(bench: StoredWeb) -> None:
    status, answer = await bench.post("/hooks/grafana", b'"' + b"x" * 6_000_000 + b'"')
    assert status == 413
    assert "too large" in answer["error"]
    status, _ = await bench.post(
        "/hooks/grafana", gzip.compress(b" " * 7_000_000), headers={"Content-Encoding": "gzip"}
    )
    assert status == 413, "the limit is for what it unpacks to"


async def test_an_unknown_hook_is_told_with_those_there_are(bench: StoredWeb) -> None:
    status, answer = await bench.post("/hooks/nagios", ALERT)
    assert status == 404
    assert answer["error"].startswith("There is no hook for 'nagios'; there are ")
    assert "grafana" in answer["error"]
    assert (await bench.post("/hooks/", ALERT))[0] == 404
    assert (await bench.post("/nowhere", ALERT))[0] == 404


async def test_a_hook_is_not_for_looking_at(bench: StoredWeb) -> None:
    async with bench.session.get(f"{bench.bridge.url}/hooks/grafana?token=a-t0ken-of-ours") as response:
        assert response.status == 405
        assert set(response.headers["Allow"].split(",")) == {"POST", "PUT"}
        assert "error" in await response.json()


async def test_a_sender_that_hangs_up_halfway_leaves_nothing_behind(bench: StoredWeb) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(bench.bridge.url.rpartition(":")[2]))
    writer.write(b"POST /hooks/grafana?token=a-t0ken-of-ours HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    writer.transport.abort()
    assert (await bench.post("/hooks/grafana", ALERT))[0] == 202
    assert len(await bench.messages()) == 2


# ---------------------------------------------------------------- a database that refuses


@asynccontextmanager
async def refusing(bench: StoredWeb) -> AsyncIterator[None]:
    """A database that takes nothing, as on a disk that has become read-only."""
    await bench.pragma("query_only=ON")
    yield
    await bench.pragma("query_only=OFF")


async def test_what_could_not_be_stored_is_to_be_sent_again_and_then_is_taken(bench: StoredWeb) -> None:
    async with refusing(bench):
        async with bench.session.post(
            f"{bench.bridge.url}/hooks/grafana", data=ALERT, params={"token": "a-t0ken-of-ours"}
        ) as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert (await response.json())["error"].startswith("Not stored: ")
        assert (await bench.ask("GET", "/readyz", token=False))[0] == 503
        assert (await bench.ask("GET", "/healthz", token=False))[0] == 200
    assert await bench.post("/hooks/grafana", ALERT) == (202, {"queued": 2, "duplicates": 0})
    assert (await bench.ask("GET", "/readyz", token=False))[0] == 200


async def test_a_full_disk_refuses_alerts_and_takes_them_once_there_is_room(bench: StoredWeb) -> None:
    big = json.dumps({"title": "big", "message": "x" * 9000})
    await bench.pragma(f"max_page_count={await bench.pragma('page_count')}")
    assert (await bench.post("/hooks/grafana", big))[0] == 503
    assert await bench.messages() == []
    await bench.pragma("max_page_count=1000000")
    assert (await bench.post("/hooks/grafana", big))[0] == 202


async def test_a_closed_database_is_not_ready_and_answers_503(bench: StoredWeb) -> None:
    await asyncio.to_thread(bench.bridge.database.close)
    assert (await bench.post("/hooks/grafana", ALERT))[0] == 503
    status, answer = await bench.ask("GET", "/readyz", token=False)
    assert status == 503
    assert answer["ready"] is False
    assert answer["parts"]["database"]["ok"] is False


# ---------------------------------------------------------------- whatever comes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.text() | st.sampled_from(["title", "state", "evalMatches", "tags", "message", "imageUrl", "ruleUrl"]), inner,
        max_size=4,
    ),
)  # fmt: skip


def test_any_json_is_taken_and_any_other_body_is_refused_and_nothing_is_an_error_of_ours(
    read: Callable[..., Config],
) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        bench = runner.run(start(stack, read(SETTINGS)))

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(JSON)
        def any_json(data: Any) -> None:
            status, _ = runner.run(bench.post("/hooks/grafana", json.dumps(data)))
            assert status == (400 if data is None or data in ([], "") else 202)

        @settings(max_examples=60, suppress_health_check=list(HealthCheck))
        @given(st.binary(), st.sampled_from(["/hooks/grafana", "/", "/api/send", "/hooks/grafana?to=%ff"]),
               st.sampled_from(["application/json", "multipart/form-data", "multipart/form-data; boundary=x",
                                "application/x-www-form-urlencoded",
                                "application/x-www-form-urlencoded; charset=x"]))  # fmt: skip
        def any_bytes(body: bytes, path: str, content_type: str) -> None:
            status, _ = runner.run(bench.post(path, body, headers={"Content-Type": content_type}))
            assert status in (202, 400)

        try:
            any_json()
            any_bytes()
        finally:
            runner.run(stack.aclose())


# ---------------------------------------------------------------- what is refused


async def test_a_refusal_is_logged_each_time_and_told_once_an_hour_for_each_sender(bench: StoredWeb) -> None:
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await bench.post("/hooks/grafana", b"null")
        await bench.post("/hooks/grafana?instance=second", b"[]")
        await bench.post("/hooks/generic/nosuch", b"{}")
        await bench.ask("GET", "/hooks/generic")
    refused = [line for line in logs if line["event"] == "a hook refused a body"]
    assert [line["status"] for line in refused] == [400] * 4 + [404, 405]
    told = [text for target, text in await bench.texts() if target == "master"]
    assert len(told) == 4
    assert told[0].startswith("⚠️ /hooks/grafana refused what 127.0.0.1 sent (400), so nobody was told of it. There is")
    assert "second (127.0.0.1)" in told[1]


async def test_strangers_are_told_of_as_one(bench: StoredWeb) -> None:
    for path in ("/hooks/grafana", "/hooks/generic", "/hooks/nosuch"):
        assert (await bench.post(path, b"{}", token=False))[0] == 401
    (told,) = [text for _, text in await bench.texts()]
    assert "token is missing or wrong" in told
