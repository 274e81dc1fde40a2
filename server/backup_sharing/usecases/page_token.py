"""Page tokens: where a list goes on, tied to the list they came from. Opaque to callers; no rights go with them.

Tokens are not signed: all servers of a database would need one key. Anybody can make one up, so each value in it is
checked as strictly as any other value of a request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from enum import Flag, auto

from backup_sharing.store.interface import Position

_LONGEST = 16_384
"""Characters of a token that is looked at: more than three times those of the longest text that a list is sorted by."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""An identifier in canonical form."""


class Kinds(Flag):
    """What the sort value of a position can be."""

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
    """Make the token for the page behind ``position`` of the list that ``of`` describes."""
    text = json.dumps([_digest(of), position.value, position.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, of: object, kinds: Kinds) -> Position | None:
    """Read a token; None if it is not one of ours, comes from another list, or no item can be at its place.

    Args:
        token: as `encode` made it, or as anybody made it up.
        of: what describes the list.
        kinds: what the sort value may be.
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
    if not isinstance(identifier, str) or not _UUID.fullmatch(identifier):
        return None
    return Position(value, identifier)


def _kind_of(value: object) -> Kinds:
    """What a database can take the value for; none of the kinds if it can take it for nothing."""
    if value is None:
        return NOTHING
    if type(value) is int and -(2**63) <= value < 2**63:  # a bool is an int too, and no number here
        return NUMBER
    if isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value):
        return TEXT
    return Kinds(0)
