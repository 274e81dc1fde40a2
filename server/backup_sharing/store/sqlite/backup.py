"""A copy of a SQLite file that is consistent, made while servers write to it.

SQLite copies page by page, and begins again when somebody else writes, unless the reader holds a read transaction all
the time: then it copies the state at which that began, and with a write-ahead log no writer waits for it. The log
grows meanwhile by what is written, for none of it can begin again before the copy is done.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from backup_sharing.store.progress import Bar
from backup_sharing.store.sqlite.connection import connect
from backup_sharing.store.sqlite.file import why
from backup_sharing.store.sqlite.start import sync_folder
from backup_sharing.store.unusable import UnusableDatabase

_PAGES: Final = 1024
"""Copied at once: 4 MiB, so that progress is seen and an interruption is heard."""
_PATIENCE: Final = 5.0
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for files of its own beside it."""


def back_up(source: Path, target: Path, *, replace: bool, bar: Bar) -> int:
    """Copy a database into a new file, readable by its owner only; answers its size in bytes.

    The file gets its name when it is complete, checked and on the disk. ``replace``: whatever has this name.
    Raises UnusableDatabase.
    """
    if not source.exists():
        raise UnusableDatabase(source, "there is no such file")
    _refuse(source, target, replace=replace)
    partial = target.with_name(f"{target.name}.partial")
    try:
        with _alone(partial) as descriptor:
            _copy(source, partial, bar)
            _check(source, partial)
            os.fsync(descriptor)
            _refuse(source, target, replace=replace)
            partial.replace(target)
            sync_folder(target.parent)
            return os.fstat(descriptor).st_size
    except OSError as error:
        raise UnusableDatabase(target, f"cannot be written: {error.strerror}") from error


def _refuse(source: Path, target: Path, *, replace: bool) -> None:
    if target.exists():
        if target.samefile(source):
            raise UnusableDatabase(target, "is the database itself")
        if not replace:
            raise UnusableDatabase(target, "is already there; --force replaces it")
    for suffix in _BESIDE:
        # SQLite would bring what is in there into the new file.
        if target.with_name(f"{target.name}{suffix}").exists():
            raise UnusableDatabase(target, f"a database of this name is in use: {target.name}{suffix} is there")


@contextmanager
def _alone(partial: Path) -> Iterator[int]:
    """Have the file for the unfinished copy; what a backup that was killed left there goes, what another writes stays.

    SQLite loses its locks on a file when any descriptor of it is closed: this one is closed behind all connections.
    """
    import fcntl  # here: the rest of the program runs also where there is no such module

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
    with _told(source), closing(connect(source, busy_timeout=_PATIENCE)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT name FROM sqlite_schema LIMIT 1").fetchall()  # the state is that of the first read
        with _told(partial), closing(connect(partial, busy_timeout=0)) as writer:
            writer.execute("PRAGMA synchronous = OFF")  # the whole file is synced in the end
            ((pages,),) = reader.execute("PRAGMA page_count").fetchall()
            with bar("Copying", pages) as advance:
                done = 0

                def progress(_status: int, left: int, of: int) -> None:
                    nonlocal done
                    advance(of - left - done)
                    done = of - left

                reader.backup(writer, pages=_PAGES, progress=progress)


def _check(source: Path, partial: Path) -> None:
    """Look whether the copy is whole; it has every fault of its source."""
    with _told(partial), closing(connect(partial, busy_timeout=0, query_only=True)) as connection:
        found = [str(line) for (line,) in connection.execute("PRAGMA quick_check(1)")]
    if found != ["ok"]:
        raise UnusableDatabase(source, f"the database is damaged, and so would be its copy: {' '.join(found)}")


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise UnusableDatabase(path, why(error)) from error
