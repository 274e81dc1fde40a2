"""The use case of the history: a page of past events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from backup_sharing.errors import CursorExpired, Violation
from backup_sharing.model import Micros, Page, Principal, rfc3339
from backup_sharing.store.interface import EventFilter, EventLog, LogBounds, Position, StoredEvent
from backup_sharing.usecases import cursor, page_token, policy
from backup_sharing.usecases.checks import Checks

KINDS: Final = ("shared", "cancelled", "expired", "backup_put", "backup_removed")
"""The kinds of events."""


def _kind(checks: Checks, field: str, value: str) -> str:
    return checks.one_of(field, value, KINDS)


EVENT_FILTERS: Final[Mapping[str, Callable[[Checks, str, str], str]]] = {
    "backup_id": lambda checks, field, value: checks.uuid(field, value, "BACKUP"),
    "sharing_id": lambda checks, field, value: checks.uuid(field, value, "SHARING"),
    "other_project_id": Checks.project_id,
    "kind": _kind,
}
"""The filters by a text with their checks. Each name is a field of the request message and of `EventFilter`."""


@dataclass(frozen=True, slots=True)
class EventsRequest:
    """The request of `History.list`, unchecked; None: not given."""

    project_id: str
    """Empty: all projects."""
    given: Mapping[str, str] = field(default_factory=dict)
    """The given texts by name, see `EVENT_FILTERS`."""
    since: Micros | None = None
    before: Micros | None = None
    sort_dir: str | None = None
    limit: int | None = None
    offset: int | None = None
    page_token: str = ""
    misread: Sequence[Violation] = ()
    """Violations found while reading the request."""


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events."""

    items: Sequence[StoredEvent]
    next_page_token: str
    """Empty on the last page."""
    store_id: str
    cursor: str
    """The place of this page in the order of all events: a watch from there sends every later event."""
    viewer: str | None
    """The project that sees the page; None: a caller who sees all of each event."""


@dataclass(frozen=True, slots=True)
class History:
    """The use case."""

    log: EventLog

    async def list(self, principal: Principal, request: EventsRequest) -> EventPage:
        """Return a page for a caller who is allowed to read the events of the project.

        Raises:
            InvalidArgument: a value is incorrect.
            CursorExpired: the events at the page token are no longer kept.
        """
        checks = Checks(request.misread)
        wanted = _filter(checks, request)
        descending = checks.one_of("sort_dir", request.sort_dir or "desc", ("asc", "desc")) == "desc"
        limit = checks.page_size(request.limit)
        offset = 0 if request.offset is None else checks.number("offset", request.offset, 0)
        of = ("events", wanted, descending)
        token = page_token.position(
            checks, request.page_token, request.offset, of, page_token.NUMBER, page_token.STORE_ID
        )
        checks.done()
        bounds = await self.log.log_bounds()
        after = None if token is None else _after(token, bounds, descending=descending)
        if after is None and descending:
            # No event beyond the cursor of this page is in it: a watch would send it again.
            after = bounds.newest + 1
        page = await self.log.list_events(wanted, limit, offset, after, descending=descending)
        if token is not None:
            # Again after the page, because events may be deleted at any time before.
            _after(token, await self.log.log_bounds(), descending=descending)
        next_token = page_token.encode(Position(page.items[-1].position, bounds.store_id), of) if page.more else ""
        viewer = None if policy.sees_all(principal) else request.project_id
        place = cursor.encode(bounds.store_id, _end_of(page, bounds, descending=descending))
        return EventPage(page.items, next_token, bounds.store_id, place, viewer)


def _filter(checks: Checks, request: EventsRequest) -> EventFilter:
    if request.project_id:
        checks.project_id("project_id", request.project_id)
    given = {
        name: check(checks, name, request.given[name]) for name, check in EVENT_FILTERS.items() if name in request.given
    }
    since, before = request.since, request.before
    if since is not None and before is not None and since >= before:
        text = f"The value of end_time is incorrect: {rfc3339(before)} is not later than start_time, {rfc3339(since)}."
        checks.violate("end_time", text)
    return EventFilter(request.project_id or None, **given, since=since, before=before)


def _after(token: Position, bounds: LogBounds, *, descending: bool) -> int:
    """Return the position at which the page of a token begins."""
    position = int(token.value or 0)
    checks = Checks()
    if token.id != bounds.store_id or not 1 <= position <= bounds.newest:
        checks.violate("page_token", "The value of page_token does not belong to this server's data.")
    checks.done()
    # In descending order, the next event of the page is the one before the position.
    if position - descending < bounds.oldest:
        raise CursorExpired(cursor.encode(bounds.store_id, bounds.oldest))
    return position


def _end_of(page: Page[StoredEvent], bounds: LogBounds, *, descending: bool) -> int:
    """Return the position after which no event of this page, or of the pages before it, follows."""
    if descending or page.more or not page.items:
        return bounds.newest
    # Events may have been added after the bounds were read.
    return max(bounds.newest, page.items[-1].position)
