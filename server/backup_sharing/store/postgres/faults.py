"""What the errors of PostgreSQL's driver mean: to a transaction, and to a caller."""

from __future__ import annotations

import logging
from typing import Final

import psycopg

from backup_sharing.errors import StoredDataUnreadable, Unavailable

_log = logging.getLogger(__name__)

FAULTS: Final = (psycopg.Error, OSError, UnicodeError)
"""What the driver raises: UnicodeError for text that is no Unicode, either way."""

_GONE: Final = ("08", "57P", "25P03", "25P04", "26000", "40003")
"""Beginnings of the codes of a server that cannot be talked to, is going away or coming up, has ended the session, does
not know of it any more, or cannot say what became of a transaction."""
_ELSEWHERE: Final = ("25006",)
"""A server that only reads: it was the primary, or will be."""
_CONTENDED: Final = ("40001", "40P01", "23505")
"""Somebody else changed the same at the same time; it may go well when it is tried again."""
_OUT_OF_ORDER: Final = ("53", "54", "55", "57", "58", "25", "28", "3D", "42501", "08", "0A")
"""Beginnings of the codes of a server that cannot do its work, or has not let us in; its operator can."""
_SHORT: Final = ("53", "58")
"""Beginnings of the codes of insufficient resources, and of failures of the machine."""
_DAMAGED: Final = ("XX001", "XX002")
"""Stored data, or an index, that the server cannot read."""


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
    """Whether the server gave up a statement because it took, or waited, too long; or a transaction that came late."""
    # Dividing by zero is how our statements fail a transaction.
    timeouts = psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable | psycopg.errors.DivisionByZero
    return isinstance(error, timeouts)


def is_shortage(error: BaseException) -> bool:
    """Whether the server lacks room, or what it needs of its machine: not because of what it was asked."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_SHORT)


def failure_of(error: BaseException) -> Exception:
    """Answer what to raise instead of the driver's error, which becomes its cause.

    A failure the caller can be told, or a RuntimeError if the error is a defect of ours. A value that the driver or the
    server cannot take (psycopg.DataError, UnicodeEncodeError) is a defect: it says nothing of what is stored.
    """
    code = getattr(error, "sqlstate", None) or ""
    failure: Exception
    if is_gone(error) or code.startswith(_OUT_OF_ORDER):
        failure = Unavailable("The store cannot be used now.")
    elif code in _CONTENDED or is_timeout(error):
        failure = Unavailable("Too many change the same at once; try again later.")
    elif code in _DAMAGED or isinstance(error, UnicodeDecodeError):
        failure = StoredDataUnreadable("The stored data cannot be read.")
    else:
        failure = RuntimeError("The PostgreSQL store used its database wrongly.")
    failure.__cause__ = error
    return failure


def log_fault(error: BaseException) -> None:
    """Log an error that the failure made of it does not tell; that others change the same is no fault."""
    if not is_contended(error):
        _log.error("the database failed", exc_info=error)
