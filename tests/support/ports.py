"""Ports on loopback for the servers of tests, also when several test processes run on one machine."""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

RANGE = range(10_000, 32_000)
"""Below the ports that the system gives to outgoing connections.

One of these could take the port while its server is stopped, and a client that tries until the server is back could
even be connected with itself.
"""


_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on. Neither this nor another process of tests gets it again.

    Each process locks one byte of a file, at the number of the port, and holds the lock until it ends. So neither
    the workers of pytest-xdist nor the tests of another checkout get the same port, even before a server listens.
    """
    while True:
        port = random.choice(RANGE)  # noqa: S311 -- no secret
        if port not in _given and _claimed(port) and _is_free(port):
            _given.add(port)
            return port


def free_address() -> str:
    """HOST:PORT with a free port."""
    return f"127.0.0.1:{free_port()}"


def _claimed(port: int) -> bool:
    with suppress(OSError):  # another process has it
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        return True
    return False


@cache
def _locks() -> BinaryIO:
    """The file of this user. It stays open until the process ends, because closing it would drop the locks."""
    return Path(tempfile.gettempdir(), f"backup-sharing-test-ports-{os.getuid()}").open("ab")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
