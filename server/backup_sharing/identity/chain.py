"""A chain of identity providers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import CHALLENGE, Credentials, IdentityProvider
from backup_sharing.model import Principal


class Chain:
    """Tries providers in order; the first that knows the caller identifies it.

    After `TokenMissing` or `TokenInvalid`, the next provider is tried. Every other failure, such as
    `IdentityUnavailable`, ends the call: authentication fails closed.
    """

    def __init__(self, providers: Sequence[IdentityProvider]) -> None:
        """Use these providers, at least one."""
        self._providers = providers

    @property
    def challenge(self) -> str:
        """The last non-empty challenge, because remote services come after the local providers."""
        own = (provider.challenge for provider in reversed(self._providers) if provider.challenge)
        return next(own, CHALLENGE)

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller from the first provider that knows it."""
        return await _first([provider.identify for provider in self._providers], credentials)

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the caller from the first provider that still knows it."""
        return await _first([provider.identify_again for provider in self._providers], credentials)


async def _first(asked: Sequence[Callable[[Credentials], Awaitable[Principal]]], credentials: Credentials) -> Principal:
    refusal: TokenMissing | TokenInvalid | None = None
    for identify in asked:
        try:
            return await identify(credentials)
        except TokenMissing as missing:
            refusal = refusal or missing
        except TokenInvalid as invalid:
            refusal = invalid
    raise refusal or TokenMissing("No identity provider is configured.")
