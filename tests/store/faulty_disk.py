"""A disk that fails on command, for processes that preload ``faulty_disk.c``."""

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
"""Value of `Fault.fail` for all calls."""


class Kind(IntFlag):
    """System calls that can fail."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    READ = 8


class How(IntEnum):
    """The effect of a fault on a system call."""

    REFUSED = 0
    DONE_AND_REFUSED = 1
    HALF_THEN_REFUSED = 2
    """The first call does half of its work and reports that; further calls are refused."""
    KILLED = 3
    """The process is killed before the call."""
    DONE_AND_KILLED = 4


@dataclass(frozen=True, slots=True)
class Fault:
    """The calls that fail, and the effect."""

    kinds: Kind
    error: int = errno.EIO
    how: How = How.REFUSED
    fail: int = 1
    """Number of consecutive calls that fail."""
    name: str = "sharings.db"
    """Part of the path of the file; the path is compared with a "$" appended."""

    def written(self) -> str:
        """Serialize the fault for `read` in another process."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(written: str) -> Fault:
        """Parse the result of `written`."""
        return Fault(**json.loads(written))


def build(folder: Path) -> Path:
    """Build the library and return its path; skip the test without a C compiler or ``/proc``."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not Path("/proc/self/fd").exists():
        pytest.skip("the faulty disk needs a C compiler and Linux")
    library = folder / "faulty_disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    return library


class FaultyDisk:
    """Control of the disk of all processes that have its `environment`."""

    def __init__(self, commands: Path) -> None:
        self.path = commands
        if not commands.exists():
            commands.write_bytes(bytes(_COMMANDS.size))
        with commands.open("r+b") as file:
            self._commands = mmap.mmap(file.fileno(), _COMMANDS.size)

    def environment(self, library: Path) -> dict[str, str]:
        """Return the environment variables for a process."""
        return {"LD_PRELOAD": str(library), "FAULTY_DISK": str(self.path)}

    def break_(self, fault: Fault, skip: int = 0) -> None:
        """Let calls fail from now on; the first ``skip`` calls pass."""
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
        """Number of calls that matched the fault since `break_`."""
        return int(_COMMANDS.unpack(self._commands[:])[5])

    @property
    def failed(self) -> int:
        """Number of calls that failed since `break_`."""
        return int(_COMMANDS.unpack(self._commands[:])[6])
