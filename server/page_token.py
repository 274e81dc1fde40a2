"""Page tokens: where a list goes on, tied to the list they came from. Opaque to callers; no rights go with them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from server.store.interface import Position


def _digest(of: object) -> str:
    return hashlib.sha256(repr(of).encode()).hexdigest()[:16]


def encode(position: Position, of: object) -> str:
    """Make the token for the page behind ``position`` of the list that ``of`` describes."""
    text = json.dumps([_digest(of), position.value, position.id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str, of: object) -> Position | None:
    """Read a token; None if it is not one of ours or comes from another list."""
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, value, identifier = json.loads(text)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        return None
    if digest != _digest(of) or not _storable(value) or not isinstance(identifier, str) or not _storable(identifier):
        return None
    return Position(value, identifier)


def _storable(value: object) -> bool:
    """Whether a database can compare with the value; a made-up token can hold anything that JSON can."""
    if isinstance(value, str):
        return value.isprintable() or not any("\ud800" <= character <= "\udfff" for character in value)
    return value is None or (type(value) is int and -(2**63) <= value < 2**63)
