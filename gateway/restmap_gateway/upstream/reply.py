"""How the server ended a call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """How the server ended a call."""

    code: grpc.StatusCode
    message: str
    response: bytes
    """Empty unless the code is OK."""
    metadata: Metadata
    """What came with it."""

    @property
    def details(self) -> bytes | None:
        """The serialized ``google.rpc.Status``, if there is one."""
        found = (value for key, value in self.metadata if key == "grpc-status-details-bin")
        return next((value for value in found if isinstance(value, bytes)), None)
