"""The limit of connections that the file descriptors of this process leave room for."""

from __future__ import annotations

import resource
from typing import Final

_RESERVE: Final = 64
"""File descriptors kept for other uses than client connections: databases, servers, certificates, logs, DNS."""


def within_descriptors(connections: int) -> int:
    """Return the number of connections, limited by the open file limit of this process."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(connections, max(descriptors - _RESERVE, descriptors // 2, 1))
