"""Grafana as the painter of alerts' charts: filled, drawn, put back, and never in anybody's way."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.grafana import EDITOR_TOKEN, TOKEN, FakeGrafana, panel_png, png
from tests.fakes.grafana_models import SCRATCH_PANEL, SCRATCH_UID
from tests.fakes.prometheus import FakePrometheus, fake_prometheus
from wxbridge.config.schema import Config
from wxbridge.config.types import AlertPictureSettings, GrafanaSettings, PictureSettings, ScratchSettings, WebSource
from wxbridge.core.errors import NothingToDraw, PictureError, PictureRefused
from wxbridge.core.findings import FindingState
from wxbridge.core.model import PictureSpec
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.monitors.grafana import Grafana
from wxbridge.monitors.promql import analyze_expression
from wxbridge.pictures.charts.graph import ChartPainter
from wxbridge.pictures.checks import check_painter
from wxbridge.pictures.panels import PanelPainter
from wxbridge.pictures.renderer import PictureRenderer
from wxbridge.pictures.scratch_panel import MARK, PanelContent, ScratchPainter, filled, mark_in, mended
from wxbridge.testing import FakeClock

AT = 1_772_860_200.0
OWN = png(500, 300, "#123456")
"""What the bridge draws itself."""
DB = {"instance": "db-1:9100"}
OF_DB = '(node_load1) and on (instance) (label_replace(vector(1), "instance", "db-1:9100", "", ""))'
"""What Grafana is asked for: the alert's series alone."""


@pytest_asyncio.fixture
async def grafana() -> AsyncIterator[FakeGrafana]:
    async with FakeGrafana() as fake:
        yield fake


@pytest_asyncio.fixture
async def prometheus() -> AsyncIterator[FakePrometheus]:
    async with fake_prometheus() as fake:
        fake.series |= {"node_load1": [DB, {"instance": "web-1:9100"}]}
        yield fake


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(AT)


Make = Callable[..., ScratchPainter]


@pytest_asyncio.fixture
async def make(grafana: FakeGrafana, prometheus: FakePrometheus, clock: FakeClock) -> AsyncIterator[Make]:
    """Makes painters on the fakes; each is a bridge of its own."""
    made: list[Any] = []

    def one(token: str = EDITOR_TOKEN, panel: int = 2, uid: str = SCRATCH_UID) -> ScratchPainter:
        source = GrafanaSettings(url=grafana.url, token=token)
        graphs = ChartPainter(WebSource(url=prometheus.url), None)  # type: ignore[arg-type] # it draws nothing itself
        settings = ScratchSettings(dashboard=uid, panel=panel)
        of_panels = Grafana(source)
        paint = PanelPainter(of_panels).paint
        scratch = ScratchPainter(
            settings, source, graphs, paint, timezone="Asia/Shanghai", wall=clock.wall, pause=0.001
        )
        made.extend((scratch, graphs, of_panels))
        return scratch

    yield one
    for each in made:
        await each.close()


def params(title: str = "Load", **more: Any) -> dict[str, Any]:
    return {"expr": "node_load1 > 4", "labels": DB, "at": AT, "title": title, **more}


# ---------------------------------------------------------------- filled, drawn, put back


async def test_the_panel_is_filled_drawn_and_put_back_in_its_folder(grafana: FakeGrafana, make: Make) -> None:
    assert await make().paint(params()) == panel_png("Load")
    fill, back = grafana.saved
    panel = fill["dashboard"]["panels"][0]["panels"][0]
    assert panel["targets"] == [
        {"refId": "A", "expr": OF_DB, "legendFormat": "{{instance}}",
         "range": True, "instant": False}
    ]  # fmt: skip
    defaults = panel["fieldConfig"]["defaults"]
    assert [step["value"] for step in defaults["thresholds"]["steps"]] == [None, 4]
    assert defaults["custom"] == {
        "lineWidth": 3, "axisSoftMin": 0, "axisSoftMax": 4, "thresholdsStyle": {"mode": "line"},
    }  # fmt: skip
    assert "timeFrom" not in panel
    [drawn] = grafana.drawn
    query = drawn.query
    assert drawn.title == "Load"
    assert (query["from"], query["to"]) == (str(int(AT - 900) * 1000), str(int(AT) * 1000))
    assert (query["panelId"], query["timezone"]) == ("2", "Asia/Shanghai")
    assert grafana.is_scratch_as_before
    assert (grafana.scratch["version"], fill["overwrite"], back["overwrite"]) == (7, False, False)
    assert "folderId" not in fill


async def test_a_dashboard_in_no_folder_stays_there(grafana: FakeGrafana, make: Make) -> None:
    grafana.folder, grafana.meta = "", {"folderId": 0}
    await make().paint(params())
    assert [(each.get("folderUid"), each["folderId"]) for each in grafana.saved] == [(None, 0)] * 2


async def test_the_rule_in_prometheus_gives_title_and_threshold(
    grafana: FakeGrafana, prometheus: FakePrometheus, make: Make
) -> None:
    prometheus.rules.append({"name": "HighLoad", "query": "node_load1 > 9", "duration": 600})
    labels = DB | {"alertname": "HighLoad"}
    assert await make().paint({"rule": "HighLoad", "labels": [labels], "at": AT}) == panel_png("HighLoad")
    assert int(grafana.drawn[0].query["from"]) == (AT - 2400) * 1000


async def test_alerts_that_come_at_once_never_get_each_others_picture(grafana: FakeGrafana, make: Make) -> None:
    scratch = make()
    titles = [f"alert {number}" for number in range(5)]
    pictures = await asyncio.gather(*(scratch.paint(params(title)) for title in titles))
    assert pictures == [panel_png(title) for title in titles]
    assert grafana.is_scratch_as_before


@pytest.mark.parametrize(
    ("how", "said", "kind"),
    [
        ("500", "HTTP 500", PictureError),
        ("404", "HTTP 404", PictureError),
        ("placeholder", "no image renderer", PictureError),
        ("no data", "has no data", NothingToDraw),
    ],
)
async def test_after_an_error_the_panel_is_put_back_too(
    grafana: FakeGrafana, make: Make, how: str, said: str, kind: type[PictureError]
) -> None:
    grafana.how = how
    scratch = make()
    with pytest.raises(kind, match=said):
        await scratch.paint(params())
    await scratch.close()
    assert grafana.drawn
    assert grafana.is_scratch_as_before


@pytest.mark.parametrize("moment", ["saving", "drawing"])
async def test_who_is_cancelled_puts_the_panel_back(grafana: FakeGrafana, make: Make, moment: str) -> None:
    gate: asyncio.Event = {"saving": grafana.may_save, "drawing": grafana.may_draw}[moment]
    gate.clear()
    scratch = make()
    painting = asyncio.create_task(scratch.paint(params()))
    await {"saving": grafana.saving, "drawing": grafana.drawing}[moment].wait()
    painting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await painting
    gate.set()
    await scratch.close()
    assert len(grafana.saved) == 2
    assert grafana.is_scratch_as_before


async def test_the_next_one_waits_until_the_panel_of_a_cancelled_one_is_put_back(
    grafana: FakeGrafana, make: Make
) -> None:
    grafana.may_save.clear()
    scratch = make()
    first = asyncio.create_task(scratch.paint(params("first")))
    await grafana.saving.wait()
    first.cancel()
    second = asyncio.create_task(scratch.paint(params("second")))
    with suppress(asyncio.CancelledError):
        await first
    grafana.read.clear()
    with suppress(TimeoutError):  # too short a wait would only see less
        await asyncio.wait_for(grafana.read.wait(), 0.2)
    assert not grafana.read.is_set(), "it would read what is about to be filled"
    grafana.may_save.set()
    assert await second == panel_png("second")
    assert [each.title for each in grafana.drawn] == ["second"]
    assert (grafana.is_scratch_as_before, grafana.conflicts) == (True, 0)


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_lost_answer_to_saving_leaves_nothing_filled(grafana: FakeGrafana, make: Make, lost: int) -> None:
    grafana.loses_answers = lost
    scratch = make()
    with pytest.raises(PictureError, match="cannot be reached") as failed:
        await scratch.paint(params())
    assert failed.value.retry
    await scratch.close()
    assert grafana.is_scratch_as_before


# ---------------------------------------------------------------- others


async def test_what_somebody_saves_before_the_panel_is_filled_is_kept(grafana: FakeGrafana, make: Make) -> None:
    def rename() -> None:
        grafana.before_save = lambda: None
        grafana.change_scratch(lambda model: model.update(title="Renamed"))

    grafana.before_save = rename
    assert await make().paint(params()) == panel_png("Load")
    assert grafana.scratch["title"] == "Renamed"
    assert grafana.scratch_panel == SCRATCH_PANEL
    assert MARK not in grafana.scratch


async def test_a_picture_of_a_dashboard_that_somebody_changed_meanwhile_is_drawn_again(
    grafana: FakeGrafana, make: Make
) -> None:
    def fill_otherwise() -> None:
        grafana.while_drawing = lambda: None
        grafana.change_scratch(lambda model: model["panels"][1].update(title="mine"))

    grafana.while_drawing = fill_otherwise
    assert await make().paint(params()) == panel_png("Load")
    assert len(grafana.drawn) == 2
    assert grafana.scratch_panel == SCRATCH_PANEL
    assert grafana.scratch["panels"][1]["title"] == "mine"


async def test_a_person_who_saves_the_filled_panel_in_the_browser_loses_the_mark_but_it_is_put_back(
    grafana: FakeGrafana, make: Make
) -> None:
    def save_in_the_browser() -> None:
        grafana.while_drawing = lambda: None
        grafana.change_scratch(lambda model: model.pop(MARK))

    grafana.while_drawing = save_in_the_browser
    assert await make().paint(params()) == panel_png("Load")
    assert grafana.is_scratch_as_before


async def test_who_is_always_disturbed_gives_up_and_leaves_the_others_work(grafana: FakeGrafana, make: Make) -> None:
    grafana.while_drawing = lambda: grafana.change_scratch(lambda model: model["panels"][1].update(title="mine"))
    with pytest.raises(PictureError, match="somebody else changes Grafana's dashboard scratch-1"):
        await make().paint(params())
    assert len(grafana.drawn) == 3
    assert grafana.scratch_panel == SCRATCH_PANEL


async def test_two_bridges_with_one_dashboard_take_turns(grafana: FakeGrafana, make: Make) -> None:
    grafana.may_draw.clear()
    first = asyncio.create_task(make().paint(params("first")))
    await grafana.drawing.wait()
    second = asyncio.create_task(make().paint(params("second")))
    for _ in range(3):
        grafana.read.clear()
        await asyncio.wait_for(grafana.read.wait(), 60)
    assert len(grafana.saved) == 1, "the second one does not touch what the first one filled"
    grafana.may_draw.set()
    assert (await first, await second) == (panel_png("first"), panel_png("second"))
    assert grafana.is_scratch_as_before


async def test_what_a_killed_bridge_left_is_put_back_by_the_next_one(
    grafana: FakeGrafana, make: Make, clock: FakeClock
) -> None:
    content = PanelContent("left behind", analyze_expression("up == 0", {}).curves, (AlertThreshold("==", 0),), "bytes")
    grafana.change_scratch(lambda model: model.update(filled(model, 2, content, owner="killed", until=AT + 30)))
    assert grafana.scratch_panel["title"] == "left behind"
    clock.advance(30)
    assert await make().paint(params()) == panel_png("Load")
    assert grafana.is_scratch_as_before


async def test_a_mark_that_says_forever_holds_nobody_up(grafana: FakeGrafana, make: Make) -> None:
    content = PanelContent("left behind", analyze_expression("up", {}).curves)
    grafana.change_scratch(lambda model: model.update(filled(model, 2, content, owner="x", until=AT + 1e9)))
    assert await make().paint(params()) == panel_png("Load")
    assert grafana.is_scratch_as_before


# ---------------------------------------------------------------- what cannot be


async def test_without_the_role_editor_it_is_said_and_nothing_is_saved(grafana: FakeGrafana, make: Make) -> None:
    with pytest.raises(PictureRefused, match=r"may be read, but not saved: .* the role Editor"):
        await make(TOKEN).paint(params())
    grafana.meta = {"canSave": True}  # a Grafana that promises too much
    with pytest.raises(PictureRefused, match=r"HTTP 403\): .* the role Editor"):
        await make(TOKEN).paint(params())
    with pytest.raises(PictureRefused, match=r"HTTP 401.*grafana\.token"):
        await make("wrong").paint(params())
    assert not grafana.drawn
    assert grafana.is_scratch_as_before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fake: fake.meta.update(provisioned=True), "is provisioned from a file"),
        (lambda fake: fake.scratch.update(uid="other"), "no dashboard scratch-1"),
        (lambda fake: fake.scratch.update(elements={}), "another schema"),
        (lambda fake: fake.scratch_panel.update(id=9), "has no panel 2 but 1, 9, 3"),
        (lambda fake: fake.scratch_panel.update(libraryPanel={"uid": "l"}), "is a library panel"),
        (lambda fake: setattr(fake, "save_status", 412), "additional permissions"),
        (lambda fake: setattr(fake, "save_status", 503), "HTTP 503"),
    ],
)
async def test_a_dashboard_that_cannot_be_filled_is_left_alone(
    grafana: FakeGrafana, make: Make, change: Callable[[FakeGrafana], None], said: str
) -> None:
    change(grafana)
    before = copy.deepcopy(grafana.scratch)
    with pytest.raises(PictureError, match=said):
        await make().paint(params())
    assert grafana.scratch == before
    assert not grafana.drawn


@pytest.mark.parametrize(
    ("labels", "series", "reason"),
    [
        (DB, [{"instance": "web-1:9100"}], "unfit"),
        (DB, [{**DB, "replica": name} for name in "ab"], "unfit"),
        ({}, [{"instance": str(number)} for number in range(11)], "unfit"),
        (DB, [], "no_data"),
    ],
)
async def test_where_grafana_would_show_other_series_than_the_alerts_it_is_not_asked(
    grafana: FakeGrafana,
    prometheus: FakePrometheus,
    make: Make,
    labels: dict[str, str],
    series: list[dict[str, str]],
    reason: str,
) -> None:
    prometheus.series["node_load1"] = series
    with pytest.raises(NothingToDraw) as none:
        await make().paint(params(labels=labels))
    assert none.value.reason == reason
    assert not grafana.api_paths


# ---------------------------------------------------------------- a way of drawing the chart


@contextmanager
def configured(grafana: FakeGrafana, prometheus: FakePrometheus, **alerts: Any) -> Iterator[tuple[Any, list[Any]]]:
    counted: list[Any] = []

    async def own(_params: Any) -> bytes:
        return OWN

    yield (
        PictureRenderer(
            PictureSettings(alerts=AlertPictureSettings(**alerts), browser=Path("/nowhere")),
            GrafanaSettings(url=grafana.url, token=EDITOR_TOKEN),
            prometheus=WebSource(url=prometheus.url),
            painters={"chart": own, "fetch": own},
            count=lambda *each: counted.append(each),
        ),
        counted,
    )


ALERT = PictureSpec("alert", {"tries": [{"way": "chart", "kind": "chart", "params": params()}]})
PAINTER = {"dashboard": SCRATCH_UID, "panel": 2}


async def test_an_alerts_chart_is_drawn_by_grafana_where_a_painter_is_named(
    grafana: FakeGrafana, prometheus: FakePrometheus
) -> None:
    with configured(grafana, prometheus, painter=PAINTER) as (pictures, counted):
        async with pictures:
            assert await pictures.draw(ALERT) == panel_png("Load")
            assert await pictures.draw(PictureSpec("chart", params())) == OWN, "asked for by a person"
    assert counted == [("scratch", "drawn"), ("alert", "drawn"), ("chart", "drawn")]
    with configured(grafana, prometheus) as (pictures, counted):
        async with pictures:
            assert await pictures.draw(ALERT) == OWN
    assert counted == [("alert", "drawn")]


async def test_the_order_of_the_ways_is_kept(grafana: FakeGrafana, prometheus: FakePrometheus) -> None:
    image = {"way": "image", "kind": "fetch", "params": {"url": "http://x"}}
    with configured(grafana, prometheus, painter=PAINTER) as (pictures, _):
        async with pictures:
            spec = PictureSpec("alert", {"tries": [image, *ALERT.params["tries"]]})
            assert await pictures.draw(spec) == OWN
    assert not grafana.api_paths


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda fake: fake.meta.update(canSave=False), "refused"),
        (lambda fake: setattr(fake, "save_status", 500), "failed"),
        (lambda fake: setattr(fake, "save_status", 503), "passing"),
        (lambda fake: setattr(fake, "how", "no data"), "no_data"),
        (lambda fake: fake.may_save.clear(), "deadline"),
        (lambda fake: fake.may_draw.clear(), "passing"),
    ],
)
async def test_whatever_fails_the_bridge_draws_the_chart_in_time_and_counts_why(
    grafana: FakeGrafana, prometheus: FakePrometheus, change: Callable[[FakeGrafana], None], reason: str
) -> None:
    change(grafana)
    with configured(grafana, prometheus, painter=PAINTER) as (pictures, counted):
        async with pictures:
            hangs = not (grafana.may_save.is_set() and grafana.may_draw.is_set())
            spec = PictureSpec("alert", {**ALERT.params, "deadline": 1.0 if hangs else 20.0})
            assert await pictures.draw(spec) == OWN
            grafana.may_save.set()
            grafana.may_draw.set()
    assert counted == [("scratch", reason), ("alert", "drawn")]
    assert grafana.is_scratch_as_before


async def test_without_a_grafana_the_bridge_draws() -> None:
    async def own(_params: Any) -> bytes:
        return OWN

    settings = PictureSettings(alerts=AlertPictureSettings(painter=PAINTER))
    async with PictureRenderer(settings, painters={"chart": own}) as pictures:
        assert await pictures.draw(ALERT) == OWN


# ---------------------------------------------------------------- the panel's JSON


def panel_for(expr: str, panel: dict[str, Any], unit: str = "") -> dict[str, Any]:
    analysis = analyze_expression(expr, {})
    content = PanelContent("t", analysis.curves, analysis.thresholds, unit)
    made: dict[str, Any] = filled({"panels": [panel]}, 2, content, owner="me", until=1)["panels"][0]
    return made


def test_what_a_value_is_compared_with_is_a_dashed_curve() -> None:
    made = panel_for("queue > on (queue) queue_limit", {"id": 2, "type": "timeseries"})
    assert [(each["refId"], each["expr"]) for each in made["targets"]] == [("A", "queue"), ("B", "queue_limit")]
    [override] = made["fieldConfig"]["overrides"]
    assert override["matcher"] == {"id": "byFrameRefID", "options": "B"}
    assert made["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "off"}


def test_the_panel_of_older_grafanas_gets_its_threshold_and_unit_too() -> None:
    old = {"id": 2, "type": "graph", "yaxes": [{"format": "short"}, {"format": "short"}]}
    made = panel_for("4 > free_bytes", old, "bytes")
    assert [(each["op"], each["value"]) for each in made["thresholds"]] == [("lt", 4)]
    assert [each["format"] for each in made["yaxes"]] == ["bytes", "short"]
    assert "fieldConfig" not in made


def test_colours_by_threshold_would_make_curves_invisible() -> None:
    panel = {"id": 2, "fieldConfig": {"defaults": {"color": {"mode": "thresholds"}}}}
    assert panel_for("up == 0", panel)["fieldConfig"]["defaults"]["color"] == {"mode": "palette-classic"}


def test_a_unit_that_grafana_does_not_know_leaves_the_panels_own() -> None:
    panel = {"id": 2, "fieldConfig": {"defaults": {"unit": "short"}}}
    assert panel_for("up", panel, "meters")["fieldConfig"]["defaults"]["unit"] == "short"
    assert panel_for("up", panel, "ratio")["fieldConfig"]["defaults"]["unit"] == "percentunit"


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["title", "targets", "fieldConfig", "thresholds", "yaxes", "timeFrom", "type", "options"])


@given(st.dictionaries(keys, json, max_size=6))
def test_whatever_a_panel_is_like_it_comes_back_as_it_was(panel: dict[str, Any]) -> None:
    panel = {name: value for name, value in panel.items() if name != "targets" or isinstance(value, list)}
    model = {"title": "x", "panels": [{**panel, "id": 2, "type": "graph" if panel.get("type") else "timeseries"}]}
    before = copy.deepcopy(model)
    analysis = analyze_expression("a > b or c < 3", {})
    content = PanelContent("t", analysis.curves, analysis.thresholds, "bytes")
    made = filled(model, 2, content, owner="me", until=1.0)
    assert model == before
    assert made["panels"][0]["title"] == "t"
    assert mark_in(made) is not None
    assert mended(made) == before


@pytest.mark.parametrize("mark", [None, 3, {}, {"owner": "x"}, {"owner": "x", "until": "?", "panel": 2, "was": {}}])
def test_a_mark_that_cannot_be_read_is_none_and_goes_away(mark: Any) -> None:
    assert mark_in({MARK: mark}) is None
    assert mended({MARK: mark, "panels": []}) == {"panels": []}


# ---------------------------------------------------------------- doctor


@pytest.mark.parametrize(
    ("change", "token", "state", "words"),
    [
        (lambda _: None, EDITOR_TOKEN, FindingState.OK, "panel 2 of Grafana's dashboard scratch-1 may be saved"),
        (lambda _: None, TOKEN, FindingState.WARN, "the role Editor"),
        (lambda fake: fake.scratch.update(uid="other"), EDITOR_TOKEN, FindingState.WARN, "no dashboard scratch-1"),
        (lambda fake: fake.scratch_panel.update(id=9), EDITOR_TOKEN, FindingState.WARN, "has no panel 2"),
        (lambda _: None, "wrong", FindingState.WARN, "does not take the token"),
    ],
)
async def test_doctor_tells_whether_the_panel_may_be_filled(
    read: Callable[..., Config],
    grafana: FakeGrafana,
    change: Callable[[FakeGrafana], None],
    token: str,
    state: FindingState,
    words: str,
) -> None:
    change(grafana)
    config = read(
        f'grafana: {{url: "{grafana.url}", token: {token}}}\nprometheus: {{url: "http://p:9090"}}\n'
        f"pictures: {{alerts: {{painter: {{dashboard: {SCRATCH_UID}, panel: 2}}}}}}\n"
    )
    [finding] = await check_painter(config)
    assert finding.state is state
    assert words in f"{finding.found}; {finding.advice}"
    assert grafana.saved == []


async def test_doctor_asks_for_what_the_painter_needs(read: Callable[..., Config]) -> None:
    [finding] = await check_painter(read(f"pictures: {{alerts: {{painter: {{dashboard: {SCRATCH_UID}}}}}}}\n"))
    assert (finding.state, finding.found) == (FindingState.WARN, "there is no `grafana: url:`")
