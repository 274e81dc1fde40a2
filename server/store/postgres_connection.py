"""Connections to PostgreSQL, and what the driver's errors mean to a caller."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from server.errors import StoredDataUnreadable, Unavailable
from server.store.unusable import UnusableDatabase

Connection = psycopg.AsyncConnection[tuple[object, ...]]

_log = logging.getLogger(__name__)

LOCK_TIMEOUT: Final = 0.01
"""Seconds for which a change waits for a lock inside its transaction; then it lets go of its own, and comes again."""

# Every statement has its index; one that is prepared while a table is new, and small, would otherwise go on to read
# all of it. Asked for like this, as not every database that speaks PostgreSQL has the setting.
_BY_INDEX: Final = "SELECT set_config(name, 'off', false) FROM pg_settings WHERE name = 'enable_seqscan'"

_NOTICED_AFTER: Final = 5
"""Seconds after which a server that does not answer at all counts as gone, where the url does not say otherwise."""

_DEFAULTS: Final[Mapping[str, str | int]] = {
    "application_name": "backup-sharing",
    "connect_timeout": _NOTICED_AFTER,
    "keepalives_idle": _NOTICED_AFTER,
    "keepalives_interval": 1,
    "keepalives_count": _NOTICED_AFTER,
    "tcp_user_timeout": _NOTICED_AFTER * 1000,
    "client_encoding": "UTF8",
}

_GONE: Final = ("08", "57P")
"""Beginnings of the codes of a server that cannot be talked to, or is going away or coming up."""
_ELSEWHERE: Final = ("25006",)
"""A server that only reads: it was the primary, or will be."""
_CONTENDED: Final = ("40001", "40P01", "23505")
"""Somebody else changed the same at the same time; it may go well when it is tried again."""
_OUT_OF_ORDER: Final = ("53", "54", "55", "57", "58", "25", "28", "3D", "42501", "08", "0A")
"""Beginnings of the codes of a server that cannot do its work, or has not let us in; its operator can."""
_UNREADABLE: Final = ("XX001", "XX002", "22021", "22P05")


def connection_string(url: str) -> str:
    """Answer what to connect with: what the url says, and what it leaves open.

    Raises UnusableDatabase if it is no url of a PostgreSQL database.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        raise UnusableDatabase(shown(url), f"is not a PostgreSQL url: {str(error).strip()}") from None
    # Of several servers the one that writes: the others only follow it.
    defaults = {**_DEFAULTS, "target_session_attrs": "read-write"} if "," in str(given.get("host")) else _DEFAULTS
    return make_conninfo("", **{**defaults, **given})


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
    """Open a connection for changes; no lock is waited for longer than a moment.

    Raises psycopg.Error.
    """
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True, prepare_threshold=1)
    try:
        await configure(connection, patience, lock_timeout=LOCK_TIMEOUT)
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
    await connection.execute(f"SELECT {calls}")
    await connection.execute(_BY_INDEX)


def is_gone(error: BaseException) -> bool:
    """Whether the server cannot be talked to over this connection, but perhaps over another."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_GONE) or error.sqlstate in _ELSEWHERE


def is_contended(error: BaseException) -> bool:
    """Whether it is worth trying the same transaction again."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONTENDED


def is_timeout(error: BaseException) -> bool:
    """Whether the server gave up a statement because it took, or waited, too long."""
    return isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable)


def failure_of(error: BaseException) -> Exception:
    """Answer what to raise instead of the driver's error, which becomes its cause.

    A failure the caller can be told, or a RuntimeError if the error is a defect of ours.
    """
    code = getattr(error, "sqlstate", None) or ""
    failure: Exception
    if is_gone(error) or code.startswith(_OUT_OF_ORDER):
        failure = Unavailable("The store cannot be used now.")
    elif code in _CONTENDED:
        failure = Unavailable("Too many change the same at once; try again later.")
    elif code in _UNREADABLE or isinstance(error, UnicodeError | psycopg.DataError):
        failure = StoredDataUnreadable("The stored data cannot be read.")
    else:
        failure = RuntimeError("The PostgreSQL store used its database wrongly.")
    failure.__cause__ = error
    return failure


def log_fault(error: BaseException) -> None:
    """Log an error that the failure made of it does not tell; that others change the same is no fault."""
    if not is_contended(error):
        _log.error("the database failed", exc_info=error)
