"""JSON options of messages and fields, from their descriptors."""

from __future__ import annotations

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap.v1 import restmap_pb2


def message_mapping(descriptor: Descriptor) -> restmap_pb2.MessageMapping:
    """Return the REST options of a message; defaults if it has none."""
    return descriptor.GetOptions().Extensions[restmap_pb2.message]


def field_mapping(field: FieldDescriptor) -> restmap_pb2.FieldMapping:
    """Return the REST options of a field; defaults if it has none."""
    return field.GetOptions().Extensions[restmap_pb2.field]


def is_required(field: FieldDescriptor) -> bool:
    """Return whether clients must set a field, by ``google.api.field_behavior`` or as proto2 ``required``."""
    behavior = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.REQUIRED in behavior or bool(field.is_required)


def shown_fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    """Return the fields that REST shows, in the order of the .proto."""
    return tuple(field for field in descriptor.fields if not (field.has_options and field_mapping(field).grpc_only))


def has_utc_micros(field: FieldDescriptor) -> bool:
    """Return whether the message of `field` writes timestamps as UTC text without zone."""
    owner = field.containing_type
    return owner is not None and message_mapping(owner).time_format == restmap_pb2.TIME_FORMAT_UTC_MICROS


def map_entry(field: FieldDescriptor) -> tuple[FieldDescriptor, FieldDescriptor] | None:
    """Return the fields of key and value if `field` is a map, else None."""
    entry = field.message_type
    if entry is None or not entry.GetOptions().map_entry:
        return None
    return entry.fields_by_name["key"], entry.fields_by_name["value"]
