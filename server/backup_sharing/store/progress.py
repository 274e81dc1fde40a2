"""Progress reports from long work to its caller."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Advance = Callable[[int], None]
"""Called with the amount of work done since the last call."""

Bar = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with the name and the total amount of a piece of work; its context gives the `Advance`."""
