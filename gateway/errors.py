"""What can go wrong on the way of a request, before and after the server is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One member of a request that is not what is expected."""

    field: str
    """Path of the member as the client wrote it: ``order.lines[1]``; empty for the body as a whole."""
    description: str
    """What is wrong with it, with its value, and what is expected."""


class InvalidRequest(Exception):
    """The request cannot be turned into a message: 400, and nothing was called."""

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" if v.field else v.description for v in violations))
        self.violations = violations


class RequestFailed(Exception):
    """A request that the gateway itself answers with a failure."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Say what is wrong.

        Args:
            status: HTTP status, 400 to 599.
            message: for the client.
            headers: to add to the answer.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
