from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import REPOSITORY, SMALL
from wxbridge import registry
from wxbridge.config.schema import BrokenConfig, Config, load
from wxbridge.core.errors import ConfigError

Read = Callable[..., Config]

# What the design shows, without what needs a channel that is still to come.
EXAMPLE = """\
language: en                     # en | zh, of what people read in WeChat
timezone: Asia/Shanghai
state_dir: ./state               # database, pictures, browser profile
server: {listen: "127.0.0.1:8080", token: "${WXBRIDGE_TOKEN}"}
wechat:
  endpoint: ${WECHATY_PUPPET_SERVICE_ENDPOINT}     # host:port of the gateway
  token: ${WECHATY_PUPPET_SERVICE_TOKEN}
  master: 主人                    # id, alias or name of the contact to greet and to warn
  greeting: hello master!
  pace: {chat: 1/s, total: 30/min, day: 600}       # counts in sliding windows, bursts allowed; or: pace: none
grafana: {url: "http://grafana:3000", token: "${GRAFANA_TOKEN}"}   # or user: and password:
prometheus: {url: "http://prometheus:9090"}          # user:/password: or token:, ca: too
pictures: {allow: [img.example.com, 10.0.0.0/8]}  # besides Grafana's own host, where pictures may be fetched from
targets:
  ops:    {channel: wechat, room: 技术讨论群, failover_after: 2m, commands: true}   # room: id or topic
  boss:   {channel: wechat, contact: 张三}
routes:
  - {match: {severity: critical}, to: [ops, boss]}       # equality; or a list: ['severity="critical"', 'team=~"a|b"']
  - {to: [ops]}
jobs:
  - id: inspection
    cron: 5 9-18 * * *
    kind: screenshot
    url: /d/kafka/overview?from=now-1h&to=now        # relative to grafana.url
    to: [ops]
  - {id: hello, every: 1h, kind: text, text: "it is {{ now }}", to: [ops]}
"""
VARIABLES = {
    "WXBRIDGE_TOKEN": "t",
    "WECHATY_PUPPET_SERVICE_ENDPOINT": "gateway:8788",
    "WECHATY_PUPPET_SERVICE_TOKEN": "g",
    "GRAFANA_TOKEN": "glsa",
}


def job(**keys: object) -> str:
    """A file with one job, one key a line: id 6, kind 7, text 8, every 9, to 10, then what is added."""
    lines = {"id": "a", "kind": "text", "text": "hello", "every": "1h", "to": "[ops]"} | keys
    body = "\n".join(f"    {name}: {value}" for name, value in lines.items() if value is not None)
    return f"{SMALL_HEAD}jobs:\n  -\n{body}\n"


SMALL_HEAD = """\
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token}
targets:
  ops: {channel: wechat, room: Ops}
"""


@pytest.fixture
def problems(read: Read) -> Callable[..., list[str]]:
    """What is wrong with a text, as `LINE: words`."""

    def find(text: str, **variables: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read(text, **variables)
        for problem in caught.value.problems:
            assert str(problem).startswith(f"{problem.file}:{problem.line}: ")
            assert problem.file.endswith("jobs.yaml")
        return [f"{problem.line}: {problem.text}" for problem in caught.value.problems]

    return find


def test_the_example_of_the_design_passes(read: Read) -> None:
    config = read(EXAMPLE, **VARIABLES)
    assert config.timezone == ZoneInfo("Asia/Shanghai")
    assert config.targets["ops"].failover_after == 120
    assert config.section("wechat").master == "主人"
    assert config.grafana
    assert config.grafana.token
    assert config.grafana.token.get_secret_value() == "glsa"
    assert [entry.id for entry in config.jobs] == ["inspection", "hello"]
    assert config.routes[0].to == ("ops", "boss")


def test_the_example_of_the_design_says_each_variable_that_is_missing(problems: Callable[..., list[str]]) -> None:
    assert problems(EXAMPLE) == [
        "4: the variable WXBRIDGE_TOKEN is not set; export it, or write ${WXBRIDGE_TOKEN:-default}",
        (
            "6: the variable WECHATY_PUPPET_SERVICE_ENDPOINT is not set; export it, "
            "or write ${WECHATY_PUPPET_SERVICE_ENDPOINT:-default}"
        ),
        (
            "7: the variable WECHATY_PUPPET_SERVICE_TOKEN is not set; export it, "
            "or write ${WECHATY_PUPPET_SERVICE_TOKEN:-default}"
        ),
        "11: the variable GRAFANA_TOKEN is not set; export it, or write ${GRAFANA_TOKEN:-default}",
    ]


def test_the_shipped_file_passes_without_any_variable_set() -> None:
    config = load(REPOSITORY / "jobs.yaml", registry.plugin_settings(), {})
    assert config.targets
    assert {entry.kind for entry in config.jobs} == {"screenshot", "picture", "text"}
    assert config.server.host == "127.0.0.1"
    assert config.state_dir == REPOSITORY / "state"


def test_relative_paths_are_relative_to_the_file(read: Read, tmp_path: Path) -> None:
    assert read("state_dir: ./here").state_dir == tmp_path / "here"
    assert read("state_dir: /elsewhere").state_dir == Path("/elsewhere")
    assert read("").state_dir == tmp_path / "state"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # keys
        ("language: en\nlanguge: zh\n", ["2: unknown key `languge`; did you mean `language`?"]),
        ("server:\n  lisen: 127.0.0.1:1\n", ["2: unknown key `lisen`; did you mean `listen`?"]),
        ("xyzzy: 1\n", ["1: unknown key `xyzzy`"]),
        ("pictures: {alerts: {painter: {dashboard: x}}}\n",
         ["1: unknown key `painter`; the bridge draws the charts of Grafana's rules by itself: take it out"]),
        ("path: /etc\n", ["1: unknown key `path`"]),
        ("language: en\nlanguage: zh\n", ["2: `language` stands here twice; keep one"]),
        (
            ("targets:\n  a: {channel: wechat, room: x}\n  a: {channel: wechat, room: y}\n"
            "wechat: {endpoint: 'a:1', token: t}\n"),
            ["3: `a` stands here twice; keep one"],
        ),
        ("wechat:\n  endpoint: a:1\n", ["1: `token` is missing"]),
        ("wechat:\n  endpoint: a:1\n  token: t\n  pace: {chats: 1/s}\n",
         ["4: unknown key `chats`; did you mean `chat`?"]),
        # values
        ("language: de\n", ["1: `language`: Input should be 'en' or 'zh', not 'de'"]),
        ("timezone: Mars/Base\n", ["1: `timezone`: 'Mars/Base' is no time zone; write one like Asia/Shanghai or UTC"]),
        ("timezone: ../../etc/passwd\n", [("1: `timezone`: '../../etc/passwd' is no time zone; "
                                          "write one like Asia/Shanghai or UTC")]),
        ("keep: 5\n", ["1: `keep`: 5 is no duration; write one like 30s, 5m, 1h30m or 7d"]),
        ("\nserver:\n  listen: '8080'\n", ["3: `server.listen`: '8080' is no address; write one like 127.0.0.1:8080"]),
        ("server: {listen: '127.0.0.1:99999'}\n", [("1: `server.listen`: '127.0.0.1:99999' is no address; "
                                                   "write one like 127.0.0.1:8080")]),
        ("server: {max_body: 0}\n", ["1: `server.max_body`: Input should be greater than 0, not 0"]),
        ("targets: [a]\n", ["1: `targets`: Input should be a valid dictionary"]),
        ("routes: {to: a}\n", ["1: `routes`: Input should be a valid list"]),
        ("- a\n", ["1: the file must be a mapping, such as `targets: …`"]),
        ("just words\n", ["1: the file must be a mapping, such as `targets: …`"]),
        # listening to everybody
        ("server:\n  listen: 0.0.0.0:8080\n", [("1: `server`: listening on 0.0.0.0:8080 without a token would let "
                                               "anybody in; set `server.token` or listen on 127.0.0.1")]),
        ("server:\n  listen: '[::]:8080'\n  token: ''\n", [("1: `server`: listening on [::]:8080 without a token would "
                                                           "let anybody in; set `server.token`")]),
        # names that nothing answers to
        ("routes:\n  - {to: [ops]}\n", ["2: unknown target `ops`; there are none"]),
        ("routes:\n  - {to: 7}\n", ["2: unknown target `7`; there are none"]),
        (SMALL_HEAD + "routes:\n  - to:\n    - ops\n    - oops\n", ["7: unknown target `oops`; did you mean `ops`?"]),
        (SMALL_HEAD + "routes:\n  - {to: master}\n", ["5: unknown target `master`; there are ops"]),
        (SMALL_HEAD + "operators: [ops, nobody]\n", ["4: unknown target `nobody`; there are ops"]),
        (SMALL_HEAD.replace("Ops}", "Ops, fallback: robot}"), ["3: unknown target `robot`; there are ops"]),
        ("targets:\n  ops: {channel: wechat, room: x}\n", [("2: target `ops` uses wechat, but there is no `wechat:` "
                                                          "section")]),
        (SMALL_HEAD.replace("wechat, room", "wechart, room"), ["3: unknown channel `wechart`; expected one of "]),
        (SMALL_HEAD.replace(", room: Ops", ""), [("3: `targets.ops`: a wechat target needs one of `room:` "
                                                 "(id or topic), `contact:` (id, alias or name) and `to: from-a")]),
        # routes
        (SMALL_HEAD + "routes:\n  - to: ops\n    match:\n      - severity\n",
         ["6: `routes.0.match`: 'severity' is no matcher; write one like severity=\"critical\" or team=~\"a|b\""]),
        (SMALL_HEAD + "routes:\n  - to: ops\n    match: severity\n",
         ["6: `routes.0.match`: Input should be a valid dictionary or Input should be a valid list, not 'severity'"]),
        # jobs
        (job(cron="'* * * *'", every=None), ["10: `jobs.0.cron`: '* * * *' has 4 fields; cron has five"]),
        (job(to="[boss]"), ["10: unknown target `boss`; there are ops"]),
        (job(on_error="boss"), ["11: unknown target `boss`; there are ops"]),
        (job(cron="0 * * * *"), ["6: `jobs.0`: a job has one of `cron`, `every` and `at`, not cron and every"]),
        (job(every=None), ["6: `jobs.0`: a job has one of `cron`, `every` and `at`, not none"]),
        (job(every="1000000000d"), ["9: `jobs.0.every`: '1000000000d' is longer than a hundred years"]),
        (job(every=None, at="25:00"), ["10: `jobs.0.at`: hour must be in 0..23"]),
        (job(kind="txt"), ["7: unknown kind `txt`; expected one of 'screenshot', 'picture', 'text'"]),
        (job(kind=None), ["6: `kind` is missing"]),
        (job(id="''"), ["6: `jobs.0.id`: String should have at least 1 character, not ''"]),
        (job(text="'{{ now'"), [("8: `jobs.0.text`: the template is broken: "
                                "unexpected end of template, expected 'end of print statement'.")]),
        (job(every="[1]"), ["9: `jobs.0.every`: [1] is no duration; write one like 30s, 5m, 1h30m or 7d"]),
        (job(onerror="ops"), ["11: unknown key `onerror`; did you mean `on_error`?"]),
        (job(cron="[1]", every=None), [("10: `jobs.0.cron`: Input should be a valid string or "
                                       "Input should be a valid dictionary")]),
        (job(kind="picture", text=None, url="http://a/b", path="/c"), [("6: `jobs.0`: a picture job has one of `url` "
                                                                      "and `path`")]),
        (job(kind="picture", text=None, url="/c.png"), [("6: `jobs.0`: `url` begins with http:// or https://; "
                                                        "for a file write `path`")]),
        (job(kind="screenshot", url="/d", widht=3), ["12: unknown key `widht`; did you mean `width`?"]),
        (job(kind="screenshot"), ["6: `url` is missing"]),
    ],
)  # fmt: skip
def test_every_mistake_is_told_at_its_line(problems: Callable[..., list[str]], text: str, expected: list[str]) -> None:
    found = problems(text)
    assert [line.partition(": ")[0] for line in found] == [line.partition(": ")[0] for line in expected]
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_text_job_never_suggests_a_key_of_another_kind(problems: Callable[..., list[str]]) -> None:
    assert problems(job(archiv="x")) == ["11: unknown key `archiv`"]


@pytest.mark.parametrize("name", ["twice", "7"])
def test_two_jobs_of_one_name_are_told_at_the_second(problems: Callable[..., list[str]], name: str) -> None:
    entry = f"{{id: {name}, every: 1h, kind: text, text: a, to: ops}}"
    assert problems(f"{SMALL_HEAD}jobs:\n  - {entry}\n  - {entry}\n") == [f"6: the job id `{name}` is used twice"]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(problems: Callable[..., list[str]]) -> None:
    found = problems(
        "languge: en\n"
        "timezone: Mars\n"
        "server: {listen: nowhere, max_body: x}\n"
        "wechat: {endpoint: 'a:1', token: '${TOKEN}', mastr: me}\n"
        "targets:\n"
        "  ops: {channel: wechat}\n"
        "routes:\n"
        "  - {to: [boss], match: ['=']}\n"
        "jobs:\n"
        "  - {id: a, kind: text, text: hi, cron: bad, to: [nobody]}\n",
    )
    assert [int(line.partition(":")[0]) for line in found] == [1, 2, 3, 3, 4, 4, 6, 8, 8, 10, 10]
    assert any("TOKEN is not set" in line for line in found)
    assert any("did you mean `master`" in line for line in found), "an unset variable hides nothing beside it"


# ---------------------------------------------------------------- variables and secrets


def test_a_variable_is_put_in_or_its_default(read: Read) -> None:
    text = "wechat: {endpoint: '${HOST:-localhost}:${PORT:-8788}', token: '${T}', greeting: 'a $${T} $5 ${E:-}'}"
    wechat = read(text, T="x", PORT="99").section("wechat")
    assert wechat.endpoint == "localhost:99"
    assert wechat.greeting == "a ${T} $5 "


def test_an_empty_variable_takes_the_default_as_in_a_shell(read: Read) -> None:
    assert read("language: ${L:-zh}", L="").language == "zh"


def test_a_variable_may_fill_a_number_or_a_duration(read: Read) -> None:
    config = read("server: {max_body: '${MAX}'}\nkeep: ${KEEP}", MAX="1000", KEEP="2d")
    assert config.server.max_body == 1000
    assert config.keep == 2 * 86400


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1))
def test_what_a_variable_holds_cannot_change_the_structure(value: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jobs.yaml")
        path.write_text('wechat: {endpoint: "a:1", token: "${T}", greeting: "${T}"}\n', encoding="utf-8")
        wechat = load(path, registry.plugin_settings(), {"T": value}).section("wechat")
    assert wechat.token.get_secret_value() == value
    assert wechat.greeting == value


@pytest.mark.parametrize(
    "value", ["a: b", "a\nmaster: eve", "x # y", "[1", "{", "'", '"', "true", "5", "${OTHER}", "*a"]
)
def test_a_variable_stays_the_text_it_is(read: Read, value: str) -> None:
    wechat = read("wechat: {endpoint: 'a:1', token: t, greeting: '${V}'}", V=value).section("wechat")
    assert wechat.greeting == value
    assert wechat.master is None


def test_a_variable_in_a_comment_or_a_key_is_left_alone(read: Read, problems: Callable[..., list[str]]) -> None:
    assert read("language: zh  # ${NOT_SET}\n").language == "zh"
    assert problems("${KEY}: zh\n", KEY="language") == ["1: unknown key `${KEY}`"]


def test_a_secrets_file_is_looked_for_beside_the_configuration(read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    config = read("server: {token_file: token}\npictures: {browser: bin/chrome}")
    assert config.server.token
    assert config.server.token.get_secret_value() == "hush"
    assert config.pictures.browser == tmp_path / "bin/chrome"


def test_a_secret_may_come_from_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-the-file\n")
    config = read(f"server: {{token_file: {tmp_path / 'token'}}}")
    assert config.server.token
    assert config.server.token.get_secret_value() == "from-the-file"


def test_a_secret_of_digits_is_a_text(read: Read) -> None:
    config = read("server: {token: 12345}")
    assert config.server.token
    assert config.server.token.get_secret_value() == "12345"


def test_mistakes_around_secrets_are_told_without_them(problems: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush-in-a-file")
    for text in (
        f"server: {{token: hush-inline, token_file: {tmp_path / 'token'}}}",
        "server: {token: [hush-listed]}",
        "server: {token: {hush-key: hush-value}}",
        "grafana: {url: 'http://g', token: hush-token, user: me, password: hush-password}",
        "grafana: {url: 'ftp://me:hush-password@g'}",
        "grafana: {url: 'http://g', user: me, password: [hush-password]}",
        "server: {token: '${HUSH}', listen: nowhere}",
        "wechat: {endpoint: nowhere, token: hush-token}",
        "wechat: {endpoint: 'a:1', token: hush-token, hush_unknown: hush-value}".replace("hush_unknown", "unknown"),
    ):
        found = problems(text, HUSH="hush-variable")
        assert found
        assert not re.search("hush-", "\n".join(found)), found


def test_secrets_are_in_no_repr_of_the_configuration(read: Read) -> None:
    config = read(EXAMPLE, **{name: f"hush-{index}:1" for index, name in enumerate(VARIABLES)})
    shown = f"{config!r} {config} {config.model_dump()} {config.server} {config.grafana}"
    assert "hush-0" not in shown
    assert "hush-2" not in shown
    assert "hush-3" not in shown


# ---------------------------------------------------------------- YAML


def test_words_that_old_yaml_took_for_something_else_stay_words(read: Read) -> None:
    config = read(
        SMALL_HEAD + "  'no': {channel: wechat, room: on}\n"
        "  off: {channel: wechat, room: 2026-01-02}\n"
        "  0x10: {channel: wechat, contact: 012}\n"
        "routes:\n  - {match: {on: yes, y: n, t: 10:30, d: 2026-01-01, e: 1e3, o: 0o7, u: 1_000, n: 5}, "
        "to: [no, off]}\n"
        "jobs:\n  - {id: a, at: 10:30, kind: text, text: hi, to: ['no', 0x10]}\n",
    )
    assert set(config.targets) == {"ops", "no", "off", "0x10"}
    assert [getattr(config.targets[name], "room") for name in ("no", "off")] == ["on", "2026-01-02"]  # noqa: B009
    assert config.routes[0].match == {
        "on": "yes", "y": "n", "t": "10:30", "d": "2026-01-01", "e": "1e3", "o": "0o7", "u": "1_000", "n": "5",
    }  # fmt: skip
    assert config.jobs[0].at == "10:30"


def test_a_target_may_be_called_by_a_number_or_by_true(read: Read) -> None:
    config = read(SMALL_HEAD + "  7: {channel: wechat, room: a}\n  true: {channel: wechat, room: b}\n"
                  "routes:\n  - {to: 7}\n  - {to: ['7', 'true']}\n")  # fmt: skip
    assert config.routes[1].to == ("7", "true")


def test_anchors_and_merges_save_repeating(read: Read) -> None:
    config = read(
        SMALL_HEAD + "  dev: &base {channel: wechat, room: Dev, failover_after: 5m}\n"
        "  qa: {<<: *base, room: QA}\n"
        "routes:\n  - {to: &both [dev, qa]}\n  - {to: *both}\n",
    )
    assert config.targets["qa"].failover_after == 300
    assert getattr(config.targets["qa"], "room") == "QA"  # noqa: B009
    assert config.routes[1].to == ("dev", "qa")


def test_a_mistake_behind_an_anchor_is_told_at_its_place(problems: Callable[..., list[str]]) -> None:
    found = problems(
        SMALL_HEAD + "  dev: &base\n    channel: wechat\n    room: Dev\n    keeep: 1\n  qa:\n    <<: *base\n"
    )
    assert found == ["7: unknown key `keeep`", "7: unknown key `keeep`"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a: 1\nb: \xff\n", "2: is not UTF-8; save it as UTF-8"),
        ("language: 中文".encode("gbk"), "1: is not UTF-8; save it as UTF-8"),
        (b"a: 1\nb: \x00\n", "2: is not YAML: "),
        (b"language: en\ninclude: [1\n", "2: the bracket [ that is opened here is not closed"),
        (b"keep: 1d\n\tlanguage: en\n", "2: a tab stands here"),
        (
            b"keep: 2d\ncron: * * * * *\n",
            (
                "2: is not YAML: expected alphabetic or numeric character, but found ' '; "
                "put quotes around a value that begins with a *"
            ),
        ),
        (b"a: *nowhere\n", "1: is not YAML: found undefined alias"),
        (b"language: en\n---\nlanguage: zh\n", "2: is not YAML: "),
        (b"language: en\nkeep: !!int abc\n", "2: cannot be read as int"),
        (b"language: en\nkeep: !!python/name:os.system x\n", "2: is not YAML: could not determine a constructor"),
        (b"keep: " + b"9" * 5000, "1: cannot be read as int"),
        (b"[" * 3000, "1: is nested too deeply"),
        (
            b"a0: &a0 [x, x]\n"
            + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 11)),
            "7: has aliases for more than 200000 values",
        ),
        (
            b"a0: &a0 {x: x}\n"
            + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 11)),
            "7: has aliases for more than 200000 values",
        ),
        (b"targets: &a {b: *a}\n", "1: is nested too deeply, or an anchor holds itself"),
        (b"? [a]\n: 1\n", "1: a key must be a word"),
        (b"? &a [x]\n: 1\n? *a\n: 2\n", "1: a key must be a word"),
    ],
)
def test_what_is_no_yaml_is_told_at_its_line(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path, registry.plugin_settings(), {})
    assert str(caught.value.problems[0]).startswith(f"{path}:{expected}")


def test_signs_that_json_writes_in_halves_are_whole_and_a_half_alone_is_told(read: Read, tmp_path: Path) -> None:
    target = r'{"channel": "wechat", "room": "\ud83d\udd25 Ops"}'
    wechat = '"wechat": {"endpoint": "127.0.0.1:9", "token": "x", "master": "m"}'
    config = read(f'{{"targets": {{"\\ud83d\\udd25": {target}}}, {wechat}}}')
    assert {name: each.room for name, each in config.targets.items()} == {"🔥": "🔥 Ops"}
    with pytest.raises(ConfigError, match="token_file"):
        read(r'{"wechat": {"endpoint": "127.0.0.1:9", "token_file": "\ud83d"}}')


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_bytes(b"\xef\xbb\xbflanguage: zh\r\nkeep: 2d\r\n")
    assert load(path, registry.plugin_settings(), {}).language == "zh"


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    missing = "No such file or directory; name one with -c FILE, or write one by `wxbridge init`"
    with pytest.raises(ConfigError, match=f"cannot be read: ({missing}|Is a dir)"):
        load(tmp_path / name, registry.plugin_settings(), {})


def test_an_empty_file_is_a_bridge_with_nothing_to_do(read: Read) -> None:
    for text in ("", "\n", "# nothing yet\n", "{}"):
        config = read(text)
        assert config.targets == {}
        assert config.section("wechat") is None


KEYS = st.sampled_from(
    ["targets", "routes", "jobs", "server", "wechat", "channel", "room", "id", "kind", "to", "text", "every", "cron",
     "at", "match", "fallback", "pace", "chat", "token", "token_file", "listen", "endpoint", "master", "x", "ops"],
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), KEYS,
    st.sampled_from(["wechat", "text", "1h", "* * * * *", "09:30", "1/s", "127.0.0.1:8080", "${X}", "${X:-y}", "a=~("]),
)  # fmt: skip
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))


def loads_or_explains(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "jobs.yaml")
        path.write_bytes(content)
        try:
            load(path, registry.plugin_settings(), {})
        except ConfigError as error:
            assert error.problems  # noqa: PT017 - either outcome is right
            assert all(problem.line >= 1 and problem.text for problem in error.problems)  # noqa: PT017


@settings(max_examples=40)
@given(st.dictionaries(KEYS, TREES, max_size=5))
def test_any_structure_is_a_configuration_or_a_list_of_mistakes(tree: dict[str, object]) -> None:
    loads_or_explains(json.dumps(tree).encode())


@given(st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass")),
                 st.text(st.sampled_from("ab:-[]{}&*!|>'\"#%@, \n\t?<~1.")).map(str.encode)))  # fmt: skip
def test_any_file_is_a_configuration_or_a_list_of_mistakes(content: bytes) -> None:
    loads_or_explains(content)


# ---------------------------------------------------------------- the schema


def schema() -> dict[str, object]:
    return registry.plugin_settings().model.model_json_schema()


def test_the_schema_knows_every_section_and_forbids_the_rest() -> None:
    document = schema()
    properties = document["properties"]
    assert isinstance(properties, dict)
    assert {"language", "timezone", "server", "wechat", "grafana", "targets", "routes", "jobs"} <= set(properties)
    assert document["additionalProperties"] is False
    definitions = document["$defs"]
    assert isinstance(definitions, dict)
    assert "continue" in definitions["RouteSettings"]["properties"]
    assert {"token", "token_file"} <= set(definitions["ServerSettings"]["properties"])
    names_of_ones_own = {"BotsSettings", "PeopleSettings"}
    assert {
        name for name, definition in definitions.items()
        if definition.get("type") == "object" and definition.get("additionalProperties") is not False
    } == names_of_ones_own  # fmt: skip


def test_every_default_in_the_schema_is_written_as_in_the_file() -> None:
    document = json.loads(json.dumps(schema()))
    keep = document["properties"]["keep"]
    assert keep["type"] == "string"
    assert isinstance(keep.get("default", ""), str), f"an editor offers {keep['default']!r}, which `check` refuses"


def test_every_key_of_the_shipped_file_is_in_the_schema() -> None:
    import yaml

    document = schema()
    shipped = yaml.safe_load((REPOSITORY / "jobs.yaml").read_text(encoding="utf-8"))
    missing = list(unknown_keys(shipped, document, document["$defs"]))  # type: ignore[arg-type]
    assert not missing


def unknown_keys(
    data: object, part: dict[str, object], definitions: dict[str, dict[str, object]], at: str = ""
) -> list[str]:
    """The keys of data that a schema does not know; where it offers choices, the best of them counts."""
    if "$ref" in part:
        part = definitions[str(part["$ref"]).rsplit("/", 1)[1]]
    choices = [*part.get("anyOf", ()), *part.get("oneOf", ())]  # type: ignore[misc]
    if choices:
        return min((unknown_keys(data, choice, definitions, at) for choice in choices), key=len)
    if isinstance(data, list):
        items = part.get("items")
        if not isinstance(items, dict):
            return [f"{at} is a list"]
        return [found for entry in data for found in unknown_keys(entry, items, definitions, f"{at}[]")]
    if not isinstance(data, dict):
        return []
    properties, rest = part.get("properties", {}), part.get("additionalProperties", False)
    found: list[str] = []
    for key, value in data.items():
        inner = properties.get(key, rest)  # type: ignore[attr-defined]
        if inner is False:
            found.append(f"{at}.{key}")
        elif isinstance(inner, dict):
            found += unknown_keys(value, inner, definitions, f"{at}.{key}")
    return found


def test_a_small_file_is_enough(read: Read) -> None:
    assert list(read(SMALL).targets) == ["ops"]


# ---------------------------------------------------------------- several files


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write files by name; gives the main one."""

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".yaml")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / "jobs.yaml"

    return write


def complaints(path: Path) -> list[str]:
    """What is wrong, as `FILE:LINE: words`, files relative to the main one's folder."""
    with pytest.raises(ConfigError) as caught:
        load(path, registry.plugin_settings(), {})
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_included_files_merge_sections_and_append_lists_in_their_order(folder: Callable[..., Path]) -> None:
    path = folder(
        jobs="include: [conf.d/*.yaml, secret.yaml]\nwechat: {endpoint: 'a:1'}\n"
        "targets:\n  ops: {channel: wechat, room: Ops}\nroutes:\n  - {to: ops, match: {n: main}}\n",
        secret="wechat: {token: t}\nroutes: [{to: ops, match: {n: secret}}]\n",
    )
    (path.parent / "conf.d").mkdir()
    (path.parent / "conf.d" / "b.yaml").write_text("include: ../deeper.yaml\nroutes: [{to: dba, match: {n: b}}]\n")
    (path.parent / "conf.d" / "a.yaml").write_text("targets:\n  dba: {channel: wechat, room: DBA}\nroutes:\n")
    (path.parent / "deeper.yaml").write_text("routes: [{to: ops, match: {n: deeper}}]\n")
    config = load(path, registry.plugin_settings(), {})
    assert list(config.targets) == ["ops", "dba"]
    assert [dict(route.match)["n"] for route in config.routes] == ["main", "b", "deeper", "secret"]  # type: ignore[arg-type]
    assert config.section("wechat").token.get_secret_value() == "t"
    assert [file.name for file in config.files] == ["jobs.yaml", "a.yaml", "b.yaml", "deeper.yaml", "secret.yaml"]
    assert config.patterns == (str(path.parent / "conf.d" / "*.yaml"),)


def test_a_mistake_in_an_included_file_is_told_with_that_file_and_line(folder: Callable[..., Path]) -> None:
    path = folder(
        jobs="include: more.yaml\n" + SMALL_HEAD + "routes:\n  - {to: ops}\n",
        more="routes:\n  - {to: ops}\n  - {to: opps}\njobs:\n  -\n    id: a\n    kind: text\n    text: x\n"
        "    every: 5\n    to: ops\ntimezone: ${NOT_SET}\n",
    )
    assert complaints(path) == [
        "more.yaml:3: unknown target `opps`; did you mean `ops`?",
        "more.yaml:9: `jobs.0.every`: 5 is no duration; write one like 30s, 5m, 1h30m or 7d",
        "more.yaml:11: the variable NOT_SET is not set; export it, or write ${NOT_SET:-default}",
    ]


def test_what_two_files_give_is_told_with_both_places(folder: Callable[..., Path]) -> None:
    path = folder(
        jobs="include: more.yaml\nlanguage: zh\n" + SMALL_HEAD,
        more="language: en\ntargets:\n  ops: {channel: console}\n",
    )
    assert complaints(path) == [
        f"more.yaml:1: `language` stands in {path}:2 too; keep one".replace(f"{path.parent}/", ""),
        f"more.yaml:3: `targets.ops` stands in {path}:5 too; keep one".replace(f"{path.parent}/", ""),
    ]


@pytest.mark.parametrize(
    ("include", "expected"),
    [
        ("gone.yaml", ["jobs.yaml:1: `include`: gone.yaml cannot be read: No such file or directory"]),
        ("jobs.yaml", ["jobs.yaml:1: `include`: a circle: jobs.yaml → jobs.yaml"]),
        ("back.yaml", ["back.yaml:1: `include`: a circle: jobs.yaml → back.yaml → jobs.yaml"]),
        ("[fine.yaml, ./fine.yaml]", ["jobs.yaml:1: `include`: fine.yaml is included twice; keep one"]),
        ("broken.yaml", ["broken.yaml:2: the bracket [ that is opened here is not closed"]),
        ("list.yaml", ["list.yaml:1: the file must be a mapping, such as `targets: …`"]),
        ("['']", ["jobs.yaml:1: `include`: write the name of a file, or a list of them"]),
        ("deep0.yaml", ["deep6.yaml:1: `include`: deep7.yaml would be number 9 in a chain of files"]),
    ],
)
def test_what_cannot_be_included_is_told(folder: Callable[..., Path], include: str, expected: list[str]) -> None:
    chain = {f"deep{number}": f"include: deep{number + 1}.yaml\n" for number in range(7)} | {"deep7": ""}
    path = folder(
        jobs=f"include: {include}\n",
        back="include: jobs.yaml\n",
        fine="",
        broken="keep: 1d\nb: [1\n",
        list="- a\n",
        **chain,
    )
    found = complaints(path)
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_pattern_that_finds_nothing_is_no_mistake_and_never_means_the_file_itself(
    folder: Callable[..., Path],
) -> None:
    assert load(folder(jobs="include: [conf.d/*.yaml, '*.yaml']\n"), registry.plugin_settings(), {}).files


def test_a_broken_configuration_knows_the_files_in_which_the_correction_may_come(folder: Callable[..., Path]) -> None:
    path = folder(jobs="include: [gone.yaml, 'conf.d/*']\n")
    with pytest.raises(BrokenConfig) as caught:
        load(path, registry.plugin_settings(), {})
    assert [file.name for file in caught.value.files] == ["jobs.yaml", "gone.yaml"]
    assert caught.value.patterns == (str(path.parent / "conf.d" / "*"),)


# ---------------------------------------------------------------- words for severities


@pytest.mark.parametrize(
    "text",
    [
        "{critical: [红牌, T0], warning: [amber]}",
        "{红牌: critical, T0: 紧急, amber: minor}",
        "{红牌: critical, 严重: T0, amber: Warning}",
    ],
)
def test_words_for_severities_are_given_either_way_round(read: Read, text: str) -> None:
    found = read(f"severities: {text}\n").severities
    assert found == {"红牌": "critical", "T0": "critical", "amber": "warning"}


def test_a_known_word_may_mean_something_else(read: Read) -> None:
    assert read("severities: {page: warning, 3: info}\n").severities == {"page": "warning", "3": "info"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("severities:\n  purple: mauve\n", "1: `severities`: `purple: mauve` names no severity; there are critical, "),
        ("severities:\n  purple: [a, b]\n", "1: `severities`: `purple:` names no severity; there are critical, "),
        ("severities:\n  critical: [{a: 1}]\n", "1: `severities`: `critical:` names no severity; there are critical, "),
        ("severities: [critical]\n", "1: `severities`: write words for severities"),
    ],
)
def test_a_severity_that_there_is_not_is_told(problems: Callable[..., list[str]], text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert problem.startswith(expected)


# ---------------------------------------------------------------- what nothing comes of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (job(to="[]"), ["10: a job without a target does nothing; name one"]),
        (job(cron="0 0 31 2 *", every=None), ["10: `jobs.0.cron`: '0 0 31 2 *' never comes; is there such a day?"]),
        (job(cron="{year: '2020'}", every=None), ["10: `jobs.0.cron`: {'year': '2020'} never comes"]),
        (SMALL_HEAD.replace("Ops}", "Ops, fallback: ops}"),
         ["3: target `ops` falls back on itself; name another target"]),
        (SMALL_HEAD.replace("Ops}", "Ops, fallback: [b]}") + "  a: {channel: console, fallback: ops}\n"
         "  b: {channel: console, fallback: a}\n",
         ["3: fallbacks go in a circle: ops → b → a → ops; let the last of them have none"]),
        ("server: {rate: 5/century}\n", ["1: `server.rate`: '5/century' is no rate"]),
    ],
)  # fmt: skip
def test_what_can_never_work_is_told(problems: Callable[..., list[str]], text: str, expected: list[str]) -> None:
    found = problems(text)
    assert len(found) == len(expected), found
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_a_leap_day_comes_and_two_may_share_one_fallback(read: Read) -> None:
    read(job(cron="0 0 29 2 *", every=None).replace("Ops}", "Ops, fallback: term}").replace(
        "jobs:", "  dba: {channel: wechat, room: d, fallback: term}\n  term: {channel: console}\njobs:"))  # fmt: skip


def test_names_within_nested_routes_must_be_known(problems: Callable[..., list[str]]) -> None:
    found = problems(
        SMALL_HEAD + "time_intervals: {}\nroutes:\n  - to: ops\n    routes:\n      - to: ops\n"
        "        mute_time_intervals: [nights]\n        routes:\n          - {to: nobody}\n"
    )
    assert "9: unknown time interval `nights`; there are none" in found
    assert "11: unknown target `nobody`; there are ops" in found


def test_a_section_with_an_unset_variable_is_not_judged_as_a_whole(config_file: Callable[[str], Path]) -> None:
    text = 'targets: {ops: {channel: wecom_robot, key: "${KEY}"}}\nroutes: [{to: [ops]}]\n'
    with pytest.raises(ConfigError) as caught:
        load(config_file(text), registry.plugin_settings(), {})
    assert [problem.text for problem in caught.value.problems] == [
        "the variable KEY is not set; export it, or write ${KEY:-default}"
    ]
