from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import wxbridge
from tests.support import REPOSITORY
from wxbridge import app, cli, parts
from wxbridge.alerts.serialization import group_to_json
from wxbridge.config.schema import Config
from wxbridge.core.model import (
    Alert,
    AlertGroup,
    AlertStatus,
    MessageState,
    Notification,
    NotificationKind,
    Picture,
    PictureSpec,
    Text,
)
from wxbridge.delivery.outbox import Outbox
from wxbridge.delivery.outbox_statements import SentMessage

CONFIG = """\
timezone: Asia/Shanghai
server: {listen: "127.0.0.1:0", token: a-t0ken}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
  dba: {channel: wechat, room: DBA}
routes:
  - {match: {severity: critical}, to: [ops, dba], continue: true}
  - {match: ['team=~"db.*"'], to: [dba]}
jobs:
  - {id: hello, at: "09:30", kind: text, text: "hello {{ 1 + 1 }}", to: [ops]}
  - {id: broken, every: 1h, kind: text, text: "{{ nobody }}", to: ops}
  - {id: past, at: 2020-01-01 09:30, kind: text, text: a, to: ops}
"""


@dataclass
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as the JSON list that it must be, alone."""
        assert self.code == 0, self.err
        found = json.loads(self.out)
        assert isinstance(found, list)
        return found


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty directory, without the settings of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("WXBRIDGE_CONFIG", "WXBRIDGE_TOKEN", "WXBRIDGE_LISTEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run a command as the `wxbridge` script does."""

    def command(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["wxbridge", *map(str, words)])
        # Else it is called as whoever runs the tests was: `python -m pytest.wxbridge`.
        monkeypatch.setattr(sys.modules["__main__"], "__package__", "")
        capsys.readouterr()
        try:
            cli.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Done(code, out, err)

    return command


@pytest.fixture
def config(read: Callable[..., Config]) -> Config:
    """The configuration in `./jobs.yaml`, where every command looks for it."""
    return read(CONFIG)


def store(config: Config, *items: Notification) -> list[int]:
    """Put messages into the outbox as a bridge would have."""

    async def work() -> list[int]:
        database = parts.open_database(config)
        try:
            return list((await Outbox(database).put(items)).ids)
        finally:
            database.close()

    return asyncio.run(work())


def settle(config: Config, message_id: int, *, receipt: str | None = None, **fields: Any) -> None:
    """Have a message sent, or die where there is an error."""

    async def work() -> None:
        database = parts.open_database(config)
        outbox, now = Outbox(database), 1_800_000_000.0
        try:
            if fields:
                await outbox.close([message_id], MessageState.DEAD, now=now, **fields)
            else:
                await outbox.record_sent([SentMessage(message_id, now, receipt)])
        finally:
            database.close()

    asyncio.run(work())


# ---------------------------------------------------------------- usage

COMMANDS = ["run", "demo", "check", "status", "rooms", "contacts", "send", "alert test", "jobs list", "jobs run",
            "outbox list", "outbox show", "outbox retry", "outbox drop", "routes test", "render", "simulator",
            "schema"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Callable[..., Done], command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.code == 0
    assert "Usage: wxbridge" in done.out
    assert "--config" in done.out


def test_the_version_is_printed(run: Callable[..., Done]) -> None:
    assert run("--version") == Done(0, f"{wxbridge.__version__}\n", "")


@pytest.mark.parametrize(
    "words",
    ["nonsense", "check --nonsense", "outbox", "outbox show", "outbox show x", "send", "jobs run",
     "outbox list --limit 0",
     "run --log-format nonsense", "outbox list --state nonsense", "outbox list --since yesterday", "send ops"],
)  # fmt: skip
@pytest.mark.usefixtures("config")
def test_wrong_usage_is_exit_code_two(run: Callable[..., Done], words: str) -> None:
    done = run(*words.split())
    assert done.code == 2
    assert done.err + done.out


@pytest.mark.parametrize("command", ["check", "status", "rooms", "contacts", "jobs list", "outbox list", "send ops hi",
                                     "alert test", "routes test a=b", "run", "outbox show 1",
                                     "jobs run hello"])  # fmt: skip
def test_a_configuration_with_mistakes_is_exit_code_two_with_every_line(
    run: Callable[..., Done], config_file: Callable[[str], Path], command: str
) -> None:
    config_file("languge: en\nserver: {token: hush, listen: x}\n")
    done = run(*command.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines() == [
        "jobs.yaml:1: unknown key `languge`; did you mean `language`?",
        "jobs.yaml:2: `server.listen`: 'x' is no address; write one like 127.0.0.1:8080",
    ]


def test_without_a_file_the_command_says_how_to_name_one(run: Callable[..., Done]) -> None:
    done = run("check")
    assert done.code == 2
    hint = "name one with -c FILE, or write one by `wxbridge init`"
    assert done.err == f"jobs.yaml:1: cannot be read: No such file or directory; {hint}\n"


def test_the_file_is_named_by_c_after_the_command_or_by_the_environment(
    run: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.yaml").write_text("targets: {a: {channel: console}}\nroutes: [{to: [a]}]\n")
    assert "other.yaml" in run("check", "-c", "other.yaml").err
    assert "other.yaml" in run("check", "--config", "other.yaml").err
    monkeypatch.setenv("WXBRIDGE_CONFIG", "missing.yaml")
    assert run("check").err.startswith("missing.yaml:1: ")
    assert run("check", "-c", "other.yaml").code == 0, "-c goes before the environment"
    monkeypatch.setenv("WXBRIDGE_CONFIG", "")
    assert run("check").err.startswith("jobs.yaml:1: "), "an empty variable is none"
    assert run("-c", "other.yaml", "check").code == 2, "-c stands after the command's name"


def test_beginnings_of_a_file_that_lose_what_matters_fail_the_check(
    run: Callable[..., Done], config_file: Callable[[str], Path]
) -> None:
    whole = "server: {listen: '127.0.0.1:0'}\ntargets:\n  a: {channel: console}\n  b: {channel: console}\nroutes:\n"
    lines = f"{whole}  - {{to: [a]}}\n".splitlines(keepends=True)
    for count in range(len(lines)):
        config_file("".join(lines[:count]))
        done = run("check")
        assert done.code == 2, lines[:count]
        assert done.err.startswith("jobs.yaml:"), done.err
    config_file("".join(lines))
    assert run("check").code == 0


@pytest.mark.usefixtures("config")
def test_check_tells_what_it_found(run: Callable[..., Done]) -> None:
    done = run("check")
    assert (done.code, done.out) == (0, "")
    assert done.err.splitlines()[0] == "jobs.yaml: 2 targets, 2 routes, 3 jobs: all well"


def test_check_warns_of_what_is_hardly_meant_so_with_its_line(
    run: Callable[..., Done], config_file: Callable[[str], Path]
) -> None:
    text = """\
targets: {ops: {channel: console}, boss: {channel: console, template: broken}}
operators: [ops]
routes:
  - {to: [ops]}
  - {match: {severity: critical}, to: [boss]}
jobs:
  - {id: hello, every: 1h, kind: text, text: "it is {{ nwo }}", to: [ops]}
"""
    folder = config_file(text).parent / "templates"
    folder.mkdir()
    (folder / "broken.j2").write_text("{{ titel }}\n")
    done = run("check")
    assert done.code == 0
    first, *warnings = done.err.splitlines()
    assert first == "jobs.yaml: 2 targets, 2 routes, 1 jobs: all well"
    assert [line.split(": ")[:2] for line in warnings] == [
        ["warning", "jobs.yaml:5"], ["warning", "jobs.yaml:1"], ["warning", "jobs.yaml:7"],
    ]  # fmt: skip
    assert "routes[1] can never match: routes[0] before it takes everything" in warnings[0]
    assert "broken.j2:1: nothing is called `titel`; did you mean `title`?" in warnings[1]
    assert "job `hello` asks for `nwo`" in warnings[2]


def test_check_hints_at_alerts_that_would_reach_nobody(
    run: Callable[..., Done], config_file: Callable[[str], Path]
) -> None:
    config_file(CONFIG.replace(", master: boss", ""))
    done = run("check")
    assert done.code == 0
    assert "an alert that no route matches reaches nobody" in done.err
    assert "warning: nobody hears of what the bridge itself suffers" in done.err
    config_file(CONFIG.replace(", master: boss", "") + "operators: [boss]\n")
    assert "nobody" not in run("check").err


def test_the_schema_needs_no_configuration_and_is_json_alone(run: Callable[..., Done]) -> None:
    done = run("schema")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["$schema"].startswith("https://json-schema.org/")
    assert "targets" in document["properties"]
    assert "path" not in document["properties"]


# ---------------------------------------------------------------- looking


@pytest.mark.usefixtures("config")
def test_a_bridge_that_does_not_run_is_told_and_is_a_failure(run: Callable[..., Done]) -> None:
    done = run("status", "--json")
    assert done.code == 1
    (row,) = json.loads(done.out)
    assert (row["part"], row["state"]) == ("bridge", "stopped")
    assert "stopped" in run("status").out


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("command", ["rooms", "contacts", "outbox list"])
def test_an_empty_listing_is_an_empty_list_of_json(run: Callable[..., Done], command: str) -> None:
    assert run(*command.split(), "--json").rows == []
    plain = run(*command.split())
    assert (plain.code, plain.out) == (0, "")
    assert plain.err.startswith("no ")


@pytest.mark.usefixtures("config")
def test_the_jobs_are_listed_with_their_next_run(run: Callable[..., Done]) -> None:
    rows = {row["id"]: row for row in run("jobs", "list", "--json").rows}
    assert rows["hello"]["next_run"].endswith(" 09:30:00+08:00")
    assert rows["past"]["next_run"] is None
    assert rows["hello"]["last_result"] is None
    assert "hello" in run("jobs", "list").out


def test_the_outbox_is_listed_newest_first_with_the_words_of_the_service(
    run: Callable[..., Done], config: Config
) -> None:
    first, second, third = store(
        config,
        Notification("t", "ops", (Text("[red]one[/red] :fire:\ntwo"),)),
        Notification("t", "dba", (Picture(spec=PictureSpec("fetch", {"url": "u"}), name="a.png"),)),
        Notification("t", "ops", (Text("three"),)),
    )
    settle(config, first, error="room not found", code="E404")
    settle(config, second, receipt="r-1")
    rows = run("outbox", "list", "--json").rows
    assert [row["id"] for row in rows] == [third, second, first]
    assert rows[2] | {"state": "dead", "target": "ops", "error": "E404: room not found"} == rows[2]
    assert rows[1] | {"state": "sent", "error": None, "body": "[a.png]", "receipt": "r-1"} == rows[1]
    assert [row["id"] for row in run("outbox", "list", "--json", "--dead").rows] == [first]
    assert [row["id"] for row in run("outbox", "list", "--json", "--open").rows] == [third]
    assert [row["id"] for row in run("outbox", "list", "--json", "--target", "dba").rows] == [second]
    assert [row["id"] for row in run("outbox", "list", "--json", "--state", "sent", "--state", "dead").rows] == [
        second, first,
    ]  # fmt: skip
    assert [row["id"] for row in run("outbox", "list", "--json", "--limit", 1).rows] == [third]
    assert len(run("outbox", "list", "--json", "--since", "1h").rows) == 3
    table = run("outbox", "list").out.splitlines()
    assert len(table) == 4, "in a pipe a row stays a line"
    assert "[red]one[/red] :fire:⏎ two" in table[3], "what people wrote is shown as they wrote it"


def test_nobody_who_writes_to_us_steers_our_terminal(run: Callable[..., Done], config: Config) -> None:
    (message,) = store(config, Notification("t", "ops", (Text("one\x1b[2J\x07\r\ntwo"),)))
    for done in (run("outbox", "list"), run("outbox", "show", message)):
        assert "one[2J" in done.out
        assert not set(done.out) & {"\x1b", "\x07", "\r"}
    assert run("outbox", "list", "--json").rows[0]["body"] == "one[2J\ntwo"


def test_a_message_is_shown_whole(run: Callable[..., Done], config: Config) -> None:
    (first,) = store(config, Notification("t", "ops", (Text("x" * 1500),)))
    assert run("outbox", "show", first, "--json").rows[0]["body"] == "x" * 1500
    assert "x" * 1500 in run("outbox", "show", first).out
    missing = run("outbox", "show", first, 999)
    assert missing.code == 1
    assert "no message 999" in missing.err


def test_all_that_was_to_be_told_is_shown_with_each_of_its_messages(run: Callable[..., Done], config: Config) -> None:
    alerts = tuple(Alert("s", AlertStatus.FIRING, f"disk {n} is full") for n in range(60))
    content = group_to_json(AlertGroup("s", "k", "disks", alerts))
    item = Notification("s", "ops", (Text("disks, in short"),), kind=NotificationKind.ALERT, content=content)
    (message,) = store(config, item)
    whole = run("outbox", "show", message).out
    assert all(f"disk {n} is full" in whole for n in range(60))


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("command", ["show", "retry", "drop"])
def test_an_impossible_number_is_no_message(run: Callable[..., Done], command: str) -> None:
    assert run("outbox", command, "9" * 30).code == 2


def test_messages_are_queued_again_and_dropped(run: Callable[..., Done], config: Config) -> None:
    first, second = store(config, *[Notification("t", "ops", (Text(text),)) for text in ("one", "two")])
    settle(config, first, error="x")
    done = run("outbox", "retry", first)
    assert (done.code, done.err) == (0, "1 of 1 queued again\n")
    assert [row["state"] for row in run("outbox", "list", "--json").rows] == ["queued", "queued"]
    assert run("outbox", "drop", first, second).err == "2 of 2 dropped\n"
    rows = run("outbox", "list", "--json", "--dead").rows
    assert {row["error"] for row in rows} == {"dropped: dropped by hand"}
    again = run("outbox", "drop", first)
    assert (again.code, again.err) == (1, "0 of 1 dropped\n")


# ---------------------------------------------------------------- doing


@pytest.mark.usefixtures("config")
def test_a_job_is_run_at_once_and_its_result_is_listed(run: Callable[..., Done]) -> None:
    done = run("jobs", "run", "hello")
    assert done.code == 0
    assert "hello: 1 messages queued" in done.err
    assert run("outbox", "list", "--json").rows[0]["body"] == "hello 2"
    assert {row["id"]: row for row in run("jobs", "list", "--json").rows}["hello"]["last_result"] == "ok"


@pytest.mark.usefixtures("config")
def test_a_job_that_fails_is_exit_code_one_and_is_listed(run: Callable[..., Done]) -> None:
    done = run("jobs", "run", "broken")
    assert done.code == 1
    assert "'nobody' is undefined" in done.err
    assert done.out == ""
    result = {row["id"]: row for row in run("jobs", "list", "--json").rows}["broken"]["last_result"]
    assert result.startswith("failed: the template failed")


@pytest.mark.usefixtures("config")
def test_an_unknown_job_is_told_with_those_there_are(run: Callable[..., Done]) -> None:
    done = run("jobs", "run", "helo")
    assert done.code in (1, 2)
    assert "there is no job 'helo'; there are hello, broken, past" in done.err


@pytest.mark.usefixtures("config")
def test_what_is_sent_while_no_bridge_runs_waits_for_one(run: Callable[..., Done], tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    file = io.BytesIO()
    Image.new("RGB", (3, 2)).save(file, "PNG")
    image.write_bytes(file.getvalue())
    done = run("send", "ops", "你好", "--image", image, "-c", "jobs.yaml")
    assert done.code == 0
    assert "sent when the bridge runs" in done.err
    picture, text = run("outbox", "list", "--json").rows
    assert (text["body"], text["target"], text["state"]) == ("你好", "ops", "queued")
    assert (picture["kind"], picture["body"]) == ("picture", "[a.png]")
    assert (tmp_path / "state" / "pictures" / picture["picture"]).read_bytes() == image.read_bytes()


@pytest.mark.usefixtures("config")
def test_nothing_is_sent_to_an_unknown_target_or_from_a_missing_file(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("send", "opps", "hi")
    assert done.code == 2
    assert "there is no target 'opps'; there are dba, master, ops" in done.err
    done = run("send", "ops", "hi", "--image", "missing.png")
    assert done.code == 1
    assert "missing.png" in done.err
    (tmp_path / "words.png").write_text("no picture")
    assert run("send", "ops", "--image", "words.png").code == 1
    assert run("outbox", "list", "--json").rows == []


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize(
    ("labels", "targets"),
    [
        ("severity=critical", "ops, dba"),
        ("severity=critical,team=dbms", "ops, dba"),
        ('{"team": "db"}', "dba"),
        ("team=web", "no route matches: goes to the operators"),
        ("{}", "no route matches: goes to the operators"),
    ],
)
def test_routes_can_be_tried(run: Callable[..., Done], labels: str, targets: str) -> None:
    done = run("routes", "test", labels)
    assert (done.code, done.out) == (0, f"{targets}\n")
    assert done.err.startswith('routes[0] {severity="critical"} ')


@pytest.mark.usefixtures("config")
@pytest.mark.parametrize("labels", ["severity", "{", '{"a"'])
def test_labels_that_are_none_are_refused(run: Callable[..., Done], labels: str) -> None:
    done = run("routes", "test", labels)
    assert done.code == 2
    assert done.err.startswith(("write labels as name=value", "the labels are not JSON"))


def test_an_alert_cannot_be_tried_without_a_bridge(
    run: Callable[..., Done], config_file: Callable[[str], Path]
) -> None:
    config_file(CONFIG.replace("127.0.0.1:0", "127.0.0.1:1"))
    done = run("alert", "test")
    assert done.code == 1
    assert done.err.endswith("/hooks/grafana: Connection refused; no bridge runs here: start `wxbridge run`\n")
    assert "a-t0ken" not in done.err
    done = run("alert", "test", "--source", "nagios")
    assert done.code == 2
    assert "there is no sample for 'nagios'; there are grafana" in done.err


def test_an_alert_is_tried_on_a_running_server(config: Config) -> None:
    from wxbridge.cli import alerts
    from wxbridge.cli.sample_alerts import SAMPLES

    async def work() -> tuple[int, Any]:
        async with AsyncExitStack() as stack:
            database = parts.open_database(config)
            stack.callback(database.close)
            bridge = app.App(config, database)
            stack.push_async_callback(bridge.close)
            await bridge.open()
            await bridge.serve()
            server = config.server.model_copy(update={"listen": bridge.url.removeprefix("http://")})
            settings = config.model_copy(update={"server": server})
            sample = SAMPLES["grafana"]
            return await alerts._post(settings, sample, "ops,dba", sample.body())

    status, answer = asyncio.run(work())
    assert (status, answer) == (202, {"queued": 4, "duplicates": 0})


def test_the_command_itself_keeps_standard_output_for_data(tmp_path: Path, config: Config) -> None:
    script = Path(sys.executable).with_name("wxbridge")
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [script, "outbox", "list", "--json", "-c", tmp_path / "jobs.yaml"],
        capture_output=True, text=True, check=False, cwd=REPOSITORY, env=environment,
    )  # fmt: skip
    assert (done.returncode, json.loads(done.stdout)) == (0, [])
    closed = subprocess.run(
        f'"{script}" schema | head -c 1', shell=True, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert closed.stdout == "{"
    assert "Traceback" not in closed.stderr
