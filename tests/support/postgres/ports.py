"""Ports for servers that are stopped and started again while clients try to connect."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port on loopback that nobody listens on, nor is likely to get before its server has it again.

    It is below those that the system gives to outgoing connections: one of these could take it while the server is
    stopped, and a client that tries until the server is back could even be connected with itself.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 -- no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
