"""The state of a PostgreSQL database."""

from __future__ import annotations

import threading
import time
from typing import Final

import psycopg
from psycopg.rows import TupleRow

from backup_sharing.store.examination.facts import Facts
from backup_sharing.store.postgres.connection import break_off, connection_string, message_of, shown
from backup_sharing.store.transfer.counters import WRONG_COUNTERS
from backup_sharing.store.unusable import UnreachableDatabase

# The time-out ends with the transaction: a pooler gives the session to others afterwards.
_LIMIT: Final = "SELECT set_config('statement_timeout', %s, true)"
_LOOK: Final = """
    SELECT extract(epoch FROM clock_timestamp())::float8, pg_database_size(current_database()),
        coalesce((SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()), 0),
        (SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index WHERE NOT indisvalid)
"""


def examine(url: str, seconds: float) -> Facts:
    """Return the state of a database, read within ``seconds``; half of them are for the comparison of counters.

    Raises UnusableDatabase.
    """
    try:
        with psycopg.connect(connection_string(url), autocommit=True, prepare_threshold=None) as session:
            timer = threading.Timer(seconds, break_off, (session,))
            timer.start()
            try:
                before = time.time()
                row = session.execute(_LOOK).fetchone()
                after = time.time()
                wrong = _wrong_counters(session, seconds / 2)
            finally:
                timer.cancel()
    except psycopg.Error as error:
        raise UnreachableDatabase(shown(url), f"cannot be read: {message_of(error)}") from error
    assert row is not None  # noqa: S101 - the statement always has one row
    clock, size, failures, indexes = row
    damage = f"{failures} failed checksums" if failures else f"invalid indexes: {indexes}" if indexes else ""
    # The clock was read somewhere between the two: it is ahead only by what the round trip does not explain.
    ahead = clock - after if clock > after else clock - before if clock < before else 0.0
    return Facts(damage, True, int(size), None, None, wrong, float(ahead))


def _wrong_counters(session: psycopg.Connection[TupleRow], seconds: float) -> int | None:
    try:
        with session.transaction():
            session.execute(_LIMIT, (str(round(seconds * 1000)),))
            ((found,),) = session.execute(WRONG_COUNTERS).fetchall()
    except psycopg.errors.QueryCanceled:
        return None
    return int(found)
