"""Checks whether a ``google.api.http`` rule fits the messages of its method."""

from __future__ import annotations

import re
from collections.abc import Iterator

from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from restmap.v1.restmap_pb2 import OffsetPaging
from restmap_gateway.json_map.fields import field_mapping, map_entry
from restmap_gateway.json_map.text_field import field_at
from restmap_gateway.schema.http_rule import Template
from restmap_gateway.schema.restmap_options import has_text_form, of_method, unknown_to_us

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_IN_ADDITIONAL = ("field additional_bindings.", "value additional_bindings.")
_INTEGERS = (
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
)
_EVENT_IDS = frozenset(
    getattr(FieldDescriptor, f"TYPE_{name}")
    for name in (
        *("STRING", "INT32", "INT64", "UINT32", "UINT64", "SINT32", "SINT64"),
        *("FIXED32", "FIXED64", "SFIXED32", "SFIXED64"),
    )
)
_FLAGS = (FieldDescriptor.CPPTYPE_BOOL, FieldDescriptor.CPPTYPE_STRING)


def pattern_of(http: HttpRule) -> tuple[str, str]:
    """Return HTTP method and path template of a rule as written; both empty if the rule has none."""
    kind = http.WhichOneof("pattern")
    if kind is None:
        return "", ""
    if kind == "custom":
        return http.custom.kind, http.custom.path
    return kind.upper(), getattr(http, kind)


def is_http_method(name: str) -> bool:
    """Return whether a request can have this HTTP method."""
    return _TOKEN.fullmatch(name) is not None


def annotation_problems(http: HttpRule, *, is_additional: bool) -> Iterator[str]:
    """Yield the errors in the form of a rule, independent of the method."""
    http_method, _ = pattern_of(http)
    if not is_http_method(http_method):
        yield f"{http_method!r} is not an HTTP method" if http_method else "the rule names no HTTP method and path"
    if is_additional and http.additional_bindings:
        yield "an additional binding must not have additional bindings"
    for place in unknown_to_us(http):
        if is_additional or not place.startswith(_IN_ADDITIONAL):
            yield f"the rule has {place}, which this gateway does not know"


def method_problems(method: MethodDescriptor) -> Iterator[str]:
    """Yield the errors of an annotated method, independent of its rules."""
    mapping = of_method(method)
    if method.client_streaming:
        yield "its client streams, which HTTP cannot call"
    if mapping.HasField("offset_paging"):
        if mapping.empty_body or method.server_streaming:
            yield "offset_paging needs one answer with a body"
        yield from _paging_problems(method.input_type, method.output_type, mapping.offset_paging)
    if mapping.event_id_field:
        yield from _event_id_problems(method, mapping.event_id_field)


def rule_problems(method: MethodDescriptor, template: Template, body: str, response_body: str) -> Iterator[str]:
    """Yield the errors in a rule of a method."""
    mapping = of_method(method)
    yield from _variable_problems(method.input_type, template)
    yield from _body_problems(method.input_type, template, body)
    yield from _response_body_problems(method.output_type, response_body)
    if mapping.HasField("offset_paging"):
        yield from _paged_rule_problems(mapping.offset_paging, template, body, response_body)


def _variable_problems(request: Descriptor, template: Template) -> Iterator[str]:
    """Yield the errors in a template's variables: each must be one value that REST may set."""
    oneofs: dict[str, str] = {}
    for variable in template.variables:
        problem = _path_problem(request, variable.field_path)
        if problem:
            yield f"template variable {variable.name!r}: {problem}"
            continue
        for depth, field in enumerate(field_at(request, variable.field_path)):
            if field.containing_oneof is not None:
                place = ".".join((*variable.field_path[:depth], field.containing_oneof.name))
                other = oneofs.setdefault(place, ".".join(variable.field_path[: depth + 1]))
                if other != ".".join(variable.field_path[: depth + 1]):
                    yield f"template variable {variable.name!r}: it is of the same oneof as {other!r}"


def _body_problems(request: Descriptor, template: Template, body: str) -> Iterator[str]:
    """Yield the errors in the body of a rule: it must be empty, ``*``, or a top-level field not bound by the path."""
    if body in ("", "*"):
        return
    field = request.fields_by_name.get(body)
    if field is None:
        yield f"body {body!r} is no field of {request.full_name}"
    elif field_mapping(field).grpc_only:
        yield f"body {body!r} is grpc_only"
    elif any(variable.field_path == (body,) for variable in template.variables):
        yield f"body {body!r} is bound by the path too"


def _response_body_problems(response: Descriptor, response_body: str) -> Iterator[str]:
    """Yield the errors in the response body of a rule: it must be empty or a top-level field."""
    if not response_body:
        return
    field = response.fields_by_name.get(response_body)
    if field is None:
        yield f"response_body {response_body!r} is no field of {response.full_name}"
    elif field_mapping(field).grpc_only:
        yield f"response_body {response_body!r} is grpc_only"


def _event_id_problems(method: MethodDescriptor, name: str) -> Iterator[str]:
    field = method.output_type.fields_by_name.get(name)
    if not method.server_streaming:
        yield "event_id_field is for methods that answer with a stream"
    elif field is None:
        yield f"event_id_field {name!r} is no field of {method.output_type.full_name}"
    elif field.is_repeated or field.type not in _EVENT_IDS:
        yield f"event_id_field {name!r} must be a string or an integer, not repeated"


def _paging_problems(request: Descriptor, response: Descriptor, paging: OffsetPaging) -> Iterator[str]:
    yield from _role_problem(request, "limit_field", paging.limit_field, "an integer", _INTEGERS)
    yield from _role_problem(request, "offset_field", paging.offset_field, "an integer", _INTEGERS)
    yield from _role_problem(response, "more_field", paging.more_field, "a bool or a string", _FLAGS)
    items = response.fields_by_name.get(paging.items_field)
    if items is None:
        yield f"offset_paging.items_field {paging.items_field!r} is no field of {response.full_name}"
    elif not items.is_repeated or map_entry(items):
        yield f"offset_paging.items_field {paging.items_field!r} must be repeated"
    if not paging.links_member:
        yield "offset_paging.links_member is empty"
    for field in response.fields:
        if paging.links_member in (field.name, field.json_name):
            yield f"offset_paging.links_member {paging.links_member!r} is the name of the field {field.full_name}"


def _paged_rule_problems(paging: OffsetPaging, template: Template, body: str, response_body: str) -> Iterator[str]:
    """Yield the reasons against paging a rule: limit and offset must be in the query, the links beside the items."""
    bound = {variable.name for variable in template.variables}
    for name in (paging.limit_field, paging.offset_field):
        if name in bound or body in ("*", name):
            yield f"offset_paging needs {name!r} in the query, but it is bound by the path or the body"
    if response_body:
        yield "offset_paging cannot add links to a response_body"


def _path_problem(request: Descriptor, path: tuple[str, ...]) -> str:
    """Return why a field path cannot be in a path; empty if it can."""
    message = request
    for depth, name in enumerate(path):
        field = message.fields_by_name.get(name)
        if field is None:
            return f"{message.full_name} has no field {name!r}"
        if field_mapping(field).grpc_only:
            return f"the field {field.full_name} is grpc_only"
        if field.is_repeated:
            return f"the field {field.full_name} is {'a map' if map_entry(field) else 'repeated'}"
        is_leaf = depth == len(path) - 1
        if is_leaf != has_text_form(field):
            return f"the field {field.full_name} is {'a message' if is_leaf else 'no message with fields of its own'}"
        message = field.message_type if field.message_type is not None else message
    return ""


def _role_problem(
    message: Descriptor, role: str, name: str, expected: str, cpp_types: tuple[int, ...]
) -> Iterator[str]:
    field = message.fields_by_name.get(name)
    if field is None:
        yield f"offset_paging.{role} {name!r} is no field of {message.full_name}"
    elif field.is_repeated or field.cpp_type not in cpp_types or field.type == FieldDescriptor.TYPE_BYTES:
        yield f"offset_paging.{role} {name!r} must be {expected}, not repeated"
