"""What is prepared once for each rule, and a request that has found its rule."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.web import BaseRequest
from google.protobuf.message import Message

from gateway.binding import Binding
from gateway.json_map import JsonMap, Writer
from gateway.json_reader import UnknownMember
from gateway.paging import Pager
from gateway.router import Router
from gateway.schema import Method, Rule, Schema
from gateway.upstream import Metadata


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One rule, with everything that can be prepared for it."""

    method: Method
    rule: Rule
    binding: Binding
    write: Writer
    """Makes what JSON shows of a response message."""
    pager: Pager | None


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is ready to be sent on."""

    endpoint: Endpoint
    request: BaseRequest
    request_id: str
    path: str
    """As sent, without the query."""
    query: str
    """As sent."""
    message: Message
    metadata: Metadata
    seconds: float | None
    """Until the deadline; None: the client did not say."""


def compile_routes(schema: Schema, depth: int, on_unknown: UnknownMember | None) -> Router[Endpoint]:
    """Prepare every rule of a schema.

    Args:
        schema: what to serve.
        depth: of nested objects and lists in a body.
        on_unknown: told of members and parameters that no field has; None: they are refused.
    """
    router: Router[Endpoint] = Router()
    json_map = JsonMap()
    for method in schema.methods:
        for rule in method.bindings:
            binding = Binding(method, rule, json_map, max_depth=depth, on_unknown=on_unknown)
            endpoint = Endpoint(method, rule, binding, _writer(method, rule, json_map), _pager(method))
            router.add(rule.http_method, rule.template, endpoint)
    return router


def _writer(method: Method, rule: Rule, json_map: JsonMap) -> Writer:
    if rule.response_body:
        return json_map.field_writer(method.response.fields_by_name[rule.response_body])
    return json_map.writer(method.response)


def _pager(method: Method) -> Pager | None:
    return Pager(method.mapping.offset_paging) if method.mapping.HasField("offset_paging") else None
