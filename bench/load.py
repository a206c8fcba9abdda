"""POSTs under load, by wrk (Debian's package)."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass

from bench.common import Place

_SCRIPT = """\
local thread = 0
local number = 0
function setup(t) t:set("id", thread); thread = thread + 1 end
request = function()
  number = number + 1
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, (string.gsub([[BODY]], "NUMBER", number)))
end
"""
GRAFANA_BODY = (
    '{"title":"[Alerting] MARK-NUMBER","ruleId":NUMBER,"state":"alerting",'
    '"evalMatches":[{"metric":"cpu","value":92.25,"tags":null}]}'
)
"""What a Grafana before 8 posts."""


@dataclass(frozen=True)
class Load:
    """Who is posted to, over how many connections, for how many seconds; `mark` stands in every title."""

    place: Place
    url: str
    connections: int
    mark: str
    seconds: int
    body: str = GRAFANA_BODY
    """With `MARK` for the mark, and `NUMBER` for the request's number."""


@dataclass(frozen=True)
class LoadResult:
    """What came of it: requests, requests per second, and the median latency in milliseconds."""

    count: int
    rate: float
    median: float


def has_wrk() -> bool:
    """Whether it is installed."""
    return shutil.which("wrk") is not None


async def post_for(load: Load) -> LoadResult:
    """Post alerts, each another one. Raises RuntimeError where some were refused."""
    script = load.place.path / f"{load.mark}.lua"
    script.write_text(_SCRIPT.replace("BODY", load.body).replace("MARK", load.mark), encoding="utf-8")
    words = ("wrk", "-t1", f"-c{load.connections}", f"-d{load.seconds}", "--latency", "-s", str(script), load.url)
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    text = (await process.communicate())[0].decode()
    if "Non-2xx" in text:
        raise RuntimeError(f"some were not taken: {text}")
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    if not median or not rate or not count:
        raise RuntimeError(f"wrk said: {text}")
    return LoadResult(
        int(count[1]), float(rate[1]), float(median[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[median[2]]
    )
