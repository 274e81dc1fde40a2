"""Opening both sides of a copy; databases that cannot be copied are refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from backup_sharing.model import Micros
from backup_sharing.store.file_system import is_there
from backup_sharing.store.migrations import SchemaStatus
from backup_sharing.store.opening import file_of, migrate, open_side, schema_status, shown
from backup_sharing.store.transfer.transfer import Transfer
from backup_sharing.store.unusable import UnusableDatabase


@contextmanager
def open_transfer(source: str, target: str, now: Micros) -> Iterator[Transfer]:
    """Open a copy of one database into another; a target without tables gets them.

    Raises UnusableDatabase.
    """
    file = file_of(source)
    if file is not None and not is_there(file):
        raise UnusableDatabase(shown(source), "there is no such file")
    status = schema_status(source)
    if status.is_empty:
        raise UnusableDatabase(shown(source), "there are no tables of this program, and so there is nothing to copy")
    _refuse_other_version(source, status)
    found = schema_status(target)
    if not found.is_empty or found.unknown:
        _refuse_other_version(target, found)
    with closing(open_side(source)) as one:
        if found.is_empty:
            migrate(target)
        with closing(open_side(target)) as other:
            if one.identity() == other.identity():
                raise UnusableDatabase(shown(target), "is the database to copy from")
            yield Transfer(one, other, now)


def _refuse_other_version(database: str, status: SchemaStatus) -> None:
    if status.unknown:
        names = ", ".join(status.unknown)
        raise UnusableDatabase(shown(database), f"it was made by a newer version of this program ({names})")
    if status.pending:
        raise UnusableDatabase(
            shown(database), "its tables are of an older version; bring them up to date with 'migrate apply' first"
        )
