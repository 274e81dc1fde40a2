"""The one place that wires the parts of the gateway together; starts, drains and stops it."""

from __future__ import annotations

import ipaddress
from contextlib import AsyncExitStack

import structlog
from aiohttp import web

from gateway.answers import Failures
from gateway.config import PROGRAM, Settings, packaged_descriptor_set
from gateway.forwarded import PublicUrl
from gateway.http_server import HttpServer
from gateway.lifetime import Lifetime
from gateway.schema import load
from gateway.unary import Limits, Rest
from gateway.upstream import Upstream


class CannotListen(Exception):
    """The address is in use or not ours; the message names it."""


async def serve(settings: Settings, lifetime: Lifetime) -> None:
    """Serve until ``lifetime`` says to stop, then finish the requests in progress.

    Raises:
        SchemaError, CannotListen: the gateway cannot start.
    """
    schema = load(packaged_descriptor_set())
    failures = Failures(schema)
    async with AsyncExitStack() as cleanups:
        upstream = Upstream(settings.upstream, settings.commit_margin)
        cleanups.push_async_callback(upstream.close)
        networks = [ipaddress.ip_network(network) for network in settings.trusted_proxy]
        public_url = PublicUrl(settings.public_url, networks, settings.listen)
        limits = Limits(settings.max_body, settings.body_timeout, settings.timeout, settings.max_depth)
        rest = Rest(schema, upstream, failures, public_url, limits)
        runner = web.ServerRunner(
            HttpServer(rest.answer, failures, PROGRAM, settings.max_header), shutdown_timeout=settings.drain_timeout
        )
        await runner.setup()
        cleanups.push_async_callback(runner.cleanup)
        await _listen(runner, settings.listen)
        log = structlog.get_logger("gateway")
        log.info("serving", listen=settings.listen, upstream=settings.upstream)
        await lifetime.stopping()
        log.info("draining")


async def _listen(runner: web.ServerRunner, address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host.strip("[]"), int(port)).start()
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}; is it in use?") from error
