"""What processes use: CPU time, and memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def cpu_ns_of_all(pids: Sequence[int]) -> int | None:
    """CPU time used by some processes and their children, also those that have ended; None where that is not known."""
    used = [_cpu_ns_with_children(pid) for pid in pids]
    known = [ns for ns in used if ns is not None]
    return sum(known) if len(known) == len(used) else None


def _cpu_ns_with_children(pid: int) -> int | None:
    own = cpu_ns(pid)
    # What a child used is added to its parent when that has taken note of its end.
    return None if own is None else own + sum(cpu_ns(child) or 0 for child in children(pid)) + _ended_ns(pid)


def children(pid: int) -> Sequence[int]:
    """The processes that a process of one thread has started, and that have not ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []


def _ended_ns(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return _ns_of_ticks(int(fields[13]) + int(fields[14]))
    except (OSError, ValueError):
        return 0


def _ns_of_ticks(ticks: int) -> int:
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_ns(pid: int) -> int | None:
    """CPU time that a process has used in all its threads, in nanoseconds; None where the platform does not tell."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((thread / "schedstat").read_text(encoding="ascii").split()[0]) for thread in threads)
    except (OSError, ValueError):
        return _cpu_ticks(pid)


def _cpu_ticks(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return _ns_of_ticks(int(fields[11]) + int(fields[12]))
    except (OSError, ValueError):
        return None


def rss_mb(pid: int) -> float | None:
    """Resident memory of a process in MB (10⁶ bytes); None where the platform does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, ValueError):
        return None
