"""Lines of NDJSON: how a client tells the failure of a stream from its messages, whatever their fields are.

A failure is an object with the one member ``error``. If a message can be such an object too, another form is chosen
when the gateway starts, and described in OpenAPI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap_gateway.json_map.fields import map_entry, shown_fields
from restmap_gateway.json_map.scalars import WRAPPERS
from restmap_gateway.json_map.well_known.any import ANY
from restmap_gateway.json_map.well_known.free_form import free_form_reader
from restmap_gateway.json_map.well_known.text_forms import text_form

_BODY_BEGINS: Final = b'{"error":'
"""Beginning of the body of every failure."""

_LIST: Final = "google.protobuf.ListValue"


@dataclass(frozen=True, slots=True)
class LineForm:
    """Form of the lines of one method."""

    failure: str = "error"
    """The only member of a failure."""
    message: str = ""
    """The only member of a message's line; empty: the line is the message itself."""

    def message_line(self, text: bytes) -> bytes:
        """Return the line of a message from its JSON."""
        return b'{"%b":%b}\n' % (self.message.encode(), text) if self.message else text + b"\n"

    def failure_line(self, body: bytes) -> bytes:
        """Return the last line of a stream that failed, from the body of the failure."""
        return b'{"%b":%b\n' % (self.failure.encode(), body.removeprefix(_BODY_BEGINS))


PLAIN: Final = LineForm()
"""No message is an object with the member ``error``."""

_MARKED: Final = LineForm(failure="@error")
"""A message can have the member ``error``, but none that begins with ``@``, except for the ``@type`` of Any."""

_WRAPPED: Final = LineForm(message="result")
"""A message can be any object."""


def line_form(message: Descriptor, field: FieldDescriptor | None) -> LineForm:
    """Return the form for these messages, or for the values of this field of them."""
    if field is None:
        return _form_of(message)
    if map_entry(field) is not None:
        return _WRAPPED
    return PLAIN if field.is_repeated or field.message_type is None else _form_of(field.message_type)


def _form_of(message: Descriptor) -> LineForm:
    name = message.full_name
    if name == ANY:
        return _MARKED
    if free_form_reader(name) is not None:
        return PLAIN if name == _LIST else _WRAPPED
    if name in WRAPPERS or text_form(name, utc_micros=False) is not None:
        return PLAIN
    return _MARKED if any(field.name == PLAIN.failure for field in shown_fields(message)) else PLAIN
