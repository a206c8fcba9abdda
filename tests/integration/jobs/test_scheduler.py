from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from PIL import Image
from structlog.testing import capture_logs

from wxbridge import parts
from wxbridge.config.schema import Config
from wxbridge.core.database import Database, make_engine, migrate, sqlite_url
from wxbridge.core.errors import PictureError, StorageError, WxbridgeError
from wxbridge.core.model import Accepted, Message, Notification, Picture, PictureSpec, Priority, Text
from wxbridge.core.pictures import PageRequest
from wxbridge.delivery.outbox import Outbox
from wxbridge.jobs import JobContext, JobKind
from wxbridge.jobs.kinds import picture, screenshot, text
from wxbridge.jobs.scheduler import JobScheduler, SchedulerSettings
from wxbridge.jobs.store import (
    FailureCount,
    JobRun,
    Mute,
    add_mute,
    count_failures,
    match_job_id,
    read_history,
    read_last_runs,
    read_mutes,
    record_run,
    similar_job_ids,
)
from wxbridge.pictures.store import PictureStore

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=SHANGHAI)


def png(colour: str = "red", kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), colour).save(file, kind)
    return file.getvalue()


class Artist:
    """Draws the same for everybody, or fails; remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[PictureSpec] = []
        self.fault: Exception | None = None
        self.content = png()

    async def draw(self, spec: PictureSpec) -> bytes:
        self.asked.append(spec)
        if self.fault:
            raise self.fault
        return self.content


@pytest.fixture
def artist() -> Artist:
    return Artist()


@pytest.fixture
def context(tmp_path: Path, artist: Artist) -> JobContext:
    async def keep(content: bytes, name: str) -> Picture:
        return Picture(file=f"kept-{len(content)}", name=name)

    return JobContext(now=NOW, language="en", base=tmp_path, draw=artist.draw, keep=keep, read=None, outbox=None)


# ---------------------------------------------------------------- the kinds


def text_job(source: str) -> text.TextJob:
    return text.TextJob(id="a", kind="text", to="ops", every="1h", text=source)


async def test_a_text_job_fills_its_template_with_local_time_and_host(context: JobContext) -> None:
    job = text_job("{{ now }} {{ now.strftime('%H:%M') }} {{ host }} {{ 2 * 3 }}")
    assert await text.run(context, job) == [Text(f"2026-02-03 04:05:06 04:05 {socket.gethostname()} 6")]


async def test_an_empty_text_sends_nothing(context: JobContext) -> None:
    assert await text.run(context, text_job("{% if now.hour > 9 %}late{% endif %} \n")) == []


@pytest.mark.parametrize(
    "source",
    ["{{ nobody }}", "{{ now.nothing }}", "{{ 1 / 0 }}", "{{ ''.__class__.__mro__[1].__subclasses__() }}",
     "{{ now.strftime(5) }}"],
)  # fmt: skip
async def test_a_template_that_fails_says_so_and_reaches_nothing_of_the_process(
    context: JobContext, source: str
) -> None:
    with pytest.raises(WxbridgeError, match="the template failed: "):
        await text.run(context, text_job(source))


@pytest.mark.parametrize(
    ("url", "asked", "name"),
    [
        ("http://host/%Y/%-m/%-d/%-H.png", "http://host/2026/2/3/4.png", "4.png"),
        ("http://host/%Y-%m-%d/%H%M.png?a=b", "http://host/2026-02-03/0405.png?a=b", "0405.png"),
        ("http://host/", "http://host/", "shot"),
        ("http://host/100%%.png", "http://host/100%.png", "100%.png"),
    ],
)
async def test_a_picture_job_asks_for_the_picture_of_this_hour(
    context: JobContext, artist: Artist, url: str, asked: str, name: str
) -> None:
    job = picture.PictureJob(id="shot", kind="picture", to="ops", every="1h", url=url)
    (body,) = await picture.run(context, job)
    assert artist.asked == [PictureSpec("fetch", {"url": asked, "trusted": True}, link=asked)]
    assert isinstance(body, Picture)
    assert body.name == name


async def test_a_picture_job_reads_a_file_beside_the_configuration(
    context: JobContext, artist: Artist, tmp_path: Path
) -> None:
    job = picture.PictureJob(
        id="a", kind="picture", to="ops", every="1h", path="charts/%H.png", text="at {{ now.hour }}"
    )
    bodies = await picture.run(context, job)
    assert artist.asked == [PictureSpec("file", {"path": str(tmp_path / "charts" / "04.png")})]
    assert bodies[0] == Text("at 4")
    assert isinstance(bodies[1], Picture)


def shot(**keys: object) -> screenshot.ScreenshotJob:
    return screenshot.ScreenshotJob.model_validate(
        {"id": "shot", "kind": "screenshot", "to": "ops", "every": "1h", "url": "/d/kafka"} | keys
    )


async def test_a_screenshot_job_asks_for_the_page_as_configured(context: JobContext, artist: Artist) -> None:
    (body,) = await screenshot.run(context, shot(width=800, theme="dark", wait_for=".panel", deadline="30s"))
    (spec,) = artist.asked
    assert (spec.kind, spec.link) == ("page", "/d/kafka")
    assert PageRequest.from_params(spec.params) == PageRequest(
        url="/d/kafka", width=800, scale=1.0, theme="dark", kiosk=True, wait_for=".panel", full_page=True,
        deadline=30.0, timezone="Asia/Shanghai",
    )  # fmt: skip
    assert body == Picture(file=f"kept-{len(artist.content)}", name="shot.png")


async def test_a_page_may_have_a_time_zone_of_its_own(context: JobContext, artist: Artist) -> None:
    await screenshot.run(context, shot(timezone="Europe/Berlin"))
    assert artist.asked[0].params["timezone"] == "Europe/Berlin"


async def test_a_screenshot_is_archived_by_its_hour_and_old_ones_go(
    context: JobContext, artist: Artist, tmp_path: Path
) -> None:
    import os

    old, young, other = (tmp_path / "res" / name for name in ("2025/12/01/04.png", "2026/02/02/04.png", "notes.txt"))
    for path, age in ((old, 60), (young, 1), (other, 60)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        moment = (NOW - timedelta(days=age)).timestamp()
        os.utime(path, (moment, moment))
    await screenshot.run(context, shot(archive="res/%Y/%m/%d/%H.png", keep="30d"))
    assert (tmp_path / "res" / "2026" / "02" / "03" / "04.png").read_bytes() == artist.content
    assert [path.exists() for path in (old, young, other)] == [False, True, True]


async def test_a_full_archive_does_not_keep_the_picture_from_the_room(context: JobContext, tmp_path: Path) -> None:
    (tmp_path / "res").write_text("a file where the folder should be")
    (body,) = await screenshot.run(context, shot(archive="res/%Y/%H.png"))
    assert isinstance(body, Picture)


async def test_a_percent_in_the_name_of_the_folder_is_no_date(
    context: JobContext, artist: Artist, tmp_path: Path
) -> None:
    from dataclasses import replace

    base = tmp_path / "50%Y"
    base.mkdir()
    await screenshot.run(replace(context, base=base), shot(archive="%Y.png"))
    assert (base / "2026.png").read_bytes() == artist.content


# ---------------------------------------------------------------- running them


@pytest_asyncio.fixture
async def database(read: Callable[..., Config]) -> AsyncIterator[Database]:
    database = parts.open_database(read("{}"))
    yield database
    await asyncio.to_thread(database.close)


class Slow:
    """A job kind whose run lasts until it is let go."""

    def __init__(self) -> None:
        self.began, self.go_on = asyncio.Event(), asyncio.Event()

    @property
    def kind(self) -> JobKind:
        async def run(_context: JobContext, _job: text.TextJob) -> list[Text]:
            self.began.set()
            await self.go_on.wait()
            return [Text("done")]

        return JobKind(text.TextJob, run)


class SchedulerHarness:
    """Jobs over a real database, with a painter that does as it is told."""

    def __init__(self, config: Config, database: Database, artist: Artist) -> None:
        self.config, self.database, self.artist = config, database, artist
        self.broken = False
        self.kinds: dict[str, JobKind] = {}

    async def put(self, items: Sequence[Notification], **_: Any) -> Accepted:
        if self.broken:
            raise StorageError("the disk is full")
        return await Outbox(self.database).put(items)

    @property
    def jobs(self) -> JobScheduler:
        """The jobs as a fresh process has them."""
        from wxbridge import registry

        targets = parts.all_targets(self.config)
        setting = SchedulerSettings(
            jobs=self.config.jobs, kinds={**registry.JOBS, **self.kinds}, timezone=SHANGHAI, language="en",
            base=self.config.base,
            picture_store=PictureStore.below(self.config.state_dir),
            destinations=parts.destinations_of(targets),
            on_error=("master",) if "master" in targets else (),
        )  # fmt: skip
        return JobScheduler(setting, self.database, self, self.artist)

    async def messages(self) -> list[Message]:
        return (await Outbox(self.database).list_messages())[::-1]

    async def texts(self) -> list[tuple[str, str]]:
        return [(item.target, item.body.text) for item in await self.messages() if isinstance(item.body, Text)]


CONFIG = """\
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops, expires_after: 2h}
  dev: {channel: wechat, room: Dev}
jobs:
  - {id: hello, every: 1h, kind: text, text: "hello", to: [ops, dev]}
  - {id: page, every: 1h, kind: screenshot, url: "http://127.0.0.1:1/", text: "看", to: ops}
  - {id: other, every: 1h, kind: screenshot, url: "http://127.0.0.1:1/", to: ops, on_error: [dev, ops]}
  - {id: quiet, every: 1h, kind: text, text: " ", to: ops}
  - {id: broken, every: 1h, kind: text, text: "{{ nobody }}", to: ops}
"""


@pytest.fixture
def harness(read: Callable[..., Config], database: Database, artist: Artist) -> SchedulerHarness:
    return SchedulerHarness(read(CONFIG), database, artist)


async def test_what_a_job_makes_is_queued_for_each_of_its_targets(harness: SchedulerHarness) -> None:
    assert (await harness.jobs.run_job("hello")).queued == 2
    assert await harness.texts() == [("ops", "hello"), ("dev", "hello")]
    ops, dev = await harness.messages()
    assert ops.priority == Priority.ROUTINE
    assert ops.expires_at - ops.created_at == 7200
    assert dev.expires_at - dev.created_at == 86400


async def test_a_long_text_is_split_to_the_targets_limit(read: Callable[..., Config], database: Database) -> None:
    long = "{{ '告警 ' * 1500 }}"
    config = read(CONFIG.replace('text: "hello"', f'text: "{long}"'))
    assert (await SchedulerHarness(config, database, Artist()).jobs.run_job("hello")).queued == 6
    texts = [text for target, text in await SchedulerHarness(config, database, Artist()).texts() if target == "ops"]
    assert all(len(text) <= 2000 for text in texts)
    assert "".join(text.split(") ", 1)[1] for text in texts).count("告警") == 1500


async def test_the_same_text_every_hour_is_no_repeat(harness: SchedulerHarness) -> None:
    for _ in range(3):
        await harness.jobs.run_job("quiet")
        await harness.jobs.run_job("hello")
    assert len(await harness.messages()) == 6


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("GIF", ".gif")])
async def test_a_picture_is_stored_under_its_own_type_after_its_text(
    harness: SchedulerHarness, kind: str, suffix: str
) -> None:
    harness.artist.content = png(kind=kind)
    await harness.jobs.run_job("page")
    first, second = [item.body for item in await harness.messages()]
    assert first == Text("看")
    assert isinstance(second, Picture)
    assert second.file
    assert second.file.endswith(suffix)
    assert (harness.config.state_dir / "pictures" / second.file).read_bytes() == harness.artist.content


async def test_a_failing_job_tells_its_master_once_and_again_when_it_is_back(harness: SchedulerHarness) -> None:
    harness.artist.fault = PictureError("the page did not load")
    for _ in range(3):  # each as a fresh process: a restart does not repeat it
        with pytest.raises(WxbridgeError, match="the page did not load"):
            await harness.jobs.run_job("page")
    assert await harness.texts() == [("master", "Job page failed: the page did not load")]
    harness.artist.fault = None
    await harness.jobs.run_job("page")
    await harness.jobs.run_job("page")
    assert await harness.texts() == [
        ("master", "Job page failed: the page did not load"),
        ("ops", "看"),
        ("master", "Job page works again."),
        ("ops", "看"),
    ]
    harness.artist.fault = PictureError("gone again")
    with pytest.raises(WxbridgeError):
        await harness.jobs.run_job("page")
    assert (await harness.texts())[-1] == ("master", "Job page failed: gone again")


async def test_a_job_may_name_who_is_told_of_its_trouble(harness: SchedulerHarness) -> None:
    harness.artist.fault = PictureError("no")
    with pytest.raises(WxbridgeError):
        await harness.jobs.run_job("other")
    assert await harness.texts() == [("dev", "Job other failed: no"), ("ops", "Job other failed: no")]


async def test_a_mistake_of_ours_is_told_like_any_failure(harness: SchedulerHarness) -> None:
    harness.artist.fault = KeyError("oops")
    with pytest.raises(WxbridgeError, match="KeyError: 'oops'"):
        await harness.jobs.run_job("page")
    assert await harness.texts() == [("master", "Job page failed: KeyError: 'oops'")]


async def test_one_failing_job_says_nothing_of_another(harness: SchedulerHarness) -> None:
    for name in ("broken", "page", "broken"):
        harness.artist.fault = PictureError("no")
        with pytest.raises(WxbridgeError):
            await harness.jobs.run_job(name)
    assert [line.partition(" failed")[0] for _, line in await harness.texts()] == ["Job broken", "Job page"]


async def test_how_the_last_run_went_is_kept(harness: SchedulerHarness) -> None:
    await harness.jobs.run_job("hello")
    with pytest.raises(WxbridgeError):
        await harness.jobs.run_job("broken")
    runs = await harness.database.read(read_last_runs)
    assert (runs["hello"].ok, runs["hello"].error) == (True, None)
    assert runs["broken"].ok is False
    assert runs["broken"].error
    assert "nobody" in runs["broken"].error
    assert abs(runs["hello"].started_at - datetime.now(UTC).timestamp()) < 60


async def test_a_run_that_could_not_be_stored_counts_as_failed(harness: SchedulerHarness) -> None:
    harness.broken = True
    with pytest.raises(WxbridgeError, match="the disk is full"):
        await harness.jobs.run_job("hello")
    runs = await harness.database.read(read_last_runs)
    assert runs["hello"].ok is False


async def test_an_unknown_job_is_told_with_those_there_are(harness: SchedulerHarness) -> None:
    with pytest.raises(WxbridgeError, match="there is no job 'helo'; there are hello, page"):
        await harness.jobs.run_job("helo")


@asynccontextmanager
async def scheduling(harness: SchedulerHarness) -> AsyncIterator[None]:
    task = asyncio.create_task(harness.jobs.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_scheduled_job_runs_and_a_failing_one_stops_nobody(
    read: Callable[..., Config], database: Database, artist: Artist
) -> None:
    every = "every: 1s, kind: text, to: ops"
    config = read(
        CONFIG[: CONFIG.index("jobs:")] + f'jobs:\n  - {{id: bad, {every}, text: "{{{{ nobody }}}}"}}\n'
        f"  - {{id: good, {every}, text: tick}}\n",
    )
    harness = SchedulerHarness(config, database, artist)
    async with scheduling(harness), asyncio.timeout(60):
        while [body for _, body in await harness.texts()].count("tick") < 2:  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0.05)
    told = [body for target, body in await harness.texts() if target == "master"]
    assert len(told) == 1
    assert told[0].startswith("Job bad failed: the template failed: ")


# ---------------------------------------------------------------- what became of them


async def test_every_run_that_ended_is_kept_with_its_picture_or_its_error(harness: SchedulerHarness) -> None:
    await harness.jobs.run_job("page")
    harness.artist.fault = PictureError("the page did not load")
    with pytest.raises(WxbridgeError):
        await harness.jobs.run_job("page")
    await harness.jobs.run_job("hello")
    hello, failed, page = await harness.database.read(read_history)
    assert (hello.job, hello.ok, hello.error, hello.picture_file) == ("hello", True, None, None)
    assert (failed.job, failed.ok, failed.error, failed.picture_file) == ("page", False, "the page did not load", None)
    assert page.picture_file
    assert (harness.config.state_dir / "pictures" / page.picture_file).read_bytes() == harness.artist.content
    assert [each.job for each in await harness.database.read(lambda c: read_history(c, "hello"))] == ["hello"]


async def test_runs_older_than_what_is_kept_are_forgotten(harness: SchedulerHarness) -> None:
    def ran(at: float) -> Callable[..., None]:
        run = JobRun("hello", at, 1.0, ok=True, error=None)
        return lambda c: record_run(c, run, before=0.0)

    now = datetime.now(UTC).timestamp()
    for days in (31, 29):
        await harness.database.run(ran(now - days * 86400))
    await harness.jobs.run_job("quiet")
    assert [round((now - each.started_at) / 86400) for each in await harness.database.read(read_history)] == [0, 29]


def test_the_failures_of_a_period_are_counted_with_the_last_reason(tmp_path: Path) -> None:
    engine = make_engine(sqlite_url(tmp_path))
    migrate(engine)
    with engine.begin() as connection:
        for at, job, error in ((9, "a", "early"), (10, "a", "first"), (11, "a", "last"), (12, "a", None),
                               (13, "b", "no"), (14, "c", None), (20, "b", "late")):  # fmt: skip
            record_run(connection, JobRun(job, at, 1.0, error is None, error), before=0.0)
        assert count_failures(connection, 10, 20) == (
            5,
            [FailureCount("a", 3, 2, "last"), FailureCount("b", 1, 1, "no")],
        )
    engine.dispose()


async def test_the_listing_tells_next_run_last_result_and_mute(harness: SchedulerHarness) -> None:
    jobs = harness.jobs
    with pytest.raises(WxbridgeError):
        await jobs.run_job("broken")
    until = datetime.now(UTC).timestamp() + 7200
    await jobs.mute("hello", until, "张三")
    listed = {each.id: each for each in await jobs.list_jobs()}
    assert list(listed) == ["hello", "page", "other", "quiet", "broken"]
    hello, broken = listed["hello"], listed["broken"]
    assert (hello.kind, hello.to, hello.last) == ("text", ("ops", "dev"), None)
    assert hello.mute
    assert (hello.mute.until, hello.mute.by) == (until, "张三")
    assert hello.next_run
    assert hello.next_run > datetime.now(UTC)
    assert broken.mute is None
    assert broken.last
    assert broken.last.ok is False


async def test_the_next_run_of_a_muted_job_is_the_first_that_is_not_passed_over(
    read: Callable[..., Config], database: Database, artist: Artist
) -> None:
    once = '  - {id: once, at: "2999-01-01 10:00", kind: text, text: "hello", to: ops}\n'
    jobs = SchedulerHarness(read(CONFIG + once), database, artist).jobs

    async def next_run(job: str) -> datetime | None:
        return next(each.next_run for each in await jobs.list_jobs() if each.id == job)

    first = await next_run("hello")
    assert first
    hour = timedelta(hours=1)
    for length, wanted in ((hour / 2, first + hour), (hour, first + hour), (1.5 * hour, first + 2 * hour)):
        await jobs.mute("hello", (first + length).timestamp(), "me")
        assert await next_run("hello") == wanted
    await jobs.unmute("hello")
    assert await next_run("hello") == first
    moment = await next_run("once")
    assert moment
    await jobs.mute("once", (moment - hour).timestamp(), "me")
    assert await next_run("once") == moment
    await jobs.mute("once", (moment + hour).timestamp(), "me")
    assert await next_run("once") is None


# ---------------------------------------------------------------- by hand, and not at all


async def test_a_run_by_hand_returns_at_once_and_is_sent_where_it_was_asked_for_too(harness: SchedulerHarness) -> None:
    slow = Slow()
    harness.kinds["text"] = slow.kind
    jobs = harness.jobs
    jobs.run_now("quiet", ("dev", "nowhere"))
    await slow.began.wait()
    (running,) = [each for each in await jobs.list_jobs() if each.running_since is not None]
    assert running.id == "quiet"
    with pytest.raises(WxbridgeError, match="quiet is running already, since "):
        jobs.run_now("quiet")
    slow.go_on.set()
    await jobs.wait_idle()
    assert await harness.texts() == [("ops", "done"), ("dev", "done")]
    assert [each.priority for each in await harness.messages()] == [Priority.ROUTINE, Priority.REPLY]
    jobs.run_now("quiet", ("ops",))
    await jobs.wait_idle()
    assert (await harness.texts())[2:] == [("ops", "done")]
    with pytest.raises(WxbridgeError, match="there is no job 'nothing'"):
        jobs.run_now("nothing")


async def test_who_asked_for_a_run_hears_that_it_failed_each_time(harness: SchedulerHarness) -> None:
    jobs = harness.jobs
    for _ in range(2):
        jobs.run_now("broken", ("dev",))
        await jobs.wait_idle()
    told = [target for target, line in await harness.texts() if line.startswith("Job broken failed: ")]
    assert told == ["master", "dev", "dev"]


async def test_who_is_in_charge_and_asked_is_told_once(harness: SchedulerHarness) -> None:
    jobs = harness.jobs
    jobs.run_now("broken", ("master",))
    await jobs.wait_idle()
    assert [target for target, _ in await harness.texts()] == ["master"]


async def its_time(jobs: JobScheduler, job_id: str) -> None:
    """What the scheduler does when a job's time has come."""
    await asyncio.create_task(jobs.run_scheduled(job_id))


async def test_a_muted_job_is_passed_over_and_logged_until_it_may_run_again_but_runs_by_hand(
    harness: SchedulerHarness,
) -> None:
    jobs = harness.jobs
    await jobs.mute("hello", datetime.now(UTC).timestamp() + 3600, "me")
    with capture_logs() as lines:
        for _ in range(2):
            await its_time(jobs, "hello")
    assert await harness.texts() == []
    assert [(line["event"], line["job"], line["by"]) for line in lines] == [
        ("job passed over: it is muted", "hello", "me")
    ] * 2
    await its_time(harness.jobs, "hello")
    assert await harness.texts() == [], "the mute outlasts a restart"
    jobs.run_now("hello")
    await jobs.wait_idle()
    assert len(await harness.texts()) == 2
    assert await jobs.unmute("hello") is True
    assert await jobs.unmute("hello") is False
    await its_time(jobs, "hello")
    assert len(await harness.texts()) == 4


async def test_a_mute_ends_by_itself_and_a_longer_one_takes_its_place(harness: SchedulerHarness) -> None:
    now = datetime.now(UTC).timestamp()
    await harness.database.run(lambda c: add_mute(c, Mute("hello", now - 1, "me", now - 60)))
    await its_time(harness.jobs, "hello")
    assert len(await harness.texts()) == 2
    for until in (now + 60, now + 7200):
        await harness.jobs.mute("hello", until, "me")
    assert {
        job: each.until for job, each in (await harness.database.read(lambda c: read_mutes(c, now=now))).items()
    } == {"hello": now + 7200}


async def test_a_mute_of_no_job_or_of_the_past_is_refused(harness: SchedulerHarness) -> None:
    with pytest.raises(WxbridgeError, match="there is no job 'helo'"):
        await harness.jobs.mute("helo", datetime.now(UTC).timestamp() + 60, "me")
    with pytest.raises(WxbridgeError, match="a moment to come"):
        await harness.jobs.mute("hello", datetime.now(UTC).timestamp() - 60, "me")


async def test_a_job_whose_mute_cannot_be_read_runs(harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_: object) -> None:
        raise StorageError("the disk is gone")

    jobs = harness.jobs
    monkeypatch.setattr(harness.database, "read", broken)
    await its_time(jobs, "hello")
    monkeypatch.undo()
    assert len(await harness.texts()) == 2


async def test_the_schedule_leaves_alone_what_is_being_run_by_hand(harness: SchedulerHarness) -> None:
    slow = Slow()
    harness.kinds["text"] = slow.kind
    jobs = harness.jobs
    jobs.run_now("quiet")
    await slow.began.wait()
    await its_time(jobs, "quiet")
    slow.go_on.set()
    await jobs.wait_idle()
    assert await harness.texts() == [("ops", "done")]


async def test_a_job_may_make_something_of_its_own_for_each_target(harness: SchedulerHarness) -> None:
    async def run(context: JobContext, _job: text.TextJob) -> dict[str, list[Text]]:
        return {name: [Text(f"for {name}")] for name in context.targets if name != "dev"}

    harness.kinds["text"] = JobKind(text.TextJob, run)
    await harness.jobs.run_job("hello", ("master",))
    assert await harness.texts() == [("ops", "for ops"), ("master", "for master")]


def test_a_job_is_found_whatever_its_case_and_the_likeliest_are_offered() -> None:
    ids = ["Inspection", "hello", "HELLO", "nightly-backup"]
    assert [match_job_id(word, ids) for word in ("inspection", "hello", "Hello", "nightly")] == [
        "Inspection",
        "hello",
        None,
        None,
    ]
    assert similar_job_ids("inspecton", ids) == ["Inspection"]
    assert similar_job_ids("backup", ids) == ["nightly-backup"]
    assert similar_job_ids("zzz", ids) == similar_job_ids("", ids) == []
