"""Pages that the gateway serves itself, without the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

COMPRESS_FROM: Final = 8192
"""Body size in bytes from which compression is worthwhile."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page."""

    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers besides the content type."""
    gzipped: bytes = b""
    """The body as gzip, compressed once and not for each request; empty if compression is not worthwhile."""


MakePage = Callable[[], Awaitable[Page]]
"""Makes a page. Raises `RequestFailed` if there is none now."""
