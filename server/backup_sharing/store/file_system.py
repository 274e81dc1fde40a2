"""The file system's part in a database that cannot be opened: SQLite's own messages hide the cause."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backup_sharing.store.unusable import UnusableDatabase

_BESIDE: Final = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""

READ_ONLY: Final = "its file system is mounted read-only"
FULL: Final = "the disk is full, or a quota is used up"

_FEW_BYTES: Final = 1024 * 1024
"""Free bytes below which a failure is taken for one of a full disk: a new database needs half as many."""


def is_there(path: Path) -> bool:
    """Return whether there is a file of this name; raises UnusableDatabase if that cannot be found out."""
    try:
        path.stat()
    except FileNotFoundError:
        if not path.absolute().parent.exists() or path.is_symlink():
            raise UnusableDatabase(path, cause_of(path) or "there is no such file") from None
        return False
    except OSError as error:
        raise UnusableDatabase(path, cause_of(path) or f"the file cannot be opened: {error.strerror}") from error
    return True


def is_read_only(path: Path) -> bool:
    """Return whether the file system of a file is mounted read-only."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def cause_of(path: Path) -> str:
    """Return why a database cannot be opened, created or written; empty if the file system shows no reason."""
    return next(_causes(path), "")


def _causes(path: Path) -> Iterator[str]:
    folder = path.absolute().parent
    try:
        yield from _of_folder(folder)
        yield from _of_file(path)
    except PermissionError:
        yield f"this user ({_user()}) may not look into a folder of the path"
        return
    except OSError as error:
        yield f"the file cannot be opened: {error.strerror}"
        return
    if is_read_only(folder):
        yield READ_ONLY
    yield from _of_permissions(path, folder)
    if _is_full(folder):
        yield FULL


def _of_folder(folder: Path) -> Iterator[str]:
    try:
        kind = folder.stat().st_mode
    except FileNotFoundError:
        yield f"the folder {folder} does not exist"
    except NotADirectoryError:
        yield f"a part of the path {folder} is a file, expected is a folder"
    else:
        if not stat.S_ISDIR(kind):
            yield f"{folder} is a file, expected is a folder"


def _of_file(path: Path) -> Iterator[str]:
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            yield "it is a symbolic link to a file that does not exist"
        return
    if stat.S_ISDIR(kind):
        yield "it is a folder, expected is a file"
    elif not stat.S_ISREG(kind):
        yield "it is no regular file"


def _of_permissions(path: Path, folder: Path) -> Iterator[str]:
    for name in (path.name, *(f"{path.name}{suffix}" for suffix in _BESIDE)):
        file = folder / name
        for mode, verb in ((os.R_OK, "read"), (os.W_OK, "write")):
            if file.exists() and not os.access(file, mode):
                yield f"this user ({_user()}) may not {verb} {file}"
    if not os.access(folder, os.W_OK | os.X_OK):
        yield f"this user ({_user()}) may not create files in {folder}, where SQLite keeps files beside the database"


def _is_full(folder: Path) -> bool:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _FEW_BYTES or (found.f_files > 0 and found.f_favail == 0)


def _user() -> str:
    return f"uid {os.geteuid()}"
