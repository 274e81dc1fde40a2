"""The end of a server as in a crash of its machine: all of its processes at once, with nothing written any more."""

from __future__ import annotations

import time
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types of its own

from tests.support.postgres.folder import PATIENCE


def kill_all(pid: int) -> None:
    """Kill a postmaster and all that it started; none of them runs when this returns."""
    postmaster = psutil.Process(pid)
    postmaster.suspend()  # so that it starts none meanwhile, and does nothing about those that end
    processes = [*postmaster.children(recursive=True), postmaster]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    end = time.monotonic() + PATIENCE
    while not all(map(is_gone, processes)):
        assert time.monotonic() < end, f"{processes} do not end"
        time.sleep(0.001)


def is_gone(process: psutil.Process) -> bool:
    """Whether nothing of it runs; that nobody has asked yet how it ended does not count."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def remove_traces(data: Path) -> None:
    """Remove what a killed postmaster leaves on the machine: shared memory, and a lock whose pid may get another's."""
    lock = data / "postmaster.pid"
    _, shared_memory = lock.read_text(encoding="ascii").splitlines()[6].split()
    CDLL(None).shmctl(int(shared_memory), 0, None)  # 0 is IPC_RMID
    lock.unlink()
