"""Shares in one round trip: decided on assumptions, which the database checks before it commits.

Besides the assumptions of `backup_sharing.rules.assumed`, no backup is locked by others, and no new sharing is due at
once. A wrong assumption fails the transaction, and the batch is made again by `backup_sharing.store.postgres.changes`,
which reads first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psycopg

from backup_sharing.model import AVAILABLE, Micros
from backup_sharing.rules.assumed import AssumedShares
from backup_sharing.rules.commands import Share
from backup_sharing.store.postgres.changes import (
    COUNT,
    REMEMBER,
    UNMARK,
    count_columns,
    event_columns,
    key_columns,
    purge,
    sharing_columns,
)
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.pooling import begin
from backup_sharing.store.postgres.rows import store_time
from backup_sharing.store.rows import EVENT_FIELDS, SHARING_FIELDS

# ruff: noqa: S608 -- statements are put together from the constants of this program only

# A division by zero fails the transaction: SQL has no other way to do so that all databases understand.
_LOCK_AS_ASSUMED: Final = f"""
    WITH locked AS (
        SELECT b.id FROM unnest(%s::text[], %s::text[]) AS assumed (id, project_id) CROSS JOIN LATERAL (
            SELECT id FROM backups WHERE id = assumed.id AND project_id = assumed.project_id AND status = '{AVAILABLE}'
            FOR UPDATE SKIP LOCKED
        ) AS b
    )
    SELECT 1 / CASE WHEN (SELECT count(*) FROM locked) = %s THEN 1 ELSE 0 END
"""
_ADD: Final = f"""
    WITH added AS (
        INSERT INTO sharings ({", ".join(SHARING_FIELDS)})
        SELECT * FROM unnest(
            %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]
        )
    ),
    marked AS (INSERT INTO batches (id) VALUES (%s))
    INSERT INTO sharing_events ({", ".join(EVENT_FIELDS)})
    SELECT {", ".join(EVENT_FIELDS)} FROM unnest(
        %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
    ) WITH ORDINALITY AS new_events ({", ".join(EVENT_FIELDS)}, place) ORDER BY place
"""
# A separate statement after the lock and the inserts, so that it sees both. The database's own clock measures the time
# of the transaction, whatever time that clock shows.
_CHECK: Final = f"""
    SELECT 1 / CASE
        WHEN clock_timestamp() - now() > %s * INTERVAL '1 millisecond' THEN 0
        WHEN EXISTS (
            SELECT 1 FROM unnest(%s::text[], %s::bigint[]) AS bound (backup_id, most)
            WHERE (SELECT b.active_sharings FROM backups AS b WHERE b.id = bound.backup_id) > bound.most
        ) THEN 0
        WHEN EXISTS (
            SELECT 1 FROM unnest(%s::text[]) AS assumed (id) CROSS JOIN LATERAL (
                SELECT 1 FROM sharings AS s
                WHERE s.backup_id = assumed.id AND s.deleted_at IS NULL AND s.expires_at <= {store_time("%s")} LIMIT 1
            ) AS due
        ) THEN 0
        ELSE 1
    END
"""


class Assumed(AssumedShares):
    """A batch of shares that one transaction checks and writes."""

    def __init__(self, shares: Sequence[Share], now: Micros | None) -> None:
        """Decide the shares.

        ``now``: time at which sharings end; None: the time of the database.
        """
        super().__init__(shares, now)
        self._now = now

    async def write(self, connection: Connection, marked: str, unmarked: Sequence[str], seconds: float) -> None:
        """Check the assumptions and store everything in one transaction that commits within ``seconds``, or not at all.

        Raises psycopg.Error; `is_not_as_assumed` shows whether reading first can help.
        """
        edits, backups = self.edits, list(self.givers)
        async with connection.pipeline():
            await begin(connection)
            await connection.execute(_LOCK_AS_ASSUMED, (backups, list(self.givers.values()), len(backups)))
            added, events = sharing_columns(edits), event_columns(edits)
            await connection.execute(_ADD, (*added, marked, *events))
            await connection.execute(COUNT, count_columns(edits))
            if edits.keys:
                await purge(connection, edits)
                await connection.execute(REMEMBER, key_columns(edits))
            if unmarked:
                await connection.execute(UNMARK, (unmarked,))
            bounds = (list(self.bounds), list(self.bounds.values()))
            await connection.execute(_CHECK, (round(seconds * 1000), *bounds, backups, self._now))
            await connection.execute("COMMIT", prepare=False)


def is_not_as_assumed(error: BaseException) -> bool:
    """Return whether a transaction failed because an assumption was wrong."""
    return isinstance(
        error, psycopg.errors.DivisionByZero | psycopg.errors.UniqueViolation | psycopg.errors.LockNotAvailable
    )
