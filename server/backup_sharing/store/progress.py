"""How long work shows to its caller how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Advance = Callable[[int], None]
"""Takes how much was done since the last time."""

Bar = Callable[[str, int], AbstractContextManager[Advance]]
"""Begins a piece of work: takes what it is and how much there is to do."""
