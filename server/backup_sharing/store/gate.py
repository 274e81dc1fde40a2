"""Keeps calls from a database whose tables are older than the program, until somebody has migrated it."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from backup_sharing.errors import Unavailable

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at a database that is not migrated yet."""


class Gate:
    """Open once the database has all that the program needs, and from then on."""

    def __init__(self, pending: Sequence[str], look: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Begin with the migrations that are known to be missing; ``look`` answers those missing now."""
        self._pending = pending
        self._look = look
        self._looked_at = time.monotonic()
        if pending:
            _log.warning("the database has to be migrated; until then no call is served: %s", ", ".join(pending))

    @property
    def is_open(self) -> bool:
        """Whether it is known to be open."""
        return not self._pending

    async def check(self) -> None:
        """Return if the gate is open; raises `Unavailable` otherwise."""
        if not self._pending:
            return
        if time.monotonic() - self._looked_at >= LOOK_EVERY:
            self._looked_at = time.monotonic()
            self._pending = await self._look()
            if not self._pending:
                _log.info("the database is migrated; calls are served")
                return
        raise Unavailable("The database has to be migrated by its operator; until then no call is served.")
