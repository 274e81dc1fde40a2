"""The one order of all events in PostgreSQL: gives positions to committed events.

The number ``seq`` of an event is assigned before its transaction commits, so an event with a lower number may become
visible after one with a higher number: a reader that follows the numbers would skip it. Therefore an event gets its
position after its commit, in a round:

1. Lock the only row of ``event_order``. No writer of events takes this lock, so writers never wait for a round.
2. In a later statement, which sees everything committed before it, give the next positions to events that have none,
   in the order of their numbers, and record the last position in ``event_order``.
3. Commit. A round that does not commit, such as that of a killed process, has no effect.

So positions are dense, a visible position is never below a visible one that a reader has passed, and changes of one
backup keep their order: each is committed before the next one begins to write.

Every read of positions is made once no event that was committed before it is without a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.pooling import begin

MOST_PER_ROUND: Final = 4096
"""Maximum events of a round, which therefore takes a fraction of a second."""

# Without the size of a page, which is a parameter, PostgreSQL would rather read and sort the whole history.
BY_INDEX: Final = """
    SELECT set_config('enable_sort', 'off', true), set_config('enable_bitmapscan', 'off', true),
        set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
"""
"""Settings, until the end of the transaction, with which events are read from indexes in their order."""

WITHOUT_POSITION: Final = "SELECT EXISTS (SELECT 1 FROM sharing_events WHERE position IS NULL)"
"""Whether a committed event has no position."""

LOCK: Final = "SELECT last FROM event_order FOR UPDATE"
"""Begins a round in a transaction: other rounds wait for its end."""

PLACE: Final = f"""
    WITH numbered AS MATERIALIZED (
        SELECT seq, row_number() OVER (ORDER BY seq) AS place FROM (
            SELECT seq FROM sharing_events WHERE position IS NULL ORDER BY seq LIMIT {MOST_PER_ROUND}
        ) AS next_events
    ),
    placed AS (
        UPDATE sharing_events AS e SET position = (SELECT last FROM event_order) + numbered.place
        FROM numbered WHERE e.seq = numbered.seq RETURNING e.seq
    )
    UPDATE event_order SET last = last + (SELECT count(*) FROM placed) RETURNING (SELECT count(*) FROM placed)
"""  # noqa: S608 -- constants
"""Gives positions to the next events; returns the number of these events."""


async def read_in_order(
    connection: Connection, statement: str, parameters: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement that reads positions, of every event that was committed before this call.

    The connection must be in no transaction. Raises psycopg.Error.
    """
    is_complete, rows = await _read(connection, statement, parameters)
    if is_complete:
        return rows
    # A smaller round has seen every event that was committed before it.
    while await _round(connection) == MOST_PER_ROUND:
        pass
    _, rows = await _read(connection, statement, parameters)
    return rows


async def _read(
    connection: Connection, statement: str, parameters: Mapping[str, object]
) -> tuple[bool, list[tuple[Any, ...]]]:
    """Return whether every event committed before has a position, and the rows, in one round trip."""
    # The statements of a pipeline are one transaction, but each sees what was committed before it.
    async with connection.pipeline():
        if connection.transaction_settings:
            await connection.execute(connection.transaction_settings)
        await connection.execute(BY_INDEX)
        without = await connection.execute(WITHOUT_POSITION)
        found = await connection.execute(statement, parameters)
    # Rows that are fetched within a pipeline need a round trip of their own.
    return await without.fetchone() == (False,), await found.fetchall()


async def _round(connection: Connection) -> int:
    """Run one round; return the number of events that got a position."""
    # One round trip: a client that pauses within a round would hold up all others.
    async with connection.pipeline():
        await begin(connection)
        await connection.execute(BY_INDEX)
        await connection.execute(LOCK)
        placed = await connection.execute(PLACE)
        await connection.execute("COMMIT", prepare=False)
    row = await placed.fetchone()
    assert row is not None  # noqa: S101 -- the table has one row
    return int(str(row[0]))
