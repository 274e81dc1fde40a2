"""All connections of clients: how many there are, which one goes when there are too many, and what they hold."""

from __future__ import annotations

import resource
from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from programkit.sparing import Sparing

_MOST_BY_DEFAULT: Final = 10_000
_RESERVE: Final = 64
"""File descriptors for everything that is no connection of a client: servers, certificates, logs, names."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What the connections of clients may take together."""

    connections: int
    per_client: int
    """Connections from one address; 0: any number."""
    unfinished_bytes: int
    """Of requests that are not whole."""


class Closable(Protocol):
    """A connection, or one that is becoming one."""

    def abort(self) -> None:
        """Close at once."""


def most_connections(wanted: int) -> int:
    """As many connections as are wanted, or 10 000 for 0, but never all file descriptors that this process may open."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = max(descriptors - _RESERVE, descriptors // 2, 1)
    return min(wanted or _MOST_BY_DEFAULT, room)


class Connections:
    """Keeps count of the connections, and makes room for new ones.

    A connection waits while it has no whole request: before its first, between two, while one arrives. Connections
    that wait go first, the one that has waited longest before the others.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._clients: dict[Closable, str] = {}
        self._count: Counter[str] = Counter()
        self._waiting: dict[Closable, None] = {}
        self._unfinished: dict[Closable, int] = {}
        self._unfinished_bytes = 0
        self._log = Sparing("restmap_gateway.http.connections", burst=20, per_second=1.0)

    def opened(self, connection: Closable, client: str, instead_of: Closable | None = None) -> bool:
        """Take up a connection, which waits; False if there is no room for it.

        Args:
            connection: a new one.
            client: its address.
            instead_of: what it was until now.
        """
        limits = self._limits
        if instead_of is not None:
            self.closed(instead_of)
        if 0 < limits.per_client <= self._count[client]:
            return self._refused("the client has as many as one may have")
        if len(self._clients) >= limits.connections and not self._close_longest_waiting():
            return self._refused("none of the others waits for a request")
        self._clients[connection] = client
        self._count[client] += 1
        self._waiting[connection] = None
        return True

    def closed(self, connection: Closable) -> None:
        """Forget a connection; one that was never taken up is fine too."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]
        self._waiting.pop(connection, None)
        self._forget_unfinished(connection)

    def make_room(self) -> None:
        """Close one that waits, if there is one."""
        self._close_longest_waiting()

    def waits(self, connection: Closable) -> None:
        """From now on the connection waits for its next request."""
        if connection in self._clients:
            self._waiting[connection] = None

    def is_served(self, connection: Closable) -> None:
        """The connection waits no more: a whole request is there."""
        self._waiting.pop(connection, None)

    def holds(self, connection: Closable, unfinished: int) -> None:
        """So many bytes of a request have arrived, and more are to come; 0: none."""
        if not unfinished or connection not in self._clients:  # a closed one may have more to read
            self._forget_unfinished(connection)
            return
        self._unfinished_bytes += unfinished - self._unfinished.get(connection, 0)
        self._unfinished[connection] = unfinished
        while self._unfinished_bytes > self._limits.unfinished_bytes:
            self._close(next(iter(self._unfinished)), "requests that are not whole hold too many bytes")

    def _forget_unfinished(self, connection: Closable) -> None:
        self._unfinished_bytes -= self._unfinished.pop(connection, 0)

    def _close_longest_waiting(self) -> bool:
        longest = next(iter(self._waiting), None)
        if longest is not None:
            self._close(longest, "there are more connections, and this one has waited longest")
        return longest is not None

    def _close(self, connection: Closable, why: str) -> None:
        self.closed(connection)
        connection.abort()
        self._log.warning("connection closed", why=why)

    def _refused(self, why: str) -> bool:
        self._log.warning("connection refused", why=why, connections=len(self._clients))
        return False
