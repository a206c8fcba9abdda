"""What several test modules share besides fixtures."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parent.parent

SMALL = """\
server: {listen: "127.0.0.1:0"}
wechat: {endpoint: "127.0.0.1:9", token: a-gateway-token, master: boss}
targets:
  ops: {channel: wechat, room: Ops}
routes:
  - {to: [ops]}
"""


def payload_bytes(name: str) -> bytes:
    """A sample of what a monitor sends: `grafana/legacy_ok`."""
    return (REPOSITORY / "tests" / "payloads" / f"{name}.json").read_bytes()
