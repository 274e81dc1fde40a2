"""Where a server listens, and what its certificate calls it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server."""

    target: str
    """``HOST:PORT`` or ``unix:PATH``."""
    found_as: str = ""
    """The ``HOST:PORT`` that was asked of DNS, whose host the certificate names; empty: the target itself."""

    @property
    def host(self) -> str:
        """What the certificate names."""
        if self.target.startswith("unix:"):
            return "localhost"
        return (self.found_as or self.target).rpartition(":")[0].strip("[]")
