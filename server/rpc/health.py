"""``grpc.health.v1``: asks the store, and needs no token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.errors import Failure
from server.store.interface import Store

WATCH_SECONDS = 2.0
"""How often a watched status is looked at."""

_ASKED_SECONDS = 60.0
"""For how long whoever asked once counts as watching."""


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the library has no types
    """Healthy while the store can be used and the server is not draining."""

    def __init__(self, store: Store, services: Collection[str]) -> None:
        """Answer for ``services`` and for the server as a whole, the empty name."""
        self._store = store
        self._services = {"", *services}
        self._draining = asyncio.Event()
        self._watches = 0
        self._watched_until = 0.0

    @property
    def is_watched(self) -> bool:
        """Whether anyone watches the status, or has asked for it lately."""
        return self._watches > 0 or time.monotonic() < self._watched_until

    def drain(self) -> None:
        """From now on say that no more calls should be sent here."""
        self._draining.set()

    async def Check(  # noqa: N802 - the name is the method's
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> health_pb2.HealthCheckResponse:
        """Answer the status now."""
        self._watched_until = time.monotonic() + _ASKED_SECONDS
        if request.service not in self._services:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"There is no service {request.service!r} here.")
            return health_pb2.HealthCheckResponse()
        return health_pb2.HealthCheckResponse(status=await self._status())

    async def Watch(  # noqa: N802 - the name is the method's
        self, request: health_pb2.HealthCheckRequest, _: grpc.aio.ServicerContext[object, object]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Answer the status now and whenever it changes; ends when the server drains, so as not to hold it up."""
        last = None
        self._watches += 1
        try:
            while True:
                last_look = self._draining.is_set()
                known = request.service in self._services
                status = await self._status() if known else health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                if status != last:
                    yield health_pb2.HealthCheckResponse(status=status)
                    last = status
                if last_look:
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._draining.wait(), WATCH_SECONDS)
        finally:
            self._watches -= 1

    async def _status(self) -> int:
        if self._draining.is_set():
            return int(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            await self._store.ping()
        except Failure:
            return int(health_pb2.HealthCheckResponse.NOT_SERVING)
        return int(health_pb2.HealthCheckResponse.SERVING)
