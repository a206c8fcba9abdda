"""jobs.yaml with the channels over HTTP: what it may say, and that no secret shows in what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.wecom import FakeWecom
from tests.integration.channels.wecom.wecom_harness import PATIENT
from wxbridge import registry
from wxbridge.channels import ChannelContext, ChannelPlugin, dingtalk
from wxbridge.channels.wecom import app, robot
from wxbridge.config.schema import Config, load
from wxbridge.core.database import Database, sqlite_url
from wxbridge.core.errors import ConfigError
from wxbridge.core.model import Text

PLUGINS: dict[str, ChannelPlugin] = {
    "wecom_robot": robot.PLUGIN,
    "wecom_app": app.PLUGIN,
    "dingtalk": dingtalk.PLUGIN,
}


@pytest.fixture
def read(config_file: Callable[[str], Path]) -> Callable[..., Config]:
    plugins = registry.plugin_settings()
    return lambda text, **variables: load(config_file(text), plugins, variables)


EXAMPLE = """\
wecom: {corp_id: ww1, base_url: "URL"}
targets:
  ops-robot: {channel: wecom_robot, key: "${KEY}", base_url: "URL"}
  big-room: {channel: wecom_robot, keys: ["${KEY}", b], format: markdown, mention_mobiles: 13800001111}
  disks: {channel: wecom_app, secret: "${DISKS}", agent_id: 1000002, to: 'u1|u2', fallback: ops-robot}
  nets: {channel: wecom_app, corp_id: ww2, secret_file: nets.secret, agent_id: "1000003", party: [1, 2], tag: 3}
  tos: {channel: wecom_app, secret: "${DISKS}", agent_id: 1000002, to: from-alert, format: markdown}
  ding: {channel: dingtalk, access_token: abc, secret: SECx}
  ding2: {channel: dingtalk, url: "https://oapi.dingtalk.com/robot/send?access_token=abc", format: text}
routes:
  - {match: {team: disks}, to: [disks]}
  - {to: [ops-robot]}
"""


def test_every_way_of_writing_a_target_is_read(read, tmp_path) -> None:
    (tmp_path / "nets.secret").write_text("s2\n")
    config = read(EXAMPLE.replace("URL", "http://10.0.0.1"), KEY="k1", DISKS="s1")
    found = app.find_application(config.targets["nets"], config.section("wecom"))
    assert (found.corp_id, found.secret, found.agent_id) == ("ww2", "s2", 1000003)
    assert config.targets["nets"].party == ("1", "2")
    assert len(config.targets["big-room"].robots()) == 2
    for secret in ("k1", "s1", "s2", "SECx", "abc"):
        assert secret not in repr(config.targets).replace("access_token", "")


async def test_a_target_from_jobs_yaml_sends(read, tmp_path) -> None:
    (tmp_path / "nets.secret").write_text("s2\n")
    async with FakeWecom() as wecom:
        wecom.add_application("ww1", "s1", 1000002, ["u1", "u2"])
        config = read(EXAMPLE.replace("URL", wecom.url), KEY="k1", DISKS="s1")
        database = Database.open(sqlite_url(tmp_path / "state"))

        async def tell(_: str) -> None: ...

        context = ChannelContext(config.section("wecom"), tmp_path, database, {}, tell)
        channel = app.AppChannel(context, timing=PATIENT)
        await channel.send(config.targets["disks"].address(), Text("x"))
        await channel.close()
        database.close()
        assert wecom.messages[0].to == ("u1", "u2")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{channel: wecom_robot, key: "https://x.example/send?k=HIDDEN"}', "?key="),
        ("{channel: wecom_robot, keys: [HIDDEN, HIDDEN]}", "twice"),
        ("{channel: wecom_robot, keys: [HID DEN]}", "not one"),
        ("{channel: wecom_robot, key: {a: HIDDEN}}", "key"),
        ("{channel: wecom_app, secret: HIDDEN, to: u, agent_id: ops}", "agent_id"),
        ("{channel: wecom_app, secret: HIDDEN}", "needs `to:`"),
        ('{channel: dingtalk, url: "https://x.example/?HIDDEN"}', "access_token="),
        ("{channel: dingtalk, url: [HIDDEN]}", "url"),
        ("{channel: dingtalk, access_token: HIDDEN, url: HIDDEN}", "one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_without_the_secret(read, line, why) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"targets:\n  a: {line}\n")
    text = str(caught.value)
    assert "jobs.yaml:2" in text
    assert why in text
    assert "HIDDEN" not in text
