"""What was recorded from real Zabbix, Uptime Kuma, Icinga and Monit, and every sample, as people read it.

`told/senders-LANGUAGE.txt` has the texts, each below a line `=== NAME`; the bodies are in `tests/payloads/recorded/`.
Samples are made afresh: their times are left out. `python -m tests.unit.alerts.test_recorded_senders` writes the
texts anew: look at what changes.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.support import REPOSITORY
from tests.unit.alerts.sources.source_checks import check_usable
from wxbridge import registry
from wxbridge.alerts.alert_text import write_text
from wxbridge.alerts.intake import prepare_group
from wxbridge.cli.sample_alerts import SAMPLES
from wxbridge.core.model import AlertGroup, AlertStatus
from wxbridge.core.text.i18n import Language

NOW = datetime(2026, 11, 29, 14, 30, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
PAYLOADS = REPOSITORY / "tests" / "payloads" / "recorded"
NAMES = sorted(str(path.relative_to(PAYLOADS).with_suffix("")) for path in PAYLOADS.glob("*/*.json"))
TOLD = Path(__file__).parent / "told"
PICTURED = ("grafana", "grafana-unified", "alertmanager", "host")
MAX_LINES = 14
MAX_CHARS = 900


def group_of(name: str) -> AlertGroup:
    recorded: Any = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    parse = registry.SourceTable({}, SHANGHAI)[recorded["hook"]]
    return prepare_group(parse(recorded["body"].encode(), {"Content-Type": recorded["content_type"]}))


def sample_text(name: str, language: Language, *, resolved: bool) -> str:
    text = write_text(prepare_group(SAMPLES[name].parse(resolved=resolved)), language, SHANGHAI, datetime.now(UTC))
    text = re.sub(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d)?|\d\d:\d\d", "TIME", text)
    return re.sub(r"\d min(?: \d+ s)?|\d分钟(?:\d+秒)?", "SPAN", text)


def told_now(language: Language) -> dict[str, str]:
    told = {name: write_text(group_of(name), language, SHANGHAI, NOW) for name in NAMES}
    for name in SAMPLES:
        if name not in PICTURED:
            for word in ("firing", "resolved"):
                told[f"sample/{name}-{word}"] = sample_text(name, language, resolved=word == "resolved")
    return told


def read_told(language: Language) -> dict[str, str]:
    parts = (TOLD / f"senders-{language}.txt").read_text(encoding="utf-8").split("=== ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in parts}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_senders_sent_reads_like_this(language: Language) -> None:
    assert told_now(language) == read_told(language)


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_body_is_short_usable_and_known_by_its_shape(name: str) -> None:
    group = group_of(name)
    check_usable(group)
    for language in ("en", "zh"):
        text = write_text(group, language, SHANGHAI, NOW)  # type: ignore[arg-type] - it is one of the two
        assert len(text.splitlines()) <= MAX_LINES
        assert len(text) <= MAX_CHARS
        assert not re.search(r"\{[A-Z$]|\*UNKNOWN\*", text)
    recorded: Any = json.loads((PAYLOADS / f"{name}.json").read_bytes())
    if recorded["hook"] != "generic" and not name.endswith("test"):
        headers = {"Content-Type": recorded["content_type"]}
        assert registry.SourceTable({}, SHANGHAI)["generic"](recorded["body"].encode(), headers).source == group.source


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(("test", "json-test"))])
def test_a_test_is_a_test(name: str) -> None:
    (alert,) = group_of(name).alerts
    assert alert.is_test
    assert write_text(group_of(name), "zh", SHANGHAI, NOW).startswith("📨")


@pytest.mark.parametrize("name", ["uptime-kuma/json-certificate", "uptime-kuma/form-certificate"])
def test_a_certificate_that_expires_is_an_alert_with_a_severity_and_its_address(name: str) -> None:
    (alert,) = group_of(name).alerts
    assert (alert.status, alert.labels["severity"]) == (AlertStatus.FIRING, "high")
    assert alert.title == "TLS page · server certificate localhost will expire in 4 days"
    assert alert.link == "https://localhost:18443/"
    later = json.loads(json.loads((PAYLOADS / "uptime-kuma/json-certificate.json").read_bytes())["body"])
    later["msg"] = later["msg"].replace("4 days", "14 days")
    (before,) = registry.SourceTable({})["generic/uptime-kuma"](json.dumps(later).encode(), {}).alerts
    assert (before.labels["severity"], before.fingerprint) == ("warning", alert.fingerprint)


def test_a_port_that_is_down_says_which() -> None:
    (alert,) = group_of("uptime-kuma/json-down-port").alerts
    assert (alert.labels["host"], alert.labels["port"]) == ("127.0.0.1", "18999")
    assert alert.state == "down"


if __name__ == "__main__":
    languages: tuple[Language, ...] = ("en", "zh")
    for each in languages:
        told = "\n".join(f"=== {name}\n{text}\n" for name, text in told_now(each).items())
        (TOLD / f"senders-{each}.txt").write_text(told, encoding="utf-8")
