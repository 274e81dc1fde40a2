"""The outcome of a change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from backup_sharing.model import Sharing


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The change is committed."""

    answer: Sequence[Sharing]
    """Sharings for the caller; empty for a backup that was put."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of the change is stored."""

    failure: Exception


Outcome: TypeAlias = Succeeded | Failed
