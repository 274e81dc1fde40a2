"""What can go wrong on the way of a request, before and after the server is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

MOST_SHOWN: Final = 100
"""Violations that a failure lists."""

_LONGEST_FIELD: Final = 1000
_LONGEST_DESCRIPTION: Final = 1000
_LONGEST_VALUE: Final = 60


@dataclass(frozen=True, slots=True)
class Violation:
    """One member of a request that is not what is expected."""

    field: str
    """Path of the member as the client wrote it: ``order.lines[1]``; empty for the body as a whole."""
    description: str
    """What is wrong with it, with its value, and what is expected."""


class InvalidRequest(Exception):
    """The request cannot be turned into a message: 400, and nothing was called.

    It says the first hundred things that are wrong, and how many more there are; long names and texts are cut, so
    that no answer is as large as what it answers.
    """

    def __init__(self, *violations: Violation) -> None:
        shown = [_bounded(violation) for violation in violations[:MOST_SHOWN]]
        said = [f"{v.field}: {v.description}" if v.field else v.description for v in shown]
        if len(violations) > MOST_SHOWN:
            said.append(f"and {len(violations) - MOST_SHOWN} more")
        super().__init__("; ".join(said))
        self.violations = tuple(shown)


def _bounded(violation: Violation) -> Violation:
    if len(violation.field) <= _LONGEST_FIELD and len(violation.description) <= _LONGEST_DESCRIPTION:
        return violation
    field = shortened(violation.field, _LONGEST_FIELD)
    return Violation(field, shortened(violation.description, _LONGEST_DESCRIPTION))


def shortened(text: str, most: int = _LONGEST_VALUE) -> str:
    """The text, cut and marked as cut where it has more characters than ``most``."""
    return text if len(text) <= most else f"{text[:most]}…"


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
