"""One HTTP connection, and how long it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

Refuse = Callable[[int, BaseException | None], web.Response]
"""Makes the response to what is no request, of the status and the exception that say why."""


class Connection(RequestHandler):
    """Waits for ever neither for a request nor for a client that does not read; refuses in our words."""

    def __init__(
        self, server: web.Server, header_seconds: float, stalled_seconds: float, refuse: Refuse, **options: object
    ) -> None:
        """Prepare.

        Args:
            server: whose connection it is.
            header_seconds: for the headers of a request to arrive.
            stalled_seconds: for a client to read on while something waits to be written.
            refuse: makes the response to what is no request.
            options: of aiohttp.
        """
        super().__init__(server, **options)  # type: ignore[arg-type] # passed through as they came
        self._header_seconds = header_seconds
        self._stalled_seconds = stalled_seconds
        self._refuse = refuse
        self._header_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait no more for a request that is whole, and not for ever for one that has begun."""
        super().data_received(data)
        if self._messages:
            self.wait_no_more()
        elif data and self._header_timer is None and self._waiter is not None and not self._waiter.done():
            self._wait()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self.wait_no_more()
        self._stalled_no_more()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Begin to wait for the client to read on: what it does not read is held in memory."""
        super().pause_writing()
        self._stalled_timer = asyncio.get_running_loop().call_later(self._stalled_seconds, self.abort)

    def resume_writing(self) -> None:
        """The client reads."""
        self._stalled_no_more()
        super().resume_writing()

    def abort(self) -> None:
        """Close at once, whatever is still to be written."""
        if self.transport is not None:
            self.transport.abort()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - the signature is aiohttp's
        """Let a request in progress finish; after the time-out, end it."""
        # aiohttp waits that long twice, before it cancels.
        timer = asyncio.get_running_loop().call_later(timeout or 0.0, self._abandon)
        try:
            await super().shutdown(timeout)
        finally:
            timer.cancel()

    def wait_no_more(self) -> None:
        """A request is there; from now on aiohttp's own time-outs watch the connection."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stalled_no_more(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _wait(self) -> None:
        self._header_timer = asyncio.get_running_loop().call_later(self._header_seconds, self._give_up)

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def _abandon(self) -> None:
        if self._task_handler is not None:
            self._task_handler.cancel()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the response; the connection is closed after it."""
        if request.writer.output_size > 0:
            raise ConnectionError("the response has begun already")
        response = self._refuse(status, exc)
        response.force_close()
        return response
