"""Certificates as identity: internal services are known by the names that our CA signed.

A gateway's certificate is a link and no caller: whoever calls through it is known by what the call itself carries.
"""

from __future__ import annotations

from collections.abc import Mapping

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, Links
from backup_sharing.model import Principal


class Certificates:
    """Knows services by the names in their certificates."""

    challenge = ""

    def __init__(self, known: Mapping[str, Principal], links: Links) -> None:
        """Know these names; ``links`` are no callers, whatever else their certificates say."""
        self._known = known
        self._links = links

    async def identify(self, credentials: Credentials) -> Principal:
        """Answer whose certificate it is.

        Raises:
            TokenMissing: there is no certificate, or one that says nothing about a caller.
            TokenInvalid: the call carries a token: who acts for somebody does not act as itself when that fails.
        """
        if credentials.token:
            raise TokenInvalid("The token is unknown or has expired.")
        peer = credentials.peer
        known = None if self._links.includes(peer) else next(filter(self._known.__contains__, peer.names), None)
        if known is None:
            raise TokenMissing("The request carries no token, and no certificate of a known service.")
        return self._known[known]
