"""Programs under test as processes: on the core they belong to, watched, ended by their own id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.support.programs import PACKAGES, environment

ROOT = Path(__file__).parents[1]

BUILD = ROOT / "build" / "bench"
"""Ignored by git; on the same disk as the checkout, so that a commit means what it says."""

_PATIENCE = 30.0
"""Seconds for a program to listen, or to end."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    load: frozenset[int]
    """The load generator's."""
    tested: frozenset[int]
    """Shared by everything that is measured."""

    @property
    def are_apart(self) -> bool:
        """Whether load and tested programs are kept from each other."""
        return bool(self.load) and not self.load & self.tested

    def __str__(self) -> str:
        if not self.are_apart:
            return "not pinned: this machine has one core, or no sched_setaffinity"
        return f"load generator on core {min(self.load)}, everything under test on core {min(self.tested)}"


def choose_cores() -> Cores:
    """Two cores that do not share one's hardware, if there are such."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(frozenset(), frozenset())
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return Cores(frozenset(usable), frozenset(usable))
    others = [core for core in usable[1:] if core not in _siblings(usable[0])] or usable[1:]
    return Cores(frozenset(usable[:1]), frozenset(others[:1]))


def _siblings(core: int) -> set[int]:
    with suppress(OSError, ValueError):
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text(encoding="ascii")
        spans = [span.partition("-") for span in text.strip().split(",")]
        return {one for first, _, last in spans for one in range(int(first), int(last or first) + 1)}
    return {core}


@contextmanager
def running_on(cores: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and the processes and threads it starts meanwhile, on some cores."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_address() -> str:
    """HOST:PORT on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def python(module: str, *arguments: str) -> Sequence[str]:
    """The command line of a module or program of this checkout."""
    return (sys.executable, "-m", PACKAGES.get(module, module), *arguments)


@contextmanager
def running(
    command: Sequence[str],
    cores: frozenset[int],
    listen: str = "",
    *,
    root: Path = ROOT,
    log: Path | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the context is left, at first until it listens on ``listen``.

    ``root``: the checkout that it runs in.
    ``variables``: environment variables of the program, beside those of this process.
    ``log``: a file for what a program that listens writes to standard error.

    Raises:
        RuntimeError: it ended, or does not listen.
    """
    with running_on(cores), open(log or os.devnull, "wb") as written:
        process = subprocess.Popen(  # noqa: S603 - programs of this checkout, and Envoy
            command,
            cwd=root,
            env={**environment(root), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if not listen else subprocess.DEVNULL,
            stderr=written if listen else None,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        )
    try:
        if listen:
            _wait_until_listening(process, listen, command)
        yield process
    finally:
        _end(process)


def _wait_until_listening(process: subprocess.Popen[bytes], address: str, command: Sequence[str]) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), _connected(address):
            return
        time.sleep(0.02)
    raise RuntimeError(f"does not listen; try it by hand: {' '.join(command)}")


def _connected(address: str) -> socket.socket:
    """A connection to HOST:PORT or ``unix:PATH``. Raises OSError."""
    if not address.startswith("unix:"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=1)
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(address[5:])
    except OSError:
        connection.close()
        raise
    return connection


def _end(process: subprocess.Popen[bytes]) -> None:
    for end in (process.terminate, process.terminate, process.kill):
        if process.poll() is None:
            end()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE / 2)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
