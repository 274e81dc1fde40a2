"""The counters of active sharings, compared with the rows that they count; the same statements for every engine."""

from __future__ import annotations

from typing import Final

# ruff: noqa: S608 -- statements are put together from the constants of this program only

COUNTED: Final = "(SELECT count(*) FROM sharings AS s WHERE s.backup_id = backups.id AND s.deleted_at IS NULL)"
"""Expression for the counter of a row of ``backups`` as its sharings are."""

WRONG_COUNTERS: Final = f"SELECT count(*) FROM backups WHERE active_sharings <> {COUNTED}"
"""Returns the number of backups whose counter differs from their sharings, in one committed state."""

RECOUNT: Final = f"UPDATE backups SET active_sharings = {COUNTED} WHERE active_sharings <> {COUNTED}"
"""Corrects every counter."""
