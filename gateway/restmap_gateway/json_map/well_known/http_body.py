"""``google.api.HttpBody``: bodies that are not JSON, with their content type."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map.scalars import string_from_json

HTTP_BODY: Final = "google.api.HttpBody"

_UNNAMED = "application/octet-stream"
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


class Headers(Protocol):
    """The headers of a request; names are case-insensitive."""

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Return all values of a header in the order received, or the default."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one response message."""

    content_type: str
    """Empty if the message has none."""
    data: bytes

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of a response that begins with this content.

        Raises:
            ValueError: the content type cannot be a header.
        """
        if self.content_type and not _HEADER_VALUE.fullmatch(self.content_type):
            raise ValueError(f"{self.content_type[:100]!r} is no content type")
        shown = self.content_type or (_UNNAMED if self.data else "")
        return {"Content-Type": shown, "X-Content-Type-Options": "nosniff"} if shown else {}


ReadContent = Callable[[bytes, Headers, Message], None]
"""Stores a body and its content type in a request. Raises `InvalidRequest` if the content type cannot be stored."""

WriteContent = Callable[[Message], Content]
"""Returns the content of a response."""


def is_content(message: Descriptor, field: str) -> bool:
    """Return whether a body that is this field, or the whole message for an empty name or ``*``, is an HttpBody."""
    if field in ("", "*"):
        return message.full_name == HTTP_BODY
    found = message.fields_by_name[field]
    inner = None if found.is_repeated else found.message_type
    return inner is not None and inner.full_name == HTTP_BODY


def content_reader(request: Descriptor, body: str, bound: Collection[str]) -> ReadContent | None:
    """Return a reader of a body, None if it is JSON or if there is none.

    Args:
        request: descriptor of the request.
        body: the body of the rule: empty for none, ``*`` or the name of a field.
        bound: dotted names of the fields that the path sets.
    """
    if not body or not is_content(request, body):
        return None
    name = body.removeprefix("*")
    has_type = f"{name}.content_type".lstrip(".") in bound

    def read(body: bytes, headers: Headers, request: Any) -> None:  # noqa: ANN401 - made from a descriptor
        content = getattr(request, name) if name else request
        content.data = body
        if not has_type:
            content.content_type = _content_type(headers)

    return read


def content_writer(response: Descriptor, name: str) -> WriteContent | None:
    """Return a reader of the content of a response, or of its field with this name; None if that is JSON."""
    if not is_content(response, name):
        return None

    def write(response: Any) -> Content:  # noqa: ANN401 - made from a descriptor
        content = getattr(response, name) if name else response
        return Content(content.content_type, content.data)

    return write


def _content_type(headers: Headers) -> str:
    values = headers.getall("Content-Type", [])
    try:
        return string_from_json(values[0]) if values else ""
    except ValueError as error:
        raise InvalidRequest(Violation("Content-Type", str(error))) from None
