"""JSON ↔ messages of any proto, compiled from descriptors once, then only called.

Methods of a message of a foreign type are called through its type, ``type(message).ListFields(message)``: a field with
the name of a method hides the method on the message.
"""

from __future__ import annotations

from collections.abc import Callable

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map.field_readers import ReadInto
from restmap_gateway.json_map.reader import ReaderCompiler, UnknownMember
from restmap_gateway.json_map.refusal import Refused
from restmap_gateway.json_map.writer import WriterCompiler

Reader = Callable[[object, Message], None]
"""Merges the result of `text.parse` into a message. Raises `InvalidRequest` with the path of the invalid value as the
client wrote it; the message is then incomplete and must not be used."""

Writer = Callable[[Message], object]
"""Converts a message to Python values for `dumps`. Raises ValueError for a message without a JSON form: a time outside
the years 0001 to 9999, a NaN in a Struct."""


class JsonMap:
    """The proto3 JSON mapping with original field names, changed by `restmap` options.

    Reads the original and the lowerCamelCase name of a field; writes only the original one. Readers and writers have no
    state; many calls may use one at once.
    """

    def __init__(self, *, enums_as_numbers: bool = False) -> None:
        """Create the mapping; ``enums_as_numbers``: writers write the numbers of enums in the place of names."""
        self._readers = ReaderCompiler()
        self._writers = WriterCompiler(enums_as_numbers=enums_as_numbers)

    def reader(
        self,
        descriptor: Descriptor,
        *,
        excluded: frozenset[str] = frozenset(),
        lenient: bool = False,
        on_unknown: UnknownMember | None = None,
    ) -> Reader:
        """Return a reader for messages of this type.

        The fields in `excluded` are bound elsewhere, such as by the path, and refused; a dot reaches into a nested
        message (``order.number``). A `lenient` reader ignores unknown members and passes the message's full name and
        the member's name to `on_unknown`.
        """
        return _reporting(self._compiler(lenient, on_unknown).message(descriptor, excluded))

    def field_reader(
        self,
        field: FieldDescriptor,
        *,
        excluded: frozenset[str] = frozenset(),
        lenient: bool = False,
        on_unknown: UnknownMember | None = None,
    ) -> Reader:
        """Return a reader for a body that is the value of one field; the reader fills the message that has the field.

        Paths in errors and in `excluded` start at the body.
        """
        return _reporting(self._compiler(lenient, on_unknown).whole_field(field, excluded))

    def writer(self, descriptor: Descriptor) -> Writer:
        """Return a writer for messages of this type."""
        return self._writers.message(descriptor)

    def field_writer(self, field: FieldDescriptor) -> Writer:
        """Return a writer that takes the message and returns the JSON of one of its fields, null if it is unset."""
        return self._writers.field(field)

    def _compiler(self, lenient: bool, on_unknown: UnknownMember | None) -> ReaderCompiler:
        return ReaderCompiler(on_unknown or _ignore) if lenient else self._readers


def dumps(value: object) -> bytes:
    """Return compact JSON in UTF-8."""
    return orjson.dumps(value)


def _reporting(read_into: ReadInto) -> Reader:
    def read(value: object, message: Message) -> None:
        try:
            read_into(value, message)
        except Refused as refused:
            raise InvalidRequest(Violation(refused.path(), refused.description)) from None

    return read


def _ignore(message: str, member: str) -> None:
    """Do nothing with an ignored member."""
