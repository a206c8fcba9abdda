"""Templates: what they know, what they cannot do, and that the alert goes out whatever they are."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.template_folder import LOOK_SECONDS, TemplateError
from wxbridge.alerts.template_rendering import MAX_ALERTS_PER_TEMPLATE
from wxbridge.alerts.templates import Templates, render_or_explain
from wxbridge.core.model import Alert, AlertGroup, AlertStatus, Value
from wxbridge.core.text.i18n import Language

NOW = datetime(2026, 11, 21, 0, 59, 58, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def member(number: int, status: str = "firing", severity: str = "warning") -> Alert:
    return Alert(
        "alertmanager", AlertStatus(status), "HighCPU",
        {"alertname": "HighCPU", "instance": f"node-{number}", "job": "node", "severity": severity},
        {"summary": "CPU is high"}, (Value("cpu", 92.25, unit="%"), Value("load1", 7.5)),
        NOW - timedelta(minutes=12), link="http://p/1",
    )  # fmt: skip


GROUP = AlertGroup(
    "alertmanager", "k", "HighCPU", (member(1), member(2, "resolved"), member(3, severity="critical")), truncated=4
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "templates").mkdir()
    return tmp_path / "templates"


def rendered(folder: Path, source: str, group: AlertGroup = GROUP, language: Language = "en") -> str:
    (folder / "t.j2").write_text(source, encoding="utf-8")
    return Templates(folder, language, SHANGHAI).renderer.render("t", group, "ops", NOW)


# ---------------------------------------------------------------- what a template knows


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ title }}", "HighCPU (2 firing, 1 resolved)"),
        ("{{ status }} {{ firing }} {{ resolved }} {{ more }} {{ target }}", "firing 2 1 4 ops"),
        ("{% for a in alerts %}{{ a|emoji }}{{ a.labels.instance }} {% endfor %}", "🔴node-3 🟡node-1 ✅node-2"),
        ("{{ labels|labels }} / {{ annotations.summary }}", "job=node / CPU is high"),
        ("{{ alerts[0].labels|labels(2) }}", "critical, instance=node-3"),
        ("{% for v in alerts[0]['values'] %}{{ v.name }}={{ v|figure }} {% endfor %}", "cpu=92.3 % load1=7.5"),
        ("{{ 1288490189|figure('bytes') }} {{ 350|figure('ms') }} {{ 1234567|number }}", "1.2 GiB 350 ms 1234567"),
        ("{{ 754|duration }}, {{ (now - alerts[0].starts_at)|duration }}", "12 min 34 s, 12 min"),
        ("{{ since(alerts[0]) }} {{ alerts[0].starts_at|local_time }}", "since 08:47 (12 min) 11-21 08:47"),
        ("{{ now|local_time('%H:%M') }} {{ now.hour }} {{ 'resolved'|emoji }} {{ link }}", "08:59 8 ✅ http://p/1"),
        ("{{ (alerts|worst_first)[0].title ~ '!' ~ 1 }} {{ '%.1f'|format(2.25) }} {{ 2 * 3 }}", "HighCPU!1 2.2 6"),
    ],
)  # fmt: skip
def test_a_template_has_these_words_and_helpers(folder: Path, source: str, text: str) -> None:
    assert rendered(folder, source) == text


def test_a_template_may_stand_around_the_built_in_text(folder: Path) -> None:
    text = rendered(folder, "[{{ target }}]\n{{ builtin }}", language="zh")
    assert text == "[ops]\n" + write_text(GROUP, "zh", SHANGHAI, NOW)


def test_a_text_that_was_no_alert_can_be_told_too(folder: Path) -> None:
    group = AlertGroup("openfalcon", "", "mail", text="free <text> & so on")
    assert rendered(folder, "{{ title }}: {{ text }}", group) == "mail: free <text> & so on"


def test_a_label_that_an_alert_does_not_have_is_empty_and_one_may_be_called_as_it_likes(folder: Path) -> None:
    alert = Alert("x", AlertStatus.FIRING, "t", {"items": "shoes", "values": "good"})
    source = "[{{ alerts[0].labels.team }}{{ labels['no'] }}] {{ labels.team|default('none') }} {{ labels.items }}"
    assert rendered(folder, source, AlertGroup("x", "", "", (alert,))) == "[] none shoes"


def test_a_file_is_found_with_its_ending_or_without_and_may_include_its_neighbours(folder: Path) -> None:
    (folder / "teams").mkdir()
    (folder / "teams" / "db.txt").write_text("db {% include 'foot' %}")
    (folder / "foot").write_text("{{ target }}")
    templates = Templates(folder, "en", UTC)
    assert templates.names() == ["foot", "teams/db.txt"]
    assert {templates.renderer.render(name, GROUP, "ops", NOW) for name in ("teams/db", "teams/db.txt")} == {"db ops"}


def test_a_changed_file_is_read_again(folder: Path) -> None:
    templates = Templates(folder, "en", UTC)
    for index in range(2):
        (folder / "t").write_text(f"text {index}")
        os.utime(folder / "t", (index, index))
        assert templates.renderer.render("t", GROUP, "ops", NOW) == f"text {index}"


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("a\n{{ nothing }}", 2, "'nothing' is undefined"),
        ("{{ alerts[0].labls }}", 1, "has no attribute 'labls'"),
        ("\n\n{{ title|shout }}", 3, "No filter named 'shout'"),
        ("a\n{% for %}", 2, "Expected an expression"),
        ("{{ 1 / 0 }}", 1, "ZeroDivisionError: division by zero"),
        ("{{ 'x'|number }}", 1, "ValueError: could not convert string to float"),
        ("{% include 'absent' %}", 1, "there is no template 'absent'"),
        ("{% include '../outside' %}", 1, "there is no template '../outside'"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_line(folder: Path, source: str, line: int, words: str) -> None:
    (folder.parent / "outside").write_text("secret")
    with pytest.raises(TemplateError) as caught:
        rendered(folder, source)
    assert str(caught.value).startswith(f"{folder / 't.j2'}:{line}: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../t.j2", ".hidden", "", "x\0", "a//t", "x" * 5000])
def test_a_name_that_leads_out_of_the_folder_is_no_template(folder: Path, name: str) -> None:
    for path in (folder.parent / "outside", folder / "t.j2", folder / ".hidden"):
        path.write_text("secret")
    with pytest.raises(TemplateError, match=r"there are t\.j2"):
        Templates(folder, "en", UTC).renderer.render(name, GROUP, "ops", NOW)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(40000) %}{% for b in range(40000) %}{% endfor %}{% endfor %}",
        "{{ range(10 ** 9)|length }}",
        "{% macro f(n) %}{% if n < 60 %}{{ f(n + 1) }}{{ f(n + 1) }}{% endif %}{% endmacro %}{{ f(0) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 't.j2' %}",
        "{% for a in range(40000) %}xxxxxxxxxx{% endfor %}",
        "{% set kept %}{% for a in range(40000) %}{{ builtin }}{% endfor %}{% endset %}",
        "{{ 'x' * 10 ** 9 }}",
        "{{ [1] * 10 ** 9 }}",
        "{{ 9 ** 9999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%999999999d'|format(1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ 'x'.ljust(10 ** 9) }}",
        "{{ 'x'|center(10 ** 9) }}",
        "{{ 'x\ny'|indent(10 ** 9) }}",
        "{% set ns = namespace(x='ab') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    ],
)
def test_a_template_without_end_is_stopped(folder: Path, source: str) -> None:
    with pytest.raises(TemplateError):
        rendered(folder, source + "x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ group.__class__ }}",
        "{{ since.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ group.alerts[0].labels.update({'a': 'b'}) }}",
        "{{ group.alerts[0].labels.clear() }}",
        "{{ self._TemplateReference__context }}",
    ],
)
def test_a_template_cannot_leave_the_sandbox_or_change_an_alert(folder: Path, source: str) -> None:
    with pytest.raises(TemplateError):
        rendered(folder, source)
    assert GROUP.alerts[0].labels["job"] == "node"


def test_of_a_huge_group_the_worst_alerts_are_given_and_the_rest_is_counted(folder: Path) -> None:
    group = AlertGroup("x", "", "", (*[member(1)] * 20_000, member(2, severity="critical")), truncated=1)
    text = rendered(folder, "{{ alerts|length }} {{ more }} {{ alerts[0].labels.instance }}", group)
    assert text == f"{MAX_ALERTS_PER_TEMPLATE} {20_002 - MAX_ALERTS_PER_TEMPLATE} node-2"


# ---------------------------------------------------------------- the alert always goes out


def test_a_broken_template_falls_back_to_the_built_in_text_and_says_so(folder: Path) -> None:
    (folder / "broken").write_text("{{ nothing }}")
    (folder / "empty").write_text("{% if false %}x{% endif %}")
    templates = Templates(folder, "en", UTC)
    builtin = write_text(GROUP, "en", UTC, NOW)
    for name, words in (("broken", "broken:1: 'nothing'"), ("empty", "makes no text"), ("absent", "there is no")):
        text, problem = render_or_explain(templates, name, GROUP, "ops", NOW)
        assert text.startswith("⚠️ The template of this text is broken")
        assert text.endswith("\n\n" + builtin)
        assert words in (problem or "")


def test_a_file_that_cannot_be_read_falls_back_too(folder: Path) -> None:
    (folder / "binary").write_bytes(b"\xff\xfe\x00")
    text, problem = render_or_explain(Templates(folder, "en", UTC), "binary", GROUP, "ops", NOW)
    assert "HighCPU" in text
    assert str(folder / "binary") in (problem or "")


def test_the_template_called_default_takes_the_place_of_the_built_in_text(folder: Path) -> None:
    seconds = 1.0
    templates = Templates(folder, "en", UTC, clock=lambda: seconds)
    assert render_or_explain(templates, None, GROUP, "ops", NOW) == (write_text(GROUP, "en", UTC, NOW), None)
    (folder / "default.txt").write_text("ours: {{ title }}")
    seconds += LOOK_SECONDS
    (folder / "other").write_text("other")
    assert render_or_explain(templates, None, GROUP, "ops", NOW) == ("ours: HighCPU (2 firing, 1 resolved)", None)
    assert render_or_explain(templates, "other", GROUP, "ops", NOW) == ("other", None)


def test_no_folder_is_no_trouble(tmp_path: Path) -> None:
    templates = Templates(tmp_path / "none", "en", UTC)
    assert render_or_explain(templates, None, GROUP, "ops", NOW)[1] is None
    with pytest.raises(TemplateError, match="there are none"):
        templates.renderer.check("x")


@given(st.text(st.sampled_from("{}%# abtitle|.'[]0\n~+*-"), max_size=60))
def test_whatever_is_written_in_a_template_the_alert_goes_out(
    tmp_path_factory: pytest.TempPathFactory, source: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    (folder / "t").write_text(source, encoding="utf-8")
    text, problem = render_or_explain(Templates(folder, "en", UTC), "t", GROUP, "ops", NOW)
    assert text.strip()
    assert problem is None or "HighCPU" in text


def test_a_template_that_takes_long_is_ended_in_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxbridge.core.text.sandbox.MAX_RENDER_SECONDS", 0.2)
    heavy = '{% if x | replace("a", "c") | upper %}{% endif %}'
    source = '{% set x = "ab" * 200000 %}{% for i in range(40000) %}' + heavy + "{% endfor %}"
    began = time.process_time()
    with pytest.raises(TemplateError, match=r"more than 0\.2 seconds"):
        rendered(folder, source)
    assert time.process_time() - began < 5


# ---------------------------------------------------------------- in markdown

ODD = AlertGroup(
    "x",
    "",
    "__a__",
    (Alert("x", AlertStatus.FIRING, "__a__", {"job": "*b*"}, {"summary": "<c> `d`\n# e"}, link="https://x/_f_"),),
)


def star(text: str) -> str:
    """An escape that shows where it was, and where it was twice."""
    return f"«{text}»"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("**{{ title }}** [go]({{ link }})", "**«__a__»** [go](«https://x/_f_»)"),
        ("{% for a in alerts %}- {{ a.labels.job }} {{ 5 }}\n{% endfor %}", "- «*b*» «5»"),
        ("{% macro m(x) %}*{{ x }}*{% endmacro %}{{ m(title) }}", "*«__a__»*"),
        ("{% macro m() %}({{ caller() }}){% endmacro %}{% call m() %}{{ title }}{% endcall %}", "(«__a__»)"),
        ("{% set x %}*{{ title }}*{% endset %}{{ x }}", "*«__a__»*"),
        ("{% set x %}{% if false %}{{ title }}{% endif %}{% endset %}.{{ x }}.", ".."),
        ("{% set x | upper %}*{{ target }}*{% endset %}{{ x }}", "*«OPS»*"),
        ("{% block b %}{{ title }}{% endblock %}{{ self.b() }}", "«__a__»«__a__»"),
        ("{{ '**' ~ title }}", "«**__a__»"),
        ("{% if title == '__a__' %}{{ 'x' }}{% endif %}", "«x»"),
        ("{{ alerts[0].labels.nothing_of_that }}{{ none }}.", "«»«»."),
    ],
)
def test_what_a_template_is_filled_with_is_escaped_once_and_its_own_marks_never(
    folder: Path, source: str, text: str
) -> None:
    (folder / "t").write_text(source, encoding="utf-8")
    templates = Templates(folder, "en", UTC)
    plain = templates.renderer.render("t", ODD, "ops", NOW)
    assert templates.renderer.render("t", ODD, "ops", NOW, None, star) == text
    assert templates.renderer.render("t", ODD, "ops", NOW) == plain == text.replace("«", "").replace("»", "")


def test_the_built_in_text_is_escaped_too_also_where_a_template_fails(folder: Path) -> None:
    (folder / "broken").write_text("{{ nothing }}")
    builtin = write_text(ODD, "en", UTC, NOW)
    templates = Templates(folder, "en", UTC)
    assert render_or_explain(templates, None, ODD, "ops", NOW, None, star).text == star(builtin)
    text = render_or_explain(templates, "broken", ODD, "ops", NOW, None, star).text
    assert text.startswith("«")
    assert builtin in text
