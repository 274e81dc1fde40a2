"""Data prepared once for each rule, and a request that has matched a rule."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from aiohttp.web import BaseRequest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.crossing.system_parameters import SystemQuery
from restmap_gateway.json_map import JsonMap, Writer
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.json_map.line_form import PLAIN, LineForm, line_form
from restmap_gateway.json_map.reader import UnknownMember
from restmap_gateway.json_map.well_known.http_body import WriteContent, content_writer
from restmap_gateway.schema.router import RouteConflict, Router
from restmap_gateway.schema.schema import Method, Rule, Schema, Unserved
from restmap_gateway.transcode.binding import Binding
from restmap_gateway.transcode.paging import Pager
from restmap_gateway.upstream.reply import Metadata


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One rule with all its prepared parts."""

    method: Method
    rule: Rule
    binding: Binding
    write: Writer
    """Converts a response message to JSON values."""
    write_numbers: Writer
    """Like `write`, with enums as numbers."""
    write_content: WriteContent | None
    """Returns the content of a response message that is not JSON; None if it is JSON."""
    system: SystemQuery | None
    """Separates system parameters from a query; None: there are none."""
    pager: Pager | None
    is_safe: bool
    """Whether the method changes nothing, or nothing more when called again."""
    key_field: FieldDescriptor | None
    """Field that makes any call repeatable if it is set, such as an idempotency key."""
    lines: LineForm = PLAIN
    """Form of the lines of a stream."""


@dataclass(frozen=True, slots=True)
class UpstreamCall:
    """A request that is ready to be sent to the server."""

    endpoint: Endpoint
    request: BaseRequest
    request_id: str
    path: str
    """Path as sent, without the query."""
    query: str
    """Query as sent."""
    message: Message
    metadata: Metadata
    seconds: float | None
    """Seconds until the deadline; None: the client set none."""
    enums_as_numbers: bool = False
    """Whether the client wants enums as numbers in the response."""

    @property
    def write(self) -> Writer:
        """Return the function that converts a response message to JSON values."""
        return self.endpoint.write_numbers if self.enums_as_numbers else self.endpoint.write

    @property
    def is_repeatable(self) -> bool:
        """Return whether the call may be retried when it is unknown if it was carried out."""
        endpoint = self.endpoint
        return endpoint.is_safe or self._has_key

    @property
    def uncertainty(self) -> str:
        """Return the message for a call that may have been carried out; empty if that makes no difference."""
        key = self.endpoint.key_field
        if self.endpoint.is_safe:
            return ""
        text = "It is not known whether the request was carried out: its changes may be stored."
        header = field_mapping(key).header if key is not None else ""
        if not header:
            return f"{text} Look before you send it again."
        if self._has_key:
            return f"{text} Send it again with the same {header} to make sure."
        return f"{text} Look before you send it again; with the header {header} it could be sent again safely."

    @property
    def _has_key(self) -> bool:
        key = self.endpoint.key_field
        return key is not None and type(self.message).HasField(self.message, key.name)


def compile_routes(
    schema: Schema, depth: int, values: int, on_unknown: UnknownMember | None
) -> Router[Endpoint | Unserved]:
    """Prepare every rule of a schema, and add the paths of those that cannot be served.

    Args:
        schema: API to serve.
        depth: maximum levels of nested objects and arrays in a body.
        values: maximum total of object members and array elements in a body.
        on_unknown: callback for unknown members and parameters; None: they are errors.
    """
    router: Router[Endpoint | Unserved] = Router()
    json_map, numbers = JsonMap(), JsonMap(enums_as_numbers=True)
    parameters = schema.conventions.system_parameters
    for method in schema.methods:
        for rule in method.bindings:
            binding = Binding(method, rule, json_map, max_depth=depth, max_values=values, on_unknown=on_unknown)
            endpoint = Endpoint(
                method,
                rule,
                binding,
                write=_writer(method, rule, json_map),
                write_numbers=_when_needed(partial(_writer, method, rule, numbers)),
                write_content=None
                if method.mapping.empty_body
                else content_writer(method.response, rule.response_body),
                system=SystemQuery(parameters, binding.query_names) if parameters.names else None,
                pager=_pager(method),
                is_safe=method.is_idempotent or rule.http_method == "GET",
                key_field=next(filter(_is_key, method.request.fields), None),
                lines=line_form(method.response, _response_field(method, rule)),
            )
            router.add(rule.http_method, rule.template, endpoint)
    for one in schema.unserved:
        if one.template is not None:
            with suppress(RouteConflict):  # a rule that is served has the same paths
                router.add(one.http_method, one.template, one)
    return router


def _writer(method: Method, rule: Rule, json_map: JsonMap) -> Writer:
    field = _response_field(method, rule)
    return json_map.writer(method.response) if field is None else json_map.field_writer(field)


def _response_field(method: Method, rule: Rule) -> FieldDescriptor | None:
    """Return the field that is the body of a response; None: it is the whole message."""
    return method.response.fields_by_name[rule.response_body] if rule.response_body else None


def _when_needed(compiled: Callable[[], Writer]) -> Writer:
    """Return a writer that is compiled for each message: few clients want it, and its parts are cached."""
    return lambda message: compiled()(message)


def _is_key(field: FieldDescriptor) -> bool:
    return field.has_presence and field_mapping(field).makes_repeatable


def _pager(method: Method) -> Pager | None:
    return Pager(method.mapping.offset_paging) if method.mapping.HasField("offset_paging") else None
