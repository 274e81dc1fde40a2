"""The interface of identity providers."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from backup_sharing.model import Principal
from restmap.multiplexing.peer import Peer as Peer

LONGEST_TOKEN = 4096
"""Maximum characters of a token; longer tokens are refused before any work.

Keystone's Fernet tokens have about 200 characters, its JWS tokens up to 2 000. Servers refuse a header of more than
8 190 bytes (Apache), or headers of more than 16 384 bytes in total (HAProxy); a token that validates itself is sent in
two headers.
"""

_TOKEN = re.compile(rf"[!-~]{{1,{LONGEST_TOKEN}}}")

CHALLENGE = 'Token realm="backup-sharing"'
"""Value of ``www-authenticate`` if no identity service issues tokens."""

PROXY_CHALLENGE = 'Basic realm="backup-sharing"'
"""Value of ``proxy-authenticate`` for a caller that must use the authenticating proxy."""


NOBODY = Peer("")


class GatewayPeers:
    """Recognizes connections from our gateways, whose metadata about their clients is trusted."""

    def __init__(self, gateway_peers: Collection[str]) -> None:
        """Trust peers with one of these names in their certificate, and every peer on a Unix socket."""
        self._names = frozenset(gateway_peers)

    def includes(self, peer: Peer) -> bool:
        """Whether the peer is one of our gateways."""
        return peer.address.startswith("unix:") or (bool(peer.names) and not self._names.isdisjoint(peer.names))


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials of a call. Never logged."""

    metadata: Mapping[str, str]
    """The call's metadata: lower-case keys, the last value of each."""
    peer: Peer = NOBODY
    client: str = ""
    """The client's address, or its network if that counts as one client; empty if unknown."""
    is_suspect: bool = False
    """Whether the client sent too many invalid credentials, so that validation of its next one has low priority."""

    @property
    def token(self) -> str:
        """The token of ``x-auth-token``, or else of ``authorization: Bearer``; empty if there is none."""
        token = self.metadata.get("x-auth-token", "")
        if token:
            return token
        scheme, _, bearer = self.metadata.get("authorization", "").partition(" ")
        return bearer.strip() if scheme.lower() == "bearer" else ""


def is_token(text: str) -> bool:
    """Whether a text can be a token: visible ASCII, at most `LONGEST_TOKEN`. Other texts are never sent in a header."""
    return _TOKEN.fullmatch(text) is not None


class IdentityProvider(Protocol):
    """Identifies callers. Must not return a caller that it has not verified."""

    @property
    def challenge(self) -> str:
        """Value of ``www-authenticate`` for an unknown caller."""
        ...

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller.

        Raises:
            TokenMissing: the call has no credential.
            TokenInvalid: the credential is unknown or has expired.
            ProjectForbidden: the credential is valid, but belongs to no project.
            ProxyRequired: the call must come through the authenticating proxy.
            IdentityUnavailable: the identity service cannot be reached.
            Overloaded: too many calls wait for the identity service.
        """
        ...

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the caller of a call that `identify` accepted before, by asking the identity service past any cache.

        A caller with ``can_be_identified_again`` false is returned as the call named it. Raises as `identify` does.
        """
        ...
