"""What every identity provider promises."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from backup_sharing.model import Principal
from restmap.multiplexing.peer import Peer as Peer

LONGEST_TOKEN = 4096
"""Characters of a token that is looked at; a longer one is refused before any work.

Fernet tokens of Keystone have about 200, its JWS tokens up to 2 000. Servers refuse a header of more than 8 190 bytes
(Apache), or headers of more than 16 384 together (HAProxy); a token that validates itself is sent in two of them.
"""

_TOKEN = re.compile(rf"[!-~]{{1,{LONGEST_TOKEN}}}")

CHALLENGE = 'Token realm="backup-sharing"'
"""What to send as ``www-authenticate`` where no service gives out tokens."""

PROXY_CHALLENGE = 'Basic realm="backup-sharing"'
"""What to send as ``proxy-authenticate`` to a caller that has to come through the authenticating proxy."""


NOBODY = Peer("")


class Links:
    """The connections whose other end is one of our gateways, which may say what it knows of its clients."""

    def __init__(self, gateway_peers: Collection[str]) -> None:
        """Take certificates with one of these names for a gateway's; a Unix socket always leads to one of ours."""
        self._names = frozenset(gateway_peers)

    def includes(self, peer: Peer) -> bool:
        """Whether this is one."""
        return peer.address.startswith("unix:") or (bool(peer.names) and not self._names.isdisjoint(peer.names))


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a call to say who is calling. Never logged."""

    metadata: Mapping[str, str]
    """The call's metadata: lower-case keys, the last value of each."""
    peer: Peer = NOBODY
    client: str = ""
    """The client's address, or the network that counts as one client; empty where it is not known."""
    is_suspect: bool = False
    """Whether the client sent too many bad credentials: asking about one more is to be cheap."""

    @property
    def token(self) -> str:
        """The token of ``x-auth-token``, or else of ``authorization: Bearer``; empty if there is none."""
        token = self.metadata.get("x-auth-token", "")
        if token:
            return token
        scheme, _, bearer = self.metadata.get("authorization", "").partition(" ")
        return bearer.strip() if scheme.lower() == "bearer" else ""


def is_token(text: str) -> bool:
    """Whether a token can look like this: visible ASCII, not too long. Only such a text is sent on, in a header."""
    return _TOKEN.fullmatch(text) is not None


class IdentityProvider(Protocol):
    """Says who is calling. Never lets a call through that it cannot vouch for."""

    @property
    def challenge(self) -> str:
        """What to send as ``www-authenticate`` to a caller that is not known."""
        ...

    async def identify(self, credentials: Credentials) -> Principal:
        """Answer who is calling.

        Raises:
            TokenMissing: there is no credential.
            TokenInvalid: the credential is unknown or has expired.
            ProjectForbidden: the credential is good, but not for any project.
            ProxyRequired: only the authenticating proxy may say what the credential says.
            IdentityUnavailable: the service that knows cannot be asked.
            Overloaded: too many wait for that service.
        """
        ...
