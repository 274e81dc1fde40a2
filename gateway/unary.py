"""The way of a request that has one answer: route → binding → upstream → JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
from aiohttp.web import BaseRequest
from google.protobuf.message import DecodeError, Message

from gateway import headers
from gateway.answers import Answer, Failures
from gateway.binding import Binding
from gateway.body import read_body
from gateway.errors import RequestFailed
from gateway.forwarded import PublicUrl
from gateway.json_map import JsonMap, Writer, dumps
from gateway.paging import Pager
from gateway.router import Match, MethodNotAllowed, Router
from gateway.schema import Method, Rule, Schema
from gateway.upstream import Upstream


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may take."""

    body_bytes: int
    body_seconds: float
    call_seconds: float
    depth: int
    """Of nested objects and lists in a body."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One rule, with everything that can be prepared for it."""

    method: Method
    rule: Rule
    binding: Binding
    write: Callable[[Message], object]
    pager: Pager | None


class Rest:
    """Answers requests by calling the server behind."""

    def __init__(
        self, schema: Schema, upstream: Upstream, failures: Failures, public_url: PublicUrl, limits: Limits
    ) -> None:
        """Compile every rule of ``schema``."""
        self._upstream = upstream
        self._failures = failures
        self._public_url = public_url
        self._limits = limits
        self._router: Router[Endpoint] = Router()
        json_map = JsonMap()
        for method in schema.methods:
            if method.server_streaming:
                continue
            for rule in method.bindings:
                self._router.add(rule.http_method, rule.template, _endpoint(method, rule, json_map, limits.depth))

    async def answer(self, request: BaseRequest, request_id: str) -> Answer:
        """Answer a request.

        Raises:
            InvalidRequest, RequestFailed: it cannot be carried out, for a reason found on this side.
        """
        path, _, query = _target(request).partition("?")
        match = self._match(request.method, path)
        if isinstance(match, Answer):
            return match
        endpoint = match.target
        headers.check_accepts_json(request.headers)
        if endpoint.binding.takes_body and request.body_exists:
            headers.check_is_json(request.headers)
        body = await read_body(request, self._limits.body_bytes, self._limits.body_seconds)
        message = endpoint.binding.bind(match.values, query, request.headers, body)
        metadata = [*headers.to_metadata(request.headers), (headers.REQUEST_ID.lower(), request_id)]
        seconds = headers.timeout(request.headers, self._limits.call_seconds)
        serialized = message.SerializeToString()
        reply = await self._upstream.call(endpoint.method.full_name, serialized, metadata, seconds)
        if reply.code is not grpc.StatusCode.OK:
            failed = self._failures.of_status(reply.code, reply.message, reply.details, request_id)
            passed_on = headers.from_metadata(reply.metadata)
            return Answer(failed.status, failed.body, {**failed.headers, **passed_on}, failed.reason)
        if endpoint.method.mapping.empty_body:
            return Answer(200)
        return Answer(
            200,
            self._json(endpoint, message, reply.response, request, f"{path}?{query}"),
            {"Content-Type": "application/json"},
        )

    def _match(self, http_method: str, path: str) -> Match[Endpoint] | Answer:
        match self._router.match(http_method, path):
            case Match() as match:
                return match
            case MethodNotAllowed(allow):
                allowed = ", ".join(sorted(allow))
                if http_method == "OPTIONS":
                    return Answer(200, headers={"Allow": allowed})
                raise RequestFailed(405, f"{http_method} is not allowed here; {allowed} are.", {"Allow": allowed})
            case _:
                raise RequestFailed(404, "There is nothing at this path.")

    def _json(self, endpoint: Endpoint, sent: Message, response: bytes, request: BaseRequest, target: str) -> bytes:
        try:
            message = endpoint.method.response_class.FromString(response)
            value = endpoint.write(message)
        except (DecodeError, ValueError) as error:
            # A read can be sent again without harm, and 502 says so; a change has been made already.
            status = 502 if endpoint.rule.http_method == "GET" else 500
            raise RequestFailed(status, "The server's answer cannot be read.") from error
        if endpoint.pager is not None and isinstance(value, dict):
            path, _, query = target.partition("?")
            endpoint.pager.add_link(value, sent, message, self._public_url.base(request) + path, query)
        return dumps(value)


def _endpoint(method: Method, rule: Rule, json_map: JsonMap, depth: int) -> Endpoint:
    writer: Writer
    if rule.response_body:
        writer = json_map.field_writer(method.response.fields_by_name[rule.response_body])
    else:
        writer = json_map.writer(method.response)
    pager = Pager(method.mapping.offset_paging) if method.mapping.HasField("offset_paging") else None
    return Endpoint(method, rule, Binding(method, rule, json_map, max_depth=depth), writer, pager)


def _target(request: BaseRequest) -> str:
    """Path and query as sent; of a target in absolute form what is behind the host."""
    target = request.raw_path
    if target.startswith("/"):
        return target
    _, scheme, rest = target.partition("://")
    return "/" + rest.partition("/")[2] if scheme else target
