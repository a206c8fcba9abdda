"""Named tokens: what each role may do, whose name stands beside it, and hashes in the file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest

from tests.support import free_port
from wxbridge import app
from wxbridge.config.schema import Config
from wxbridge.core.errors import ConfigError
from wxbridge.core.token_hash import TokenCheck, hash_token

TOKENS = {
    "小李": ("read", "token-of-xiao-li-1"),
    "老王": ("operate", "token-of-lao-wang-2"),
    "root": ("admin", "token-of-root-3"),
}
SILENCE = {"matchers": ["a=b"], "duration": "1h", "created_by": "somebody else"}


@pytest.fixture
async def url(read: Callable[..., Config]) -> AsyncIterator[str]:
    named = ", ".join(
        f'{name}: {{role: {role}, hash: "{hash_token(token)}"}}' for name, (role, token) in TOKENS.items()
    )
    config = read(
        f"server: {{listen: '127.0.0.1:{free_port()}', tokens: {{{named}}}}}\ntargets: {{a: {{channel: console}}}}\n"
        "operators: [a]\nroutes: [{to: a}]\n"
    )
    async with app.running(config) as bridge:
        yield bridge.url


async def ask(url: str, method: str, path: str, token: str | None, **kwargs: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, headers=headers, **kwargs) as answer,
    ):
        body = await answer.json() if answer.content_type == "application/json" else await answer.text()
        return answer.status, body


async def test_each_role_may_what_it_says(url: str) -> None:
    for name, token in [(None, None), (None, "a wrong one"), *((name, token) for name, (_, token) in TOKENS.items())]:
        role = TOKENS[name][0] if name else None
        looked, _ = await ask(url, "GET", "/api/alerts", token)
        assert looked == (200 if role else 401)
        assert (await ask(url, "GET", "/metrics", token))[0] == looked
        done, answer = await ask(url, "POST", "/api/silences", token, json=SILENCE)
        assert done == {None: 401, "read": 403}.get(role, 201)
        if done == 201:
            assert answer["created_by"] == name, "the token's name, whatever was written"
        elif role:
            assert name in answer["error"]
        posted, _ = await ask(url, "POST", "/hooks/generic", token, json={"title": "x"})
        assert posted == {None: 401, "read": 403}.get(role, 202)
        entered, _ = await ask(url, "GET", "/login", token)
        assert entered == {None: 401, "read": 403, "operate": 403}.get(role, 200)


@pytest.mark.parametrize("name", TOKENS)
async def test_the_console_knows_the_owner_and_the_role(url: str, name: str) -> None:
    role, token = TOKENS[name]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await session.post(f"{url}/console/sign-in", data={"token": token})
        async with session.get(f"{url}/console/alerts") as page:
            assert page.status == 200
            text = await page.text()
        csrf = text.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"csrf": csrf, "matchers": "a=b", "for": "1h", "by": "somebody else", "comment": "x"}
        async with session.post(f"{url}/console/configuration/reload", data=form, allow_redirects=False) as answer:
            assert answer.status == {"admin": 303}.get(role, 403)


def test_a_hash_is_of_its_token_alone_and_never_twice_the_same() -> None:
    first, second = hash_token("token-of-xiao-li-1"), hash_token("token-of-xiao-li-1")
    assert first != second
    check = TokenCheck(hashed=first)
    assert [check.matches(shown) for shown in (b"token-of-xiao-li-1", b"other", b"", b"token-of-xiao-li-1")] == [
        True, False, False, True,
    ]  # fmt: skip
    assert "xiao" not in first


@pytest.mark.parametrize(
    "token",
    ["{role: read}", "{role: boss, token: x}", "{role: read, token: x, hash: y}", "{role: read, hash: md5:abc}",
     "{role: admin, token: ''}"],
)  # fmt: skip
def test_a_named_token_that_is_none_is_refused(read: Callable[..., Config], token: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.tokens"):
        read(f"server: {{tokens: {{a: {token}}}}}\n")


def test_beyond_loopback_somebody_must_be_admin(read: Callable[..., Config]) -> None:
    with pytest.raises(ConfigError, match="would let anybody in"):
        read("server: {listen: '0.0.0.0:8080', tokens: {a: {role: read, token: x}}}\n")
    assert read("server: {listen: '0.0.0.0:8080', tokens: {a: {role: admin, token: x}}}\n")
