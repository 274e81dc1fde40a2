"""Static tokens: callers are known by the digests of a token file. Meant for a single machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Self

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import CHALLENGE, Credentials, is_token
from backup_sharing.identity.token_file.changing import add_token as add_token
from backup_sharing.identity.token_file.entries import BadTokenFile as BadTokenFile
from backup_sharing.identity.token_file.entries import digest as digest
from backup_sharing.identity.token_file.entries import read_entries
from backup_sharing.model import Principal

Tokens = Mapping[str, tuple[Principal, float | None]]
"""Holder and expiry of each token, in seconds since 1970 or None, by digest."""


class StaticTokens:
    """Identifies callers by the tokens of one file."""

    challenge = CHALLENGE

    def __init__(self, entries: Tokens, clock: Callable[[], float]) -> None:
        """Know these tokens. ``clock`` returns seconds since 1970."""
        self._entries = entries
        self._clock = clock
        self._used: set[str] = set()

    @classmethod
    def load(cls, path: Path, clock: Callable[[], float]) -> Self:
        """Read a token file. ``clock`` returns seconds since 1970.

        Raises:
            BadTokenFile: the file cannot be read, or an entry is invalid.
        """
        return cls(_tokens(path), clock)

    @property
    def known(self) -> Collection[str]:
        """The digests of all tokens, expired ones included."""
        return self._entries.keys()

    def replace(self, path: Path) -> frozenset[str]:
        """Read the file again; from now on its tokens count. Return the digests of tokens whose rights have changed.

        Raises:
            BadTokenFile: the file cannot be used; the present tokens stay.
        """
        before, self._entries = self._entries, _tokens(path)
        return frozenset(hashed for hashed, known in before.items() if self._entries.get(hashed) != known)

    def take_used(self) -> set[str]:
        """Return the digests of the tokens that were accepted since the last time this was called."""
        used, self._used = self._used, set()
        return used

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the owner of the token. Lookup is by digest, so its duration reveals nothing about any token."""
        token = credentials.token
        if not token:
            raise TokenMissing("The request carries no token; X-Auth-Token is expected.")
        hashed = digest(token) if is_token(token) else ""
        known = self._entries.get(hashed)
        if known is None or (known[1] is not None and known[1] <= self._clock()):
            raise TokenInvalid("The token is unknown or has expired.")
        self._used.add(hashed)
        return known[0]

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the owner of the token, if it has not expired."""
        return await self.identify(credentials)


def _tokens(path: Path) -> Tokens:
    return {entry.sha256: (entry.principal, entry.expires_at) for entry in read_entries(path)}
