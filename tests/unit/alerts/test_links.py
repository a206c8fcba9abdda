"""Which addresses an alert shows, and the signed ones of the bridge's own pages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.links import (
    LINK_SECONDS,
    MAX_ALERTS_PER_LINK,
    SILENCE_PATH,
    AlertPages,
    ShownLinks,
    choose_links,
    has_dotted_host,
)
from wxbridge.core.model import Alert, AlertStatus

PAGE = "https://bridge.example.com/a/0123456789ab"
PROMETHEUS = "http://prometheus-0:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1"
REACHED = "https://prometheus.example.com/graph?g0.expr=up+%3D%3D+0"
PAGES = AlertPages("https://bridge.example.com", b"secret")
KEYS = [f"{number:032x}" for number in range(1 << 100, (1 << 100) + 9 * (1 << 80), 1 << 80)]


def shown(link: str | None = None, page: str = PAGE, **links: str) -> tuple[str, str]:
    found = choose_links(Alert("alertmanager", AlertStatus.FIRING, "x", link=link, links=links), page)
    return found.main, found.graph


def test_an_alert_without_any_address_shows_none_even_where_it_has_a_page() -> None:
    assert choose_links(Alert("generic", AlertStatus.FIRING, "x"), PAGE) == ShownLinks()


def test_what_somebody_wrote_down_comes_before_what_the_monitor_made_and_the_graph_stands_beside_it() -> None:
    assert shown(REACHED, generator=REACHED) == (REACHED, "")
    assert shown(REACHED, generator=REACHED, runbook="https://wiki/1") == ("https://wiki/1", REACHED)
    board = "https://grafana.example.com/d/a"
    assert shown(board, dashboard=board, generator=REACHED) == (board, REACHED)
    assert shown(board, dashboard=board, generator=REACHED, runbook="https://wiki/1") == ("https://wiki/1", board)
    panel = f"{board}?viewPanel=1"
    assert shown(panel, panel=panel, dashboard=board, generator=REACHED) == (panel, "")


def test_one_address_is_shown_once() -> None:
    assert shown(REACHED, generator=REACHED, runbook=REACHED) == (REACHED, "")
    assert shown(PROMETHEUS, generator=PROMETHEUS, panel="http://grafana:3000/d/a?viewPanel=1") == (PAGE, "")


@pytest.mark.parametrize(
    "address", [PROMETHEUS, f"{REACHED}{'+or+up' * 30}", "http://localhost:9090/graph", "http://["]
)
def test_what_a_phone_cannot_use_gives_way_to_the_bridges_own_page_where_there_is_one(address: str) -> None:
    wiki = "https://wiki.example.com/1"
    assert shown(address, generator=address) == (PAGE, "")
    assert shown(address, generator=address, runbook=wiki) == (wiki, PAGE)
    assert shown(address, page="", generator=address) == (address, "")


def test_a_long_address_that_somebody_chose_stays() -> None:
    board = f"https://grafana.example.com/d/a?{'var=1&' * 40}"
    assert shown(board, dashboard=board) == (board, "")
    assert shown(board) == (board, "")


@pytest.mark.parametrize(
    ("address", "has_one"),
    [("http://10.0.0.1:9090/", True), ("http://[fe80::1]/", True), ("https://a.example", True),
     ("http://kuma:3001/", False), ("http://localhost./", False), ("", False), ("nonsense", False)],
)  # fmt: skip
def test_a_host_is_found_from_elsewhere_by_its_domain_or_its_number(address: str, has_one: bool) -> None:
    assert has_dotted_host(address) is has_one


# ---------------------------------------------------------------- links that silence


def link_of(address: str) -> str:
    return address.removeprefix(f"https://bridge.example.com{SILENCE_PATH}")


def test_a_link_says_which_alerts_it_is_for_where_it_was_told_and_until_when_it_is_good() -> None:
    address = PAGES.silence(KEYS[:2], "robot", 1000.5)
    found = PAGES.read(link_of(address), ["ops", "robot"])
    assert found is not None
    assert (found.short_keys, found.target) == (tuple(key[:12] for key in KEYS[:2]), "robot")
    assert found.good_until == int(1000.5 + LINK_SECONDS)
    assert len(PAGES.silence(KEYS[:1], "robot", 1e9)) < 80


def test_a_link_is_for_a_handful_of_alerts() -> None:
    found = PAGES.read(link_of(PAGES.silence(KEYS, "robot", 0)), ["robot"])
    assert found is not None
    assert len(found.short_keys) == MAX_ALERTS_PER_LINK


def test_whoever_changes_a_link_has_none() -> None:
    link = link_of(PAGES.silence(KEYS[:2], "robot", 1000))
    for at in range(len(link)):
        other = link[:at] + ("A" if link[at] != "A" else "B") + link[at + 1 :]
        assert PAGES.read(other, ["robot"]) is None
    assert AlertPages(PAGES.public_url, b"another").read(link, ["robot"]) is None
    assert PAGES.read(link[:-1], ["robot"]) is None
    assert PAGES.read(f"{link}A", ["robot"]) is None


@given(st.text(max_size=200))
def test_what_is_no_link_is_none(text: str) -> None:
    assert PAGES.read(text, ["robot"]) is None
