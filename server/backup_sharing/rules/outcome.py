"""What becomes of a change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Made:
    """The change is committed."""

    answer: object


@dataclass(frozen=True, slots=True)
class NotMade:
    """Nothing of the change is stored."""

    failure: Exception


Outcome: TypeAlias = Made | NotMade
