"""`/hooks/generic/NAME`: mappings of jobs.yaml, and those that ship."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.support import REPOSITORY, SMALL
from tests.unit.alerts.sources.source_checks import (
    FORM_TYPE,
    JSON_TYPE,
    check_told,
    check_told_or_refused,
    check_usable,
    json_values,
    posted,
    spoiled,
)
from wxbridge import registry
from wxbridge.alerts import routing, serialization
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.sources.generic import mapped, parsers
from wxbridge.alerts.sources.presets import PRESETS
from wxbridge.cli.sample_alerts import SAMPLES
from wxbridge.cli.sample_senders import BY_MAPPING, SAID
from wxbridge.config.hooks import BodyMapping, HooksSettings
from wxbridge.config.schema import Config
from wxbridge.core.errors import BadBody, ConfigError
from wxbridge.core.matchers import matches_all, parse_matchers
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, PictureSpec, Value

SHIPPED = parsers({})
PAYLOADS = {
    path.stem: json.loads(path.read_bytes())
    for path in sorted((REPOSITORY / "tests" / "payloads" / "generic").glob("*.json"))
}


def shipped(name: str, **changes: Any) -> AlertGroup:
    """What a mapping that ships makes of its sample, with some fields at the top being others."""
    data = PAYLOADS[name]
    return posted(SHIPPED[f"generic/{name.partition('_')[0]}"], data | changes if changes else data)


def read_by(document: Any, **mapping: Any) -> AlertGroup:
    return posted(mapped(BodyMapping(**{"title": "name"} | mapping), "mine"), document)


def alert_by(document: Any, **mapping: Any) -> Alert:
    (alert,) = read_by(document, **mapping).alerts
    return alert


# ---------------------------------------------------------------- those that ship


def test_uptime_kuma_tells_that_a_site_is_down_and_up_again() -> None:
    (down,), (up,) = shipped("uptime-kuma_down").alerts, shipped("uptime-kuma_up").alerts
    assert (down.source, down.status, down.title) == ("uptime-kuma", AlertStatus.FIRING, "商城首页")
    assert down.annotations == {"message": "getaddrinfo ENOTFOUND shop.example.com"}
    assert down.labels == {"type": "http", "team": "shop"}
    assert (down.link, down.values) == ("https://shop.example.com", ())
    assert (up.status, up.values, up.fingerprint) == (
        AlertStatus.RESOLVED, (Value("ping", 182.0, unit="ms"),), down.fingerprint,
    )  # fmt: skip


def test_uptime_kuma_s_pending_is_no_news_its_maintenance_does_not_fire_and_a_ping_has_no_address() -> None:
    heartbeat, monitor = PAYLOADS["uptime-kuma_down"]["heartbeat"], PAYLOADS["uptime-kuma_down"]["monitor"]
    assert not shipped("uptime-kuma_down", heartbeat=heartbeat | {"status": 2}).is_news
    (alert,) = shipped("uptime-kuma_down", heartbeat=heartbeat | {"status": 3}).alerts
    assert (alert.is_test, alert.state) == (True, "maintenance")
    (alert,) = shipped("uptime-kuma_down", monitor=monitor | {"url": "https://"}).alerts
    assert alert.link is None


def test_a_test_of_uptime_kuma_s_is_its_message_alone() -> None:
    (alert,) = shipped("uptime-kuma_test").alerts
    assert (alert.title, alert.is_test, alert.fingerprint) == ("My Notification Testing", True, "")


def test_uptime_kuma_may_send_a_form() -> None:
    text = json.dumps(PAYLOADS["uptime-kuma_down"])
    body = f'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n{text}\r\n--x--\r\n'.encode()
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert SHIPPED["generic/uptime-kuma"](body, headers) == shipped("uptime-kuma_down")


def test_zabbix_tells_a_problem_its_update_and_its_recovery() -> None:
    (alert,) = shipped("zabbix_problem").alerts
    assert (alert.status, alert.title) == (AlertStatus.FIRING, "High CPU utilization (over 90% for 5m)")
    assert alert.labels == {
        "host": "db-1", "ip": "10.0.0.7", "component": "cpu", "scope": "performance", "severity": "High",
    }  # fmt: skip
    assert alert.annotations == {"message": "Current utilization: 96.4 %"}
    assert alert.link == "http://zabbix.example.com/tr_events.php?triggerid=22391&eventid=4711"
    (recovery,) = shipped("zabbix_problem", event_value="0").alerts
    assert (recovery.status, recovery.fingerprint) == (AlertStatus.RESOLVED, alert.fingerprint)
    changes = {"event_update_status": "1", "event_update_action": "acknowledged and commented",
               "event_update_message": "I look", "user_fullname": "Li Si"}  # fmt: skip
    (update,) = shipped("zabbix_problem", **changes).alerts
    assert (update.status, update.fingerprint) == (AlertStatus.FIRING, alert.fingerprint)
    assert update.annotations == {
        "message": "I look\nCurrent utilization: 96.4 %", "update": "acknowledged and commented", "updated_by": "Li Si",
    }  # fmt: skip


@pytest.mark.parametrize("who", ["Inaccessible user", "*UNKNOWN*", "{USER.FULLNAME}", ""])
def test_nobody_is_named_whom_zabbix_does_not_name(who: str) -> None:
    changes = {"event_update_status": "1", "event_update_action": "acknowledged", "user_fullname": who}
    (alert,) = shipped("zabbix_problem", **changes).alerts
    assert (alert.annotations["update"], "updated_by" in alert.annotations) == ("acknowledged", False)


def test_macros_of_zabbix_that_stand_for_nothing_are_absent() -> None:
    absent = {"host_ip": "*UNKNOWN*", "zabbix_url": "{$ZABBIX.URL}", "event_opdata": "{EVENT.OPDATA}",
              "event_tags": "{EVENT.TAGSJSON}", "user_fullname": "{USER.FULLNAME}"}  # fmt: skip
    (alert,) = shipped("zabbix_problem", **absent, alert_message="of the template").alerts
    assert alert.labels == {"host": "db-1", "severity": "High"}
    assert (alert.annotations, alert.link, alert.sender) == ({"message": "of the template"}, None, "")


@pytest.mark.parametrize(
    ("number", "word"), [("0", "Own word"), ("1", "Information"), ("2", "Warning"), ("3", "Average"), ("4", "High"),
                         ("5", "Disaster"), ("{EVENT.NSEVERITY}", "Own word")]
)  # fmt: skip
def test_the_severity_of_zabbix_is_its_number_whatever_it_is_called(number: str, word: str) -> None:
    (alert,) = shipped("zabbix_problem", event_nseverity=number, event_severity="Own word").alerts
    assert alert.labels["severity"] == word


def test_a_tag_that_comes_twice_has_both_values_and_a_route_matches_any() -> None:
    tags = [{"tag": "service", "value": "billing"}, {"tag": "service", "value": "orders"}, {"tag": "a", "value": ""},
            {"tag": "service", "value": "billing"}]  # fmt: skip
    group = shipped("zabbix_problem", event_tags=json.dumps(tags))
    (alert,) = group.alerts
    assert (alert.labels["service"], alert.repeated) == ("billing, orders", ("service",))
    for matcher, matches in (
        ("service=billing", True), ("service=orders", True), ('service=~"bill.*"', True), ("service!=orders", False),
        ("service=other", False), ("service!=other", True), ('service="billing, orders"', True),
    ):  # fmt: skip
        labels = routing.labels_of(group, alert)
        assert matches_all(parse_matchers([matcher]), labels) is matches, matcher
    again = serialization.group_from_json(serialization.group_to_json(group))
    assert matches_all(parse_matchers(["service=orders"]), routing.labels_of(again, again.alerts[0]))


def test_nightingale_tells_several_events_or_one() -> None:
    group = shipped("nightingale_v8")
    first, second = group.alerts
    assert (first.status, first.title) == (AlertStatus.FIRING, "磁盘使用率高")
    assert (first.labels["ident"], first.labels["path"], first.labels["severity"]) == ("db-1", "/data", "warning")
    assert (first.values, first.link) == ((Value("value", 92.31),), "https://wiki.example.com/disk")
    assert (second.status, second.labels["severity"]) == (AlertStatus.RESOLVED, "critical")
    assert first.fingerprint == "2cb966f9ba1cdc7af94c3796e855955a"
    single = posted(SHIPPED["generic/nightingale"], PAYLOADS["nightingale_v8"][0])
    assert single.alerts == (first,)


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e], lambda e: {"events": [e]}, lambda e: {"event": e}])
def test_an_event_of_nightingale_s_stands_alone_in_a_list_or_below_a_name(wrap: Callable[[Any], Any]) -> None:
    event = PAYLOADS["nightingale_v8"][0]
    expected = posted(SHIPPED["generic/nightingale"], event).alerts
    assert expected[0].title == "磁盘使用率高"
    for hook in ("generic/nightingale", "generic"):
        assert posted(registry.SourceTable({})[hook], wrap(event)).alerts == expected
    old = event | {"tags": "a=b,,c=d", "tags_map": None}
    (alert,) = posted(SHIPPED["generic/nightingale"], wrap(old)).alerts
    assert (alert.labels["a"], alert.labels["c"]) == ("b", "d")


@pytest.mark.parametrize(
    ("kind", "status", "state", "is_test"),
    [("failure", AlertStatus.FIRING, "failed", False), ("warning", AlertStatus.FIRING, "", False),
     ("success", AlertStatus.RESOLVED, "", False), ("info", AlertStatus.FIRING, "", True)],
)  # fmt: skip
def test_apprise_says_by_its_type_how_it_came_out(kind: str, status: AlertStatus, state: str, is_test: bool) -> None:
    data = {"version": "1.0", "title": "Backup", "message": "of db-1", "attachments": [], "type": kind}
    (alert,) = posted(registry.SourceTable({})["generic"], data).alerts
    assert (alert.source, alert.status, alert.state, alert.is_test) == ("apprise", status, state, is_test)
    (other,) = posted(registry.SourceTable({})["generic"], data | {"type": "failure"}).alerts
    assert is_test or alert.fingerprint == other.fingerprint


@pytest.mark.parametrize("name", BY_MAPPING)
@pytest.mark.parametrize("resolved", [False, True])
def test_what_ships_is_told_in_a_dozen_lines_however_much_there_is(name: str, resolved: bool) -> None:
    def grow(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: grow(inner, name) for name, inner in value.items()}
        if isinstance(value, list):
            return [grow(inner, key) for inner in value] * 9
        # What is a sentence may be a page.
        is_sentence = isinstance(value, str) and "{" not in value and (SAID in value or key in ("message", "msg"))
        return f"{value}\n" * 30 if is_sentence else value

    sample = SAMPLES[name]
    body = sample.body(resolved=resolved)
    grown = body if name == "aliyun" else json.dumps(grow(json.loads(body))).encode()
    group = SHIPPED[sample.hook](grown, {"Content-Type": sample.content_type})
    single = replace(group, alerts=group.alerts[:1])
    for language in ("en", "zh"):
        text = write_text(single, language, UTC, datetime.now(UTC))  # type: ignore[arg-type] - it is one of the two
        assert len(text.splitlines()) <= 12, text
        assert len(text) <= 900


MEDIA_TYPES = sorted((REPOSITORY / "deploy" / "zabbix").glob("*.yaml"))


@pytest.mark.parametrize("file", MEDIA_TYPES, ids=lambda file: file.stem)
def test_the_media_type_of_zabbix_sends_what_the_mapping_reads_and_fails_where_it_must(file: Path) -> None:
    export = yaml.safe_load(file.read_text(encoding="utf-8"))["zabbix_export"]
    (media,) = export["media_types"]
    assert file.stem.endswith(export["version"])
    given = {each["name"]: each.get("value", "") for each in media["parameters"]}
    read = {"event_id", "event_name", "event_value", "event_nseverity", "event_opdata", "event_tags", "event_duration",
            "event_source", "event_update_status", "event_update_action", "event_update_message", "user_fullname",
            "host_name", "host_ip", "item_name", "item_value", "trigger_id", "trigger_url", "zabbix_url"}  # fmt: skip
    assert read <= set(given)
    assert "request.getStatus()" in media["script"]
    assert re.search(r"if \(status < 200 \|\| status > 299\) \{\s+throw", media["script"])
    modes = {(each["event_source"], each["operation_mode"]) for each in media["message_templates"]}
    assert {("TRIGGERS", mode) for mode in ("PROBLEM", "RECOVERY", "UPDATE")} <= modes
    # What its test button sends is a test, whatever the person has set.
    (alert,) = posted(SHIPPED["generic/zabbix"], {name: text for name, text in given.items() if name != "url"}).alerts
    assert alert.is_test


def test_there_is_a_media_type_for_both_generations_of_zabbix() -> None:
    assert [file.stem for file in MEDIA_TYPES] == ["media_wxbridge_6.0", "media_wxbridge_7.0"]


def test_jenkins_tells_a_build() -> None:
    (alert,) = shipped("jenkins_failure").alerts
    assert (alert.status, alert.state, alert.title) == (AlertStatus.FIRING, "failed", "asgard #18")
    assert (alert.link, alert.labels["branch"]) == ("http://localhost:8080/job/asgard/18/", "origin/master")
    build = PAYLOADS["jenkins_failure"]["build"]
    for word, status, state in (("SUCCESS", AlertStatus.RESOLVED, ""), ("UNSTABLE", AlertStatus.FIRING, "unstable")):
        (after,) = shipped("jenkins_failure", build=build | {"number": 19, "status": word}).alerts
        assert (after.status, after.state, after.fingerprint) == (status, state, alert.fingerprint)


def test_github_tells_how_a_workflow_ended() -> None:
    (alert,) = shipped("github_workflow_run").alerts
    assert (alert.status, alert.title) == (AlertStatus.FIRING, "octo-org/octo-repo · Build")
    assert alert.annotations == {"message": "Update README.md"}
    assert alert.link == "https://github.com/octo-org/octo-repo/actions/runs/30433642"
    run = PAYLOADS["github_workflow_run"]["workflow_run"]
    (after,) = shipped(
        "github_workflow_run", workflow_run=run | {"conclusion": "success"}, sender={"login": "b"}
    ).alerts
    assert (after.status, after.fingerprint) == (AlertStatus.RESOLVED, alert.fingerprint)
    assert not shipped("github_workflow_run", workflow_run=run | {"conclusion": None, "status": "queued"}).is_news


def test_github_s_other_events_are_told_in_a_word_and_its_forms_are_read() -> None:
    ping = {"zen": "Keep it logically awesome.", "hook_id": 1}
    body = urlencode({"payload": json.dumps(ping)}).encode()
    for group in (posted(SHIPPED["generic/github"], ping), SHIPPED["generic/github"](body, FORM_TYPE)):
        assert (group.alerts, group.text, group.title) == ((), "Keep it logically awesome.", "github")


def moment(hour: int, minute: int, second: int, milli: int = 0) -> datetime:
    return datetime(2026, 11, 29, hour, minute, second, milli * 1000, UTC)


def test_uptime_kuma_s_times_are_utc_s_and_it_says_since_when_it_was_down() -> None:
    (down,), (up,) = shipped("uptime-kuma_2.5.3_down").alerts, shipped("uptime-kuma_2.5.3_up").alerts
    assert (down.starts_at, down.ends_at) == (moment(14, 5, 31, 340), None)
    assert (up.starts_at, up.ends_at) == (down.starts_at, moment(14, 6, 11, 341))
    heartbeat = PAYLOADS["uptime-kuma_2.5.3_down"]["heartbeat"] | {"important": False, "time": "2026-11-29 15:05:31"}
    (again,) = shipped("uptime-kuma_2.5.3_down", heartbeat=heartbeat).alerts
    assert again.starts_at is None, "what it says again has the time of that"


def test_zabbix_says_how_long_and_where_it_says_them_the_moments() -> None:
    (problem,), (recovery,) = shipped("zabbix_6.0_problem").alerts, shipped("zabbix_6.0_recovery").alerts
    assert (problem.starts_at, problem.duration) == (None, 2.0)
    assert (recovery.starts_at, recovery.ends_at, recovery.duration) == (None, None, 12.0)
    stamps = {"event_timestamp": "1795953600", "event_recovery_timestamp": "1795953660"}
    (recovery,) = shipped("zabbix_6.0_recovery", **stamps).alerts
    assert (recovery.starts_at, recovery.ends_at, recovery.duration) == (moment(12, 0, 0), moment(12, 1, 0), None)
    macros = {"event_duration": "{EVENT.DURATION}", "event_timestamp": "{EVENT.TIMESTAMP}"}
    (problem,) = shipped("zabbix_6.0_problem", **macros).alerts
    assert (problem.starts_at, problem.duration) == (None, None)


def test_zabbix_s_own_clock_counts_where_it_says_nothing_else() -> None:
    times = {"event_date": "2026.11.29", "event_time": "20:00:00", "event_duration": None}
    body = json.dumps(PAYLOADS["zabbix_6.0_problem"] | times).encode()
    (problem,) = parsers({}, ZoneInfo("Asia/Shanghai"))["generic/zabbix"](body, JSON_TYPE).alerts
    assert problem.starts_at == moment(12, 0, 0)


def test_nightingale_says_since_when_how_long_and_the_value_at_the_end() -> None:
    (fires,), (ends,) = shipped("nightingale_fires").alerts, shipped("nightingale_recovered").alerts
    assert (fires.starts_at, fires.ends_at, fires.values) == (moment(12, 0, 0), None, (Value("value", 93.21),))
    assert (ends.starts_at, ends.ends_at) == (moment(12, 0, 0), moment(12, 56, 40))
    assert ends.values == (Value("value", 41.5),)
    (ends,) = shipped("nightingale_recovered", annotations={}, first_trigger_time=0, recover_time=0).alerts
    assert (ends.starts_at, ends.ends_at, ends.values) == (moment(12, 0, 0), moment(12, 56, 40), ())


@pytest.mark.parametrize("name", PRESETS)
def test_a_shipped_mapping_tells_any_other_body_as_text(name: str) -> None:
    for document in ({}, {"other": 1}, "words", 5):
        assert posted(SHIPPED[f"generic/{name}"], document).alerts == ()


def test_a_mapping_of_the_same_name_in_jobs_yaml_comes_first() -> None:
    own = parsers({"zabbix": BodyMapping(title="subject"), "nagios": BodyMapping(title="host")})
    assert posted(own["generic/zabbix"], {"subject": "mine", "event_name": "shipped"}).title == "mine"
    assert set(own) == {f"generic/{name}" for name in [*PRESETS, "nagios"]}


# ---------------------------------------------------------------- one's own


def test_times_are_read_of_a_local_clock_and_only_an_end_ends() -> None:
    document = {"name": "Disk", "from": "2026-11-29 20:00:00", "to": 1795953660000, "state": "bad"}
    mapping = BodyMapping(title="name", status="state", starts_at="from", ends_at="to", duration="`5`")
    read = mapped(mapping, "mine", ZoneInfo("Asia/Shanghai"))
    (alert,) = posted(read, document).alerts
    assert (alert.starts_at, alert.ends_at, alert.duration) == (moment(12, 0, 0), None, 5)
    (alert,) = posted(read, document | {"from": "2026-11-29 20:00:00 +0800"}).alerts
    assert (alert.starts_at, alert.duration) == (moment(12, 0, 0), None), "its zone is known"
    (alert,) = posted(read, document | {"state": "ok"}).alerts
    assert (alert.starts_at, alert.ends_at) == (moment(12, 0, 0), moment(12, 1, 0))


@pytest.mark.parametrize(("found", "values"), [(41.5, (Value("value", 41.5),)), (None, ()), ("", ())])
def test_a_recovery_tells_the_value_at_the_recovery_or_none(found: Any, values: Any) -> None:
    document = {"name": "Disk", "state": "ok", "used": 93.2, "now": found}
    assert alert_by(document, status="state", values={"used": "used"}, recovery_value="now").values == values
    assert alert_by(document | {"state": "bad"}, status="state", values={"used": "used"}, recovery_value="now").values
    assert alert_by(document, status="state", values={"used": "used"}).values == (Value("used", 93.2),)


def test_each_part_is_looked_up_where_its_expression_says() -> None:
    document = {
        "name": "Disk", "more": {"text": "is full"}, "state": "bad", "level": "page", "where": {"host": "a", "n": 1},
        "figures": {"used": 92.5}, "urls": ["http://x/1", "http://x/2"], "chart": "http://x/c.png", "key": 7,
    }  # fmt: skip
    group = read_by(
        document, text="more.text", status="state", severity="level", labels="where", values="figures",
        link="urls[1]", picture="chart", id="key",
    )  # fmt: skip
    assert group.alerts == (
        Alert(
            "mine", AlertStatus.FIRING, "Disk", {"host": "a", "n": "1", "severity": "page"}, {"message": "is full"},
            (Value("used", 92.5),), link="http://x/2", fingerprint="7",
            picture=PictureSpec("fetch", {"url": "http://x/c.png"}, link="http://x/c.png"),
        ),
    )  # fmt: skip
    assert (group.source, group.group_key, group.dedupe) == ("mine", "7", None)


def test_labels_and_values_may_have_an_expression_each() -> None:
    alert = alert_by(
        {"name": "x", "a": {"b": "c"}, "tags": ["k:v"], "ms": 12, "gone": None},
        labels={"one": "a.b", "none": "no.where", "all": "tags"},
        values={"time": "{value: ms, unit: 'ms'}", "gone": "gone"},
    )
    assert alert.labels == {"one": "c", "k": "v"}
    assert alert.values == (Value("time", 12.0, unit="ms"),)


def test_what_a_mapping_does_not_find_is_absent() -> None:
    alert = alert_by(
        {"name": "x", "n": "text"},
        text="no", status="no", severity="no", labels="no", values="no", link="no && yes", picture="no", id="abs(n)",
    )  # fmt: skip
    assert (alert.status, alert.state, alert.labels, alert.annotations, alert.values, alert.link, alert.picture) == (
        AlertStatus.FIRING, "", {}, {}, (), None, None,
    )  # fmt: skip
    assert alert.fingerprint


def test_without_a_title_the_text_is_told_else_the_whole_body() -> None:
    assert read_by({"words": "hello"}, text="words").text == "hello"
    assert json.loads(read_by({"a": 1}, text="words").text or "") == {"a": 1}
    assert read_by({"name": " "}).alerts == ()


def test_a_list_in_the_body_is_several_alerts() -> None:
    document = {"events": [{"name": "a", "s": "up"}, {"name": "b"}, {"other": 1}]}
    group = read_by(document, alerts="events", status="s")
    assert [alert.title for alert in group.alerts] == ["a", "b", '{"other": 1}']
    assert group.alerts[0].status is AlertStatus.RESOLVED
    assert read_by({"name": "single"}, alerts="events").title == "single"


def test_of_very_many_the_first_are_read_and_the_others_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.alerts.sources.generic.MAX_MAPPED_ALERTS", 3)
    group = read_by([{"name": "a"}] * 5, alerts="[]")
    assert (len(group.alerts), group.truncated) == (3, 2)


def test_a_form_is_an_object_of_its_fields() -> None:
    group = mapped(BodyMapping(title="name", status="s"))(b"name=Disk&s=ok", FORM_TYPE)
    assert (group.alerts[0].title, group.alerts[0].status) == ("Disk", AlertStatus.RESOLVED)
    check_usable(group)


def test_what_cannot_be_read_is_refused_with_a_sentence() -> None:
    for body in (b"", b"\xff", b"null"):
        with pytest.raises(BadBody, match=r"\.$"):
            mapped(BodyMapping(title="a"))(body, JSON_TYPE)


# ---------------------------------------------------------------- jobs.yaml


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("a..b", "'.' at character 3 was not expected"),
        ("a.b ||", "it ends too early"),
        ("'x", '"\'x" at character 1 was not expected'),
        ("a-b", "'-' at character 2 was not expected"),
        ("5", "5 at character 1 was not expected"),
        ("", "it is empty"),
        ("uper(a)", r"there is no function uper\(\); there are abs, "),
        ("a.[to_string(b, c)]", r"to_string\(\) takes 1 arguments, not 2"),
        ("not_null()", r"not_null\(\) takes 1 or more arguments, not 0"),
        ("(" * 5000, "nested too deeply|ends too early"),
    ],
)
def test_a_broken_expression_is_refused_with_its_place_and_an_example(expression: str, words: str) -> None:
    for mapping in (
        {"title": expression},
        {"title": "a", "labels": {"k": expression}},
        {"title": "a", "alerts": expression},
    ):
        with pytest.raises(ValidationError, match=words) as caught:
            BodyMapping(**mapping)
        assert "write one like monitor.name" in str(caught.value)


def test_check_names_the_line_of_a_broken_expression(read: Callable[..., Config], tmp_path: Path) -> None:
    text = (
        SMALL
        + """\
hooks:
  generic:
    mappings:
      mine:
        title: name
        labels: {host: "host.", env: env}
        statsu: x
"""
    )
    with pytest.raises(ConfigError) as caught:
        read(text)
    first, second = map(str, caught.value.problems)
    assert first.startswith(f"{tmp_path / 'jobs.yaml'}:12: `hooks.generic.mappings.mine.labels`: `host`: 'host.' is no")
    assert second.endswith(":13: unknown key `statsu`; did you mean `status`?")


def test_jobs_yaml_configures_who_may_post_what(read: Callable[..., Config]) -> None:
    text = (
        SMALL
        + """\
hooks:
  grafana: {hmac_secret: "${S}", timestamp_header: X-Time, max_age: 1m}
  openfalcon: {token: an-0pen-token}
  generic:
    token: a-generic-token
    mappings:
      mine: {title: name, labels: {host: host}, alerts: items}
"""
    )
    hooks = read(text, S="an-hmac-s3cret").hooks
    assert (hooks.grafana.timestamp_header, hooks.grafana.max_age) == ("X-Time", 60.0)
    assert hooks.grafana.signature_header == "X-Grafana-Alerting-Signature"
    assert hooks.generic.mappings["mine"].labels == {"host": "host"}
    assert hooks.alertmanager.token is None
    for secret in ("an-hmac-s3cret", "an-0pen-token", "a-generic-token"):
        assert secret not in repr(hooks)
        assert secret not in str(hooks.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"grafana": {"token": ""}}, "is empty, which would let anybody in"),
        ({"grafana": {"hmac_secret": " "}}, "is empty, which would let anybody in"),
        ({"grafana": {"signature_header": "X Y"}}, "is no name of a header"),
        ({"grafana": {"max_age": "soon"}}, "is no duration"),
        ({"generic": {"mappings": {"a/b": {"title": "x"}}}}, "cannot stand in an address"),
        ({"generic": {"mappings": {"a": {"text": "x"}}}}, "title"),
        ({"nagios": {}}, "nagios"),
    ],
)
def test_a_section_that_cannot_work_is_refused(section: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        HooksSettings.model_validate(section)


def test_there_are_no_mappings_but_the_shipped_ones_by_default() -> None:
    assert HooksSettings().generic.mappings == {}


# ---------------------------------------------------------------- anything


KNOWN = {name for data in PAYLOADS.values() if isinstance(data, dict) for name in data}


@given(st.sampled_from(sorted(SHIPPED)), spoiled(list(PAYLOADS.values())) | json_values(**dict.fromkeys(KNOWN, ("1",))))
def test_any_json_is_told(name: str, data: Any) -> None:
    check_told(SHIPPED[name], data, JSON_TYPE)


EXPRESSIONS = ["a", "a.b", "a[*].b", "[]", "*", "length(a)", "keys(a)", "sum(a)", "join(',', a)", "sort_by(a, &b)",
               "max_by(a, &b)", "a > `1`", "to_number(a)", "merge(a, b)", "a[?b == `1`]", "map(&b, a)", "a[::0]",
               "a[99999999999999999999]", "avg(a)", "ceil(a)", "sort(a)", "contains(a, b)", "@"]  # fmt: skip


@given(st.sampled_from(EXPRESSIONS), st.sampled_from(EXPRESSIONS), json_values(a=(1, "1"), b=(1, 0)))
def test_any_expression_meets_any_document(first: str, second: str, data: Any) -> None:
    parts = ("title", "text", "status", "severity", "labels", "values", "link", "picture", "id", "alerts")
    for mapping in (
        {"title": first},
        dict.fromkeys(parts, first) | {"title": second},
        {"title": "a", "labels": {"x": first}},
    ):
        check_told(mapped(BodyMapping(**mapping)), data, JSON_TYPE)


@given(st.binary())
def test_any_bytes_are_told_or_refused(body: bytes) -> None:
    check_told_or_refused(SHIPPED["generic/github"], body, {})
