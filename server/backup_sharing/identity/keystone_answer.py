"""What Keystone's answer about a token says: read strictly, as it decides who gets in."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from backup_sharing.identity.cache import Verdict
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

_LONGEST_ID = 255
"""Characters of another id; Keystone's have at most 64."""

_NO_PROJECT = "The token is not scoped to a project; a token of the project in the path is expected."


class NotUnderstood(Exception):
    """The answer is not that of an identity service; the message says what is wrong with it."""


def verdict_of(body: bytes, rules: RoleRules) -> Verdict:
    """Read the body of ``GET /v3/auth/tokens``.

    Args:
        body: JSON, ``{"token": {…}}``.
        rules: what Keystone's roles count for here.

    Raises:
        NotUnderstood: it is not as documented.
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
        raise NotUnderstood("token.project.id is no project id")
    domain_id = _id(_member(project, "domain", dict))
    names = [_member(role, "name", str) for role in _member(token, "roles", list)]
    return Verdict(Principal(project_id, rules.roles(project_id, names), user_id, domain_id), expires_at)


def expiry_of(body: bytes) -> float:
    """When the token ends that an answer is about: seconds since 1970.

    Raises:
        NotUnderstood: the answer does not say.
    """
    return _time(_member(_member(_object(body), "token", dict), "expires_at", str))


def _object(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise NotUnderstood("the answer is not JSON") from None


def _member(of: object, name: str, kind: type) -> Any:  # noqa: ANN401 - of the kind that is asked for
    value = of.get(name) if isinstance(of, dict) else None
    if not isinstance(value, kind) or value == "":
        raise NotUnderstood(f"'{name}' is missing or of another type")
    return value


def _id(of: object) -> str:
    """An id that can be logged and stored."""
    value: str = _member(of, "id", str)
    if len(value) > _LONGEST_ID or not value.isprintable():
        raise NotUnderstood("an id is too long or not printable")
    return value


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise NotUnderstood("'expires_at' is no time") from None
    if moment.tzinfo is None:
        raise NotUnderstood("'expires_at' has no time zone")
    return moment.timestamp()
