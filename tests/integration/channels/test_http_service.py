"""Any service over HTTP: the request that a target describes, what counts as sent, and that no secret is told."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.fakes.any_service import AnyService
from tests.integration.channels.wecom.wecom_harness import FAST, PATIENT, picture, screenshot
from wxbridge.channels.http_service.channel import PLUGIN, HttpServiceChannel
from wxbridge.channels.http_service.settings import HttpTarget
from wxbridge.channels.http_service.templates import fill_address
from wxbridge.core.errors import Offline, Permanent, Throttled, Transient, Unauthorised, Unknown
from wxbridge.core.model import ChannelState, PictureFile, Text


@pytest.fixture
async def service():
    async with AnyService() as running:
        yield running


@pytest.fixture
async def channel(clock):
    made = HttpServiceChannel(timing=PATIENT, wall=clock.wall, monotonic=clock.monotonic)
    yield made
    await made.close()


def made(service: AnyService, path: str = "/send", **more: Any) -> HttpTarget:
    return HttpTarget.model_validate({"url": service.url + path, **more})


# ---------------------------------------------------------------- the request


async def test_without_a_body_of_its_own_a_target_gets_title_and_text_as_json(service, channel) -> None:
    await channel.send(made(service), Text("🔥 磁盘满了\nnode-1"))
    (request,) = service.requests
    assert (request.method, request.path) == ("POST", "/send")
    assert request.headers["Content-Type"] == "application/json; charset=utf-8"
    assert json.loads(request.body) == {"text": "🔥 磁盘满了\nnode-1", "title": "🔥 磁盘满了"}


async def test_body_headers_and_address_are_templates(service, clock) -> None:
    target = made(
        service,
        "/v1/{{ target }}/send?t={{ title }}&u={{ title | urlencode }}",
        method="PUT",
        headers={"Authorization": "Bearer abc", "X-Sign": "{{ ('k' ~ timestamp) | md5 }}", "X-Title": "{{ text }}"},
        body='{"records": [{"value": {{ text | tojson }}}], "to": {{ mentions | tojson }}}',
    )
    channel = HttpServiceChannel(targets={"phone": target}, wall=lambda: 1700000000.5, monotonic=clock.monotonic)
    await channel.send(target, Text('a&b="c"\n行 2', ("13800001111",)))
    await channel.close()
    (request,) = service.requests
    assert (request.method, request.path) == ("PUT", "/v1/phone/send")
    assert request.query == {"t": 'a&b="c"', "u": 'a&b="c"'}
    assert request.headers["Authorization"] == "Bearer abc"
    assert request.headers["X-Sign"] == hashlib.md5(b"k1700000000").hexdigest()
    assert request.headers["X-Title"] == 'a&b="c" 行 2'
    assert json.loads(request.body) == {"records": [{"value": 'a&b="c"\n行 2'}], "to": ["13800001111"]}


async def test_a_get_says_it_in_the_address_and_a_form_in_the_body(service, channel) -> None:
    await channel.send(made(service, "/sms?to=138&msg={{ text }}", method="GET"), Text("100% full & #1?\n行"))
    target = made(
        service, body="to=138&msg={{ text | urlencode }}", headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    await channel.send(target, Text("a b"))
    got, form = service.requests
    assert (got.method, got.body, got.query["msg"]) == ("GET", b"", "100% full & #1?\n行")
    assert (form.body, form.headers["Content-Type"]) == (b"to=138&msg=a%20b", "application/x-www-form-urlencoded")


@given(st.text(max_size=200))
def test_whatever_an_alert_says_stays_where_the_template_put_it(text) -> None:
    filled = fill_address("http://h/p/{{ text }}?a={{ text }}&b=1#", {"text": text})
    address = urlsplit(filled)
    assert (address.hostname, parse_qs(address.query, keep_blank_values=True)["b"]) == ("h", ["1"])
    assert set(parse_qs(address.query, keep_blank_values=True)) == {"a", "b"}


async def test_user_and_password_of_an_address_go_as_such_and_are_not_told(service, channel) -> None:
    url = service.url.replace("http://", "http://bridge:hush%40pw@") + "/send"
    target = HttpTarget.model_validate({"url": url})
    await channel.send(target, Text("x"))
    expected = base64.b64encode(b"bridge:hush@pw").decode()
    assert service.requests[0].headers["Authorization"] == f"Basic {expected}"
    assert "hush" not in repr(target) + target.service().shown + target.chat_key() + target.service().base_url


async def test_a_body_that_is_no_json_where_json_is_promised_is_not_sent(service, channel) -> None:
    target = made(service, body='{"msg": "{{ text }}"}', headers={"Content-Type": "application/json"})
    with pytest.raises(Permanent, match="tojson"):
        await channel.send(target, Text('with "quotes"'))
    assert service.requests == []


# ---------------------------------------------------------------- pictures


async def test_a_picture_goes_as_base64_in_a_body_of_its_own(service, channel, tmp_path) -> None:
    body = picture(tmp_path / "a.png", screenshot())
    own = '{"file": "{{ picture }}", "name": {{ picture_name | tojson }}}'
    target = made(service, picture={"as": "base64", "url": f"{service.url}/photo", "body": own})
    await channel.send(target, body)
    (request,) = service.requests
    assert request.path == "/photo"
    said = json.loads(request.body)
    assert (base64.b64decode(said["file"]), said["name"]) == ((tmp_path / "a.png").read_bytes(), "panel.png")


async def test_a_picture_goes_as_a_file_of_a_form(service, channel, tmp_path) -> None:
    body = picture(tmp_path / "a.png", screenshot(), name="图 1.png")
    form = {"as": "multipart", "field": "photo", "body": '{"chat": 12, "caption": {{ title | tojson }}}'}
    target = made(service, headers={"Content-Type": "application/json", "X-Key": "k"}, picture=form)
    await channel.send(target, body)
    (request,) = service.requests
    assert request.form == {
        "chat": "12", "caption": "图 1.png", "photo": ("图 1.png", (tmp_path / "a.png").read_bytes())
    }  # fmt: skip
    assert request.headers["X-Key"] == "k"


async def test_a_picture_goes_as_its_address(service, channel) -> None:
    target = made(service, picture={"as": "url", "body": '{"image": {{ picture_url | tojson }}}'})
    await channel.send(target, PictureFile("/x", "p.png", "image/png", 1, url="https://x.example/p.png"))
    assert json.loads(service.requests[0].body) == {"image": "https://x.example/p.png"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, "none"), ({"as": "url"}, "url"), ({"as": "base64"}, "file"), ({"as": "multipart"}, "file")],
)
def test_a_target_carries_what_it_says(given, expected) -> None:
    target = HttpTarget.model_validate({"url": "http://x", "picture": given, "text_limit": 70, "text_unit": "bytes"})
    found = target.capabilities(PLUGIN.capabilities)
    assert (found.pictures, found.text_limit, found.text_unit) == (expected, 70, "bytes")


# ---------------------------------------------------------------- the answer


@pytest.mark.parametrize(
    ("status", "says", "outcome"),
    [
        (200, {"code": 0}, None),
        (204, "", None),
        (200, "ok", None),
        (200, "<!DOCTYPE html><html>log in", Offline),
        (200, "\ufeff<!DOCTYPE html><html>log in", Offline),
        (200, "<head><title>log in", Offline),
        (302, "", Unauthorised),
        (400, "bad number", Permanent),
        (401, "who?", Unauthorised),
        (404, "", Unauthorised),
        (413, "", Permanent),
        (429, "", Throttled),
        (500, "oops", Unknown),
        (502, "", Unknown),
        (503, "", Offline),
    ],
)
async def test_without_conditions_the_status_decides(service, channel, status, says, outcome) -> None:
    service.status, service.says = status, says
    if outcome is None:
        await channel.send(made(service), Text("x"))
        return
    with pytest.raises(outcome) as caught:
        await channel.send(made(service), Text("x"))
    assert type(caught.value) is outcome


CONDITIONS: dict[str, Any] = {
    "success": {"status": 200, "when": "code == `0`"},
    "later": [{"status": [429, "503-504"]}, {"when": "code == `15`"}],
    "final": {"when": "contains(['bad number', 'blocked'], msg)"},
    "later_after": "5m",
    "receipt": "data.id",
}


@pytest.mark.parametrize(
    ("status", "says", "outcome"),
    [
        (200, {"code": 0}, None),
        (200, {"code": 15, "msg": "quota"}, Throttled),
        (504, "", Throttled),
        (200, {"code": 3, "msg": "bad number"}, Permanent),
        (400, {"code": 3, "msg": "blocked"}, Permanent),
        (200, {"code": 9, "msg": "?"}, Transient),
        (201, {"code": 0}, Transient),
        (200, [], Transient),
        (200, "fine", Unknown),
        (200, "<html>proxy", Offline),
        (401, {"code": 1}, Unauthorised),
    ],
)
async def test_conditions_say_what_is_sent_later_and_final(service, channel, status, says, outcome) -> None:
    service.status, service.says = status, says
    target = made(service, **CONDITIONS)
    if outcome is None:
        await channel.send(target, Text("x"))
        return
    with pytest.raises(outcome) as caught:
        await channel.send(target, Text("x"))
    assert type(caught.value) is outcome
    if outcome is Throttled:
        assert caught.value.retry_after == 300


async def test_the_services_own_wait_and_id_are_taken(service, channel) -> None:
    service.says = {"code": 0, "data": {"id": 7497484083968569736}}
    receipt = await channel.send(made(service, **CONDITIONS), Text("x"))
    assert receipt.id == "7497484083968569736"
    service.status, service.more = 429, {"Retry-After": "7"}
    with pytest.raises(Throttled) as caught:
        await channel.send(made(service, **CONDITIONS), Text("x"))
    assert caught.value.retry_after == 7


async def test_a_service_that_echoes_its_secrets_has_them_told_nowhere(service, clock, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    target = made(
        service,
        "/hush-path-1?key=hush-query",
        headers={"Authorization": "Bearer hush-header"},
        body='{"password": "hush-in-the-body-1", "text": {{ text | tojson }}}',
    )
    channel = HttpServiceChannel(timing=FAST, targets={"phone": target}, wall=clock.wall, monotonic=clock.monotonic)
    service.status = 400
    service.says = "no: hush-path-1 hush-query hush-header hush-in-the-body-1 as Bearer"
    errors = []
    with pytest.raises(Permanent, match="400 no: … … … … as") as caught:
        await channel.send(target, Text("x"))
    errors.append(str(caught.value))
    service.stall(path="/hush-path-1")
    service.cut(path="/hush-path-1")
    service.answer(401, "hush-query", path="/hush-path-1")
    for kind in (Unknown, Unknown, Unauthorised):
        with pytest.raises(kind) as caught:
            await channel.send(target, Text("x"))
        errors.append(str(caught.value))
    errors += [repr(target), channel.status.detail, target.chat_key(), repr(target.model_dump())]
    await channel.close()
    assert "hush" not in caplog.text + "".join(errors)


async def test_a_service_that_is_away_is_a_state_and_looked_at(service, clock) -> None:
    target = made(service)
    channel = HttpServiceChannel(timing=FAST, targets={"phone": target}, monotonic=clock.monotonic)
    await service.stop()
    for _ in range(3):
        with pytest.raises(Offline):
            await channel.send(target, Text("x"))
        clock.advance(60)
    assert channel.status_of(target).state is ChannelState.UNREACHABLE
    await service.start()
    clock.advance(60)
    await channel.look_after()
    assert channel.status_of(target).state is ChannelState.ONLINE
    assert [request.method for request in service.requests] == ["GET"]
    await channel.close()


async def test_what_was_refused_is_tried_by_the_next_message_once_a_look_is_due(service, clock) -> None:
    target = made(service)
    channel = HttpServiceChannel(timing=PATIENT, targets={"phone": target}, monotonic=clock.monotonic)
    service.status = 401
    with pytest.raises(Unauthorised):
        await channel.send(target, Text("x"))
    assert channel.status_of(target).state is ChannelState.UNAUTHORISED
    told = []
    channel._states.listener = told.append
    clock.advance(61)
    await channel.look_after()
    assert told
    assert channel.status_of(target).state is ChannelState.ONLINE
    service.status = 200
    await channel.send(target, Text("x"))
    assert channel.status.state is ChannelState.ONLINE
    await channel.close()


async def test_doctor_hears_whether_it_is_reached(service, channel) -> None:
    assert "is reached" in await channel.probe(made(service))
    assert service.requests[0].method == "GET"
    await service.stop()
    with pytest.raises(Offline):
        await channel.probe(made(service))


# ---------------------------------------------------------------- jobs.yaml


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "url"),
        ({"url": "ftp://x/HIDDEN"}, "no web address"),
        ({"url": "HIDDEN"}, "no web address"),
        ({"url": "http://{{ title }}/HIDDEN"}, "host"),
        ({"url": "http://x/{{ txt }}"}, "'txt' is undefined; there are text, title"),
        ({"url": "http://x/{{ text"}, "line 1"),
        ({"url": "http://x", "body": "{{ text | nofilter }}"}, "nofilter"),
        ({"url": "http://x", "body": "{{ text.__class__.__mro__ }}"}, "unsafe"),
        ({"url": "http://x", "body": "x", "method": "GET"}, "GET has no body"),
        ({"url": "http://x", "method": "DELETE"}, "method"),
        ({"url": "http://x", "headers": {"a b": "x"}}, "no name of a header"),
        ({"url": "http://x", "headers": {"a": "{{ no }}"}}, "headers.a"),
        ({"url": "http://x", "success": {}}, "condition needs"),
        ({"url": "http://x", "success": {"status": 700}}, "no HTTP status"),
        ({"url": "http://x", "success": {"status": "300-200"}}, "no HTTP status"),
        ({"url": "http://x", "final": {"when": "code =="}}, "JMESPath"),
        ({"url": "http://x", "picture": {}}, "as"),
        ({"url": "http://x", "picture": {"as": "multipart", "body": "a=b"}}, "JSON object"),
    ],
)
def test_a_target_that_cannot_work_is_refused_and_says_why(given, words) -> None:
    with pytest.raises(ValidationError) as caught:
        HttpTarget.model_validate(given)
    said = " ".join(f"{error['loc']} {error['msg']}" for error in caught.value.errors())
    assert words in said
    assert "HIDDEN" not in said
