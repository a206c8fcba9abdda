"""The samples of `wxbridge alert test`: each is what its source reads as an alert."""

from __future__ import annotations

import pytest

from tests.unit.alerts.sources.source_checks import Parse, check_usable
from wxbridge.alerts.sources import by_content, generic, host, openfalcon
from wxbridge.cli import sample_alerts as samples
from wxbridge.core.model import AlertStatus

HOOKS: dict[str, Parse] = {
    "grafana": by_content.parse_grafana,
    "alertmanager": by_content.parse_alertmanager,
    "openfalcon": openfalcon.parse,
    "generic": generic.parse,
    "host": host.parse,
}


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_is_an_alert_of_its_source(name: str) -> None:
    sample = samples.SAMPLES[name]
    group = HOOKS[sample.hook](sample.body(), {"Content-Type": sample.content_type})
    check_usable(group)
    assert group.source == sample.hook
    assert group.alerts[0].status is AlertStatus.FIRING
    assert group.alerts[0].title
    assert group.alerts[0].values or name == "alertmanager"


def test_the_samples_with_several_alerts_also_tell_a_resolution() -> None:
    for name in ("grafana-unified", "alertmanager"):
        sample = samples.SAMPLES[name]
        last = HOOKS[sample.hook](sample.body(), {}).alerts[-1]
        assert last.status is AlertStatus.RESOLVED
        assert last.ends_at
        assert last.starts_at
        assert last.ends_at > last.starts_at


def test_a_sample_posted_again_is_news() -> None:
    for name in ("grafana-unified", "alertmanager"):
        sample = samples.SAMPLES[name]
        first, second = (HOOKS[sample.hook](sample.body(), {}) for _ in range(2))
        assert first.alerts[0].fingerprint != second.alerts[0].fingerprint
