"""Parsing of Keystone's token validation responses: strict, because they decide on authentication."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from backup_sharing.identity.access_rules import AccessRule, AccessRules, PathPattern
from backup_sharing.identity.cache import Verdict
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_LONGEST_ID = 255
"""Maximum characters of a user's or domain's id; Keystone's have at most 64."""

_LONGEST_PATTERN = 255
"""Maximum characters of the path of an access rule; Keystone's have at most 128."""

_NO_PROJECT = "The token is not scoped to a project; a token of the project in the path is expected."


class NotUnderstood(Exception):
    """The response is not a valid response of an identity service; the message has the reason."""


def verdict_of(body: bytes, rules: RoleRules) -> Verdict:
    """Parse the body of ``GET /v3/auth/tokens``.

    Args:
        body: JSON, ``{"token": {…}}``.
        rules: mapping of Keystone's roles.

    Raises:
        NotUnderstood: the body does not match Keystone's documentation.
    """
    token = _member(_object(body), "token", dict)
    expires_at = _time(_member(token, "expires_at", str))
    user = _member(token, "user", dict)
    user_id = _id(user)
    if "project" not in token:
        return Verdict(None, expires_at, _NO_PROJECT)
    project = _member(token, "project", dict)
    project_id = _member(project, "id", str)
    if not _PROJECT_ID.fullmatch(project_id):
        raise NotUnderstood("token.project.id is not a project id")
    domain_id = _id(_member(project, "domain", dict))
    names = [_member(role, "name", str) for role in _member(token, "roles", list)]
    return Verdict(
        Principal(project_id, rules.roles(project_id, names), user_id, domain_id),
        expires_at,
        access_rules=_access_rules(token),
        is_service=rules.is_service(project_id, names),
    )


def _access_rules(token: object) -> AccessRules | None:
    """Return the access rules of a token; None: the token is good for every request.

    An empty list of rules allows nothing.
    """
    if not isinstance(token, dict) or "application_credential" not in token:
        return None
    credential = _member(token, "application_credential", dict)
    if credential.get("access_rules") is None:
        return None
    rules = _member(credential, "access_rules", list)
    return AccessRules(
        tuple(
            AccessRule(_member(one, "service", str), _member(one, "method", str), _pattern(_member(one, "path", str)))
            for one in rules
        )
    )


def _pattern(text: str) -> PathPattern:
    if len(text) > _LONGEST_PATTERN:
        raise NotUnderstood("an access rule has too long a path")
    return PathPattern(text)


def expiry_of(body: bytes) -> float:
    """Return the expiry of the token in a response, in seconds since 1970.

    Raises:
        NotUnderstood: the response has no valid expiry.
    """
    return _time(_member(_member(_object(body), "token", dict), "expires_at", str))


def _object(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotUnderstood("the response is not JSON") from None


def _member(of: object, name: str, kind: type) -> Any:  # noqa: ANN401 - an instance of ``kind``
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, kind) or value == "":
        raise NotUnderstood(f"'{name}' is missing or of another type")
    return value


def _id(of: object) -> str:
    """Return an id that is safe to log and store."""
    value: str = _member(of, "id", str)
    if len(value) > _LONGEST_ID or not value.isprintable():
        raise NotUnderstood("an id is too long or not printable")
    return value


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NotUnderstood("'expires_at' is not a time") from None
    if moment.tzinfo is None:
        raise NotUnderstood("'expires_at' has no time zone")
    return moment.timestamp()
