"""Checks that a PostgreSQL database can be read and written, over a connection apart from all calls."""

from __future__ import annotations

import asyncio
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.store.postgres.connection import Connection, break_off, configure, is_alive, within
from backup_sharing.store.postgres.faults import FAULTS, is_gone
from backup_sharing.store.postgres.pooling import PreparedStatements, alone

# Lock rows like a change, but change nothing: a read-only server refuses this, and a lock on the table blocks it.
_LOOK: Final = "SELECT 1 FROM backups WHERE FALSE FOR UPDATE"

_SERVER_GIVES_UP: Final = 0.9
"""Part of a check's time after which the server cancels the check, so that the connection can be kept."""


class Probe:
    """Checks over its own connection, opened on demand, and again after it breaks. One check at a time."""

    def __init__(self, conninfo: str, seconds: float, prepared: PreparedStatements) -> None:
        """Check the database of ``conninfo``; a check takes at most ``seconds``, and may prepare its statement."""
        self._prepared: PreparedStatements = prepared
        self._conninfo = conninfo
        self._seconds = seconds
        self._connection: Connection | None = None
        self._looking: asyncio.Task[Exception | None] | None = None
        self._closed = False

    async def look(self) -> None:
        """Return if the database can be read and written; raises `Unavailable` if it cannot, or not in time."""
        if self._closed:
            raise Unavailable("The store is closed.")
        # A separate task: a driver cancelled with its caller would ask the server to stop, and wait for the reply.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._failure())
        looking = self._looking
        await asyncio.wait((looking,), timeout=self._seconds)
        failure = looking.result() if looking.done() and not looking.cancelled() else TimeoutError()
        if failure is not None:
            raise Unavailable("The store cannot be read and written now.") from failure

    async def close(self) -> None:
        """End the running check, and close the connection."""
        self._closed = True
        if self._connection is not None:
            break_off(self._connection)
        elif self._looking is not None:
            self._looking.cancel()
        if self._looking is not None:
            await asyncio.wait((self._looking,))
        await self._disconnect()

    async def _failure(self) -> Exception | None:
        """Check; return the reason why the database cannot be used, or None."""
        try:
            await self._look()
        except FAULTS as error:
            return error
        return None

    async def _look(self) -> None:
        """Check; once more over a new connection if the existing one has broken."""
        kept = self._connection
        if kept is not None and is_alive(kept):
            try:
                await self._ask(kept)
            except FAULTS as error:
                if not is_gone(error) and not kept.closed:
                    raise
            else:
                return
        await self._disconnect()
        # The driver may take long to try every host; `look` does not wait for that.
        self._connection = await Connection.connect(self._conninfo, autocommit=True, prepare_threshold=1)
        await configure(self._connection, _SERVER_GIVES_UP * self._seconds, self._prepared)
        await self._ask(self._connection)

    async def _ask(self, connection: Connection) -> None:
        with within(connection, self._seconds):
            await alone(connection, _LOOK)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
