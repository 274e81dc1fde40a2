"""Retries of failed calls: never after the deadline, and never if the call could be carried out twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from backupsharing.client.errors import BackupSharingError, DeadlineExceeded, too_late

TIMEOUT = 30.0
"""Default seconds for a call with all its retries."""

_LONGEST = 365 * 86_400.0
"""Maximum seconds of a timeout: gRPC treats a much longer timeout as one that has passed."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """Number of attempts, and the pauses between them. Each pause is twice the one before.

    >>> Retrying(attempts=1).pause(1)  # seconds, at random up to a quarter less
    0...
    """

    attempts: int = 6
    """Maximum number of attempts, including the first one. 1: no retries."""
    first_pause: float = 0.1
    """Seconds before the first retry."""
    longest_pause: float = 5.0
    """Maximum seconds before a retry."""
    chance: Callable[[], float] = random.random
    """Source of random numbers from 0 to 1, to spread the retries of callers that failed at the same time."""

    def pause(self, failed: int, retry_after: float | None = None) -> float:
        """Return the seconds to wait after ``failed`` attempts; at least the service's ``retry_after``."""
        doubled = min(self.longest_pause, self.first_pause * 2.0 ** min(failed - 1, 30))
        spread = self.chance()
        if retry_after is None:
            return doubled * (1 - spread / 4)
        return max(retry_after, doubled) + spread * self.first_pause


class Attempts:
    """The attempts at one call."""

    def __init__(
        self,
        retrying: Retrying,
        timeout: float,
        *,
        is_repeatable: bool,
        idempotency_key: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the time. ``timeout``: seconds for all attempts and the pauses between them, at most a year."""
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; expected seconds, more than 0")
        self._retrying, self._timeout, self._is_repeatable, self._clock = retrying, timeout, is_repeatable, clock
        self._idempotency_key = idempotency_key
        self._until = clock() + min(timeout, _LONGEST)
        self._failed = 0
        self._uncertain: BackupSharingError | None = None

    @property
    def timeout(self) -> float:
        """Seconds for all attempts and the pauses between them."""
        return self._timeout

    def remaining(self) -> float:
        """Return the seconds left for the next attempt.

        Raises:
            DeadlineExceeded: no time is left.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self) -> DeadlineExceeded:
        """Return the exception for a call without time left."""
        return too_late(self._timeout, self._idempotency_key)

    def pause_after(self, failure: BackupSharingError) -> float:
        """Return the seconds to wait before the next attempt.

        Raises:
            BackupSharingError: a retry would be useless, unsafe or too late.
        """
        self._failed += 1
        if failure.may_be_stored:
            self._uncertain = failure
        if not (self._is_repeatable and may_pass(failure)) or self._failed >= self._retrying.attempts:
            raise self._final(failure)
        pause = self._retrying.pause(self._failed, failure.retry_after)
        if self._clock() + pause >= self._until:
            raise self._final(failure)
        return pause

    def _final(self, failure: BackupSharingError) -> BackupSharingError:
        # An earlier attempt may have made the change, even if the last attempt certainly did not.
        if self._uncertain is not None and (may_pass(failure) or isinstance(failure, DeadlineExceeded)):
            return self._uncertain
        return failure


def may_pass(failure: BackupSharingError) -> bool:
    """Return whether a failure is transient: the same call may succeed later."""
    if failure.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # A failure without retry_after is a used-up quota, for which a retry is useless.
        return failure.retry_after is not None
    return failure.status is grpc.StatusCode.UNAVAILABLE
