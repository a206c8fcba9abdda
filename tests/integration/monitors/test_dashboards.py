from __future__ import annotations

import json
from functools import partial

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.grafana import PASSWORD, TOKEN, USER, FakeGrafana
from tests.fakes.grafana_models import KAFKA, hit
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.errors import PictureError
from wxbridge.monitors import dashboards as module
from wxbridge.monitors.dashboards import Dashboards, read_dashboard
from wxbridge.monitors.grafana import Grafana


@pytest_asyncio.fixture
async def api():
    async with FakeGrafana() as api:
        yield api


@pytest_asyncio.fixture
async def client(api):
    async with Grafana(GrafanaSettings(url=api.url, token=TOKEN)) as grafana:
        yield partial(Dashboards, grafana)


async def test_panels_are_counted_as_one_reads_also_within_collapsed_rows(api, client) -> None:
    found = await client().find("kfk")
    assert found is not None
    assert (found.title, found.slug, found.start) == ("Kafka 集群", "kafka", "now-3h")
    assert [(each.number, each.id, each.title, each.row) for each in found.panels] == [
        (1, 12, "CPU usage of $host", ""),
        (2, 4, "Messages in", ""),
        (3, 7, "Disk usage", ""),
        (4, 30, "GC pauses", "JVM"),
        (5, 31, "Heap", "JVM"),
        (6, 40, "消费延迟", "消费者"),
        (7, 50, "Lag", "消费者"),
    ]
    assert [each.repeat for each in found.panels if each.repeat] == ["topic"]
    assert [(each.name, each.is_multi, each.has_all) for each in found.variables] == [
        ("host", True, True),
        ("topic", False, False),
    ]
    assert (
        found.fill_title("CPU of $host ${topic:csv} [[host]] $x", {"host": "web-2"}) == "CPU of web-2 orders web-2 $x"
    )


async def test_rows_of_grafana_4_and_tabs_of_the_newer_schema_are_read_too(api, client) -> None:
    asker = client()
    old, new = await asker.find("old"), await asker.find("tabs")
    assert old is not None
    assert [(each.number, each.title, each.row) for each in old.panels] == [(1, "A", "first"), (2, "B", "first")]
    assert new is not None
    assert [(each.number, each.title, each.row, each.repeat) for each in new.panels] == [
        (1, "Left", "one", "zone"),
        (2, "Right", "one", ""),
        (3, "Shared", "two", ""),
    ]
    assert (new.start, [each.name for each in new.variables]) == ("now-1h", ["zone"])
    assert "/apis/dashboard.grafana.app/v2beta1/namespaces/default/dashboards/tabs" in api.api_paths


async def test_no_such_dashboard_and_an_impossible_uid_are_none(api, client) -> None:
    assert await client().find("nobody") is None
    assert await client().find("../admin") is None
    assert api.api_paths == ["/api/dashboards/uid/nobody"]


async def test_search_gives_dashboards_not_folders_with_what_tells_them_apart(api, client) -> None:
    found = await client().search("kafka")
    assert [(each.uid, each.title, each.folder, each.slug) for each in found] == [
        ("kfk", "Kafka 集群", "Infra", "kafka")
    ]
    assert api.asked("/api/search") == [{"type": "dash-db", "query": "kafka", "limit": "20"}]


async def test_all_dashboards_are_got_page_by_page(api, client, monkeypatch) -> None:
    monkeypatch.setattr(module, "DASHBOARDS_PER_PAGE", 3)
    api.hits = [hit(f"u{number}", f"D {number}", "", f"d-{number}") for number in range(7)]
    assert [each.uid for each in await client().list_all()] == [f"u{number}" for number in range(7)]
    assert [query["page"] for query in api.asked("/api/search")] == ["1", "2", "3"]


async def test_an_answer_is_kept_for_a_minute(api, client) -> None:
    now = 100.0
    asker = client(clock=lambda: now)
    for _ in range(3):
        await asker.find("kfk")
        await asker.list_all()
    assert len(api.api_paths) == 2
    now += 61
    await asker.find("kfk")
    assert len(api.api_paths) == 3


async def test_a_failure_is_not_kept(api, client) -> None:
    asker = client()
    api.broken = 503
    with pytest.raises(PictureError, match="HTTP 503") as caught:
        await asker.list_all()
    assert caught.value.retry
    api.broken = 0
    assert len(await asker.list_all()) == 6


@pytest.mark.parametrize(
    ("status", "said", "retry"),
    [
        (403, "role Viewer", False),
        (401, "grafana.token: has it expired", False),
        (429, "HTTP 429", True),
        (400, "HTTP 400", False),
    ],
)
async def test_what_grafana_refuses_is_told_with_what_to_do(api, client, status, said, retry) -> None:
    api.broken = status
    with pytest.raises(PictureError, match=said) as caught:
        await client().search("x")
    assert caught.value.retry is retry
    assert TOKEN not in str(caught.value)


async def test_no_json_too_large_an_answer_and_silence_are_told(api, client) -> None:
    api.body = b"<html>"
    with pytest.raises(PictureError, match=r"no JSON: check grafana\.url"):
        await client().list_all()
    api.body = json.dumps(["x" * 2000]).encode()
    async with Grafana(GrafanaSettings(url=api.url, token=TOKEN), max_bytes=1000) as small:
        with pytest.raises(PictureError, match="larger than 1,000 bytes"):
            await Dashboards(small).list_all()
    api.hang = True
    with pytest.raises(PictureError, match=r"did not answer /api/search within 0\.05 s") as caught:
        await client(deadline=0.05).list_all()
    assert caught.value.retry


async def test_a_grafana_that_is_not_there_is_told(api, client) -> None:
    await api.stop()
    with pytest.raises(PictureError, match="cannot be reached") as caught:
        await client().list_all()
    assert caught.value.retry


async def test_user_and_password_log_in_and_again_when_the_session_ends(api) -> None:
    async with Grafana(GrafanaSettings(url=api.url, user=USER, password=PASSWORD)) as grafana:
        asker = Dashboards(grafana, ttl=0)
        assert await asker.search("kafka")
        api.sessions.clear()
        assert await asker.search("kafka")
    assert api.logins == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(["dashboard", "spec", "panels", "rows", "id", "title", "elements", "layout", "items", "element",
                         "name", "templating", "list", "gridPos", "x", "y", "type", "tabs", "current", "text", "meta"]),
        inner, max_size=5,
    ),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["dashboard", "spec", "meta"]), JSON))
def test_whatever_a_model_holds_it_is_read_without_a_crash(answer) -> None:
    found = read_dashboard(answer, "uid")
    assert [each.number for each in found.panels] == list(range(1, len(found.panels) + 1))


def test_a_model_is_not_changed_by_reading_it() -> None:
    before = json.dumps(KAFKA)
    read_dashboard({"dashboard": KAFKA}, "kfk")
    assert json.dumps(KAFKA) == before
