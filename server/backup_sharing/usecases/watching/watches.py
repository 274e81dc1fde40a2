"""The use case of a watch: check the values, find the place to begin, and open a watch there."""

from __future__ import annotations

from dataclasses import dataclass

from backup_sharing.errors import CursorExpired
from backup_sharing.model import Principal
from backup_sharing.store.interface import EventFilter, LogBounds
from backup_sharing.timers import Later, later
from backup_sharing.usecases import cursor, policy
from backup_sharing.usecases.checks import Checks, shown
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
        place = cursor.decode(request.cursor) if request.cursor else None
        if request.cursor and place is None:
            text = f"{shown(request.cursor)} is not a cursor, such as 5f1c9a0e7b3d2846:1042."
            checks.violate("cursor", f"The value of cursor is incorrect: {text}")
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
    store_id, position = place
    checks = Checks()
    given = shown(cursor.encode(store_id, position))
    if store_id != bounds.store_id:
        checks.violate("cursor", f"The value of cursor is incorrect: {given} is a cursor of another store.")
    elif position > bounds.newest:
        newest = cursor.encode(bounds.store_id, bounds.newest)
        checks.violate("cursor", f"The value of cursor is incorrect: {given} is beyond the newest event, {newest}.")
    checks.done()
    if position < bounds.oldest:
        raise CursorExpired(cursor.encode(bounds.store_id, bounds.oldest))
    return position
