"""The first answers of calls that came with an idempotency key."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.errors import IdempotencyKeyReused
from server.model import Sharing
from server.store.interface import Cause, Idempotency
from server.store.sqlite_rows import answer_of, answer_text

_PURGED_AT_ONCE: Final = 16
"""More than one, so that expired keys go faster than new ones come; few, so that no call pays for many."""

_FIND: Final = """
    SELECT fingerprint, answer FROM idempotency_keys
    WHERE project_id = ? AND method = ? AND key = ? AND expires_at > ?
"""
_PURGE: Final = """
    DELETE FROM idempotency_keys WHERE rowid IN
    (SELECT rowid FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)
"""
_REMEMBER: Final = """
    INSERT OR REPLACE INTO idempotency_keys (project_id, method, key, fingerprint, answer, expires_at)
    VALUES (?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """A call that succeeded before with the same key."""

    same: bool
    """Whether it asked for the same."""
    answer_text: str

    def answer(self) -> list[Sharing]:
        """Answer what it was answered; raises `IdempotencyKeyReused` if it asked for something else."""
        if not self.same:
            raise IdempotencyKeyReused
        return answer_of(self.answer_text)


def earlier_call(connection: sqlite3.Connection, cause: Cause, idempotency: Idempotency | None) -> EarlierCall | None:
    """Answer the call that used this key before; None if there was none, or its key has expired at ``cause.at``."""
    if idempotency is None:
        return None
    scope = (cause.project_id, idempotency.method, idempotency.key)
    row = connection.execute(_FIND, (*scope, cause.at)).fetchone()
    return None if row is None else EarlierCall(same=row[0] == idempotency.fingerprint, answer_text=row[1])


def remember(
    connection: sqlite3.Connection, cause: Cause, idempotency: Idempotency | None, answer: Sequence[Sharing]
) -> None:
    """Store the first answer with its key, and drop a few keys that have expired."""
    if idempotency is None:
        return
    connection.execute(_PURGE, (cause.at, _PURGED_AT_ONCE))
    scope = (cause.project_id, idempotency.method, idempotency.key)
    kept = (idempotency.fingerprint, answer_text(answer), idempotency.expires_at)
    connection.execute(_REMEMBER, (*scope, *kept))
