"""When a call that failed is sent again: never later than its deadline, never if that could do it twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from backupsharing.client.errors import BackupSharingError, DeadlineExceeded, too_late

TIMEOUT = 30.0
"""Seconds for a call with all its retries, unless it is told otherwise."""

_LONGEST = 365 * 86_400.0
"""Seconds: gRPC takes what is much longer for a time that is over."""


@dataclass(frozen=True, slots=True)
class Retrying:
    """How often and after what pauses; a pause doubles each time.

    >>> Retrying(attempts=1).pause(1)  # seconds, up to a quarter less by chance
    0...
    """

    attempts: int = 6
    """In all, the first one included; 1: never again."""
    first_pause: float = 0.1
    """Seconds."""
    longest_pause: float = 5.0
    """Seconds."""
    chance: Callable[[], float] = random.random
    """From 0 to 1: spreads the retries of callers that failed at the same time."""

    def pause(self, failed: int, retry_after: float | None = None) -> float:
        """Seconds to wait after so many attempts; never less than ``retry_after``, which is the service's wish."""
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
        """Begin now; ``timeout`` seconds are for all attempts and the pauses between them, a year at most."""
        if not timeout > 0:
            raise ValueError(f"timeout is {timeout}; expected are seconds, more than 0")
        self._retrying, self._timeout, self._is_repeatable, self._clock = retrying, timeout, is_repeatable, clock
        self._idempotency_key = idempotency_key
        self._until = clock() + min(timeout, _LONGEST)
        self._failed = 0
        self._uncertain: BackupSharingError | None = None

    def remaining(self) -> float:
        """Seconds that the next attempt has.

        Raises:
            DeadlineExceeded: none are left.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise self.too_late()
        return left

    def too_late(self) -> DeadlineExceeded:
        """What to raise when the time is up."""
        return too_late(self._timeout, self._idempotency_key)

    def pause_after(self, failure: BackupSharingError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            BackupSharingError: as it would not help or not be safe to try again, or too late.
        """
        self._failed += 1
        if failure.may_be_stored:
            self._uncertain = failure
        if not (self._is_repeatable and _may_pass(failure)) or self._failed >= self._retrying.attempts:
            raise self._final(failure)
        pause = self._retrying.pause(self._failed, failure.retry_after)
        if self._clock() + pause >= self._until:
            raise self._final(failure)
        return pause

    def _final(self, failure: BackupSharingError) -> BackupSharingError:
        # That the last attempt was too late, or one too many, says nothing of what an earlier one may have done.
        if self._uncertain is not None and (_may_pass(failure) or isinstance(failure, DeadlineExceeded)):
            return self._uncertain
        return failure


def _may_pass(failure: BackupSharingError) -> bool:
    if failure.status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # Without a time to come again it is a quota, which does not refill.
        return failure.retry_after is not None
    return failure.status is grpc.StatusCode.UNAVAILABLE
