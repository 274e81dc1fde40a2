"""Clients of a watch over REST: server-sent events and lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.wire import Connection, Head, Json, connected, get


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a stream."""

    name: str
    """Name of a server-sent event; empty: a message."""
    id: str
    body: Json

    @property
    def event(self) -> Json:
        """The event; None: a checkpoint."""
        return self.body.get("event")


class NotOpened(AssertionError):
    """The gateway answered with a failure instead of a stream."""

    def __init__(self, head: Head) -> None:
        super().__init__(head)
        self.status = head.status


class Watching:
    """An open stream of records."""

    def __init__(self, connection: Connection, *, is_sse: bool) -> None:
        self._connection = connection
        self._is_sse = is_sse
        self._ready: list[Record] = []
        self._rest = b""

    async def record(self) -> Record | None:
        """Return the next record; None at the end of the stream."""
        while not self._ready:
            chunk = await self._connection.chunk()
            if not chunk:
                assert not self._rest
                return None
            *whole, self._rest = (self._rest + chunk).split(b"\n\n" if self._is_sse else b"\n")
            self._ready += filter(None, map(self._parsed, whole))
        return self._ready.pop(0)

    async def event(self) -> Record:
        """Return the next record with an event."""
        while True:
            record = await self.record()
            assert record is not None, "the stream ended"
            assert record.name == "", record
            if record.event is not None:
                return record

    def _parsed(self, text: bytes) -> Record | None:
        if not self._is_sse:
            return Record("", "", json.loads(text))
        fields = dict(line.split(": ", 1) for line in text.decode().splitlines() if not line.startswith(":"))
        return Record(fields.get("event", ""), fields.get("id", ""), json.loads(fields["data"])) if fields else None


@asynccontextmanager
async def watching(
    address: str, path: str, token: str, query: str = "", *, sse: bool = True, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Watching]:
    """Watch the events of the project with the REST path ``path``."""
    accept = "text/event-stream" if sse else "application/x-ndjson"
    given = {"X-Auth-Token": token, "Accept": accept, **(headers or {})}
    async with connected(address) as connection:
        connection.send(get(f"{path}-events/watch?{query}", *(f"{name}: {value}" for name, value in given.items())))
        head = await connection.head()
        if head.status != 200:
            raise NotOpened(head)
        assert head.headers["Content-Type"] == accept
        yield Watching(connection, is_sse=sse)
