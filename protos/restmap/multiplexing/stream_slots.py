"""Limits on the number of open streams, for each peer and for all peers together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from restmap.multiplexing.call_handler import ResourceExhausted
from restmap.multiplexing.peer import Peer


class StreamSlots:
    """Counts the open streams of one kind."""

    def __init__(self, kind: str, of_peer: int, of_all: int) -> None:
        """Allow ``of_peer`` open streams for each peer and ``of_all`` in total. ``kind``: their name in messages."""
        self._kind = kind
        self._of_peer = of_peer
        self._of_all = of_all
        self._open: Counter[str] = Counter()

    @contextmanager
    def taken(self, peer: Peer) -> Iterator[None]:
        """Count a stream of this peer until the context ends.

        Raises:
            ResourceExhausted: a limit is reached.
        """
        key = _key(peer)
        if self._open[key] >= self._of_peer:
            raise ResourceExhausted(f"The peer has {self._of_peer} {self._kind} open, the most it may.")
        if self._open.total() >= self._of_all:
            raise ResourceExhausted(f"{self._of_all} {self._kind} are open, the most that the server takes.")
        self._open[key] += 1
        try:
            yield
        finally:
            self._open[key] -= 1
            if not self._open[key]:
                del self._open[key]


def _key(peer: Peer) -> str:
    """Return the key of a peer, equal for all its connections: its certificate's first name, or else its host."""
    return peer.names[0] if peer.names else peer.address.rpartition(":")[0]
