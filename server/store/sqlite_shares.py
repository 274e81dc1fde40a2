"""Shares, as many as wait: what they need is read at once, decided in their order, and written at once.

A statement lets go of the interpreter's lock and has to get it back from an event loop that is busy:
that costs more than the statement itself. So a batch of shares takes three statements, not seven for each.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson

from server.errors import AlreadyShared, BackupNotAvailable, BackupNotFound, Failure, QuotaUsedUp
from server.model import AVAILABLE, Sharing
from server.store.interface import OnConflict, Share
from server.store.sqlite_batch import Made, NotMade, Outcome
from server.store.sqlite_idempotency import earlier_call, remember
from server.store.sqlite_rows import SHARING_COLUMNS

# ruff: noqa: S608 -- statements are put together from the constants of this program only

_MOST_ROWS: Final = 256
"""Of one statement; its rows are a power of two, so that few statements are ever prepared."""

Row = Sequence[object]


def share(connection: sqlite3.Connection, command: Share) -> list[Sharing]:
    """Do what `Store.share` promises."""
    known = _Known(connection, [command])
    known.check_owner(command)
    if (earlier := earlier_call(connection, command.cause, command.idempotency)) is not None:
        return earlier.answer()
    answer = known.decide(command)
    known.write(connection)
    remember(connection, command.cause, command.idempotency, answer)
    return answer


def share_all(connection: sqlite3.Connection, commands: Sequence[Share]) -> Sequence[Outcome]:
    """Do what `share` does for each command without an idempotency key, one after the other."""
    known = _Known(connection, commands)
    outcomes: list[Outcome] = []
    for command in commands:
        try:
            known.check_owner(command)
            outcomes.append(Made(known.decide(command)))
        except Failure as failure:
            outcomes.append(NotMade(failure))
    known.write(connection)
    return outcomes


class _Known:
    """What is stored about the backups and recipients of some commands, and what the commands add to it."""

    def __init__(self, connection: sqlite3.Connection, commands: Sequence[Share]) -> None:
        self._backups: dict[str, tuple[str, str]] = {}
        """Owner and status, by id."""
        self._active: dict[str, int] = {}
        """How many sharings, by backup; filled where a command asks for a limit."""
        self._standing: dict[tuple[str, str], Sharing] = {}
        """Active sharings, by backup and recipient."""
        self._added: list[tuple[Sharing, Share]] = []
        pairs = [(command.backup_id, project_id) for command in commands for project_id in command.to_project_ids]
        for rows in _chunks(pairs):
            statement = _look_up(len(rows))
            backups, standing = connection.execute(statement, _flat(rows)).fetchone()
            self._backups.update((backup_id, (owner, status)) for backup_id, owner, status in orjson.loads(backups))
            for values in orjson.loads(standing):
                sharing = Sharing(*values)
                self._standing[sharing.backup_id, sharing.to_project_id] = sharing
        limited = {command.backup_id for command in commands if command.max_active}
        for ids in _chunks([(backup_id,) for backup_id in limited]):
            (counts,) = connection.execute(_count_active(len(ids)), _flat(ids)).fetchone()
            self._active.update(orjson.loads(counts))

    def check_owner(self, command: Share) -> None:
        """Return if the backup is there and the giver's."""
        if self._backups.get(command.backup_id, ("",))[0] != command.from_project_id:
            raise BackupNotFound(command.backup_id)

    def decide(self, command: Share) -> list[Sharing]:
        """Answer the sharings that the command asks for, and add those that do not stand yet."""
        status = self._backups[command.backup_id][1]
        if status != AVAILABLE:
            raise BackupNotAvailable(command.backup_id, status)
        pairs = [(command.backup_id, project_id) for project_id in command.to_project_ids]
        standing = [project_id for _, project_id in filter(self._standing.__contains__, pairs)]
        if standing and command.on_conflict is OnConflict.REFUSE:
            raise AlreadyShared(command.backup_id, standing)
        self._use_quota(command, len(pairs) - len(standing))
        for pair, sharing_id in zip(pairs, command.sharing_ids, strict=True):
            if pair not in self._standing:
                sharing = Sharing(sharing_id, pair[0], command.from_project_id, pair[1], command.cause.at)
                self._standing[pair] = sharing
                self._added.append((sharing, command))
        return [self._standing[pair] for pair in pairs]

    def _use_quota(self, command: Share, added: int) -> None:
        if added and command.max_active:
            active = self._active[command.backup_id] + added
            if active > command.max_active:
                raise QuotaUsedUp(command.backup_id, command.max_active)
        if command.backup_id in self._active:
            self._active[command.backup_id] += added

    def write(self, connection: sqlite3.Connection) -> None:
        """Store what was added, with its events."""
        for chunk in _chunks(self._added):
            sharings = [
                (sharing.id, sharing.backup_id, sharing.from_project_id, sharing.to_project_id, sharing.created_at)
                for sharing, _ in chunk
            ]
            connection.execute(_insert_sharings(len(chunk)), _flat(sharings))
            causes = [command.cause for _, command in chunk]
            events = [
                (cause.at, cause.project_id, cause.user_id, cause.request_id, *of[1:4], of[0], "shared")
                for cause, of in zip(causes, sharings, strict=True)
            ]
            connection.execute(_insert_events(len(chunk)), _flat(events))


def _chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (rows[first : first + _MOST_ROWS] for first in range(0, len(rows), _MOST_ROWS))


def _flat(rows: Sequence[Row]) -> list[object]:
    """The parameters of a statement for these rows; those that are too few are NULL."""
    parameters = [value for row in rows for value in row]
    return parameters + [None] * (_padded(len(rows)) * len(rows[0]) - len(parameters))


def _padded(rows: int) -> int:
    return 1 << (rows - 1).bit_length()


def _values(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"VALUES {', '.join([row] * _padded(rows))}"


def _rows_that_are_there(rows: int, columns: int) -> str:
    values = _values(rows, columns)
    return values if _padded(rows) == rows else f"SELECT * FROM ({values}) WHERE column1 IS NOT NULL"


@lru_cache(maxsize=_MOST_ROWS)
def _look_up(rows: int) -> str:
    """One row: the backups and the active sharings that are wanted, each as a JSON list of lists."""
    return f"""
        WITH wanted (backup_id, to_project_id) AS ({_values(rows, 2)})
        SELECT
            (SELECT json_group_array(json_array(b.id, b.project_id, b.status))
             FROM backups AS b WHERE b.id IN (SELECT backup_id FROM wanted)),
            (SELECT json_group_array(json_array({SHARING_COLUMNS}))
             FROM wanted CROSS JOIN sharings AS s
             ON s.backup_id = wanted.backup_id AND s.to_project_id = wanted.to_project_id AND s.deleted_at IS NULL)
    """


@lru_cache(maxsize=_MOST_ROWS)
def _count_active(rows: int) -> str:
    """One row: for each backup its id and the number of its active sharings, as a JSON list of lists."""
    return f"""
        SELECT json_group_array(json_array(wanted.column1,
            (SELECT count(*) FROM sharings WHERE backup_id = wanted.column1 AND deleted_at IS NULL)))
        FROM ({_values(rows, 1)}) AS wanted WHERE wanted.column1 IS NOT NULL
    """


@lru_cache(maxsize=_MOST_ROWS)
def _insert_sharings(rows: int) -> str:
    return f"""
        INSERT INTO sharings (id, backup_id, from_project_id, to_project_id, created_at)
        {_rows_that_are_there(rows, 5)}
    """


@lru_cache(maxsize=_MOST_ROWS)
def _insert_events(rows: int) -> str:
    return f"""
        INSERT INTO sharing_events
        (at, by_project_id, by_user_id, request_id, backup_id, from_project_id, to_project_id, sharing_id, kind)
        {_rows_that_are_there(rows, 9)}
    """
