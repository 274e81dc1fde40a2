"""Message → Python values for a JSON library: one table of members for each message type, made once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.json_map.enums import NULL_VALUE
from restmap_gateway.json_map.fields import has_utc_micros, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.object_form import ObjectForm, WriteFrom, list_writer
from restmap_gateway.json_map.scalars import WRAPPERS, scalar_to_json
from restmap_gateway.json_map.well_known.any import ANY, any_writer
from restmap_gateway.json_map.well_known.free_form import free_form_writer
from restmap_gateway.json_map.well_known.text_forms import text_form


class WriterCompiler:
    """Makes writers; caches those of whole messages, so that recursive types end."""

    def __init__(self, *, enums_as_numbers: bool = False) -> None:
        """Create the compiler; ``enums_as_numbers``: write the numbers of enums in the place of names."""
        self._enums_as_numbers = enums_as_numbers
        self._objects: dict[Descriptor, tuple[ObjectForm, WriteFrom]] = {}

    def message(self, descriptor: Descriptor, *, utc_micros: bool = False) -> WriteFrom:
        """Return a writer for a whole message; `utc_micros`: its timestamps are UTC text without zone."""
        form = text_form(descriptor.full_name, utc_micros=utc_micros)
        if form is not None:
            return form.write
        free = free_form_writer(descriptor.full_name)
        if free is not None:
            return free
        if descriptor.full_name == ANY:
            return any_writer(descriptor.file.pool, self.message)
        if descriptor.full_name in WRAPPERS:
            return _wrapper_writer(scalar_to_json(descriptor.fields_by_name["value"]))
        return self._object(descriptor)[1]

    def field(self, field: FieldDescriptor) -> WriteFrom:
        """Return a writer for one field of a message: it writes default values too, and null for an unset field."""
        write = self._whole(field)

        def write_field(message: Message) -> object:
            given = next((value for other, value in type(message).ListFields(message) if other == field), None)
            if given is None:
                return self._absent(field)
            return given if write is None else write(given)

        return write_field

    def _object(self, descriptor: Descriptor) -> tuple[ObjectForm, WriteFrom]:
        """Return the form of messages that are objects, and its writer."""
        known = self._objects.get(descriptor)
        if known is not None:
            return known
        fields = shown_fields(descriptor)
        members: dict[FieldDescriptor, tuple[str, WriteFrom | None]] = {}
        always = message_mapping(descriptor).absent_as_null
        # ListFields sorts by number. If all members are always present, `absent` sets the order.
        absent = {field.name: self._absent(field) for field in fields} if always else {}
        is_sorted = [field.number for field in fields] == sorted(field.number for field in fields)
        order = () if always or is_sorted else tuple(field.name for field in fields)
        form = ObjectForm(members, absent, order, tuple(filter(_is_large, fields)))
        made = self._objects[descriptor] = form, form.writer()  # before the fields: a field may have this type
        members.update({field: (field.name, self._whole(field)) for field in fields})
        return made

    def _whole(self, field: FieldDescriptor) -> WriteFrom | None:
        """Return a writer for the whole value of a field; None if the value stays unchanged."""
        entry = map_entry(field)
        if entry is not None:
            key_field, value_field = entry
            return _map_writer(key_field, self._value(value_field, field))
        write = self._value(field, field)
        if not field.is_repeated:
            return write
        if field.message_type in self._objects:
            return self._objects[field.message_type][0].list_writer()
        return list if write is None else list_writer(write)

    def _value(self, field: FieldDescriptor, owner: FieldDescriptor) -> WriteFrom | None:
        """Return a writer for one value, None if it stays unchanged; `owner` is the field shown to clients."""
        if field.message_type is None:
            return self._scalar(field)
        return self.message(field.message_type, utc_micros=has_utc_micros(owner))

    def _scalar(self, field: FieldDescriptor) -> WriteFrom | None:
        if self._enums_as_numbers and field.enum_type is not None and field.enum_type.full_name != NULL_VALUE:
            return None
        return scalar_to_json(field)

    def _absent(self, field: FieldDescriptor) -> object:
        """Return the JSON of an unset field."""
        if field.is_repeated:
            return [] if map_entry(field) is None else {}
        if field.has_presence:
            return None
        write = self._scalar(field)
        return field.default_value if write is None else write(field.default_value)


def _is_large(field: FieldDescriptor) -> bool:
    """Return whether a field is one message whose conversion takes longer than a search for an equal one."""
    inner = field.message_type
    if inner is None or field.is_repeated or inner.full_name in WRAPPERS:
        return False
    return text_form(inner.full_name, utc_micros=False) is None


def _map_writer(key_field: FieldDescriptor, write: WriteFrom | None) -> WriteFrom:
    """Return a writer that sorts entries by key: protobuf has no order, but equal messages should have equal JSON."""
    write_key: Callable[[Any], str] = _bool_key if key_field.type == FieldDescriptor.TYPE_BOOL else str

    def write_map(entries: Any) -> dict[str, object]:  # noqa: ANN401 - made from a descriptor
        return {write_key(key): entries[key] if write is None else write(entries[key]) for key in sorted(entries)}

    return write_map


def _bool_key(key: bool) -> str:
    return "true" if key else "false"


def _wrapper_writer(write: WriteFrom | None) -> WriteFrom:
    def write_wrapper(message: Any) -> object:  # noqa: ANN401 - made from a descriptor
        return message.value if write is None else write(message.value)

    return write_wrapper
