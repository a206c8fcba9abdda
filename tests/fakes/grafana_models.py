"""Dashboards as Grafana's API tells of them: of Grafana 4, of today, and of the newer schema."""

from __future__ import annotations

from typing import Any


def panel(number: int, title: str, y: int = 0, x: int = 0, **more: Any) -> dict[str, Any]:
    return {"id": number, "title": title, "type": "timeseries", "gridPos": {"x": x, "y": y, "w": 12, "h": 8}, **more}


def row(title: str, y: int, *panels: dict[str, Any], collapsed: bool = False) -> dict[str, Any]:
    return {"id": 900 + y, "type": "row", "title": title, "collapsed": collapsed, "panels": list(panels),
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}  # fmt: skip


def variable(name: str, current: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "query", "current": {"text": current, "value": current}, **more}


KAFKA = {
    "title": "Kafka 集群",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {"list": [
        variable("host", "web-1", multi=True, includeAll=True, label="主机"),
        variable("topic", "orders", options=[{"text": "Orders", "value": "t_orders"}]),
    ]},
    "panels": [
        # In the order of the file, which is not that of the page.
        panel(7, "Disk usage", y=8),
        panel(12, "CPU usage of $host", y=0, x=0),
        panel(4, "Messages in", y=0, x=12),
        row("JVM", 20, panel(31, "Heap", y=22, x=12), panel(30, "GC pauses", y=22), collapsed=True),
        row("消费者", 40),
        panel(40, "消费延迟", y=41, repeat="topic"),
        {**panel(41, "消费延迟", y=41, x=12), "repeatPanelId": 40},
        {"id": 50, "gridPos": {"x": 0, "y": 60}, "libraryPanel": {"uid": "l", "name": "Lag"}},
    ],
}  # fmt: skip
OLD = {"title": "Old rows", "rows": [{"title": "first", "panels": [panel(2, "A"), panel(1, "B")]}]}
NEW = {
    "title": "Tabs of tomorrow",
    "timeSettings": {"from": "now-1h", "to": "now"},
    "variables": [{"kind": "QueryVariable", "spec": {"name": "zone", "current": {"text": "north"}, "multi": True}}],
    "elements": {
        "panel-1": {"kind": "Panel", "spec": {"id": 1, "title": "Left"}},
        "panel-2": {"kind": "Panel", "spec": {"id": 2, "title": "Right"}},
        "panel-3": {"kind": "LibraryPanel", "spec": {"id": 3, "libraryPanel": {"name": "Shared"}}},
    },
    "layout": {"kind": "TabsLayout", "spec": {"tabs": [
        {"kind": "TabsLayoutTab", "spec": {"title": "one", "layout": {"kind": "GridLayout", "spec": {"items": [
            {"kind": "GridLayoutItem", "spec": {"x": 12, "y": 0, "element": {"name": "panel-2"}}},
            {"kind": "GridLayoutItem", "spec": {"x": 0, "y": 0, "element": {"name": "panel-1"},
                                                "repeat": {"mode": "variable", "value": "zone"}}},
        ]}}}},
        {"kind": "TabsLayoutTab", "spec": {"title": "two", "layout": {"kind": "AutoGridLayout", "spec": {"items": [
            {"kind": "AutoGridLayoutItem", "spec": {"element": {"name": "panel-3"}}},
        ]}}}},
    ]}},
}  # fmt: skip
MANY = {"title": "Many", "panels": [panel(n, f"CPU {n}", y=n) for n in range(1, 8)]}


def hit(uid: str, title: str, folder: str, slug: str) -> dict[str, Any]:
    return {"id": 1, "uid": uid, "title": title, "uri": f"db/{slug}", "url": f"/d/{uid}/{slug}", "slug": "",
            "type": "dash-db", "tags": [], "folderTitle": folder}  # fmt: skip
