"""Connections to PostgreSQL: opening, set-up, and breaking off a connection that no longer responds."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backup_sharing.store.postgres.pooling import Connection as Connection
from backup_sharing.store.postgres.pooling import PreparedStatements, alone, set_up
from backup_sharing.store.unusable import UnusableDatabase

LOCK_TIMEOUT: Final = 0.01
"""Seconds that a change waits for a lock inside its transaction; then it releases its own locks, and is retried."""

# Rows that no server can look up any more: the last transactions of stopped servers, and claims. The search avoids the
# index, on which running transactions would conflict with this one.
_FORGET_BATCHES: Final = "DELETE FROM batches WHERE made_at < now() - INTERVAL '1 day'"

_GONE_AFTER: Final = 5
"""Seconds after which a server that does not respond at all counts as gone, unless the URL sets another time."""

_CONNECTED_WITHIN: Final = 2
"""Seconds to open a connection, for each server of the URL; the minimum of the driver."""

_SET_UP_WITHIN: Final = 2.0
"""Seconds to set up a new connection."""

_DEFAULTS: Final[Mapping[str, str | int]] = {
    "application_name": "backup-sharing",
    "connect_timeout": _CONNECTED_WITHIN,
    "keepalives_idle": _GONE_AFTER,
    "keepalives_interval": 1,
    "keepalives_count": _GONE_AFTER,
    "tcp_user_timeout": _GONE_AFTER * 1000,
    "client_encoding": "UTF8",
    # A standby may lack acknowledged changes. So connect only to the primary, also if the URL names a single server.
    # The primary may be read-only for now.
    "target_session_attrs": "primary",
}


def connection_string(url: str) -> str:
    """Return the connection string: the URL's settings, and defaults for the others.

    Raises UnusableDatabase if the URL is not one of a PostgreSQL database.
    """
    try:
        given = conninfo_to_dict(url)
        return make_conninfo("", **{**_DEFAULTS, **given})
    except psycopg.Error:
        # The driver's message would contain the part that it could not read, which may be the password.
        raise UnusableDatabase(
            shown(url), "is not a PostgreSQL URL of the form postgresql://USER@HOST:PORT/NAME"
        ) from None


def shown(url: str) -> str:
    """Return the URL without secrets."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        return "the database"
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "5432").split(",")
    places = ",".join(f"{host}:{ports[min(number, len(ports) - 1)]}" for number, host in enumerate(hosts))
    return f"postgresql://{places}/{given.get('dbname') or ''}"


def message_of(error: psycopg.Error) -> str:
    """Return the message of the server or the driver in one line, for the database's operator."""
    return (error.diag.message_primary or str(error)).strip().replace("\n", "; ")


async def connect_to_write(conninfo: str, patience: float, prepared: PreparedStatements = "auto") -> Connection:
    """Open a connection for changes, to a server that accepts them; it waits only `LOCK_TIMEOUT` for a lock.

    Raises psycopg.Error.
    """
    given = conninfo_to_dict(conninfo)
    if given.get("target_session_attrs") == _DEFAULTS["target_session_attrs"]:
        given["target_session_attrs"] = "read-write"
    # Prepare statements at their first use: if the driver prepares a statement later, in a pipeline that fails before
    # that statement, it believes for ever that the server has the statement.
    connection = await Connection.connect(make_conninfo("", **given), autocommit=True, prepare_threshold=0)
    try:
        await configure(connection, patience, prepared, lock_timeout=LOCK_TIMEOUT)
        # The table may be locked; then the next connection retries this.
        may_fail = suppress(psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable)
        with within(connection, _SET_UP_WITHIN), may_fail:
            await alone(connection, _FORGET_BATCHES)
    except BaseException:
        await connection.close()
        raise
    return connection


async def configure(
    connection: Connection, patience: float, prepared: PreparedStatements, lock_timeout: float = 0
) -> None:
    """Set up a new connection.

    ``patience``: seconds after which the server cancels a statement. After twice that, it ends a transaction in which
    nothing happens: a client that is gone must not keep its locks.
    ``prepared``: whether to prepare statements.
    ``lock_timeout``: seconds after which the server stops waiting for a lock; 0: never.
    """
    settings = {
        "statement_timeout": max(patience, 0.001),
        "idle_in_transaction_session_timeout": max(2 * patience, 0.001),
        "lock_timeout": lock_timeout,
    }
    with within(connection, _SET_UP_WITHIN):
        await set_up(connection, settings, prepared)


@contextmanager
def within(connection: Connection, seconds: float) -> Iterator[None]:
    """Break a connection off if its use takes longer: then psycopg.OperationalError is raised there.

    Servers and the network between may keep a connection silent for ever. Cancelling would not help: the driver then
    asks the server to stop, and waits for its reply.
    """
    timer = asyncio.get_running_loop().call_later(max(seconds, 0), break_off, connection)
    try:
        yield
    finally:
        timer.cancel()


def is_alive(connection: Connection) -> bool:
    """Return whether the connection is not known to have ended.

    A transaction sent over an ended connection has an unknown fate while the server is away; a transaction that is not
    sent has none.
    """
    try:
        way = select.poll()
        way.register(connection.pgconn.socket, select.POLLIN)
        while way.poll(0):
            # Data that the server sends without a request, above all before it closes; the driver notices the end of
            # the stream.
            connection.pgconn.consume_input()
    except (psycopg.Error, OSError):
        return False
    return not connection.closed


def break_off(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Make every user of the connection see it broken, at once. Any thread may call this."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as way:
        # Discard all unsent data.
        way.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        way.shutdown(socket.SHUT_RDWR)
