"""The samples of `wxbridge alert test`: each is what its source reads as an alert."""

from __future__ import annotations

import re

import pytest

from tests.support import REPOSITORY
from tests.unit.alerts.sources.source_checks import check_usable
from wxbridge.alerts.sources import generic
from wxbridge.cli import sample_alerts as samples
from wxbridge.cli import sample_senders as senders
from wxbridge.core.model import AlertStatus


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_a_sample_is_an_alert_of_its_source_firing_and_resolved(name: str) -> None:
    sample = samples.SAMPLES[name]
    firing, resolved = sample.parse(), sample.parse(resolved=True)
    for group in (firing, resolved):
        check_usable(group)
        assert group.source == sample.hook.rpartition("/")[2]
        assert all(alert.title for alert in group.alerts)
    assert firing.alerts[0].status is AlertStatus.FIRING
    assert {alert.status for alert in resolved.alerts} == {AlertStatus.RESOLVED}
    once = ("grafana", "grafana-unified", "alertmanager", "mail")
    assert name in once or resolved.alerts[0].fingerprint == firing.alerts[0].fingerprint


@pytest.mark.parametrize("name", senders.BY_MAPPING)
def test_a_body_of_theirs_is_known_by_its_shape_too(name: str) -> None:
    sample = samples.SAMPLES[name]
    for resolved in (False, True):
        body = sample.body(resolved=resolved)
        headers = {"Content-Type": sample.content_type}
        assert generic.parse(body, headers) == generic.parsers({})[sample.hook](body, headers)


def test_there_is_a_sample_of_every_sender_that_the_documentation_names() -> None:
    page = (REPOSITORY / "docs" / "sources.md").read_text(encoding="utf-8")
    table = page.partition("| Sender | Address |")[2].partition("\n\n")[0]
    named = re.findall(r"\]\(#([\w-]+)\)", table)
    others = {"machines": "host", "scripts": "generic", "a-mapping-of-your-own": "generic", "mails": "mail"}
    others |= {"open-falcon": "openfalcon", "tools-that-know-a-robot": "generic"}
    clouds = {"aliyun", "tencent", "huawei"}
    wanted = {others.get(name, name) for name in named} - {"clouds"} | (clouds if "clouds" in named else set())
    assert wanted <= set(samples.SAMPLES)
    assert len(named) > 10


def test_the_samples_with_several_alerts_also_tell_a_resolution() -> None:
    for name in ("grafana-unified", "alertmanager"):
        last = samples.SAMPLES[name].parse().alerts[-1]
        assert last.status is AlertStatus.RESOLVED
        assert last.ends_at
        assert last.starts_at
        assert last.ends_at > last.starts_at


def test_a_sample_posted_again_is_news() -> None:
    for name in ("grafana-unified", "alertmanager"):
        first, second = (samples.SAMPLES[name].parse() for _ in range(2))
        assert first.alerts[0].fingerprint != second.alerts[0].fingerprint
