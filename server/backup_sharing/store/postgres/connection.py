"""Connections to PostgreSQL: how they are opened and set up, and how one is let go that answers no more."""

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

from backup_sharing.store.unusable import UnusableDatabase

Connection = psycopg.AsyncConnection[tuple[object, ...]]

LOCK_TIMEOUT: Final = 0.01
"""Seconds for which a change waits for a lock inside its transaction; then it lets go of its own, and comes again."""

# Every statement has its index; one that is prepared while a table is new, and small, would otherwise go on to read
# all of it. Asked for like this, as not every database that speaks PostgreSQL has the setting.
_BY_INDEX: Final = "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'enable_seqscan'"

# A server that was told not to wait for its disk would acknowledge what a crash may lose.
_DURABLE: Final = """
    SELECT set_config('synchronous_commit', 'on', false) FROM pg_settings
    WHERE name = 'synchronous_commit' AND setting = 'off'
"""

# What nobody can ask for any more: what the last transactions of servers that were stopped left, and claims. Found
# without the index on which transactions that go on would meet with this one.
_FORGET_BATCHES: Final = "DELETE FROM batches WHERE made_at < now() - INTERVAL '1 day'"

_NOTICED_AFTER: Final = 5
"""Seconds after which a server that does not answer at all counts as gone, where the url does not say otherwise."""

_CONNECTED_WITHIN: Final = 2
"""Seconds for a connection to be made: the least that the driver takes. Of several servers each gets as much."""

_SET_UP_WITHIN: Final = 2.0
"""Seconds for a new connection to be set up."""

_DEFAULTS: Final[Mapping[str, str | int]] = {
    "application_name": "backup-sharing",
    "connect_timeout": _CONNECTED_WITHIN,
    "keepalives_idle": _NOTICED_AFTER,
    "keepalives_interval": 1,
    "keepalives_count": _NOTICED_AFTER,
    "tcp_user_timeout": _NOTICED_AFTER * 1000,
    "client_encoding": "UTF8",
    # A standby has not all that was acknowledged: of several servers the one that the others follow, and of one only
    # that. It may be one that only reads for now.
    "target_session_attrs": "primary",
}


def connection_string(url: str) -> str:
    """Answer what to connect with: what the url says, and what it leaves open.

    Raises UnusableDatabase if it is no url of a PostgreSQL database.
    """
    try:
        given = conninfo_to_dict(url)
        return make_conninfo("", **{**_DEFAULTS, **given})
    except psycopg.Error:
        # What the driver says would name what it could not read, and that may be the password.
        raise UnusableDatabase(shown(url), "is not a PostgreSQL url, as postgresql://USER@HOST:PORT/NAME is") from None


def shown(url: str) -> str:
    """Answer the url without what is secret in it."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error:
        return "the database"
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "5432").split(",")
    places = ",".join(f"{host}:{ports[min(number, len(ports) - 1)]}" for number, host in enumerate(hosts))
    return f"postgresql://{places}/{given.get('dbname') or ''}"


def said(error: psycopg.Error) -> str:
    """Answer in one line what the server or the driver said, for whoever looks after the database."""
    return (error.diag.message_primary or str(error)).strip().replace("\n", "; ")


async def connect_to_write(conninfo: str, patience: float) -> Connection:
    """Open a connection for changes, to a server that takes them; no lock is waited for longer than a moment.

    Raises psycopg.Error.
    """
    given = conninfo_to_dict(conninfo)
    if given.get("target_session_attrs") == _DEFAULTS["target_session_attrs"]:
        given["target_session_attrs"] = "read-write"
    # Prepared from the first time on: of one that it prepares later, in a pipeline that fails before it gets there, the
    # driver believes for ever that the server has it.
    connection = await psycopg.AsyncConnection.connect(make_conninfo("", **given), autocommit=True, prepare_threshold=0)
    try:
        await configure(connection, patience, lock_timeout=LOCK_TIMEOUT)
        with within(connection, _SET_UP_WITHIN):
            await connection.execute(_DURABLE)
            # Somebody may have locked the table: next time, then.
            with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable):
                await connection.execute(_FORGET_BATCHES)
    except BaseException:
        await connection.close()
        raise
    return connection


async def configure(connection: Connection, patience: float, lock_timeout: float = 0) -> None:
    """Set up a new connection.

    ``patience``: seconds after which the server gives up a statement, and twice that a transaction in which nothing
    happens: a client that is gone must not keep others from what it has locked.
    ``lock_timeout``: seconds after which it gives up to wait for a lock; 0: never.
    """
    settings = {
        "statement_timeout": max(patience, 0.001),
        "idle_in_transaction_session_timeout": max(2 * patience, 0.001),
        "lock_timeout": lock_timeout,
    }
    calls = ", ".join(f"set_config('{name}', '{round(seconds * 1000)}', false)" for name, seconds in settings.items())
    with within(connection, _SET_UP_WITHIN):
        await connection.execute(f"SELECT {calls}")
        await connection.execute(_BY_INDEX)


@contextmanager
def within(connection: Connection, seconds: float) -> Iterator[None]:
    """Break a connection off if what is done with it takes longer: psycopg.OperationalError is raised there then.

    Servers, and what is between, may keep a connection and say nothing for ever. To cancel would not do: the driver
    then asks the server to stop, and waits for it.
    """
    timer = asyncio.get_running_loop().call_later(max(seconds, 0), break_off, connection)
    try:
        yield
    finally:
        timer.cancel()


def is_alive(connection: Connection) -> bool:
    """Whether nothing is known of the connection's end. A transaction sent over one that has ended has an unknown fate
    for as long as the server is away; one that is not sent has none."""
    try:
        way = select.poll()
        way.register(connection.pgconn.socket, select.POLLIN)
        while way.poll(0):
            # What a server says unasked, above all its farewell; at the end the driver notices that.
            connection.pgconn.consume_input()
    except (psycopg.Error, OSError):
        return False
    return not connection.closed


def break_off(connection: psycopg.AsyncConnection[Any] | psycopg.Connection[Any]) -> None:
    """Have whoever waits for the server see its connection broken, at once. May be called from another thread."""
    with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as way:
        # What is not sent yet never is.
        way.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        way.shutdown(socket.SHUT_RDWR)
