"""Any: the JSON of the message inside, beside the name of its type."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from restmap_gateway.json_map.field_readers import ReadInto
from restmap_gateway.json_map.refusal import Refused, member, quote, unexpected
from restmap_gateway.json_map.scalars import WRAPPERS, string_from_json
from restmap_gateway.json_map.well_known.free_form import free_form_reader
from restmap_gateway.json_map.well_known.text_forms import text_form

ANY = "google.protobuf.Any"

_EMPTY = "google.protobuf.Empty"
_TYPE = "@type"
_VALUE = "value"

# Message classes made from descriptors have attributes that are unknown to mypy, hence Any.
WriteAny = Callable[[Any], object]


def any_reader(pool: DescriptorPool, reader_of: Callable[[Descriptor], ReadInto]) -> ReadInto:
    """Return a reader that fills an Any from an object with ``@type``, for every type of the pool.

    A message with a special JSON form is read from the member ``value``; the members of any other message are beside
    ``@type``.
    """

    def read(value: object, message: Any) -> None:  # noqa: ANN401
        if type(value) is not dict:
            raise unexpected("an object", value)
        if not value:
            return
        descriptor = _type_of(value, pool)
        inner_class = GetMessageClass(descriptor)
        inner = inner_class()
        members = {name: item for name, item in value.items() if name != _TYPE}
        if descriptor.full_name == _EMPTY and members == {_VALUE: {}}:
            members = {}  # protobuf for Go writes this value
        if _has_json_of_its_own(descriptor.full_name):
            _read_value(members, inner, reader_of(descriptor))
        else:
            reader_of(descriptor)(members, inner)
        message.type_url = value[_TYPE]
        message.value = inner_class.SerializePartialToString(inner, deterministic=True)

    return read


def any_writer(pool: DescriptorPool, writer_of: Callable[[Descriptor], WriteAny]) -> WriteAny:
    """Return a writer of the JSON of an Any; a type that is not in the pool is written as its bytes in base64.

    The writer raises DecodeError if the bytes are not of the type.
    """

    def write(message: Any) -> object:  # noqa: ANN401
        if not message.type_url:
            return {}
        try:
            descriptor = pool.FindMessageTypeByName(message.type_url.rpartition("/")[2])
        except KeyError:
            return {_TYPE: message.type_url, _VALUE: base64.b64encode(message.value).decode("ascii")}
        written = writer_of(descriptor)(GetMessageClass(descriptor).FromString(message.value))
        if isinstance(written, dict) and not _has_json_of_its_own(descriptor.full_name):
            return {_TYPE: message.type_url, **written}
        return {_TYPE: message.type_url, _VALUE: written}

    return write


def _type_of(members: dict[str, object], pool: DescriptorPool) -> Descriptor:
    try:
        if _TYPE not in members:
            raise Refused("is missing, expected the type of the message, such as type.googleapis.com/package.Message")
        prefix, slash, name = string_from_json(members[_TYPE]).rpartition("/")
        if not (prefix and slash):
            raise Refused(f"expected a type such as type.googleapis.com/package.Message, got {quote(name)}")
        return pool.FindMessageTypeByName(name)
    except KeyError:
        raise Refused(f"there is no message type {quote(name)} here").within(member(_TYPE)) from None
    except Refused as refused:
        refused.within(member(_TYPE))
        raise


def _read_value(members: dict[str, object], inner: Message, read: ReadInto) -> None:
    for name in members:
        if name != _VALUE:
            raise Refused("is not known here").within(member(name))
    try:
        if _VALUE not in members:
            raise Refused("is missing")
        read(members[_VALUE], inner)
    except Refused as refused:
        refused.within(member(_VALUE))
        raise


def _has_json_of_its_own(full_name: str) -> bool:
    if full_name == ANY or full_name in WRAPPERS:
        return True
    return text_form(full_name, utc_micros=False) is not None or free_form_reader(full_name) is not None
