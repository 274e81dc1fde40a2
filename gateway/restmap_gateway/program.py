"""Values that differ between programs that run this gateway: name, prefix of the settings, packaged descriptor set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs this gateway."""

    name: str
    """Name of the program in messages, in its help, and as ``Server`` in every response."""
    environment_prefix: str
    """Prefix of the environment variables for the settings."""
    descriptor_set: Callable[[], bytes] | None = None
    """Reads the packaged descriptor set, the default of the setting; None: the setting is required."""
    api_version: Callable[[], str] | None = None
    """Returns the version of the packaged set for its OpenAPI description; None: the version in its package."""
    distribution: str = "restmap-gateway"
    """Name of the installed distribution that has the version of the program."""
    variables_elsewhere: frozenset[str] = frozenset()
    """Environment variables of other programs with this prefix that look like misspelt ones of this program."""


RESTMAP_GATEWAY = Program("restmap-gateway", "RESTMAP_GATEWAY_")
"""The gateway for any service."""
