"""An HTTP client for Keystone's token validation."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog

from backup_sharing.errors import IdentityUnavailable
from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import Verdict
from backup_sharing.identity.keystone_answer import NotUnderstood, expiry_of, verdict_of
from backup_sharing.identity.roles import RoleRules

_MOST_BYTES = 1 << 20
"""Maximum bytes of a response; responses without the service catalogue have a few thousand."""

_REFUSALS = (400, 413, 414, 422, 431)
"""HTTP statuses with which Keystone, or a proxy before it, refuses a request because of the token."""

_ASK = {"Accept": "application/json", "OpenStack-Identity-Access-Rules": "1.0"}
"""Headers of a validation. Keystone shows tokens with access rules only to services that say that they enforce them."""

_RENEW_BEFORE = 60.0
"""Seconds before its expiry at which the service's own token is renewed."""


OUTCOMES = ("answered", "failed", "unanswered", "not_understood")
"""Outcomes of a request: an answer, a status of 500 or above, no answer, or one that is not valid HTTP or too long."""


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The service user with whose rights tokens are validated."""

    name: str
    password: str
    domain: str
    project: str
    project_domain: str

    def __repr__(self) -> str:
        """Return the name without the password."""
        return f"ServiceUser({self.name!r})"


class _Refused(Exception):
    """Keystone refuses the token that authenticates the request."""


class _Forbidden(NotUnderstood):
    """The user of the token that authenticates the request may not validate tokens."""


class _Unanswered(Exception):
    """The connection failed, the request timed out, or the status is 5xx; the message says which."""


class KeystoneClient:
    """Validates tokens with the rights of a service user or, without one, with the rights of the token itself."""

    def __init__(
        self,
        url: str,
        user: ServiceUser | None,
        breaker: Breaker,
        rules: RoleRules,
        *,
        timeout: float,
        connections: int,
        tls: ssl.SSLContext | None = None,
        observe: Callable[[str, float], None] | None = None,
    ) -> None:
        """Prepare the client; the first request connects.

        Args:
            url: URL of Keystone, with or without ``/v3``.
            user: service user with whose rights to validate; None: each token validates itself.
            breaker: circuit breaker for Keystone.
            rules: mapping of Keystone's roles.
            timeout: seconds per request; the service user's login is a request of its own.
            connections: maximum concurrent connections.
            tls: verifies Keystone's certificate; None: with the CAs of the system.
            observe: called after each request with its outcome, one of `OUTCOMES`, and its seconds.
        """
        self._observe = observe
        base = url.rstrip("/")
        self._tokens_url = f"{base if base.endswith('/v3') else base + '/v3'}/auth/tokens?nocatalog=1"
        self._user = user
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self.breaker = breaker
        """Circuit breaker for Keystone."""
        self._rules = rules
        self._connections = connections
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None
        self._own: tuple[str, float] | None = None
        """The service's own token and its expiry."""
        self._login = asyncio.Lock()
        self._problem: str | None = None
        self._log = structlog.get_logger("backup_sharing.identity")

    @property
    def problem(self) -> str | None:
        """Why the last request failed; None: it did not, or there was none yet. Has no token."""
        return self._problem

    async def validate(self, token: str, service_token: str = "") -> Verdict:
        """Validate a token. With an accepted ``service_token`` the token may have expired, as long as Keystone allows.

        A status that refuses the request as such (400, 413, 414, 422, 431) refuses the token. Other errors say nothing
        about the token; only failures of Keystone itself (`_Unanswered`) lead to a trial, see `Breaker`.

        Raises:
            IdentityUnavailable: Keystone could not be reached, or its response is not valid.
        """
        await self._try()
        if self.breaker.is_open:
            raise IdentityUnavailable()
        try:
            verdict = await self._validated(token, service_token)
        except _Unanswered as problem:
            self._problem = str(problem)
            self._log.error("keystone", problem=str(problem))
            self.breaker.failed()
            await self._try()
        except NotUnderstood as problem:
            self._problem = str(problem)
            self._log.error("keystone", problem=str(problem))
        else:
            self._problem = None
            return verdict
        raise IdentityUnavailable()

    async def _try(self) -> None:
        """Run a trial of Keystone if one is due."""
        if not self.breaker.takes_trial():
            return
        answered = False
        try:
            answered = await self._answers()
        finally:
            self.breaker.tried(answered=answered)

    async def _answers(self) -> bool:
        """Whether Keystone answers a request without any caller's data."""
        try:
            await self._check()
        except (_Unanswered, NotUnderstood) as problem:
            self._problem = str(problem)
            self._log.error("keystone", problem=f"left alone: {problem}")
            return False
        self._problem = None
        return True

    async def check(self) -> str:
        """Return why Keystone cannot be used, or the service user cannot log in; empty if all is well."""
        try:
            await self._check()
            if self._own is not None and not await self._is_good(self._own[0]):
                return "refuses the token that it has just given to the service user"
        except (_Unanswered, NotUnderstood) as problem:
            return str(problem)
        return ""

    async def _check(self) -> None:
        """Make requests without any caller's data; a service user whose own token is refused logs in again.

        Raises:
            _Unanswered, NotUnderstood: Keystone cannot be used.
        """
        if self._user is None:
            made_up = secrets.token_urlsafe(32)
            with suppress(_Refused):
                await self._ask(made_up, made_up)
            return
        async with self._login:
            own = await self._own_token(self._user, refused=None)
            if not await self._is_good(own):
                await self._own_token(self._user, refused=own)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _validated(self, token: str, service_token: str) -> Verdict:
        if self._user is None:
            return await self._validated_by_itself(token, service_token)
        own = await self._token_to_ask_with(self._user, refused=None)
        allow_expired = bool(service_token)
        try:
            return await self._ask(own, token, allow_expired=allow_expired)
        except _Refused:
            if await self._is_good(own):
                return Verdict(None)
        # The service's token was revoked, or its signing key was rotated away: retry with a new token.
        own = await self._token_to_ask_with(self._user, refused=own)
        try:
            return await self._ask(own, token, allow_expired=allow_expired)
        except _Refused:
            raise NotUnderstood("the service's own token is refused") from None

    async def _validated_by_itself(self, token: str, service_token: str) -> Verdict:
        """Validate a token with its own rights, or with those of the service token: an expired token has none."""
        try:
            if service_token:
                try:
                    return await self._ask(service_token, token, allow_expired=True)
                except _Forbidden:
                    self._log.warning("the service token may not validate tokens", expected="the role service")
            return await self._ask(token, token)
        except _Refused:
            return Verdict(None)

    async def _is_good(self, own: str) -> bool:
        """Whether Keystone accepts the service's own token.

        A 401 to the validation of another token does not say which of the two tokens was refused.
        """
        try:
            return (await self._ask(own, own)).principal is not None
        except _Refused:
            return False

    async def _ask(self, own: str, subject: str, *, allow_expired: bool = False) -> Verdict:
        headers = {"X-Auth-Token": own, "X-Subject-Token": subject, **_ASK}
        status, body, _ = await self._request("GET", headers, None, "&allow_expired=1" if allow_expired else "")
        if status == 200:
            return verdict_of(body, self._rules)
        if status == 401:
            raise _Refused
        if status in _REFUSALS:
            self._log.warning("token refused", status=status)
        elif status == 403:
            raise _Forbidden(f"status {status} to a validation")
        elif status != 404:
            raise NotUnderstood(f"status {status} to a validation")
        return Verdict(None)

    async def _token_to_ask_with(self, user: ServiceUser, refused: str | None) -> str:
        """Return the service's own token, to validate another token with.

        Raises:
            IdentityUnavailable: the login failed. This opens the breaker, because a login has no caller's data.
        """
        async with self._login:  # waiting calls use the token of the first call, or fail with it
            if self.breaker.is_open:
                raise IdentityUnavailable()
            try:
                return await self._own_token(user, refused)
            except (_Unanswered, NotUnderstood) as problem:
                self._problem = str(problem)
                self._log.error("keystone", problem=f"left alone: {problem}")
                self.breaker.tried(answered=False)
                raise IdentityUnavailable() from None

    async def _own_token(self, user: ServiceUser, refused: str | None) -> str:
        """Return the service's own token; log in if it was refused or expires soon. Needs the lock ``_login``."""
        if self._own is not None and self._own[0] != refused and self._own[1] - _RENEW_BEFORE > time.time():
            return self._own[0]
        self._own = None
        status, body, token = await self._request("POST", {}, _login_of(user))
        if status != 201 or not token:
            raise NotUnderstood(f"status {status} to the login of the service user")
        self._own = (token, expiry_of(body))
        return token

    async def _request(
        self, method: str, headers: Mapping[str, str], body: object, query: str = ""
    ) -> tuple[int, bytes, str | None]:
        """Return status, body and new token of a response; never follow a redirect, which could leak the token.

        Raises:
            _Unanswered, NotUnderstood: Keystone sent no valid response.
        """
        began, outcome = time.monotonic(), "unanswered"
        try:
            status, answer, token = await self._answered(method, self._tokens_url + query, headers, body)
            outcome = "failed" if status >= 500 else "answered"
        except (TimeoutError, OSError, aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            # The text of these errors may contain an address, but never a token: tokens are only in headers.
            raise _Unanswered(f"{type(error).__name__}: {error}"[:300]) from None
        except (aiohttp.ClientError, ValueError, NotUnderstood) as error:
            outcome = "not_understood"
            raise error if isinstance(error, NotUnderstood) else NotUnderstood(type(error).__name__) from None
        finally:
            if self._observe is not None:
                self._observe(outcome, time.monotonic() - began)
        if status >= 500:
            raise _Unanswered(f"status {status}")
        return status, answer, token

    async def _answered(
        self, method: str, url: str, headers: Mapping[str, str], body: object
    ) -> tuple[int, bytes, str | None]:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._tls or True)
            # Ignore cookies: a response must not influence the next request.
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        async with self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False, timeout=self._timeout
        ) as response:
            chunks: list[bytes] = []
            size = 0
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise NotUnderstood("the response is too long")
            return response.status, b"".join(chunks), response.headers.get("X-Subject-Token")


def _login_of(user: ServiceUser) -> Mapping[str, Any]:
    named = {"name": user.name, "domain": {"name": user.domain}, "password": user.password}
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": named}},
            "scope": {"project": {"name": user.project, "domain": {"name": user.project_domain}}},
        }
    }
