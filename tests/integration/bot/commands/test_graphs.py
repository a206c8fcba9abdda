from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from tests.fakes.grafana import PASSWORD, TOKEN, USER, FakeGrafana
from tests.fakes.grafana_models import hit, panel, variable
from tests.integration.bot.bot_harness import Asker, services
from tests.support import SMALL
from wxbridge import registry
from wxbridge.bot.command import ChooseOne, Permission
from wxbridge.bot.commands import list_command_kinds
from wxbridge.bot.commands.graph_arguments import parse_graph_arguments
from wxbridge.config.graphs import Graphs
from wxbridge.config.schema import load
from wxbridge.config.types import GrafanaSettings
from wxbridge.core.errors import CannotAnswer, ConfigError, PictureError
from wxbridge.core.model import PictureSpec, Text
from wxbridge.core.pictures import PageRequest
from wxbridge.monitors.dashboards import Dashboards
from wxbridge.monitors.grafana import Grafana
from wxbridge.pictures.panels import PanelPainter

NOW = datetime(2026, 11, 21, 16, 20, tzinfo=ZoneInfo("Asia/Shanghai"))
SHORTCUTS = TypeAdapter(Graphs).validate_python({
    "kafka": {"url": "/d/kfk/kafka?var-topic=t_orders", "panel": 4, "from": "now-1h", "title": "Kafka 消息"},
    "both": {"url": "/d/kfk", "panel": [30, "Heap"], "vars": {"host": ["web-1", "web-2"]}, "size": "wide"},
    "大盘": {"url": "/d/kfk/kafka?from=now-2h&to=now-1h&orgId=3&theme=dark&refresh=5s&autofit", "timezone": "UTC"},
    "web status": {"url": "https://me:pw@status.example.com/board?token=s3cret"},
    "moved": {"url": "/d/moved", "panel": 8},
})  # fmt: skip


class Room:
    """Where commands are written: `ask("graph kafka 6h")` gives the texts and the specs of the answer."""

    def __init__(
        self, dashboards: Dashboards | None, shortcuts=SHORTCUTS, prometheus: str | None = "http://prometheus:9090"
    ) -> None:
        settings = {"graphs": shortcuts, "dashboards": dashboards, "prometheus_url": prometheus}
        self.asker = Asker(services(), NOW, settings)

    async def ask(self, line: str, language="en"):
        answers = (await self.asker.reply(line, language)).bodies
        assert all(isinstance(each, Text | PictureSpec) for each in answers)
        texts = [each.text for each in answers if isinstance(each, Text)]
        return texts, [each for each in answers if isinstance(each, PictureSpec)]

    async def specs(self, line: str):
        return (await self.ask(line))[1]

    async def refused(self, line: str, language="en") -> str:
        with pytest.raises(CannotAnswer) as caught:
            await self.ask(line, language)
        return str(caught.value)


@pytest_asyncio.fixture
async def api():
    async with FakeGrafana() as api:
        yield api


@pytest_asyncio.fixture
async def dashboards(api):
    async with Grafana(GrafanaSettings(url=api.url, user=USER, password=PASSWORD)) as grafana:
        yield Dashboards(grafana)


@pytest.fixture
def room(dashboards):
    return Room(dashboards)


def panels(specs) -> list[tuple[str, str]]:
    assert all(spec.kind == "panel" for spec in specs)
    return [(spec.params["uid"], spec.params["panel"]) for spec in specs]


def times(spec) -> str:
    if spec.kind == "page":
        query = parse_qs(urlsplit(spec.params["url"]).query)
        ends = [int(query[name][0]) / 1000 for name in ("from", "to")]
    elif spec.kind == "panel":
        ends = [spec.params[name] / 1000 for name in ("from", "to")]
    else:
        ends = [spec.params[name] for name in ("start", "end")]
    return "/".join(f"{datetime.fromtimestamp(end, NOW.tzinfo):%d %H:%M}" for end in ends)


# ---------------------------------------------------------------- graph: what is shown


async def test_a_shortcut_is_drawn_with_its_panel_range_and_variables(room, api) -> None:
    texts, (spec,) = await room.ask("graph kafka")
    assert spec.kind == "panel"
    assert spec.params == {
        "panel": "4",
        "uid": "kfk",
        "from": round(NOW.timestamp() * 1000) - 3_600_000,
        "to": round(NOW.timestamp() * 1000),
        "variables": [["var-topic", "t_orders"]],
        "timezone": "Asia/Shanghai",
    }
    assert texts == [
        f"📈 Kafka 消息 · Messages in (topic=Orders)\n11-21 15:20 – 16:20 (1 h)\n{spec.link}",
    ]
    assert spec.link == (
        f"{api.url}/d/kfk/kafka?from={spec.params['from']}&to={spec.params['to']}&var-topic=t_orders&viewPanel=4"
    )


async def test_a_shortcut_may_have_several_panels_values_and_a_size(room) -> None:
    _, specs = await room.ask("graph both")
    assert panels(specs) == [("kfk", "30"), ("kfk", "31")]
    assert specs[0].params["variables"] == [["var-host", "web-1"], ["var-host", "web-2"]]
    assert [specs[0].params[name] for name in ("width", "height", "scale")] == [960, 400, 2]
    assert times(specs[0]) == "21 13:20/21 16:20"  # the dashboard's own three hours


async def test_a_shortcut_without_panel_is_the_whole_dashboard_as_its_address_says(room, api) -> None:
    texts, (spec,) = await room.ask("图 大盘", "zh")
    assert spec.kind == "page"
    assert times(spec) == "21 14:20/21 15:20"
    query = parse_qs(urlsplit(spec.params["url"]).query)
    assert query["orgId"] == ["3"]
    assert "refresh" not in query
    assert "autofit" in spec.params["url"]
    assert {name: value for name, value in spec.params.items() if name != "url"} == {
        "width": 1440, "timezone": "UTC", "theme": "dark", "only_grafana": True,
    }  # fmt: skip
    assert spec.link == api.url + spec.params["url"]
    assert texts == [f"📈 Kafka 集群\n11-21 06:20 – 07:20 (1小时) UTC\n{spec.link}"]


async def test_a_shortcut_may_name_an_organisation(dashboards, api) -> None:
    shortcuts = {"second": {"url": "/d/kfk?orgId=3", "panel": 4, "org": 2}}
    (spec,) = await Room(dashboards, TypeAdapter(Graphs).validate_python(shortcuts)).specs("graph second")
    assert spec.params["org"] == "2"
    assert api.orgs >= {"2"}


@pytest.mark.parametrize("name", ["Kafka 集群", "kafka 集群", '"KAFKA  集群"', "kfk", "集群"])
async def test_a_dashboard_is_known_by_title_uid_or_a_part_of_its_title(room, name) -> None:
    (spec,) = await room.specs(f"graph {name}")
    assert spec.kind == "page"
    assert urlsplit(spec.params["url"]).path == "/d/kfk/kafka"


@pytest.mark.parametrize("name", ["old-rows", "Old rows", "OLD ROWS", "rows"])
async def test_a_dashboard_is_known_by_its_slug(room, name) -> None:
    (spec,) = await room.specs(f"graph {name}")
    assert urlsplit(spec.params["url"]).path == "/d/old/old-rows"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("1", ["12"]),
        ("4", ["30"]),  # the fourth, in a collapsed row; not the one with the id 4
        ("#4", ["4"]),
        ("panel-4", ["4"]),
        ("40", ["40"]),  # there are not so many: an id
        ("messages in", ["4"]),
        ("HEAP", ["31"]),
        ("消费延迟", ["40"]),
        ("延迟", ["40"]),
        ("lag", ["50"]),
        ("usage", ["12", "7"]),
        ("CPU usage of web-1", ["12"]),
        ("1,3 heap", ["12", "7", "31"]),
        ("1 3 messages in", ["12", "7", "4"]),
        ("1，#31、lag", ["12", "31", "50"]),
        ("heap heap 5", ["31"]),
        ("panel=2", ["4"]),
    ],
)
async def test_panels_are_named_by_number_id_or_title(room, words, expected) -> None:
    assert panels(await room.specs(f"graph kfk {words}")) == [("kfk", each) for each in expected]


@pytest.mark.parametrize("words", ["kfk:4", "kfk：4", "Kafka 集群:gc", "kafka gc", "kafka:gc pauses"])
async def test_the_panel_may_stand_behind_a_colon_and_replaces_the_shortcuts_own(room, words) -> None:
    assert panels(await room.specs(f"graph {words}")) == [("kfk", "30")]


async def test_at_most_four_panels_are_drawn_and_the_others_are_named(room) -> None:
    texts, specs = await room.ask("graph many cpu")
    assert panels(specs) == [("many", str(number)) for number in range(1, 5)]
    assert texts[-1] == "At most 4 at once; left out: 5. CPU 5, 6. CPU 6, 7. CPU 7"
    assert len(texts) == 5


async def test_all_shows_the_whole_dashboard_of_a_shortcut_that_has_a_panel(room) -> None:
    assert [spec.kind for spec in await room.specs("graph kafka all")] == ["page"]
    assert [spec.kind for spec in await room.specs("图 kafka 全部")] == ["page"]


async def test_the_panels_can_be_listed(room) -> None:
    texts, specs = await room.ask("graph kafka panels")
    assert not specs
    assert texts[0].splitlines() == [
        "Panels of kafka (`graph kafka 1`):",
        "1. CPU usage of web-1",
        "2. Messages in",
        "3. Disk usage",
        "4. GC pauses (JVM)",
        "5. Heap (JVM)",
        "6. 消费延迟 (消费者) — one for each topic",
        "7. Lag (消费者)",
        "Variables: host, topic",
    ]


async def test_captions_tell_values_as_people_read_them_and_variables_go_by_their_labels_too(room) -> None:
    (text,), (spec,) = await room.ask("graph kfk 12 主机=all")
    assert spec.params["variables"] == [["var-host", "$__all"]]
    assert text.startswith("📈 Kafka 集群 · CPU usage of all (host=all)\n")
    (text,), _ = await room.ask("图 kfk 12 主机=全部", "zh")
    assert text.startswith("📈 Kafka 集群 · CPU usage of 全部 (host=全部)\n")
    (text,), (spec,) = await room.ask("graph kfk 12 host=a,b topic=orders")
    assert spec.params["variables"] == [["var-host", "a"], ["var-host", "b"], ["var-topic", "t_orders"]]
    assert text.startswith("📈 Kafka 集群 · CPU usage of a, b (host=a, b  topic=Orders)\n")


async def test_a_repeated_panel_is_called_what_the_one_is_that_is_drawn(room, api, monkeypatch) -> None:
    repeated = panel(40, "Lag of $topic", y=41, repeat="topic")
    options = [("All", "$__all"), ("Orders", "t_orders"), ("Users", "t_users")]
    topic = variable("topic", "All", includeAll=True, options=[{"text": t, "value": v} for t, v in options])
    topic["current"] = {"text": ["All"], "value": ["$__all"]}
    model = {"title": "Lags", "templating": {"list": [topic]}, "panels": [repeated]}
    monkeypatch.setitem(api.models, "kfk", model)
    for line, title, is_one_of_several in (
        ("graph kfk 1", "Lag of Orders", True),
        ("graph kfk 1 topic=all", "Lag of Orders", True),
        ("graph kfk 1 topic=users", "Lag of Users", False),
    ):
        (text,), _ = await room.ask(line)
        assert text.startswith(f"📈 Lags · {title}"), line
        assert ("one of several: topic=…" in text) is is_one_of_several, line


async def test_links_lead_to_where_people_reach_grafana(api) -> None:
    settings = GrafanaSettings(url=api.url, public_url="https://grafana.example.com/g/", user=USER, password=PASSWORD)
    async with Grafana(settings) as grafana:
        room = Room(Dashboards(grafana))
        (text,), (spec,) = await room.ask("graph kfk 12")
        assert text.splitlines()[-1].startswith("https://grafana.example.com/g/d/kfk/kafka?")
        assert spec.link == text.splitlines()[-1]
        (text,), (spec,) = await room.ask("graph 大盘")
        assert text.splitlines()[-1].startswith("https://grafana.example.com/g/d/kfk/kafka?")
        assert spec.params["url"].startswith("/d/kfk/")


async def test_a_repeated_panel_says_how_to_choose_one(room) -> None:
    (text,), _ = await room.ask("graph kfk 延迟")
    assert "one of several: topic=…" in text
    (text,), _ = await room.ask("graph kfk 延迟 topic=orders")
    assert "one of several" not in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("6h", "21 10:20/21 16:20"),
        ("last 2 hours", "21 14:20/21 16:20"),
        ("from=6h", "21 10:20/21 16:20"),
        ("from=now-6h to=now-1h", "21 10:20/21 15:20"),
        ("now-6h now-1h", "21 10:20/21 15:20"),
        ("to=now-1h", "21 14:20/21 15:20"),  # as long as the shortcut's own
        ("from=2026-11-20T09:00 to=18:00", "20 09:00/20 18:00"),
        ("from=2026-11-20 09:00 to=2026-11-20 18:00", "20 09:00/20 18:00"),
        ("yesterday 9-18", "20 09:00/20 18:00"),
        ("最近2小时", "21 14:20/21 16:20"),
        ("昨天9-18点", "20 09:00/20 18:00"),
        ("2 last 2 hours dark 800x400", "21 14:20/21 16:20"),
        ("dark from=6h 2", "21 10:20/21 16:20"),
    ],
)
async def test_the_range_may_be_written_behind_the_name(room, words, expected) -> None:
    (spec,) = await room.specs(f"graph kafka {words}")
    assert times(spec) == expected


async def test_chinese_words_need_no_blanks(room) -> None:
    (spec,) = await room.specs("图kafka最近2小时")
    assert (spec.params["panel"], times(spec)) == ("4", "21 14:20/21 16:20")


async def test_a_title_may_look_like_a_range(room, api) -> None:
    api.hits.append({**api.hits[0], "uid": "d7", "title": "最近7天 订单", "url": "/d/d7/x"})
    api.hits.append({**api.hits[0], "uid": "e24", "title": "Errors 24h", "url": "/d/e24/errors-24h"})
    assert "/d/d7/" in (await room.specs("graph 最近7天 订单"))[0].params["url"]
    (spec,) = await room.specs("graph errors 24h 2h")
    assert ("/d/e24/" in spec.params["url"], times(spec)) == (True, "21 14:20/21 16:20")


async def test_size_theme_and_time_zone_are_options(room) -> None:
    texts, (spec,) = await room.ask("graph kafka 800x400 dark tz=UTC from=2026-11-21T01:00 to=02:00")
    assert [spec.params[name] for name in ("width", "height", "scale", "theme", "timezone")] == [
        800, 400, 1, "dark", "UTC",
    ]  # fmt: skip
    assert times(spec) == "21 09:00/21 10:00"  # clocks are read in that zone
    assert "11-21 01:00 – 02:00 (1 h) UTC" in texts[0]
    (tall,) = await room.specs("graph kafka tall theme=light")
    assert [tall.params[name] for name in ("width", "height", "theme")] == [540, 800, "light"]
    (wide,) = await room.specs("图 kafka width=1200 深色")
    assert [wide.params[name] for name in ("width", "height", "theme")] == [1200, 500, "dark"]
    (page,) = await room.specs("graph kfk wide")
    assert page.params["width"] == 1920


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("size=big", "size=800x400"),
        ("9x9", None),
        ("5000x50", "between 100 and 4000"),
        ("theme=pink", "theme=dark"),
        ("tz=Moon", "tz=Asia/Shanghai"),
        ("width=3", "width=800"),
        ("from=", "`from=` has no value"),
        ("from=soon", "from=6h"),
        ("last 200 days", "longer than 92 days"),
        ("from=now+1h", "still to come"),
    ],
)
async def test_an_option_that_cannot_be_is_told_with_an_example(room, words, said) -> None:
    refusal = await room.refused(f"graph kafka {words}")
    assert (said or "no panel") in refusal


@pytest.mark.parametrize("words", ["{}", "kafka {}", "kafka {}=1", "kafka from={}"])
async def test_what_somebody_wrote_is_not_repeated_at_length(room, words) -> None:
    assert len(await room.refused(f"graph {words.format('z' * 1500)}")) < 500


async def test_a_variable_is_one_of_the_dashboards(room) -> None:
    (spec,) = await room.specs("graph kafka HOST=web-1,web-2 var-topic=Orders")
    assert spec.params["variables"] == [["var-topic", "t_orders"], ["var-host", "web-1"], ["var-host", "web-2"]]
    (spec,) = await room.specs('graph kafka host=all topic="a, b"')
    assert spec.params["variables"] == [["var-topic", "a, b"], ["var-host", "$__all"]]
    assert await room.refused("graph kafka hots=web-1") == (
        "“kafka” has no variable `hots`. There are: host, topic. Did you mean `host`?"
    )
    assert await room.refused("图 many x=1", "zh") == "“Many”没有变量 `x`。可用变量：无。"


def options(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"text": text, "value": value} for text, value in pairs]


SHOP = {
    "title": "Shop / Orders 24h",
    "templating": {"list": [
        variable("size", "m", options=options(("small", "s"), ("large", "l"))),
        variable("city", "上海", multi=True, options=options(("北京, 朝阳", "bj-cy"), ("上海", "sh"), ("a,b,c", "x"))),
        variable("host", "web-1", multi=True, includeAll=True, options=options(("All", "$__all"), ("web-1", "w1"))),
    ]},
    "panels": [
        panel(1, "Orders"), panel(2, "Orders today", y=8), panel(3, "size=large", y=16), panel(4, "CPU ($host)", y=24),
        panel(5, "dark", y=32), panel(6, "a, b", y=40), panel(7, "2", y=48),
    ],
}  # fmt: skip


@pytest.fixture
def shop(api, room):
    """A room with a shop's dashboard, whose title ends like a range, beside another of that title."""
    api.models |= {"shop": SHOP, "shop2": SHOP}
    api.hits += [hit("shop", "Shop / Orders 24h", "Prod", "shop"), hit("shop2", "Shop / Orders 24h", "Test", "shop")]
    return room


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ('city="北京, 朝阳"', [["var-city", "bj-cy"]]),
        ("city=“北京, 朝阳”", [["var-city", "bj-cy"]]),
        ("city=北京,朝阳", [["var-city", "bj-cy"]]),
        ("city=北京，朝阳,上海", [["var-city", "bj-cy"], ["var-city", "sh"]]),
        ("city=上海,北京,朝阳", [["var-city", "sh"], ["var-city", "bj-cy"]]),
        ("city=a,b,c", [["var-city", "x"]]),
        ("city=a,b", [["var-city", "a"], ["var-city", "b"]]),
        ('city="a,b"', [["var-city", "a,b"]]),
        ("size=large", [["var-size", "l"]]),
        ("var-size=large", [["var-size", "l"]]),
        ("host=ALL", [["var-host", "$__all"]]),
    ],
)
async def test_a_value_in_quotes_or_listed_with_a_comma_is_one(shop, words, values) -> None:
    (spec,) = await shop.specs(f"graph shop 1 {words}")
    assert spec.params["variables"] == values


@pytest.mark.parametrize(
    ("line", "panel_id"),
    [
        ('graph shop "orders today"', "2"),
        ("graph shop “orders today”", "2"),
        ("graph shop orders today", "2"),
        ("graph shop ORDERS　today", "2"),
        ('graph shop "orders today" 6h', "2"),
        ('graph shop "size=large"', "3"),
        ('graph shop "dark"', "5"),
        ('graph shop "a, b"', "6"),
        ('graph shop "2"', "7"),
        ("graph shop orders 6h", "1"),
    ],
)
async def test_words_in_quotes_are_a_title_and_a_whole_title_goes_before_a_range(shop, line, panel_id) -> None:
    assert panels(await shop.specs(line))[0] == ("shop", panel_id)


async def test_a_title_may_end_like_a_range(shop, api) -> None:
    api.hits = [each for each in api.hits if each["uid"] != "shop2"]
    (spec,) = await shop.specs("graph shop / orders 24h")
    assert spec.kind == "page"
    assert times(spec) == "21 10:20/21 16:20"
    (spec,) = await shop.specs("graph shop / orders 24h 2h")
    assert times(spec) == "21 14:20/21 16:20"


async def test_an_option_that_cannot_be_is_told_where_the_dashboard_has_no_such_variable(shop) -> None:
    assert "size=800x400" in await shop.refused("graph kfk size=large")
    assert "theme=dark" in await shop.refused("graph shop theme=pink")


async def test_a_hint_works_when_it_is_sent_as_it_stands(shop) -> None:
    (text,), _ = await shop.ask("graph shop panels")
    (hint,) = re.findall("`(graph .*?)`", text)
    assert hint == "graph shop 1"
    assert panels(await shop.specs(hint)) == [("shop", "1")]


@pytest.mark.parametrize(
    ("line", "language", "title"),
    [
        ("graph shop cpu host=all", "en", "CPU (All)"),
        ("graph kfk cpu host=all", "en", "CPU usage of all"),
        ("graph kfk cpu host=all", "zh", "CPU usage of 全部"),
    ],
)
async def test_all_is_told_in_words(shop, line, language, title) -> None:
    texts, _ = await shop.ask(line, language)
    assert title in texts[0]
    assert "$__all" not in texts[0].splitlines()[0]


async def test_numbers_of_a_list_ask_for_what_stands_there_with_all_that_was_asked_for(shop) -> None:
    with pytest.raises(ChooseOne) as caught:
        await shop.ask('graph node exporter "cpu usage" 6h dark host="a b"')
    assert caught.value.choices.entries == (
        'n1 "cpu usage" 6h dark host="a b"', 'n2 "cpu usage" 6h dark host="a b"',
    )  # fmt: skip
    listed = (await shop.asker.reply("graph shop panels 6h", "en")).choices
    assert listed.entries[6] == "shop #7 6h"
    with pytest.raises(ChooseOne) as caught:
        await shop.ask("graph shop nonsense")
    assert caught.value.choices.entries[1] == "shop #2"
    listed = (await shop.asker.reply("graphs", "en")).choices
    assert listed.entries == ("kafka", "both", "大盘", '"web status"', "moved")
    for entry in listed.entries[:3]:
        assert await shop.specs(f"graph {entry}")


# ---------------------------------------------------------------- graph: what is not found


async def test_several_dashboards_of_a_name_are_told_to_be_copied(room) -> None:
    assert await room.refused("graph node exporter cpu") == (
        "Several dashboards are called “node exporter”. Which one?\n"
        "graph n1  # 1. Node exporter (Infra)\n"
        "graph n2  # 2. Node exporter (Lab)"
    )


@pytest.mark.parametrize(
    ("line", "language", "said"),
    [
        ("graph kafak", "en", "There is no graph “kafak”. Did you mean `kafka` or `Kafka 集群`?"),
        ("graph of tomorow", "en", "There is no graph “of tomorow”. Did you mean `Tabs of tomorrow`?"),
        ("图 大板", "zh", "没有图表“大板”。是不是想看：`大盘`？"),
        ("graph zzz 6h", "en", "There is no graph “zzz”. `graphs zzz` searches."),
    ],
)
async def test_a_name_that_nothing_has_gets_did_you_mean(room, line, language, said) -> None:
    assert await room.refused(line, language) == said


async def test_a_panel_that_is_not_there_gets_did_you_mean_or_the_list(room) -> None:
    assert await room.refused("graph kafka heep") == "“kafka” has no panel “heep”. Did you mean `Heap`?"
    assert (await room.refused("graph kafka 99")).startswith("“kafka” has no panel “99”. There are:\n1. CPU usage")
    assert (await room.refused("graph kafka 1 zzz")).startswith("“kafka” has no panel “zzz”.")


async def test_without_a_name_the_usage_is_told(room) -> None:
    assert (await room.refused("graph")).startswith("Which one?\ngraph NAME [panel]")
    assert (await room.refused("图", "zh")).startswith("看哪一个？\n图 名称")


async def test_the_trouble_of_grafana_is_told_and_shortcuts_go_on_without_its_api(room, api) -> None:
    api.broken = 403
    (spec,) = await room.specs("graph kafka 2h")
    assert (spec.params["panel"], times(spec)) == ("4", "21 14:20/21 16:20")
    with pytest.raises(PictureError, match="role Viewer"):
        await room.ask("graph kafka cpu")
    with pytest.raises(PictureError, match="role Viewer"):
        await room.ask("graph kafka host=web-1")
    with pytest.raises(PictureError, match="role Viewer"):
        await room.ask("graph something")
    assert "Did you mean `kafka`?" in await room.refused("graph kafak")


async def test_a_shortcut_whose_dashboard_grafana_does_not_tell_of_is_drawn_as_it_says(room) -> None:
    assert panels(await room.specs("graph moved")) == [("moved", "8")]
    assert "correct `graphs:` in jobs.yaml" in await room.refused("graph moved cpu")


async def test_a_shortcut_may_be_any_page(room) -> None:
    texts, (spec,) = await room.ask("graph web status dark")
    assert texts == ["📈 web status\nhttps://status.example.com/board"]
    assert spec.params == {
        "url": "https://me:pw@status.example.com/board?token=s3cret",
        "width": 1440,
        "timezone": "Asia/Shanghai",
        "theme": "dark",
    }
    assert spec.link == "https://status.example.com/board"
    assert "is a page" in await room.refused("graph web status 6h")


async def test_without_grafana_only_other_pages_are_shown() -> None:
    room = Room(None)
    assert [spec.kind for spec in await room.specs("graph web status")] == ["page"]
    assert "set `grafana:`" in await room.refused("graph kafka")
    assert "set `grafana:`" in await Room(None, {}).refused("graph kafka")
    assert "set `graphs:` or `grafana:`" in await Room(None, {}).refused("graphs")


async def test_grafana_below_a_path_and_whole_addresses_are_understood(api) -> None:
    shortcuts = TypeAdapter(Graphs).validate_python({
        "a": {"url": f"{api.url}/grafana/d/kfk/kafka?viewPanel=panel-7"},
        "b": {"url": "/grafana/d-solo/kfk/kafka?panelId=7"},
    })  # fmt: skip
    async with Grafana(GrafanaSettings(url=f"{api.url}/grafana", token=TOKEN)) as grafana:
        room = Room(Dashboards(grafana), shortcuts)
        for name in "ab":
            (spec,) = await room.specs(f"graph {name}")
            assert panels([spec]) == [("kfk", "7")]
            assert spec.link.startswith(f"{api.url}/grafana/d/kfk/kafka?")


async def no_browser(_page: PageRequest) -> bytes:
    raise PictureError("there is no browser")


async def test_what_is_asked_for_is_what_the_painter_draws(room, api) -> None:
    (spec,) = await room.specs("graph kafka 2 800x400 host=web-1")
    async with Grafana(GrafanaSettings(url=api.url, token=TOKEN)) as grafana:
        assert (await PanelPainter(grafana, no_browser).paint(spec.params)).startswith(b"\x89PNG")
    (drawn,) = api.drawn
    assert {name: drawn.query.getall(name) for name in ("panelId", "width", "height", "scale", "var-host", "tz")} == {
        "panelId": ["4"], "width": ["800"], "height": ["400"], "scale": ["1"], "var-host": ["web-1"],
        "tz": ["Asia/Shanghai"],
    }  # fmt: skip


# ---------------------------------------------------------------- graphs


@pytest.mark.parametrize("line", ["graphs", "list graphs", "list graph shortcuts", "图表", "图表列表"])
async def test_the_shortcuts_are_listed_to_be_copied(room, api, line) -> None:
    (text,), _ = await room.ask(line)
    assert text.splitlines() == [
        "Shortcuts:",
        "graph kafka  # 1. Kafka 消息, panel 4",
        "graph both  # 2. panel 30, Heap",
        "graph 大盘  # 3.",
        "graph web status  # 4.",
        "graph moved  # 5. panel 8",
        "`graphs WORD` searches Grafana too.",
    ]
    assert not api.api_paths


async def test_a_search_word_finds_shortcuts_and_what_grafana_finds(room, api) -> None:
    (text,), _ = await room.ask("图表 kafka", "zh")
    assert text.splitlines() == [
        "快捷图表：",
        "图 kafka  # 1. Kafka 消息、面板 4",
        "图 大盘  # 2.",
        "Grafana 中：",
        "图 Kafka 集群  # 3.",
    ]
    assert [query["query"] for query in api.asked("/api/search")] == ["kafka"]


async def test_equal_titles_are_listed_by_uid_and_parts_of_words_are_found(room) -> None:
    (text,), _ = await room.ask("graphs export")
    assert text.splitlines() == [
        "In Grafana:",
        "graph n1  # 1. Node exporter (Infra)",
        "graph n2  # 2. Node exporter (Lab)",
    ]


async def test_each_line_of_a_list_can_be_sent_as_it_is(room) -> None:
    for line in ("graphs", "graphs node"):
        (text,), _ = await room.ask(line)
        for copied in [each for each in text.splitlines() if each.startswith("graph ")]:
            assert len(await room.specs(copied)) in (1, 2)


async def test_a_search_that_finds_nothing_or_fails_says_so(room, api, dashboards) -> None:
    assert await room.refused("graphs kafak") == "There is no graph “kafak”. Did you mean `kafka` or `Kafka 集群`?"
    api.broken = 500
    (text,), _ = await room.ask("graphs web")
    assert text.splitlines()[:2] == ["Shortcuts:", "graph web status"]
    assert "HTTP 500" in text


async def test_without_shortcuts_grafanas_dashboards_are_listed(dashboards) -> None:
    (text,), _ = await Room(dashboards, {}).ask("graphs")
    assert text.splitlines()[:3] == ["In Grafana:", "graph Kafka 集群  # 1.", "graph Old rows  # 2."]


# ---------------------------------------------------------------- promql


@pytest.mark.parametrize(
    ("line", "expr", "expected"),
    [
        ("promql up", "up", "21 10:20/21 16:20"),
        ("promql rate(x[5m]) 2h", "rate(x[5m])", "21 14:20/21 16:20"),
        ("promql rate(x[5m]) last 2 hours", "rate(x[5m])", "21 14:20/21 16:20"),
        ('查询 sum(up{room="技术 群"}) by (job) 最近2小时', 'sum(up{room="技术 群"}) by (job)', "21 14:20/21 16:20"),
        ("promql up from=6h to=1h", "up", "21 10:20/21 15:20"),
        ("promql up yesterday 9-18", "up", "20 09:00/20 18:00"),
        ("promql up offset 2h", "up offset 2h", "21 10:20/21 16:20"),
        ("promql up offset 2h 1h", "up offset 2h", "21 15:20/21 16:20"),
        ("promql up > 5 today", "up > 5", "21 00:00/21 16:20"),
        ('promql up{a="last 2 hours"}', 'up{a="last 2 hours"}', "21 10:20/21 16:20"),
        ("promql sum(x) keep_metric_names 2h", "sum(x) keep_metric_names", "21 14:20/21 16:20"),
    ],
)
async def test_an_expression_is_charted_over_the_range_behind_it(room, line, expr, expected) -> None:
    texts, (spec,) = await room.ask(line)
    assert (spec.kind, spec.params["expr"], times(spec)) == ("chart", expr, expected)
    assert (spec.params["timezone"], spec.params["language"]) == ("Asia/Shanghai", "en")
    assert texts[0].startswith(f"📈 {expr}\n11-")
    assert parse_qs(urlsplit(spec.link).query)["g0.expr"] == [expr]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("promql sum(rate(x[5m]) 6h", "That is no PromQL: "),
        ("promql up{job=} 6h", "That is no PromQL: "),
        ("promql", "Which expression?"),
        ("promql 6h", "Which expression?"),
        ("promql up last 200 days", "longer than 92 days"),
    ],
)
async def test_what_is_wrong_with_an_expression_is_told(room, line, said) -> None:
    assert said in await room.refused(line)


async def test_a_bad_expression_is_told_with_its_place_and_without_the_range(room) -> None:
    refusal = await room.refused("promql sum(rate(x[5m]) 6h")
    assert "at character" in refusal
    assert refusal.endswith("\nsum(rate(x[5m])")


async def test_promql_is_for_those_listed_and_needs_prometheus(dashboards) -> None:
    commands = {each.name: each for each in list_command_kinds()}
    assert commands["promql"].permission is Permission.PROMQL
    assert commands["graph"].permission is commands["graphs"].permission is Permission.EVERYONE
    with pytest.raises(CannotAnswer, match="prometheus:"):
        await Room(dashboards, {}, None).ask("promql up")


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"a": {"url": "/d/x", "from": "soon"}}, "from=soon"),
        ({"a": {"url": "/d/x", "from": "now-1y"}}, "longer than 92 days"),
        ({"a": {"url": "/d/x", "size": "big"}}, "800x400"),
        ({"a": {"url": "/d/x", "timezone": "Moon"}}, "no time zone"),
        ({"a": {"url": "/d/x", "panel": [1, 2, 3, 4, 5]}}, "at most 4"),
        ({"a": {"url": "/d/x", "panels": 1}}, "panels"),
        ({"a": {"panel": 1}}, "url"),
        ({"a=b": {"url": "/d/x"}}, "no name for a graph"),
        ({"Kafka": {"url": "/d/x"}, "kafka": {"url": "/d/y"}}, "the same name"),
    ],
)
def test_a_wrong_shortcut_is_told_when_the_file_is_read(section, said) -> None:
    with pytest.raises(ValidationError, match=said):
        TypeAdapter(Graphs).validate_python(section)


def test_a_mistake_in_the_section_is_told_with_its_line(config_file) -> None:
    plugins = registry.plugin_settings()
    plugins = replace(plugins, others={"graphs": Graphs})
    file = config_file(SMALL + "graphs:\n  kafka: {url: /d/x, form: now-6h}\n  b:\n    url: /d/x\n    size: big\n")
    with pytest.raises(ConfigError) as caught:
        load(file, plugins, {})
    lines = len(SMALL.splitlines())
    assert [(each.line - lines, each.text) for each in caught.value.problems] == [
        (2, "unknown key `form`; did you mean `from`?"),
        (5, "`graphs.b.size`: 'big' is no size; write one like 800x400, wide or tall"),
    ]


def test_the_issues_own_example_is_right() -> None:
    graphs = TypeAdapter(Graphs).validate_python({"kafka": {"url": "/d/kafka/overview", "panel": 4, "from": "now-6h"}})
    assert (graphs["kafka"].panel, graphs["kafka"].from_, graphs["kafka"].to) == ((4,), "now-6h", None)


WORDS = st.lists(
    st.sampled_from(["kafka", "1,3", "cpu", "dark", "wide", "6h", "last", "2", "hours", "host=web-1", "from=6h", "昨天",
                     "9-18点", "09:00", "#4", "tz=UTC", "kafka最近2小时", "=", "a=b=c"]) | st.text(max_size=8),
    min_size=1, max_size=7,
)  # fmt: skip


@given(WORDS)
def test_whatever_is_written_the_first_word_is_the_names(words) -> None:
    try:
        found = parse_graph_arguments(words, NOW, "en")
    except CannotAnswer:
        return
    plain = [word for word in words if word.split() and not re.match(r"[^\s=]+=", word)]
    if plain and found.words:
        assert plain[0].split()[0].startswith(found.words[0])
    assert not (found.range and (found.start or found.end))


async def test_times_are_fixed_when_the_question_is_asked(room) -> None:
    (spec,) = await room.specs("graph kafka")
    assert datetime.fromtimestamp(spec.params["to"] / 1000, UTC) == NOW
