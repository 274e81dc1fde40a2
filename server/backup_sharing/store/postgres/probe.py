"""Whether a PostgreSQL database can be read and written now: asked over a connection that no call uses, or can fill."""

from __future__ import annotations

import asyncio
from typing import Final

import psycopg

from backup_sharing.errors import Unavailable
from backup_sharing.store.postgres.connection import Connection, break_off, configure, is_alive, within
from backup_sharing.store.postgres.faults import FAULTS, is_gone

# As a change does, without changing anything: a server that only reads refuses it, and who locks the table stops it.
_LOOK: Final = "SELECT 1 FROM backups WHERE FALSE FOR UPDATE"

_SERVER_GIVES_UP: Final = 0.9
"""Of the time for a look, the part after which the server gives it up: so its connection can be kept."""


class Probe:
    """Looks over a connection of its own, opened when it is needed, and again when it breaks. One look at a time."""

    def __init__(self, conninfo: str, seconds: float) -> None:
        """Look at the database of ``conninfo``; a look takes ``seconds`` at most."""
        self._conninfo = conninfo
        self._seconds = seconds
        self._connection: Connection | None = None
        self._looking: asyncio.Task[Exception | None] | None = None
        self._closed = False

    async def look(self) -> None:
        """Return if the database can be read and written; raises `Unavailable` if it cannot, or not in time."""
        if self._closed:
            raise Unavailable("The store is closed.")
        # A task of its own: a driver that is cancelled with its caller asks the server to stop, and waits for that.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._failure())
        looking = self._looking
        await asyncio.wait((looking,), timeout=self._seconds)
        failure = looking.result() if looking.done() and not looking.cancelled() else TimeoutError()
        if failure is not None:
            raise Unavailable("The store cannot be read and written now.") from failure

    async def close(self) -> None:
        """End the look under way, and let the connection go."""
        self._closed = True
        if self._connection is not None:
            break_off(self._connection)
        elif self._looking is not None:
            self._looking.cancel()
        if self._looking is not None:
            await asyncio.wait((self._looking,))
        await self._let_go()

    async def _failure(self) -> Exception | None:
        """Look; answers why the database cannot be used, or None."""
        try:
            await self._look()
        except FAULTS as error:
            return error
        return None

    async def _look(self) -> None:
        """Look; once more over a new connection if the one that there was has broken."""
        kept = self._connection
        if kept is not None and is_alive(kept):
            try:
                await self._ask(kept)
            except FAULTS as error:
                if not is_gone(error) and not kept.closed:
                    raise
            else:
                return
        await self._let_go()
        # However long the driver takes to try every host; whoever asks meanwhile is not kept waiting.
        connect = psycopg.AsyncConnection.connect
        self._connection = await connect(self._conninfo, autocommit=True, prepare_threshold=1)
        await configure(self._connection, _SERVER_GIVES_UP * self._seconds)
        await self._ask(self._connection)

    async def _ask(self, connection: Connection) -> None:
        with within(connection, self._seconds):
            await connection.execute(_LOOK)

    async def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
