"""What goes back to the client: one whole response, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiohttp.web import BaseRequest

Stamp = Callable[[BaseRequest | None, str], Mapping[str, str]]
"""Gives the headers of every answer, by the request (None: it could not be read) and its id."""

JSON: Mapping[str, str] = {"Content-Type": "application/json"}
"""Headers of an answer that is JSON."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One HTTP response, whole."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Without those every answer has; a content type only where there is a body."""
    reason: str = ""
    """Of a failure, for the log."""
    cause: str = ""
    """What a failure's message leaves out, for the log."""
    request_id: str = ""
    """As the server has it; empty where it does not say."""
