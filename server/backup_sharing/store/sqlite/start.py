"""Settling of the write-ahead log before anything new is appended.

After an unclean end, the log may hold a commit whose sync failed: reads find it in memory, but it is not on the disk. A
later commit would be lost with it at a power failure. So the whole content of the log is written again in place and
synced; then it is copied into the database, and the log restarts empty.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from backup_sharing.store.sqlite.checkpoint import begin_again
from backup_sharing.store.sqlite.connection import connect, is_full
from backup_sharing.store.sqlite.log import HEADER_SIZE, log_path, log_use

_log = logging.getLogger(__name__)

_BLOCK: Final = 1024 * 1024
_OTHERS_WITHIN: Final = 0.5
"""Seconds to wait for other processes on the same file, before the log restarts."""


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Sync the log and copy it into the database, so that nothing of it is in doubt.

    ``connection`` must be outside a transaction, and must wait for no lock. If other processes use the file, the log
    may be non-empty afterwards. Raises sqlite3.Error, also if the database is locked, and OSError.
    """
    if log_use(log_path(path)).frames == 0:
        return
    connection.execute("BEGIN IMMEDIATE")  # or another process could write, and this one would overwrite new pages
    try:
        _write_again(log_path(path))
    finally:
        connection.execute("ROLLBACK")
    with closing(connect(path, busy_timeout=0, query_only=True)) as guard:
        try:
            if not begin_again(connection, guard, "TRUNCATE", _OTHERS_WITHIN):
                _log.info("the write-ahead log is synced, but not empty: other processes use the database")
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            _log.warning("the disk is full: the data in the write-ahead log is safe, but changes will fail")


def sync_folder(folder: Path) -> None:
    """Sync the names of the files in a folder to the disk. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # the folder is writable, but not readable
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _write_again(log: Path) -> None:
    """Write the used part of the log over itself: otherwise a page whose sync failed counts as synced.

    The descriptor may be closed: SQLite takes no lock on this file.
    """
    use = log_use(log)
    end = HEADER_SIZE + use.size
    file = os.open(log, os.O_RDWR)
    try:
        for place in range(0, end, _BLOCK):
            block = os.pread(file, min(_BLOCK, end - place), place)
            while block:
                written = os.pwrite(file, block, place)
                block, place = block[written:], place + written
        os.fsync(file)
    finally:
        os.close(file)
