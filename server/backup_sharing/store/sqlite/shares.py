"""Shares in as few statements as possible: decided on assumptions, which the writing itself checks.

One statement counts the new sharings and checks their backups, the others insert. Unique indexes check that no
recipient has the backup already, and that no idempotency key is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from backup_sharing.model import AVAILABLE, Micros
from backup_sharing.rules.assumed import AssumedShares
from backup_sharing.rules.commands import Share
from backup_sharing.rules.outcome import Outcome
from backup_sharing.store.sqlite.changes import MOST_ROWS, add_keys, add_rows, chunks, flat, purge_keys, values

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_NO_LIMIT: Final = 2**62


def make_on_assumptions(
    connection: sqlite3.Connection, shares: Sequence[Share], now: Micros
) -> Sequence[Outcome] | None:
    """Make shares at the time ``now``; return their outcomes, or None: an assumption is wrong, and all is to be undone.

    Raises sqlite3.IntegrityError if a row is there already: all is to be undone, too.
    """
    assumed = AssumedShares(shares, now)
    if not assumed.have_succeeded:
        return None
    edits = assumed.edits
    wanted = [
        (backup_id, giver, edits.counts.get(backup_id, 0), assumed.bounds.get(backup_id, _NO_LIMIT))
        for backup_id, giver in assumed.givers.items()
    ]
    for rows in chunks(wanted):
        if connection.execute(_count_as_assumed(len(rows)), [*flat(rows), now]).rowcount != len(rows):
            return None
    add_rows(connection, edits)
    if edits.keys:
        purge_keys(connection, edits)
        add_keys(connection, edits)
    return assumed.outcomes


@lru_cache(maxsize=MOST_ROWS)
def _count_as_assumed(rows: int) -> str:
    """Return the statement that adds to the counters of backups that are as assumed, and of no others.

    The parameters are rows of id, owner, number to add and maximum; then the time at which sharings end.
    """
    return f"""
        UPDATE backups SET active_sharings = active_sharings + assumed.column3
        FROM ({values(rows, 4)}) AS assumed
        WHERE backups.id = assumed.column1 AND project_id = assumed.column2 AND status = '{AVAILABLE}'
        AND active_sharings + assumed.column3 <= assumed.column4 AND NOT EXISTS (
            SELECT 1 FROM sharings AS s INDEXED BY sharings_ending_of_backup
            WHERE s.backup_id = assumed.column1 AND s.deleted_at IS NULL AND s.expires_at <= ?
        )
    """
