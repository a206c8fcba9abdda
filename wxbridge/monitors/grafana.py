"""Grafana: its addresses, getting in (by service-account token or by user and password), and asking its API.

What its pages and its /render are like is read from its source: shared/facts/rendering.md.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from wxbridge.config.types import reveal
from wxbridge.core.browser_tls import fetch_verified_key
from wxbridge.core.closing import Closing
from wxbridge.core.credentials import ApiAddress, SiteCredentials
from wxbridge.core.errors import BadBody, PictureError, PictureRefused
from wxbridge.core.http import ApiAnswer, ApiClient, ApiError, ApiErrorTexts, picture_error
from wxbridge.core.json_values import read_json

if TYPE_CHECKING:
    from wxbridge.config.types import GrafanaSettings

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of one answer of its API, unpacked. A dashboard with pictures in its texts may have some."""
_LOGIN_SECONDS = 15.0
_ACCOUNT_SECONDS = 5.0
"""For Grafana to tell whom it takes us for; where it does not, it tells so to the request itself."""
_ACCOUNT_TTL_SECONDS = 10.0
"""How long requests of the API take the account to be still ours. Pages and pictures have it looked at each time."""
_ORG_TTL_SECONDS = 600.0
"""How long an organisation that let us in is not asked again."""
ORG_HEADER = "X-Grafana-Org-Id"
"""Names the organisation of one request. `orgId=` in an address would switch the account to it for good."""
_PICTURE_PATH = re.compile(r"/render/(?:d-solo|d|dashboard-solo|dashboard)/[^\\%]+")
"""Where Grafana draws, less what could lead elsewhere."""
_ERROR_TEXTS = ApiErrorTexts(
    too_late="{server} did not answer {path} within {limit:.3g} s",
    untrusted="the certificate of {base} is not trusted: set {section}.ca",
    unreadable_ca="{section}.ca: cannot read {ca}: {reason}",
    too_large="Grafana's answer to {base}{path} is larger than {max_bytes:,} bytes",
)
_HIDE_CONTROLS = ("_dash.hideTimePicker=true", "_dash.hideVariables=true", "_dash.hideLinks=true")


@dataclass(frozen=True)
class OrgAddress:
    """An address without the organisation that it named, and that organisation; empty where it named none."""

    url: str
    org: str = ""


def take_org(url: str) -> OrgAddress:
    """Take the organisation (`orgId=2`) out of an address of Grafana's: it has to travel as a header."""
    parts = urlsplit(url)
    given = [part for part in parts.query.split("&") if part]
    orgs = [unquote(part.partition("=")[2]) for part in given if _param_name(part) == "orgId"]
    if not orgs:
        return OrgAddress(url)
    kept = "&".join(part for part in given if _param_name(part) != "orgId")
    org = next((each for each in orgs if each.isascii() and each.isdigit() and int(each)), "")
    return OrgAddress(urlunsplit(parts._replace(query=kept)), org)


class Grafana(Closing):
    """One Grafana: makes addresses into URLs, and knows how to get in. `close()` it in the end.

    Args:
        settings: Where it is, and how to get in.
        max_bytes: Of one answer of its API.
    """

    def __init__(self, settings: GrafanaSettings, *, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._settings = settings
        self._cookies: Mapping[str, str] = {}
        self._known_at = float("-inf")
        """When, on the event loop's clock, Grafana last took us for who we are."""
        self._entered_at: dict[str, float] = {}
        """Likewise, by organisation, when it last let us in there."""
        self._login_lock = asyncio.Lock()
        self._base = _normalize(settings.url)
        # The client itself has no credentials: each request brings those of the present session.
        address = ApiAddress("Grafana", "grafana", self._base, ca=settings.ca)
        self._client = ApiClient(address, max_bytes=max_bytes, texts=_ERROR_TEXTS)

    async def close(self) -> None:
        """Close the connections; another request opens them again."""
        await self._client.close()

    @property
    def base(self) -> str:
        """Its address without a slash at the end, with the sub-path where it has one."""
        return self._base

    @property
    def public_base(self) -> str:
        """Its address as people reach it, for links; without a slash at the end."""
        return self._settings.public_url or self._base

    def from_public(self, url: str) -> str:
        """Give an address below `grafana.public_url` as the bridge reaches it; others as they are."""
        public = self._settings.public_url
        return self._base + url.removeprefix(public) if public and SiteCredentials(public).covers(url) else url

    def owns(self, url: str) -> bool:
        """Whether a URL is below Grafana's own address (same scheme, host, port and sub-path).

        Only these are ever given credentials.
        """
        return SiteCredentials(self._base).covers(_normalize(url))

    def page_url(
        self,
        address: str,
        *,
        theme: str | None = None,
        kiosk: bool = True,
        timezone: str | None = None,
        hide_controls: bool = True,
    ) -> str:
        """Make the URL to shoot from a path below Grafana (`/d/uid/name?from=now-1h`) or a whole URL.

        `refresh=` is taken out (it doubles the wait), `kiosk` hides Grafana's menus, `hide_controls` the time
        picker, the variables and the links that kiosk mode leaves. Parameters already there are kept.
        A URL of another host is left as it is.
        """
        url = self._absolute(address)
        if not self.owns(url):
            return url
        parts = urlsplit(url)
        given = [part for part in parts.query.split("&") if part and _param_name(part) != "refresh"]
        keys = {_param_name(part) for part in given}
        wanted = []
        if kiosk and "/d-solo/" not in parts.path:
            wanted.append("kiosk")
            wanted += _HIDE_CONTROLS if hide_controls else ()
        if "/d-solo/" in parts.path:
            wanted.append("hideLogo=true")  # since 12 a card covers the panel's corner
        if theme:
            wanted.append(f"theme={theme}")
        if timezone:
            wanted.append(f"timezone={quote(timezone, safe='')}")
        given += [part for part in wanted if _param_name(part) not in keys]
        return urlunsplit(parts._replace(query="&".join(given), fragment=""))

    def _absolute(self, address: str) -> str:
        if urlsplit(address).scheme:
            return self.from_public(_normalize(address))
        if address.startswith("//"):
            return urlsplit(self._base).scheme + ":" + address
        path = "/" + address.lstrip("/")
        sub_path = urlsplit(self._base).path
        if sub_path and (path == sub_path or path.startswith((sub_path + "/", sub_path + "?"))):
            path = path[len(sub_path) :]  # already with the sub-path, as copied from a browser
        return self._base + path

    async def get_credentials(self, url: str, org: str = "") -> SiteCredentials | None:
        """Get the credentials for a URL: None unless it is Grafana's own, and there are any.

        With user and password this logs in the first time, and keeps the session in memory. Grafana is asked whom it
        takes us for: one with anonymous access answers an ended session or a wrong token just as well, as anybody.

        Args:
            url: Where they are to be sent.
            org: The organisation to be in; empty for the account's own.

        Raises:
            PictureError: the token was not taken, the login refused, we are not in that organisation, or something else
                than Grafana answers there (no retry); or Grafana could not be reached for a login (retry).
        """
        return await self._get_credentials(org, ttl=0.0) if self.owns(url) else None

    async def get_picture_credentials(self, url: str, org: str = "") -> SiteCredentials | None:
        """Get the credentials for the address of a picture: None unless Grafana's renderer draws there.

        Such an address may come from an alert, which must not lead us anywhere else in Grafana.

        Raises:
            PictureError: as `get_credentials`.
        """
        path = unquote(urlsplit(url).path.removeprefix(urlsplit(self._base).path))
        is_picture = _PICTURE_PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))
        return await self.get_credentials(url, org) if is_picture else None

    async def _get_credentials(self, org: str, *, ttl: float) -> SiteCredentials:
        headers = {ORG_HEADER: org} if org else {}
        if self._settings.token is not None:
            headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
        elif self._settings.user is None:
            return SiteCredentials(self._base, headers=headers)
        auth = SiteCredentials(self._base, headers=headers, cookies=self._cookies)
        if self._settings.user is not None and not self._cookies:
            await self._log_in(stale=self._cookies)
        elif asyncio.get_running_loop().time() >= self._known_at + ttl and not await self._is_known(auth):
            if self._settings.token is not None:
                raise self.login_error("HTTP 401")
            await self._log_in(stale=auth.cookies)
        auth = replace(auth, cookies=self._cookies, keep=self._keep)
        if org:
            await self._enter_org(org, auth)
        return auth

    async def _enter_org(self, org: str, auth: SiteCredentials) -> None:
        """Make sure that the header leads there: a token stays in its own organisation, and is not told so.

        Raises:
            PictureError: Grafana says that we are in another one, or in none.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._entered_at.get(org, float("-inf")) + _ORG_TTL_SECONDS:
            return
        try:
            async with asyncio.timeout(_ACCOUNT_SECONDS):
                answer = await self._send("/api/org", auth)
            found = read_json(answer.body) if answer.status < 500 else None  # noqa: PLR2004 - HTTP
        except (ApiError, BadBody, TimeoutError):
            return  # what comes next tells better what is wrong
        own = str(found["id"]) if isinstance(found, dict) and "id" in found else ""
        if own and own != org and self._settings.token is not None:
            raise PictureRefused(
                f"Grafana's token is of organisation {own}, and does not open {org}: "
                "for several, give grafana.user and grafana.password of somebody who is in them"
            )
        if own != org and answer.status in (200, 401, 403, 404):
            raise PictureRefused(f"Grafana has no organisation {org} that its account is in (HTTP {answer.status})")
        self._entered_at[org] = clock()

    async def _is_known(self, auth: SiteCredentials) -> bool:
        """Whether Grafana knows who we are; it does where it does not answer, which others then tell.

        `/api/user` alone says 401 to whoever is let in as anybody (measured on 9.4 and 12.4). An old API key is no
        user: 404, which others may answer too.

        Raises:
            PictureError: what welcomes us there is no Grafana (no retry).
        """
        plain = replace(auth, headers={name: value for name, value in auth.headers.items() if name != ORG_HEADER})
        try:
            async with asyncio.timeout(_ACCOUNT_SECONDS):
                answer = await self._send("/api/user", plain)
        except (ApiError, TimeoutError):
            return True
        if answer.status == 401:  # noqa: PLR2004 - HTTP
            return False
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            _check_json(answer, "/api/user")
        self._known_at = asyncio.get_running_loop().time()
        return True

    async def renew(self, auth: SiteCredentials | None) -> SiteCredentials | None:
        """Log in again after `auth` was not accepted; None where there is nothing to renew.

        Raises:
            PictureError: as `get_credentials`.
        """
        if auth is None or not auth.cookies:
            return None
        await self._log_in(stale=auth.cookies)
        return replace(auth, cookies=self._cookies)

    def login_error(self, detail: str) -> PictureError:
        """Make the error for a login page where credentials were given, or are needed."""
        if self._settings.token is not None:
            cause = "it did not take grafana.token: has it expired, may it see this?"
        elif self._settings.user is not None:
            cause = f"it asked user {self._settings.user} to log in again, right after a login"
        else:
            cause = "set grafana.token, or grafana.user and grafana.password"
        return PictureError(f"Grafana wants a login: {cause} ({detail})")

    async def ask(self, path: str, *, deadline: float, org: str = "", body: Any = None) -> ApiAnswer:
        """Ask its API for something, with our credentials; a session that has expired is renewed once.

        Args:
            path: Below its address, with a slash in front.
            deadline: Seconds for all of it.
            org: The organisation to be in; empty for the account's own.
            body: A question to be posted as JSON; without one it is a GET.

        Returns:
            The answer, whatever its status; one that leads to the login page has status 401.

        Raises:
            PictureError: as `get_credentials`; or it was out of reach or too late (retry), or too large (no retry).
        """
        try:
            async with self._client.within(deadline, path):
                auth = await self._get_credentials(org, ttl=_ACCOUNT_TTL_SECONDS)
                answer = await self._send(path, auth, body)
                if answer.status == 401 and (renewed := await self.renew(auth)) is not None:  # noqa: PLR2004 - HTTP
                    answer = await self._send(path, renewed, body)
                return answer
        except ApiError as error:
            raise picture_error(error) from None

    async def _send(self, path: str, auth: SiteCredentials | None, body: Any = None) -> ApiAnswer:
        headers = auth.request_headers if auth else None
        answer = await self._client.ask("GET" if body is None else "POST", path, headers=headers, body=body)
        if auth and auth.cookies == self._cookies:
            # Grafana gives a session another name from time to time, and forgets the old one.
            self._keep({name: answer.cookies.get(name, value) for name, value in auth.cookies.items()})
        is_login = 300 <= answer.status < 400 and "/login" in answer.location  # noqa: PLR2004 - HTTP
        return replace(answer, status=401) if is_login else answer

    async def fetch_trusted_key(self) -> str | None:
        """Get the key of Grafana's certificate, verified with `grafana.ca`; None where the system's authorities do."""
        context = await self.tls()
        parts = urlsplit(self._base)
        if context is None or parts.scheme != "https":
            return None
        return await fetch_verified_key(parts.hostname or "", parts.port or 443, context)

    def _keep(self, cookies: Mapping[str, str]) -> None:
        if cookies:
            self._cookies = dict(cookies)

    async def _log_in(self, *, stale: Mapping[str, str]) -> None:
        async with self._login_lock:
            if self._cookies != stale:
                return  # somebody else has renewed it meanwhile
            self._cookies = {}
            self._cookies = await self._post_login()
            self._known_at = asyncio.get_running_loop().time()

    async def _post_login(self) -> Mapping[str, str]:
        user, password = self._settings.user, self._settings.password
        body = {"user": user, "password": reveal(password)}
        try:
            async with asyncio.timeout(_LOGIN_SECONDS):
                answer = await self._client.ask("POST", "/login", body=body)
        except TimeoutError:
            raise PictureError(f"Grafana at {self._base} did not answer a login in time", retry=True) from None
        except ApiError as error:
            raise picture_error(error) from None
        _check_login(answer, str(user))
        if not answer.cookies:
            raise PictureError(f"Grafana at {self._base} took the login but gave no session: check grafana.url")
        _check_json(answer, "/login")
        return answer.cookies

    async def tls(self) -> ssl.SSLContext | None:
        """Trust `grafana.ca` besides the system's authorities; None where there is no such file.

        Raises:
            PictureError: the file cannot be read.
        """
        try:
            return await self._client.tls()
        except ApiError as error:
            raise picture_error(error) from None


def _check_login(answer: ApiAnswer, user: str) -> None:
    status = answer.status
    if status == 401:  # noqa: PLR2004 - HTTP
        raise PictureError(f"Grafana refused user {user}: check grafana.user and grafana.password")
    if status >= 400:  # noqa: PLR2004 - HTTP
        raise PictureError(
            f"Grafana answered the login of user {user} with HTTP {status}",
            retry=status >= 500 or status == 429,  # noqa: PLR2004 - HTTP
        )
    if status >= 300:  # noqa: PLR2004 - HTTP
        raise PictureError(f"Grafana's login redirects to {answer.location}: write its real address as grafana.url")


def _check_json(answer: ApiAnswer, path: str) -> None:
    """Refuse a page where Grafana's own API is to answer: a hotel's, or a proxy's.

    Raises:
        PictureError: no retry.
    """
    try:
        is_told = isinstance(read_json(answer.body), dict)
    except BadBody:
        is_told = False
    if not is_told:
        raise PictureError(f"Grafana's answer to {path} is no JSON: check grafana.url")


def _param_name(part: str) -> str:
    return unquote(part.partition("=")[0])


def _normalize(url: str) -> str:
    """Write scheme and host in lower case and leave out the default port and any user, as browsers do."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        raise PictureError(f"{parts.scheme}://{parts.hostname} has an impossible port") from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != {"http": 80, "https": 443}.get(scheme):
        host = f"{host}:{port}"
    return urlunsplit((scheme, host, parts.path, parts.query, parts.fragment))
