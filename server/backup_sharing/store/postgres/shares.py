"""Shares in one round trip: decided as if nothing stood in their way, which the database checks before it commits.

Most shares meet with nothing. So they are decided before anything is read: each backup is assumed to be
there, the giver's, available and not locked, no recipient to have it already, no idempotency key to be used,
and the limit on active sharings to be far. What was not so fails the transaction, and the batch is made once
more in the way of `backup_sharing.store.postgres.changes`, which reads first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import psycopg

from backup_sharing.model import AVAILABLE
from backup_sharing.rules.commands import Command, OnConflict, Share
from backup_sharing.rules.decisions import decide_all
from backup_sharing.rules.outcome import Made, Outcome
from backup_sharing.rules.state import Edits, State
from backup_sharing.store.postgres.changes import (
    BEGIN,
    REMEMBER,
    UNMARK,
    event_columns,
    key_columns,
    purge,
    sharing_columns,
)
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.rows import EVENT_FIELDS, SHARING_FIELDS

# ruff: noqa: S608 -- statements are put together from the constants of this program only

# Who divides by zero fails the transaction: SQL has no other way to say so that all databases understand.
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
        SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
    ),
    marked AS (INSERT INTO batches (id) VALUES (%s))
    INSERT INTO sharing_events ({", ".join(EVENT_FIELDS)})
    SELECT {", ".join(EVENT_FIELDS)} FROM unnest(
        %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
    ) WITH ORDINALITY AS told ({", ".join(EVENT_FIELDS)}, place) ORDER BY place
"""
# In a statement of its own, behind the lock and behind what was added: it sees both. How long the transaction has
# taken is known by the database's own clock, whatever time it shows.
_CHECK: Final = """
    SELECT 1 / CASE
        WHEN clock_timestamp() - now() > %s * INTERVAL '1 millisecond' THEN 0
        WHEN EXISTS (
            SELECT 1 FROM unnest(%s::text[], %s::bigint[]) AS bound (backup_id, most)
            WHERE (SELECT count(*) FROM sharings AS s
                   WHERE s.backup_id = bound.backup_id AND s.deleted_at IS NULL) > bound.most
        ) THEN 0
        ELSE 1
    END
"""


class Assumed:
    """A batch of shares, decided before anything is known."""

    def __init__(self, shares: Sequence[Share]) -> None:
        """Decide these; to be called with what `can_be_assumed` lets through."""
        state = State()
        self._givers = {share.backup_id: share.from_project_id for share in shares}
        state.know_owners((backup_id, giver, AVAILABLE) for backup_id, giver in self._givers.items())
        self._bounds: dict[str, int] = {}
        for share in shares:
            if share.max_active:
                bound = self._bounds.get(share.backup_id, share.max_active)
                self._bounds[share.backup_id] = min(bound, share.max_active)
        state.know_counts((backup_id, 0) for backup_id in self._bounds)
        self.outcomes: Sequence[Outcome] = decide_all(state, shares)
        """What becomes of each, if all is as assumed."""
        self._edits: Edits = state.edits

    @property
    def can_be_told(self) -> bool:
        """Whether every outcome is certain if all is as assumed: why one fails may have more to it than is assumed."""
        return all(isinstance(outcome, Made) for outcome in self.outcomes)

    async def write(self, connection: Connection, marked: str, unmarked: Sequence[str], seconds: float) -> None:
        """Check and store everything in one transaction that commits within ``seconds``, or not.

        Raises psycopg.Error; `is_not_as_assumed` tells whether reading first can help.
        """
        edits, backups = self._edits, list(self._givers)
        async with connection.pipeline():
            await connection.execute(BEGIN)
            await connection.execute(_LOCK_AS_ASSUMED, (backups, list(self._givers.values()), len(backups)))
            added, told = sharing_columns(edits), event_columns(edits)
            await connection.execute(_ADD, (*added, marked, *told))
            if edits.keys:
                await purge(connection, edits)
                await connection.execute(REMEMBER, key_columns(edits))
            if unmarked:
                await connection.execute(UNMARK, (unmarked,))
            bounds = (list(self._bounds), list(self._bounds.values()))
            await connection.execute(_CHECK, (round(seconds * 1000), *bounds))
            await connection.execute("COMMIT", prepare=False)


def can_be_assumed(commands: Iterable[Command]) -> bool:
    """Whether these are shares of which the answers can be told before anything is known."""
    givers: dict[str, str] = {}
    for command in commands:
        if not isinstance(command, Share) or command.on_conflict is not OnConflict.REFUSE:
            return False
        if givers.setdefault(command.backup_id, command.from_project_id) != command.from_project_id:
            return False
    return True


def is_not_as_assumed(error: BaseException) -> bool:
    """Whether a transaction failed because something was in the way."""
    return isinstance(
        error, psycopg.errors.DivisionByZero | psycopg.errors.UniqueViolation | psycopg.errors.LockNotAvailable
    )
