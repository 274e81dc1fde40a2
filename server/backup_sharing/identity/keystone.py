"""Tokens of OpenStack's Keystone, v3."""

from __future__ import annotations

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.interface import Credentials, is_token
from backup_sharing.model import Principal


class KeystoneTokens:
    """Accepts a token until its expiry, and at most for the lifetime of its cache entry without a new validation."""

    def __init__(self, url: str, cache: TokenCache) -> None:
        """Use ``cache``, which validates tokens with Keystone; ``url`` is where callers get tokens."""
        self.challenge = f'Keystone uri="{url}"'
        self._cache = cache

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller with this token.

        Raises:
            TokenMissing: the call has no token.
            TokenInvalid: Keystone does not know the token, or the token has expired.
            ProjectForbidden: the token belongs to no project. Not 401, or clients would log in again without end.
            IdentityUnavailable: Keystone cannot be reached.
            Overloaded: too many validations are waiting.
        """
        token = credentials.token
        if not token:
            raise TokenMissing("The request carries no token; X-Auth-Token is expected.")
        if not is_token(token):
            raise TokenInvalid("The token is unknown or has expired.")
        return await self._cache.principal(token, credentials.client, is_suspect=credentials.is_suspect)
