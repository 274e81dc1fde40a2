"""The time when a sharing ends by itself: which times a caller may ask for."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from backup_sharing.errors import Violation
from backup_sharing.model import Micros

FIELD: Final = "expire_time"
"""Member of the request with the time."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 -- only to write times, which are all UTC


def wrong_end(expires_at: Micros, now: Micros, longest: Micros = 0) -> Violation | None:
    """Return why a sharing cannot end at this time; None if it can.

    ``longest``: maximum microseconds from now until the end; 0: no limit.
    """
    if expires_at <= now:
        expected = f"a time after {shown_time(now)}, which is now"
    elif longest and expires_at > now + longest:
        expected = f"a time until {shown_time(now + longest)}, because no sharing may be longer"
    else:
        return None
    description = f"The value of {FIELD} is incorrect: {shown_time(expires_at)} is given; expected is {expected}."
    return Violation(FIELD, description)


def shown_time(at: Micros) -> str:
    """Return a time as RFC 3339 in UTC, with microseconds only if it has some."""
    return f"{(_EPOCH + timedelta(microseconds=at)).isoformat()}Z"
