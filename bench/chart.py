"""The charts of alerts: from a cold process and warm, and what they cost the event loop and the memory."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import replace

import psutil

from bench.common import Place, Row
from wxbridge.core.thresholds import AlertThreshold
from wxbridge.pictures.charts.chart import Chart, Curve
from wxbridge.pictures.charts.worker import ChartWorker

SHOTS = 20
MANY = 500
END = 1_772_860_200.0
COLD_GOAL, WARM_GOAL, LARGE_GOAL, LOOP_GOAL, MEMORY_GOAL = 800.0, 80.0, 110.0, 20.0, 10.0


def chart(points: int) -> Chart:
    """Three curves of so many points each, with a threshold."""
    curves = tuple(
        Curve(
            tuple((END - points + at, 50 + 30 * math.sin(at / points * 9 + place)) for at in range(points)),
            {"instance": f"db-{place}:9100"},
        )
        for place in range(3)
    )
    return Chart("CPU", curves, END - points, END, thresholds=(AlertThreshold(">", 75),), unit="%")


async def measure(_place: Place) -> list[Row]:
    """Draw charts by the process that draws them for the bridge."""
    cold = [await _cold() for _ in range(3)]
    # Made beforehand: that is no part of drawing.
    usual, large, tiny = (chart(points) for points in (500, 11_000, 120))
    async with ChartWorker() as charts:
        await charts.draw(usual)
        lag = [0.0]
        held: list[float] = []
        watched = asyncio.create_task(_lag(lag))
        warm = [await _timed(charts, usual, lag, held) for _ in range(SHOTS)]
        many_points = [await _timed(charts, large, lag, held) for _ in range(SHOTS)]
        before = _resident(charts)
        for number in range(MANY):
            await charts.draw(replace(tiny, title=f"CPU {number}"))
        grown = _resident(charts) - before
        watched.cancel()
    return [
        Row("chart: first, cold process, 3 × 500 points", cold, limit=COLD_GOAL),
        Row("chart: warm, 3 × 500 points", warm, limit=WARM_GOAL),
        Row("chart: warm, 3 × 11,000 points", many_points, limit=LARGE_GOAL),
        Row("chart: longest hold of the event loop in each", held, limit=LOOP_GOAL),
        Row(f"chart: memory grown by {MANY} charts", [grown], "MB", limit=MEMORY_GOAL),
    ]


async def _cold() -> float:
    async with ChartWorker() as charts:
        return await _timed(charts, chart(500))


async def _timed(
    charts: ChartWorker, each: Chart, lag: list[float] | None = None, held: list[float] | None = None
) -> float:
    """Milliseconds for one picture; how long the event loop was held meanwhile is added to `held`."""
    if lag is not None:
        lag[0] = 0.0
    begun = time.perf_counter()
    await charts.draw(each)
    took = (time.perf_counter() - begun) * 1000
    if lag is not None and held is not None:
        held.append(lag[0])
    return took


async def _lag(worst: list[float]) -> None:
    """Note how late the event loop was at the worst, until cancelled."""
    while True:
        begun = time.perf_counter()
        await asyncio.sleep(0.001)
        worst[0] = max(worst[0], (time.perf_counter() - begun - 0.001) * 1000)


def _resident(charts: ChartWorker) -> float:
    return float(psutil.Process(charts.pid).memory_info().rss) / 1e6
