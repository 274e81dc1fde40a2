"""The write-ahead log, read from its files: how far it is in use, and what is behind the last known commit.

SQLite reports the use of the log only to the connection that checkpoints it. The formats are
https://www.sqlite.org/fileformat2.html#walformat (a header, then frames of one page each) and
https://www.sqlite.org/walformat.html#walidxfmt. When everything was copied into the database, the log is written again
from its start, with another salt: frames with the header's salt are current, the frames behind them are old.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

_HEADER: Final = struct.Struct(">4I8s2I")
"""Of the log: magic, version, page size, number of checkpoints, salt, checksum."""
HEADER_SIZE: Final = _HEADER.size
"""Bytes before the first frame."""
_FRAME: Final = struct.Struct(">8s8s2I")
"""Before each page: number and commit, salt, checksum."""
_INDEX: Final = struct.Struct("=3I2BH4I8s2I")
"""Of the index, in the machine's byte order: the last commit is that of a frame, with that frame's checksum."""
_SALT: Final = 8
"""Bytes of the salt: the header's last but one field, and the second of each frame."""

_Checksum: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class LogUse:
    """How far the log is in use."""

    generation: bytes = b""
    """Another one each time the log begins again."""
    frames: int = 0
    """Pages written since it began, including those of a transaction that is not yet committed."""
    frame_size: int = 0

    @property
    def size(self) -> int:
        """Bytes; the file is often longer."""
        return self.frames * self.frame_size


def log_path(database: Path) -> Path:
    """Answer where SQLite keeps the log of a database."""
    return database.with_name(f"{database.name}-wal")


def log_use(log: Path) -> LogUse:
    """Look at a log; one that is missing or empty is not in use. Raises OSError."""
    try:
        file = os.open(log, os.O_RDONLY)
    except FileNotFoundError:
        return LogUse()
    try:
        return _log_use(file)
    finally:
        # Safe for this file alone: SQLite locks the other two, and closing those would drop its locks.
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
    """Where the last known commit ends."""

    frames: int
    checksum: _Checksum
    salt: bytes


def has_commit_behind(log: int, index: int) -> bool:
    """Whether whoever opens the database next would find a commit behind the last that its connections know of.

    Takes descriptors of the log and of its index, the ``-shm`` file. Hold the write lock meanwhile. Raises OSError.
    """
    end = _end(index)
    magic, _, page_size, _, salt, *checksum = _read(_HEADER, log, 0) or (0, 0, 0, 0, b"", 0, 0)
    if salt != end.salt:
        return False  # the log was to begin again, and did not: all in there is of before
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
    """Go on with the checksum: two sums that feed each other, over pairs of words."""
    first, second = before
    form = f"{'>' if words == 'big' else '<'}{len(content) // 4}I"
    numbers = iter(struct.unpack(form, content[: len(content) // 4 * 4]))
    for one, other in zip(numbers, numbers, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
