"""Ends a streaming call from outside: its task is cancelled, and the call then fails for a given reason."""

from __future__ import annotations

import asyncio

from backup_sharing.errors import Failure


class Ending:
    """The end of one call, which the task of the call creates."""

    __slots__ = ("_failure", "_requests", "_task")

    def __init__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - always created in a coroutine
        self._task = task
        self._requests = task.cancelling()
        self._failure: Failure | None = None

    def end(self, failure: Failure) -> None:
        """End the call with this failure, even while its client does not read; the first failure counts."""
        if self._failure is None:
            self._failure = failure
            self._task.cancel()

    def failure(self) -> Failure | None:
        """Return the failure if it alone caused the cancellation that the task has got."""
        if self._failure is not None and self._task.uncancel() <= self._requests:
            return self._failure
        return None
