"""A watcher of all events, through every kill, and its comparison with the table."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import zip_longest

import psycopg

from backupsharing.client import AsyncClient
from tests.system.chaos.cluster import PATIENCE

Seen = tuple[int, str, str | None]
"""Position, kind and sharing of an event."""

_EVENTS = "SELECT position, kind, sharing_id FROM sharing_events ORDER BY position NULLS LAST, seq"


class Watcher:
    """Watches from the beginning; the client connects to any server, and resumes after each kill."""

    def __init__(self, addresses: Sequence[str], token: str) -> None:
        self._addresses = addresses
        self._token = token
        self.seen: list[Seen] = []
        self.resumed = 0
        """How often the watch connected again."""
        self._arrived = asyncio.Condition()

    async def run(self) -> None:
        """Watch until cancelled; raise what ends the watch."""
        async with (
            AsyncClient(",".join(self._addresses), token=self._token) as client,
            client.watch(from_beginning=True, on_reconnect=lambda _, __: self._count()) as watch,
        ):
            async for event in watch:
                self.seen.append((int(event.cursor.rpartition(":")[2]), event.kind, event.sharing_id or None))
                async with self._arrived:
                    self._arrived.notify_all()

    def _count(self) -> None:
        self.resumed += 1

    async def problems(self, url: str) -> Sequence[str]:
        """Wait until all events have arrived, and return each difference from the table."""
        stored = await asyncio.to_thread(_stored, url)
        try:
            async with asyncio.timeout(PATIENCE), self._arrived:
                await self._arrived.wait_for(lambda: len(self.seen) >= len(stored))
        except TimeoutError:
            pass
        stored = await asyncio.to_thread(_stored, url)
        pairs = zip_longest(self.seen, stored)
        return [f"watched {seen}, stored {row}" for seen, row in pairs if seen != row]


def _stored(url: str) -> list[Seen]:
    with psycopg.connect(url) as connection:
        return [(position, kind, sharing_id) for position, kind, sharing_id in connection.execute(_EVENTS)]
