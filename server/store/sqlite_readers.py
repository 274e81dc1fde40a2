"""A few threads that read, each on a connection of its own, beside the writer and each other."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from server.errors import Unavailable
from server.store.sqlite_connection import failure_of, log_fault

T = TypeVar("T")


class Readers:
    """Runs queries in as many threads as there are connections, which it owns from now on."""

    def __init__(self, connections: Sequence[sqlite3.Connection]) -> None:
        self._idle = list(connections)
        self._threads = ThreadPoolExecutor(len(self._idle), thread_name_prefix="sqlite-reader")
        self._stopped = False

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Answer the query from data that holds everything committed before this call.

        Raises what the query raises, `Unavailable` or `StoredDataUnreadable`.
        """
        if self._stopped:
            raise Unavailable("The store is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, query)

    def stop(self) -> None:
        """Take no more queries, and let those that wait fail; those under way go on."""
        self._stopped = True

    def close(self) -> None:
        """Stop, wait for the queries under way, and let go of the database."""
        self.stop()
        self._threads.shutdown(wait=True)
        while self._idle:
            self._idle.pop().close()

    def _run(self, query: Callable[[sqlite3.Connection], T]) -> T:
        if self._stopped:
            raise Unavailable("The store is closed.")
        connection = self._idle.pop()  # never empty: one for each thread
        try:
            return query(connection)
        except sqlite3.Error as error:
            log_fault(error)
            raise failure_of(error) from error
        finally:
            self._idle.append(connection)
