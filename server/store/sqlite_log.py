"""How far the write-ahead log is in use, read from its file, for SQLite tells only who checkpoints it.

The format is https://www.sqlite.org/fileformat2.html#walformat: a header, then frames of one page
each. When everything was copied into the database, the log is written again from its start, with
another salt: frames that carry the header's salt are of now, those behind them of before.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEADER_SIZE: Final = 32
"""Bytes before the first frame."""
_FRAME_HEADER: Final = 24
_SALT: Final = 8
"""Bytes of the salt: the header's last but one field, and the second of each frame."""


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
    header = os.pread(file, HEADER_SIZE, 0)
    if len(header) < HEADER_SIZE:
        return LogUse()
    frame_size = _FRAME_HEADER + int.from_bytes(header[8:12], "big")
    salt = header[16 : 16 + _SALT]

    def is_old(frame: int) -> bool:
        return os.pread(file, _SALT, HEADER_SIZE + frame * frame_size + 8) != salt

    in_file = (os.fstat(file).st_size - HEADER_SIZE) // frame_size
    return LogUse(salt, bisect_left(range(in_file), True, key=is_old), frame_size)
