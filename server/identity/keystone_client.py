"""Keystone over HTTP: is this token good, and whose is it?"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import structlog

from server.errors import IdentityUnavailable
from server.fair_queue import FairQueue
from server.identity.breaker import Breaker
from server.identity.cache import Verdict
from server.identity.keystone_answer import NotUnderstood, expiry_of, verdict_of

_MOST_BYTES = 1 << 20
"""Of an answer; without the catalogue they have a few thousand."""

_MOST_CONNECTIONS = 32

_CONNECTIONS_OF_CLIENT = 24
"""Connections that the tokens of one client take: others always find some."""

_WAITING_OF_CLIENT = 250
"""Tokens of one client that wait for a connection."""

_RENEW_BEFORE = 60.0
"""Seconds before its end at which the service's own token is no longer used."""


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """With what rights tokens are validated."""

    name: str
    password: str
    domain: str
    project: str
    project_domain: str

    def __repr__(self) -> str:
        """Tell whose it is, without the password."""
        return f"ServiceUser({self.name!r})"


class _Refused(Exception):
    """Keystone does not take the token that the question came with."""


class KeystoneClient:
    """Validates tokens, with the rights of a service user or, without one, with those of the token itself."""

    def __init__(
        self, url: str, user: ServiceUser | None, timeout: float, breaker: Breaker, roles: Mapping[str, str]
    ) -> None:
        """Prepare; connects with the first question.

        Args:
            url: of Keystone, with or without ``/v3``.
            user: whose rights to validate with; None: each token validates itself.
            timeout: seconds for one question, the service's own login not counted.
            breaker: knows when Keystone is to be left alone.
            roles: ours by Keystone's names.
        """
        base = url.rstrip("/")
        self._tokens_url = f"{base if base.endswith('/v3') else base + '/v3'}/auth/tokens"
        self._user = user
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._breaker = breaker
        self._roles = roles
        self._session: aiohttp.ClientSession | None = None
        self._own: tuple[str, float] | None = None
        """The service's own token and when it ends."""
        self._login = asyncio.Lock()
        self._turns = FairQueue(
            slots=_MOST_CONNECTIONS,
            per_key=_CONNECTIONS_OF_CLIENT,
            waiting_per_key=_WAITING_OF_CLIENT,
            refusal="The client has {most} tokens waiting to be checked, the most it may; try again later.",
        )
        self._log = structlog.get_logger("server.identity")

    async def validate(self, token: str, client: str = "") -> Verdict:
        """Ask about a token that came from a client, if its address is known: clients are served in turn.

        Raises:
            IdentityUnavailable: Keystone could not be asked, or did not answer as it should.
            Overloaded: too many tokens of this client wait.
        """
        async with self._turns.turn(client):
            return await self._judged(token)

    async def _judged(self, token: str) -> Verdict:
        if not self._breaker.lets_through():
            raise IdentityUnavailable()
        try:
            verdict = await self._validated(token)
        except (aiohttp.ClientError, TimeoutError, NotUnderstood, OSError, ValueError) as error:
            self._breaker.failed()
            # What the libraries say may hold an address, never a token: those travel in headers.
            self._log.error("keystone", problem=f"{type(error).__name__}: {error}"[:300])
            raise IdentityUnavailable() from None
        self._breaker.succeeded()
        return verdict

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _validated(self, token: str) -> Verdict:
        if self._user is None:
            try:
                return await self._ask(token, token)
            except _Refused:
                return Verdict(None)
        own = await self._own_token(self._user, refused=None)
        try:
            return await self._ask(own, token)
        except _Refused:
            # Revoked, or signed with a key that was rotated away: once more with a new one.
            own = await self._own_token(self._user, refused=own)
        try:
            return await self._ask(own, token)
        except _Refused:
            raise NotUnderstood("the service's own token is refused") from None

    async def _ask(self, own: str, subject: str) -> Verdict:
        headers = {"X-Auth-Token": own, "X-Subject-Token": subject, "Accept": "application/json"}
        status, body, _ = await self._request("GET", f"{self._tokens_url}?nocatalog=1", headers, None)
        if status == 200:
            return verdict_of(body, self._roles)
        if status == 401:
            raise _Refused
        if status == 404:
            return Verdict(None)
        raise NotUnderstood(f"status {status} to a validation")

    async def _own_token(self, user: ServiceUser, refused: str | None) -> str:
        async with self._login:  # those who wait take what the first one gets
            if self._own is not None and self._own[0] != refused and self._own[1] - _RENEW_BEFORE > time.time():
                return self._own[0]
            self._own = None
            status, body, token = await self._request("POST", f"{self._tokens_url}?nocatalog=1", {}, _login_of(user))
            if status != 201 or not token:
                raise NotUnderstood(f"status {status} to the login of the service user")
            self._own = (token, expiry_of(body))
            return token

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: object
    ) -> tuple[int, bytes, str | None]:
        """Status, body and new token of an answer; redirects are not followed: a token goes nowhere else."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=_MOST_CONNECTIONS)
            # No cookies: what one answer sets must not reach the next question.
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers = {**headers, "Content-Type": "application/json"}
        async with self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False, timeout=self._timeout
        ) as response:
            chunks: list[bytes] = []
            async for chunk in response.content.iter_any():
                chunks.append(chunk)
                if sum(map(len, chunks)) > _MOST_BYTES:
                    raise NotUnderstood("the answer is too long")
            return response.status, b"".join(chunks), response.headers.get("X-Subject-Token")


def _login_of(user: ServiceUser) -> Mapping[str, Any]:
    named = {"name": user.name, "domain": {"name": user.domain}, "password": user.password}
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": named}},
            "scope": {"project": {"name": user.project, "domain": {"name": user.project_domain}}},
        }
    }
