"""The write-ahead log, read from its files: its size in use, and commits after the last known commit.

SQLite reports the use of the log only to the connection that checkpoints it. The formats are
https://www.sqlite.org/fileformat2.html#walformat (a header, then frames of one page each) and
https://www.sqlite.org/walformat.html#walidxfmt. After everything was copied into the database, SQLite writes the log
again from its start, with another salt: frames with the header's salt are current, the frames after them are old.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

_HEADER: Final = struct.Struct(">4I8s2I")
"""Header of the log: magic, version, page size, number of checkpoints, salt, checksum."""
HEADER_SIZE: Final = _HEADER.size
"""Bytes before the first frame."""
_FRAME: Final = struct.Struct(">8s8s2I")
"""Header of each frame: number and commit, salt, checksum."""
_INDEX: Final = struct.Struct("=3I2BH4I8s2I")
"""Header of the index, in the machine's byte order: the frame number and the checksum of the last commit."""
_SALT: Final = 8
"""Bytes of the salt: the last but one field of the header, and the second field of each frame."""

_Checksum: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LogUse:
    """The part of the log in use."""

    generation: bytes = b""
    """Salt of the log; changes each time the log restarts."""
    frames: int = 0
    """Pages written since the restart, including pages of a transaction that is not yet committed."""
    frame_size: int = 0

    @property
    def size(self) -> int:
        """Bytes in use; the file is often longer."""
        return self.frames * self.frame_size


def log_path(database: Path) -> Path:
    """Return the path of the log of a database."""
    return database.with_name(f"{database.name}-wal")


def log_use(log: Path) -> LogUse:
    """Return the use of a log; a missing or empty log is not in use. Raises OSError."""
    try:
        file = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return LogUse()
    try:
        return _log_use(file)
    finally:
        # Safe for this file alone: SQLite locks its other two files, and closing those would drop its locks.
        os.close(file)


def _log_use(file: int) -> LogUse:
    header = os.pread(file, _HEADER.size, 0)
    if len(header) < _HEADER.size:
        return LogUse()
    frame_size = _FRAME.size + int.from_bytes(header[8:12], "big")
    salt = header[16 : 16 + _SALT]

    def is_old(frame: int) -> bool:
        return os.pread(file, _SALT, _HEADER.size + frame * frame_size + 8) != salt

    in_file = (os.fstat(file).st_size - _HEADER.size) // frame_size
    return LogUse(salt, bisect_left(range(in_file), True, key=is_old), frame_size)


@dataclass(frozen=True, slots=True)
class _End:
    """The end of the last known commit."""

    frames: int
    checksum: _Checksum
    salt: bytes


def has_commit_behind(log: int, index: int) -> bool:
    """Return whether the log holds a commit after the last commit that its connections know of.

    The next process that opens the database would find such a commit. Takes descriptors of the log and of its index,
    the ``-shm`` file. The caller must hold the write lock. Raises OSError.
    """
    end = _end(index)
    magic, _, page_size, _, salt, *checksum = _read(_HEADER, log, 0) or (0, 0, 0, 0, b"", 0, 0)
    if salt != end.salt:
        return False  # the log was due to restart, and did not: all its frames are old
    words = "big" if magic & 1 else "little"
    before = end.checksum if end.frames else (checksum[0], checksum[1])
    place = _HEADER.size + end.frames * (_FRAME.size + page_size)
    while frame := _read(_FRAME, log, place):
        about, of_salt, *of_frame = frame
        page = os.pread(log, page_size, place + _FRAME.size)
        before = _sum(about + page, before, words)
        if of_salt != salt or len(page) < page_size or before != tuple(of_frame):
            return False
        if int.from_bytes(about[4:], "big"):
            return True
        place += _FRAME.size + page_size
    return False


def _end(index: int) -> _End:
    fields = _read(_INDEX, index, 0)
    if fields is None:
        raise OSError("the index of the write-ahead log is too short")
    *_, frames, _, first, second, salt, _, _ = fields
    return _End(frames, (first, second), salt)


def _read(form: struct.Struct, file: int, place: int) -> tuple[Any, ...] | None:
    found = os.pread(file, form.size, place)
    return form.unpack(found) if len(found) == form.size else None


def _sum(content: bytes, before: _Checksum, words: str) -> _Checksum:
    """Continue the checksum: two sums that feed each other, over pairs of words."""
    first, second = before
    form = f"{'>' if words == 'big' else '<'}{len(content) // 4}I"
    numbers = iter(struct.unpack(form, content[: len(content) // 4 * 4]))
    for one, other in zip(numbers, numbers, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
