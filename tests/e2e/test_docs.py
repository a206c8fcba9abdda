"""What README.md and docs/ say is true: configurations, commands, addresses, links, keys and examples."""

from __future__ import annotations

import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.support import REPOSITORY
from wxbridge import registry
from wxbridge.alerts.alert_text import write_headline, write_text
from wxbridge.alerts.templates import Templates
from wxbridge.cli import sample_alerts as samples
from wxbridge.cli.commands import COMMANDS, app, load_command
from wxbridge.config.schema import load
from wxbridge.core.metrics import Metrics
from wxbridge.web import compat, openapi

ROOT = REPOSITORY
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/zh").glob("*.md")),
]
TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
SHANGHAI = ZoneInfo("Asia/Shanghai")
PART = "# part of jobs.yaml"
"""The first line of a block that is no whole configuration."""


def blocks(language: str) -> list[Any]:
    """Every fenced block of a language, named by its page and line."""
    return [
        pytest.param(match[1], id=f"{page}:{text[: match.start()].count(chr(10)) + 1}")
        for page, text in TEXTS.items()
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    ]


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------- configurations


def around(text: str) -> dict[str, Any]:
    """What a part of a configuration needs beside it: targets for the names in it, and a gateway."""
    part = yaml.safe_load(text)
    beside: dict[str, Any] = {"include": ["part.yaml"]}
    if "wechat" not in part:
        beside["wechat"] = {"endpoint": "127.0.0.1:8788", "token": "x", "master": "主人"}
    names = {"ops", "boss", "db"} - set(part.get("targets", ()))
    return beside | {"targets": {name: {"channel": "wechat", "room": name} for name in names}}


def other_files(text: str, folder: Path) -> str:
    """A configuration whose files exist: secrets in files, a certificate authority, files to include."""
    (folder / "conf.d").mkdir()
    secret = folder / "secret"
    secret.write_text("s3cret\n", encoding="utf-8")
    return re.sub(r"(_file|\bca): /[\w./-]+", rf"\1: {secret}", text)


@pytest.mark.parametrize("text", [block for block in blocks("yaml") if "# alertmanager.yml" not in block.values[0]])
def test_a_configuration_in_the_documentation_is_accepted(text: str, tmp_path: Path) -> None:
    text = other_files(text, tmp_path)
    path = tmp_path / "jobs.yaml"
    if text.startswith(PART):
        (tmp_path / "part.yaml").write_text(text, encoding="utf-8")
        text = yaml.safe_dump(around(text), allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    names = re.findall(r"\$\{(\w+)\}", "".join(file.read_text(encoding="utf-8") for file in tmp_path.glob("*.yaml")))
    variables = dict.fromkeys(names, "x") | {"WECHATY_PUPPET_SERVICE_ENDPOINT": "127.0.0.1:8788"}
    assert load(path, registry.plugin_settings(), variables).targets


@pytest.mark.parametrize(
    "text", [block for block in blocks("yaml") if "# alertmanager.yml" in block.values[0]]
    + [pytest.param((ROOT / "deploy" / "alertmanager.yml").read_text(encoding="utf-8"), id="deploy/alertmanager.yml")],
)  # fmt: skip
def test_alertmanager_accepts_its_configuration(text: str, tmp_path: Path) -> None:
    path = tmp_path / "alertmanager.yml"
    path.write_text(text.replace("http://BRIDGE:8080", "http://bridge:8080"), encoding="utf-8")
    amtool = shutil.which("amtool")
    if amtool is None:
        pytest.skip("there is no amtool")
    checked = subprocess.run([amtool, "check-config", path], capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@functools.cache
def schema() -> dict[str, Any]:
    return registry.plugin_settings().model.model_json_schema(mode="validation")


def keys_within(part: Any, definitions: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The keys of every mapping that a schema allows; those of a named entry for a section of entries."""
    if "$ref" in part:
        yield from keys_within(definitions[part["$ref"].rsplit("/", 1)[1]], definitions)
    if "properties" in part:
        yield part["properties"]
    for choice in (*part.get("anyOf", ()), *part.get("oneOf", ())):
        yield from keys_within(choice, definitions)


def dotted_keys() -> set[str]:
    """What is written as `section.key` in code, of sections that jobs.yaml has."""
    sections = "|".join(schema()["properties"])
    words = (word for text in TEXTS.values() for word in re.findall(r"`([^`\n]+)`", prose(text)))
    dotted = (word for word in words if re.fullmatch(rf"(?:{sections})(?:\.[a-z_]+)+", word))
    return {word for word in dotted if not word.endswith((".yaml", ".json"))}  # names of files


def test_the_keys_that_the_documentation_names_exist() -> None:
    document, dotted_ones = schema(), dotted_keys()
    assert len(dotted_ones) > 30
    for dotted in dotted_ones:
        first, *rest = dotted.split(".")
        part = document["properties"][first]
        for name in rest:
            found = [keys[name] for keys in keys_within(part, document["$defs"]) if name in keys]
            assert found, dotted
            part = found[0]


def test_the_page_of_all_keys_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_configuration

    assert TEXTS["docs/configuration.md"] == make_configuration.page(), "run `python docs/make_configuration.py`"


def test_the_page_of_all_keys_has_every_key() -> None:
    document = schema()
    page = TEXTS["docs/configuration.md"]
    every = set(document["properties"]) - {"path"}
    every |= {name for part in document["$defs"].values() for name in part.get("properties", {})}
    assert {name for name in every if f"| `{name}` |" not in page} == set()


def test_the_channels_that_the_documentation_names_exist() -> None:
    for text in TEXTS.values():
        assert set(re.findall(r"`channel: (\w+)`", text)) - set(registry.CHANNELS) == set()


# ---------------------------------------------------------------- commands


def command_lines() -> list[str]:
    """Every `wxbridge …`, in blocks of commands and in the text."""
    found = []
    for text in TEXTS.values():
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            found += [line for line in block.splitlines() if re.match(r"(?:\.venv/bin/)?wxbridge\s", line)]
        found += re.findall(r"`(wxbridge [^`\n]+)`", prose(text))
    return sorted({re.split(r"\s+#", line)[0].strip() for line in found})


@pytest.mark.parametrize("line", command_lines())
def test_a_command_that_the_documentation_names_can_be_typed(line: str) -> None:
    words = shlex.split(line)[1:]
    if words == ["--version"]:
        return  # of no command
    assert words[0] in COMMANDS
    command = load_command(words.pop(0))
    # typer brings a click of its own, so that a group is told by its commands.
    while words and words[0] in getattr(command, "commands", ()):
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        # A group alone, some of its commands (`list|add`), or its own options.
        named = words.pop(0).split("|") if words and not words[0].startswith("-") else []
        assert set(named) <= set(command.commands), line
        assert named or "|" not in line
    if words:
        # Parsed as it would be, and not run; `…` stands for anything.
        command.make_context(line, [word for word in words if word != "…"])


def test_the_make_targets_that_the_documentation_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in {name for text in TEXTS.values() for name in re.findall(r"`make ([a-z]+)|^make ([a-z]+)", text)}:
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_the_unit_can_be_reloaded_as_the_documentation_says() -> None:
    assert "systemctl reload wxbridge" in TEXTS["docs/operations.md"]
    unit = (ROOT / "deploy" / "wxbridge.service").read_text(encoding="utf-8")
    assert "ExecReload=/bin/kill -HUP $MAINPID" in unit.splitlines()


# ---------------------------------------------------------------- addresses


def addresses() -> set[str]:
    """Every path of the bridge's that is written, with or without its host."""
    found = set()
    for text in TEXTS.values():
        found |= set(re.findall(r"https?://BRIDGE(?::8080)?(/[\w/.-]*)", text))
        found |= set(re.findall(r"[`/ ](/(?:hooks|api|compat)/[\w/.-]+|/(?:healthz|readyz|metrics|login))[`?]", text))
    return {path for path in found if not path.endswith("/")}


def test_the_addresses_that_the_documentation_names_exist() -> None:
    # Other services describe their paths themselves; a tool that wants a server is told how they begin.
    robots = [route.path for route in compat.make_routes()]
    known = [*openapi.describe_api()["paths"], *robots, *("/".join(each.split("/")[:3]) for each in robots)]
    mappings = " ".join(re.findall(r"mappings:\n +(\w+):", TEXTS["docs/sources.md"]))
    paths = addresses()
    assert len(paths) > 30
    for path in paths:
        assert any(re.fullmatch(re.sub(r"\{\w+\}", r"[^/]+", each), path) for each in known), path
        hook = path.removeprefix("/hooks/")
        if hook != path and not hook.endswith("NAME"):
            assert hook in registry.SourceTable({}) or hook.removeprefix("generic/") in mappings, path


def test_the_metrics_that_the_documentation_names_exist_and_all_are_named() -> None:
    metrics = Metrics()
    made = {name for metric in metrics.registry.collect() for name in (metric.name, f"{metric.name}_total")}
    named = {name for text in TEXTS.values() for name in re.findall(r"`(wxbridge_[a-z_]+)`", text)}
    assert named - made == set()
    missing = {
        metric.name
        for metric in metrics.registry.collect()
        if not {metric.name, f"{metric.name}_total"} & named and metric.name != "wxbridge_build"
    }
    assert missing == set()


# ---------------------------------------------------------------- links


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", list(TEXTS))
def test_what_a_page_links_to_exists(page: str) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", TEXTS[page]):
        file, _, anchor = link.partition("#")
        target = (ROOT / page).parent / file if file else ROOT / page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), link


def test_the_files_that_the_documentation_names_exist() -> None:
    for text in TEXTS.values():
        for name in re.findall(r"`((?:deploy|docs)/[\w./-]+)`", text):
            assert (ROOT / name).exists(), name


# ---------------------------------------------------------------- what people read


def examples() -> list[Any]:
    shown = re.findall(r"<!-- shows: (.*?) -->\n```text\n(.*?)\n```", TEXTS["docs/texts.md"], re.DOTALL)
    return [pytest.param(*about.split(" "), text, id=about[:60]) for about, text in shown]


@pytest.mark.parametrize(("hook", "body", "language", "now", "text"), examples())
def test_an_example_is_what_people_read(hook: str, body: str, language: Any, now: str, text: str) -> None:
    raw = body.encode() if "=" in body else (ROOT / body).read_bytes()
    group = registry.SourceTable({})[hook](raw, {})
    assert write_text(group, language, SHANGHAI, datetime.fromisoformat(now)) == text


def templates() -> list[Any]:
    found = re.findall(r"`(\w+\.j2)`[^\n]*:\n\n```jinja\n(.*?)```", TEXTS["docs/texts.md"], re.DOTALL)
    return [pytest.param(name, text, id=name) for name, text in found]


@pytest.mark.parametrize(("name", "text"), templates())
@pytest.mark.parametrize("sample", list(samples.SAMPLES))
def test_a_template_works_with_every_sample(name: str, text: str, sample: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    made = samples.SAMPLES[sample]
    group = made.parse()
    shown = Templates(tmp_path, "zh", SHANGHAI).renderer.render(name, group, "ops", datetime.now(UTC))
    assert shown.startswith(tuple("🔴🟠🟡🔵🔥📨"))
    assert write_headline(group, "zh") in shown


def test_every_template_that_the_documentation_describes_is_there() -> None:
    assert {each.id for each in templates()} == {"oncall.j2", "default.j2", "short.j2"}


@pytest.mark.parametrize("text", blocks("json"))
def test_json_in_the_documentation_is_json(text: str) -> None:
    assert json.loads(text)


def test_the_routes_page_shows_what_routes_test_prints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = TEXTS["docs/routing.md"]
    part = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    line = re.search(r"^wxbridge (routes test '.*)$", page, re.MULTILINE)
    assert part and shown and line  # noqa: PT018 - the page has them all
    (tmp_path / "part.yaml").write_text(part[1], encoding="utf-8")
    (tmp_path / "jobs.yaml").write_text(yaml.safe_dump(around(part[1]), allow_unicode=True), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    app(shlex.split(line[1]), standalone_mode=False)
    captured = capfd.readouterr()
    assert captured.err + captured.out == shown[1]


# ---------------------------------------------------------------- the house


def walks() -> dict[str, list[str]]:
    """What docs/architecture.md walks through the house: the files of each walk, in order."""
    parts = re.split(r"^## ", TEXTS["docs/architecture.md"], flags=re.MULTILINE)
    found = {part.splitlines()[0]: re.findall(r"`(wxbridge/[\w/]+\.py)`", part) for part in parts[1:]}
    return {name: files for name, files in found.items() if name.startswith(("A ", "An "))}


def test_every_path_that_the_pages_for_developers_name_is_there() -> None:
    for page in ("docs/architecture.md", "docs/glossary.md", "docs/console.md", "README.md"):
        for path in re.findall(r"`((?:wxbridge|tests|docs)/[\w/.]+)`", TEXTS[page]):
            assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize(("walk", "most"), [("An alert", 20), ("A screenshot", 18), ("A command", 20)])
def test_a_walk_through_the_house_is_short_and_names_each_file_once(walk: str, most: int) -> None:
    files = walks()[walk]
    assert len(files) <= most
    assert len(set(files)) == len(files)


def test_the_picture_of_the_packages_is_that_of_the_code() -> None:
    script = ROOT / "docs" / "make_architecture.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False, timeout=60)
    assert done.returncode == 0, f"draw it again: python {script.relative_to(ROOT)}"


def test_every_class_of_the_glossary_has_one_home() -> None:
    homes: dict[str, list[Path]] = {}
    for file in (ROOT / "wxbridge").rglob("*.py"):
        for name in re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), flags=re.MULTILINE):
            homes.setdefault(name, []).append(file)
    rows = re.findall(r"^\|(.+)$", TEXTS["docs/glossary.md"], flags=re.MULTILINE)
    words = {word for row in rows for word in re.findall(r"`([A-Z]\w+)`", row)}
    assert len(words) > 40
    assert {word: len(homes.get(word, ())) for word in words} == dict.fromkeys(words, 1)
