"""Address of a server and the name in its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DNS: Final = "dns:///"
"""Prefix of a target that means all addresses of a name."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One server."""

    target: str
    """``HOST:PORT`` or ``unix:PATH``."""
    found_as: str = ""
    """``HOST:PORT`` that was looked up in DNS; the certificate has this host. Empty: the target itself."""

    @property
    def configured(self) -> str:
        """Return the target of the settings to which this server belongs: itself, or ``dns:///HOST:PORT``."""
        return f"{DNS}{self.found_as}" if self.found_as else self.target

    @property
    def host(self) -> str:
        """Return the host that the certificate names."""
        if self.target.startswith("unix:"):
            return "localhost"
        return (self.found_as or self.target).rpartition(":")[0].strip("[]")
