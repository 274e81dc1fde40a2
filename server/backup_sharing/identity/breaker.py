"""Leaving a service alone that does not answer."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Opens when a trial failed, and closes when one succeeded. A trial is a question of our own.

    Questions about what a caller sent only raise the suspicion that makes a trial due: a caller may know a token for
    which the service fails, and must be able neither to open the breaker for all with it, nor to keep it open.
    """

    def __init__(self, failures: int, seconds: float, clock: Callable[[], float]) -> None:
        """Try after so many ``failures``, and once in so many ``seconds`` by a monotonic clock."""
        self._most = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._is_open = False
        self._is_trying = False
        self._no_trial_before = clock()

    @property
    def is_open(self) -> bool:
        """Whether the service is to be left alone but for trials."""
        return self._is_open

    def failed(self) -> None:
        """A question about what a caller sent was not answered."""
        self._failures += 1

    def takes_trial(self) -> bool:
        """Whether the service is to be tried now. Whoever is told so must report with `tried`."""
        is_due = self._is_open or self._failures >= self._most
        if not is_due or self._is_trying or self._clock() < self._no_trial_before:
            return False
        self._is_trying = True
        return True

    def tried(self, *, answered: bool) -> None:
        """A question of our own was answered, or not."""
        self._is_trying = False
        self._is_open = not answered
        self._failures = 0
        self._no_trial_before = self._clock() + self._seconds
