"""Address of a server and the name in its certificate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server."""

    target: str
    """``HOST:PORT`` or ``unix:PATH``."""
    found_as: str = ""
    """``HOST:PORT`` that was looked up in DNS; the certificate has this host. Empty: the target itself."""

    @property
    def host(self) -> str:
        """Return the host that the certificate names."""
        if self.target.startswith("unix:"):
            return "localhost"
        return (self.found_as or self.target).rpartition(":")[0].strip("[]")
