"""Cursors: places in the order of all events, as texts. A cursor has no signature, because it grants no rights."""

from __future__ import annotations

import re

from backup_sharing.store.interface import LogBounds
from backup_sharing.usecases.checks import shown

_CURSOR = re.compile(r"([0-9a-f]{16}):(0|[1-9][0-9]{0,18})")

_LARGEST = 2**63 - 1


def encode(store_id: str, position: int) -> str:
    """Return the cursor of the place after the event at ``position`` in the store with this id."""
    return f"{store_id}:{position}"


class BadCursor(ValueError):
    """A text that is not a cursor of this store; the message names the text and what is expected."""


def decode(text: str) -> tuple[str, int]:
    """Return the store's id and the position in a cursor.

    Raises:
        BadCursor: the text is not a cursor.
    """
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[2]) > _LARGEST:
        raise BadCursor(f"{shown(text)} is not a cursor, such as 5f1c9a0e7b3d2846:1042.")
    return match[1], int(match[2])


def position_in(bounds: LogBounds, store_id: str, position: int) -> int:
    """Return the position of a decoded cursor, whose next events may no longer be kept.

    Raises:
        BadCursor: the cursor is of another store, or beyond the newest event.
    """
    given = shown(encode(store_id, position))
    if store_id != bounds.store_id:
        raise BadCursor(f"{given} is a cursor of another store; cursors of this store begin with {bounds.store_id}:.")
    if position > bounds.newest:
        newest = encode(bounds.store_id, bounds.newest)
        raise BadCursor(f"{given} is beyond the newest event, {newest}.")
    return position
