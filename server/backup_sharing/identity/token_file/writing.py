"""Files that are replaced as a whole, by one process at a time, so that a reader sees the old or the new content."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PATIENCE: Final = 10.0
"""Seconds to wait for another process that changes the file; a change takes milliseconds."""
_BY_OTHERS: Final = stat.S_IRWXO


class CannotChange(Exception):
    """The file cannot be changed now; the message says why."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing files in the folder of ``path`` until the context ends.

    The lock is on the folder, because a lock on a file ends with its replacement. On a file system without locks,
    this does nothing.

    Raises:
        CannotChange: another process holds the lock for too long.
        OSError: the folder cannot be opened.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(folder, path)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise CannotChange(f"{path}: another process changes a file of this folder; try again") from None
            time.sleep(0.02)
        except OSError:
            return
        else:
            return


def replace(path: Path, text: str) -> None:
    """Replace a file, or create it, readable only by its owner. The content is on the disk when this returns.

    Owner and group stay, and so does the mode unless everybody could read the file.

    Raises:
        CannotChange: this user cannot keep the owner of the file.
        OSError: the file cannot be written; it is as before then.
    """
    # mkstemp creates a file that only its owner can read.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            _keep_owner(file.fileno(), path)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _keep_owner(handle: int, path: Path) -> None:
    try:
        before = path.stat()
    except FileNotFoundError:
        return
    now = os.fstat(handle)
    if (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.fchown(handle, before.st_uid, before.st_gid)
        except OSError as error:
            raise CannotChange(f"{path}: its owner would change ({error.strerror}); run this as its owner") from None
    if not before.st_mode & _BY_OTHERS:
        os.fchmod(handle, stat.S_IMODE(before.st_mode))


def _sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
