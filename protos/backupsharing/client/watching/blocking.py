"""The watch with blocking calls."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc

from backupsharing.client.calls import Call
from backupsharing.client.errors import BackupSharingError, closed
from backupsharing.client.model import SharingEvent
from backupsharing.client.sending.blocking import Sender, Stream
from backupsharing.client.watching.progress import Course, Progress, ended, silent


class Watch:
    """Events as they happen: an iterator that opens another stream when one breaks, and misses and repeats nothing.

    The iteration ends when the watch is closed, and raises a `BackupSharingError` for a failure that does not pass;
    calling `next` again then continues from `cursor`. One thread iterates; any thread may close.
    """

    def __init__(self, sender: Sender, course: Course) -> None:
        """Create a watch. It begins when it is entered as a context, or with the first `next`."""
        self._sender, self._idle_timeout = sender, course.idle_timeout
        self._progress = Progress(course, sender.retrying, renews_tokens=sender.renews_tokens)
        self._closed = threading.Event()
        self._opened: _Opened | None = None

    @property
    def cursor(self) -> str | None:
        """Place up to which all events were returned; None until it is known. Another watch can continue there."""
        return self._progress.cursor

    def __enter__(self) -> Self:
        """Begin, so that every later event is in the watch. The end of the context closes the watch."""
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the watch."""
        self.close()

    def __iter__(self) -> Self:
        """Return the watch itself."""
        return self

    def __next__(self) -> SharingEvent:
        """Wait for the next event."""
        self._begin()
        while not self._closed.is_set():
            response = self._response()
            if response is not None and (event := self._progress.received(response)) is not None:
                return event
        raise StopIteration

    def close(self) -> None:
        """End the watch, also while another thread waits for an event: its iteration ends."""
        self._closed.set()
        # `_open` looks at the flag after it has opened the stream, so one of both cancels it.
        if (opened := self._opened) is not None:
            opened.stream.cancel()

    def _begin(self) -> None:
        while self._progress.needs_start and not self._closed.is_set():
            cursor = self._response()
            if cursor is not None:
                self._progress.started(cursor)
                self._leave()

    def _response(self) -> Any:  # noqa: ANN401 -- the result of the call
        """Return the next response; None after the watch was closed, or after a failure and its pause."""
        try:
            opened = self._opened or self._open()
            answer = self._answer(opened)
        except BaseException:
            # Somebody who interrupted the waiting may wait again: on another stream, from the cursor.
            self._leave()
            raise
        if isinstance(answer, bytes):
            return opened.call.result(answer)
        self._leave()
        if self._closed.is_set():
            return None
        if self._sender.is_closed:
            raise closed("")
        self._closed.wait(self._progress.pause_after(answer))
        return None

    def _answer(self, opened: _Opened) -> bytes | BackupSharingError:
        """Return the next serialized response, or the failure that ended the stream."""
        try:
            answer = opened.silence.next(opened.stream)
        except grpc.RpcError as error:
            return silent(self._idle_timeout) if opened.silence.has_cancelled else self._sender.failure_of(error)
        return ended() if answer is None else answer

    def _open(self) -> _Opened:
        # On the wire, a call with one response is a stream that ends after it: one way to wait, and to cancel.
        call = self._progress.call()
        stream = self._sender.stream(call)
        self._opened = opened = _Opened(call, stream, _Silence(stream, self._idle_timeout))
        if self._closed.is_set():
            stream.cancel()
        return opened

    def _leave(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.stream.cancel()


class _Silence:
    """Cancels a stream whose next response does not come in time; time between two calls of `next` does not count."""

    def __init__(self, stream: Stream, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._waits_since: float | None = None
        self._ended = threading.Event()
        self.has_cancelled = False
        # A watch that nobody closes is collected with its stream, and this thread then ends.
        self._stream = weakref.ref(stream)
        if not stream.add_callback(self._ended.set):
            self._ended.set()
        threading.Thread(target=self._run, name="backupsharing-watch", daemon=True).start()

    def next(self, stream: Stream) -> bytes | None:
        """Return the next response, or None at the end."""
        self._waits_since = self._clock()
        try:
            return next(stream, None)
        finally:
            self._waits_since = None

    def _run(self) -> None:
        while not self._ended.wait(min(self._seconds / 4, threading.TIMEOUT_MAX)):
            since = self._waits_since
            if since is not None and self._clock() - since >= self._seconds:
                self._cancel()

    def _cancel(self) -> None:
        if (stream := self._stream()) is not None:
            self.has_cancelled = True
            stream.cancel()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A stream that is open."""

    call: Call[Any]
    stream: Stream
    silence: _Silence
