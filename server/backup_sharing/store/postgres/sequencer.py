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

Every reader of positions runs rounds first, until no event that was committed before the read is without a position.
"""

from __future__ import annotations

from typing import Final

from backup_sharing.store.postgres.connection import Connection
from backup_sharing.store.postgres.pooling import alone, begin

MOST_PER_ROUND: Final = 4096
"""Maximum events of a round, which therefore takes a fraction of a second."""

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


async def place_all(connection: Connection) -> None:
    """Give a position to every event that was committed before this call. Raises psycopg.Error.

    The connection must be in no transaction.
    """
    if not await _is_any_without(connection):
        return
    # A smaller round has seen every event that was committed before it.
    while await _round(connection) == MOST_PER_ROUND:
        pass


async def _is_any_without(connection: Connection) -> bool:
    rows = await alone(connection, WITHOUT_POSITION)
    return await rows.fetchone() == (True,)


async def _round(connection: Connection) -> int:
    """Run one round; return the number of events that got a position."""
    # One round trip: a client that pauses within a round would hold up all others.
    async with connection.pipeline():
        await begin(connection)
        await connection.execute(LOCK)
        placed = await connection.execute(PLACE)
        await connection.execute("COMMIT", prepare=False)
        row = await placed.fetchone()
    assert row is not None  # noqa: S101 -- the table has one row
    return int(str(row[0]))
