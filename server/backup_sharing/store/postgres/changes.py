"""All waiting changes at once: one round trip locks and reads the data they need, another one writes.

Every change of a backup's data locks the backup's row first. So changes of one backup come one after another, whichever
server makes them, and statements after the lock read the state that the change before left: READ COMMITTED is enough.
Rows that others have locked are skipped: their changes wait, the other changes of the batch do not.

Lists of rows are passed as one array per column.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import psycopg

from backup_sharing.model import Micros, Sharing
from backup_sharing.rules.commands import Cancel, Command, PurgeEvents, PurgeSharings, PutBackup
from backup_sharing.rules.state import Edits, Needs, State
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.pooling import begin
from backup_sharing.store.postgres.rows import (
    BACKUP_PARAMETERS,
    backup_row,
    columns_of,
    store_time,
    stored_backup,
    text_in,
)
from backup_sharing.store.rows import BACKUP_COLUMNS, EVENT_FIELDS, SHARING_COLUMNS, SHARING_FIELDS, key_row, stored_key

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_PURGED_AT_ONCE: Final = 16
"""Maximum expired keys deleted at once, or twice the number of new keys if that is more: deletion outpaces insertion,
and no call pays for many."""

# Each row is looked up in a subquery that cannot become a join: while a table has no statistics, PostgreSQL takes its
# partial indexes for tiny, and would rather read a whole index than look into it 64 times.
_LOCK: Final = f"""
    WITH wanted AS (
        SELECT id FROM unnest(%s::text[]) AS asked (id)
        UNION SELECT (SELECT s.backup_id FROM sharings AS s WHERE s.id = asked.id) FROM unnest(%s::text[]) AS asked (id)
    ),
    locked AS (
        SELECT b.* FROM wanted AS w CROSS JOIN LATERAL (
            SELECT id, project_id, status, active_sharings FROM backups WHERE id = w.id FOR UPDATE SKIP LOCKED
        ) AS b
    )
    SELECT w.id, l.project_id, l.status, l.active_sharings, {store_time("%s")}
    FROM wanted AS w LEFT JOIN locked AS l ON l.id = w.id
    WHERE l.id IS NOT NULL OR (SELECT TRUE FROM backups AS b WHERE b.id = w.id)
"""
_BACKUPS: Final = f"""
    SELECT b.* FROM unnest(%s::text[]) AS wanted (id)
    CROSS JOIN LATERAL (SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE b.id = wanted.id LIMIT 1) AS b
"""
_ACTIVE_PAIRS: Final = f"""
    SELECT s.* FROM unnest(%s::text[], %s::text[]) AS wanted (backup_id, to_project_id) CROSS JOIN LATERAL (
        SELECT {SHARING_COLUMNS} FROM sharings AS s
        WHERE s.backup_id = wanted.backup_id AND s.to_project_id = wanted.to_project_id AND s.deleted_at IS NULL
        LIMIT 1
    ) AS s
"""
_ACTIVE_BY_ID: Final = f"""
    SELECT s.* FROM unnest(%s::text[]) AS wanted (id) CROSS JOIN LATERAL (
        SELECT {SHARING_COLUMNS} FROM sharings AS s WHERE s.id = wanted.id AND s.deleted_at IS NULL LIMIT 1
    ) AS s
"""
_DUE_OF: Final = f"""
    SELECT s.* FROM unnest(%s::text[]) AS wanted (backup_id) CROSS JOIN LATERAL (
        SELECT {SHARING_COLUMNS} FROM sharings AS s
        WHERE s.backup_id = wanted.backup_id AND s.deleted_at IS NULL AND s.expires_at <= {store_time("%s")}
        OFFSET 0
    ) AS s
"""
_ACTIVE_OF: Final = f"SELECT {SHARING_COLUMNS} FROM sharings AS s WHERE backup_id = ANY(%s) AND deleted_at IS NULL"
_KEYS: Final = """
    SELECT k.* FROM unnest(%s::text[], %s::text[], %s::text[]) AS wanted (project_id, method, key) CROSS JOIN LATERAL (
        SELECT k.project_id, k.method, k.key, k.fingerprint, k.answer, k.expires_at FROM idempotency_keys AS k
        WHERE k.project_id = wanted.project_id AND k.method = wanted.method AND k.key = wanted.key LIMIT 1
    ) AS k
"""

_END: Final = """
    UPDATE sharings SET updated_at = ended.at, deleted_at = ended.at
    FROM unnest(%s::text[], %s::bigint[]) AS ended (id, at) WHERE sharings.id = ended.id
"""
_ADD: Final = f"""
    INSERT INTO sharings ({", ".join(SHARING_FIELDS)})
    SELECT * FROM unnest(
        %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]
    )
"""
_REMOVE_BACKUPS: Final = "DELETE FROM backups WHERE id = ANY(%s)"
_PUT_BACKUP: Final = f"""
    INSERT INTO backups ({", ".join(BACKUP_PARAMETERS)}) VALUES ({", ".join(["%s"] * len(BACKUP_PARAMETERS))})
"""
_REPLACE_BACKUP: Final = f"""
    UPDATE backups SET {", ".join(f"{name} = %s" for name in BACKUP_PARAMETERS)} WHERE id = %s
"""
COUNT: Final = """
    UPDATE backups SET active_sharings = active_sharings + changed.number
    FROM unnest(%s::text[], %s::bigint[]) AS changed (id, number) WHERE backups.id = changed.id
"""
"""Adds to the counters of backups."""
_PURGE: Final = """
    DELETE FROM idempotency_keys WHERE (project_id, method, key) IN (
        SELECT project_id, method, key FROM idempotency_keys
        WHERE expires_at <= %s ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
"""
_FORGET: Final = """
    DELETE FROM idempotency_keys AS k USING unnest(%s::text[], %s::text[], %s::text[]) AS used (project_id, method, key)
    WHERE k.project_id = used.project_id AND k.method = used.method AND k.key = used.key AND k.expires_at <= %s
"""
# In the order of the keys, so that two batches with the same keys do not wait for each other.
REMEMBER: Final = """
    INSERT INTO idempotency_keys (project_id, method, key, fingerprint, answer, expires_at)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bigint[])
    AS used (project_id, method, key, fingerprint, answer, expires_at)
    ORDER BY project_id, method, key
"""
_ADD_EVENTS: Final = f"""
    INSERT INTO sharing_events ({", ".join(EVENT_FIELDS)})
    SELECT {", ".join(EVENT_FIELDS)} FROM unnest(
        %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
    ) WITH ORDINALITY AS new_events ({", ".join(EVENT_FIELDS)}, place) ORDER BY place
"""
# One transaction deletes old rows at a time: another one deletes nothing, rather than wait for the rows. Nobody else
# locks the row of the store.
_MY_TURN: Final = "EXISTS (SELECT 1 FROM store FOR UPDATE SKIP LOCKED)"
PURGE_EVENTS: Final = f"DELETE FROM sharing_events WHERE position <= %s::bigint AND {_MY_TURN}"
"""Deletes all events up to a position."""
PURGE_SHARINGS: Final = f"DELETE FROM sharings WHERE id = ANY(%s) AND deleted_at IS NOT NULL AND {_MY_TURN}"
"""Deletes those of the given sharings whose end is recorded."""
# Fails a transaction that has taken too long. The database's own clock measures that, whatever time it shows.
_MARK: Final = """
    INSERT INTO batches (id) SELECT %s
    WHERE 1 = 1 / CASE WHEN clock_timestamp() - now() > %s * INTERVAL '1 millisecond' THEN 0 ELSE 1 END
"""
UNMARK: Final = "DELETE FROM batches WHERE id = ANY(%s)"
CLAIM: Final = """
    INSERT INTO batches (id, claimed) VALUES (%s, TRUE)
    ON CONFLICT (id) DO UPDATE SET made_at = now() RETURNING claimed
"""
"""Returns TRUE if the transaction with this mark was not committed; from now on it cannot be committed any more.

May be repeated, and waits for a transaction that is still running. It updates an existing mark, so that it returns only
after a synchronous standby has the update, and so everything committed before."""

_Rows = list[tuple[Any, ...]]
_Pending = tuple[psycopg.AsyncCursor[Any], Callable[[_Rows], None]]


class Known:
    """Stored data, read under locks."""

    def __init__(self) -> None:
        self.state = State()
        self._locked: set[str] = set()
        self._busy: set[str] = set()
        self._backup_of: dict[str, str] = {}

    def is_busy(self, command: Command) -> bool:
        """Return whether another session has locked the backup of the command, or inserted it after our locks."""
        match command:
            case Cancel():
                return self._backup_of.get(command.sharing_id) in self._busy
            case PutBackup():
                return command.backup.id in self._busy
            case PurgeEvents() | PurgeSharings():
                return False
            case _:
                return command.backup_id in self._busy

    async def read(self, connection: Connection, needs: Needs, now: Micros | None) -> None:
        """Begin a transaction, lock the backups of the commands, and read the data.

        ``now``: time at which sharings end; None: the time of the database.

        Raises psycopg.Error.
        """
        pending: list[_Pending] = []

        async def ask(statement: str, parameters: Sequence[object], take: Callable[[_Rows], None]) -> None:
            cursor = await connection.execute(statement, parameters)
            pending.append((cursor, take))

        async with connection.pipeline():
            await begin(connection)
            await self._ask(needs, now, ask)
            for cursor, take in pending:
                take(await cursor.fetchall())

    async def _ask(self, needs: Needs, now: Micros | None, ask: Callable[..., Awaitable[None]]) -> None:
        ids, sharings = list({**needs.owners, **needs.backups}), list(needs.sharings)
        await ask(_LOCK, (ids, sharings, now), self._take_locked)
        if needs.backups:
            await ask(_BACKUPS, (list(needs.backups),), self._take_backups)
        if needs.pairs:
            await ask(_ACTIVE_PAIRS, columns_of(needs.pairs, 2), self._take_active)
        if sharings:
            await ask(_ACTIVE_BY_ID, (sharings,), self._take_active)
        if needs.all_of:
            await ask(_ACTIVE_OF, (list(needs.all_of),), self._take_active)
        if needs.due:
            await ask(_DUE_OF, (list(needs.due), now), self._take_active)
        if needs.keys:
            await ask(_KEYS, columns_of(needs.keys, 3), self._take_keys)

    def _take_locked(self, rows: Iterable[Any]) -> None:
        for backup_id, owner, status, count, now in rows:
            self.state.now = now
            if owner is None:
                self._busy.add(backup_id)
            else:
                self._locked.add(backup_id)
                self.state.know_owners([(backup_id, owner, status, count)])

    def _take_backups(self, rows: Iterable[Any]) -> None:
        backups = [stored_backup(row) for row in rows]
        for backup in backups:
            self._check_locked(backup.id)
        self.state.know_backups(backups)

    def _check_locked(self, backup_id: str) -> None:
        # Each statement sees what was committed before it: this row was inserted after the statement that locks.
        if backup_id not in self._locked:
            self._busy.add(backup_id)

    def _take_active(self, rows: Iterable[Any]) -> None:
        for row in rows:
            sharing = Sharing(*row)
            self._check_locked(sharing.backup_id)
            self._backup_of[sharing.id] = sharing.backup_id
            self.state.know_active([sharing])

    def _take_keys(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.state.know_key(*stored_key(row))


async def write(
    connection: Connection, edits: Edits, known: State, marked: str, unmarked: Sequence[str], seconds: float
) -> None:
    """Write and commit. Raises psycopg.Error.

    ``marked``: id by which `CLAIM` can find out whether the transaction was committed.
    ``unmarked``: ids of earlier transactions that nobody will look up any more.
    ``seconds``: time since the start of the transaction after which it must not commit.
    """
    async with connection.pipeline():
        if edits.ended:
            ended = [(sharing.id, sharing.deleted_at) for sharing in edits.ended.values()]
            await connection.execute(_END, columns_of(ended, 2))
        if edits.added:
            await connection.execute(_ADD, sharing_columns(edits))
        await _write_backups(connection, edits, known)
        if edits.counts:
            await connection.execute(COUNT, count_columns(edits))
        if edits.keys:
            await _write_keys(connection, edits)
        if edits.events:
            await connection.execute(_ADD_EVENTS, event_columns(edits))
        if edits.purged_through:
            await connection.execute(PURGE_EVENTS, (edits.purged_through,))
        if edits.purged:
            await connection.execute(PURGE_SHARINGS, (list(edits.purged),))
        if unmarked:
            await connection.execute(UNMARK, (unmarked,))
        await connection.execute(_MARK, (marked, round(seconds * 1000)))
        await connection.execute("COMMIT", prepare=False)


async def _write_backups(connection: Connection, edits: Edits, known: State) -> None:
    if not edits.backups:
        return
    if removed := [backup_id for backup_id, backup in edits.backups.items() if backup is None]:
        await connection.execute(_REMOVE_BACKUPS, (removed,))
    for backup_id, backup in edits.backups.items():
        if backup is None:
            continue
        if known.was_stored(backup_id):
            await connection.execute(_REPLACE_BACKUP, (*backup_row(backup), backup_id))
        else:
            # Fails if another session has inserted it meanwhile: a missing row cannot be locked.
            await connection.execute(_PUT_BACKUP, backup_row(backup))


async def _write_keys(connection: Connection, edits: Edits) -> None:
    await purge(connection, edits)
    await connection.execute(_FORGET, (*columns_of(edits.keys, 3), edits.expired_at))
    await connection.execute(REMEMBER, key_columns(edits))


async def purge(connection: Connection, edits: Edits) -> None:
    """Delete some of the expired idempotency keys, more than new ones are added."""
    await connection.execute(_PURGE, (edits.expired_at, max(_PURGED_AT_ONCE, 2 * len(edits.keys))))


def sharing_columns(edits: Edits) -> Sequence[object]:
    """Return the columns of the sharings to insert."""
    added = ([getattr(sharing, name) for name in SHARING_FIELDS] for sharing in edits.added.values())
    return columns_of(added, len(SHARING_FIELDS))


def count_columns(edits: Edits) -> Sequence[object]:
    """Return the columns of the parameters of `COUNT`."""
    return columns_of(edits.counts.items(), 2)


def event_columns(edits: Edits) -> Sequence[object]:
    """Return the columns of the events to insert."""
    return columns_of((tuple(map(text_in, event)) for event in edits.events), len(EVENT_FIELDS))


def key_columns(edits: Edits) -> Sequence[object]:
    """Return the columns of the idempotency keys to insert."""
    return columns_of((key_row(*each) for each in edits.keys.items()), 6)
