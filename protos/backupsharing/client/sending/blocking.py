"""Sends calls and blocks until they are answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar, cast

import grpc

from backupsharing.client.calls import Call, Page
from backupsharing.client.endpoint import metadata_of
from backupsharing.client.errors import BackupSharingError, closed, failure_of
from backupsharing.client.retrying import Attempts, Retrying

Result = TypeVar("Result")
Item = TypeVar("Item")


class Stream(Iterator[bytes], Protocol):
    """The serialized responses to a call, as they arrive."""

    def cancel(self) -> object:
        """End the call; a thread that waits for a response gets the failure CANCELLED."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Call a function when the call ends. Return False if it has ended."""


class Sender:
    """Sends the calls of one client. Several threads may use one sender."""

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        is_own: bool,
        target: str,
        token: str | Callable[[], str],
        timeout: float,
        retrying: Retrying,
    ) -> None:
        """Create a sender. ``is_own``: whether `close` also closes the channel."""
        self._channel, self._is_own, self._target = channel, is_own, target
        self._token, self._timeout = token, timeout
        self.retrying = retrying
        self.is_closed = False

    @property
    def renews_tokens(self) -> bool:
        """Whether each attempt asks for a token: the next one may be accepted although this one was not."""
        return callable(self._token)

    def close(self) -> None:
        """Close the connection. Calls in progress and later calls fail."""
        self.is_closed = True
        if self._is_own:
            self._channel.close()

    def all(self, page_of: Callable[[str], Call[Page[Item]]], timeout: float | None) -> Iterator[Item]:
        """Yield the items of all pages; ask for a page when its first item is needed."""
        token, is_last = "", False
        while not is_last:
            page = self.do(page_of(token), timeout)
            yield from page.items
            token, is_last = page.next_token, not page.next_token

    def do(self, call: Call[Result], timeout: float | None) -> Result:
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
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(call.method)
        request = call.request.SerializeToString()
        while True:
            metadata = metadata_of(self._fresh_token())
            if self.is_closed:
                raise closed(call.idempotency_key)
            try:
                answer = send(request, timeout=attempts.remaining(), metadata=metadata)
            except grpc.RpcError as error:
                failure = failure_of(error, call.idempotency_key, attempts.timeout, self._target)
            except ValueError:
                # The channel raises this if another thread has just closed it.
                if not self.is_closed:
                    raise
                raise closed(call.idempotency_key) from None
            else:
                return call.result(answer)
            # Outside of the handler, so that the raised failure has no other exception as its context.
            if self.is_closed and failure.status is grpc.StatusCode.CANCELLED:
                raise closed(call.idempotency_key)
            time.sleep(attempts.pause_after(failure))

    def stream(self, call: Call[Result]) -> Stream:
        """Send a call once, without a deadline. Return its responses, not yet parsed.

        Raises:
            BackupSharingError: the client was closed.
        """
        metadata = metadata_of(self._fresh_token())
        if self.is_closed:
            raise closed("")
        send: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(call.method)
        try:
            return cast("Stream", send(call.request.SerializeToString(), metadata=metadata))
        except ValueError:
            # The channel raises this as in `do`.
            if not self.is_closed:
                raise
            raise closed("") from None

    def failure_of(self, error: grpc.RpcError) -> BackupSharingError:
        """Return the exception for a stream that failed."""
        return failure_of(error, "", self._timeout, self._target)

    def _fresh_token(self) -> str:
        return self._token if isinstance(self._token, str) else self._token()
