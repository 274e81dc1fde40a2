"""A consistent copy of a SQLite file, made while servers write to the file.

SQLite copies page by page, and restarts when another process writes, unless the reader holds a read transaction for the
whole time. Then SQLite copies the state at the start of the transaction, and with a write-ahead log no writer waits for
the copy. Meanwhile the log grows by all writes, as it cannot restart before the copy is done.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from backup_sharing.store.file_system import cause_of, is_there
from backup_sharing.store.progress import Bar
from backup_sharing.store.sqlite.connection import Unlocked, connect
from backup_sharing.store.sqlite.file import why
from backup_sharing.store.sqlite.start import sync_folder
from backup_sharing.store.unusable import UnusableDatabase

_PAGES: Final = 1024
"""Pages copied at once: 4 MiB, so that progress is visible and an interruption takes effect soon."""
_PATIENCE: Final = 5.0
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""


def back_up(source: Path, target: Path, *, replace: bool, bar: Bar) -> int:
    """Copy a database into a new file, readable by its owner only; return its size in bytes.

    The file gets its name when it is complete, checked and on the disk. ``replace``: overwrite an existing file of that
    name.
    Raises UnusableDatabase.
    """
    if not is_there(source):
        raise UnusableDatabase(source, "there is no such file")
    _refuse(source, target, replace=replace)
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _exclusive(partial) as descriptor:
            _copy(source, partial, bar)
            _check(source, partial)
            os.fsync(descriptor)
            _refuse(source, target, replace=replace)
            partial.replace(target)
            sync_folder(target.parent)
            return os.fstat(descriptor).st_size
    except OSError as error:
        raise UnusableDatabase(target, f"cannot be written: {cause_of(target) or error.strerror}") from error


def _refuse(source: Path, target: Path, *, replace: bool) -> None:
    if target.exists():
        if target.samefile(source):
            raise UnusableDatabase(target, "is the database itself")
        if not replace:
            raise UnusableDatabase(target, "is already there; --force replaces it")
    for suffix in _BESIDE:
        # SQLite would apply the content of such a file to the new database.
        if target.with_name(f"{target.name}{suffix}").exists():
            raise UnusableDatabase(target, f"a database of this name is in use: {target.name}{suffix} is there")


@contextmanager
def _exclusive(partial: Path) -> Iterator[int]:
    """Hold the file for the unfinished copy: empty one that a killed backup left, refuse one in use by another backup.

    SQLite loses its locks on a file when any descriptor of the file is closed, so this descriptor is closed after all
    connections.
    """
    import fcntl  # here: the rest of the program also runs on systems without this module

    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine = partial.exists() and os.path.samestat(partial.stat(), os.fstat(descriptor))
        except BlockingIOError:
            mine = False
        if not mine:
            raise UnusableDatabase(partial, "another backup is writing this file")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        try:
            yield descriptor
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        finally:
            for suffix in _BESIDE:
                partial.with_name(f"{partial.name}{suffix}").unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _copy(source: Path, partial: Path, bar: Bar) -> None:
    unlocked = Unlocked(source)
    with _unusable_on_error(source), closing(connect(source, busy_timeout=_PATIENCE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchall()  # the first read determines the state
        with _unusable_on_error(partial), closing(connect(partial, busy_timeout=0)) as writer:
            writer.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end
            ((pages,),) = reader.execute("PRAGMA page_count").fetchall()
            with bar("Copying", pages) as advance:
                done = 0

                def progress(_status: int, left: int, of: int) -> None:
                    nonlocal done
                    advance(of - left - done)
                    done = of - left

                reader.backup(writer, pages=_PAGES, progress=progress)
    unlocked.check()


def _check(source: Path, partial: Path) -> None:
    """Raise UnusableDatabase if the copy is damaged; it has every fault of its source."""
    with _unusable_on_error(partial), closing(connect(partial, busy_timeout=0, query_only=True)) as connection:
        found = [str(line) for (line,) in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise UnusableDatabase(source, f"the database is damaged, and so would be its copy: {' '.join(found)}")


@contextmanager
def _unusable_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UnusableDatabase(path, why(path, error)) from error
