"""HTTP server: one handler for all requests; all failures have the gateway's JSON shape."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web

from programkit.rate_limited_log import RateLimitedLog
from programkit.tracing.spans import NO_TRACER, Span, Tracer, inside
from programkit.tracing.trace_context import TRACEPARENT, TRACESTATE
from restmap_gateway.errors import InvalidRequest, Overload, Overloaded, RequestFailed, shortened
from restmap_gateway.http.aiohttp_handler import MOST_HEADERS, Malformed, why_malformed
from restmap_gateway.http.connection import Connection, HeadersTooLarge, Patience
from restmap_gateway.http.connections import Connections
from restmap_gateway.http.cors import Cors
from restmap_gateway.http.framing import OTHER_CODING, check_framing
from restmap_gateway.http.in_flight import InFlight, InFlightRequest
from restmap_gateway.http.methods import COMMON, are_all_common
from restmap_gateway.http.readiness import PATH as PROBED
from restmap_gateway.http.response import WholeResponse, closing, compressed, refusal, varying, whole, with_sent
from restmap_gateway.http.unwritten import LARGE, Unwritten
from restmap_gateway.transcode import headers
from restmap_gateway.transcode.failures import Failures
from restmap_gateway.transcode.http_response import HttpResponse, Stamp
from restmap_gateway.transcode.metadata import RequestIds
from restmap_gateway.transcode.pages import COMPRESS_FROM
from restmap_gateway.transcode.target import ROUTE, logged_path

Respond = Callable[[web.BaseRequest, str, Callable[[], None]], Awaitable[HttpResponse | web.StreamResponse]]
"""Handles a request with its id. Calls the function when the request is complete; that call may raise a refusal."""

_UNAUTHORIZED = HTTPStatus.UNAUTHORIZED.value

_CLIENT_GONE = 499
"""Status in the log when the client is gone, as in other servers; never sent."""

_UNKNOWN_METHOD = "unknown"
"""Value in the log for any other method than the known ones."""

_LONGEST_CAUSE = 500

_PROBING = frozenset({"GET", "HEAD"})
"""HTTP methods of a load balancer's probe."""


class RequestObserver(Protocol):
    """Receives measurements of requests. Its methods must return at once and raise nothing."""

    def handled(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered.

        Args:
            method: HTTP method, as sent by the client.
            route: path template or page; empty if none matched.
            status: status of the response; 499: the client is gone.
            seconds: duration, from the complete headers.
        """
        ...

    def turned_away(self, overload: Overload) -> None:
        """A request was refused because a limit of the gateway is reached."""
        ...

    def malformed(self, status: int) -> None:
        """A request was refused that is not HTTP, or did not arrive in time."""
        ...


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits for clients of this process."""

    header_bytes: int
    """Maximum bytes of the request line and of each header."""
    patience: Patience
    """Timeouts of connections."""
    in_flight: int
    """Maximum number of requests in flight; more get 503."""
    slow_seconds: float = 0.0
    """Seconds from which a request is logged with its stages; 0: never."""


class HttpServer(web.Server):
    """aiohttp's server with the gateway's failures instead of its own."""

    def __init__(
        self,
        respond: Respond,
        failures: Failures,
        request_ids: RequestIds,
        cors: Cors,
        limits: HttpLimits,
        connections: Connections,
        unwritten: Unwritten,
        stamp: Stamp,
        on_drain: Callable[[], None],
        methods: Collection[str],
        observer: RequestObserver | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """Create the server.

        Args:
            respond: handles a request with its id.
            failures: makes the responses for failures.
            request_ids: makes the id of each request.
            cors: decides which pages may read a response.
            limits: limits for clients.
            connections: client connections.
            unwritten: counts unread response bytes.
            stamp: makes the headers that every response has.
            on_drain: called when no more requests are accepted, before the wait for those in progress.
            methods: HTTP methods of the rules; ``*`` for any.
            observer: receives measurements.
            tracer: begins the span of each request.
        """
        super().__init__(self._handle, handler_cancellation=True)
        self._respond = respond
        self._observer = observer
        self._failures = failures
        self._request_ids = request_ids
        self._cors = cors
        self._limits = limits
        self._connections_of_clients = connections
        self._unwritten = unwritten
        self._stamp = stamp
        self._on_drain = on_drain
        self._methods = frozenset(methods) | COMMON
        self._tracer = tracer
        self._takes_any_method = not are_all_common(methods)
        self._in_flight = InFlight(limits.in_flight, unwritten)
        self._log = structlog.get_logger("gateway.request")
        self._garbage_log = RateLimitedLog("gateway.request", burst=20, per_second=1.0)
        self._rare_log = RateLimitedLog("gateway.request", burst=100, per_second=20.0)
        self._slow_log = RateLimitedLog("gateway.request", burst=20, per_second=1.0)

    def __call__(self) -> Connection:
        """Create the protocol of one connection."""
        limits = self._limits
        connection = Connection(
            self, self._connections_of_clients, limits.patience, limits.header_bytes, self._refuse, self._full
        )
        if self._takes_any_method:
            connection.take_any_method()
        return connection

    @property
    def in_flight(self) -> int:
        """Return the number of requests in flight."""
        return self._in_flight.count

    def pre_shutdown(self) -> None:
        """Accept no more requests."""
        self._on_drain()
        super().pre_shutdown()

    def _full(self) -> bytes:
        """Return the response for a connection above the limit."""
        message = "More connections are open than this gateway takes; try again later."
        request_id = self._request_ids.new()
        failed = self._failures.of_request(RequestFailed(503, message), request_id)
        return closing(failed.status, {**failed.headers, **self._stamp(None, request_id)}, failed.body)

    def _refuse(self, status: int, exc: BaseException | None) -> web.StreamResponse:
        """Return the response to a request that aiohttp itself refuses."""
        status, message = self._refusal(status, exc)
        if self._observer is not None:
            self._observer.malformed(status)
        request_id = self._request_ids.new()
        # Do not log the text of the exception: it quotes the invalid line, which can contain a token.
        self._garbage_log.info("refused", status=status, cause=type(exc).__name__, request_id=request_id)
        failed = self._failures.of_request(RequestFailed(status, message), request_id)
        return refusal(failed.status, {**failed.headers, **self._stamp(None, request_id)}, failed.body)

    def _refusal(self, status: int, exc: BaseException | None) -> tuple[int, str]:
        """Return status and message for an exception of aiohttp or of its parser."""
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return status, "An internal error occurred."
        if isinstance(exc, HeadersTooLarge):
            return 400, "The headers have too many bytes, all together."
        # The documentation has no finer statuses: 411, 414 and 431 of HTTP libraries become 400.
        match why_malformed(exc):
            case Malformed.LONG_LINE:
                return 400, f"The request line, or a header, has more than {self._limits.header_bytes} bytes."
            case Malformed.MANY_HEADERS:
                return 400, f"The request has more than {MOST_HEADERS} headers."
            case Malformed.UNKNOWN_CODING:
                return 501, OTHER_CODING
            case _:
                return status if status == HTTPStatus.REQUEST_TIMEOUT else 400, "The request is not well-formed HTTP."

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        span = self._tracer.received(_spans_name(request, self._methods), *_trace_of(request.headers))
        if span is None:
            return await self._handle_in(request, None)
        with inside(span):
            return await self._handle_in(request, span)

    async def _handle_in(self, request: web.BaseRequest, span: Span | None) -> web.StreamResponse:
        turn = InFlightRequest(request, self._in_flight)
        request_id = self._request_ids.new()
        done = HttpResponse(_CLIENT_GONE)
        try:
            answer = await self._answer(request, request_id, turn)
            turn.stages.end("server")
            if isinstance(answer, web.StreamResponse):
                done = HttpResponse(answer.status)
                turn.is_streamed = True
                return answer
            turn.count()
            answer, response = await self._response(request, request_id, answer)
            if not _sent_at_once(request, response, len(answer.body)):
                await self._unwritten.write(request, len(answer.body), _written(request, response))
            done = answer
            turn.stages.end("response")
            return response
        finally:
            turn.end()
            ended = time.perf_counter()
            if self._observer is not None:
                seconds = ended - turn.stages.began
                self._observer.handled(request.method, request.get(ROUTE) or "", done.status, seconds)
            self._log_request(request, request_id, turn, done, ended)
            if span is not None:
                _end(span, request, done)

    async def _response(
        self, request: web.BaseRequest, request_id: str, answer: HttpResponse
    ) -> tuple[HttpResponse, WholeResponse]:
        """Return the answer to log and the response to write; without room for the answer, both are a failure."""
        if request.method == "GET" and len(answer.body) > COMPRESS_FROM:
            try:
                self._unwritten.check_room(len(answer.body))
            except RequestFailed as failure:
                answer = self._failures.of_request(failure, request_id)
        body = answer.body
        stamp = self._stamp(request, answer.request_id or request_id)
        stamped: MutableMapping[str, str]
        stamped = with_sent(answer.headers, answer.sent, stamp) if answer.sent else {**answer.headers, **stamp}
        if "Content-Encoding" in answer.headers:
            stamped["Vary"] = varying(stamped)
        elif len(body) >= COMPRESS_FROM and headers.accepts_gzip(request.headers):
            body = await compressed(body)
            stamped.update({"Vary": varying(stamped), "Content-Encoding": "gzip"})
        return answer, whole(request, answer.status, stamped, body)

    def _log_request(
        self, request: web.BaseRequest, request_id: str, turn: InFlightRequest, answer: HttpResponse, ended: float
    ) -> None:
        path = logged_path(request)
        if path == PROBED and not turn.is_for_server and request.method in _PROBING:
            return  # load balancers send several probes per second, day and night
        # Unauthenticated clients could fill the disk: such a line is several times as large as the request.
        log = self._log if turn.is_for_server and answer.status != _UNAUTHORIZED else self._rare_log
        log.info(
            "request",
            method=request.method if request.method in self._methods else _UNKNOWN_METHOD,
            path=path,
            status=answer.status,
            reason=answer.reason or None,
            cause=shortened(answer.cause, _LONGEST_CAUSE) if answer.cause else None,
            ms=round((ended - turn.stages.began) * 1000, 2),
            request_id=answer.request_id or request_id,
            client_request_id=self._request_ids.of_client(request.headers),
            client=request.remote,
        )
        slow = self._limits.slow_seconds
        if slow and ended - turn.stages.began >= slow and not turn.is_streamed:
            self._slow_log.warning(
                "slow request",
                method=request.method if request.method in self._methods else _UNKNOWN_METHOD,
                path=path,
                status=answer.status,
                ms=round((ended - turn.stages.began) * 1000, 2),
                stages_ms=turn.stages.milliseconds(ended),
                request_id=answer.request_id or request_id,
            )

    async def _answer(
        self, request: web.BaseRequest, request_id: str, turn: InFlightRequest
    ) -> HttpResponse | web.StreamResponse:
        try:
            if request.version not in (HttpVersion10, HttpVersion11):
                raise RequestFailed(400, "Only HTTP/1.0 and HTTP/1.1 are spoken here.", {"Connection": "close"})
            check_framing(request)
            if self._cors.is_preflight(request):
                return HttpResponse(200, headers=self._cors.preflight_headers(request))
            self._in_flight.check()
            return await self._respond(request, request_id, turn.arrived)
        except (InvalidRequest, RequestFailed) as failure:
            # Failures after this point are 500 to 504. Earlier failures cost the client little, so their log lines are
            # limited.
            if isinstance(failure, Overloaded) and self._observer is not None:
                self._observer.turned_away(failure.overload)
            turn.is_for_server = isinstance(failure, RequestFailed) and failure.status >= 500 and turn.is_for_server
            return self._failures.of_request(failure, request_id)
        except ConnectionResetError:
            raise  # the client is gone; aiohttp handles this
        except Exception:  # noqa: BLE001 - for any defect the client gets the request id only
            self._log.exception("defect", request_id=request_id)
            if request.writer.output_size > 0:
                # A part of the response is sent: only a missing end can still show the failure to the client.
                raise ConnectionAbortedError from None
            message = f"An internal error occurred; the operator finds its cause under {request_id}."
            return self._failures.of_request(RequestFailed(500, message), request_id)


def _trace_of(headers: headers.Headers) -> tuple[str | None, str | None]:
    """Return the caller's ``traceparent`` and ``tracestate``; a repeated ``traceparent`` is invalid."""
    given = headers.getall(TRACEPARENT, None)
    if given is None or len(given) != 1:
        return None, None
    return given[0], ",".join(headers.getall(TRACESTATE, ())) or None


def _spans_name(request: web.BaseRequest, methods: Collection[str]) -> str:
    """Return the name of a request's span before its route is known, by the semantic conventions."""
    return request.method if request.method in methods else "HTTP"


def _end(span: Span, request: web.BaseRequest, answer: HttpResponse) -> None:
    if span.is_recording:
        span.describe(
            {
                "http.request.method": request.method if request.method in COMMON else "_OTHER",
                "url.scheme": "https" if request.secure else "http",
                "url.path": logged_path(request),
                "http.response.status_code": answer.status,
                "client.address": request.remote or "",
            }
        )
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == _CLIENT_GONE:
            span.fail(str(answer.status))
    span.end()


def _sent_at_once(request: web.BaseRequest, response: WholeResponse, size: int) -> bool:
    """Write a small response; return whether the socket took all of it at once, as nearly always."""
    if size >= LARGE:
        return False
    response.send(request)
    return not request.protocol.writing_paused


async def _written(request: web.BaseRequest, response: WholeResponse) -> None:
    response.send(request)
