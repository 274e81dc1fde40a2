"""Run the gateway in the test's process, the way its program runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from programkit.process.lifetime import Lifetime
from restmap_gateway import app
from restmap_gateway.config import Settings
from restmap_gateway.upstream.resolver import LookUp, look_up
from tests.support.ports import free_address
from tests.support.programs import PATIENCE


class StoppableLifetime(Lifetime):
    """Lifetime that ends when a test sets ``stop``."""

    def __init__(self) -> None:
        super().__init__()
        self.serving = asyncio.Event()
        self.stop = asyncio.Event()

    async def stopping(self) -> None:
        self.serving.set()
        await self.stop.wait()


@dataclass(frozen=True, slots=True)
class Gateway:
    """Running gateway."""

    address: str
    lifetime: StoppableLifetime
    task: asyncio.Task[None]

    async def drain(self) -> None:
        """Stop the gateway and wait until it has drained."""
        self.lifetime.stop.set()
        async with asyncio.timeout(PATIENCE):
            await self.task


@asynccontextmanager
async def running_gateway(
    descriptor_set: Path, upstream: str, look_up: LookUp = look_up, **settings: object
) -> AsyncIterator[Gateway]:
    """Serve until the context exits."""
    address, lifetime = free_address(), StoppableLifetime()
    given = {"drain_timeout": 0.1, "heartbeat": 600.0, "docs": False} | settings
    # Keys are names of settings; Settings validates them.
    configured = Settings(listen=address, upstream=upstream, descriptor_set=descriptor_set, **given)  # type: ignore[arg-type]
    task = asyncio.create_task(app.serve(configured, lifetime, look_up))
    started = asyncio.create_task(lifetime.serving.wait())
    await asyncio.wait((task, started), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    gateway = Gateway(address, lifetime, task)
    try:
        yield gateway
    finally:
        await gateway.drain()
