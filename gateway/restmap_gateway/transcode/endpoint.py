"""What is prepared once for each rule, and a request that has found its rule."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp.web import BaseRequest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.json_map import JsonMap, Writer
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.json_map.reader import UnknownMember
from restmap_gateway.schema.router import Router
from restmap_gateway.schema.schema import Method, Rule, Schema
from restmap_gateway.transcode.binding import Binding
from restmap_gateway.transcode.paging import Pager
from restmap_gateway.upstream.reply import Metadata


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One rule, with everything that can be prepared for it."""

    method: Method
    rule: Rule
    binding: Binding
    write: Writer
    """Makes what JSON shows of a response message."""
    pager: Pager | None
    is_safe: bool
    """Whether the method changes nothing, or nothing more when it is called again."""
    key_field: FieldDescriptor | None
    """The field that makes any call repeatable when it is set."""


@dataclass(frozen=True, slots=True)
class UpstreamCall:
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

    @property
    def is_repeatable(self) -> bool:
        """Whether the call may be made again when nobody knows if it was carried out."""
        endpoint = self.endpoint
        return endpoint.is_safe or self._has_key

    @property
    def uncertainty(self) -> str:
        """What to say of a call that may have been carried out; empty where that makes no difference."""
        key = self.endpoint.key_field
        if self.endpoint.is_safe:
            return ""
        said = "It is not known whether the request was carried out: its changes may be stored."
        header = field_mapping(key).header if key is not None else ""
        if not header:
            return f"{said} Look before you send it again."
        if self._has_key:
            return f"{said} Send it again with the same {header} to make sure."
        return f"{said} Look before you send it again; with the header {header} it could be sent again safely."

    @property
    def _has_key(self) -> bool:
        key = self.endpoint.key_field
        return key is not None and self.message.HasField(key.name)


def compile_routes(schema: Schema, depth: int, values: int, on_unknown: UnknownMember | None) -> Router[Endpoint]:
    """Prepare every rule of a schema.

    Args:
        schema: what to serve.
        depth: of nested objects and lists in a body.
        values: members of objects and elements of lists in a body, all together.
        on_unknown: told of members and parameters that no field has; None: they are refused.
    """
    router: Router[Endpoint] = Router()
    json_map = JsonMap()
    for method in schema.methods:
        for rule in method.bindings:
            binding = Binding(method, rule, json_map, max_depth=depth, max_values=values, on_unknown=on_unknown)
            endpoint = Endpoint(
                method,
                rule,
                binding,
                write=_writer(method, rule, json_map),
                pager=_pager(method),
                is_safe=method.is_idempotent or rule.http_method == "GET",
                key_field=next(filter(_is_key, method.request.fields), None),
            )
            router.add(rule.http_method, rule.template, endpoint)
    return router


def _writer(method: Method, rule: Rule, json_map: JsonMap) -> Writer:
    if rule.response_body:
        return json_map.field_writer(method.response.fields_by_name[rule.response_body])
    return json_map.writer(method.response)


def _is_key(field: FieldDescriptor) -> bool:
    return field.has_presence and field_mapping(field).makes_repeatable


def _pager(method: Method) -> Pager | None:
    return Pager(method.mapping.offset_paging) if method.mapping.HasField("offset_paging") else None
