"""The use case of a watch: check the values, find the place to begin, and open a watch there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from backup_sharing.errors import CursorExpired
from backup_sharing.model import Principal
from backup_sharing.store.interface import EventFilter, LogBounds
from backup_sharing.timers import Later, later
from backup_sharing.usecases import cursor, policy
from backup_sharing.usecases.checks import Checks
from backup_sharing.usecases.history import KINDS
from backup_sharing.usecases.watching.entry import Encoding
from backup_sharing.usecases.watching.feed import Feed
from backup_sharing.usecases.watching.watch import Watch


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """The request of `Watches.open`, unchecked. An empty text means not given."""

    project_id: str = ""
    cursor: str = ""
    from_beginning: bool = False
    backup_id: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Watches:
    """The use case."""

    feed: Feed
    encoding: Encoding
    checkpoint_seconds: float
    """Seconds without an event after which a watch tells how far it has come."""
    later: Later = later

    async def open(self, principal: Principal, request: WatchRequest) -> Watch:
        """Open a watch for a caller who is allowed to watch the project; the caller must close it.

        Raises:
            InvalidArgument: a value is incorrect, or the cursor is of another store or beyond the newest event.
            CursorExpired: the log no longer keeps the events after the cursor.
            Unavailable: the log cannot be read.
        """
        checks = Checks()
        if request.project_id:
            checks.project_id("project_id", request.project_id)
        backup_id = checks.uuid("backup_id", request.backup_id, "BACKUP") if request.backup_id else None
        if request.kind:
            checks.one_of("kind", request.kind, KINDS)
        with _checking(checks):
            place = cursor.decode(request.cursor) if request.cursor else None
        checks.done()
        bounds = await self.feed.bounds()
        position = _start(bounds, place, from_beginning=request.from_beginning)
        project_id = request.project_id or None
        self.feed.join(bounds.newest)
        return Watch(
            self.feed,
            self.encoding,
            self.later,
            store_id=bounds.store_id,
            filter=EventFilter(project_id=project_id, backup_id=backup_id, kind=request.kind or None),
            viewer=None if policy.sees_all(principal) else project_id,
            position=position,
            newest=bounds.newest,
            key=principal.project_id,
            checkpoint_seconds=self.checkpoint_seconds,
        )


def _start(bounds: LogBounds, place: tuple[str, int] | None, *, from_beginning: bool) -> int:
    """Return the position after which a watch begins."""
    if place is None:
        return bounds.oldest if from_beginning else bounds.newest
    checks = Checks()
    with _checking(checks):
        position = cursor.position_in(bounds, *place)
    checks.done()
    if position < bounds.oldest:
        raise CursorExpired(cursor.encode(bounds.store_id, bounds.oldest))
    return position


@contextmanager
def _checking(checks: Checks) -> Iterator[None]:
    """Add a violation for a bad cursor."""
    try:
        yield
    except cursor.BadCursor as bad:
        checks.violate("cursor", f"The value of cursor is incorrect: {bad}")
