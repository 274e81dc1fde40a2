"""What is a program's own in the gateway that it runs: its name, the prefix of its settings, the set that it brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs this gateway."""

    name: str
    """In messages, in its help, and as ``Server`` in every answer."""
    environment_prefix: str
    """Of the variables that its settings can be given in."""
    descriptor_set: Callable[[], bytes] | None = None
    """Reads the descriptor set to serve where no setting names one; None: a setting has to."""
    api_version: Callable[[], str] | None = None
    """Says the version of the API in its description; None: the last part of the package of its first service."""


RESTMAP_GATEWAY = Program("restmap-gateway", "RESTMAP_GATEWAY_")
"""The gateway for any service."""
