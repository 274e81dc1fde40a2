"""A circuit breaker for a service that does not respond."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Opens when a trial fails, and closes when a trial succeeds. A trial is a request without any caller's data.

    Failed requests about a caller's token only make a trial due. A caller may know a token for which the service
    fails, and must not be able to open the breaker for everybody with this token, or to keep the breaker open.
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        """Make a trial due after ``failures``, at most one per ``seconds`` of a monotonic ``clock``."""
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._is_open = False
        self._is_trying = False
        self._no_trial_before = clock()

    @property
    def is_open(self) -> bool:
        """Whether only trials may be sent to the service."""
        return self._is_open

    def failed(self) -> None:
        """Count a failed request about a caller's token."""
        self._failures += 1

    def takes_trial(self) -> bool:
        """Start a trial if one is due; return whether. After True, the caller must report the outcome with `tried`."""
        is_due = self._is_open or self._failures >= self._most
        if not is_due or self._is_trying or self._clock() < self._no_trial_before:
            return False
        self._is_trying = True
        return True

    def tried(self, *, answered: bool) -> None:
        """Report the outcome of a trial."""
        self._is_trying = False
        self._is_open = not answered
        self._failures = 0
        self._no_trial_before = self._clock() + self._seconds
