"""What has to be done with the write-ahead log of a database before anything new stands behind it.

After an unclean end the log may hold a commit whose sync failed: it is read from memory, and not on the disk. A change
that was committed behind it would be lost with it when the power fails. So all that the log holds is written once
more, in place, and synced; then it is copied into the database, and the log begins again, empty.
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
"""Seconds to wait for other processes on the same file, to begin the log again."""


def settle(connection: sqlite3.Connection, path: Path) -> None:
    """Make sure that all in the log is on the disk, and copy it; return with nothing of it in doubt.

    ``connection`` is outside a transaction, and waits for no lock. Other processes may use the file: then the log need
    not be empty afterwards. Raises sqlite3.Error, also when it is locked, and OSError.
    """
    if log_use(log_path(path)).frames == 0:
        return
    connection.execute("BEGIN IMMEDIATE")  # or another process would write, and this one write old pages over it
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
            _log.warning("the disk is full: what the write-ahead log holds is safe, but changes will fail")


def sync_folder(folder: Path) -> None:
    """Make sure that the names of the files in a folder are on the disk. Raises OSError."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # files may be made there, but nobody may look
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no such thing
            raise
    finally:
        os.close(descriptor)


def _write_again(log: Path) -> None:
    """Write what is in use of the log over itself: a page whose sync failed is otherwise taken for one that is synced.

    The descriptor may be closed: of this file SQLite locks nothing.
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
