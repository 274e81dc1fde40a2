"""The read queries of PostgreSQL: `backup_sharing.store.engine.Reads`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from backup_sharing.errors import BackupNotFound, SharingNotFound
from backup_sharing.model import Backup, Micros, Page, SharingDetail
from backup_sharing.store import listing
from backup_sharing.store.engine import Ending, Query
from backup_sharing.store.history.queries import EventQueries
from backup_sharing.store.history.statements import EventDialect
from backup_sharing.store.interface import PAGE_BYTES, CheckedAccess, OldSharing, SharingFilter, SharingQuery
from backup_sharing.store.postgres.rows import store_time, stored_backup, stored_detail, text_in, text_out
from backup_sharing.store.rows import (
    BACKUP_COLUMNS,
    BACKUP_FIELDS,
    SHARING_COLUMNS,
    SHARING_FIELDS,
    Row,
    details_of,
)

POSTGRES: Final = listing.Dialect(
    parameter=lambda name: f"%({name})s",
    with_backup="sharings AS s JOIN backups AS b ON b.id = s.backup_id",
    # Compare UTF-8 bytes: a text contains another exactly if its bytes do, and bytes can hold characters that
    # PostgreSQL's text cannot.
    name_contains=lambda name: f"position(%({name})s::bytea IN b.name_folded) > 0",
    not_by_index="",
    now=store_time("%(now)s"),
)
"""SQL fragments of PostgreSQL."""

_SHARING_AS: Final = ", ".join(f"s.{name} AS s_{name}" for name in SHARING_FIELDS)
_BACKUP_AS: Final = ", ".join(f"b.{name} AS b_{name}" for name in BACKUP_FIELDS)
_SHARING_NAMES: Final = ", ".join(f"s_{name}" for name in SHARING_FIELDS)
_BACKUP_NAMES: Final = ", ".join(f"b_{name}" for name in BACKUP_FIELDS)

_GET_SHARING: Final = listing.get_statement(POSTGRES)
_GET_BACKUP: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = %(id)s"  # noqa: S608 -- constants

EVENTS: Final = EventQueries(
    EventDialect(
        parameter=lambda name: f"%({name})s",
        position="position",
        not_by_index="",
        is_selected_by_rows=True,
    ),
    # The number in `event_order` survives the deletion of all events.
    bounds="""
        SELECT (SELECT id FROM store), coalesce((SELECT min(position) - 1 FROM sharing_events), last), last
        FROM event_order
    """,
    # Each pair is looked up in subqueries that cannot become joins, as in `backup_sharing.store.postgres.changes`.
    accesses=f"""
        SELECT (SELECT id FROM store), (SELECT last FROM event_order),
            -- The status keeps PostgreSQL from reading the whole index of (project_id, id) instead of the row.
            (SELECT CASE WHEN b.status <> '' THEN b.project_id END FROM backups AS b WHERE b.id = asked.backup_id), s.*
        FROM unnest(%(backup_ids)s::text[], %(project_ids)s::text[]) WITH ORDINALITY AS asked (backup_id, project_id, n)
        LEFT JOIN LATERAL (
            SELECT {SHARING_COLUMNS} FROM sharings AS s
            WHERE s.backup_id = asked.backup_id AND s.to_project_id = asked.project_id AND {listing.is_active(POSTGRES)}
            LIMIT 1
        ) AS s ON TRUE
        ORDER BY asked.n
    """,  # noqa: S608 -- constants
    original=text_out,
)
"""The queries of events; `backup_sharing.store.postgres.sequencer` assigns their positions."""

log_bounds: Final = EVENTS.log_bounds
events_after: Final = EVENTS.events_after
list_events: Final = EVENTS.list_events
old_events: Final = EVENTS.old_events


def check_access(pairs: Sequence[tuple[str, str]]) -> Query[CheckedAccess]:
    """Return the query of `Store.check_access`."""
    backup_ids, project_ids = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return EVENTS.check_access({"backup_ids": backup_ids, "project_ids": project_ids})


def get_sharing(project_id: str, sharing_id: str) -> Query[SharingDetail]:
    """Return the query of `Store.get_sharing`."""

    def answer(rows: Iterable[Row]) -> SharingDetail:
        for row in rows:
            return stored_detail(row)
        raise SharingNotFound(sharing_id)

    return Query(_GET_SHARING, {"id": sharing_id, "project_id": project_id}, answer)


def list_sharings(query: SharingQuery) -> Query[Page[SharingDetail]]:
    """Return the query of `Store.list_sharings`."""

    def answer(rows: Iterable[Row]) -> Page[SharingDetail]:
        page, more = _cut(list(rows), query.part.limit)
        return Page(details_of(page, stored_backup), more)

    return Query(*list_statement(query), answer)


def list_statement(query: SharingQuery) -> tuple[str, listing.Parameters]:
    """Return the statement of a list, whose rows end with the column of `_bounded`, and its parameters."""
    order = listing.order_of(query.order)
    terms = ", ".join(f"{term} AS term_{number}" for number, (term, _) in enumerate(order))
    page, parameters = listing.list_statement(query, POSTGRES, f"{_SHARING_AS}, {_BACKUP_AS}, {terms}")
    outer = ", ".join(f"term_{number} {direction}" for number, (_, direction) in enumerate(order))
    return _bounded(page, f"{_SHARING_NAMES}, {_BACKUP_NAMES}", outer), parameters


def count_sharings(filter: SharingFilter) -> Query[int]:
    """Return the query of `Store.count_sharings`."""
    return Query(*listing.count_statement(filter, POSTGRES), listing.only_number)


def count_part(counted: listing.Counted, after: str, limit: int) -> Query[listing.Part]:
    """Return the query of `Reads.count_part`."""
    parameters = listing.part_parameters(counted, after, limit)
    return Query(listing.part_statement(counted, POSTGRES), parameters, listing.only_part)


def ending(limit: int) -> Query[Sequence[Ending]]:
    """Return the query of `Reads.ending`."""
    return Query(listing.ending_statement(POSTGRES), {"rows": limit}, lambda rows: [Ending(*row) for row in rows])


def time() -> Query[Micros]:
    """Return the query of `Retention.time`."""
    return Query(listing.time_statement(POSTGRES), {}, listing.only_number)


def old_sharings(before: Micros, limit: int, after: OldSharing | None) -> Query[Sequence[OldSharing]]:
    """Return the query of `Retention.old_sharings`."""
    parameters = listing.old_parameters(before, after)
    return Query(listing.old_statement(POSTGRES, limit), parameters, lambda rows: [OldSharing(*row) for row in rows])


def get_backup(backup_id: str) -> Query[Backup]:
    """Return the query of `Store.get_backup`."""

    def answer(rows: Iterable[Row]) -> Backup:
        for row in rows:
            return stored_backup(row)
        raise BackupNotFound(backup_id)

    return Query(_GET_BACKUP, {"id": backup_id}, answer)


def list_backups(project_id: str | None, limit: int, after_id: str | None) -> Query[Page[Backup]]:
    """Return the query of `Store.list_backups`."""

    def answer(rows: Iterable[Row]) -> Page[Backup]:
        page, more = _cut(list(rows), limit)
        return Page([stored_backup(row) for row in page], more)

    parameters: listing.Parameters = {"project_id": project_id, "after_id": after_id, "rows": limit + 1}
    return Query(backups_statement(project_id, after_id), parameters, answer)


def backups_statement(project_id: str | None, after_id: str | None) -> str:
    """Return the statement for ``rows`` backups by id, whose rows end with the column of `_bounded`."""
    return _bounded(listing.backups_statement(project_id, after_id, POSTGRES, _BACKUP_AS), _BACKUP_NAMES, "b_id")


def _bounded(page: str, columns: str, order: str) -> str:
    """Return the statement for the rows of a page up to its limit of bytes, but for at least one row.

    Each row ends with the number of rows of the page without this limit. The server counts the bytes: it knows the
    length of texts without reading them, and never sends the rows beyond the limit.
    """
    size = " + ".join(f"coalesce(octet_length(b_{name}), 0)" for name in listing.TEXTS)
    return f"""
        SELECT {columns}, fetched FROM (
            SELECT *, count(*) OVER () AS fetched, row_number() OVER so_far AS place,
                sum({listing.ROW_BYTES} + {size}) OVER so_far AS bytes
            FROM ({page}) AS page WINDOW so_far AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)
        ) AS page WHERE place = 1 OR bytes <= {PAGE_BYTES} ORDER BY {order}
    """  # noqa: S608 -- constants


def _cut(rows: Sequence[Row], limit: int) -> tuple[Sequence[Row], bool]:
    """Return the rows of a page without the column of `_bounded`, and whether more rows remain."""
    page = [row[:-1] for row in rows[:limit]]
    return page, bool(rows) and rows[0][-1] > len(page)


def as_stored(parameters: listing.Parameters) -> listing.Parameters:
    """Return the parameters as PostgreSQL's text can hold them, and the part of a name as bytes: see `POSTGRES`."""
    values = {name: text_in(value) for name, value in parameters.items()}
    if isinstance(name := parameters.get("name"), str):
        values["name"] = name.encode()
    return values
