"""All waiting changes at once: read the data they need, decide them in their order, write the edits.

A statement releases the interpreter's lock and must get it back from a busy event loop, which costs more than the
statement itself. So a batch of shares takes four statements, not seven per share, and lists of rows are passed as one
JSON value. Shares on assumptions take three: one counts the new sharings and checks their backups, the others insert;
unique indexes check that no recipient has the backup already, and that no idempotency key is used.

The caller begins a transaction with the write lock, commits it afterwards, and rolls it back if this raises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from backup_sharing.model import AVAILABLE, Backup, Micros, Sharing
from backup_sharing.rules.assumed import AssumedShares
from backup_sharing.rules.commands import Command, Share
from backup_sharing.rules.decisions import decide_all, needs_of
from backup_sharing.rules.outcome import Outcome
from backup_sharing.rules.state import Edits, Needs, State
from backup_sharing.store.rows import (
    BACKUP_COLUMNS,
    BACKUP_FIELDS,
    EVENT_FIELDS,
    SHARING_COLUMNS,
    SHARING_FIELDS,
    backup_of,
    backup_values,
    key_row,
    stored_key,
)

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_NO_LIMIT: Final = 2**62

_MOST_ROWS: Final = 256
"""Maximum rows per statement; the number is padded to a power of two, so that few statements are ever prepared."""

_PURGED_AT_ONCE: Final = 16
"""Maximum expired keys deleted at once, or twice the number of new keys if that is more: deletion outpaces insertion,
and no call pays for many."""

_OWNERS: Final = """
    SELECT id, project_id, status, active_sharings FROM backups WHERE id IN (SELECT value FROM json_each(?))
"""
_BACKUPS: Final = f"SELECT {BACKUP_COLUMNS} FROM backups AS b WHERE id IN (SELECT value FROM json_each(?))"
_ACTIVE: Final = f"""
    SELECT json_group_array(json_array({SHARING_COLUMNS})) FROM json_each(?) AS wanted
    CROSS JOIN sharings AS s ON s.%s = wanted.value AND s.deleted_at IS NULL
"""
_KEYS: Final = """
    SELECT k.project_id, k.method, k.key, k.fingerprint, k.answer, k.expires_at
    FROM json_each(?) AS wanted CROSS JOIN idempotency_keys AS k
    ON k.project_id = wanted.value ->> 0 AND k.method = wanted.value ->> 1 AND k.key = wanted.value ->> 2
"""
_END: Final = """
    UPDATE sharings SET updated_at = ended.value ->> 1, deleted_at = ended.value ->> 1
    FROM json_each(?) AS ended WHERE sharings.id = ended.value ->> 0
"""
_PUT_BACKUP: Final = f"""
    INSERT INTO backups ({", ".join(BACKUP_FIELDS)}, name_folded)
    VALUES ({", ".join(f":{name}" for name in BACKUP_FIELDS)}, :name_folded)
    ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in BACKUP_FIELDS)}, name_folded = excluded.name_folded
"""
_PURGE: Final = """
    DELETE FROM idempotency_keys WHERE rowid IN
    (SELECT rowid FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_FORGET: Final = "DELETE FROM idempotency_keys WHERE project_id = ? AND method = ? AND key = ?"
_REMEMBER: Final = """
    INSERT INTO idempotency_keys (project_id, method, key, fingerprint, answer, expires_at)
    VALUES (?, ?, ?, ?, ?, ?)
"""
_PURGE_EVENTS: Final = "DELETE FROM sharing_events WHERE seq <= ?"
_PURGE_SHARINGS: Final = """
    DELETE FROM sharings WHERE id IN (SELECT value FROM json_each(?)) AND deleted_at IS NOT NULL
"""

_Row = Sequence[object]


def make(connection: sqlite3.Connection, commands: Sequence[Command], now: Micros) -> Sequence[Outcome]:
    """Make changes at the time ``now``, as if one after another; return the outcome of each."""
    state = _known(connection, needs_of(commands), now)
    outcomes = decide_all(state, commands)
    if state.edits:
        _write(connection, state.edits)
    return outcomes


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
    for rows in _chunks(wanted):
        if connection.execute(_count_as_assumed(len(rows)), [*_flat(rows), now]).rowcount != len(rows):
            return None
    _add_rows(connection, edits)
    if edits.keys:
        _purge_keys(connection, edits)
        _add_keys(connection, edits)
    return assumed.outcomes


def _known(connection: sqlite3.Connection, needs: Needs, now: Micros) -> State:
    state = State(now)
    for pairs in _chunks(list(needs.pairs)):
        owners, *sharings = connection.execute(_look_up(len(pairs)), [*_flat(pairs), now]).fetchone()
        state.know_owners(orjson.loads(owners))
        for found in sharings:
            state.know_active(Sharing(*values) for values in orjson.loads(found))
    seen = {backup_id for backup_id, _ in needs.pairs}
    if rest := [backup_id for backup_id in needs.owners if backup_id not in seen]:
        state.know_owners(connection.execute(_OWNERS, (_json(rest),)).fetchall())
    if needs.backups:
        state.know_backups(map(backup_of, connection.execute(_BACKUPS, (_json(needs.backups),)).fetchall()))
    for column, wanted in (("id", needs.sharings), ("backup_id", needs.all_of)):
        if wanted:
            (active,) = connection.execute(_ACTIVE % column, (_json(wanted),)).fetchone()
            state.know_active(Sharing(*values) for values in orjson.loads(active))
    if needs.keys:
        for row in connection.execute(_KEYS, (_json(needs.keys),)).fetchall():
            state.know_key(*stored_key(row))
    return state


def _write(connection: sqlite3.Connection, edits: Edits) -> None:
    if edits.ended:
        ended = [(sharing.id, sharing.deleted_at) for sharing in edits.ended.values()]
        connection.execute(_END, (_json(ended),))
    _add_rows(connection, edits)
    if edits.backups:
        _write_backups(connection, edits.backups.items())
    for counts in _chunks([each for each in edits.counts.items() if each[1]]):
        connection.execute(_count(len(counts)), _flat(counts))
    if edits.keys:
        _purge_keys(connection, edits)
        connection.executemany(_FORGET, edits.keys)
        _add_keys(connection, edits)
    if edits.purged_through:
        connection.execute(_PURGE_EVENTS, (edits.purged_through,))
    if edits.purged:
        connection.execute(_PURGE_SHARINGS, (_json(edits.purged),))


def _add_rows(connection: sqlite3.Connection, edits: Edits) -> None:
    """Insert new sharings, and all events."""
    for sharings in _chunks([_values_of(sharing) for sharing in edits.added.values()]):
        connection.execute(_insert("sharings", SHARING_FIELDS, len(sharings)), _flat(sharings))
    for events in _chunks(edits.events):
        connection.execute(_insert("sharing_events", EVENT_FIELDS, len(events)), _flat(events))


def _purge_keys(connection: sqlite3.Connection, edits: Edits) -> None:
    """Delete some of the expired idempotency keys, more than new ones are added."""
    connection.execute(_PURGE, (edits.expired_at, max(_PURGED_AT_ONCE, 2 * len(edits.keys))))


def _add_keys(connection: sqlite3.Connection, edits: Edits) -> None:
    """Insert idempotency keys."""
    connection.executemany(_REMEMBER, [key_row(*each) for each in edits.keys.items()])


def _write_backups(connection: sqlite3.Connection, backups: Iterable[tuple[str, Backup | None]]) -> None:
    for backup_id, backup in backups:
        if backup is None:
            connection.execute("DELETE FROM backups WHERE id = ?", (backup_id,))
        else:
            connection.execute(_PUT_BACKUP, backup_values(backup))


def _values_of(sharing: Sharing) -> _Row:
    return [getattr(sharing, name) for name in SHARING_FIELDS]


def _json(rows: Iterable[object]) -> str:
    return orjson.dumps(list(rows)).decode()


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Return the rows in lists of at most `_MOST_ROWS`."""
    return (rows[first : first + _MOST_ROWS] for first in range(0, len(rows), _MOST_ROWS))


def _flat(rows: Sequence[_Row]) -> list[object]:
    """Return the parameters of a statement for these rows, padded with NULL."""
    parameters = [value for row in rows for value in row]
    return parameters + [None] * (_padded(len(rows)) * len(rows[0]) - len(parameters))


def _padded(rows: int) -> int:
    return 1 << (rows - 1).bit_length()


def _values(rows: int, columns: int) -> str:
    """Return ``VALUES`` with placeholders for rows, see `flat`."""
    row = f"({', '.join('?' * columns)})"
    return f"VALUES {', '.join([row] * _padded(rows))}"


@lru_cache(maxsize=_MOST_ROWS)
def _look_up(rows: int) -> str:
    """Return the statement for one row of three JSON lists of lists.

    The lists are the wanted backups, their active sharings with the wanted projects, and all their sharings that are
    due at the time of the last parameter.
    """
    return f"""
        WITH wanted (backup_id, to_project_id) AS ({_values(rows, 2)})
        SELECT
            (SELECT json_group_array(json_array(b.id, b.project_id, b.status, b.active_sharings))
             FROM backups AS b WHERE b.id IN (SELECT backup_id FROM wanted)),
            (SELECT json_group_array(json_array({SHARING_COLUMNS}))
             FROM wanted CROSS JOIN sharings AS s
             ON s.backup_id = wanted.backup_id AND s.to_project_id = wanted.to_project_id AND s.deleted_at IS NULL),
            (SELECT json_group_array(json_array({SHARING_COLUMNS}))
             FROM sharings AS s INDEXED BY sharings_ending_of_backup
             WHERE s.backup_id IN (SELECT backup_id FROM wanted) AND s.deleted_at IS NULL AND s.expires_at <= ?)
    """


@lru_cache(maxsize=_MOST_ROWS)
def _count(rows: int) -> str:
    """Return the statement that adds to the counters of backups: rows of the id and the number to add."""
    return f"""
        UPDATE backups SET active_sharings = active_sharings + changed.column2
        FROM ({_values(rows, 2)}) AS changed WHERE backups.id = changed.column1
    """


@lru_cache(maxsize=2 * _MOST_ROWS)
def _insert(table: str, columns: Sequence[str], rows: int) -> str:
    padded = _values(rows, len(columns))
    rows_to_insert = padded if _padded(rows) == rows else f"SELECT * FROM ({padded}) WHERE column1 IS NOT NULL"
    return f"INSERT INTO {table} ({', '.join(columns)}) {rows_to_insert}"


@lru_cache(maxsize=_MOST_ROWS)
def _count_as_assumed(rows: int) -> str:
    """Return the statement that adds to the counters of backups that are as assumed, and of no others.

    The parameters are rows of id, owner, number to add and maximum; then the time at which sharings end.
    """
    return f"""
        UPDATE backups SET active_sharings = active_sharings + assumed.column3
        FROM ({_values(rows, 4)}) AS assumed
        WHERE backups.id = assumed.column1 AND project_id = assumed.column2 AND status = '{AVAILABLE}'
        AND active_sharings + assumed.column3 <= assumed.column4 AND NOT EXISTS (
            SELECT 1 FROM sharings AS s INDEXED BY sharings_ending_of_backup
            WHERE s.backup_id = assumed.column1 AND s.deleted_at IS NULL AND s.expires_at <= ?
        )
    """
