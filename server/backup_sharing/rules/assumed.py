"""Shares decided on assumptions, before anything is read: an engine checks the assumptions while it writes.

Most shares meet no obstacle. The assumptions: each backup exists, belongs to the giver and is available; no recipient
has it already; no idempotency key is used; no sharing of the backup is due; its limit on active sharings is not
reached. If one of them is wrong, nothing may be stored, and the shares must be made again after reading. So the result
is always that of the rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from backup_sharing.model import AVAILABLE, Micros
from backup_sharing.rules.commands import Command, OnConflict, Share
from backup_sharing.rules.decisions import decide_all
from backup_sharing.rules.outcome import Outcome, Succeeded
from backup_sharing.rules.state import Edits, State

_READ_FIRST: Final = 8
"""Number of batches that read first after a wrong assumption."""


class AssumedShares:
    """A batch of shares and what it changes, if all assumptions are true."""

    def __init__(self, shares: Sequence[Share], now: Micros | None) -> None:
        """Decide the shares, for which `can_be_assumed` must be true.

        ``now``: the store's time; None: not known, so the engine must check that no new sharing is due.
        """
        state = State(now)
        self.givers: Mapping[str, str] = {share.backup_id: share.from_project_id for share in shares}
        """Assumed owner of each backup."""
        self.bounds: Mapping[str, int] = _bounds_of(shares)
        """Maximum counter of each backup after the shares; backups without a limit are left out."""
        state.know_owners((backup_id, giver, AVAILABLE, 0) for backup_id, giver in self.givers.items())
        self.outcomes: Sequence[Outcome] = decide_all(state, shares)
        """Outcome of each share."""
        self.edits: Edits = state.edits

    @property
    def have_succeeded(self) -> bool:
        """Whether every outcome is certain if all assumptions are true: a failure may have causes beyond them."""
        return all(isinstance(outcome, Succeeded) for outcome in self.outcomes)


class Assumptions:
    """Whether assumptions are likely to be true: one that was wrong makes others likely to be wrong."""

    def __init__(self) -> None:
        self._read_first = 0

    @property
    def are_likely(self) -> bool:
        """Whether the next batch should be decided on assumptions."""
        return not self._read_first

    def were_wrong(self) -> None:
        """Let some of the next batches read first."""
        self._read_first = _READ_FIRST

    def were_not_made(self) -> None:
        """Count a batch that reads first."""
        self._read_first = max(self._read_first - 1, 0)


def can_be_assumed(commands: Iterable[Command]) -> bool:
    """Return whether these commands are shares that can be decided before anything is read."""
    givers: dict[str, str] = {}
    for command in commands:
        if not isinstance(command, Share) or command.on_conflict is not OnConflict.REFUSE or command.validate_only:
            return False
        if givers.setdefault(command.backup_id, command.from_project_id) != command.from_project_id:
            return False
    return True


def _bounds_of(shares: Iterable[Share]) -> dict[str, int]:
    bounds: dict[str, int] = {}
    for share in shares:
        if share.max_active:
            bounds[share.backup_id] = min(bounds.get(share.backup_id, share.max_active), share.max_active)
    return bounds
