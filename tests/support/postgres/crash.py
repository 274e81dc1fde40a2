"""Simulated machine crash: kill all processes of a server at once, without any further write."""

from __future__ import annotations

import time
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types

from tests.support.postgres.folder import PATIENCE


def kill_all(pid: int) -> None:
    """Kill a postmaster and all its child processes; return once all have ended."""
    postmaster = psutil.Process(pid)
    postmaster.suspend()  # so that it neither starts processes nor reacts to ended ones
    processes = [*postmaster.children(recursive=True), postmaster]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    end = time.monotonic() + PATIENCE
    while not all(map(is_gone, processes)):
        assert time.monotonic() < end, f"{processes} do not end"
        time.sleep(0.001)


def is_gone(process: psutil.Process) -> bool:
    """Return whether the process has ended; a zombie counts as ended."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def remove_traces(data: Path) -> None:
    """Remove shared memory and lock file of a killed postmaster: another process may reuse the pid in the lock file."""
    lock = data / "postmaster.pid"
    _, shared_memory = lock.read_text(encoding="ascii").splitlines()[6].split()
    CDLL(None).shmctl(int(shared_memory), 0, None)  # 0 is IPC_RMID
    lock.unlink()
