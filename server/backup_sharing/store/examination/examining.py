"""Examination of a database of either engine."""

from __future__ import annotations

from pathlib import Path

from backup_sharing.store.examination import sqlite
from backup_sharing.store.examination.facts import Facts
from backup_sharing.store.opening import file_of


def examine(database: str, seconds: float) -> Facts:
    """Return the state of an existing database, a SQLite file or a PostgreSQL URL; take about ``seconds`` at most.

    Raises UnusableDatabase.
    """
    file: Path | None = file_of(database)
    if file is not None:
        return sqlite.examine(file, seconds)
    # The PostgreSQL driver is imported only where it is used.
    from backup_sharing.store.examination import postgres

    return postgres.examine(database, seconds)
