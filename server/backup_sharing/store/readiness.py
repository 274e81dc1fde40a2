"""Keeps calls from a database that cannot be used yet: it cannot be opened or reached, or has to be migrated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.store.unusable import FailingDatabase, UnreachableDatabase, UnusableDatabase

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.25
"""Seconds between two looks at a database that cannot be reached, or is not migrated."""
TRY_EVERY: Final = 1.0
"""Seconds between two attempts to open a database whose disk fails."""

_AWAY: Final = "The database cannot be reached; try again later."
_DISK: Final = "The disk of the store fails; no call is served until the database could be recovered."
_OLD: Final = "The database has to be migrated by its operator; until then no call is served."


class Readiness:
    """Whether a database can be used: found out by itself, so that no call has to wait for it, until it can."""

    def __init__(self, look: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Look with ``look``, which does what `Engine.look` says."""
        self._look = look
        self._refusal: str | None = None
        self._logged: object = None
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Look, and go on to look if the database is not ready.

        Raises UnusableDatabase, unless that may be better later.
        """
        try:
            self._found(await self._look())
        except (FailingDatabase, UnreachableDatabase) as error:
            self._could_not_look(error)
        if self._refusal is not None:
            self._watching = asyncio.create_task(self._watch())

    @property
    def is_ready(self) -> bool:
        """Whether the database can be used."""
        return self._refusal is None

    def check(self) -> None:
        """Return if the database is ready; raises `Unavailable` otherwise."""
        if self._refusal is not None:
            raise Unavailable(self._refusal)

    async def close(self) -> None:
        """Stop looking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TRY_EVERY if self._refusal == _DISK else LOOK_EVERY)
            before = self._refusal
            try:
                self._found(await self._look())
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is tried again
                self._could_not_look(error)
            if self._refusal is None:
                break
        if before == _DISK:
            _log.warning("the database is open again; calls are served")
        else:
            _log.info("the database is ready; calls are served")

    def _found(self, pending: Sequence[str]) -> None:
        self._refusal = _OLD if pending else None
        if pending and self._is_news(pending):
            names = ", ".join(pending)
            _log.warning("the database has to be migrated; until then no call is served: %s", names)

    def _could_not_look(self, error: Exception) -> None:
        before = self._refusal
        if isinstance(error, FailingDatabase):
            self._refusal = _DISK
        elif isinstance(error, UnreachableDatabase):
            self._refusal = _AWAY
            if before == _AWAY:
                return  # there are many ways to be away
        if not self._is_news(str(error)):
            return
        if self._refusal == _DISK and before != _DISK:
            _log.error("the database cannot be opened; no call is served until it can: %s", error, exc_info=error)
        elif self._refusal == _DISK:
            _log.error("the database still cannot be opened: %s", error, exc_info=error)
        else:
            # Its operator may mend it: a database that cannot be used at the start is refused there.
            unforeseen = None if isinstance(error, UnusableDatabase) else error
            _log.error("%s; it is tried again and again", error, exc_info=unforeseen)

    def _is_news(self, what: object) -> bool:
        is_news = what != self._logged
        self._logged = what
        return is_news
