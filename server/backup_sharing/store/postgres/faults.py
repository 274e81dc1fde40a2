"""Meaning of the errors of PostgreSQL's driver, for a transaction and for a caller."""

from __future__ import annotations

import logging
from typing import Final

import psycopg

from backup_sharing.errors import StoredDataUnreadable, Unavailable

_log = logging.getLogger(__name__)

FAULTS: Final = (psycopg.Error, OSError, UnicodeError)
"""Errors that the driver raises: UnicodeError for text that is no Unicode, in both directions."""

_GONE: Final = ("08", "57P", "25P03", "25P04", "26000", "40003")
"""Prefixes of the codes of a server that is unreachable, is stopping or starting, has ended the session or no longer
knows it, or cannot report the fate of a transaction."""
_READ_ONLY: Final = ("25006",)
"""Code of a read-only server: it was the primary, or will be."""
_CONTENDED: Final = ("40001", "40P01", "23505")
"""Codes of conflicts with a concurrent change of the same data; a retry may succeed."""
_UNAVAILABLE: Final = ("53", "54", "55", "57", "58", "25", "28", "3D", "42501", "08", "0A")
"""Prefixes of the codes of a server that cannot work, or refuses access; its operator must act."""
_SHORTAGE: Final = ("53", "58")
"""Prefixes of the codes of insufficient resources, and of failures of the machine."""
_DAMAGED: Final = ("XX001", "XX002")
"""Codes of stored data, or an index, that the server cannot read."""


def is_gone(error: BaseException) -> bool:
    """Return whether the server is unreachable over this connection, but perhaps not over another one."""
    if not isinstance(error, psycopg.Error):
        return isinstance(error, OSError)
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_GONE) or error.sqlstate in _READ_ONLY


def is_contended(error: BaseException) -> bool:
    """Return whether a retry of the same transaction may succeed."""
    return isinstance(error, psycopg.Error) and error.sqlstate in _CONTENDED


def is_timeout(error: BaseException) -> bool:
    """Return whether a statement ran or waited too long, or a transaction was late."""
    # Our statements divide by zero to fail a transaction.
    timeouts = psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable | psycopg.errors.DivisionByZero
    return isinstance(error, timeouts)


def is_shortage(error: BaseException) -> bool:
    """Return whether the server lacks space or another resource of its machine, whatever the statement was."""
    return isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith(_SHORTAGE)


def failure_of(error: BaseException) -> Exception:
    """Return the exception to raise instead of the driver's error, which becomes its cause.

    The exception is a failure for the caller, or a RuntimeError if the error is a defect of this program. A value that
    the driver or the server rejects (psycopg.DataError, UnicodeEncodeError) is a defect: it says nothing about the
    stored data.
    """
    code = getattr(error, "sqlstate", None) or ""
    failure: Exception
    if is_gone(error) or code.startswith(_UNAVAILABLE):
        failure = Unavailable("The store cannot be used now.")
    elif code in _CONTENDED or is_timeout(error):
        failure = Unavailable("Too many changes of the same data at once; try again later.")
    elif code in _DAMAGED or isinstance(error, UnicodeDecodeError):
        failure = StoredDataUnreadable("The stored data cannot be read.")
    else:
        failure = RuntimeError("The PostgreSQL store used its database wrongly.")
    failure.__cause__ = error
    return failure


def log_fault(error: BaseException) -> None:
    """Log an error, as its failure does not contain it; a conflict with a concurrent change is no fault."""
    if not is_contended(error):
        _log.error("the database failed", exc_info=error)
