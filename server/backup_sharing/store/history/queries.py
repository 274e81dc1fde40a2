"""Queries of events and of access, for every engine: statements, and the conversion of their rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Any

from backup_sharing.model import Event, Micros, Page
from backup_sharing.store.engine import Query
from backup_sharing.store.history.statements import (
    EventDialect,
    after_statement,
    list_statement,
    old_statement,
    parameters_of,
)
from backup_sharing.store.interface import Access, CheckedAccess, EventFilter, LogBounds, OldEvent, StoredEvent
from backup_sharing.store.listing import Parameters
from backup_sharing.store.rows import Row, sharing_of


@dataclass(frozen=True, slots=True)
class EventQueries:
    """The queries of `backup_sharing.store.interface.EventLog` and `Store.check_access`."""

    dialect: EventDialect
    bounds: str
    """Statement for one row: the members of `LogBounds`."""
    accesses: str
    """Statement for a row per pair: store id, newest position, the backup's owner, then the columns of the sharing."""
    original: Callable[[Any], Any]
    """Returns a stored value of an event in its original form."""

    def log_bounds(self) -> Query[LogBounds]:
        """Return the query of `EventLog.log_bounds`."""
        return Query(self.bounds, {}, _bounds_of, in_order=True)

    def events_after(self, position: int, limit: int) -> Query[Sequence[StoredEvent]]:
        """Return the query of `EventLog.events_after`."""
        parameters: Parameters = {"after": position, "rows": limit}
        return Query(_after_statement(self.dialect), parameters, self._events_of, in_order=True)

    def list_events(
        self, filter: EventFilter, limit: int, offset: int, after: int | None, *, descending: bool
    ) -> Query[Page[StoredEvent]]:
        """Return the query of `EventLog.list_events`; one extra row shows whether more events remain."""

        def answer(rows: Iterable[Row]) -> Page[StoredEvent]:
            events = self._events_of(rows)
            return Page(events[:limit], len(events) > limit)

        statement = list_statement(filter, self.dialect, descending=descending)
        parameters = parameters_of(filter, limit + 1, offset, after, descending=descending)
        return Query(statement, parameters, answer, in_order=True)

    def old_events(self, before: Micros, limit: int, after: int) -> Query[Sequence[OldEvent]]:
        """Return the query of `Retention.old_events`."""

        def answer(rows: Iterable[Row]) -> Sequence[OldEvent]:
            return list(takewhile(lambda event: event.at < before, (OldEvent(*row) for row in rows)))

        return Query(old_statement(self.dialect), {"after": after, "rows": limit}, answer, in_order=True)

    def check_access(self, parameters: Parameters) -> Query[CheckedAccess]:
        """Return the query of `Store.check_access` with the parameters of `accesses`."""
        return Query(self.accesses, parameters, _checked)

    def _events_of(self, rows: Iterable[Row]) -> Sequence[StoredEvent]:
        return [StoredEvent(row[0], Event(*map(self.original, row[1:]))) for row in rows]


@lru_cache(maxsize=2)
def _after_statement(dialect: EventDialect) -> str:
    return after_statement(dialect)


def _bounds_of(rows: Iterable[Row]) -> LogBounds:
    ((store_id, oldest, newest),) = rows
    return LogBounds(store_id, oldest, newest)


def _checked(rows: Iterable[Row]) -> CheckedAccess:
    found = list(rows)
    accesses = [Access(row[2], None if row[3] is None else sharing_of(row[3:])) for row in found]
    store_id, position = found[0][:2]
    return CheckedAccess(accesses, store_id, position)
