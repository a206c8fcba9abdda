"""jobs.yaml: what of ilink is taken, and what is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wxbridge import registry
from wxbridge.config.schema import find_missing_parts, load
from wxbridge.core.errors import ConfigError
from wxbridge.parts import all_targets

CONFIG = """\
server: {listen: "127.0.0.1:0"}
ilink: {people: [张三, 李四]}
targets:
  zhang: {channel: ilink, person: 张三}
routes: [{to: [zhang]}]
"""


def test_a_person_is_a_target_and_may_be_the_master(config_file: Callable[[str], Path]) -> None:
    config = load(config_file(CONFIG), registry.plugin_settings(), {})
    assert config.targets["zhang"].lane() == "ilink:张三"
    assert all_targets(config)["master"].lane() == "ilink:张三", "the first, where nobody is named"
    named = load(config_file(CONFIG.replace("李四]", "李四], master: 李四")), registry.plugin_settings(), {})
    assert all_targets(named)["master"].lane() == "ilink:李四"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("person: 张三", "room: 技术讨论群", 4, "no rooms"),
        ("person: 张三", "person: 王五", 4, "ilink.people: 王五"),
        (", person: 张三", "", 4, "`person` is missing"),
        ("[张三, 李四]", "[张三, 李四], url: 'http://example.com'", 2, "in the clear"),
        ("[张三, 李四]", "[张三], master: 王五", 2, "none of `people`"),
    ],
)
def test_what_cannot_be_is_told_with_its_line(
    config_file: Callable[[str], Path], old: str, new: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load(config_file(CONFIG.replace(old, new)), registry.plugin_settings(), {})
    assert f"jobs.yaml:{line}:" in str(error.value)
    assert words in str(error.value)


def test_the_gateways_master_comes_before_that_of_ilink(config_file: Callable[[str], Path]) -> None:
    gateway = 'wechat: {endpoint: "127.0.0.1:1", token: t, master: 主人}\n'
    config = load(config_file(gateway + CONFIG), registry.plugin_settings(), {})
    assert all_targets(config)["master"].lane() == "wechat"


def test_the_master_may_be_named_where_targets_are(config_file: Callable[[str], Path]) -> None:
    text = CONFIG.replace("routes:", "operators: [master]\nroutes:")
    assert load(config_file(text), registry.plugin_settings(), {}).operators == ("master",)


def test_a_master_alone_is_somebody_to_tell(config_file: Callable[[str], Path]) -> None:
    text = "ilink: {people: [张三], master: 张三}\nroutes: []\n"
    assert find_missing_parts(load(config_file(text), registry.plugin_settings(), {})) == []
