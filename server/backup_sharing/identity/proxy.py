"""Callers that an authenticating proxy in front has identified, as OpenStack's keystonemiddleware writes it.

The proxy proves itself with a credential of its own in ``proxy-authorization``, and only over one of our gateways
(or a Unix socket): a client that makes up the same headers gets 407.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection

from backup_sharing.errors import ProxyRequired, TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, Links
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal

HEADERS = ("x-identity-status", "x-project-id", "x-project-domain-id", "x-user-id", "x-roles")
"""What the proxy says about a caller."""

_LONGEST_ID = 255
"""Characters of a user's or a domain's id."""

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ProxyIdentity:
    """Believes what comes with the proxy's credential."""

    challenge = ""

    def __init__(self, credentials: Collection[str], links: Links, rules: RoleRules, *, only: bool) -> None:
        """Believe a proxy that knows one of ``credentials``.

        Args:
            credentials: ``NAME:SECRET``; several while one replaces the other.
            links: over which connections a proxy may be believed.
            rules: what the roles that the proxy names count for here.
            only: whether there is no other way in, so that whoever does not come through the proxy is told so.
        """
        self._digests = [_digest(credential.encode()) for credential in credentials]
        self._links = links
        self._rules = rules
        self._only = only

    async def identify(self, credentials: Credentials) -> Principal:
        """Answer whom the proxy stands for.

        Raises:
            TokenMissing: nothing says that the call came through a proxy.
            TokenInvalid: the proxy says that it does not know the caller, or not who it is.
            ProxyRequired: it looks as if it came through the proxy, and did not.
        """
        metadata = credentials.metadata
        proof = metadata.get("proxy-authorization", "")
        if not proof and not any(name in metadata for name in HEADERS):
            if self._only:
                raise ProxyRequired("The request did not come through the authenticating proxy.")
            raise TokenMissing("The request carries no token, and did not come through the authenticating proxy.")
        if not self._is_proof(proof) or not self._links.includes(credentials.peer):
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
        return Principal(project_id, roles, user_id, domain_id)

    def _is_proof(self, value: str) -> bool:
        scheme, _, encoded = value.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        digest = _digest(given)
        # All of them, each in constant time: the time tells neither which one nor how much of it was right.
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return scheme.lower() == "basic" and any(matches)


def _digest(credential: bytes) -> bytes:
    return hashlib.sha256(credential).digest()
