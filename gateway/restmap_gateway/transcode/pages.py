"""What the gateway serves that no method of the server answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

COMPRESS_FROM: Final = 8192
"""Bytes of a body from which it is worth compressing."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer."""

    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Besides the content type."""
    gzipped: bytes = b""
    """The body as gzip, made once and not for each request; empty where it is not worth it."""
