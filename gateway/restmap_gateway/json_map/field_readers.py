"""Parsed JSON → one field of a message, for every kind of field."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.json_map.enums import NULL_VALUE
from restmap_gateway.json_map.refusal import Refused, index, key, member, quote, unexpected
from restmap_gateway.json_map.scalars import Scalar
from restmap_gateway.json_map.well_known.text_forms import TextForm

ReadInto = Callable[[object, Message], None]
"""Merges a parsed JSON value into a message, or raises `Refused`."""

Member = tuple[ReadInto, str | None]
"""The reader of a member, and the other accepted name of the same field."""

_LONGEST_GUESS: Final = 64


def object_reader(members: Mapping[str, Member], unknown: Callable[[str], None]) -> ReadInto:
    """Return a reader of an object, member by member; `unknown` is called for names that are not in `members`.

    `members` may be filled later, before the first call.
    """

    def read(value: object, message: Message) -> None:
        if type(value) is not dict:
            raise unexpected("an object", value)
        for name, item in value.items():
            try:
                known = members.get(name)
                if known is None:
                    unknown(name)
                    continue
                read_field, other_name = known
                if other_name is not None and other_name in value:
                    raise Refused(f"is given more than once, also as {quote(other_name)}")
                read_field(item, message)
            except Refused as refused:
                refused.within(member(name))
                raise

    return read


def refuse_unknown(names: Sequence[str]) -> Callable[[str], None]:
    """Return a function that refuses every name, with a suggestion if one of `names` is similar."""

    def refuse(name: str) -> None:
        near = difflib.get_close_matches(name, names, n=1) if len(name) <= _LONGEST_GUESS else []
        guess = f", did you mean {quote(near[0])}?" if near else ""
        raise Refused(f"is not known here{guess}")

    return refuse


def refuse_bound(value: object, message: Message) -> None:
    """Refuse a member whose field is bound elsewhere."""
    raise Refused("is bound by the path or a header and cannot be given in the body")


def only_as_bound(field: FieldDescriptor, read_field: ReadInto) -> ReadInto:
    """Return a reader for a field of an inner message that is bound elsewhere; it accepts only the same value.

    Clients send a complete resource, with the name that is also in the path (``{book.name=…}`` with the body ``book``).
    """
    name = field.name

    def read(value: object, message: Message) -> None:
        given = type(message)()
        read_field(value, given)
        if value is not None and getattr(given, name) != getattr(message, name):
            raise Refused("is bound by the path, to another value; expected the same or none")

    return read


def alone_in_its_oneof(field: FieldDescriptor, read_field: ReadInto) -> ReadInto:
    """Return `read_field` with a check that no other field of the same oneof is set."""
    oneof = field.containing_oneof
    if oneof is None or len(oneof.fields) == 1:
        return read_field
    group, name, takes_null = oneof.name, field.name, _takes_null(field)

    def read(value: object, message: Message) -> None:
        if value is None and not takes_null:
            return
        existing = type(message).WhichOneof(message, group)
        if existing is not None and existing != name:
            raise Refused(f"only one of {quote(existing)} and {quote(name)} can be given")
        read_field(value, message)

    return read


def never_absent(field: FieldDescriptor, read_field: ReadInto) -> ReadInto:
    """Return `read_field` with a check that the value is not a null that would mean absence."""
    takes_null = _takes_null(field) and not field.is_repeated

    def read(value: object, message: Message) -> None:
        if value is None and not takes_null:
            raise unexpected("a value", value)
        read_field(value, message)

    return read


def _takes_null(field: FieldDescriptor) -> bool:
    """Return whether null is a value of this field and not its absence."""
    if field.message_type is not None:
        return field.message_type.full_name == "google.protobuf.Value"
    return field.enum_type is not None and field.enum_type.full_name == NULL_VALUE


def scalar_field(field: FieldDescriptor, read_value: Callable[[object], Scalar]) -> ReadInto:
    """Return a reader that sets a scalar field; null leaves it unchanged."""
    name, takes_null = field.name, _takes_null(field)

    def read(value: object, message: Message) -> None:
        if value is not None or takes_null:
            setattr(message, name, read_value(value))

    return read


def message_field(field: FieldDescriptor, read_message: ReadInto) -> ReadInto:
    """Return a reader that merges into a message field and makes it present; null leaves it unchanged."""
    name, takes_null = field.name, _takes_null(field)

    def read(value: object, message: Message) -> None:
        if value is not None or takes_null:
            inner = getattr(message, name)
            type(inner).SetInParent(inner)
            read_message(value, inner)

    return read


def at_most(most: int, read: ReadInto) -> ReadInto:
    """Return a reader that first refuses an array or object with more than `most` elements; 0: no limit."""
    if not most:
        return read

    def read_bounded(value: object, message: Message) -> None:
        if isinstance(value, list | dict) and len(value) > most:
            raise Refused(f"has {len(value)} elements; at most {most} are expected")
        read(value, message)

    return read_bounded


def repeated_scalars(name: str, read_value: Callable[[object], Scalar]) -> ReadInto:
    """Return a reader that appends the elements of an array; null appends nothing."""

    def read(value: object, message: Message) -> None:
        if value is None:
            return
        array = _array(value)
        items: list[Scalar] = []
        try:
            for item in array:
                items.append(read_value(item))
        except Refused as refused:
            refused.within(index(len(items)))
            raise
        getattr(message, name).extend(items)

    return read


def repeated_messages(name: str, read_message: ReadInto) -> ReadInto:
    """Return a reader that appends the elements of an array; null appends nothing."""

    def read(value: object, message: Message) -> None:
        if value is None:
            return
        container = getattr(message, name)
        for position, item in enumerate(_array(value)):
            try:
                read_message(item, container.add())
            except Refused as refused:
                refused.within(index(position))
                raise

    return read


def _array(value: object) -> list[object]:
    if type(value) is not list:
        raise unexpected("an array", value)
    return value


def map_of_scalars(name: str, read_key: Callable[[str], Scalar], read_value: Callable[[object], Scalar]) -> ReadInto:
    """Return a reader that sets the entries of an object; null sets none."""

    def put(container: Any, entry: Scalar, item: object) -> None:  # noqa: ANN401 - made from a descriptor
        container[entry] = read_value(item)

    return _map_reader(name, read_key, put)


def map_of_messages(name: str, read_key: Callable[[str], Scalar], read_message: ReadInto) -> ReadInto:
    """Return a reader that sets the entries of an object; null sets none."""

    def put(container: Any, entry: Scalar, item: object) -> None:  # noqa: ANN401 - made from a descriptor
        read_message(item, container[entry])

    return _map_reader(name, read_key, put)


def _map_reader(name: str, read_key: Callable[[str], Scalar], put: Callable[[Any, Scalar, object], None]) -> ReadInto:
    def read(value: object, message: Message) -> None:
        if value is None:
            return
        if type(value) is not dict:
            raise unexpected("an object", value)
        container = getattr(message, name)
        for text, item in value.items():
            try:
                put(container, read_key(text), item)
            except Refused as refused:
                refused.within(key(text))
                raise

    return read


def text_reader(form: TextForm) -> ReadInto:
    """Return a reader of a message that is one string in JSON."""
    expected, read_text = form.expected, form.read

    def read(value: object, message: Message) -> None:
        if type(value) is not str:
            raise unexpected(expected, value)
        read_text(value, message)

    return read


def wrapper_reader(read_value: Callable[[object], Scalar]) -> ReadInto:
    """Return a reader of a message that is the bare value of its only field in JSON."""

    def read(value: object, message: Any) -> None:  # noqa: ANN401 - made from a descriptor
        message.value = read_value(value)

    return read
