import os

import pytest

from wxbridge.core.http import is_environment_used


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name == "NETRC":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_an_environment_that_names_nothing_is_not_asked() -> None:
    assert not is_environment_used()


@pytest.mark.parametrize("name", ["https_proxy", "HTTP_PROXY", "NETRC"])
def test_an_environment_that_names_a_proxy_or_passwords_is_asked(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert is_environment_used()


def test_a_file_of_passwords_is_read(tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / ".netrc").write_text("machine example.com login me password secret")
    assert is_environment_used()
