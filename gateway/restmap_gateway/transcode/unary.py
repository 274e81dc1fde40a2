"""Methods with one response: message → upstream → message → JSON."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.message import DecodeError

from programkit.tracing.rpc import outgoing
from restmap_gateway.crossing.outward import ResponseHeaders
from restmap_gateway.errors import RequestFailed
from restmap_gateway.json_map import dumps
from restmap_gateway.transcode.endpoint import UpstreamCall
from restmap_gateway.transcode.failures import Failures
from restmap_gateway.transcode.forwarded import Forwarded
from restmap_gateway.transcode.http_response import JSON, HttpResponse
from restmap_gateway.transcode.metadata import RequestIds
from restmap_gateway.upstream.upstream import Backend


class UnaryCalls:
    """Handles unary calls."""

    def __init__(
        self,
        upstream: Backend,
        failures: Failures,
        request_ids: RequestIds,
        forwarded: Forwarded,
        most_seconds: float,
        of_success: ResponseHeaders | None = None,
    ) -> None:
        """Create the handler.

        Args:
            upstream: makes the calls.
            failures: makes the responses for failures.
            request_ids: reads the request id of a reply.
            forwarded: knows the URL of this gateway.
            most_seconds: limit of every call.
            of_success: makes the headers of successful responses from metadata; None: there are none.
        """
        self._upstream = upstream
        self._failures = failures
        self._request_ids = request_ids
        self._forwarded = forwarded
        self._most_seconds = most_seconds
        self._of_success = of_success

    async def answer(self, call: UpstreamCall) -> HttpResponse:
        """Make the call and return its response.

        Raises:
            RequestFailed: the server cannot be called, or its response cannot be read.
        """
        method = call.endpoint.method
        seconds = self._most_seconds if call.seconds is None else min(call.seconds, self._most_seconds)
        request = method.request_class.SerializeToString(call.message)
        with outgoing(method.full_name) as sent:
            metadata = sent.passed_on(call.metadata)
            reply = await self._upstream.call(
                method.full_name, request, metadata, seconds, repeatable=call.is_repeatable
            )
            sent.code = reply.code.value[0], reply.code.name
        if reply.code is not grpc.StatusCode.OK:
            return self._failures.of_reply(reply, call.request_id, call.uncertainty)
        request_id = self._request_ids.of_server(reply.metadata, call.request_id)
        body, headers = self._content(call, reply.response)
        if method.mapping.empty_body:
            body, headers = b"", {}
        of_server = () if self._of_success is None else self._of_success.of(reply.metadata)
        return HttpResponse(200, body, headers, request_id=request_id, sent=of_server)

    def _content(self, call: UpstreamCall, response: bytes) -> tuple[bytes, Mapping[str, str]]:
        """Return the body for a response message, and its headers."""
        endpoint = call.endpoint
        try:
            message = endpoint.method.response_class.FromString(response)
            if endpoint.write_content is not None:
                content = endpoint.write_content(message)
                return content.data, content.headers
            value = call.write(message)
        except (DecodeError, ValueError) as error:
            # 502 tells clients that a retry is safe, which holds for a read; a change has been made already.
            status = 502 if endpoint.rule.http_method == "GET" else 500
            raise RequestFailed(status, "The server's answer cannot be read.") from error
        if endpoint.pager is not None and isinstance(value, dict):
            url = self._forwarded.base(call.request) + call.path
            endpoint.pager.add_link(value, call.message, message, url, call.query)
        return dumps(value), JSON
