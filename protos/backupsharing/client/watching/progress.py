"""Where a watch is, and whether it goes on after a failure: the same for blocking calls and for asyncio."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc

from backupsharing.client import access
from backupsharing.client.calls import Call
from backupsharing.client.errors import BackupSharingError, FailureDetails, NotAuthenticated, Unavailable
from backupsharing.client.model import EventKind, SharingEvent
from backupsharing.client.retrying import Retrying, may_pass

IDLE_TIMEOUT = 60.0
"""Default seconds without a response, not even a checkpoint, after which a watch opens another stream."""

_BROKEN = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
"""Statuses with which proxies and gRPC itself end a stream that breaks; a failure of the service has a reason."""


@dataclass(frozen=True, slots=True)
class Course:
    """The events that a watch returns, and the callbacks for what happens besides events."""

    project_id: str
    cursor: str | None = None
    from_beginning: bool = False
    backup_id: str | None = None
    kind: EventKind | None = None
    idle_timeout: float = IDLE_TIMEOUT
    on_checkpoint: Callable[[str], None] | None = None
    on_reconnect: Callable[[BackupSharingError, float], None] | None = None

    def __post_init__(self) -> None:
        """Refuse values that contradict each other."""
        if self.cursor == "":
            raise ValueError("cursor is empty; expected a cursor, or None to watch from now")
        if self.cursor and self.from_beginning:
            raise ValueError("expected either a cursor or from_beginning, not both")
        if not self.idle_timeout > 0:
            raise ValueError(f"idle_timeout is {self.idle_timeout}; expected seconds, more than 0")


class Progress:
    """The state of a watch between its streams."""

    def __init__(self, course: Course, retrying: Retrying, *, renews_tokens: bool) -> None:
        """Begin before the first stream. ``renews_tokens``: whether each stream has a fresh token."""
        self._course, self._retrying, self._renews_tokens = course, retrying, renews_tokens
        self.cursor = course.cursor
        """Place up to which all events were delivered; None before the first response."""
        self._has_begun = False
        self._failed = 0

    @property
    def needs_start(self) -> bool:
        """Whether the place at which the watch begins is not yet known.

        A watch from now asks for the newest cursor first. If a stream without a cursor broke before its first
        response, the next one would begin later, and events between them would be lost.
        """
        return self.cursor is None and not self._course.from_beginning

    def call(self) -> Call[Any]:
        """Return the next call: the question for the newest cursor, or a stream of events."""
        course = self._course
        if self.needs_start:
            return access.newest_cursor(course.project_id)
        return access.watch(course.project_id, self.cursor, course.backup_id, course.kind)

    def started(self, cursor: str) -> None:
        """Note the newest cursor, at which the watch begins."""
        self.cursor, self._failed, self._has_begun = cursor, 0, True

    def received(self, response: tuple[str, SharingEvent | None]) -> SharingEvent | None:
        """Note a response. Return its event; None for a checkpoint, or for an event that was delivered before."""
        cursor, event = response
        is_repeated = event is not None and event.cursor == self.cursor
        self.cursor, self._failed, self._has_begun = cursor or self.cursor, 0, True
        if event is None and self._course.on_checkpoint is not None:
            self._course.on_checkpoint(cursor)
        return None if is_repeated else event

    def pause_after(self, failure: BackupSharingError) -> float:
        """Return the seconds to wait before the next stream.

        A watch that has not begun fails after as many attempts as any call. Afterwards it goes on for as long as the
        service is not available. Every response begins the pauses from the first one again.

        Raises:
            BackupSharingError: another stream would fail in the same way.
        """
        self._failed += 1
        # A token that expired during a long watch is replaced, once before the next response.
        is_expired = isinstance(failure, NotAuthenticated) and self._renews_tokens and self._failed == 1
        is_broken = not failure.reason and failure.status in _BROKEN
        if not (may_pass(failure) or is_broken or (is_expired and self._has_begun)):
            raise failure
        if self._failed >= self._retrying.attempts and (is_broken or not self._has_begun):
            raise failure
        pause = self._retrying.pause(self._failed, failure.retry_after)
        if self._course.on_reconnect is not None:
            self._course.on_reconnect(failure, pause)
        return pause


def ended() -> BackupSharingError:
    """Return the failure for a stream that the server ended without one."""
    return Unavailable(FailureDetails("The server ended the watch.", status=grpc.StatusCode.UNAVAILABLE))


def silent(seconds: float) -> BackupSharingError:
    """Return the failure for a stream without a response for too long."""
    message = f"No response for {seconds:g} s, not even a checkpoint."
    return Unavailable(FailureDetails(message, status=grpc.StatusCode.UNAVAILABLE))
