"""A disk that fails on command, for processes that are started with it: see ``faulty_disk.c``."""

from __future__ import annotations

import errno
import json
import mmap
import shutil
import struct
import subprocess
from dataclasses import asdict, dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Final

import pytest

_SOURCE: Final = Path(__file__).with_suffix(".c")
_COMMANDS: Final = struct.Struct("=7I228s")
ALWAYS: Final = 2**31
"""So many calls fail: all."""


class Kind(IntFlag):
    """System calls that can fail."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    READ = 8


class How(IntEnum):
    """What becomes of a call that fails."""

    REFUSED = 0
    DONE_AND_REFUSED = 1
    HALF_THEN_REFUSED = 2
    """The first does half and says so, the others are refused."""
    KILLED = 3
    """The process is killed before it."""
    DONE_AND_KILLED = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """Which calls fail, and how."""

    kinds: Kind
    error: int = errno.EIO
    how: How = How.REFUSED
    fail: int = 1
    """How many calls fail, one after the other."""
    name: str = "sharings.db"
    """Part of the path of the file, with a $ behind it."""

    def written(self) -> str:
        """For another process to `read`."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(written: str) -> Fault:
        """What was `written`."""
        return Fault(**json.loads(written))


def build(folder: Path) -> Path:
    """Answer the library; skips the test where there is no C compiler, or not this kind of system."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not Path("/proc/self/fd").exists():
        pytest.skip("a disk that fails on command needs a C compiler, and Linux")
    library = folder / "faulty_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    return library


class FaultyDisk:
    """The commands for the processes that have its `environment`."""

    def __init__(self, commands: Path) -> None:
        self.path = commands
        if not commands.exists():
            commands.write_bytes(bytes(_COMMANDS.size))
        with commands.open("r+b") as file:
            self._commands = mmap.mmap(file.fileno(), _COMMANDS.size)

    def environment(self, library: Path) -> dict[str, str]:
        """The variables that a process needs."""
        return {"LD_PRELOAD": str(library), "FAULTY_DISK": str(self.path)}

    def break_(self, fault: Fault, skip: int = 0) -> None:
        """Let calls fail from now on, after so many that are let through."""
        self.mend()
        name = fault.name.encode().ljust(228, b"\0")
        values = (0, skip, fault.fail, fault.error, fault.how, 0, 0)
        self._commands[:] = _COMMANDS.pack(*values, name)
        self._commands[:4] = struct.pack("=I", fault.kinds)

    def mend(self) -> None:
        """Let no call fail from now on."""
        self._commands[:4] = bytes(4)

    @property
    def seen(self) -> int:
        """Calls of the kinds that were meant since it broke."""
        return int(_COMMANDS.unpack(self._commands[:])[5])

    @property
    def failed(self) -> int:
        """Calls that failed since it broke."""
        return int(_COMMANDS.unpack(self._commands[:])[6])
