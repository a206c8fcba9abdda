"""What is wrong with a template is told before an alert comes."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from wxbridge.alerts.template_checks import check_template
from wxbridge.alerts.template_folder import TemplateError
from wxbridge.alerts.templates import Templates


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def check(folder: Path, text: str) -> None:
    (folder / "it.j2").write_text(text, encoding="utf-8")
    check_template(Templates(folder, "en", ZoneInfo("UTC")), "it")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ title }}\n{{ titel }}", "it.j2:2: nothing is called `titel`; did you mean `title`?"),
        ("{{ owner }}", "it.j2:1: nothing is called `owner`; there are title, status"),
        ("{{ duration(3) }}", "it is a filter, write `… | duration`"),
        ("{% for alert in alerts %}{{ alert.titel }}{% endfor %}", "no attribute 'titel'"),
        ("{% if firing > 99 %}{{ whatever }}{% endif %}", "nothing is called `whatever`"),
        ("{{ alerts[0].value }}", "no attribute 'value'"),
        ("{{ title | shout }}", "No filter named 'shout'"),
        ("{{ title", "it.j2:1: "),
    ],
)
def test_what_no_alert_has_is_told_with_its_line(folder, text, said) -> None:
    with pytest.raises(TemplateError) as caught:
        check(folder, text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{{ title }} {{ status }} {{ more }} {{ firing }} {{ resolved }} {{ labels.team }} {{ annotations.x }}",
        "{{ link }} {{ text }} {{ source }} {{ group.title }} {{ target }} {{ builtin }} {{ now }} {{ language }}",
        "{{ mark }} {{ severity }} {{ graph }}",
        "{% for a in alerts %}{{ a.title }} {{ since(a) }} {{ a.values | length }}{% endfor %}",
        "{% set extra = 1 %}{{ extra }}{{ title }}",
        "{% if owner is defined %}{{ owner }}{% endif %}{{ title }}",
        "{{ team | default('nobody') }}{{ title }}",
        "{% macro line(x) %}{{ x }}{% endmacro %}{{ line(title) }}",
        "{% if resolved %}{{ title }}{% endif %}",
    ],
)
def test_what_alerts_have_is_no_mistake(folder, text) -> None:
    check(folder, text)
