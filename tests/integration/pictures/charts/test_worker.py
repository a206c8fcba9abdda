"""ChartWorker drawn in a process of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest
import pytest_asyncio

from wxbridge.core import imaging
from wxbridge.core.errors import PictureError
from wxbridge.core.model import PictureSpec
from wxbridge.pictures.charts import worker
from wxbridge.pictures.charts.chart import Chart, Curve, pack_chart
from wxbridge.pictures.charts.drawing import draw_packed
from wxbridge.pictures.charts.worker import ChartWorker
from wxbridge.pictures.renderer import PictureRenderer

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHART = Chart("CPU", (Curve(((0.0, 1.0), (60.0, 2.0), (120.0, None)), {"instance": "web-1"}),), 0.0, 900.0)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def charts():
    async with ChartWorker() as charts:
        yield charts


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            await asyncio.sleep(0.01)


async def test_a_process_draws_the_same_picture_again_and_again(charts) -> None:
    first, second = await asyncio.gather(charts.draw(CHART), charts.draw(CHART))
    assert first == second
    assert first == draw_packed([pack_chart(CHART)])
    several = await charts.draw(CHART, CHART, title="两个")
    assert imaging.sniff(several) == "image/png"


async def test_a_chart_that_cannot_be_drawn_leaves_the_process_to_the_next(charts) -> None:
    await charts.draw(CHART)
    pid = charts.pid
    with pytest.raises(PictureError, match="is no time zone") as refused:
        await charts.draw(Chart("x", (), 0.0, 1.0, timezone="Nowhere"))
    assert not refused.value.retry
    with pytest.raises(PictureError, match="cannot be drawn: KeyError"):
        await charts.draw(Chart("x", (), 0.0, 1.0, theme="mauve"))
    assert imaging.sniff(await charts.draw(CHART)) == "image/png"
    assert charts.pid == pid


async def test_a_process_that_was_killed_is_replaced(charts) -> None:
    await charts.draw(CHART)
    pid = charts.pid
    os.kill(pid, signal.SIGSTOP)
    drawing = asyncio.create_task(charts.draw(CHART))
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PictureError, match="the process that draws charts died") as died:
        await drawing
    assert died.value.retry
    assert imaging.sniff(await charts.draw(CHART)) == "image/png"
    assert charts.pid != pid


async def test_a_picture_that_takes_too_long_is_given_up_with_its_process(charts) -> None:
    await charts.draw(CHART)
    pid = charts.pid
    os.kill(pid, signal.SIGSTOP)
    pictures = PictureRenderer(painters={"chart": lambda _: charts.draw(CHART)})
    with pytest.raises(PictureError, match=r"the chart was not drawn within 0\.3 s") as slow:
        await pictures.draw(PictureSpec("chart", {"deadline": 0.5}))
    assert slow.value.retry
    await gone(pid)
    assert imaging.sniff(await charts.draw(CHART)) == "image/png"


async def test_an_unused_process_is_ended() -> None:
    async with ChartWorker(idle=0.0) as charts:
        await charts.draw(CHART)
        async with asyncio.timeout(60):
            while charts.pid is not None:  # noqa: ASYNC110 - a timer of its own ends it
                await asyncio.sleep(0.01)


async def test_nothing_is_left_running_at_the_end() -> None:
    charts = ChartWorker()
    await charts.draw(CHART)
    pid = charts.pid
    await charts.close()
    await gone(pid)
    assert charts.pid is None


async def test_missing_letters_are_logged_once(charts, monkeypatch) -> None:
    warnings = []
    monkeypatch.setattr(worker.log, "warning", warnings.append, raising=False)
    rare = Chart("\U00013000 \U00012000", (), 0.0, 900.0)  # hieroglyphs and cuneiform
    await charts.draw(CHART)
    assert not warnings
    await charts.draw(rare)
    await charts.draw(rare)
    assert len(warnings) == 1
    assert "no font here can draw" in warnings[0]


async def test_a_process_ends_with_the_bridge_that_is_killed(tmp_path) -> None:
    program = tmp_path / "bridge.py"
    program.write_text(KILLED, encoding="utf-8")
    bridge = await asyncio.create_subprocess_exec(sys.executable, str(program), stdout=asyncio.subprocess.PIPE)
    assert bridge.stdout is not None
    pid = int(await bridge.stdout.readline())
    os.kill(pid, 0)
    bridge.kill()
    await bridge.wait()
    await gone(pid)


KILLED = """
import asyncio
from wxbridge.pictures.charts.chart import Chart
from wxbridge.pictures.charts.worker import ChartWorker

async def main():
    charts = ChartWorker()
    await charts.draw(Chart("CPU", (), 0.0, 900.0))
    print(charts.pid, flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""
