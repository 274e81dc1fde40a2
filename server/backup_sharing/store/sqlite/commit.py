"""COMMIT, and the check of the log after a failed COMMIT.

A commit is whole once its last frame is whole in the log file: a process that opens the database after the death of
this one finds the commit there, whatever the driver reported. So an error of the driver alone does not prove that
nothing is stored.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.connection import is_failed_sync, lock_to_write
from backup_sharing.store.sqlite.log import has_commit_behind, log_path

_log = logging.getLogger(__name__)

_LOOK_WITHIN: Final = 1.0
"""Seconds to wait for other writing processes, before the log is checked after a failed commit."""


class CommitUnknown(Exception):
    """A transaction may be stored. The cause is the driver's error."""


class Commits:
    """The commits of one connection."""

    def __init__(self, connection: sqlite3.Connection, breakdown: Callable[[Exception], None]) -> None:
        """Call ``breakdown`` with the error when the file is no longer reliable."""
        self._connection = connection
        self._breakdown = breakdown
        self._index: int | None = None
        self.seconds = 0.0
        """Seconds of all commits so far, including those that failed."""

    def commit(self) -> None:
        """Commit the transaction; return when it is on the disk.

        Raises sqlite3.Error if nothing of it is stored and never will be, `CommitUnknown` otherwise.
        """
        began = time.monotonic()
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            # After a failed sync, data in the file may be missing on the disk, and no later sync would report that.
            if is_failed_sync(error) or self._may_be_whole():
                self._breakdown(error)
                raise CommitUnknown from error
            raise
        finally:
            self.seconds += time.monotonic() - began

    def failed(self, error: sqlite3.Error) -> None:
        """Handle an error before the commit: nothing is stored, but the file may no longer be reliable."""
        if is_failed_sync(error):
            self._breakdown(error)

    def _may_be_whole(self) -> bool:
        """Return whether the log has a whole commit that no connection knows of; True if the check fails."""
        try:
            self._take_write_lock()
            try:
                return self._has_commit_behind()
            finally:
                self._connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError):
            _log.exception("the write-ahead log could not be checked after a failed commit")
            return True

    def _take_write_lock(self) -> None:
        give_up_at = time.monotonic() + _LOOK_WITHIN
        while not self._connection.in_transaction:
            lock_to_write(self._connection, give_up_at)

    def _has_commit_behind(self) -> bool:
        ((_, _, file),) = self._connection.execute("PRAGMA database_list").fetchall()
        database = Path(file)
        if self._index is None:
            # Kept open until the process ends: closing any descriptor of this file would drop SQLite's locks on it.
            self._index = os.open(database.with_name(f"{database.name}-shm"), os.O_RDONLY)
        log = os.open(log_path(database), os.O_RDONLY)
        try:
            return has_commit_behind(log, self._index)
        finally:
            os.close(log)
