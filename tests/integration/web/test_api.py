from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.integration.web.web_harness import TOKEN, Pushed, Time, alone, rfc3339
from wxbridge.core.errors import BadBody
from wxbridge.web.api_models import MAX_NAMES, SilenceBody

AUTH = {"Authorization": f"Bearer {TOKEN}"}
NOW = 1_700_000_000.0

# ---------------------------------------------------------------- silences


async def test_a_silence_is_made_listed_and_ended(tmp_path: Path) -> None:
    time = Time(NOW)
    async with alone(tmp_path, clock=time.clock()) as server:
        body = {"matchers": ['severity="info"', 'team=~"a|b"'], "duration": "2h", "comment": " nightly ",
                "created_by": "zhang"}  # fmt: skip
        status, silence = await server.ask("POST", "/api/silences", json=body, headers=AUTH)
        assert status == 201
        assert silence == {
            "id": "1", "matchers": ['severity="info"', 'team=~"a|b"'], "starts_at": rfc3339(NOW),
            "ends_at": rfc3339(NOW + 7200), "created_by": "zhang", "comment": "nightly", "state": "active",
            "created_at": rfc3339(NOW),
        }  # fmt: skip
        assert await server.ask("GET", "/api/silences", headers=AUTH) == (200, [silence])
        assert await server.ask("DELETE", "/api/silences/1", headers=AUTH) == (204, "")
        assert await server.ask("GET", "/api/silences", headers=AUTH) == (200, [])
        status, answer = await server.ask("DELETE", "/api/silences/1", headers=AUTH)
        assert (status, answer["error"]) == (404, "There is no silence '1' that is not over.")


async def test_a_silence_may_begin_later_and_end_at_a_time_of_any_zone(tmp_path: Path) -> None:
    async with alone(tmp_path, clock=Time(NOW).clock()) as server:
        body = {"matchers": ["a=b"], "starts_at": "2023-11-15T08:00:00+08:00", "ends_at": "2023-11-15T00:00:01Z"}
        _, silence = await server.ask("POST", "/api/silences", json=body, headers=AUTH)
        assert silence["starts_at"] == "2023-11-15T00:00:00+00:00"
        assert silence["ends_at"] == "2023-11-15T00:00:01+00:00"
        assert silence["created_by"] == "api"
        assert silence["comment"] == ""


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ([], "A JSON object was expected"),
        ({}, "Say how long: either `duration`"),
        ({"duration": "2h"}, "`matchers` must be a list of one or more texts"),
        ({"duration": "2h", "matchers": []}, "`matchers` must be a list"),
        ({"duration": "2h", "matchers": 'a="b"'}, "`matchers` must be a list"),
        ({"duration": "2h", "matchers": ["a=b", 5]}, "`matchers` must be a list"),
        ({"duration": "2h", "matchers": [" "]}, "`matchers` must be a list"),
        ({"duration": "2h", "matchers": ["a=b"] * 101}, "`matchers` may be 100"),
        ({"duration": "2h", "matchers": ["a=" + "b" * 1000]}, "`matchers` may be 100"),
        ({"duration": "2h", "matchers": ["no matcher"]}, ""),
        ({"duration": "2h", "matchers": ['a=~"("']}, ""),
        ({"duration": "soon", "matchers": ["a=b"]}, "`duration`: 'soon' is no duration"),
        ({"duration": "0s", "matchers": ["a=b"]}, "The silence would be over already"),
        ({"duration": 7200, "matchers": ["a=b"]}, "`duration` must be a text"),
        ({"duration": "2h", "ends_at": "2030-01-01T00:00:00Z", "matchers": ["a=b"]}, "Say how long: either"),
        ({"ends_at": "2030-01-01T00:00:00", "matchers": ["a=b"]}, "`ends_at` must be a time with its zone"),
        ({"ends_at": "tomorrow", "matchers": ["a=b"]}, "`ends_at` must be a time with its zone"),
        ({"ends_at": "2020-01-01T00:00:00Z", "matchers": ["a=b"]}, "The silence would be over already"),
        ({"starts_at": "2030-01-02T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z", "matchers": ["a=b"]},
         "The silence would be over already"),
        ({"starts_at": "2020-01-02T00:00:00Z", "duration": "1h", "matchers": ["a=b"]},
         "The silence would be over already"),
        ({"ends_at": "2100-01-01T00:00:00Z", "matchers": ["a=b"]}, "A silence may last"),
        ({"starts_at": "1970-01-01T00:00:00Z", "ends_at": "2030-01-01T00:00:00Z", "matchers": ["a=b"]},
         "A silence may last"),
        ({"duration": "2h", "matchers": ["a=b"], "comment": 5}, "`comment` must be a text"),
        ({"duration": "2h", "matchers": ["a=b"], "created_by": "x" * 201}, "`created_by` must be a text"),
        ({"duration": "2h", "matchers": ["a=b"], "who": "me"}, "Unknown field 'who'; there are matchers, "),
    ],
)  # fmt: skip
async def test_a_silence_that_says_too_little_is_refused_with_a_sentence(
    tmp_path: Path, body: Any, sentence: str
) -> None:
    async with alone(tmp_path, clock=Time(NOW).clock()) as server:
        status, answer = await server.ask("POST", "/api/silences", json=body, headers=AUTH)
        assert status == 400
        assert answer["error"].startswith(sentence)
        assert server.silences == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["2h", "9999-12-31T23:59:59-23:59"]),
    lambda inner: st.lists(inner, max_size=3),
)


@given(st.dictionaries(st.sampled_from(["matchers", "duration", "ends_at", "starts_at", "comment"]), ANYTHING))
def test_whatever_is_asked_for_is_a_silence_that_ends_later_or_a_sentence(data: Any) -> None:
    try:
        asked = SilenceBody.read(data).make_request(NOW)
    except BadBody:
        return
    assert asked.ends_at > max(asked.starts_at, NOW)
    assert asked.matchers
    assert rfc3339(asked.starts_at) < rfc3339(asked.ends_at)


async def test_what_fires_now_can_be_asked_for(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        assert (await server.ask("GET", "/api/alerts"))[0] == 401
        status, alerts = await server.ask("GET", "/api/alerts", headers=AUTH)
        assert (status, [alert["title"] for alert in alerts]) == (200, ["disk full"])


# ---------------------------------------------------------------- the push API


async def push(tmp_path: Path, **options: Any) -> tuple[int, Any, list[Pushed]]:
    async with alone(tmp_path) as server:
        status, answer = await server.ask("POST", "/api/send", headers=AUTH, **options)
        return status, answer, server.pushed


async def test_a_form_may_name_several_targets_one_by_one(tmp_path: Path) -> None:
    fields = [("to", "ops"), ("to", "dba, ops"), ("mentions", "张三"), ("mentions", "all"), ("text", "x")]
    for multipart in (False, True):
        form = aiohttp.FormData(fields, default_to_multipart=multipart)
        status, _, pushed = await push(tmp_path, data=form)
        assert (status, pushed) == (202, [Pushed(("ops", "dba"), "x", mentions=("张三", "all"))])


async def test_json_that_curl_calls_a_form_is_read(tmp_path: Path) -> None:
    async with alone(tmp_path) as server:
        headers = AUTH | {"Content-Type": "application/x-www-form-urlencoded"}
        status, _ = await server.ask("POST", "/api/send", data=b' {"to": "ops", "text": "x"}', headers=headers)
        assert (status, server.pushed) == (202, [Pushed(("ops",), "x")])


async def test_a_picture_may_come_as_a_browser_writes_it(tmp_path: Path) -> None:
    url = "data:image/png;base64," + base64.b64encode(b"a picture").decode()
    _, _, pushed = await push(tmp_path, json={"to": "ops", "image": url})
    assert pushed == [Pushed(("ops",), "", image=b"a picture")]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"to": "ops", "image": "data:image/png,plain"}, "`image` must be"),
        ({"to": "ops", "image": "file:///etc/passwd"}, "`image` must be"),
        ({"to": "ops", "image": "图"}, "`image` must be"),
        ({"to": "ops", "text": "\x00"}, "There is nothing to send"),
        ({"to": "ops", "text": "x", "token": TOKEN}, "Unknown field 'token'"),
        ({"to": [f"n{n}" for n in range(MAX_NAMES + 1)], "text": "x"}, "`to` may hold 1000 names"),
        ({"to": "x" * 5000, "text": "x"}, "`to` may hold"),
        ({"to": "ops", "text": "x", "mentions": ["x" * 5000]}, "`mentions` may hold"),
        ({"to": "ops", "x" * 50_000: 1}, "Unknown field 'xxx"),
    ],
)
async def test_a_push_that_asks_for_too_much_is_refused_with_a_short_sentence(
    tmp_path: Path, body: Any, sentence: str
) -> None:
    status, answer, pushed = await push(tmp_path, json=body)
    assert (status, pushed) == (400, [])
    assert answer["error"].startswith(sentence)
    assert len(answer["error"]) < 200
    assert TOKEN not in json.dumps(answer)


async def test_no_text_of_a_push_holds_what_a_database_does_not_take(tmp_path: Path) -> None:
    _, _, pushed = await push(tmp_path, data=b'{"to": "ops", "text": "a\\u0000b\\ud800"}')
    assert pushed == [Pushed(("ops",), "ab\ufffd")]
