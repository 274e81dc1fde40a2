"""A stub of the Keystone API that this service uses: the same paths, JSON and statuses, and failures on command.

The statuses are those of Keystone 2025.1 with Fernet tokens: 404 for an invalid subject token, 401 for an invalid
``X-Auth-Token``, 403 for an ``X-Auth-Token`` whose user may not validate tokens.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class KeystoneStub:
    """A Keystone with the known tokens and their response bodies."""

    user: str = "backup-sharing"
    password: str = "s3cret"
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    own_seconds: float = 3600.0
    """Lifetime in seconds of the tokens that logins return; default one hour."""
    trouble: Trouble | None = None
    """If set, handles every request."""
    troubles_of: dict[str, Trouble] = field(default_factory=dict)
    """Handlers for requests about single tokens."""
    longest_header: int = 8190
    """Maximum bytes of a header line; default 8190, the limit of Apache, which usually runs before Keystone."""
    is_service_forbidden: bool = False
    """Whether the role ``service`` does not allow to validate tokens."""
    delay: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    """Number of requests by kind: ``validate`` or ``login``."""
    url: str = ""
    _runner: web.ServerRunner | None = None
    _own: set[str] = field(default_factory=set)

    def add(
        self,
        token: str,
        project: str | None = None,
        *roles: str,
        seconds: float = 3600.0,
        user: str = "user-id",
        **members: Any,  # noqa: ANN401 - members of the JSON
    ) -> str:
        """Add a token of a project, or an unscoped token; return the token."""
        expires_at = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body: dict[str, Any] = {
            "methods": ["password"],
            "user": {"id": user, "name": user, "domain": {"id": "default", "name": "Default"}},
            "audit_ids": ["3T2dc1CGQxyJsHdDu1xkcw"],
            "expires_at": expires_at,
            "issued_at": "2026-11-24T00:00:00.000000Z",
        }
        if project is not None:
            body["project"] = {"id": project, "name": project, "domain": {"id": "default", "name": "Default"}}
            body["roles"] = [{"id": f"id-of-{role}", "name": role} for role in roles]
        self.tokens[token] = {**body, **members}
        return token

    def revoke(self, token: str) -> None:
        del self.tokens[token]

    def forget_logins(self) -> None:
        """Invalidate the tokens of all logins, as after a key rotation or a revocation."""
        for own in self._own:
            del self.tokens[own]
        self._own.clear()

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        app = web.Application()
        app.router.add_route("*", "/v3/auth/tokens", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=1, max_field_size=1 << 20, max_line_size=1 << 20)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        assert site._server is not None
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls["login" if request.method == "POST" else "validate"] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.trouble is not None:
            return await self.trouble(request)
        if any(len(f"{name}: {value}") > self.longest_header for name, value in request.headers.items()):
            return web.Response(status=400, text="<h1>Bad Request</h1>Size of a request header field exceeds limit.")
        trouble = self.troubles_of.get(request.headers.get("X-Subject-Token", ""))
        if trouble is not None:
            return await trouble(request)
        return await self._login(request) if request.method == "POST" else self._validate(request)

    async def _login(self, request: web.Request) -> web.Response:
        auth = (await request.json())["auth"]
        user = auth["identity"]["password"]["user"]
        if (user["name"], user["password"]) != (self.user, self.password):
            return failed(401)
        own = secrets.token_urlsafe(20)
        self._own.add(own)
        self.add(own, "service", "admin", seconds=self.own_seconds)
        return web.json_response({"token": self.tokens[own]}, status=201, headers={"X-Subject-Token": own})

    def _validate(self, request: web.Request) -> web.Response:
        own, subject = request.headers["X-Auth-Token"], request.headers["X-Subject-Token"]
        if "nocatalog" not in request.query:
            return failed(400)
        if own not in self.tokens or self._is_over(own):
            return failed(401)
        if own != subject and own not in self._own and not self._may_validate(own):
            return failed(403) if self.is_service_forbidden else failed(401)
        if subject not in self.tokens or (self._is_over(subject) and "allow_expired" not in request.query):
            return failed(404)
        # Keystone shows such tokens only to services that say that they enforce access rules.
        has_rules = self.tokens[subject].get("application_credential", {}).get("access_rules")
        if has_rules and request.headers.get("OpenStack-Identity-Access-Rules") != "1.0":
            return failed(404)
        return web.json_response({"token": self.tokens[subject]})

    def _may_validate(self, own: str) -> bool:
        return "service" in self._roles(own) and not self.is_service_forbidden

    def _roles(self, token: str) -> list[str]:
        return [role["name"] for role in self.tokens[token].get("roles", ())]

    def _is_over(self, token: str) -> bool:
        # A real Keystone forgets tokens that have expired for longer than its ``allow_expired_window``.
        return datetime.fromisoformat(self.tokens[token]["expires_at"]) <= datetime.now(UTC)


def failed(status: int) -> web.Response:
    """Return an error response in Keystone's format."""
    error = {"error": {"code": status, "message": "The request you have made …", "title": "…"}}
    return web.json_response(error, status=status)


def answering(status: int, body: object) -> Trouble:
    """Trouble: always return this status and body."""

    async def answer(_: web.Request) -> web.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw, content_type="application/json")

    return answer


async def hanging_up(request: web.Request) -> web.StreamResponse:
    """Trouble: close the connection without a response."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """Trouble: send a response that never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def redirecting(request: web.Request) -> web.StreamResponse:
    """Trouble: redirect the request, and so the token, to another path."""
    return web.Response(status=302, headers={"Location": str(request.url.with_path("/elsewhere"))})
