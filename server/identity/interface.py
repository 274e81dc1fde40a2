"""What every identity provider promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from server.model import Principal

LONGEST_TOKEN = 8192
"""Bytes of a token that are looked at; a longer one is refused before any work."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What came with a call to say who is calling. Never logged."""

    metadata: Mapping[str, str]
    """The call's metadata: lower-case keys, the last value of each."""

    @property
    def token(self) -> str:
        """The token of ``x-auth-token``, or else of ``authorization: Bearer``; empty if there is none."""
        token = self.metadata.get("x-auth-token", "")
        if token:
            return token
        scheme, _, bearer = self.metadata.get("authorization", "").partition(" ")
        return bearer.strip() if scheme.lower() == "bearer" else ""


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
        """
        ...
