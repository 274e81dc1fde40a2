"""All client connections: their number, the choice of the one to close at the limit, and the bytes that they hold."""

from __future__ import annotations

import resource
from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol

from programkit.process.scheduling import report_refused
from programkit.rate_limited_log import RateLimitedLog

_MOST_BY_DEFAULT: Final = 10_000
_RESERVE: Final = 64
"""File descriptors kept for other uses than client connections: servers, certificates, logs, DNS."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of all client connections together."""

    connections: int
    per_client: int
    """Connections from one address; 0: no limit."""
    unfinished_bytes: int
    """Bytes of incomplete requests."""


class Closable(Protocol):
    """A connection, or a TLS handshake that becomes one."""

    def abort(self) -> None:
        """Close at once."""


def most_connections(wanted: int) -> int:
    """Return the wanted number of connections, 10 000 for 0, limited by the file descriptors of this process."""
    most = wanted or _MOST_BY_DEFAULT
    try:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError as error:
        report_refused("RLIMIT_NOFILE", error.strerror or str(error), f"{most} connections may be too many")
        return most
    if descriptors == resource.RLIM_INFINITY:
        return most
    return min(most, max(descriptors - _RESERVE, descriptors // 2, 1))


class Connections:
    """Counts the connections and closes idle ones for new ones.

    A connection is idle while it has no complete request: before the first request, between two, and while one arrives.
    Idle connections are closed first, the longest idle one before the others.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._clients: dict[Closable, str] = {}
        self._count: Counter[str] = Counter()
        self._waiting: dict[Closable, None] = {}
        self._unfinished: dict[Closable, int] = {}
        self._unfinished_bytes = 0
        self.refused = 0
        """Number of connections refused at a limit so far."""
        self.closed_early = 0
        """Number of idle connections closed at a limit so far."""
        self._log = RateLimitedLog("restmap_gateway.http.connections", burst=20, per_second=1.0)

    @property
    def number(self) -> int:
        """Return the number of open connections, including TLS handshakes."""
        return len(self._clients)

    @property
    def waiting(self) -> int:
        """Return the number of idle connections."""
        return len(self._waiting)

    def opened(self, connection: Closable, client: str, instead_of: Closable | None = None) -> bool:
        """Register a new idle connection; return False if it is over a limit.

        Args:
            connection: the new connection.
            client: address of the client.
            instead_of: handshake that the connection replaces.
        """
        limits = self._limits
        if instead_of is not None:
            self.closed(instead_of)
        if 0 < limits.per_client <= self._count[client]:
            return self._refused("the client has the maximum number of connections")
        if len(self._clients) >= limits.connections and not self._close_longest_waiting():
            return self._refused("the limit is reached and no connection is idle")
        self._clients[connection] = client
        self._count[client] += 1
        self._waiting[connection] = None
        return True

    def closed(self, connection: Closable) -> None:
        """Remove a connection; unknown ones are ignored."""
        client = self._clients.pop(connection, None)
        if client is None:
            return
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]
        self._waiting.pop(connection, None)
        self._forget_unfinished(connection)

    def make_room(self) -> None:
        """Close the longest idle connection, if any."""
        self._close_longest_waiting()

    def waits(self, connection: Closable) -> None:
        """Mark the connection as idle."""
        if connection in self._clients:
            self._waiting[connection] = None

    def is_served(self, connection: Closable) -> None:
        """Mark the connection as busy: it has a complete request."""
        self._waiting.pop(connection, None)

    def holds(self, connection: Closable, unfinished: int) -> None:
        """Set the number of bytes of the connection's incomplete request; 0: none."""
        if not unfinished or connection not in self._clients:  # data can still arrive on a closed connection
            self._forget_unfinished(connection)
            return
        self._unfinished_bytes += unfinished - self._unfinished.get(connection, 0)
        self._unfinished[connection] = unfinished
        while self._unfinished_bytes > self._limits.unfinished_bytes:
            self._close(next(iter(self._unfinished)), "incomplete requests hold too many bytes")

    def _forget_unfinished(self, connection: Closable) -> None:
        self._unfinished_bytes -= self._unfinished.pop(connection, 0)

    def _close_longest_waiting(self) -> bool:
        longest = next(iter(self._waiting), None)
        if longest is not None:
            self._close(longest, "the limit is reached and this connection was idle longest")
        return longest is not None

    def _close(self, connection: Closable, why: str) -> None:
        self.closed(connection)
        self.closed_early += 1
        connection.abort()
        self._log.warning("connection closed", why=why)

    def _refused(self, why: str) -> bool:
        self.refused += 1
        self._log.warning("connection refused", why=why, connections=len(self._clients))
        return False
