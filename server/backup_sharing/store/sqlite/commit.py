"""COMMIT, and what one that failed has left behind.

A commit is whole once its last frame is whole in the file of the log: whoever opens the database after the process has
died finds it there, whatever the driver said. So a driver's error alone does not tell that nothing is stored.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.connection import LOCK_POLL, is_failed_sync, is_locked
from backup_sharing.store.sqlite.log import has_commit_behind, log_path

_log = logging.getLogger(__name__)

_LOOK_WITHIN: Final = 1.0
"""Seconds to wait for other processes that write, before it is looked what a commit has left behind."""


class CommitUnknown(Exception):
    """A transaction may be stored. The cause is the driver's error."""


class Commits:
    """Commits the transactions of one connection."""

    def __init__(self, connection: sqlite3.Connection, breakdown: Callable[[Exception], None]) -> None:
        """Call ``breakdown`` with the error when the file cannot be relied on any more."""
        self._connection = connection
        self._breakdown = breakdown
        self._index: int | None = None

    def commit(self) -> None:
        """Commit the transaction; it is on the disk when this returns.

        Raises sqlite3.Error if nothing of it is stored, and never will be, or `CommitUnknown`.
        """
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed sync even what stands in the file may not be on the disk, and no later sync would tell.
            if is_failed_sync(error) or self._may_be_whole():
                self._breakdown(error)
                raise CommitUnknown from error
            raise

    def failed(self, error: sqlite3.Error) -> None:
        """Take note of an error before the commit: it stored nothing, but the file may not be reliable any more."""
        if is_failed_sync(error):
            self._breakdown(error)

    def _may_be_whole(self) -> bool:
        """Whether the log has a whole commit that no connection knows of; True if that cannot be found out."""
        try:
            self._keep_others_out()
            try:
                return self._has_commit_behind()
            finally:
                self._connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError):
            _log.exception("it cannot be found out what a failed commit has left in the write-ahead log")
            return True

    def _keep_others_out(self) -> None:
        """Hold the write lock."""
        give_up_at = time.monotonic() + _LOOK_WITHIN
        while not self._connection.in_transaction:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not is_locked(error) or time.monotonic() > give_up_at:
                    raise
                time.sleep(LOCK_POLL)

    def _has_commit_behind(self) -> bool:
        ((_, _, file),) = self._connection.execute("PRAGMA database_list").fetchall()
        database = Path(file)
        if self._index is None:
            # Kept till the process ends: closing any descriptor of this file would drop SQLite's locks on it.
            self._index = os.open(database.with_name(f"{database.name}-shm"), os.O_RDONLY)
        log = os.open(log_path(database), os.O_RDONLY)
        try:
            return has_commit_behind(log, self._index)
        finally:
            os.close(log)
