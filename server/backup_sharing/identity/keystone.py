"""Tokens of OpenStack's Keystone, v3."""

from __future__ import annotations

from collections.abc import Collection
from typing import cast

from backup_sharing.errors import AccessRuleMissing, ProjectForbidden, TokenInvalid, TokenMissing
from backup_sharing.identity.cache import TokenCache, Verdict
from backup_sharing.identity.interface import Credentials, GatewayPeers, is_token
from backup_sharing.model import Principal

SERVICE_TOKEN = "x-service-token"  # noqa: S105 - a metadata key
"""Metadata key of the token of a service that acts for the caller."""


class KeystoneTokens:
    """Accepts a token until its expiry, and at most for the lifetime of its cache entry without a new validation.

    With a valid service token beside it, a token is accepted after its expiry too, as long as Keystone allows, and its
    access rules do not count: they limit what a user may ask of the first service, which carries the request on.
    """

    def __init__(self, public_url: str, cache: TokenCache, gateways: GatewayPeers, services: Collection[str]) -> None:
        """Use ``cache``, which validates tokens with Keystone.

        Args:
            public_url: where callers get tokens.
            cache: validates tokens.
            gateways: connections from gateways, which set the HTTP method and path of a request.
            services: service types of this service in access rules.
        """
        self.challenge = f'Keystone uri="{public_url}"'
        self._cache = cache
        self._gateways = gateways
        self._services = services

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller with this token.

        Raises:
            TokenMissing: the call has no token.
            TokenInvalid: Keystone does not know the token or the service token, or it has expired.
            ProjectForbidden: the token belongs to no project. Not 401, or clients would log in again without end.
            AccessRuleMissing: the access rules of the token do not allow the request.
            IdentityUnavailable: Keystone cannot be reached.
            Overloaded: too many validations are waiting.
        """
        return await self._identified(credentials, past_cache=False)

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the caller, validating its token and service token now."""
        return await self._identified(credentials, past_cache=True)

    async def _identified(self, credentials: Credentials, *, past_cache: bool) -> Principal:
        token = credentials.token
        if not token:
            raise TokenMissing("The request carries no token; X-Auth-Token is expected.")
        if not is_token(token):
            raise TokenInvalid("The token is unknown or has expired.")
        service_token = credentials.metadata.get(SERVICE_TOKEN, "")
        if service_token:
            await self._check_service(service_token, credentials, past_cache=past_cache)
        verdict = await self._accepted(token, credentials, service_token, past_cache=past_cache)
        if verdict.access_rules is not None and not service_token:
            is_by_gateway = self._gateways.includes(credentials.peer)
            metadata = credentials.metadata
            if why := verdict.access_rules.refusal(metadata, self._services, is_by_gateway=is_by_gateway):
                raise AccessRuleMissing(why)
        return cast("Principal", verdict.principal)

    async def _check_service(self, service_token: str, credentials: Credentials, *, past_cache: bool) -> None:
        """Return if the token may be used as a service token.

        Raises:
            TokenInvalid: it may not; as in keystonemiddleware, the whole request is then refused.
        """
        try:
            if not is_token(service_token):
                raise TokenInvalid("")
            verdict = await self._accepted(service_token, credentials, past_cache=past_cache)
        except (TokenInvalid, ProjectForbidden):
            raise TokenInvalid("The service token (X-Service-Token) is unknown or has expired.") from None
        if not verdict.is_service or verdict.access_rules is not None:
            raise TokenInvalid(
                "The service token (X-Service-Token) has none of the roles of a service, or access rules."
            )

    async def _accepted(
        self, token: str, credentials: Credentials, service_token: str = "", *, past_cache: bool
    ) -> Verdict:
        return await self._cache.accepted(
            token,
            credentials.client,
            is_suspect=credentials.is_suspect,
            service_token=service_token,
            past_cache=past_cache,
        )
