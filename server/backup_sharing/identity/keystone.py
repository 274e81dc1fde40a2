"""Tokens of OpenStack's Keystone, v3."""

from __future__ import annotations

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.interface import Credentials, is_token
from backup_sharing.model import Principal


class KeystoneTokens:
    """Believes a token for as long as Keystone said it is good, and no longer than the cache keeps it."""

    def __init__(self, url: str, cache: TokenCache) -> None:
        """Answer from ``cache``, which asks Keystone; ``url`` is where callers get tokens."""
        self.challenge = f'Keystone uri="{url}"'
        self._cache = cache

    async def identify(self, credentials: Credentials) -> Principal:
        """Answer whose token it is.

        Raises:
            TokenMissing: there is none.
            TokenInvalid: Keystone does not know it, or it has expired.
            ProjectForbidden: it belongs to no project. Not 401, as clients would log in again without end.
            IdentityUnavailable: Keystone cannot be asked.
            Overloaded: too many tokens wait to be asked about.
        """
        token = credentials.token
        if not token:
            raise TokenMissing("The request carries no token; X-Auth-Token is expected.")
        if not is_token(token):
            raise TokenInvalid("The token is unknown or has expired.")
        return await self._cache.principal(token, credentials.client, is_suspect=credentials.is_suspect)
