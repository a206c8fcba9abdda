"""What the console's page shows of a configuration: a file that people could have written, without its secrets."""

from __future__ import annotations

from collections.abc import Callable

from wxbridge.config.schema import Config
from wxbridge.web.console.pages.configuration import write_masked

FULL = """\
targets:
  ops: {channel: wechat, room: Ops, pace: none}
  dev: {channel: wechat, room: Dev, pace: {chat: 1/s}}
wechat: {endpoint: "127.0.0.1:9", token: gate-token, pace: none}
host: {every: 2s, for: 10s, cpu: {above: 80, for: 5m}}
grafana: {url: "http://grafana.example"}
graphs:
  kafka: {url: /d/kafka, from: now-6h}
routes:
  - {to: ops, continue: true, repeat_interval: 1h30m}
jobs:
  - {id: a, every: 1h, kind: text, text: x, to: ops, misfire_grace: 500ms}
"""


def test_a_configuration_is_shown_as_a_file_that_reads_the_same(read: Callable[..., Config]) -> None:
    shown = write_masked(read(FULL))
    assert write_masked(read(shown)) == shown
    for line in (
        "  for: 10s", "    for: 5m", "  every: 2s", "    from: now-6h", "  continue: true", "  repeat_interval: 90m",
        "  misfire_grace: 500ms", "  every: 1h", "  pace: none", "    pace: none", "      chat: 1/s",
    ):  # fmt: skip
        assert f"{line}\n" in shown
    assert "gate-token" not in shown
    assert "token: '**********'" in shown
