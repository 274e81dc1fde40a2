"""Whether a PostgreSQL database has the tables that the program needs, found out until it has."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.store.migrations import Migration
from backup_sharing.store.postgres.schema import prepare
from backup_sharing.store.unusable import UnreachableDatabase, UnusableDatabase

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.25
"""Seconds between two looks at a database that is not ready."""


class Tables:
    """Keeps calls from a database that cannot be reached yet, or whose tables are older than the program.

    Looks by itself, so that no call has to wait for it.
    """

    def __init__(self, url: str, known: Sequence[Migration]) -> None:
        self._url = url
        self._known = known
        self._is_reached = True
        self._pending: Sequence[str] = [migration.name for migration in known]
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look, and go on to look if the database is not ready. Raises UnusableDatabase."""
        try:
            await self._look()
        except UnreachableDatabase as error:
            self._is_reached = False
            _log.error("%s; it is tried again and again", error)
        if self._pending:
            self._watching = asyncio.create_task(self._watch())

    def check(self) -> None:
        """Return if the database is ready; raises `Unavailable` otherwise."""
        if not self._pending:
            return
        if not self._is_reached:
            raise Unavailable("The database cannot be reached; try again later.")
        raise Unavailable("The database has to be migrated by its operator; until then no call is served.")

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _look(self) -> None:
        status = await asyncio.to_thread(prepare, self._url, known=self._known)
        # One that had nothing has all of it by now.
        self._pending = [] if status.is_empty else status.pending
        self._is_reached = True

    async def _watch(self) -> None:
        told: object = None
        while self._pending:
            if self._is_reached and told != self._pending:
                told = self._pending
                _log.warning(
                    "the database has to be migrated; until then no call is served: %s", ", ".join(self._pending)
                )
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
            except UnreachableDatabase:
                continue
            except UnusableDatabase as error:
                # Its operator may mend it: what cannot be used at the start is refused there.
                if str(error) != told:
                    told = str(error)
                    _log.error("%s; it is tried again and again", error)
        _log.info("the database is ready; calls are served")
