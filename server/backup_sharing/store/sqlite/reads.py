"""The read queries of SQLite: `backup_sharing.store.engine.Reads`.

Tables are joined in the written order (CROSS JOIN), so that the index on a project's sharings provides the order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final

from backup_sharing.errors import BackupNotFound, SharingNotFound
from backup_sharing.model import Backup, Micros, Page, SharingDetail
from backup_sharing.store import listing
from backup_sharing.store.engine import Ending, Query
from backup_sharing.store.history.queries import EventQueries
from backup_sharing.store.history.statements import EventDialect
from backup_sharing.store.interface import CheckedAccess, OldSharing, SharingFilter, SharingQuery, SortKey
from backup_sharing.store.rows import (
    BACKUP_COLUMNS,
    BACKUP_FIELDS,
    SHARING_COLUMNS,
    SHARING_FIELDS,
    Row,
    backup_of,
    detail_of,
    details_of,
)

SQLITE: Final = listing.Dialect(
    parameter=lambda name: f":{name}",
    with_backup="sharings AS s CROSS JOIN backups AS b ON b.id = s.backup_id",
    name_contains=lambda name: f"instr(b.name_folded, :{name}) > 0",
    not_by_index="+",
    now=":now",
)
"""SQL fragments of SQLite."""

_GET_SHARING: Final = listing.get_statement(SQLITE)
_GET_BACKUP: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = :id"  # noqa: S608 -- constants

# The number survives the deletion of all events.
_NEWEST: Final = "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'sharing_events'), 0)"

EVENTS: Final = EventQueries(
    EventDialect(parameter=lambda name: f":{name}", position="seq", not_by_index="+", is_selected_by_rows=False),
    bounds=f"""
        SELECT id, coalesce((SELECT min(seq) - 1 FROM sharing_events), {_NEWEST}), {_NEWEST} FROM store
    """,  # noqa: S608 -- constants
    accesses=f"""
        SELECT (SELECT id FROM store), {_NEWEST},
            (SELECT b.project_id FROM backups AS b WHERE b.id = asked.value ->> 0), {SHARING_COLUMNS}
        FROM json_each(:pairs) AS asked LEFT JOIN sharings AS s
        ON s.backup_id = asked.value ->> 0 AND s.to_project_id = asked.value ->> 1 AND {listing.is_active(SQLITE)}
        ORDER BY asked.key
    """,  # noqa: S608 -- constants
    original=lambda value: value,
)
"""The queries of events; the position of an event is its number, as one writer assigns the numbers."""

log_bounds: Final = EVENTS.log_bounds
events_after: Final = EVENTS.events_after
list_events: Final = EVENTS.list_events
old_events: Final = EVENTS.old_events


def check_access(pairs: Sequence[tuple[str, str]]) -> Query[CheckedAccess]:
    """Return the query of `Store.check_access`."""
    return EVENTS.check_access({"pairs": json.dumps(pairs)})


def get_sharing(project_id: str, sharing_id: str) -> Query[SharingDetail]:
    """Return the query of `Store.get_sharing`."""

    def answer(rows: Iterable[Row]) -> SharingDetail:
        for row in rows:
            return detail_of(row)
        raise SharingNotFound(sharing_id)

    return Query(_GET_SHARING, {"id": sharing_id, "project_id": project_id}, answer)


def list_sharings(query: SharingQuery) -> Query[Page[SharingDetail]]:
    """Return the query of `Store.list_sharings`."""

    def answer(rows: Iterable[Row]) -> Page[SharingDetail]:
        page, more = listing.cut(rows, query.part.limit, _size_of_details())
        return Page(details_of(page), more)

    return Query(*list_statement(query), answer)


def list_statement(query: SharingQuery) -> tuple[str, listing.Parameters]:
    """Return the statement of a list, whose rows are read one by one, and its parameters."""
    if query.order.key is SortKey.CREATED_AT and query.filter.backup_id is None:
        return listing.list_statement(query, SQLITE, f"{SHARING_COLUMNS}, {BACKUP_COLUMNS}")
    # Sort ids only, as the rows of backups may be large.
    ids, parameters = listing.list_statement(query, SQLITE, "s.id AS sharing_id")
    statement = f"""
        SELECT {SHARING_COLUMNS}, {BACKUP_COLUMNS} FROM ({ids}) AS page
        CROSS JOIN sharings AS s ON s.id = page.sharing_id CROSS JOIN backups AS b ON b.id = s.backup_id
    """  # noqa: S608 -- constants
    return statement, parameters


def count_sharings(filter: SharingFilter) -> Query[int]:
    """Return the query of `Store.count_sharings`."""
    return Query(*listing.count_statement(filter, SQLITE), listing.only_number)


def count_part(counted: listing.Counted, after: str, limit: int) -> Query[listing.Part]:
    """Return the query of `Reads.count_part`."""
    parameters = listing.part_parameters(counted, after, limit)
    return Query(listing.part_statement(counted, SQLITE), parameters, listing.only_part)


def ending(limit: int) -> Query[Sequence[Ending]]:
    """Return the query of `Reads.ending`."""
    return Query(listing.ending_statement(SQLITE), {"rows": limit}, lambda rows: [Ending(*row) for row in rows])


def time() -> Query[Micros]:
    """Return the query of `Retention.time`."""
    return Query(listing.time_statement(SQLITE), {}, listing.only_number)


def old_sharings(before: Micros, limit: int, after: OldSharing | None) -> Query[Sequence[OldSharing]]:
    """Return the query of `Retention.old_sharings`."""
    parameters = listing.old_parameters(before, after)
    return Query(listing.old_statement(SQLITE, limit), parameters, lambda rows: [OldSharing(*row) for row in rows])


def get_backup(backup_id: str) -> Query[Backup]:
    """Return the query of `Store.get_backup`."""

    def answer(rows: Iterable[Row]) -> Backup:
        for row in rows:
            return backup_of(row)
        raise BackupNotFound(backup_id)

    return Query(_GET_BACKUP, {"id": backup_id}, answer)


def list_backups(project_id: str | None, limit: int, after_id: str | None) -> Query[Page[Backup]]:
    """Return the query of `Store.list_backups`."""

    def answer(rows: Iterable[Row]) -> Page[Backup]:
        page, more = listing.cut(rows, limit, _SIZE_OF_BACKUP)
        return Page([backup_of(row) for row in page], more)

    parameters: listing.Parameters = {"project_id": project_id, "after_id": after_id, "rows": limit + 1}
    return Query(listing.backups_statement(project_id, after_id, SQLITE, BACKUP_COLUMNS), parameters, answer)


def _size_from(start: int) -> Callable[[Row], int]:
    """Return a function that returns the bytes of a row in which a backup begins at column ``start``."""
    texts = itemgetter(*(start + BACKUP_FIELDS.index(name) for name in listing.TEXTS))
    return lambda row: listing.ROW_BYTES + len("".join(filter(None, texts(row))).encode())


def _size_of_details() -> Callable[[Row], int]:
    """Return a function that returns the bytes of a sharing with its backup; rows of one page share their backups."""
    place = SHARING_FIELDS.index("backup_id")
    known: dict[str, int] = {}

    def size_of(row: Row) -> int:
        backup_id = row[place]
        size = known.get(backup_id)
        if size is None:
            size = known[backup_id] = _SIZE_OF_DETAIL(row)
        return size

    return size_of


_SIZE_OF_BACKUP: Final = _size_from(0)
_SIZE_OF_DETAIL: Final = _size_from(len(SHARING_FIELDS))
