"""From a monitor's POST to what is stored for whom: the real routes, texts, ledger and database, no channel."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog.testing

from tests.fakes.postgresql import database_url
from wxbridge import registry
from wxbridge.alerts import notification_log, routing, silences
from wxbridge.alerts.pictures import AlertPictureOptions
from wxbridge.alerts.pipeline import AlertSettings, AlertState
from wxbridge.alerts.reminders import Reminders
from wxbridge.alerts.render import Destination
from wxbridge.alerts.routing import Route
from wxbridge.alerts.service import AlertService
from wxbridge.alerts.templates import Templates
from wxbridge.config.schema import Config
from wxbridge.config.time_intervals import TimeInterval
from wxbridge.config.types import Rate
from wxbridge.core.database import Database
from wxbridge.core.errors import BadBody, ConfigError, StorageError
from wxbridge.core.findings import FindingState
from wxbridge.core.matchers import parse_matchers
from wxbridge.core.metrics import Metrics
from wxbridge.core.model import (
    Accepted,
    Capabilities,
    Message,
    MessageState,
    Notification,
    Picture,
    PictureSpec,
    Text,
)
from wxbridge.delivery.outbox import Outbox
from wxbridge.doctor import CHECKS, examine
from wxbridge.testing import FakeClock

MINUTE, HOUR = 60.0, 3600.0
START = "2026-06-05T12:00:00Z"
LONG = Capabilities(text_limit=2000)


def route(*to: str, match: Sequence[str] = (), **more: Any) -> Route:
    return Route(parse_matchers(list(match)), to, **more)


def to_people(names: Sequence[str]) -> list[str]:
    """As the target `people` does: `zhangsan` is known otherwise in WeChat."""
    return [{"zhangsan": "张三"}.get(name, name) for name in names]


def alertmanager(*alerts: Mapping[str, Any], group: str = "g") -> bytes:
    body = {
        "version": "4", "groupKey": group, "status": "firing", "receiver": "wxbridge", "alerts": alerts,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "",
    }  # fmt: skip
    return json.dumps(body).encode()


def fires(name: str, *, start: str = START, **labels: str) -> dict[str, Any]:
    return {
        "status": "firing", "labels": {"alertname": name, **labels}, "annotations": {}, "startsAt": start,
        "endsAt": "0001-01-01T00:00:00Z", "fingerprint": name.lower(),
    }  # fmt: skip


def ends(name: str, **labels: str) -> dict[str, Any]:
    return fires(name, **labels) | {"status": "resolved", "endsAt": "2026-06-05T12:30:00Z"}


@dataclass
class PipelineHarness:
    """An intake on a database, with everything that a bridge puts around it but delivery."""

    database: Database
    templates: Path
    clock: FakeClock = field(default_factory=lambda: FakeClock(1_780_660_800.0))
    memory: AlertState = field(default_factory=AlertState)
    routes: Sequence[Route] = (route("ops"),)
    template: str | None = None
    targets: tuple[str, ...] = ("ops", "boss", "master", "people")
    limit: int = 2000
    pictures: AlertPictureOptions | None = None
    shows: str = "file"
    """How the targets take pictures."""
    metrics: Metrics = field(default_factory=Metrics)
    full: bool = False
    """Whether the disk is."""

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.database, dedupe_window=10 * MINUTE, clock=self.clock.wall)

    def rules(self) -> AlertSettings:
        plain = Destination(Capabilities(text_limit=self.limit, pictures=self.shows), HOUR, self.template)
        known = {name: plain for name in self.targets if name != "people"}
        if "people" in self.targets:
            known["people"] = replace(plain, recipients=to_people)
        return AlertSettings(
            routes=routing.compile_routes(self.routes),
            intervals={"noon": TimeInterval.model_validate({"times": "12:00-13:00"})},
            timezone=ZoneInfo("UTC"),
            targets=known,
            language="en",
            templates=Templates(self.templates, "en", ZoneInfo("UTC")),
            pictures=self.pictures,
            sources=registry.SourceTable({}),
        )

    def service(self) -> AlertService:
        return AlertService(
            self.database, self, self.rules(), state=self.memory, metrics=self.metrics, clock=self.clock.wall
        )

    @property
    def suppressed(self) -> list[tuple[str, int]]:
        """How many alerts a target was not told of, by reason."""
        return [
            (sample.labels["reason"], int(sample.value))
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == "wxbridge_suppressed_total"
        ]

    @property
    def left_out(self) -> int:
        """Pictures that a storm left out."""
        labels = {"kind": "alert", "outcome": "storm"}
        return int(self.metrics.registry.get_sample_value("wxbridge_pictures_total", labels) or 0)

    async def put(self, items: Sequence[Notification], **more: Any) -> Accepted:
        if self.full:
            raise StorageError("the disk is full")
        return await self.outbox.put(items, **more)

    async def post(self, *alerts: Mapping[str, Any], to: Sequence[str] = (), group: str = "g") -> tuple[int, int]:
        """Post as Alertmanager does; returns how many messages were queued, and how many were repeats."""
        return await self.take("alertmanager", alertmanager(*alerts, group=group), to)

    async def take(self, source: str, body: bytes, to: Sequence[str] = ()) -> tuple[int, int]:
        accepted = await self.service().accept(source, body, {}, to)
        return accepted.queued, accepted.duplicates

    async def look(self, after: float = 0) -> None:
        """Let time pass, then let the reminders look."""
        self.clock.advance(after)

        await Reminders(self.service()).look()

    async def silence(self, *matchers: str, seconds: float) -> None:
        now = self.clock.wall()

        def add(connection: Any) -> None:
            silences.add(connection, parse_matchers(matchers), ends_at=now + seconds, now=now)
            self.memory.silences.reload(connection, now=now)

        await self.database.run(add)

    async def rows(self) -> list[Message]:
        found = await self.outbox.list_messages(limit=1000)
        return sorted(found, key=lambda row: row.id)

    async def told(self, target: str) -> list[str]:
        """The first line of every text for a target."""
        rows = [row for row in await self.rows() if row.target == target]
        return [row.body.text.splitlines()[0] for row in rows if isinstance(row.body, Text)]

    async def texts(self, target: str) -> list[Text]:
        return [row.body for row in await self.rows() if row.target == target and isinstance(row.body, Text)]


Make = Callable[..., PipelineHarness]


@pytest.fixture
def make_on_default(tmp_path: Path) -> Iterator[Make]:
    database = Database.open(database_url(tmp_path))
    yield partial(PipelineHarness, database, tmp_path / "templates")
    database.close()


@pytest.fixture
def make(each_database: str, make_on_default: Make) -> Make:
    return make_on_default


# ---------------------------------------------------------------- to whom


async def test_each_target_gets_its_part_of_a_group(make: Make) -> None:
    harness = make(routes=[route("boss", match=["team=db"]), route("ops")])
    assert await harness.post(fires("Disk", team="db"), fires("Cpu", team="web")) == (2, 0)
    assert await harness.told("boss") == ["🔥 Disk"]
    assert await harness.told("ops") == ["🔥 Cpu"]


async def test_a_target_that_is_told_of_alerts_in_two_ways_is_told_of_all_of_them(make: Make) -> None:
    harness = make(routes=[route("ops", match=["severity=critical"], mention=("all",)), route("ops")])
    alerts = fires("Disk", severity="critical"), fires("Cpu", severity="warning")
    assert await harness.post(*alerts) == (2, 0)
    assert [(text.text.splitlines()[0], text.mentions) for text in await harness.texts("ops")] == [
        ("🔴 critical · Disk", ("all",)), ("🟡 warning · Cpu", ()),
    ]  # fmt: skip
    assert await harness.post(*alerts) == (0, 2), "a retry is a retry all the same"


@pytest.mark.parametrize("state", ["alerting", "ok"])
async def test_the_same_holds_where_the_sender_tells_no_times(make: Make, state: str) -> None:
    harness = make(routes=[route("ops", match=["severity=critical"], mention=("all",)), route("ops")])
    body = json.dumps({"title": "Disk", "state": state, "ruleId": 1, "tags": {"severity": "critical"}}).encode()
    assert [await harness.take("grafana", body) for _ in range(2)] == [(1, 0), (0, 1)]


async def test_what_no_route_matches_goes_to_the_master_saying_so(make: Make) -> None:
    harness = make(routes=[route("ops", match=["team=db"])])
    with structlog.testing.capture_logs() as logs:
        assert await harness.post(fires("Disk", team="db"), fires("Cpu")) == (2, 0)
    (text,) = await harness.texts("master")
    assert text.text.startswith("No route matches this alert:\n\n🔥 Cpu")
    assert {"event": "an alert for the person in charge", "why": "No route matches this alert", "to": "master"}.items()\
        <= logs[0].items()  # fmt: skip
    assert await harness.told("ops") == ["🔥 Disk"]


async def test_where_there_is_no_master_either_it_waits_and_is_listed(make: Make) -> None:
    harness = make(routes=[route("ops", match=["team=db"])], targets=("ops",))
    await harness.post(fires("Cpu"))
    (row,) = await harness.rows()
    assert (row.target, row.state) == ("nobody", MessageState.QUEUED)
    assert "nobody is in charge" in (row.error or "")


async def test_a_route_to_nobody_tells_nobody(make: Make) -> None:
    harness = make(routes=[route()])
    assert await harness.post(fires("Cpu")) == (0, 0)
    assert await harness.rows() == []


async def test_an_unknown_name_in_the_address_is_told_to_the_master_and_the_known_ones_get_it(make: Make) -> None:
    harness = make(routes=[route("ops")])
    assert await harness.post(fires("Cpu"), to=["boss", "nope", "nix"]) == (2, 0)
    assert await harness.told("boss") == ["🔥 Cpu"]
    assert await harness.told("ops") == []
    (text,) = await harness.texts("master")
    assert text.text.startswith("There is no target nope, nix:\n\n🔥 Cpu")


async def test_the_people_whom_an_alert_names_are_told_each_under_his_own_name(make: Make) -> None:
    harness = make(routes=[route("people")])
    content = "[P0][PROBLEM][h1][][disk full all(#3) df.used mount=/ 99>90][O1 2026-06-05 12:00:00]"
    body = f"tos=zhangsan,lisi&content={content}".encode()
    assert await harness.take("openfalcon", body) == (2, 0)
    assert [(row.target, row.recipient) for row in await harness.rows()] == [("people", "张三"), ("people", "lisi")]
    assert await harness.take("openfalcon", body) == (2, 0), "Open-Falcon repeats nothing by itself"


async def test_an_alert_that_names_nobody_goes_to_the_master_saying_so(make: Make) -> None:
    harness = make(routes=[route("people")])
    assert await harness.take("openfalcon", b"tos=&content=hello") == (1, 0)
    (text,) = await harness.texts("master")
    assert "names nobody" in text.text.splitlines()[0]
    assert "hello" in text.text


async def test_a_pushed_text_is_no_alert_so_there_is_nobody_whom_it_could_name(make: Make) -> None:
    with pytest.raises(BadBody, match="'people' sends to those whom an alert names"):
        await make().service().push(["ops", "people"], [Text("deployed")])


async def test_a_body_that_is_no_alert_is_told_as_text_and_an_unreadable_one_is_refused(make: Make) -> None:
    harness = make()
    assert await harness.take("alertmanager", b"[1, 2]") == (1, 0)
    assert await harness.told("ops") == ["📨 alertmanager"]
    with pytest.raises(BadBody):
        await harness.take("alertmanager", b"[]")
    assert await harness.take("alertmanager", b"{") == (1, 0)


async def test_nested_rubbish_is_one_message_and_not_pages_of_spaces(make: Make) -> None:
    harness = make()
    assert await harness.take("generic", b"[" * 60 + b"]" * 60) == (1, 0)
    assert (await harness.texts("ops"))[0].text.splitlines() == ["📨 generic", "[" * 60 + "]" * 60]


# ---------------------------------------------------------------- whether now


async def test_what_was_silenced_is_told_when_the_silence_is_over(make: Make) -> None:
    harness = make()
    await harness.silence("alertname=Disk", seconds=HOUR)
    assert await harness.post(fires("Disk"), fires("Cpu")) == (1, 0)
    assert await harness.told("ops") == ["🔥 Cpu"]
    assert harness.suppressed == [("held", 1)]
    await harness.look(30 * MINUTE)
    assert len(await harness.rows()) == 1
    await harness.look(31 * MINUTE)
    assert await harness.told("ops") == ["🔥 Cpu", "🔥 Disk"]
    await harness.look(HOUR)
    assert len(await harness.rows()) == 2


async def test_what_comes_again_right_after_its_silence_is_told_though_its_group_was_told_before(make: Make) -> None:
    harness = make()
    await harness.silence("alertname=Disk", seconds=MINUTE)
    await harness.post(fires("Disk"), fires("Cpu"))
    harness.clock.advance(61)
    await harness.post(fires("Disk"), fires("Cpu"))
    await harness.look(MINUTE)
    assert any("Disk" in text.text for text in await harness.texts("ops"))


async def test_what_begins_and_ends_within_a_silence_is_told_to_nobody(make: Make) -> None:
    harness = make()
    await harness.silence("alertname=Disk", seconds=HOUR)
    await harness.post(fires("Disk"))
    await harness.post(ends("Disk"))
    await harness.look(2 * HOUR)
    assert await harness.rows() == []


async def test_the_end_of_what_was_told_before_its_silence_is_told_after_it(make: Make) -> None:
    harness = make()
    await harness.post(fires("Disk"))
    await harness.silence("alertname=Disk", seconds=HOUR)
    await harness.post(ends("Disk"))
    assert await harness.told("ops") == ["🔥 Disk"]
    await harness.look(2 * HOUR)
    assert await harness.told("ops") == ["🔥 Disk", "✅ resolved · Disk"]


async def test_a_muted_route_tells_when_its_time_is_over(make: Make) -> None:
    harness = make(routes=[route("ops", mute=("noon",))])
    assert await harness.post(fires("Disk")) == (0, 0)
    await harness.look(HOUR + MINUTE)
    assert await harness.told("ops") == ["🔥 Disk"]


async def test_what_still_fires_is_absorbed_until_it_is_to_be_repeated(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=4 * HOUR)])
    assert await harness.post(fires("Disk")) == (1, 0)
    harness.clock.advance(HOUR)
    assert await harness.post(fires("Disk")) == (0, 1)
    assert harness.suppressed == [("repeat", 1)]
    await harness.look(HOUR)
    assert len(await harness.rows()) == 1
    await harness.look(2 * HOUR + 1)
    assert await harness.told("ops") == ["🔥 Disk"] * 2


async def test_a_repeat_that_the_sender_sends_when_it_is_due_is_no_retry(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=5 * MINUTE)])
    assert await harness.post(fires("Disk")) == (1, 0)
    harness.clock.advance(5 * MINUTE)
    assert await harness.post(fires("Disk")) == (1, 0), "though it is the same POST within ten minutes"
    assert await harness.post(fires("Disk")) == (0, 1)


async def test_the_end_is_told_once(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=4 * HOUR)])
    await harness.post(fires("Disk"))
    assert await harness.post(ends("Disk")) == (1, 0)
    harness.clock.advance(HOUR)
    assert await harness.post(ends("Disk")) == (0, 1)
    await harness.look(5 * HOUR)
    assert await harness.told("ops") == ["🔥 Disk", "✅ resolved · Disk"]


async def test_the_end_is_not_told_where_the_route_says_so(make: Make) -> None:
    harness = make(routes=[route("ops", send_resolved=False)])
    await harness.post(fires("Disk"))
    await harness.post(ends("Disk"))
    assert await harness.told("ops") == ["🔥 Disk"]


async def test_the_end_of_what_was_never_seen_is_told(make: Make) -> None:
    harness = make()
    await harness.post(ends("Disk"))
    assert await harness.told("ops") == ["✅ resolved · Disk"]


# ---------------------------------------------------------------- retries and faults


async def test_a_post_that_the_sender_repeats_is_absorbed_and_a_later_one_is_not(make: Make) -> None:
    harness = make()
    assert [await harness.post(fires("Disk")) for _ in range(3)] == [(1, 0), (0, 1), (0, 1)]
    harness.clock.advance(11 * MINUTE)
    assert await harness.post(fires("Disk")) == (1, 0)


async def test_without_times_the_same_words_are_news_once_something_else_was_said(make: Make) -> None:
    harness = make()
    bodies = {
        state: json.dumps({"title": "Disk", "ruleName": "Disk", "ruleId": 7, "state": state}).encode()
        for state in ("alerting", "ok")
    }
    said = [await harness.take("grafana", bodies[state]) for state in ("alerting", "alerting", "ok", "alerting")]
    assert said == [(1, 0), (0, 1), (1, 0), (1, 0)]


async def test_what_could_not_be_stored_is_as_if_it_had_never_come(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=4 * HOUR)])
    await harness.silence("alertname=Held", seconds=HOUR)
    harness.full = True
    for _ in range(2):
        with pytest.raises(StorageError):
            await harness.post(fires("Disk"), fires("Held"))
    harness.full = False
    assert await harness.post(fires("Disk"), fires("Held")) == (1, 0)
    await harness.look(61 * MINUTE)
    assert await harness.told("ops") == ["🔥 Disk", "🔥 Held"]


async def test_what_was_told_is_known_after_a_restart(make: Make) -> None:
    harness = make(routes=[route("ops", repeat_interval=4 * HOUR)])
    await harness.post(fires("Disk"))
    harness.memory = AlertState(await harness.database.read(notification_log.load))
    harness.clock.advance(HOUR)
    assert await harness.post(fires("Disk")) == (0, 1)
    await harness.look(3 * HOUR + 1)
    assert await harness.told("ops") == ["🔥 Disk"] * 2


# ---------------------------------------------------------------- in which words


async def test_people_are_mentioned_with_the_first_part_of_a_long_text_only(make: Make) -> None:
    harness = make(routes=[route("ops", mention=("张三", "all"))], limit=60)
    alert = fires("Disk") | {"annotations": {"summary": "a long tale of a disk " * 8}}
    await harness.post(alert)
    texts = await harness.texts("ops")
    assert len(texts) > 2
    assert [text.mentions for text in texts] == [("张三", "all"), *[()] * (len(texts) - 1)]


async def test_a_repeat_mentions_as_the_first_telling_did(make: Make) -> None:
    harness = make(routes=[route("ops", mention=("张三",), repeat_interval=HOUR)])
    await harness.post(fires("Disk"))
    await harness.look(HOUR)
    assert [text.mentions for text in await harness.texts("ops")] == [("张三",)] * 2


@pytest.mark.parametrize("content", ["{{ no such", "{{ nothing.there }}", None])
async def test_a_broken_template_gives_the_built_in_text_with_a_line_that_says_so(
    make: Make, content: str | None
) -> None:
    harness = make(routes=[route("ops", template="mine")])
    harness.templates.mkdir()
    if content is not None:
        (harness.templates / "mine.j2").write_text(content, encoding="utf-8")
    with structlog.testing.capture_logs() as logs:
        assert await harness.post(fires("Disk")) == (1, 0)
    (text,) = await harness.texts("ops")
    assert text.text.startswith("⚠️ The template of this text is broken")
    assert "🔥 Disk" in text.text
    assert harness.suppressed == [("template", 1)]
    assert [line["event"] for line in logs] == ["a template failed", "alert accepted"]


async def test_who_calls_a_helper_like_a_function_is_told_how_it_is_written(make: Make) -> None:
    harness = make(routes=[route("ops", template="mine")])
    harness.templates.mkdir()
    (harness.templates / "mine.j2").write_text("{{ emoji(alerts[0]) }}", encoding="utf-8")
    with structlog.testing.capture_logs() as logs:
        await harness.post(fires("Disk"))
    assert logs[0]["error"].endswith("mine.j2:1: 'emoji' is undefined; it is a filter, write `… | emoji`")


async def test_a_route_s_template_comes_before_the_target_s_and_both_before_the_built_in_text(make: Make) -> None:
    harness = make(routes=[route("ops", match=["team=db"], template="route"), route("ops")], template="target")
    harness.templates.mkdir()
    for name in ("route", "target"):
        (harness.templates / f"{name}.j2").write_text(f"{name}: {{{{ title }}}} for {{{{ target }}}}", encoding="utf-8")
    await harness.post(fires("Disk", team="db"), group="1")
    await harness.post(fires("Cpu"), group="2")
    assert await harness.told("ops") == ["route: Disk for ops", "target: Cpu for ops"]


async def test_an_alert_s_picture_follows_its_text(make: Make) -> None:
    harness = make()
    body = {"title": "Disk", "state": "alerting", "imageUrl": "http://grafana.example.com/a.png"}
    assert await harness.take("grafana", json.dumps(body).encode()) == (2, 0)
    text, picture = [row.body for row in await harness.rows()]
    assert isinstance(text, Text)
    assert isinstance(picture, Picture)
    assert picture.spec
    assert picture.spec.params["url"] == "http://grafana.example.com/a.png"


CHARTS = AlertPictureOptions(prometheus=True, storm=Rate(2, 300))


async def specs(harness: PipelineHarness, target: str = "ops") -> list[PictureSpec]:
    rows = [row for row in await harness.rows() if row.target == target]
    return [row.body.spec for row in rows if isinstance(row.body, Picture) and row.body.spec]


async def test_alerts_of_one_rule_bring_one_chart_of_the_moment_when_they_came(make: Make) -> None:
    harness = make(pictures=CHARTS, routes=(route("ops", "boss"),))
    assert await harness.post(fires("Disk", host="a"), fires("Disk", host="b")) == (4, 0)
    (spec,) = await specs(harness)
    assert await specs(harness, "boss") == [spec], "the same picture, which is drawn once"
    params = spec.params["tries"][0]["params"]
    assert (params["rule"], params["at"]) == ("Disk", harness.clock.wall())
    assert [labels["host"] for labels in params["labels"]] == ["a", "b"]


async def test_a_route_decides_whether_there_is_a_picture(make: Make) -> None:
    quiet = replace(route("boss"), pictures=(), goes_on=True)
    harness = make(pictures=CHARTS, routes=(quiet, route("ops")))
    await harness.post(fires("Disk"))
    assert (len(await specs(harness)), await specs(harness, "boss")) == (1, [])


async def test_nothing_is_drawn_for_a_channel_that_shows_no_pictures(make: Make) -> None:
    harness = make(pictures=CHARTS, shows="none")
    await harness.post(fires("Disk"))
    assert await specs(harness) == []
    harness.shows = "url"
    await harness.post(fires("Cpu"))
    assert await specs(harness) == []
    harness.pictures = replace(CHARTS, published=True)
    await harness.post(fires("AlertState"))
    assert len(await specs(harness)) == 1


async def test_a_storm_brings_the_first_so_many_pictures_and_says_so_once(make: Make) -> None:
    harness = make(pictures=CHARTS)
    for number in range(5):
        await harness.post(fires(f"Alert{number}"), group=f"g{number}")
    assert len(await specs(harness)) == 2
    saying = ["only the first 2 in 5 min come with a picture" in text.text for text in await harness.texts("ops")]
    assert saying == [False, False, True, False, False]
    assert harness.left_out == 3
    harness.clock.advance(301)
    await harness.post(fires("Later"))
    assert len(await specs(harness)) == 3


async def test_what_its_sender_repeats_uses_up_no_pictures(make: Make) -> None:
    harness = make(pictures=CHARTS)
    for _ in range(5):
        await harness.post(fires("Disk"))
        harness.clock.advance(1)
    harness.full = True
    with pytest.raises(StorageError):
        await harness.post(fires("AlertState"), group="h")
    harness.full = False
    await harness.post(fires("Cpu"), group="i")
    assert len(await specs(harness)) == 2
    assert harness.left_out == 0


async def test_what_is_told_again_brings_a_picture_of_that_time(make: Make) -> None:
    harness = make(pictures=CHARTS, routes=(replace(route("ops"), repeat_interval=HOUR),))
    await harness.post(fires("Disk"))
    await harness.look(after=HOUR + 1)
    first, second = await specs(harness)
    at = [spec.params["tries"][0]["params"]["at"] for spec in (first, second)]
    assert at[1] - at[0] == HOUR + 1


# ---------------------------------------------------------------- what is told before anything arrives

PEOPLE = """\
wechat: {endpoint: "127.0.0.1:9", token: t, master: boss}
targets:
  ops: {channel: wechat, room: Ops%s}
  people: {channel: wechat, to: from-alert}
routes: [{to: [people]}]
"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PEOPLE % ", fallback: people", 3),
        (PEOPLE % "" + "jobs:\n  - {id: a, kind: text, text: x, every: 1h,\n     to: [ops, people]}\n", 8),
        (PEOPLE % "" + "jobs:\n  - {id: a, kind: text, text: x, every: 1h, to: ops,\n     on_error: people}\n", 8),
    ],
)
def test_what_is_no_alert_cannot_go_to_those_whom_an_alert_names(
    read: Callable[..., Config], text: str, line: int
) -> None:
    with pytest.raises(ConfigError, match=rf":{line}: target `people` sends to those whom an alert names"):
        read(text)
    read(PEOPLE % "")


async def test_doctor_tells_of_a_template_that_is_missing_or_broken(
    read: Callable[..., Config], tmp_path: Path
) -> None:
    (tmp_path / "templates").mkdir()
    for name, content in (("good", "{{ title }}"), ("bad", "{{ title")):
        (tmp_path / "templates" / f"{name}.j2").write_text(content, encoding="utf-8")
    config = read("""\
wechat: {endpoint: "127.0.0.1:9", token: t}
targets: {ops: {channel: wechat, room: Ops, template: good}}
routes: [{to: [ops], template: missing, routes: [{match: {a: b}, template: bad}]}]
""")
    found = {each.name: each for each in await examine(config, None, {"templates": CHECKS["templates"]})}
    assert {name: each.state for name, each in found.items()} == {
        "template bad": FindingState.WARN, "template good": FindingState.OK, "template missing": FindingState.WARN,
    }  # fmt: skip
    assert "bad.j2:1" in found["template bad"].found
    assert "there are bad.j2, good.j2" in found["template missing"].found
