"""Checks that a SQLite database can be read and written, over a connection apart from all calls."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.store.sqlite.connection import LOCK_POLL, is_locked
from backup_sharing.store.sqlite.writer import Writer

_LOOK_AGAIN: Final = 5 * LOCK_POLL
"""Seconds between checks for a finished batch or a free lock."""


class Probe:
    """Checks in its own thread and over its own connection, which should be for writing and wait for no lock."""

    def __init__(self, connection: sqlite3.Connection, writer: Writer) -> None:
        """Check the database of the connection, which the probe owns from now on, and its writer."""
        self._connection = connection
        self._writer = writer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-probe")
        self._stopped = False

    async def look(self, seconds: float) -> None:
        """Return if the database can be read and written; raises `Unavailable` if it cannot within ``seconds``."""
        if self._stopped:
            raise Unavailable("The store is closed.")
        until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._look, until)
        except (sqlite3.Error, TimeoutError) as error:
            raise Unavailable("The store cannot be read and written now.") from error

    def stop(self) -> None:
        """Begin no more checks, and make the running one give up."""
        self._stopped = True

    def close(self) -> None:
        """Stop, wait for the running check, and close the connection."""
        self.stop()
        self._thread.shutdown(wait=True)
        self._connection.close()

    def _look(self, until: float) -> None:
        """Read, and wait until the writer finishes a batch, or is idle while the write lock is free."""
        before = self._writer.batches
        self._connection.execute("SELECT 1 FROM backups LIMIT 1").fetchone()
        while self._writer.batches == before:
            if self._writer.is_running and self._writer.is_idle and self._can_lock():
                return
            if self._stopped or not self._writer.is_running or time.monotonic() >= until:
                raise TimeoutError
            time.sleep(_LOOK_AGAIN)

    def _can_lock(self) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_locked(error):
                return False
            raise
        self._connection.execute("ROLLBACK")
        return True
