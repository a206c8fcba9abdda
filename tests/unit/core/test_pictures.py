"""What is to be drawn travels as plain JSON in the outbox, and comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wxbridge.core.errors import PictureError
from wxbridge.core.pictures import PageRequest, PanelAddress, PanelRequest, fetch_spec


@pytest.mark.parametrize(
    "request_",
    [
        PageRequest("/d/kafka"),
        PageRequest("http://x/", width=800, height=100, scale=2.5, full_page=False, kiosk=False, hide_controls=False),
        PageRequest("/d/k", timezone="UTC", language="zh-CN", theme="dark", wait_for=".a", selector=".b", deadline=3.0),
        PageRequest("/d/k", expand=False, marks=True, only_grafana=True),
    ],
)
def test_a_page_comes_back_as_it_was(request_: PageRequest) -> None:
    stored = json.loads(json.dumps(dict(request_.to_spec().params)))
    assert PageRequest.from_params(stored) == request_


def test_a_panel_comes_back_as_it_was() -> None:
    for request in (
        PanelRequest(PanelAddress("4", "kafka"), 1000, 2000),
        PanelRequest(PanelAddress("panel-4-clone-1", number=12, org="3"), 1, 2, 540, 320, 2, "dark", "UTC", "en-US"),
        PanelRequest(PanelAddress("4", "k", variables=(("var-a", "1"), ("var-a", "2"))), 1, 2),
    ):
        stored = json.loads(json.dumps(dict(request.to_spec().params)))
        assert PanelRequest.from_params(stored) == request


OLD_PAGE = {
    "timezone": "Asia/Shanghai", "width": 1440, "scale": 1.0, "kiosk": True, "full_page": True, "theme": None,
    "wait_for": None, "url": "/d/kafka", "deadline": 30.0,
}  # fmt: skip
"""As versions wrote it that told everything."""


def test_what_an_earlier_version_stored_is_read() -> None:
    assert PageRequest.from_params(OLD_PAGE) == PageRequest("/d/kafka", timezone="Asia/Shanghai", deadline=30.0)
    old = {"panel": "4", "number": "12", "from": 1000.0, "to": 2000.0, "width": "540", "org": 3, "deadline": 5}
    assert PanelRequest.from_params(old) == PanelRequest(PanelAddress("4", number=12, org="3"), 1000, 2000, width=540)


@pytest.mark.parametrize(
    ("read", "params", "words"),
    [
        (PageRequest, {}, "of kind page needs `url`"),
        (PageRequest, {"url": "http://x/", "colour": 1}, "of kind page does not know colour"),
        (PanelRequest, {"panel": "4", "to": 3}, "of kind panel needs from"),
        (PanelRequest, {"panel": "4", "from": 1, "to": 3, "url": "x"}, "of kind panel does not know url"),
    ],
)
def test_what_nobody_understands_is_a_sentence(read: Any, params: dict[str, Any], words: str) -> None:
    with pytest.raises(PictureError, match=words):
        read.from_params(params)


def test_only_what_a_person_can_open_stands_in_for_a_picture() -> None:
    assert fetch_spec("http://x/a.png").link == "http://x/a.png"
    assert fetch_spec("data:image/png;base64,AAAA").link is None
    assert fetch_spec("data:image/png;base64,AAAA", link="https://x/").link == "https://x/"
    assert fetch_spec("http://x/a.png", trusted=True).params == {"url": "http://x/a.png", "trusted": True}
