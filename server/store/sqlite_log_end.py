"""What stands in the write-ahead log behind the last commit that connections know of.

The formats are https://www.sqlite.org/fileformat2.html#walformat and https://www.sqlite.org/walformat.html#walidxfmt.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

_HEADER: Final = struct.Struct(">4I8s2I")
"""Of the log: magic, version, page size, number of checkpoints, salt, checksum."""
_FRAME: Final = struct.Struct(">8s8s2I")
"""Before each page: number and commit, salt, checksum."""
_INDEX: Final = struct.Struct("=3I2BH4I8s2I")
"""Of the index, in the machine's byte order: the last commit is that of a frame, with that frame's checksum."""

_Checksum: TypeAlias = tuple[int, int]


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
