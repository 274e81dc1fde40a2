"""The admin port of a program: ``/livez``, ``/readyz`` and ``/metrics``, apart from the port of its clients."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import HttpVersion11, web
from prometheus_client import CollectorRegistry

from programkit.admin_http.access import Access, host_of
from programkit.admin_http.connection import AdminLimits, Connection, Connections
from programkit.admin_http.exposition import metrics
from programkit.admin_http.options import AdminSettings
from programkit.admin_http.readyz import Readyz
from programkit.peer import peer_of
from programkit.rate_limited_log import RateLimitedLog

_METHODS: Final = ("GET", "HEAD")

_ALWAYS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "admin"}
"""Headers of every response; aiohttp would name itself and its version in `Server`."""

_CLOSE_SECONDS: Final = 1.0
"""Seconds for responses in progress when the port closes."""

_SHOWN: Final = 100
"""Maximum characters of a path in a message."""


class CannotServeAdmin(Exception):
    """The address of the admin port cannot be listened on; the message names setting, address and reason."""


async def open_admin_port(
    settings: AdminSettings, readyz: Readyz, registry: CollectorRegistry, cleanups: AsyncExitStack
) -> None:
    """Open the admin port if it is set; ``cleanups`` closes it.

    Open it before anything else, so that it serves while the program starts, and until everything else has ended.

    Raises:
        CannotServeAdmin: the address is in use, or not one of this machine.
    """
    if settings.admin_listen is None:
        return
    access = Access.of(settings.admin_listen, settings.admin_allow, settings.admin_host)
    port = AdminPort(access, readyz, registry)
    await port.start(settings.admin_listen)
    cleanups.push_async_callback(port.close)
    structlog.get_logger("programkit.admin_port").info("admin port", admin_listen=settings.admin_listen)


class AdminPort:
    """A small HTTP server for probes and scrapes."""

    def __init__(
        self,
        access: Access,
        readyz: Readyz,
        registry: CollectorRegistry,
        limits: AdminLimits | None = None,
    ) -> None:
        """Serve the readiness of ``readyz`` and the metrics of ``registry``.

        Args:
            access: peers and host names that are accepted; others get 403.
            readyz: readiness of the program.
            registry: metrics of the program.
            limits: limits of connections.
        """
        self._access = access
        self._readyz = readyz
        self._registry = registry
        self._limits = limits or AdminLimits()
        self._accepted = Connections(self._limits.connections)
        self._refused = Connections(self._limits.refused)
        self._pages: Mapping[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/livez": self._livez,
            "/readyz": self._readyz_page,
            "/metrics": self._metrics,
        }
        self._runner: web.ServerRunner | None = None
        self._log = RateLimitedLog("programkit.admin_port", burst=5, per_second=0.1)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._accepted) + len(self._refused)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port that it listens on."""
        assert self._runner is not None  # noqa: S101 - the port is open
        host, port = self._runner.addresses[0][:2]
        return host, port

    async def start(self, listen: str) -> None:
        """Listen on HOST:PORT.

        Raises:
            CannotServeAdmin: the address is in use, or not one of this machine.
        """
        runner = web.ServerRunner(_Server(self._answer, self._connection), shutdown_timeout=_CLOSE_SECONDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, host_of(listen), int(listen.rpartition(":")[2])).start()
        except OSError as error:
            await runner.cleanup()
            # The event loops put the address before the text of the system; errors of names have negative numbers.
            number = error.errno or 0
            why = os.strerror(number) if number > 0 else error.strerror or "the host is unknown"
            raise CannotServeAdmin(
                f"--admin-listen: {listen}: cannot listen there: {why}; choose another address"
            ) from error
        self._runner = runner

    async def close(self) -> None:
        """Stop listening, and close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()

    def _connection(self, server: web.Server) -> Connection:
        return Connection(server, self._connections_of, self._limits, self._failure)

    def _connections_of(self, peer: str) -> Connections:
        return self._accepted if self._access.includes(peer) else self._refused

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        response = self._refusal(request) or await self._pages[request.path](request)
        response.headers.update(_ALWAYS)
        response.force_close()
        return response

    def _refusal(self, request: web.BaseRequest) -> web.Response | None:
        """Return the response to a request that gets no page; None: it gets one."""
        peer = peer_of(request.transport)
        if not self._access.includes(peer):
            return self._forbidden(peer, f"The address {peer} is in none of the networks of --admin-allow.")
        why = self._access.why_not_host(
            request.headers.getall("Host", ()), is_required=request.version >= HttpVersion11
        )
        if why is not None:
            return self._forbidden(peer, why)
        if request.path not in self._pages:
            why = f"There is no page {request.path[:_SHOWN]!r} here."
            return _json(404, {"error": why, "paths": list(self._pages)})
        if request.method not in _METHODS:
            return _json(405, {"error": "Only GET and HEAD are allowed here."}, {"Allow": ", ".join(_METHODS)})
        return None

    def _forbidden(self, peer: str, why: str) -> web.Response:
        self._log.warning("admin request refused", peer=peer, reason=why)
        return _json(403, {"error": why})

    def _failure(self, status: int, exc: BaseException | None) -> web.StreamResponse:
        """Return the response to a request that is not HTTP, or whose page failed."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._log.warning("admin page failed", exc_info=exc)
            response = _json(500, {"error": "The page failed because of a defect; the log has the cause."})
        else:
            response = _json(400, {"error": "The request is not well-formed HTTP, or too large."})
        response.headers.update(_ALWAYS)
        response.force_close()
        return response

    async def _livez(self, _: web.BaseRequest) -> web.Response:
        return _json(200, {"status": "live"})

    async def _readyz_page(self, request: web.BaseRequest) -> web.Response:
        is_ready, document = await self._readyz.document(verbose="verbose" in request.query)
        return _json(200 if is_ready else 503, document)

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        return await metrics(self._registry, request)


class _Server(web.Server):
    """aiohttp's server with connections of ours."""

    def __init__(
        self,
        answer: Callable[[web.BaseRequest], Awaitable[web.Response]],
        connection: Callable[[web.Server], Connection],
    ) -> None:
        super().__init__(answer)
        self._connection = connection

    def __call__(self) -> Connection:
        return self._connection(self)


def _json(status: int, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    body = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})
