"""What a stream asks of a server: to carry out one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc

from restmap.multiplexing.peer import Peer

Trailers = Sequence[tuple[str, str | bytes]]


class NoRoom(Exception):
    """There is no room for a stream or a message: RESOURCE_EXHAUSTED."""

    def __init__(self, message: str) -> None:
        """``message`` is for the client."""
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in."""

    method: str
    """``/package.Service/Method``."""
    request: bytes
    metadata: Mapping[str, str]
    """Lower-case keys, text values; of a repeated key the last."""
    deadline: float | None
    """Reading of ``time.monotonic()``; None: no deadline."""
    peer: Peer


class Status(Protocol):
    """How a call failed."""

    @property
    def code(self) -> grpc.StatusCode:
        """Of gRPC, and not OK."""
        ...

    @property
    def message(self) -> str:
        """For the client."""
        ...


class Answer(Protocol):
    """How a call ended: with a response, or with a status."""

    @property
    def response(self) -> bytes:
        """A serialized message; empty for a failure."""
        ...

    @property
    def status(self) -> Status | None:
        """None: OK."""
        ...

    @property
    def trailers(self) -> Trailers:
        """Trailing metadata."""
        ...


class Carrier(Protocol):
    """Carries out calls."""

    def serves(self, method: str) -> bool:
        """Whether there is a method of this name, ``/package.Service/Method``."""
        ...

    async def carry_out(self, call: Call) -> Answer:
        """Answer a call of a method that is served, in time for its deadline. Must not raise but for cancellation."""
        ...
