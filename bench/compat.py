"""Alerts acknowledged durably at the addresses that speak the robots' languages, beside Grafana's own hook."""

from __future__ import annotations

import json
from statistics import median

import aiohttp

from bench.common import Place, Row, free_port, skipped, start_simulator, until_answers, write_config
from bench.common import wxbridge as command
from bench.load import GRAFANA_BODY, Load, has_wrk, post_for

RUNS = 3
SECONDS = 3
CONNECTIONS = 16
RATE_GOAL, CPU_GOAL = 0.7, 1.5
"""How much slower than Grafana's hook, and how much more of the CPU, is still the same speed: bodies differ."""
KEY = "bench-key"
_WORDS = "[FIRING:1] MARK-NUMBER (critical)\\n> instance: db-1\\n> value: 92.25"
_CARD = {"header": {"title": {"tag": "plain_text", "content": "[FIRING] MARK-NUMBER"}, "template": "red"},
         "elements": [{"tag": "markdown", "content": "**instance** db-1\\n**value** 92.25"}]}  # fmt: skip
HOOK = "Grafana's hook, for comparison"
DIALECTS = {
    "/compat, wecom robot": (f"wecom/cgi-bin/webhook/send?key={KEY}",
                    '{"msgtype":"markdown","markdown":{"content":"' + _WORDS + '"}}'),
    "/compat, wecom application": ("wecom/cgi-bin/message/send?access_token=TOKEN",
                          '{"touser":"@all","msgtype":"text","agentid":"1","text":{"content":"' + _WORDS + '"}}'),
    "/compat, dingtalk robot": (f"dingtalk/robot/send?access_token={KEY}",
                       '{"msgtype":"markdown","markdown":{"title":"MARK-NUMBER","text":"' + _WORDS + '"}}'),
    "/compat, feishu robot, a card": (f"feishu/open-apis/bot/v2/hook/{KEY}",
                             json.dumps({"msg_type": "interactive", "card": _CARD}).replace("\\\\n", "\\n")),
    "/compat, bark": ("bark/push", '{"device_key":"' + KEY + '","title":"MARK-NUMBER","body":"' + _WORDS + '"}'),
    "/compat, gotify": (f"gotify/message?token={KEY}",
                        '{"title":"MARK-NUMBER","message":"' + _WORDS + '","priority":8}'),
}  # fmt: skip
"""By dialect: the path below `/compat/`, and the body."""


async def measure(place: Place) -> list[Row]:
    """The rows of this figure; needs `wrk` (Debian's package)."""
    if not has_wrk():
        return [skipped("compat", "needs wrk: apt install wrk")]
    gateway, port = await start_simulator(place), free_port()
    config = write_config(place.path, port=port, gateway=gateway, state="state-compat")
    with config.open("a", encoding="utf-8") as file:
        file.write(f"hooks: {{compat: [{{key: {KEY}}}]}}\n")
    process = await place.spawn(*command("run", "-c", str(config)))
    await until_answers(process, port, "/readyz?channels=all", limit=20)
    base = f"http://127.0.0.1:{port}"
    token = await _read_token(base)
    places = {HOOK: (f"{base}/hooks/grafana", GRAFANA_BODY)}
    places |= {name: (f"{base}/compat/{path.replace('TOKEN', token)}", body) for name, (path, body) in DIALECTS.items()}
    rates: dict[str, list[float]] = {name: [] for name in places}
    costs: dict[str, list[float]] = {name: [] for name in places}
    # In turn, so that what else the machine does is everybody's.
    for run in range(RUNS):
        for number, (name, (url, body)) in enumerate(places.items()):
            before = process.cpu()
            result = await post_for(Load(place, url, CONNECTIONS, f"{number}x{run}", SECONDS, body))
            rates[name].append(result.rate)
            costs[name].append((process.cpu() - before) / result.count * 1000)
    await place.stop(process)
    rate, cost = median(rates[HOOK]), median(costs[HOOK])
    rows = []
    for name in places:
        goals = (None, None) if name == HOOK else (round(rate * RATE_GOAL), round(cost * CPU_GOAL, 2))
        rows.append(Row(name, rates[name], "/s", goals[0], at_least=True, digits=0))
        rows.append(Row("– of the CPU for each, with its sending", costs[name], "ms", goals[1], digits=2))
    return rows


async def _read_token(base: str) -> str:
    url = f"{base}/compat/wecom/cgi-bin/gettoken?corpid=any&corpsecret={KEY}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return str((await answer.json(content_type=None))["access_token"])
