"""Floods of health checks and health watches."""

from __future__ import annotations

import itertools

from tests.support.attacks.wire import END_STREAM, Attack, frame, message

CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"


def asking(address: str, path: str, *, calls: int, connections: int = 1) -> Attack:
    """Make calls for the overall health of the server without reading the replies."""
    attack = Attack()
    for _ in range(connections):
        connection = attack.open(address)
        made = (connection.call(path) for _ in range(calls))
        connection.flood(
            itertools.chain.from_iterable(
                (headers, frame(0, END_STREAM, stream, message(b""))) for stream, headers in made
            )
        )
    return attack
