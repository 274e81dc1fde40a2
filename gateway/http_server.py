"""The HTTP side: one handler for all requests, no failure in any other shape than ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway import headers
from gateway.answers import Answer, Failures
from gateway.cors import Cors
from gateway.errors import InvalidRequest, RequestFailed

Respond = Callable[[web.BaseRequest, str], Awaitable[Answer | web.StreamResponse]]

Stamp = Callable[[web.BaseRequest | None, str], Mapping[str, str]]
"""Gives the headers of every answer, by the request (None: it could not be read) and its id."""

COMPRESS_FROM = 8192
"""Bytes of a body from which it is worth compressing."""

_CLIENT_GONE = 499
"""In the log, as other servers write it; nobody receives it."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What clients may take of this process."""

    header_bytes: int
    """Of the request line and of each header."""
    header_seconds: float
    """For the headers of a connection's first request to arrive."""
    idle_seconds: float
    """Between two requests of a connection."""
    in_flight: int
    """Requests being answered; more are 503."""


class HttpServer(web.Server):
    """aiohttp's server with our failures in place of its own."""

    def __init__(self, respond: Respond, failures: Failures, cors: Cors, limits: HttpLimits, stamp: Stamp) -> None:
        """Prepare to serve.

        Args:
            respond: answers a request with its request id.
            failures: writes the failures.
            cors: says which pages may read an answer.
            limits: what clients may take.
            stamp: the headers that every answer has.
        """
        super().__init__(self._handle, handler_cancellation=True)
        self._respond = respond
        self._failures = failures
        self._cors = cors
        self._limits = limits
        self._stamp = stamp
        self._in_flight = 0
        self._log = structlog.get_logger("gateway.request")

    def __call__(self) -> RequestHandler:
        """Make the protocol of one connection."""
        return _Connection(
            self,
            self._limits.header_seconds,
            loop=asyncio.get_running_loop(),
            access_log=None,
            max_line_size=self._limits.header_bytes,
            max_field_size=self._limits.header_bytes,
            keepalive_timeout=self._limits.idle_seconds,
            auto_decompress=False,
        )

    def failure(self, status: int, message: str) -> web.Response:
        """The response to what aiohttp itself refuses."""
        # The documented statuses know no finer ones: what HTTP libraries call 411, 414 or 431 is 400.
        failed = RequestFailed(status if status in (400, 408) or status >= 500 else 400, message)
        request_id = headers.request_id(headers.NO_HEADERS)
        return self._response(self._failures.of_request(failed, request_id), self._stamp(None, request_id))

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.perf_counter()
        if isinstance(request.protocol, _Connection):
            request.protocol.begun()
        request_id = headers.request_id(request.headers)
        status, reason, cause = _CLIENT_GONE, "", ""
        self._in_flight += 1
        try:
            answer = await self._answer(request, request_id)
            status = answer.status
            if isinstance(answer, web.StreamResponse):
                return answer
            reason, cause = answer.reason, answer.cause
            response = self._response(answer, self._stamp(request, request_id))
            if len(answer.body) >= COMPRESS_FROM and headers.accepts_gzip(request.headers):
                response.headers["Vary"] = ", ".join(filter(None, (response.headers.get("Vary"), "Accept-Encoding")))
                response.enable_compression(web.ContentCoding.gzip)
            return response
        finally:
            self._in_flight -= 1
            self._log.info(
                "request",
                method=request.method,
                path=request.raw_path.partition("?")[0],
                status=status,
                reason=reason or None,
                cause=cause or None,
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
                client=request.remote,
            )

    async def _answer(self, request: web.BaseRequest, request_id: str) -> Answer | web.StreamResponse:
        try:
            if self._cors.is_preflight(request):
                return Answer(200, headers=self._cors.preflight_headers(request))
            if self._in_flight > self._limits.in_flight:
                raise RequestFailed(503, "More requests are being answered than this gateway takes; try again later.")
            return await self._respond(request, request_id)
        except (InvalidRequest, RequestFailed) as failure:
            return self._failures.of_request(failure, request_id)
        except ConnectionResetError:
            raise  # the client went away; aiohttp knows what to do
        except Exception:  # noqa: BLE001 - whatever a defect raises, the client learns only its request id
            self._log.exception("defect", request_id=request_id)
            message = f"An internal error occurred; the operator finds its cause under {request_id}."
            return self._failures.of_request(RequestFailed(500, message), request_id)

    def _response(self, answer: Answer, stamped: Mapping[str, str]) -> web.Response:
        response = web.Response(status=answer.status, body=answer.body or None, headers={**answer.headers, **stamped})
        if answer.headers.get("Connection") == "close":
            response.force_close()
        return response


class _Connection(RequestHandler):
    """One connection; answers what aiohttp refuses before there is a request, and does not wait for ever for one."""

    def __init__(self, server: HttpServer, header_seconds: float, **options: object) -> None:
        super().__init__(server, **options)  # type: ignore[arg-type] # passed through as they came
        self._header_seconds = header_seconds
        self._header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._header_timer = asyncio.get_running_loop().call_later(self._header_seconds, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no more."""
        self.begun()
        super().connection_lost(exc)

    def begun(self) -> None:
        """A request is there; from now on aiohttp's own time-outs watch the connection."""
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        if self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the response; the connection is closed after it."""
        server = self._manager
        if request.writer.output_size > 0 or not isinstance(server, HttpServer):
            raise ConnectionError("the response has begun already")
        text = "The request is not well-formed HTTP." if status < 500 else "An internal error occurred."
        response = server.failure(status, text)
        response.force_close()
        return response
