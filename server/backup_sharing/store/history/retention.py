"""The part of a store's contract that deletes old data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from backup_sharing.model import Micros


class OldEvent(NamedTuple):
    """The place and the time of an old event."""

    position: int
    at: Micros


class OldSharing(NamedTuple):
    """A sharing that was cancelled or has expired long ago."""

    ended_at: Micros
    id: str


class Retention(Protocol):
    """The part of a `backup_sharing.store.interface.Store` that deletes old data, a bounded number of rows at once.

    - Several servers may delete at once: they must neither wait for each other nor delay other changes.
    - Each call must delete in one transaction; what an earlier call has deleted stays deleted.
    - Reads must answer as before about everything that is kept.
    """

    async def time(self) -> Micros:
        """Return the store's time, see `backup_sharing.store.interface.Store`."""
        ...

    async def old_events(self, before: Micros, limit: int, after: int = 0) -> Sequence[OldEvent]:
        """Return up to ``limit`` events that `purge_events` deletes next, in the order of positions.

        Must return events after the position ``after`` up to, and without, the first event at ``before`` or later: the
        log stays dense, so an event is kept as long as an earlier one in the order is kept, whatever its own time is.
        ``after``: the last position of an earlier result that had ``limit`` events.
        """
        ...

    async def old_sharings(self, before: Micros, limit: int, after: OldSharing | None = None) -> Sequence[OldSharing]:
        """Return up to ``limit`` sharings whose end was recorded before a time, the earliest ends first.

        Must return no active and no due sharing. ``after``: the last one of an earlier result.
        """
        ...

    async def purge_events(self, before: Micros, limit: int) -> int:
        """Delete the first ``limit`` of `old_events`; return how many were found, 0 if none is left.

        Must keep the positions of all other events, and the newest position of the log. Raises like a change.
        """
        ...

    async def purge_sharings(self, before: Micros, limit: int) -> int:
        """Delete the first ``limit`` of `old_sharings`; return how many were found, 0 if none is left.

        Must write no event, and must keep all events of the sharings. Raises like a change.
        """
        ...
