"""The state of an identity provider, for operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProviderState:
    """State of a provider, as known without asking it."""

    name: str
    """Name of the provider: ``tokens``, ``keystone``, ``certificates`` or ``proxy``."""
    problem: str = ""
    """A sentence that says what does not work; empty if all works, as far as known. Contains no credential."""


StateOf = Callable[[], ProviderState]
"""Returns the present state of a provider."""
