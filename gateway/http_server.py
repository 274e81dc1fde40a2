"""The HTTP side: one handler for all requests, no failure in any other shape than ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from gateway import headers
from gateway.answers import Answer, Failures, printable
from gateway.connection import Connection
from gateway.cors import Cors
from gateway.errors import InvalidRequest, RequestFailed
from gateway.http_methods import are_all_common, take_any_method
from gateway.response import compressed, plain, whole

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
    """For the headers of a request to arrive, from the opening of the connection or their first byte."""
    idle_seconds: float
    """Between two requests of a connection, or while its client does not read on."""
    in_flight: int
    """Requests being answered; more are 503."""


class HttpServer(web.Server):
    """aiohttp's server with our failures in place of its own."""

    def __init__(
        self,
        respond: Respond,
        failures: Failures,
        cors: Cors,
        limits: HttpLimits,
        stamp: Stamp,
        on_drain: Callable[[], None],
        methods: Collection[str],
    ) -> None:
        """Prepare to serve.

        Args:
            respond: answers a request with its request id.
            failures: writes the failures.
            cors: says which pages may read an answer.
            limits: what clients may take.
            stamp: the headers that every answer has.
            on_drain: called when no more requests are taken, before those in progress are waited for.
            methods: that rules serve; ``*`` for any.
        """
        super().__init__(self._handle, handler_cancellation=True)
        self._respond = respond
        self._failures = failures
        self._cors = cors
        self._limits = limits
        self._stamp = stamp
        self._on_drain = on_drain
        self._takes_any_method = not are_all_common(methods)
        self._in_flight = 0
        self._log = structlog.get_logger("gateway.request")

    def __call__(self) -> RequestHandler:
        """Make the protocol of one connection."""
        connection = Connection(
            self,
            self._limits.header_seconds,
            self._limits.idle_seconds,
            self._refuse,
            loop=asyncio.get_running_loop(),
            access_log=None,
            max_line_size=self._limits.header_bytes,
            max_field_size=self._limits.header_bytes,
            keepalive_timeout=self._limits.idle_seconds,
            auto_decompress=False,
        )
        if self._takes_any_method:
            take_any_method(connection, self._limits.header_bytes)
        return connection

    def pre_shutdown(self) -> None:
        """Take no more requests."""
        self._on_drain()
        super().pre_shutdown()

    def _refuse(self, status: int, exc: BaseException | None) -> web.Response:
        """The response to what aiohttp itself refuses."""
        # The documented statuses know no finer ones: what HTTP libraries call 411, 414 or 431 is 400.
        status = status if status in (400, 408) or status >= 500 else 400
        message = "The request is not well-formed HTTP." if status < 500 else "An internal error occurred."
        if isinstance(exc, LineTooLong):
            message = f"The request line, or a header, has more than {self._limits.header_bytes} bytes."
        request_id = headers.request_id(headers.NO_HEADERS)
        self._log.info("refused", status=status, cause=repr(exc)[:500], request_id=request_id)
        failed = self._failures.of_request(RequestFailed(status, message), request_id)
        return plain(failed.status, {**failed.headers, **self._stamp(None, request_id)}, failed.body)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.perf_counter()
        if isinstance(request.protocol, Connection):
            request.protocol.wait_no_more()
        request_id = headers.request_id(request.headers)
        status, reason, cause = _CLIENT_GONE, "", ""
        self._in_flight += 1
        try:
            answer = await self._answer(request, request_id)
            status = answer.status
            if isinstance(answer, web.StreamResponse):
                return answer
            reason, cause = answer.reason, answer.cause
            stamped = {**answer.headers, **self._stamp(request, request_id)}
            if len(answer.body) >= COMPRESS_FROM and headers.accepts_gzip(request.headers):
                return compressed(answer.status, stamped, answer.body)
            return whole(request, answer.status, stamped, answer.body)
        finally:
            self._in_flight -= 1
            self._log.info(
                "request",
                method=request.method,
                path=printable(request.raw_path.partition("?")[0]),
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
            if request.version not in (HttpVersion10, HttpVersion11):
                raise RequestFailed(400, "Only HTTP/1.0 and HTTP/1.1 are spoken here.", {"Connection": "close"})
            if self._in_flight > self._limits.in_flight:
                raise RequestFailed(503, "More requests are being answered than this gateway takes; try again later.")
            return await self._respond(request, request_id)
        except (InvalidRequest, RequestFailed) as failure:
            return self._failures.of_request(failure, request_id)
        except ConnectionResetError:
            raise  # the client went away; aiohttp knows what to do
        except Exception:  # noqa: BLE001 - whatever a defect raises, the client learns only its request id
            self._log.exception("defect", request_id=request_id)
            if request.writer.output_size > 0:
                # Half an answer is out: only the missing end can still tell the client.
                raise ConnectionAbortedError from None
            message = f"An internal error occurred; the operator finds its cause under {request_id}."
            return self._failures.of_request(RequestFailed(500, message), request_id)
