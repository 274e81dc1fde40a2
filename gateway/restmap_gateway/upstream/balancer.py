"""Balances calls over several servers: the set of servers, their state, and the choice of a server for each call.

A call goes to the healthy server with the fewest calls in progress, so that a slow server gets fewer. If the call fails
in a way that may not happen on another server, it is retried once there: docs/explanation/gateway.md has the table.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import grpc
import structlog

from restmap_gateway.errors import RequestFailed
from restmap_gateway.upstream.health import HealthWatch, ServerHealth, ServerState
from restmap_gateway.upstream.multiplex import SerializedCall, StreamBroken
from restmap_gateway.upstream.reply import Metadata, Reply
from restmap_gateway.upstream.resolver import Resolver
from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.server_stream import ServerStream
from restmap_gateway.upstream.upstream import (
    AGAIN_SECONDS,
    RETIRE_SECONDS,
    ConnectionSettings,
    Upstream,
    is_broken,
    lost,
    no_answer,
    of_both,
)

_START_SECONDS = 1.0
"""Maximum seconds that the start waits for a reachable server; without one, calls get 503."""

_RETRYABLE_ELSEWHERE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""Failures that may not happen on another server. CANCELLED comes from the server: gRPC sends it for calls that arrive
while a server stops; for a call cancelled on this side, nobody waits for a reply."""

_SOON_SECONDS = 1.0
"""Seconds until the next DNS lookup when a server is unreachable or none is known."""


class _Server:
    """One server with its connection and state."""

    def __init__(self, address: ServerAddress, settings: ConnectionSettings) -> None:
        self.address = address
        self.upstream = Upstream(address, settings)
        self.state = ServerState.UNKNOWN
        self.in_progress = 0
        """Calls made to the server that have not ended."""
        self.last_turn = 0
        """Sequence number of the last call; among equal servers the lowest is chosen."""
        self.watching: asyncio.Task[None] | None = None

    def stop_watching(self) -> None:
        if self.watching is not None:
            self.watching.cancel()

    async def attempt(self, unary: SerializedCall, *, by_itself: bool) -> Reply | None:
        """Make a call; return None if it was not written because there is no connection.

        Args:
            unary: the call.
            by_itself: make the call even without a connection; gRPC then connects or reports why it cannot.

        Raises:
            TimeoutError, RequestFailed: as in `Upstream.single`.
        """
        self.in_progress += 1
        try:
            reply = await self.upstream.multiplexed(unary)
            if reply is None and (by_itself or self.upstream.is_connected):
                reply = await self.upstream.single(unary)
            return reply
        except StreamBroken as broken:
            return lost(broken)
        finally:
            self.in_progress -= 1


class Balancer:
    """Makes calls to one of several servers; the set of servers may change."""

    def __init__(
        self, resolver: Resolver, settings: ConnectionSettings, resolve_every: float, renew_seconds: float
    ) -> None:
        """Create the balancer.

        Args:
            resolver: returns the addresses of the servers.
            settings: connection settings for all servers.
            resolve_every: seconds between calls of the resolver.
            renew_seconds: see `HealthWatch`.
        """
        self._resolver = resolver
        self._settings = settings
        self._resolve_every = resolve_every
        self._renew_seconds = renew_seconds
        self._servers: list[_Server] = []
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._may_be_outdated = asyncio.Event()
        """Set when the known set of servers may be outdated."""
        self._one_serves = asyncio.Event()
        self._log = structlog.get_logger("restmap_gateway.upstream.balancer")

    @property
    def states(self) -> Sequence[tuple[str, ServerState]]:
        """Return the state of each server, with the configured target to which it belongs."""
        return [(server.address.configured, server.state) for server in self._servers]

    @property
    def servers(self) -> Sequence[ServerHealth]:
        """The health of each server."""
        return [
            ServerHealth(each.address.target, each.state, is_connected=each.upstream.is_connected)
            for each in self._servers
        ]

    async def start(self) -> None:
        """Look for servers; return when one accepts calls, or after a second without one."""
        self._begin(self._keep_resolved())
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._one_serves.wait()

    def reconnect(self) -> None:
        """Make all further calls over new channels; calls in progress end on the old ones."""
        for server in self._servers:
            server.upstream.reconnect()
            self._watch(server)

    async def close(self) -> None:
        """Close all channels and cancel the calls in progress."""
        tasks = [*self._tasks, *(server.watching for server in self._servers if server.watching is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(server.upstream.close() for server in self._servers))

    async def call(self, method: str, request: bytes, metadata: Metadata, seconds: float, *, repeatable: bool) -> Reply:
        """Make a unary call to one server, and a retry to another if allowed; otherwise as in `Upstream.call`.

        Raises:
            RequestFailed: as in `Upstream.call`; also 503 if no server is known.
        """
        deadline = asyncio.get_running_loop().time() + seconds
        unary = SerializedCall(method, request, metadata, deadline, deadline + self._settings.margin)
        server = self._pick(self._servers)
        try:
            reply = await server.attempt(unary, by_itself=False)
            if reply is None:
                # Nothing was written, so any call may go to another server.
                server = self._alternative_to(server)
                reply = await server.attempt(unary, by_itself=True)
            # The reply is never None: attempt always returns one with by_itself=True.
            assert reply is not None  # noqa: S101 - mypy cannot see it
            if repeatable and reply.code in _RETRYABLE_ELSEWHERE:
                reply = await self._again(unary, server, reply)
            return reply
        except TimeoutError:
            return no_answer()

    @asynccontextmanager
    async def stream(
        self, method: str, request: bytes, metadata: Metadata, seconds: float | None
    ) -> AsyncIterator[ServerStream]:
        """Make a server-streaming call to one server; as in `Upstream.stream`.

        Raises:
            RequestFailed: 503 if no server is known.
        """
        server = self._pick(self._servers)
        if not server.upstream.is_connected:
            server = self._alternative_to(server)
        server.in_progress += 1
        try:
            async with server.upstream.stream(method, request, metadata, seconds) as stream:
                yield stream
        finally:
            server.in_progress -= 1

    async def _again(self, unary: SerializedCall, failed: _Server, reply: Reply) -> Reply:
        """Retry a repeatable call on another server; return its reply, or the first one if there was no retry."""
        healthy = [each for each in self._servers if each is not failed and each.state is ServerState.SERVING]
        if not healthy:
            if not is_broken(reply):
                return reply  # from a server, and no other server is healthy
            await asyncio.sleep(AGAIN_SECONDS)
        if asyncio.get_running_loop().time() >= unary.deadline:
            return reply
        self._settings.counts.retries += 1
        again = await self._pick(healthy or self._servers).attempt(unary, by_itself=True)
        return of_both(reply, again) if again is not None else reply

    def _alternative_to(self, server: _Server) -> _Server:
        """Return the server for a call that could not be written to this one; this one if no other is better."""
        others = [each for each in self._servers if each is not server]
        # A connected server counts even if it was unreachable a moment ago, but not one that reports NOT_SERVING.
        connected = [each for each in others if each.upstream.is_connected and each.state != ServerState.NOT_SERVING]
        no_worse = [each for each in others if each.state <= server.state]
        return self._pick(connected or no_worse or [server])

    def _pick(self, servers: Sequence[_Server]) -> _Server:
        """Return the best of these servers.

        Raises:
            RequestFailed: 503 if there are none.
        """
        best, least = None, None
        for server in servers:
            rank = (server.state, server.in_progress, server.last_turn)
            if least is None or rank < least:
                best, least = server, rank
        if best is None:
            raise RequestFailed(503, "No server is known to this gateway.")
        self._turn = best.last_turn = self._turn + 1
        return best

    async def _keep_resolved(self) -> None:
        while True:
            self._update(await self._resolver.addresses())
            if not self._resolver.asks_dns:
                return
            self._may_be_outdated.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._resolve_every if self._servers else _SOON_SECONDS):
                    await self._may_be_outdated.wait()
                    await asyncio.sleep(_SOON_SECONDS)

    def _update(self, addresses: Iterable[ServerAddress]) -> None:
        """Replace the set of servers; servers whose address stays are kept as they are."""
        before = {server.address: server for server in self._servers}
        now = {address: before.get(address) or _Server(address, self._settings) for address in addresses}
        self._servers = list(now.values())
        for address, server in now.items():
            if address not in before:
                self._log.info("server", address=address.target, state="new")
                self._watch(server)
        for address, server in before.items():
            if address not in now:
                self._log.info("server", address=address.target, state="gone")
                self._begin(_retire(server))

    def _watch(self, server: _Server) -> None:
        server.stop_watching()
        watch = HealthWatch(server.upstream.channel, self._renew_seconds, lambda state: self._take(server, state))
        server.watching = asyncio.create_task(watch.run())

    def _take(self, server: _Server, state: ServerState) -> None:
        if state is server.state:
            return
        server.state = state
        self._log.info("server", address=server.address.target, state=state.name.lower())
        if state is ServerState.SERVING:
            self._one_serves.set()
        if state is ServerState.UNREACHABLE:
            self._may_be_outdated.set()

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _retire(server: _Server) -> None:
    """Close the channel when the calls in progress have ended, after `RETIRE_SECONDS` at the latest."""
    server.stop_watching()
    until = asyncio.get_running_loop().time() + RETIRE_SECONDS
    try:
        while server.in_progress and asyncio.get_running_loop().time() < until:  # noqa: ASYNC110 - no event to await
            await asyncio.sleep(_SOON_SECONDS)
    finally:
        await server.upstream.close()
