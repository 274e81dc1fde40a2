"""A complete HTTP response, independent of its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp.web import BaseRequest

Stamp = Callable[[BaseRequest | None, str], Mapping[str, str]]
"""Makes the headers of every response from the request (None: invalid request) and its id."""

JSON: Mapping[str, str] = {"Content-Type": "application/json"}
"""Headers of a JSON response."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One complete HTTP response."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers without those of every response; a content type only with a body."""
    reason: str = ""
    """Reason of a failure, for the log."""
    cause: str = ""
    """Details that a failure's message omits, for the log."""
    request_id: str = ""
    """Request id that the server sent; empty if it sent none."""
    sent: Sequence[tuple[str, str]] = ()
    """Headers from metadata of the server, where the gateway has none of the name; a name may repeat."""
