"""Who said it, whether it was said before, and when it is over: bodies as senders post them, to what rooms are told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.integration.alerts.test_pipeline import (
    HOUR,
    MINUTE,
    Make,
    PipelineHarness,
    alertmanager,
    ends,
    fires,
    route,
)
from tests.integration.alerts.test_pipeline import make_on_default as make
from wxbridge.alerts.intake import TEST_HEADER
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.reminders import Reminders

__all__ = ["make"]
"""Whatever the database: what is stored is the pipeline's, which `test_pipeline` tries on both."""

JSON_TYPE = {"Content-Type": "application/json"}


async def post(harness: PipelineHarness, hook: str, data: Any, instance: str = "") -> tuple[int, int]:
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    accepted = await harness.service().accept(hook, body, JSON_TYPE, (), instance)
    return accepted.queued, accepted.duplicates


async def firing(harness: PipelineHarness) -> list[str]:
    return sorted(each.alert.title for each in await harness.service().list_firing() if each.alert)


def kuma(name: str, *, up: bool = False, number: int = 1) -> dict[str, Any]:
    monitor = {"id": number, "name": name.rpartition(" / ")[2], "pathName": name, "url": f"https://{name}.example.com"}
    return {"heartbeat": {"status": int(up), "msg": "x"}, "monitor": monitor, "msg": "x"}


def legacy(host: str = "a.example.com", *, state: str = "alerting", **more: Any) -> dict[str, Any]:
    return {
        "title": f"[{state}] CPU", "ruleName": "CPU", "ruleId": 1, "orgId": 1, "state": state,
        "ruleUrl": f"http://{host}/d/x/y?panelId=2", **more,
    }  # fmt: skip


def unified(*, start: str = "2026-06-05T12:00:00Z", host: str = "g", **more: Any) -> dict[str, Any]:
    alert = {
        "status": "firing", "labels": {"alertname": "HA"}, "annotations": {}, "startsAt": start,
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "f", "values": {"A": 1},
        "generatorURL": f"https://{host}.example.com/alerting/grafana/u1/view",
    }  # fmt: skip
    return {
        "receiver": "r", "status": "firing", "version": "1", "orgId": 1, "groupKey": "k", "title": "HA",
        "externalURL": f"https://{host}.example.com/", "alerts": [alert | more],
    }  # fmt: skip


def jenkins(folder: str, status: str = "FAILURE", host: str = "ci") -> dict[str, Any]:
    url = f"job/{folder}/job/main/"
    build = {"number": 12, "status": status, "full_url": f"http://{host}.example.com/{url}12/"}
    return {"name": "main", "display_name": "main", "url": url, "build": build}


def workflow(repository: str, conclusion: str = "failure", head: str = "") -> dict[str, Any]:
    run = {
        "name": "CI", "head_branch": "main", "status": "completed", "conclusion": conclusion,
        "head_repository": {"full_name": head or repository}, "html_url": f"https://github.com/{repository}/runs/1",
    }  # fmt: skip
    return {
        "workflow_run": run,
        "repository": {"full_name": repository, "html_url": f"https://github.com/{repository}"},
    }


# ---------------------------------------------------------------- two senders with one id


TWO_SENDERS = {
    "kuma": ("generic/uptime-kuma", kuma("a"), kuma("b"), kuma("b", up=True)),
    "grafana-legacy": ("grafana", legacy("a"), legacy("b"), legacy("b", state="ok")),
    "grafana-below-a-path": ("grafana", legacy("g/a"), legacy("g/b"), legacy("g/b", state="ok")),
    "grafana-unified": (
        "grafana", unified(host="a"), unified(host="b"),
        unified(host="b", status="resolved", endsAt="2026-06-05T12:01:00Z"),
    ),
    "alertmanager": (
        "alertmanager",
        *(
            json.loads(alertmanager(alert)) | {"externalURL": f"http://{host}:9093"}
            for host, alert in (("a", fires("Disk")), ("b", fires("Disk")), ("b", ends("Disk")))
        ),
    ),
    "jenkins-folders": (
        "generic/jenkins", jenkins("payments"), jenkins("website"), jenkins("website", "SUCCESS")
    ),
    "jenkins-servers": (
        "generic/jenkins", jenkins("p"), jenkins("p", host="ci2"), jenkins("p", "SUCCESS", host="ci2")
    ),
    "github-repositories": (
        "generic/github", workflow("x/a"), workflow("x/b"), workflow("x/b", "success")
    ),
    "zabbix": (
        "generic/zabbix",
        *(
            {"event_name": "lag", "event_id": "1", "event_value": value, "zabbix_url": f"https://{host}"}
            for host, value in (("a", "1"), ("b", "1"), ("b", "0"))
        ),
    ),
    "nightingale": (
        "generic/nightingale",
        *(
            {"rule_name": "mem", "hash": "h", "is_recovered": over, "cluster": where, "group_name": "g"}
            for where, over in (("sh", False), ("bj", False), ("bj", True))
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("repeat_interval", [HOUR, None])
@pytest.mark.parametrize("case", TWO_SENDERS)
async def test_two_senders_with_one_id_are_both_told_and_an_end_is_of_its_own_sender(
    make: Make, case: str, repeat_interval: float | None
) -> None:
    hook, first, second, end = TWO_SENDERS[case]
    harness = make(routes=[route("ops", repeat_interval=repeat_interval)])
    assert await post(harness, hook, first) == (1, 0)
    assert await post(harness, hook, second) == (1, 0)
    assert len(await firing(harness)) == 2
    assert await post(harness, hook, end) == (1, 0)
    assert len(await firing(harness)) == 1


async def test_the_green_run_of_a_fork_ends_no_failure(make: Make) -> None:
    harness = make()
    await post(harness, "generic/github", workflow("x/a"))
    await post(harness, "generic/github", workflow("x/a", "success", head="somebody/a"))
    assert len(await firing(harness)) == 1


async def test_where_bodies_do_not_say_who_sends_the_address_does(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    body = {"title": "Backup failed", "status": "failed", "id": "backup"}
    assert await post(harness, "generic", body, "db-1") == (1, 0)
    assert await post(harness, "generic", body, "db-2") == (1, 0)
    assert await post(harness, "generic", body, "db-2") == (0, 1)
    await post(harness, "generic", body | {"status": "ok"}, "db-2")
    assert await firing(harness) == ["Backup failed"]


async def test_an_address_may_say_that_two_are_one(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    for host in ("am-0", "am-1"):
        await post(
            harness, "alertmanager", json.loads(alertmanager(fires("Disk"))) | {"externalURL": f"http://{host}"}, "am"
        )
    assert await harness.told("ops") == ["🔥 Disk"]


@pytest.mark.parametrize("change", [{"title": "Disk of db-2"}, {"link": "http://x/2"}])
async def test_nothing_is_a_repeat_whose_title_or_link_differs(make: Make, change: Mapping[str, str]) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    body = {"title": "Disk of db-1", "link": "http://x/1", "id": "1", "status": "down"}
    assert await post(harness, "generic", body) == (1, 0)
    assert await post(harness, "generic", body | change) == (1, 0)
    assert await post(harness, "generic", body | change) == (0, 1)


async def test_names_that_are_unique_in_a_folder_only_are_told_with_it(make: Make) -> None:
    harness = make()
    await post(harness, "generic/jenkins", jenkins("payments"))
    await post(harness, "generic/uptime-kuma", kuma("测试 / Grafana"))
    assert await harness.told("ops") == ["🔥 failed · payments » main #12", "🔥 down · 测试 / Grafana"]


# ---------------------------------------------------------------- what is no failure


def github(word: str | None, status: str = "completed") -> dict[str, Any]:
    run = {"name": "CI", "head_branch": "main", "status": status, "conclusion": word}
    return {"workflow_run": run, "repository": {"full_name": "example/shop"}}


@pytest.mark.parametrize("status", ["queued", "in_progress", "requested", "waiting", "pending"])
async def test_a_build_that_waits_or_goes_on_is_told_to_nobody(make: Make, status: str) -> None:
    harness = make()
    assert await post(harness, "generic/github", github(None, status)) == (0, 0)
    assert await firing(harness) == []


@pytest.mark.parametrize("word", ["skipped", "cancelled", "neutral", "stale"])
async def test_a_build_that_ended_without_a_verdict_is_told_and_does_not_fire(make: Make, word: str) -> None:
    harness = make()
    assert await post(harness, "generic/github", github("failure")) == (1, 0)
    assert await post(harness, "generic/github", github(word)) == (1, 0)
    assert await harness.told("ops") == ["🔥 failed · example/shop · CI", f"📨 {word} · example/shop · CI"]
    assert len(await firing(harness)) == 1, "the failure goes on"
    await post(harness, "generic/github", github("success"))
    assert await firing(harness) == []


# ---------------------------------------------------------------- said again


async def test_replicas_that_see_one_firing_seconds_apart_are_one(make: Make) -> None:
    for repeat_interval in (None, HOUR):
        harness = make(routes=[route("ops", repeat_interval=repeat_interval)], targets=("ops", "master"))
        day = "01" if repeat_interval else "02"
        assert await post(harness, "grafana", unified(start=f"2026-06-{day}T12:50:10.100Z")) == (1, 0)
        harness.clock.advance(2)
        assert await post(harness, "grafana", unified(start=f"2026-06-{day}T12:50:12.300Z")) == (0, 1)


async def test_replicas_of_an_old_grafana_send_the_same_and_a_minute_later_it_is_a_reminder(make: Make) -> None:
    harness = make()
    assert await post(harness, "grafana", legacy()) == (1, 0)
    harness.clock.advance(2)
    assert await post(harness, "grafana", legacy()) == (0, 1)
    harness.clock.advance(MINUTE)
    assert await post(harness, "grafana", legacy()) == (1, 0)


async def test_an_alert_that_ended_and_begins_at_once_is_no_replica(make: Make) -> None:
    harness = make()
    for state in ("alerting", "ok", "alerting"):
        assert await post(harness, "grafana", legacy(state=state)) == (1, 0)


ON_PURPOSE = {
    "zabbix-escalation": ("generic/zabbix", {"event_name": "lag", "event_id": "1", "event_value": "1"}),
    "kuma-resend": ("generic/uptime-kuma", kuma("a")),
    "kuma-test": ("generic/uptime-kuma", {"heartbeat": None, "monitor": None, "msg": "x Testing"}),
    "script": ("generic", {"title": "Backup failed", "status": "failed"}),
    "text": ("generic", {"text": "hello"}),
    "openfalcon": ("openfalcon", b"tos=a&content=hello"),
}


@pytest.mark.parametrize("case", ON_PURPOSE)
async def test_who_never_retries_says_the_same_again_on_purpose(make: Make, case: str) -> None:
    harness = make()
    for _ in range(2):
        assert await post(harness, *ON_PURPOSE[case]) == (1, 0)


async def test_a_retry_of_alertmanager_is_absorbed_and_another_link_is_none(make: Make) -> None:
    harness = make()
    assert await harness.post(fires("Disk")) == (1, 0)
    assert await harness.post(fires("Disk")) == (0, 1)
    assert await harness.post(fires("Disk") | {"generatorURL": "http://other/graph"}) == (1, 0)


async def test_ends_that_grafana_says_again_with_another_start_are_told_once(make: Make) -> None:
    """Recorded from 12.4: in the repeat of a group, what is over starts when it ended."""
    end = {"status": "resolved", "endsAt": "2026-06-05T12:30:00Z"}
    for group in ("a", "b"):
        harness = make(routes=[route("ops", repeat_interval=HOUR if group == "a" else None)], targets=("ops", "master"))
        first = fires(f"Queue{group}"), ends(f"Web{group}") | end
        again = fires(f"Queue{group}"), ends(f"Web{group}") | end | {"startsAt": end["endsAt"]}, fires(f"New{group}")
        await harness.post(*first)
        harness.clock.advance(3 * MINUTE)
        await harness.post(*again)
        texts = "\n".join(text.text for text in await harness.texts("ops"))
        assert texts.count(f"Web{group}") == 1
        assert f"New{group}" in texts


# ---------------------------------------------------------------- tests


TESTS = {
    "legacy": ("grafana", legacy(orgId=0, title="[Alerting] Test notification", dashboardId=1, panelId=1,
                                 imageUrl="https://grafana.com/static/assets/img/blog/mixed_styles.png")),
    "unified": ("grafana", unified(labels={"alertname": "TestAlert", "instance": "Grafana"})),
    "unified-with-own-labels": (
        "grafana", unified(labels={"alertname": "mine", "team": "db"}) | {"groupKey": "webhook-f-1795974667"}
    ),
    "unified-of-version-9": (
        "grafana", unified() | {"groupKey": '{a="b"}2026-11-29 18:32:47.7 +0000 UTC m=+1059.369453470'}
    ),
    "kuma": ("generic/uptime-kuma", {"heartbeat": None, "monitor": None, "msg": "x Testing"}),
    "kuma-by-a-template": ("generic", {"title": "Monitor Name not available", "status": "⚠️ Test"}),
    "zabbix": ("generic/zabbix", {"event_name": "{EVENT.NAME}", "event_id": "{EVENT.ID}", "event_value": "{E}"}),
}  # fmt: skip


@pytest.mark.parametrize("case", TESTS)
async def test_a_test_is_told_each_time_without_a_picture_and_never_fires(make: Make, case: str) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    for _ in range(2):
        assert await post(harness, *TESTS[case]) == (1, 0)
    assert all(line.startswith("📨") for line in await harness.told("ops"))
    assert await firing(harness) == []
    await harness.look(2 * HOUR)
    assert len(await harness.told("ops")) == 2


async def test_a_sample_of_any_sender_is_a_test(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)], pictures=AlertPictureOptions(prometheus=True))
    for _ in range(2):
        accepted = await harness.service().accept("alertmanager", alertmanager(fires("Disk")), {TEST_HEADER: "1"})
        assert accepted.queued == 1, "no picture comes with it"
    assert await harness.told("ops") == ["📨 Disk"] * 2
    assert await firing(harness) == []


# ---------------------------------------------------------------- over by silence


async def test_what_nobody_says_again_is_over_after_a_day(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    await harness.post(fires("Disk"))
    for _ in range(48):
        await harness.look(HOUR)
    assert len(await harness.told("ops")) == 25
    assert await firing(harness) == []


async def test_three_of_the_senders_intervals_without_a_word_mean_that_it_is_over(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=HOUR)])
    for _ in range(3):
        await harness.post(fires("Disk"))
        harness.clock.advance(20 * MINUTE)
    await harness.look(39 * MINUTE)
    assert await firing(harness) == ["Disk"]
    await harness.look(2 * MINUTE)
    assert await firing(harness) == []
    told = len(await harness.told("ops"))
    await harness.look(5 * HOUR)
    assert len(await harness.told("ops")) == told


@pytest.mark.parametrize("by", [-HOUR, HOUR])
async def test_a_clock_that_is_set_makes_no_silence_longer_or_shorter(make: Make, by: float) -> None:
    harness = make(routes=[route("ops")])
    for _ in range(3):
        await harness.post(fires("Disk"))
        harness.clock.advance(20 * MINUTE)
    harness.clock.jump(-by)
    await harness.service().shift_times(by)
    await harness.look(39 * MINUTE)
    assert await firing(harness) == ["Disk"]
    await harness.look(2 * MINUTE)
    assert await firing(harness) == []


async def test_a_clock_that_was_set_on_a_moment_ago_ends_nothing_before_the_times_are_mended(make: Make) -> None:
    harness = make(routes=[route("ops", resolve_timeout=5 * MINUTE)])
    await harness.post(fires("Disk"))
    reminders = Reminders(harness.service())
    await reminders.look()
    harness.clock.jump(HOUR)
    await reminders.look()
    assert await firing(harness) == ["Disk"]
    await harness.service().shift_times(-HOUR)
    await reminders.look()
    assert await firing(harness) == ["Disk"]
    harness.clock.advance(6 * MINUTE)
    await reminders.look()
    await reminders.look()
    assert await firing(harness) == []


async def test_a_route_says_how_long_silence_means_over(make: Make) -> None:
    harness = make(routes=[route("ops", resolve_timeout=5 * MINUTE), route("boss")])
    await harness.post(fires("Disk"))
    await harness.look(4 * MINUTE)
    assert await firing(harness) == ["Disk"]
    await harness.look(2 * MINUTE)
    assert await firing(harness) == []
    assert await harness.told("ops") == ["🔥 Disk"], "nobody knows that it is over"


async def test_what_is_known_of_an_alert_outlasts_a_restart(make: Make, tmp_path: Any) -> None:
    harness = make(routes=[route("ops")])
    await post(harness, "grafana", unified())
    service = harness.service()
    await service.load()
    harness.memory = service.state
    harness.clock.advance(HOUR)
    await post(harness, "grafana", unified(start="2026-06-05T12:00:02Z"))
    (seen,) = await service.list_firing()
    assert seen.starts_at is not None
    assert seen.starts_at.isoformat() == "2026-06-05T12:00:00+00:00"


# ---------------------------------------------------------------- bodies


NEARLY_JSON = {
    "raw-newline": (b'{"title":"Backup failed","text":"no space\nleft","status":"failed"}', "no space\nleft"),
    "lone-backslash": (rb'{"title":"Backup failed","text":"C:\Data\export\new.csv","status":"failed"}',
                       r"C:\Data\export\new.csv"),
    "trailing-comma": (b'{"title":"Backup failed","text":"a,}b","status":"failed",}', "a,}b"),
    "gbk": ('{"title":"Backup failed","text":"磁盘已满","status":"failed"}'.encode("gbk"), "磁盘已满"),
    "byte-order-mark": ('\ufeff{"title":"Backup failed","text":"磁盘已满","status":"failed"}'.encode(), "磁盘已满"),
    "utf-16": ('{"title":"Backup failed","text":"磁盘已满","status":"failed"}'.encode("utf-16"), "磁盘已满"),
}  # fmt: skip


@pytest.mark.parametrize("case", NEARLY_JSON)
async def test_a_body_that_is_nearly_json_is_an_alert(make: Make, case: str) -> None:
    body, words = NEARLY_JSON[case]
    harness = make()
    assert await post(harness, "generic", body) == (1, 0)
    (text,) = await harness.texts("ops")
    assert text.text == f"🔥 failed · Backup failed\n{words}"


@pytest.mark.parametrize("hook", ["grafana", "alertmanager", "generic", "generic/zabbix", "openfalcon"])
async def test_a_body_that_cannot_be_read_is_told_as_text(make: Make, hook: str) -> None:
    harness = make()
    assert await post(harness, hook, b'{"title": "Backup of "db-1" failed"}') == (1, 0)
    (text,) = await harness.texts("ops")
    assert text.text.endswith('{"title": "Backup of "db-1" failed"}')


@pytest.mark.parametrize("name", ["text", "message", "body", "content", "desp"])
async def test_the_text_beside_a_title_has_many_names(make: Make, name: str) -> None:
    harness = make()
    await post(harness, "generic", {"title": "Backup failed", name: "no space"})
    assert [text.text for text in await harness.texts("ops")] == ["🔥 Backup failed\nno space"]


async def test_what_nobody_sees_and_what_turns_a_line_around_leaves_every_text(make: Make) -> None:
    harness = make()
    family = "👨\u200d👩\u200d👧 ❤\ufe0f"
    body = {
        "title": "a\x1b[31mb\x00\x85c\u202ed\u2066e",
        "text": f"x\r\ny\tz {family}",
        "labels": {"h\x07ost": "d\u202ab"},
    }
    await post(harness, "generic", body)
    (told,) = await harness.texts("ops")
    assert told.text == f"🔥 a[31mbcde\nx\ny z {family}\nhost=db"


# ---------------------------------------------------------------- long labels


async def test_a_label_of_a_megabyte_is_routed_at_once_and_cut(make: Make) -> None:
    harness = make(routes=[route("boss", match=['instance=~".*db.*prod"']), route("ops")])
    before = harness.clock.wall()
    await harness.post(fires("Disk", instance="db" * 500_000, **{"n" * 9000: "x"}), fires("t" * 9000))
    assert harness.clock.wall() == before
    labels = [label for each in await harness.service().list_firing() for label in each.alert.labels.items()]
    assert max(len(text) for label in labels for text in label) <= 2000
    assert sum(text.endswith("…") for label in labels for text in label) == 3
