"""Runs one of our programs as a container runtime or systemd may: some system calls refused, no executable memory.

``python -m tests.support.sandbox [--deny NAMES] [--errno ERRNO] [--service] [--no-new-code] MODULE ARGUMENT…``
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import errno
import os
import subprocess
import sys
from collections.abc import Iterable

_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
"""Actions of libseccomp; the number of the error is added to the second."""
_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1
"""``prctl`` of Linux 6.3: what systemd's MemoryDenyWriteExecute does."""


def why_not() -> str:
    """Return why programs cannot be run in this way on this machine; empty if they can."""
    if sys.platform != "linux":
        return "seccomp is of Linux"
    return "" if ctypes.util.find_library("seccomp") else "libseccomp is not installed"


def of_service() -> frozenset[str]:
    """Return the system calls that systemd allows with ``SystemCallFilter=@system-service ~@privileged @resources``."""
    return _group("@system-service") - _group("@privileged") - _group("@resources")


def _group(name: str) -> frozenset[str]:
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    words = {line.strip() for line in listed.stdout.splitlines()[1:] if line.strip() and "#" not in line}
    names = {word for word in words if not word.startswith("@")}
    return frozenset(names).union(*(_group(word) for word in words - names))


def _filter(default: int, names: Iterable[str], action: int) -> None:
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"), use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))
    for name in names:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:  # the others belong to other processors
            library.seccomp_rule_add(context, ctypes.c_uint32(action), number, 0)
    if library.seccomp_load(context):
        raise SystemExit("the filter cannot be loaded")


def main() -> None:
    """Restrict this process, and become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--deny", default="")
    parser.add_argument("--errno", default="EPERM")
    parser.add_argument("--service", action="store_true")
    parser.add_argument("--no-new-code", action="store_true")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    refused = _ERRNO + getattr(errno, asked.errno)
    allowed = of_service() if asked.service else frozenset[str]()
    if asked.no_new_code and ctypes.CDLL(None, use_errno=True).prctl(_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0):
        raise SystemExit("this kernel cannot refuse executable memory")
    if asked.deny:
        _filter(_ALLOW, asked.deny.split(","), refused)
    if asked.service:
        _filter(refused, allowed, _ALLOW)
    os.execv(sys.executable, [sys.executable, "-m", *asked.program])  # noqa: S606 - the program under test


if __name__ == "__main__":
    main()
