"""Several identity providers as one."""

from __future__ import annotations

from collections.abc import Sequence

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import CHALLENGE, Credentials, IdentityProvider
from backup_sharing.model import Principal


class Chain:
    """Asks providers in their order; the first that knows the caller says who it is.

    A provider that finds nothing of its kind, or does not know what it finds, leaves the word to the next. One that
    cannot tell (`IdentityUnavailable`) ends the call: nobody gets in because somebody else could not be asked.
    """

    def __init__(self, providers: Sequence[IdentityProvider]) -> None:
        """Ask these, at least one."""
        self._providers = providers

    @property
    def challenge(self) -> str:
        """That of the last provider that has one: the providers of this machine come first, services behind them."""
        own = (provider.challenge for provider in reversed(self._providers) if provider.challenge)
        return next(own, CHALLENGE)

    async def identify(self, credentials: Credentials) -> Principal:
        """Do what `IdentityProvider.identify` promises."""
        refusal: TokenMissing | TokenInvalid | None = None
        for provider in self._providers:
            try:
                return await provider.identify(credentials)
            except TokenMissing as missing:
                refusal = refusal or missing
            except TokenInvalid as invalid:
                refusal = invalid
        raise refusal or TokenMissing("No identity provider is configured.")
