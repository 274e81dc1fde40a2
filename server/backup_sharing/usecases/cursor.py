"""Cursors: places in the order of all events, as texts. A cursor has no signature, because it grants no rights."""

from __future__ import annotations

import re

_CURSOR = re.compile(r"([0-9a-f]{16}):(0|[1-9][0-9]{0,18})")

_LARGEST = 2**63 - 1


def encode(store_id: str, position: int) -> str:
    """Return the cursor of the place after the event at ``position`` in the store with this id."""
    return f"{store_id}:{position}"


def decode(text: str) -> tuple[str, int] | None:
    """Return the store's id and the position in a cursor; None if the text is not a cursor."""
    match = _CURSOR.fullmatch(text)
    if match is None or int(match[2]) > _LARGEST:
        return None
    return match[1], int(match[2])
