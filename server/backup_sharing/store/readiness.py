"""Rejection of calls while the database cannot be opened or reached, or needs migrations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from backup_sharing.errors import Unavailable
from backup_sharing.store.unusable import FailingDatabase, UnreachableDatabase, UnusableDatabase

_log = logging.getLogger(__name__)

LOOK_EVERY: Final = 0.25
"""Seconds between checks of a database that is unreachable or not migrated."""
TRY_EVERY: Final = 1.0
"""Seconds between attempts to open a database whose disk fails."""

_UNREACHABLE: Final = "The database cannot be reached; try again later."
_DISK_FAILS: Final = "The disk of the store fails; no call is served until the database could be recovered."
_NOT_MIGRATED: Final = "The database has to be migrated by its operator; until then no call is served."


class Readiness:
    """Readiness of a database. A background task checks it until it is ready, so that no call waits for a check."""

    def __init__(self, look: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Check the database with ``look``, which is `Engine.look`."""
        self._look = look
        self._refusal: str | None = None
        self._logged: object = None
        self.ready = asyncio.Event()
        """Set once the database is ready for the first time."""
        self._watching: asyncio.Task[None] | None = None
        self.missing: Sequence[str] | None = None
        """Names of the migrations that the database lacks; None: the database was not looked at yet."""

    async def open(self) -> None:
        """Check the database, and keep checking in the background if it is not ready.

        Raises UnusableDatabase, unless the cause may be temporary.
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
        """Raise `Unavailable` unless the database is ready."""
        if self._refusal is not None:
            raise Unavailable(self._refusal)

    async def close(self) -> None:
        """Stop checking."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TRY_EVERY if self._refusal == _DISK_FAILS else LOOK_EVERY)
            before = self._refusal
            try:
                self._found(await self._look())
            except Exception as error:  # noqa: BLE001 -- every error is retried
                self._could_not_look(error)
            if self._refusal is None:
                break
        if before == _DISK_FAILS:
            _log.warning("the database is open again; calls are served")
        else:
            _log.info("the database is ready; calls are served")

    def _found(self, pending: Sequence[str]) -> None:
        self.missing = pending
        self._refusal = _NOT_MIGRATED if pending else None
        if not pending:
            self.ready.set()
        if pending and self._is_new(pending):
            names = ", ".join(pending)
            _log.warning("the database needs migrations; until then no call is served: %s", names)

    def _could_not_look(self, error: Exception) -> None:
        before = self._refusal
        if isinstance(error, FailingDatabase):
            self._refusal = _DISK_FAILS
        elif isinstance(error, UnreachableDatabase):
            self._refusal = _UNREACHABLE
            if before == _UNREACHABLE:
                return  # an unreachable server has many error texts; one is logged
        if not self._is_new(str(error)):
            return
        if self._refusal == _DISK_FAILS and before != _DISK_FAILS:
            _log.error("the database cannot be opened; no call is served until it opens: %s", error, exc_info=error)
        elif self._refusal == _DISK_FAILS:
            _log.error("the database still cannot be opened: %s", error, exc_info=error)
        else:
            # Keep checking, as the operator may repair the database; `open` refuses a database that is unusable at the
            # start.
            unforeseen = None if isinstance(error, UnusableDatabase) else error
            _log.error("%s; retrying", error, exc_info=unforeseen)

    def _is_new(self, what: object) -> bool:
        is_new = what != self._logged
        self._logged = what
        return is_new
