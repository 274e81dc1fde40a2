"""Reads the ``restmap`` options of a descriptor set and validates them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, cast

from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    EnumValueDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from restmap.v1 import restmap_pb2
from restmap_gateway.json_map.fields import field_mapping, message_mapping, shown_fields
from restmap_gateway.json_map.scalars import text_parser
from restmap_gateway.schema.constraint_check import constraint_problems, example_problems
from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem

_Optioned: TypeAlias = (
    FileDescriptor | Descriptor | FieldDescriptor | EnumDescriptor | EnumValueDescriptor | MethodDescriptor
)
_Grpc = restmap_pb2.GrpcStatus
_CLIENTS_FAULT = frozenset(
    {
        *(_Grpc.INVALID_ARGUMENT, _Grpc.NOT_FOUND, _Grpc.ALREADY_EXISTS, _Grpc.PERMISSION_DENIED),
        *(_Grpc.UNAUTHENTICATED, _Grpc.FAILED_PRECONDITION, _Grpc.OUT_OF_RANGE),
    }
)
_SERVERS_FAULT = frozenset({_Grpc.INTERNAL, _Grpc.DATA_LOSS, _Grpc.UNAVAILABLE})
"""The gRPC codes that mean a failure of the server; other codes than these and those above fit both sides."""
HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
"""Matches the name of a header."""


def of_file(file: FileDescriptor) -> restmap_pb2.FileMapping:
    """Return the REST options of a file; defaults if it has none."""
    return cast("restmap_pb2.FileMapping", _option(file, restmap_pb2.file))


def of_method(method: MethodDescriptor) -> restmap_pb2.MethodMapping:
    """Return the REST options of a method; defaults if it has none."""
    return cast("restmap_pb2.MethodMapping", _option(method, restmap_pb2.method))


def of_reason(value: EnumValueDescriptor) -> restmap_pb2.ReasonMapping:
    """Return the REST options of a reason; defaults if it has none."""
    return cast("restmap_pb2.ReasonMapping", _option(value, restmap_pb2.reason))


def names_in_json(field: FieldDescriptor) -> tuple[str, ...]:
    """Return the JSON names of a field, the original one first; none for ``grpc_only``."""
    if field_mapping(field).grpc_only:
        return ()
    message = field.containing_type
    if field.json_name == field.name or (message is not None and message_mapping(message).original_names_only):
        return (field.name,)
    return (field.name, field.json_name)


def fields_by_json_name(message: Descriptor) -> dict[str, FieldDescriptor]:
    """Return the fields that REST shows, by each of their JSON names; original names take precedence."""
    fields = shown_fields(message)
    by_other_name = {name: field for field in fields for name in names_in_json(field)}
    return by_other_name | {field.name: field for field in fields}


def has_text_form(field: FieldDescriptor) -> bool:
    """Return whether one value of this field has a text form, so that path, query and headers can carry it.

    True for scalars, enums, bytes, and the well-known messages whose JSON form is a scalar.
    """
    try:
        text_parser(field)
    except TypeError:
        return False
    return True


def option_problems(descriptors: DescriptorSet) -> Iterator[Problem]:
    """Yield every error in the options of files, messages, fields and enum values."""
    for file in descriptors.files:
        yield from _newer_options(file, restmap_pb2.file, file.name)
        for enum in file.enum_types_by_name.values():
            yield from _enum_problems(enum)
        for service in file.services_by_name.values():
            for method in service.methods:
                yield from _newer_options(method, restmap_pb2.method, file.name, method.full_name)
    for message in descriptors.messages():
        yield from _message_problems(message)


def _message_problems(message: Descriptor) -> Iterator[Problem]:
    yield from _newer_options(message, restmap_pb2.message, message.file.name, message.full_name)
    yield from (Problem(text, message.file.name, message.full_name) for text in example_problems(message))
    for enum in message.enum_types:
        yield from _enum_problems(enum)
    for field in message.fields:
        if not field.GetOptions().HasExtension(restmap_pb2.field):
            continue
        yield from _newer_options(field, restmap_pb2.field, message.file.name, field.full_name)
        found = (*_alias_problems(message, field), *_header_problems(message, field), *constraint_problems(field))
        for description in found:
            yield Problem(description, message.file.name, field.full_name)


def _enum_problems(enum: EnumDescriptor) -> Iterator[Problem]:
    for value in enum.values:
        if not value.GetOptions().HasExtension(restmap_pb2.reason):
            continue
        element = f"{enum.full_name}.{value.name}"
        yield from _newer_options(value, restmap_pb2.reason, enum.file.name, element)
        for description in _status_problems(of_reason(value)):
            yield Problem(description, enum.file.name, element)


def _status_problems(reason: restmap_pb2.ReasonMapping) -> Iterator[str]:
    status, code = reason.http_status, reason.grpc_code
    if status and not 400 <= status <= 599:
        yield f"http_status {status} is not that of a failure, expected 400 to 599"
    elif status and code in (_CLIENTS_FAULT if status >= 500 else _SERVERS_FAULT):
        yield f"http_status {status} does not fit grpc_code {_Grpc.Code.Name(code)}"


def _alias_problems(message: Descriptor, field: FieldDescriptor) -> Iterator[str]:
    aliases = field_mapping(field).query_aliases
    if aliases and field_mapping(field).grpc_only:
        yield "has query aliases, but is grpc_only"
    for index, alias in enumerate(aliases):
        if not alias or "." in alias:
            yield f"the query alias {alias!r} must be a name without dots"
        if alias in aliases[:index]:
            yield f"the query alias {alias!r} is there twice"
        for other in message.fields:
            if alias in (other.name, other.json_name):
                yield f"the query alias {alias!r} is the name of the field {other.name!r}"
            elif other.index < field.index and alias in field_mapping(other).query_aliases:
                yield f"the query alias {alias!r} is an alias of the field {other.name!r} too"


def _header_problems(message: Descriptor, field: FieldDescriptor) -> Iterator[str]:
    header = field_mapping(field).header
    if not header:
        if field_mapping(field).header_wins:
            yield "header_wins is set, but no header"
        return
    if not HEADER_NAME.fullmatch(header):
        yield f"{header!r} is not the name of a header"
    if field.is_repeated or not has_text_form(field):
        yield f"the header {header!r} cannot carry it: it is repeated or a message"
    for other in message.fields[: field.index]:
        if field_mapping(other).header.lower() == header.lower():
            yield f"the header {header!r} carries the field {other.name!r} already"


def _newer_options(
    descriptor: _Optioned, extension: FieldDescriptor, file: str, element: str = ""
) -> Iterator[Problem]:
    """Yield the parts of an option that this gateway does not know; ignoring them would serve a different API."""
    for place in unknown_to_us(_option(descriptor, extension)):
        text = f"the option {extension.full_name} has {place}, unknown to this gateway; is it of a newer restmap.proto?"
        yield Problem(text, file, element)


def _option(descriptor: _Optioned, extension: FieldDescriptor) -> Message:
    # Options in a private pool are still read with the types of the default pool, which has the restmap extensions. The
    # type of an extension's handle depends on the stub generator.
    extensions: Any = descriptor.GetOptions().Extensions
    return cast("Message", extensions[extension])


def unknown_to_us(message: Message, path: str = "") -> Iterator[str]:
    """Yield a description of each field and enum value in a message that the type built in here lacks."""
    for unknown in cast("Iterable[Any]", UnknownFieldSet(message)):
        yield f"field {path}{unknown.field_number}"
    for field, value in message.ListFields():
        values: Iterable[Message | int] = value if field.is_repeated else [value]
        for one in values:
            if isinstance(one, Message):
                yield from unknown_to_us(one, f"{path}{field.name}.")
            elif field.enum_type is not None and one not in field.enum_type.values_by_number:
                yield f"value {one} of {path}{field.name}"
