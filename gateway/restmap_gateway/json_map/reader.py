"""Parsed JSON → message: one reader for each message type, compiled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap_gateway.json_map.field_readers import (
    Member,
    ReadInto,
    alone_in_its_oneof,
    at_most,
    map_of_messages,
    map_of_scalars,
    message_field,
    never_absent,
    object_reader,
    only_as_bound,
    refuse_bound,
    refuse_unknown,
    repeated_messages,
    repeated_scalars,
    scalar_field,
    text_reader,
    wrapper_reader,
)
from restmap_gateway.json_map.fields import field_mapping, has_utc_micros, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.scalars import WRAPPERS, scalar_from_json, scalar_from_text
from restmap_gateway.json_map.well_known.any import ANY, any_reader
from restmap_gateway.json_map.well_known.free_form import free_form_reader
from restmap_gateway.json_map.well_known.text_forms import text_form

UnknownMember = Callable[[str, str], None]
"""Callback for an ignored member: full name of the message, name of the member."""


class ReaderCompiler:
    """Makes readers; caches those of whole messages, so that recursive types end."""

    def __init__(self, on_unknown: UnknownMember | None = None) -> None:
        """Refuse unknown members, or ignore them and call `on_unknown` if it is set."""
        self._on_unknown = on_unknown
        self._objects: dict[tuple[Descriptor, frozenset[str], bool], ReadInto] = {}

    def message(
        self,
        descriptor: Descriptor,
        excluded: frozenset[str] = frozenset(),
        *,
        utc_micros: bool = False,
        is_inner: bool = False,
    ) -> ReadInto:
        """Return a reader for a whole message; `utc_micros`: its timestamps are UTC text without zone.

        `excluded` holds fields that are bound elsewhere, including nested ones (``order.number``). They are refused; if
        the message `is_inner`, a field of the request, they are refused only if the value differs from the bound one.
        """
        form = text_form(descriptor.full_name, utc_micros=utc_micros)
        if form is not None:
            return text_reader(form)
        free = free_form_reader(descriptor.full_name)
        if free is not None:
            return free
        if descriptor.full_name == ANY:
            return any_reader(descriptor.file.pool, self.message)
        if descriptor.full_name in WRAPPERS:
            return wrapper_reader(scalar_from_json(descriptor.fields_by_name["value"]))
        return self._object(descriptor, excluded, is_inner=is_inner)

    def field(self, field: FieldDescriptor, excluded: frozenset[str] = frozenset()) -> ReadInto:
        """Return a reader for one field: it takes the value of the member and the message with the field."""
        most, entry = field_mapping(field).max_items, map_entry(field)
        if entry is not None:
            return at_most(most, self._map(field, *entry))
        if field.is_repeated:
            return at_most(most, self._repeated(field))
        return alone_in_its_oneof(field, self._single(field, excluded))

    def whole_field(self, field: FieldDescriptor, excluded: frozenset[str]) -> ReadInto:
        """Return a reader like `field`, for a body that is only this value: null means no body."""
        return never_absent(field, self.field(field, excluded))

    def _object(self, descriptor: Descriptor, excluded: frozenset[str], *, is_inner: bool) -> ReadInto:
        key = (descriptor, excluded, is_inner)
        known = self._objects.get(key)
        if known is not None:
            return known
        members: dict[str, Member] = {}
        names = [field.name for field in shown_fields(descriptor) if field.name not in excluded]
        read = object_reader(members, self._unknown(descriptor, names))
        self._objects[key] = read  # before the fields: a field may have this type
        members.update(self._members(descriptor, excluded, is_inner=is_inner))
        return read

    def _members(self, descriptor: Descriptor, excluded: frozenset[str], *, is_inner: bool) -> dict[str, Member]:
        originals: dict[str, Member] = {}
        aliases: dict[str, Member] = {}
        for field in shown_fields(descriptor):
            read = (
                self._bound(field, is_inner)
                if field.name in excluded
                else self.field(field, _inside(field.name, excluded))
            )
            originals[field.name] = (read, None)
            if field.json_name != field.name and not message_mapping(descriptor).original_names_only:
                aliases[field.json_name] = (read, field.name)
        return aliases | originals

    def _bound(self, field: FieldDescriptor, is_inner: bool) -> ReadInto:
        return only_as_bound(field, self.field(field)) if is_inner else refuse_bound

    def _unknown(self, descriptor: Descriptor, names: Sequence[str]) -> Callable[[str], None]:
        report = self._on_unknown
        if report is None:
            return refuse_unknown(names)
        return lambda name: report(descriptor.full_name, name)

    def _single(self, field: FieldDescriptor, excluded: frozenset[str]) -> ReadInto:
        if field.message_type is None:
            return scalar_field(field, scalar_from_json(field))
        read = self.message(field.message_type, excluded, utc_micros=has_utc_micros(field), is_inner=True)
        return message_field(field, read)

    def _repeated(self, field: FieldDescriptor) -> ReadInto:
        if field.message_type is None:
            return repeated_scalars(field.name, scalar_from_json(field))
        return repeated_messages(field.name, self.message(field.message_type, utc_micros=has_utc_micros(field)))

    def _map(self, field: FieldDescriptor, key_field: FieldDescriptor, value_field: FieldDescriptor) -> ReadInto:
        read_key = scalar_from_text(key_field)
        if value_field.message_type is None:
            return map_of_scalars(field.name, read_key, scalar_from_json(value_field))
        read_message = self.message(value_field.message_type, utc_micros=has_utc_micros(field))
        return map_of_messages(field.name, read_key, read_message)


def _inside(name: str, paths: frozenset[str]) -> frozenset[str]:
    """Return the `paths` inside the field `name`, relative to it."""
    return frozenset(path.removeprefix(f"{name}.") for path in paths if path.startswith(f"{name}."))
