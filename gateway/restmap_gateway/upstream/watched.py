"""The only server behind a gateway, and the watch of its health."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog

from restmap_gateway.upstream.health import HealthWatch, ServerHealth, ServerState
from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.upstream import ConnectionSettings, Upstream

_START_SECONDS = 1.0
"""Maximum seconds that the start waits until it is known whether the server can be reached."""


class WatchedUpstream(Upstream):
    """Calls methods of one server, whatever its health: there is no other server that could be called."""

    def __init__(self, address: ServerAddress, settings: ConnectionSettings, renew_seconds: float) -> None:
        """Open a channel; ``renew_seconds``: see `HealthWatch`."""
        super().__init__(address, settings)
        self._renew_seconds = renew_seconds
        self._state = ServerState.UNKNOWN
        self._is_known = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._log = structlog.get_logger("restmap_gateway.upstream.watched")

    @property
    def servers(self) -> Sequence[ServerHealth]:
        """The health of the server."""
        return (ServerHealth(self._address.target, self._state, is_connected=self.is_connected),)

    @property
    def states(self) -> Sequence[tuple[str, ServerState]]:
        """Return the configured target of the server, and its state."""
        return ((self._address.configured, self._state),)

    async def start(self) -> None:
        """Begin to watch; return when it is known whether the server can be reached, or after a second."""
        self._watch()
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self._is_known.wait()

    def reconnect(self) -> None:
        """Make all further calls over a new channel, and watch over it."""
        super().reconnect()
        if self._watching is not None:
            self._watching.cancel()
            self._watch()

    async def close(self) -> None:
        """Close the channel and cancel the calls in progress."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        await super().close()

    def _watch(self) -> None:
        self._watching = asyncio.create_task(HealthWatch(self.channel, self._renew_seconds, self._take).run())

    def _take(self, state: ServerState) -> None:
        self._is_known.set()
        if state is not self._state:
            self._state = state
            self._log.info("server", address=self._address.target, state=state.name.lower())
