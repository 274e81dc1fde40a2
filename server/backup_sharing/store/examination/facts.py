"""The state of a database as its operator needs it, the same for each engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """The state of a database that can be read; None: the engine does not know."""

    damage: str
    """The first damage that was found; empty: none."""
    is_whole_seen: bool
    """Whether the search for damage came to its end in the given time."""
    size: int
    """Bytes of the database."""
    free: int | None
    """Bytes that are free on its disk, for this user."""
    log: int | None
    """Bytes of changes that are not yet copied into the database."""
    wrong_counters: int | None
    """Number of backups whose counter of active sharings disagrees with their sharings; None: the given time was too
    short to compare them."""
    clock_ahead: float | None
    """Seconds by which the database's clock is ahead of this machine's."""
