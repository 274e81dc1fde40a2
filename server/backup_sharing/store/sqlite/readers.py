"""A few threads for reads, each with its own connection, in parallel to the writer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from backup_sharing.errors import Unavailable
from backup_sharing.store.sqlite.connection import failure_of, log_fault

T = TypeVar("T")

_INTERRUPT_AGAIN: Final = 0.02
"""Seconds between interrupts of a query: an interrupt before the statement begins has no effect."""


class Readers:
    """Runs queries, with one thread per connection; owns the connections from now on."""

    def __init__(self, connections: Sequence[sqlite3.Connection]) -> None:
        self._idle = list(connections)
        self._threads = ThreadPoolExecutor(len(self._idle), thread_name_prefix="sqlite-reader")
        self._stopped = False

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of a query on data that includes everything committed before this call.

        If the caller is cancelled, the query is interrupted or not begun.
        Raises the exceptions of the query, `Unavailable` or `StoredDataUnreadable`.
        """
        if self._stopped:
            raise Unavailable("The store is closed.")
        reading = _Reading(query)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, self._run, reading)
        except asyncio.CancelledError:
            _interrupt(loop, reading)
            raise

    def stop(self) -> None:
        """Accept no more queries, and fail the waiting ones; running queries continue."""
        self._stopped = True

    def close(self) -> None:
        """Stop, wait for running queries, and close the connections."""
        self.stop()
        self._threads.shutdown(wait=True)
        while self._idle:
            self._idle.pop().close()

    def _run(self, reading: _Reading[T]) -> T:
        if self._stopped:
            raise Unavailable("The store is closed.")
        connection = self._idle.pop()  # never empty: one per thread
        try:
            return reading.run(connection)
        except sqlite3.Error as error:
            if reading.is_abandoned:
                raise Unavailable("The caller has gone.") from error
            log_fault(error)
            raise failure_of(error) from error
        finally:
            self._idle.append(connection)


class _Reading(Generic[T]):
    """A query, and its connection while it runs."""

    def __init__(self, query: Callable[[sqlite3.Connection], T]) -> None:
        self._query = query
        self._connection: sqlite3.Connection | None = None
        self._changes = threading.Lock()
        """Held during an interrupt, and at the start and end of a query, so that no later query is interrupted."""
        self.is_abandoned = False

    def run(self, connection: sqlite3.Connection) -> T:
        """Run the query, unless its caller has gone."""
        with self._changes:
            if self.is_abandoned:
                raise Unavailable("The caller has gone.")
            self._connection = connection
        try:
            return self._query(connection)
        finally:
            with self._changes:
                self._connection = None

    def abandon(self) -> bool:
        """Interrupt the query if it runs; return whether it runs."""
        with self._changes:
            self.is_abandoned = True
            if self._connection is None:
                return False
            self._connection.interrupt()
            return True


def _interrupt(loop: asyncio.AbstractEventLoop, reading: _Reading[T]) -> None:
    if reading.abandon():
        loop.call_later(_INTERRUPT_AGAIN, _interrupt, loop, reading)
