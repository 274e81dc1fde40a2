"""Client certificates as identity: internal services are identified by names that our CA signed.

A gateway's certificate never identifies a caller; calls through a gateway are identified by their own credentials.
"""

from __future__ import annotations

from collections.abc import Mapping

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, GatewayPeers
from backup_sharing.model import Principal


class Certificates:
    """Identifies services by the names in their certificates."""

    challenge = ""

    def __init__(self, known: Mapping[str, Principal], gateways: GatewayPeers) -> None:
        """Accept these names; peers in ``gateways`` are never callers, whatever other names their certificates have."""
        self._known = known
        self._gateways = gateways

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller with this certificate.

        Raises:
            TokenMissing: the peer has no certificate, or its certificate identifies no caller.
            TokenInvalid: the call has a token. A service must not act as itself if the token of its user is refused.
        """
        if credentials.token:
            raise TokenInvalid("The token is unknown or has expired.")
        peer = credentials.peer
        known = None if self._gateways.includes(peer) else next(filter(self._known.__contains__, peer.names), None)
        if known is None:
            raise TokenMissing("The request carries no token, and no certificate of a known service.")
        return self._known[known]

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the caller with this certificate, as long as its connection stands."""
        return await self.identify(credentials)
