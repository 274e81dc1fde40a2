"""Sends calls for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc

from backupsharing.client.calls import Call, Page
from backupsharing.client.endpoint import metadata_of
from backupsharing.client.errors import BackupSharingError, closed, failure_of
from backupsharing.client.retrying import Attempts, Retrying

Result = TypeVar("Result")
Item = TypeVar("Item")


class AsyncSender:
    """Sends the calls of one client, all in the event loop of the first one."""

    def __init__(
        self,
        channel: grpc.aio.Channel | None,
        opener: Callable[[], grpc.aio.Channel],
        *,
        target: str,
        token: str | Callable[[], str | Awaitable[str]],
        timeout: float,
        retrying: Retrying,
    ) -> None:
        """Create a sender. Without a ``channel``, the first call opens one, and `close` closes it."""
        # A channel belongs to a running loop, so it cannot be opened here.
        self._channel, self._is_own, self._opener = channel, channel is None, opener
        self._target, self._token, self._timeout = target, token, timeout
        self.retrying = retrying
        self.is_closed = False

    @property
    def renews_tokens(self) -> bool:
        """Whether each attempt asks for a token: the next one may be accepted although this one was not."""
        return callable(self._token)

    async def close(self) -> None:
        """Close the connection. Calls in progress and later calls fail."""
        self.is_closed = True
        if self._is_own and self._channel is not None:
            await self._channel.close()

    async def all(self, page_of: Callable[[str], Call[Page[Item]]], timeout: float | None) -> AsyncIterator[Item]:
        """Yield the items of all pages; ask for a page when its first item is needed."""
        token, is_last = "", False
        while not is_last:
            page = await self.do(page_of(token), timeout)
            for item in page.items:
                yield item
            token, is_last = page.next_token, not page.next_token

    async def do(self, call: Call[Result], timeout: float | None) -> Result:
        """Send a call until it succeeds, or a retry is useless, unsafe or too late. Return its result.

        Raises:
            BackupSharingError: the call failed.
        """
        attempts = Attempts(
            self.retrying,
            self._timeout if timeout is None else timeout,
            is_repeatable=call.is_repeatable,
            idempotency_key=call.idempotency_key,
        )
        request = call.request.SerializeToString()
        while True:
            metadata = metadata_of(await self._fresh_token(attempts))
            if self.is_closed:
                raise closed(call.idempotency_key)
            send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._open().unary_unary(call.method)
            try:
                answer = await send(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = failure_of(error, call.idempotency_key, attempts.timeout, self._target)
            except asyncio.CancelledError:
                # Closing the channel also cancels its calls, although nobody cancelled their tasks.
                if not self.is_closed or is_cancelled():
                    raise
                raise closed(call.idempotency_key) from None
            else:
                return call.result(answer)
            await asyncio.sleep(attempts.pause_after(failure))

    async def stream(self, call: Call[Result]) -> grpc.aio.UnaryStreamCall[bytes, bytes]:
        """Send a call once, without a deadline. Return its responses, not yet parsed.

        Raises:
            BackupSharingError: the client was closed.
        """
        metadata = metadata_of(await self._fresh_token(Attempts(self.retrying, self._timeout, is_repeatable=True)))
        if self.is_closed:
            raise closed("")
        send: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = self._open().unary_stream(call.method)
        return send(call.request.SerializeToString(), metadata=metadata)

    def failure_of(self, error: grpc.RpcError) -> BackupSharingError:
        """Return the exception for a stream that failed."""
        return failure_of(error, "", self._timeout, self._target)

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = self._opener()
        return self._channel

    async def _fresh_token(self, attempts: Attempts) -> str:
        if isinstance(self._token, str):
            return self._token
        token = self._token()
        if isinstance(token, str):
            return token
        try:
            async with asyncio.timeout(attempts.remaining()) as scope:
                return await token
        except TimeoutError:
            if not scope.expired():
                # The token function raised this TimeoutError itself.
                raise
            raise attempts.too_late() from None


def is_cancelled() -> bool:
    """Return whether somebody cancels the current task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
