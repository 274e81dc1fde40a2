"""Admission of peers to multiplexed streams, and the warning about refused peers."""

from __future__ import annotations

import time

import structlog

from backup_sharing.identity.interface import GatewayPeers
from restmap.multiplexing.multiplexer import Admission
from restmap.multiplexing.peer import Peer

_WARN_SECONDS = 60.0
"""Minimum seconds between two warnings about refused peers."""

_NAMES_SHOWN = 5


def admission(gateways: GatewayPeers, streams_of_peer: int, *, only_gateways: bool) -> Admission:
    """Return the admission of all peers, or only of gateways; each peer may open ``streams_of_peer`` streams."""
    return Admission(_OnlyGateways(gateways).refusal if only_gateways else None, streams_of_peer)


class _OnlyGateways:
    def __init__(self, gateways: GatewayPeers) -> None:
        self._gateways = gateways
        self._warn_after = 0.0

    def refusal(self, peer: Peer) -> str:
        """Return the reason to refuse a peer; empty if the peer may multiplex."""
        if self._gateways.includes(peer):
            return ""
        if time.monotonic() >= self._warn_after:
            self._warn_after = time.monotonic() + _WARN_SECONDS
            log = structlog.get_logger("server.multiplex")
            log.warning("not_a_gateway", peer=peer.address, names=list(peer.names)[:_NAMES_SHOWN])
        return "Only peers named as gateways may multiplex."
