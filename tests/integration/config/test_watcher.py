"""When a configuration is read again, and who is told what of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from wxbridge import registry
from wxbridge.config import watcher
from wxbridge.config.schema import Config, load
from wxbridge.config.watcher import ConfigState, Reloader, ReloadFailed, Taken
from wxbridge.core.metrics import Metrics

FIRST = "targets:\n  term: {channel: console}\n"
SECOND = FIRST + "routes: [{to: term}]\n"
BROKEN = FIRST + "routes: [{to: nobody}]\n"


@dataclass
class Desk:
    """A reloader with files of its own; time passes only in `sleep`, and `while_asleep` happens then."""

    path: Path
    taken: list[Config] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    while_asleep: list[Callable[[], object]] = field(default_factory=list)
    answer: Taken = field(default_factory=lambda: Taken(("routes",)))
    fault: Exception | None = None
    metrics: Metrics = field(default_factory=Metrics)
    slept: float = 0.0
    loads: int = 0

    def __post_init__(self) -> None:
        self.write(FIRST)
        self.reloader = Reloader(self, ConfigState(self.read_config()), self.metrics, self.sleep)
        self.loads = 0

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")

    def read_config(self) -> Config:
        self.loads += 1
        return load(self.path, registry.plugin_settings(), {})

    async def take(self, config: Config) -> Taken:
        if self.fault:
            raise self.fault
        self.taken.append(config)
        return self.answer

    async def tell_operators(self, line: str) -> None:
        self.told.append(line)

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        if self.while_asleep:
            self.while_asleep.pop(0)()

    def count(self, outcome: str) -> float:
        value = self.metrics.registry.get_sample_value("wxbridge_config_reloads_total", {"outcome": outcome})
        assert value is not None
        return value

    @property
    def well(self) -> bool:
        return bool(self.metrics.registry.get_sample_value("wxbridge_config_ok"))


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with capture_logs():
        yield Desk(tmp_path / "jobs.yaml")


async def test_files_that_did_not_change_are_not_read(desk: Desk) -> None:
    await desk.reloader.look()
    desk.write(FIRST)
    await desk.reloader.look()
    assert desk.loads == 0


async def test_a_changed_file_is_taken_over_without_a_word_to_the_master(desk: Desk) -> None:
    desk.write(SECOND)
    await desk.reloader.look()
    await desk.reloader.look()
    assert [len(config.routes) for config in desk.taken] == [1]
    assert (desk.told, desk.count("ok"), desk.well) == ([], 1, True)


async def test_whoever_asks_has_the_file_read_though_it_did_not_change(desk: Desk) -> None:
    desk.reloader.ask()
    await desk.reloader.look()
    assert len(desk.taken) == 1


async def test_a_wrong_file_is_told_once_and_its_correction_too(desk: Desk) -> None:
    desk.write(BROKEN)
    await desk.reloader.look()
    desk.reloader.ask()
    await desk.reloader.look()
    [line] = desk.told
    assert f"{desk.path}:3: unknown target `nobody`; there are term" in line
    assert (desk.taken, desk.count("invalid"), desk.well) == ([], 2, False)
    desk.write(SECOND)
    await desk.reloader.look()
    assert desk.told[1:] == ["The configuration is right again and in use."]
    assert desk.well


async def test_a_file_that_is_wrong_for_a_moment_only_is_no_matter(desk: Desk) -> None:
    desk.write(BROKEN)
    desk.while_asleep = [lambda: None, lambda: None, lambda: desk.write(SECOND)]
    await desk.reloader.look()
    assert (len(desk.taken), desk.told, desk.count("invalid")) == (1, [], 0)


async def test_half_a_file_that_is_right_by_itself_is_not_taken(desk: Desk) -> None:
    desk.write("targets: {}\n")
    desk.while_asleep = [lambda: desk.write(SECOND)]
    await desk.reloader.look()
    assert [len(config.routes) for config in desk.taken] == [1]


@pytest.mark.parametrize("first", [FIRST + "routes: []\n", BROKEN], ids=["right", "wrong"])
async def test_what_is_written_just_after_a_file_was_found_to_be_whole_is_read_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    real = desk.reloader._whole

    async def whole() -> object:
        found = await real()
        desk.write(SECOND)
        return found

    desk.write(first)
    with monkeypatch.context() as patch:
        patch.setattr(desk.reloader, "_whole", whole)
        await desk.reloader.look()
    await desk.reloader.look()
    assert [len(config.routes) for config in desk.taken] == ([1] if first == BROKEN else [0, 1])


async def test_an_empty_file_is_not_taken_over(desk: Desk) -> None:
    desk.write("")
    await desk.reloader.look()
    assert desk.taken == []
    assert "is empty" in desk.told[0]


WHOLE = "wechat: {endpoint: 'h:1', token: t, master: boss}\n" + SECOND


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (WHOLE.replace("routes:", "# routes:"), "routes"),
        (WHOLE.replace("[{to: term}]", "[]"), "routes"),
        (WHOLE[: WHOLE.index("targets:")], "targets"),
        (SECOND, "wechat"),
    ],
)
async def test_a_file_that_lost_what_matters_is_refused_and_the_whole_one_is_taken(
    desk: Desk, text: str, lost: str
) -> None:
    desk.write(WHOLE)
    await desk.reloader.look()
    desk.reloader._state.config = desk.taken.pop()
    desk.write(text)
    await desk.reloader.look()
    assert (desk.taken, desk.count("invalid"), desk.well) == ([], 1, False)
    assert f"`{lost}` is gone" in desk.told[0]
    desk.write(WHOLE + "language: zh\n")
    await desk.reloader.look()
    assert len(desk.taken) == 1


async def test_many_mistakes_are_not_poured_over_the_master(desk: Desk) -> None:
    desk.write(FIRST + "routes:\n" + "  - {to: nobody}\n" * 9)
    await desk.reloader.look()
    assert desk.told[0].count("unknown target") == 5
    assert "… and 4 more" in desk.told[0]


async def test_what_the_bridge_cannot_take_is_told_and_counted(desk: Desk) -> None:
    desk.fault = ReloadFailed("no such thing")
    desk.write(SECOND)
    await desk.reloader.look()
    assert "no such thing" in desk.told[0]
    assert (desk.count("failed"), desk.well) == (1, False)


async def test_what_takes_effect_later_is_told_once(desk: Desk) -> None:
    desk.answer = Taken((), later=("server.listen",))
    for _ in range(2):
        desk.reloader.ask()
        await desk.reloader.look()
    [line] = desk.told
    assert "server.listen takes effect at the next start" in line


async def test_a_file_that_is_newly_included_and_missing_is_waited_for(desk: Desk) -> None:
    desk.write(FIRST + "include: more.yaml\n")
    await desk.reloader.look()
    assert "more.yaml cannot be read" in desk.told[0]
    (desk.path.parent / "more.yaml").write_text("routes: [{to: term}]\n", encoding="utf-8")
    await desk.reloader.look()
    assert [len(config.routes) for config in desk.taken] == [1]


async def test_a_new_file_that_a_pattern_finds_is_noticed(desk: Desk) -> None:
    desk.write(FIRST + "include: conf.d/*.yaml\n")
    await desk.reloader.look()
    (desk.path.parent / "conf.d").mkdir()
    (desk.path.parent / "conf.d" / "a.yaml").write_text("routes: [{to: term}]\n", encoding="utf-8")
    await desk.reloader.look()
    assert [len(config.routes) for config in desk.taken] == [0, 1]


def test_another_file_behind_a_link_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "SETTLED_NANOSECONDS", -1)
    for name, text in (("one", FIRST), ("two", SECOND)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "jobs.yaml").write_text(text)
    data, link = tmp_path / "data", tmp_path / "jobs.yaml"
    data.symlink_to("one")
    link.symlink_to("data/jobs.yaml")
    before = watcher._fingerprint([link], [])
    data.unlink()
    data.symlink_to("two")
    assert watcher._fingerprint([link], []) != before


async def test_the_files_are_looked_at_again_and_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "FILES_CHECK_SECONDS", 0.01)
    looks: asyncio.Queue[None] = asyncio.Queue()

    async def look() -> None:
        looks.put_nowait(None)

    monkeypatch.setattr(desk.reloader, "look", look)
    running = asyncio.create_task(desk.reloader.run())
    async with asyncio.timeout(60):
        for _ in range(3):
            await looks.get()
    running.cancel()


def test_a_settled_file_is_not_read_again_while_something_else_in_its_folder_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(FIRST)
    reads = []
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or real(self))
    monkeypatch.setattr(watcher, "SETTLED_NANOSECONDS", -1)
    prints = set()
    for size in range(20):
        (tmp_path / "grows.log").write_text("x" * size)
        prints.add(watcher._fingerprint([path], []))
    assert (len(prints), len(reads)) == (1, 1)
    path.write_text(SECOND)
    assert watcher._fingerprint([path], []) not in prints
