"""The interface between a stream and the code that carries out its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import grpc

from restmap.multiplexing.peer import Peer

Trailers = Sequence[tuple[str, str | bytes]]


class ResourceExhausted(Exception):
    """A limit on streams or bytes is reached; the client gets RESOURCE_EXHAUSTED."""

    def __init__(self, message: str) -> None:
        """``message``: the status message for the client."""
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class UnaryCall:
    """A received call."""

    method: str
    """Full method name, ``/package.Service/Method``."""
    request: bytes
    metadata: Mapping[str, str]
    """Metadata with lower-case keys and text values. A repeated key has its last value."""
    deadline: float | None
    """Deadline as a value of ``time.monotonic()``; None: no deadline."""
    peer: Peer
    binary_metadata: Mapping[str, bytes] = field(default_factory=dict)
    """Metadata with binary values, whose keys end in ``-bin``. A repeated key has its last value."""


class CallStatus(Protocol):
    """The status of a failed call."""

    @property
    def code(self) -> grpc.StatusCode:
        """The gRPC status code; not OK."""
        ...

    @property
    def message(self) -> str:
        """The status message for the client."""
        ...


class CallResult(Protocol):
    """The result of a call: a response or a status."""

    @property
    def response(self) -> bytes:
        """The serialized response message; empty for a failure."""
        ...

    @property
    def status(self) -> CallStatus | None:
        """The status of a failure; None: OK."""
        ...

    @property
    def trailers(self) -> Trailers:
        """The metadata of the answer: the initial metadata, then the trailing metadata."""
        ...


class CallHandler(Protocol):
    """Carries out calls."""

    def serves(self, method: str) -> bool:
        """Return whether the server has a unary method with this full name, ``/package.Service/Method``."""
        ...

    async def carry_out(self, call: UnaryCall) -> CallResult:
        """Carry out a call of a served method, and return before its deadline. Must only raise CancelledError."""
        ...
