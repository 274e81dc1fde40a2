"""A Keystone as far as this service sees it: the same paths, JSON and statuses, and whatever trouble a test wants.

What real Keystone answers was read from Keystone 2025.1 with Fernet tokens: 404 for a subject token that is not
good, 401 for an ``X-Auth-Token`` that is not, 403 for one whose user may not validate.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class KeystoneStub:
    """Knows tokens by what it would answer about them."""

    user: str = "backup-sharing"
    password: str = "s3cret"
    tokens: dict[str, dict[str, Any]] = field(default_factory=dict)
    own_seconds: float = 3600.0
    """How long the tokens are good that logins get."""
    trouble: Trouble | None = None
    """Answers every request instead."""
    troubles_of: dict[str, Trouble] = field(default_factory=dict)
    """Answers what is asked about these tokens."""
    longest_header: int = 8190
    """Bytes of a header's name and value that the web server before Keystone takes: Apache's limit."""
    delay: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    """``validate`` and ``login``."""
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
        **members: Any,  # noqa: ANN401 - of the JSON
    ) -> str:
        """Know a token of a project, or an unscoped one; answers it."""
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
        """As when the keys are rotated, or the service's tokens revoked."""
        for own in self._own:
            del self.tokens[own]
        self._own.clear()

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.router.add_route("*", "/v3/auth/tokens", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=1, max_field_size=1 << 20, max_line_size=1 << 20)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

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
        if own not in self.tokens:
            return failed(401)
        if own != subject and own not in self._own:
            return failed(403) if own in self.tokens and not self.user else failed(401)
        if subject not in self.tokens:
            return failed(404)
        return web.json_response({"token": self.tokens[subject]})


def failed(status: int) -> web.Response:
    """A failure as Keystone writes it."""
    error = {"error": {"code": status, "message": "The request you have made …", "title": "…"}}
    return web.json_response(error, status=status)


def answering(status: int, body: object) -> Trouble:
    """Trouble: always this status and body."""

    async def answer(_: web.Request) -> web.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=raw, content_type="application/json")

    return answer


async def hanging_up(request: web.Request) -> web.StreamResponse:
    """Trouble: the connection ends without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """Trouble: an answer that does not end."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def redirecting(request: web.Request) -> web.StreamResponse:
    """Trouble: an answer that sends the token elsewhere."""
    return web.Response(status=302, headers={"Location": str(request.url.with_path("/elsewhere"))})
