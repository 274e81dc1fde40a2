"""Failures of a request that the gateway itself finds, before or after the call to the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

MOST_SHOWN: Final = 100
"""Maximum number of violations that a failure lists."""

_LONGEST_FIELD: Final = 1000
_LONGEST_DESCRIPTION: Final = 1000
_LONGEST_VALUE: Final = 60


@dataclass(frozen=True, slots=True)
class Violation:
    """One invalid member of a request."""

    field: str
    """Path of the member as the client wrote it, such as ``order.lines[1]``; empty for the whole body."""
    description: str
    """The error, the invalid value and the expected value."""


class InvalidRequest(Exception):
    """The request cannot be converted to a message: 400; the server was not called.

    The failure lists the first hundred violations and the number of the others. Long names and texts are cut, so that
    no response is as large as its request.
    """

    def __init__(self, *violations: Violation) -> None:
        shown = [_bounded(violation) for violation in violations[:MOST_SHOWN]]
        parts = [f"{v.field}: {v.description}" if v.field else v.description for v in shown]
        if len(violations) > MOST_SHOWN:
            parts.append(f"and {len(violations) - MOST_SHOWN} more")
        super().__init__("; ".join(parts))
        self.violations = tuple(shown)


def _bounded(violation: Violation) -> Violation:
    if len(violation.field) <= _LONGEST_FIELD and len(violation.description) <= _LONGEST_DESCRIPTION:
        return violation
    field = shortened(violation.field, _LONGEST_FIELD)
    return Violation(field, shortened(violation.description, _LONGEST_DESCRIPTION))


def shortened(text: str, most: int = _LONGEST_VALUE) -> str:
    """Return the text, cut to ``most`` characters and ended with an ellipsis if it is longer."""
    return text if len(text) <= most else f"{text[:most]}…"


class RequestFailed(Exception):
    """The gateway itself answers this request with a failure."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Create the failure.

        Args:
            status: HTTP status, 400 to 599.
            message: text for the client.
            headers: additional headers of the response.
        """
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class Overload(Enum):
    """A limit of the gateway at which it turns requests away."""

    IN_FLIGHT = "in_flight"
    """The maximum number of requests in flight."""
    UNREAD = "unread_responses"
    """The maximum bytes of responses that clients have not read."""
    STREAMS = "streams"
    """The maximum number of open streams."""


class Overloaded(RequestFailed):
    """A limit of the gateway is reached: 503."""

    def __init__(self, overload: Overload, message: str) -> None:
        """Create the failure; ``message``: text for the client."""
        super().__init__(503, message)
        self.overload = overload
