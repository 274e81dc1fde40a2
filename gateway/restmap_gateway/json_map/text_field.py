"""Sets a field of a request from text: common to path variables, query parameters and headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.json_map.refusal import quote
from restmap_gateway.json_map.scalars import text_parser

Parse = Callable[[str], Any]
"""Returns one value of a field, or raises ValueError with a text for the client."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field of a request, or of a message inside it, that text can set."""

    outer: tuple[str, ...]
    """Names of the enclosing singular messages, from the request inwards."""
    name: str
    parse: Parse
    is_repeated: bool
    max_items: int
    """Maximum values of a repeated field; 0: no limit."""
    is_message: bool
    oneofs: tuple[str, ...]
    """The oneof of each field of the path; empty for a field without one."""

    @property
    def root(self) -> str:
        """Return the name of the top-level field that is or contains this field."""
        return self.outer[0] if self.outer else self.name

    def set(self, request: Message, texts: Sequence[str]) -> None:
        """Parse the texts and set the field.

        Args:
            request: message with the field, directly or nested.
            texts: exactly one for a singular field, any number for a repeated one, kept in order.

        Raises:
            ValueError: a text is invalid for the field, or another member of its oneof is set; the description is for
                the client. The field is unchanged.
        """
        if 0 < self.max_items < len(texts):
            raise ValueError(f"is given {len(texts)} times, expected at most {self.max_items}")
        values = [self.parse(text) for text in texts]
        for outer, oneof in zip(self.outer, self.oneofs, strict=False):
            _refuse_second(request, oneof, outer)
            request = getattr(request, outer)
        _refuse_second(request, self.oneofs[-1], self.name)
        if self.is_repeated:
            getattr(request, self.name).extend(values)
        elif self.is_message:
            inner = getattr(request, self.name)
            type(inner).CopyFrom(inner, values[0])
            type(inner).SetInParent(inner)  # an empty message is a value too
        else:
            setattr(request, self.name, values[0])


def text_field(path: Sequence[FieldDescriptor], parse: Parse | None = None) -> TextField:
    """Return a setter for the last field of a non-empty path; `parse` is its parser if known.

    Raises:
        TypeError: the field has no text form: it is a message with fields of its own, or a map.
    """
    last = path[-1]
    return TextField(
        outer=tuple(field.name for field in path[:-1]),
        name=last.name,
        parse=parse or text_parser(last),
        is_repeated=last.is_repeated,
        max_items=field_mapping(last).max_items,
        is_message=last.message_type is not None,
        oneofs=tuple(_oneof(field) for field in path),
    )


def _oneof(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    return oneof.name if oneof is not None and len(oneof.fields) > 1 else ""


def _refuse_second(message: Message, oneof: str, name: str) -> None:
    existing = type(message).WhichOneof(message, oneof) if oneof else None
    if existing is not None and existing != name:
        raise ValueError(f"only one of {quote(existing)} and {quote(name)} can be given")


def field_at(message: Descriptor, path: Sequence[str]) -> tuple[FieldDescriptor, ...]:
    """Return the fields along a path of original names, outermost first.

    Raises:
        KeyError: a name is not a field, or the field before it is not a message.
    """
    fields: list[FieldDescriptor] = []
    inner: Descriptor | None = message
    for name in path:
        if inner is None:
            raise KeyError(name)
        fields.append(inner.fields_by_name[name])
        inner = fields[-1].message_type
    return tuple(fields)
