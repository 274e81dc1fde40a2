"""Connections that may be shared: a pooler such as PgBouncer gives each transaction another session of the server.

Whatever a client leaves in a session there, another client finds: a setting, or a prepared statement of the same name.
So behind a pooler, a connection prepares no statements, and each of its transactions makes its own settings, which end
with the transaction. A direct connection makes its settings once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import psycopg

PreparedStatements: TypeAlias = Literal["auto", "on", "off"]
"""Whether to prepare statements; ``auto``: unless there is a pooler. ``off`` also treats every connection as pooled."""

_Parameters: TypeAlias = Sequence[object] | Mapping[str, object]

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"

# Every statement has its index; without this setting, a statement prepared while a table is new and small would keep
# reading the whole table. Not every database that speaks PostgreSQL's protocol has the setting.
_BY_INDEX: Final = (
    "CASE WHEN current_setting('enable_seqscan', true) = 'on' THEN set_config('enable_seqscan', 'off', {}) END"
)

# A server configured not to wait for its disk would acknowledge changes that a crash may lose.
_DURABLE: Final = (
    "CASE WHEN current_setting('synchronous_commit', true) = 'off' THEN set_config('synchronous_commit', 'on', {}) END"
)


class Connection(psycopg.AsyncConnection[tuple[object, ...]]):
    """A connection to a server, directly or through a pooler."""

    transaction_settings = ""
    """Statement that each transaction begins with; empty: the session has the settings."""


async def set_up(connection: Connection, settings: Mapping[str, float], prepared: PreparedStatements) -> None:
    """Set the timeouts of a new connection, given in seconds, and whether it prepares statements.

    Raises psycopg.Error.
    """
    if prepared != "off" and await _is_direct(connection, settings):
        return
    connection.transaction_settings = settings_statement(settings, "true")
    if prepared != "on":
        connection.prepare_threshold = None


async def begin(connection: Connection) -> None:
    """Begin a transaction with the settings of the connection."""
    await connection.execute(_BEGIN)
    if connection.transaction_settings:
        await connection.execute(connection.transaction_settings)


async def alone(connection: Connection, statement: str, parameters: _Parameters = ()) -> psycopg.AsyncCursor[Any]:
    """Execute a statement in its own transaction, with the settings of the connection, in one round trip."""
    if not connection.transaction_settings:
        return await connection.execute(statement, parameters)
    # The statements of a pipeline are one transaction.
    async with connection.pipeline():
        await connection.execute(connection.transaction_settings)
        return await connection.execute(statement, parameters)


async def _is_direct(connection: Connection, settings: Mapping[str, float]) -> bool:
    """Make the settings of the session if it belongs to this connection; return whether it does.

    The server tells its client the number of the session's process when a connection begins. A pooler tells its client
    another number, as it does not know the session yet.
    """
    process = connection.info.backend_pid
    rows = await connection.execute(
        f"{settings_statement(settings, 'false')} WHERE pg_backend_pid() = {process}",
        prepare=False,  # behind a pooler, the statement would stay in a session of others
    )
    return await rows.fetchone() is not None


def settings_statement(settings: Mapping[str, float], is_local: str) -> str:
    """Return the statement that makes all settings.

    ``settings``: timeouts in seconds.
    ``is_local``: whether the settings end with the transaction, in SQL.
    """
    timeouts = [f"set_config('{name}', '{round(seconds * 1000)}', {is_local})" for name, seconds in settings.items()]
    return f"SELECT {', '.join([*timeouts, _BY_INDEX.format(is_local), _DURABLE.format(is_local)])}"
