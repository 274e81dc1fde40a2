"""Sets a field of a request from text: what path variables, query parameters and headers have in common."""

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
"""Gives one value of a field, or raises ValueError with a text for the client."""


@dataclass(frozen=True, slots=True)
class TextField:
    """A field of a request, perhaps of a message inside it, that text can set."""

    outer: tuple[str, ...]
    """Names of the singular messages around it, from the request inwards."""
    name: str
    parse: Parse
    is_repeated: bool
    max_items: int
    """Values that a repeated field may be given; 0: any number."""
    is_message: bool
    oneofs: tuple[str, ...]
    """For each field of the path, the oneof whose only member it may be; empty for none."""

    @property
    def root(self) -> str:
        """The field of the request itself that it is or is in."""
        return self.outer[0] if self.outer else self.name

    def set(self, request: Message, texts: Sequence[str]) -> None:
        """Parse and store.

        Args:
            request: holds the field, directly or inside.
            texts: exactly one for a singular field, any number for a repeated one, kept in order.

        Raises:
            ValueError: a text is not what the field expects, or another member of its oneof is set; the
                description is for the client. The field is as it was.
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
            inner.CopyFrom(values[0])
            inner.SetInParent()  # an empty message is a value too
        else:
            setattr(request, self.name, values[0])


def text_field(path: Sequence[FieldDescriptor], parse: Parse | None = None) -> TextField:
    """A setter for the last field of a path, which must not be empty; `parse` where it is at hand already.

    Raises:
        TypeError: no text stands for that field: it is a message with fields of its own, or a map.
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
    standing = message.WhichOneof(oneof) if oneof else None
    if standing is not None and standing != name:
        raise ValueError(f"only one of {quote(standing)} and {quote(name)} can be given")


def field_at(message: Descriptor, path: Sequence[str]) -> tuple[FieldDescriptor, ...]:
    """The fields along a path of original names, outermost first.

    Raises:
        KeyError: a name is no field, or what comes before it is no message.
    """
    fields: list[FieldDescriptor] = []
    inner: Descriptor | None = message
    for name in path:
        if inner is None:
            raise KeyError(name)
        fields.append(inner.fields_by_name[name])
        inner = fields[-1].message_type
    return tuple(fields)
