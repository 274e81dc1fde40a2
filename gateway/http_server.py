"""The HTTP side: one handler for all requests, no failure in any other shape than ours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway import headers
from gateway.answers import Answer, Failures
from gateway.errors import InvalidRequest, RequestFailed

Respond = Callable[[web.BaseRequest, str], Awaitable[Answer]]


class HttpServer(web.Server):
    """aiohttp's server with our failures in place of its own."""

    def __init__(self, respond: Respond, failures: Failures, server_name: str, header_bytes: int) -> None:
        """Prepare to serve.

        Args:
            respond: answers a request with its request id.
            failures: writes the failures.
            server_name: for the ``Server`` header.
            header_bytes: the largest header, and the longest request line.
        """
        super().__init__(self._handle, handler_cancellation=True)
        self._respond = respond
        self._failures = failures
        self._server_name = server_name
        self._header_bytes = header_bytes
        self._log = structlog.get_logger("gateway.request")

    def __call__(self) -> RequestHandler:
        """Make the protocol of one connection."""
        return _Protocol(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # which is how it is switched off
            max_line_size=self._header_bytes,
            max_field_size=self._header_bytes,
            auto_decompress=False,
        )

    def failure(self, status: int, message: str) -> web.Response:
        """The response to what aiohttp itself refuses."""
        # The documented statuses know no finer ones: what HTTP libraries call 411, 414 or 431 is 400.
        failed = RequestFailed(status if status in (400, 408) or status >= 500 else 400, message)
        request_id = headers.request_id(headers.NO_HEADERS)
        return self._response(self._failures.of_request(failed, request_id), request_id)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        began = time.perf_counter()
        request_id = headers.request_id(request.headers)
        answer = Answer(499)
        try:
            answer = await self._respond(request, request_id)
        except (InvalidRequest, RequestFailed) as failure:
            answer = self._failures.of_request(failure, request_id)
        except Exception:  # noqa: BLE001 - whatever a defect raises, the client learns only its request id
            self._log.exception("defect", request_id=request_id)
            message = f"An internal error occurred; the operator finds its cause under {request_id}."
            answer = self._failures.of_request(RequestFailed(500, message), request_id)
        finally:
            self._log.info(
                "request",
                method=request.method,
                path=request.raw_path.partition("?")[0],
                status=answer.status,
                reason=answer.reason or None,
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
                client=request.remote,
            )
        return self._response(answer, request_id)

    def _response(self, answer: Answer, request_id: str) -> web.Response:
        response = web.Response(status=answer.status, body=answer.body or None, headers=answer.headers)
        response.headers[headers.REQUEST_ID] = request_id
        response.headers["Server"] = self._server_name
        if answer.headers.get("Connection") == "close":
            response.force_close()
        return response


class _Protocol(RequestHandler):
    """Answers what aiohttp refuses before there is a request: a line too long, a header that is none."""

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
