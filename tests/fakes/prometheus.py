"""A Prometheus that answers what it is told to, on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Form = Mapping[str, str]


@dataclass
class FakePrometheus:
    """`rules` and `series` are what it knows; `asked` is what it was asked: the path's end, and the form."""

    url: str = ""
    rules: list[dict[str, Any]] = field(default_factory=list)
    series: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """By query: the labels of each series; their values rise from 0 by 1."""
    above: float = 0.0
    """By how much the values of each series are above those of the one before."""
    status: int = 200
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing is answered before it is set."""

    async def answer(self, request: web.Request) -> web.Response:
        path = request.path.rpartition("/")[2]
        form = {**request.query, **{name: str(value) for name, value in (await request.post()).items()}}
        self.asked.append((path, form))
        await self.gate.wait()
        if self.status != 200:
            return web.Response(status=self.status, text="no")
        data = {"rules": self._rules, "query_range": self._range, "metadata": lambda _: {}}[path](form)
        return web.Response(text=json.dumps({"status": "success", "data": data}), content_type="application/json")

    def _rules(self, _form: Form) -> Any:
        return {"groups": [{"name": "g", "rules": [{"type": "alerting", **rule} for rule in self.rules]}]}

    def _range(self, form: Form) -> Any:
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        moments = [start + number * step for number in range(int((end - start) / step) + 1)]
        result = []
        for place, labels in enumerate(self.series.get(form["query"], [])):
            values = [[at, str(number + place * self.above)] for number, at in enumerate(moments)]
            result.append({"metric": labels, "values": values})
        return {"resultType": "matrix", "result": result}

    def queries(self) -> list[str]:
        return [form["query"] for path, form in self.asked if path == "query_range"]


@asynccontextmanager
async def fake_prometheus() -> AsyncIterator[FakePrometheus]:
    """One that answers at once."""
    fake = FakePrometheus()
    fake.gate.set()
    app = web.Application()
    app.router.add_route("*", "/api/v1/{what}", fake.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        fake.gate.set()
        await runner.cleanup()
