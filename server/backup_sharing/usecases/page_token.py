"""Page tokens: the position of the next page, bound to one list. Tokens are opaque to callers and grant no rights.

Tokens are not signed, because all servers of a database would need the same key. A caller can forge a token, so each
value in a token is checked as strictly as any other value of a request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from enum import Flag, auto

from backup_sharing.store.interface import Position
from backup_sharing.usecases.checks import Checks

_LONGEST = 16_384
"""Maximum characters of a token: more than three times the longest text in a sort column."""

UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""An identifier in canonical form."""

STORE_ID = re.compile(r"[0-9a-f]{16}")
"""See `backup_sharing.store.interface.LogBounds`."""


class Kinds(Flag):
    """Types of a position's sort value."""

    NUMBER = auto()
    """An integer of 64 bits."""
    TEXT = auto()
    """Unicode text."""
    NOTHING = auto()
    """None: the item has no value, or the list is sorted by id alone."""


NUMBER, TEXT, NOTHING = Kinds.NUMBER, Kinds.TEXT, Kinds.NOTHING


def _digest(of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]


def encode(position: Position, of: object) -> str:
    """Return the token of the page after ``position`` in the list described by ``of``."""
    text = json.dumps([_digest(of), position.value, position.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, of: object, kinds: Kinds, ids: re.Pattern[str] = UUID) -> Position | None:
    """Return the position in a token; None if the token is invalid, of another list, or has an impossible value.

    Args:
        token: a token from a caller, possibly forged.
        of: description of the list, as given to `encode`.
        kinds: allowed types of the sort value.
        ids: form of the position's id; by default a UUID.
    """
    if len(token) > _LONGEST:
        return None
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, value, identifier = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    if digest != _digest(of) or not _kind_of(value) & kinds:
        return None
    if not isinstance(identifier, str) or not ids.fullmatch(identifier):
        return None
    return Position(value, identifier)


def position(
    checks: Checks, token: str, offset: int | None, of: object, kinds: Kinds, ids: re.Pattern[str] = UUID
) -> Position | None:
    """Return the position in the page token of a request, or None; see `decode` for ``of``, ``kinds`` and ``ids``."""
    if not token:
        return None
    if offset is not None:
        checks.violate("offset", "The value of offset is not expected together with page_token.")
    found = decode(token, of, kinds, ids)
    if found is None:
        refuse(checks)
    return found


def refuse(checks: Checks) -> None:
    """Report a page token of another list."""
    checks.violate("page_token", "The value of page_token does not belong to this list; filters and order count.")


def _kind_of(value: object) -> Kinds:
    """Return the type of a value that a database can compare; no type for any other value."""
    if value is None:
        return NOTHING
    if type(value) is int and -(2**63) <= value < 2**63:  # excludes bool, a subclass of int
        return NUMBER
    if isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value):
        return TEXT
    return Kinds(0)
