"""The result of a call to the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Reply:
    """The result of a call to the server."""

    code: grpc.StatusCode
    message: str
    response: bytes
    """The serialized response; empty unless the code is OK."""
    metadata: Metadata
    """Metadata of the reply."""

    @property
    def details(self) -> bytes | None:
        """Return the serialized ``google.rpc.Status``; None if there is none."""
        found = (value for key, value in self.metadata if key == "grpc-status-details-bin")
        return next((value for value in found if isinstance(value, bytes)), None)
