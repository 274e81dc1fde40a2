"""Message → plain Python that a JSON library can dump: one closure for each field, made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.json_map.any import ANY, any_writer
from gateway.json_map.fields import has_utc_micros, map_entry, message_mapping, shown_fields
from gateway.json_map.free_form import free_form_writer
from gateway.json_map.numbers import is_positive_zero
from gateway.json_map.scalars import WRAPPERS, scalar_to_json
from gateway.json_map.well_known import text_form

WriteFrom = Callable[[Any], object]
"""The JSON of one value of a field: a message, or a scalar."""

_Step = Callable[[Message, dict[str, object]], None]
"""Adds the member of one field to the object that is being written, or leaves it out."""


class WriterCompiler:
    """Makes writers, and keeps those of whole messages so that recursive ones end."""

    def __init__(self) -> None:
        self._objects: dict[Descriptor, WriteFrom] = {}

    def message(self, descriptor: Descriptor, *, utc_micros: bool = False) -> WriteFrom:
        """A writer for a whole message; `utc_micros` where the one around it has its timestamps so."""
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
        return self._object(descriptor)

    def field(self, field: FieldDescriptor) -> WriteFrom:
        """A writer for one field of the message given: its JSON also where it has its default, null where unset."""
        step = self._step(field, always=True)

        def write(message: Message) -> object:
            members: dict[str, object] = {}
            step(message, members)
            return members[field.name]

        return write

    def _object(self, descriptor: Descriptor) -> WriteFrom:
        known = self._objects.get(descriptor)
        if known is not None:
            return known
        steps: list[_Step] = []
        write = _object_writer(steps)
        self._objects[descriptor] = write  # before the fields: one may be of this very type
        always = message_mapping(descriptor).absent_as_null
        steps.extend(self._step(field, always=always) for field in shown_fields(descriptor))
        return write

    def _step(self, field: FieldDescriptor, *, always: bool) -> _Step:
        entry = map_entry(field)
        if entry is not None:
            key_field, value_field = entry
            return _map_step(field.name, key_field, self._value(value_field, field), always=always)
        write = self._value(field, field)
        if field.is_repeated:
            return _repeated_step(field.name, write, always=always)
        if field.has_presence:
            return _presence_step(field.name, write, always=always)
        return _default_step(field, write, always=always)

    def _value(self, field: FieldDescriptor, owner: FieldDescriptor) -> WriteFrom | None:
        """How one value is written, None where it stays as it is; `owner` belongs to the message shown to clients."""
        if field.message_type is None:
            return scalar_to_json(field)
        return self.message(field.message_type, utc_micros=has_utc_micros(owner))


def _object_writer(steps: Sequence[_Step]) -> WriteFrom:
    def write(message: Message) -> dict[str, object]:
        members: dict[str, object] = {}
        for step in steps:
            step(message, members)
        return members

    return write


def _presence_step(name: str, write: WriteFrom | None, *, always: bool) -> _Step:
    def step(message: Message, members: dict[str, object]) -> None:
        if message.HasField(name):
            value = getattr(message, name)
            members[name] = value if write is None else write(value)
        elif always:
            members[name] = None

    return step


def _default_step(field: FieldDescriptor, write: WriteFrom | None, *, always: bool) -> _Step:
    name = field.name
    # -0.0 is false in Python, yet not the default.
    is_float = field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)

    def step(message: Message, members: dict[str, object]) -> None:
        value = getattr(message, name)
        if value or always or (is_float and not is_positive_zero(value)):
            members[name] = value if write is None else write(value)

    return step


def _repeated_step(name: str, write: WriteFrom | None, *, always: bool) -> _Step:
    def step(message: Message, members: dict[str, object]) -> None:
        values = getattr(message, name)
        if values or always:
            members[name] = list(values) if write is None else [write(value) for value in values]

    return step


def _map_step(name: str, key_field: FieldDescriptor, write: WriteFrom | None, *, always: bool) -> _Step:
    """Entries go by key: protobuf gives them in no order, and equal messages should have equal JSON."""
    write_key: Callable[[Any], str] = _bool_key if key_field.type == FieldDescriptor.TYPE_BOOL else str

    def step(message: Message, members: dict[str, object]) -> None:
        entries = getattr(message, name)
        if entries or always:
            members[name] = {
                write_key(key): entries[key] if write is None else write(entries[key]) for key in sorted(entries)
            }

    return step


def _bool_key(key: bool) -> str:
    return "true" if key else "false"


def _wrapper_writer(write: WriteFrom | None) -> WriteFrom:
    def write_wrapper(message: Any) -> object:  # noqa: ANN401 - made from a descriptor
        return message.value if write is None else write(message.value)

    return write_wrapper
