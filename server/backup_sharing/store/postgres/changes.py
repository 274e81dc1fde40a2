"""Changes, as many as wait: what they need is locked and read in one round trip, and written in another.

Everything that changes what belongs to a backup locks the backup's row first. So changes of one
backup come one after the other, whichever server makes them, and what is read behind the lock, in
statements of their own, is what the one before left: READ COMMITTED is enough. Rows that somebody
else has locked are passed over: their changes wait, those that are made together with them do not.

Lists of rows travel as one array for each column.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import psycopg

from backup_sharing.model import Sharing
from backup_sharing.rules.commands import Cancel, Command, PutBackup
from backup_sharing.rules.state import Edits, Needs, State
from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.rows import BACKUP_PARAMETERS, backup_row, columns_of, stored_backup, text_in
from backup_sharing.store.rows import BACKUP_COLUMNS, EVENT_FIELDS, SHARING_COLUMNS, SHARING_FIELDS, key_row, stored_key

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_PURGED_AT_ONCE: Final = 16
"""Or twice as many as are new: expired keys go faster than new ones come; few, so that no call pays for many."""

BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"

# What is looked for is looked up row by row, in subqueries that cannot be made joins of: as long as a table has no
# statistics PostgreSQL takes its partial indexes for tiny, and would rather read one whole than look into it 64 times.
_LOCK: Final = """
    WITH wanted AS (
        SELECT id FROM unnest(%s::text[]) AS asked (id)
        UNION SELECT (SELECT s.backup_id FROM sharings AS s WHERE s.id = asked.id) FROM unnest(%s::text[]) AS asked (id)
    ),
    locked AS (
        SELECT b.* FROM wanted AS w CROSS JOIN LATERAL (
            SELECT id, project_id, status FROM backups WHERE id = w.id FOR UPDATE SKIP LOCKED
        ) AS b
    )
    SELECT w.id, l.project_id, l.status FROM wanted AS w LEFT JOIN locked AS l ON l.id = w.id
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
_ACTIVE_OF: Final = f"SELECT {SHARING_COLUMNS} FROM sharings AS s WHERE backup_id = ANY(%s) AND deleted_at IS NULL"
_COUNTS: Final = """
    SELECT wanted.id, (SELECT count(*) FROM sharings AS s WHERE s.backup_id = wanted.id AND s.deleted_at IS NULL)
    FROM unnest(%s::text[]) AS wanted (id)
"""
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
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
"""
_REMOVE_BACKUPS: Final = "DELETE FROM backups WHERE id = ANY(%s)"
_PUT_BACKUP: Final = f"""
    INSERT INTO backups ({", ".join(BACKUP_PARAMETERS)}) VALUES ({", ".join(["%s"] * len(BACKUP_PARAMETERS))})
"""
_REPLACE_BACKUP: Final = f"""
    UPDATE backups SET {", ".join(f"{name} = %s" for name in BACKUP_PARAMETERS)} WHERE id = %s
"""
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
# In the order of the keys, so that two batches that use the same ones do not wait for each other.
REMEMBER: Final = """
    INSERT INTO idempotency_keys (project_id, method, key, fingerprint, answer, expires_at)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bigint[])
    AS used (project_id, method, key, fingerprint, answer, expires_at)
    ORDER BY project_id, method, key
"""
_TELL: Final = f"""
    INSERT INTO sharing_events ({", ".join(EVENT_FIELDS)})
    SELECT {", ".join(EVENT_FIELDS)} FROM unnest(
        %s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[]
    ) WITH ORDINALITY AS told ({", ".join(EVENT_FIELDS)}, place) ORDER BY place
"""
# Fails a transaction that has taken too long; how long is known by the database's own clock, whatever time it shows.
_MARK: Final = """
    INSERT INTO batches (id) SELECT %s
    WHERE 1 = 1 / CASE WHEN clock_timestamp() - now() > %s * INTERVAL '1 millisecond' THEN 0 ELSE 1 END
"""
UNMARK: Final = "DELETE FROM batches WHERE id = ANY(%s)"
CLAIM: Final = """
    INSERT INTO batches (id, claimed) VALUES (%s, TRUE)
    ON CONFLICT (id) DO UPDATE SET made_at = now() RETURNING claimed
"""
"""Answers TRUE if the transaction that wanted to mark itself with this id was not committed: now it cannot be any more.

May be asked again, and waits for a transaction that is still being carried out. It changes a mark that it finds, so
that it is not answered before a standby that commits wait for has that, and so all that was committed before.
"""

_Rows = list[tuple[Any, ...]]
_Pending = tuple[psycopg.AsyncCursor[Any], Callable[[_Rows], None]]


class Known:
    """What was read of the stored data, under locks."""

    def __init__(self) -> None:
        self.state = State()
        self._busy: set[str] = set()
        self._backup_of: dict[str, str] = {}

    def is_busy(self, command: Command) -> bool:
        """Whether somebody else has locked the backup that the command is about."""
        match command:
            case Cancel():
                return self._backup_of.get(command.sharing_id) in self._busy
            case PutBackup():
                return command.backup.id in self._busy
            case _:
                return command.backup_id in self._busy

    async def read(self, connection: Connection, needs: Needs) -> None:
        """Begin a transaction, lock what the commands are about, and read it. Raises psycopg.Error."""
        pending: list[_Pending] = []

        async def ask(statement: str, parameters: Sequence[object], take: Callable[[_Rows], None]) -> None:
            cursor = await connection.execute(statement, parameters)
            pending.append((cursor, take))

        async with connection.pipeline():
            await connection.execute(BEGIN)
            await self._ask(needs, ask)
            for cursor, take in pending:
                take(await cursor.fetchall())

    async def _ask(self, needs: Needs, ask: Callable[..., Awaitable[None]]) -> None:
        ids, sharings, state = list({**needs.owners, **needs.backups}), list(needs.sharings), self.state
        await ask(_LOCK, (ids, sharings), self._take_locked)
        if needs.backups:
            await ask(_BACKUPS, (list(needs.backups),), lambda rows: state.know_backups(map(stored_backup, rows)))
        if needs.pairs:
            await ask(_ACTIVE_PAIRS, columns_of(needs.pairs, 2), self._take_active)
        if sharings:
            await ask(_ACTIVE_BY_ID, (sharings,), self._take_active)
        if needs.all_of:
            await ask(_ACTIVE_OF, (list(needs.all_of),), self._take_active)
        if needs.counted:
            await ask(_COUNTS, (list(needs.counted),), state.know_counts)
        if needs.keys:
            await ask(_KEYS, columns_of(needs.keys, 3), self._take_keys)

    def _take_locked(self, rows: Iterable[Any]) -> None:
        for backup_id, owner, status in rows:
            if owner is None:
                self._busy.add(backup_id)
            else:
                self.state.know_owners([(backup_id, owner, status)])

    def _take_active(self, rows: Iterable[Any]) -> None:
        for row in rows:
            sharing = Sharing(*row)
            self._backup_of[sharing.id] = sharing.backup_id
            self.state.know_active([sharing])

    def _take_keys(self, rows: Iterable[Any]) -> None:
        for row in rows:
            self.state.know_key(*stored_key(row))


async def write(
    connection: Connection, edits: Edits, known: State, marked: str, unmarked: Sequence[str], seconds: float
) -> None:
    """Write and commit. Raises psycopg.Error.

    ``marked``: the id by which `CLAIM` can find out whether this was committed.
    ``unmarked``: the ids of earlier transactions about which nobody will ask any more.
    ``seconds``: since the transaction began, after which it must not commit.
    """
    async with connection.pipeline():
        if edits.ended:
            ended = [(sharing.id, sharing.deleted_at) for sharing in edits.ended.values()]
            await connection.execute(_END, columns_of(ended, 2))
        if edits.added:
            await connection.execute(_ADD, sharing_columns(edits))
        await _write_backups(connection, edits, known)
        if edits.keys:
            await _write_keys(connection, edits)
        if edits.events:
            await connection.execute(_TELL, event_columns(edits))
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
            # Fails if somebody has put it meanwhile: what is not there cannot be locked.
            await connection.execute(_PUT_BACKUP, backup_row(backup))


async def _write_keys(connection: Connection, edits: Edits) -> None:
    await purge(connection, edits)
    await connection.execute(_FORGET, (*columns_of(edits.keys, 3), edits.expired_at))
    await connection.execute(REMEMBER, key_columns(edits))


async def purge(connection: Connection, edits: Edits) -> None:
    """Remove some of the idempotency keys that have expired, more than there come new ones."""
    await connection.execute(_PURGE, (edits.expired_at, max(_PURGED_AT_ONCE, 2 * len(edits.keys))))


def sharing_columns(edits: Edits) -> Sequence[object]:
    """The columns of the sharings to insert."""
    added = ([getattr(sharing, name) for name in SHARING_FIELDS] for sharing in edits.added.values())
    return columns_of(added, len(SHARING_FIELDS))


def event_columns(edits: Edits) -> Sequence[object]:
    """The columns of the events to insert."""
    return columns_of((tuple(map(text_in, event)) for event in edits.events), len(EVENT_FIELDS))


def key_columns(edits: Edits) -> Sequence[object]:
    """The columns of the idempotency keys to insert."""
    return columns_of((key_row(*each) for each in edits.keys.items()), 6)
