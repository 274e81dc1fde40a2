"""Lists of the service, as far as a command shows them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

Item = TypeVar("Item")


async def first(items: AsyncIterator[Item], limit: int | None) -> list[Item]:
    """Return the first items, at most ``limit`` (1 or more); None: all. No page after them is fetched."""
    found = []
    async for item in items:
        found.append(item)
        if len(found) == limit:
            break
    return found
