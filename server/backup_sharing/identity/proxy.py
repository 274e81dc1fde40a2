"""Callers identified by an authenticating proxy, in the headers of OpenStack's keystonemiddleware.

The proxy authenticates with its own credential in ``proxy-authorization``, and only through one of our gateways
(or a Unix socket). A client that forges the headers gets 407.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection

from backup_sharing.errors import ProxyRequired, TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, GatewayPeers
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal

HEADERS = ("x-identity-status", "x-project-id", "x-project-domain-id", "x-user-id", "x-roles")
"""Headers in which the proxy describes a caller."""

_LONGEST_ID = 255
"""Maximum characters of a user's or a domain's id."""

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProxyIdentity:
    """Trusts the identity headers of calls with the proxy's credential."""

    challenge = ""

    def __init__(self, credentials: Collection[str], gateways: GatewayPeers, rules: RoleRules, *, only: bool) -> None:
        """Trust a proxy with one of ``credentials``.

        Args:
            credentials: ``NAME:SECRET``; several during a rotation.
            gateways: connections over which a proxy is trusted.
            rules: mapping of the roles that the proxy sends.
            only: whether this is the only provider, so that a call without the proxy gets `ProxyRequired`.
        """
        self._digests = [_digest(credential.encode()) for credential in credentials]
        self._gateways = gateways
        self._rules = rules
        self._only = only

    async def identify(self, credentials: Credentials) -> Principal:
        """Return the caller that the proxy names.

        Raises:
            TokenMissing: the call has no headers of a proxy.
            TokenInvalid: the proxy did not confirm the caller, or sent invalid ids.
            ProxyRequired: the call has the proxy's headers, but did not come through the proxy.
        """
        metadata = credentials.metadata
        proof = metadata.get("proxy-authorization", "")
        if not proof and not any(name in metadata for name in HEADERS):
            if self._only:
                raise ProxyRequired("The request did not come through the authenticating proxy.")
            raise TokenMissing("The request carries no token, and did not come through the authenticating proxy.")
        if not self._is_proof(proof) or not self._gateways.includes(credentials.peer):
            raise ProxyRequired("The request names its caller, but did not come through the authenticating proxy.")
        project_id = metadata.get("x-project-id", "")
        is_confirmed = metadata.get("x-identity-status", "Confirmed") == "Confirmed"
        if not is_confirmed or not _PROJECT_ID.fullmatch(project_id):
            raise TokenInvalid("The authenticating proxy does not know the caller, or no project of it.")
        user_id, domain_id = metadata.get("x-user-id", ""), metadata.get("x-project-domain-id", "")
        if not all(len(name) <= _LONGEST_ID and name.isprintable() for name in (user_id, domain_id)):
            raise TokenInvalid("The authenticating proxy names a user or a domain that cannot be one.")
        names = [role.strip() for role in metadata.get("x-roles", "").split(",") if role.strip()]
        roles = self._rules.roles(project_id, names)
        return Principal(project_id, roles, user_id, domain_id, can_be_identified_again=False)

    async def identify_again(self, credentials: Credentials) -> Principal:
        """Return the caller that the proxy named at the time of the call."""
        return await self.identify(credentials)

    def _is_proof(self, value: str) -> bool:
        scheme, _, encoded = value.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        digest = _digest(given)
        # Compare all, each in constant time, so that the time reveals neither which credential nor how much matched.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == "basic" and any(matches)


def _digest(credential: bytes) -> bytes:
    return hashlib.sha256(credential).digest()
