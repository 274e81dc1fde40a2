"""Loopback ports for test servers, unique across concurrent test processes."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

RANGE = range(10_000, 32_000)
"""Ports below the range that the system uses for outgoing connections.

A port of that range could be taken while its server is stopped, and a client that retries until the server is back
could even connect to itself.
"""


_given: set[int] = set()


def free_port() -> int:
    """Return a port without a listener; neither this nor another test process gets the port again.

    Each process locks one byte of a file, at the offset of the port number, and holds the lock until it exits.
    Therefore workers of pytest-xdist and tests of other checkouts never share a port, even before a server listens.
    """
    while True:
        port = random.choice(RANGE)  # noqa: S311 -- no secret
        if port not in _given and _claimed(port) and _is_free(port):
            _given.add(port)
            return port


def free_address() -> str:
    """Return HOST:PORT with a free port."""
    return f"127.0.0.1:{free_port()}"


def _claimed(port: int) -> bool:
    with suppress(OSError):  # another process holds the lock
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    return False


@cache
def _locks() -> int:
    """Open this user's lock file. It stays open until the process exits: closing it would release the locks.

    Return a file descriptor: Python would warn about a file object that nobody closes.
    """
    path = Path(tempfile.gettempdir(), f"backup-sharing-test-ports-{os.getuid()}")
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
