"""The watch for asyncio."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import grpc

from backupsharing.client.calls import Call
from backupsharing.client.errors import BackupSharingError, closed
from backupsharing.client.model import SharingEvent
from backupsharing.client.sending.awaited import AsyncSender, is_cancelled
from backupsharing.client.watching.progress import Course, Progress, ended, silent

Stream = grpc.aio.UnaryStreamCall[bytes, bytes]


class AsyncWatch:
    """Events as they happen, like `Watch`, but for asyncio. One task iterates; any task of the loop may close."""

    def __init__(self, sender: AsyncSender, course: Course) -> None:
        """Create a watch. It begins when it is entered as a context, or with the first event."""
        self._sender, self._idle_timeout = sender, course.idle_timeout
        self._progress = Progress(course, sender.retrying, renews_tokens=sender.renews_tokens)
        self._closed = asyncio.Event()
        self._opened: tuple[Call[Any], Stream] | None = None

    @property
    def cursor(self) -> str | None:
        """Place up to which all events were returned; None until it is known. Another watch can continue there."""
        return self._progress.cursor

    async def __aenter__(self) -> Self:
        """Begin, so that every later event is in the watch. The end of the context closes the watch."""
        try:
            await self._begin()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the watch."""
        await self.close()

    def __aiter__(self) -> Self:
        """Return the watch itself."""
        return self

    async def __anext__(self) -> SharingEvent:
        """Wait for the next event."""
        await self._begin()
        while not self._closed.is_set():
            response = await self._response()
            if response is not None and (event := self._progress.received(response)) is not None:
                return event
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the watch, also while another task waits for an event: its iteration ends."""
        self._closed.set()
        if self._opened is not None:
            self._opened[1].cancel()

    async def _begin(self) -> None:
        while self._progress.needs_start and not self._closed.is_set():
            cursor = await self._response()
            if cursor is not None:
                self._progress.started(cursor)
                self._leave()

    async def _response(self) -> Any:  # noqa: ANN401 -- the result of the call
        """Return the next response; None after the watch was closed, or after a failure and its pause."""
        try:
            call, stream = self._opened or await self._open()
            answer = await self._answer(stream)
        except BaseException:
            # Somebody who cancelled the waiting may wait again: on another stream, from the cursor.
            self._leave()
            raise
        if isinstance(answer, bytes):
            return call.result(answer)
        self._leave()
        if self._closed.is_set():
            return None
        if self._sender.is_closed:
            raise closed("")
        await self._pause(self._progress.pause_after(answer))
        return None

    async def _answer(self, stream: Stream) -> bytes | BackupSharingError:
        """Return the next serialized response, or the failure that ended the stream."""
        try:
            async with asyncio.timeout(self._idle_timeout):
                answer = await stream.read()
        except TimeoutError:
            return silent(self._idle_timeout)
        except grpc.RpcError as error:
            return self._sender.failure_of(error)
        except asyncio.CancelledError:
            # Closing the watch or the channel also cancels the stream, although nobody cancelled this task.
            if is_cancelled() or not (self._closed.is_set() or self._sender.is_closed):
                raise
            return closed("")
        return answer if isinstance(answer, bytes) else ended()

    async def _open(self) -> tuple[Call[Any], Stream]:
        # On the wire, a call with one response is a stream that ends after it: one way to wait, and to cancel.
        call = self._progress.call()
        self._opened = call, stream = call, await self._sender.stream(call)
        if self._closed.is_set():
            stream.cancel()
        return call, stream

    def _leave(self) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            opened[1].cancel()

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
