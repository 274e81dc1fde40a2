"""A client that has closed its sending side: it waits for its responses, or it is gone.

Both look the same until something is sent: a client that is gone then resets the connection. So bytes that the response
has anyway are sent early, one by one and ever slower; when the connection is reset, the call is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final

_FIRST_SECONDS: Final = 0.02
"""Seconds until the next early byte; each one doubles them."""


class Early(Enum):
    """Bytes that may be sent early, by what is to be sent next."""

    NONE = b""
    STATUS_LINE = b"HTTP/1.1 "
    """A response, which begins with these bytes."""
    CHUNK = b"0" * 8
    """A chunk or the end of a stream: the size of a chunk may begin with zeros."""


class HalfClosed:
    """Sends early bytes on a connection whose client has closed its sending side."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """Use a function that writes to the socket."""
        self._write = write
        self._early = Early.NONE
        self._sent = 0
        self._seconds = _FIRST_SECONDS
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, early: Early, *, at_once: bool = False) -> None:
        """Send early bytes of what is to be sent next: the first soon, or at once."""
        self.stop()
        self._early, self._sent, self._seconds = early, 0, _FIRST_SECONDS
        if at_once:
            self._send_one()
        elif early is not Early.NONE:
            self._send_later()

    def remainder(self, data: bytes) -> bytes:
        """Return data without the bytes that were sent early, and send no more of those."""
        self.stop()
        sent = self._sent if self._early is Early.STATUS_LINE else 0
        self._early, self._sent = Early.NONE, 0
        return data[sent:]

    def stop(self) -> None:
        """Send no more early bytes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send_one(self) -> None:
        one = self._early.value[self._sent : self._sent + 1]
        if one:
            self._sent += 1
            self._send_later()
            self._write(one)

    def _send_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._send_one)
        self._seconds *= 2
