from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from wxbridge.config.types import (
    GrafanaSettings,
    Pace,
    Rate,
    Secret,
    Section,
    TargetSettings,
    WebSource,
    parse_duration,
    parse_rate,
)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("5min", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("7d", 604800),
        ("2w", 1209600),
        ("0s", 0),
        ("1.5h", 5400),
        ("250ms", 0.25),
        (timedelta(minutes=2), 120),
    ],
)
def test_a_duration_is_read_as_people_write_it(written: object, seconds: float) -> None:
    assert parse_duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "written", ["", "5", 5, "m", "5x", "-5m", "5m!", "1h-", "1 hour", "inf", None, True, [], "1e3s"]
)
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="write one like 30s, 5m, 1h30m or 7d"):
        parse_duration(written)


@pytest.mark.parametrize("written", ["1000000000d", "9" * 400 + "d"])
def test_a_duration_beyond_a_lifetime_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration(written)


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    written = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration(written) == days * 86400 + hours * 3600 + minutes * 60 + seconds


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("1/s", Rate(1, 1)),
        ("30/min", Rate(30, 60)),
        ("30/m", Rate(30, 60)),
        ("20/30s", Rate(20, 30)),
        ("5 / hour", Rate(5, 3600)),
        ("600", Rate(600, 86400)),
        (600, Rate(600, 86400)),
    ],
)
def test_a_rate_is_read_as_people_write_it(written: object, rate: Rate) -> None:
    assert parse_rate(written) == rate


@pytest.mark.parametrize("written", ["0", "0/s", "-1/s", "1/0s", "1/", "x", "", "1/fortnight", "1.5/s", None, True])
def test_what_is_no_rate_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="write one like 1/s, 30/min or 600"):
        parse_rate(written)


def test_a_bare_number_counts_a_day_and_none_means_as_fast_as_it_goes() -> None:
    class Room(TargetSettings):
        pass

    assert Room(channel="wechat", pace={"day": 600}).pace == Pace(day=Rate(600, 86400.0))
    assert Room(channel="wechat", pace="none").pace == Pace()


def test_a_target_may_have_one_fallback_or_several() -> None:
    assert TargetSettings(channel="x", fallback="a").fallback == ("a",)
    assert TargetSettings(channel="x", fallback=["a", "b"]).fallback == ("a", "b")


class Vault(Section):
    token: Secret
    spare: Secret | None = None


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    vault = Vault.model_validate({"token_file": str(tmp_path / "token"), "spare_file": str(tmp_path / "token")})
    assert vault.token == SecretStr("s3cret")
    assert vault.spare == SecretStr("s3cret")


def test_a_secret_given_twice_is_a_mistake_that_does_not_tell_it(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret-in-the-file")
    with pytest.raises(ValidationError, match="both `token` and `token_file` are given") as caught:
        Vault.model_validate({"token": "s3cret-itself", "token_file": str(tmp_path / "token")})
    assert "s3cret" not in "".join(item["msg"] for item in caught.value.errors())


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValidationError, match=r"`token_file`: cannot read .*token"):
        Vault.model_validate({"token_file": str(path)})


def test_a_secret_is_in_no_repr_and_in_no_schema() -> None:
    vault = Vault(token=SecretStr("s3cret"))
    assert "s3cret" not in f"{vault!r} {vault} {vault.model_dump()} {vault.model_dump_json()}"
    properties = Vault.model_json_schema()["properties"]
    assert {"token", "token_file", "spare_file"} <= set(properties)


def test_a_settings_value_does_not_change_once_read() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Vault(token=SecretStr("a")).token = SecretStr("b")


@pytest.mark.parametrize("url", ["http://grafana:3000", "https://example.com/grafana/", "https://[::1]:3000//"])
def test_an_address_is_kept_without_its_last_slash(url: str) -> None:
    assert GrafanaSettings(url=url).url == url.rstrip("/")


@pytest.mark.parametrize("url", ["grafana:3000", "ftp://grafana", "http://", "http:///d/x", ""])
def test_an_address_without_http_or_host_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="url"):
        GrafanaSettings(url=url)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"token": "t", "user": "u", "password": "p"}, "both `token` and `user` are given"),
        ({"user": "u"}, "`user` and `password` belong together"),
        ({"password": "p"}, "`user` and `password` belong together"),
    ],
)
def test_a_web_service_is_entered_in_one_way(keys: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WebSource.model_validate({"url": "http://prometheus:9090", **keys})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://prometheus:9090", "http://prometheus:9090"),
        ("http://reader:s3cret@prometheus:9090/below", "http://prometheus:9090/below"),
        ("https://grafana/a@b", "https://grafana/a@b"),
    ],
)
def test_an_address_is_shown_without_the_password_that_stands_in_it(url: str, shown: str) -> None:
    assert WebSource.model_validate({"url": url}).shown == shown
