"""Which peers may open streams for multiplexed calls, and the warning about those that may not."""

from __future__ import annotations

import time

import structlog

from backup_sharing.identity.interface import Links
from restmap.multiplexing.multiplexer import Admission
from restmap.multiplexing.peer import Peer

_WARN_SECONDS = 60.0
"""At least this long between two warnings of peers that may not multiplex."""

_NAMES_SHOWN = 5


def admission(gateways: Links, streams_of_peer: int, *, only_gateways: bool) -> Admission:
    """Admit everybody, or only the connections of gateways."""
    return Admission(_OnlyGateways(gateways).refusal if only_gateways else None, streams_of_peer)


class _OnlyGateways:
    def __init__(self, gateways: Links) -> None:
        self._gateways = gateways
        self._warn_after = 0.0

    def refusal(self, peer: Peer) -> str:
        """Why a peer may not multiplex; empty if it may."""
        if self._gateways.includes(peer):
            return ""
        if time.monotonic() >= self._warn_after:
            self._warn_after = time.monotonic() + _WARN_SECONDS
            log = structlog.get_logger("server.multiplex")
            log.warning("not_a_gateway", peer=peer.address, names=list(peer.names)[:_NAMES_SHOWN])
        return "Only peers named as gateways may multiplex."
