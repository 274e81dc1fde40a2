"""Messages as JSON objects; in a list of them, equal messages inside are converted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

WriteFrom = Callable[[Any], object]
"""Returns the JSON of one value of a field: a message, a scalar, or all entries of a repeated field or map."""

Members = Mapping[FieldDescriptor, tuple[str, WriteFrom | None]]
"""Name and writer of each field that is shown; without a writer the value stays unchanged."""

_SHORT_LIST: Final = 4
"""Items of a list from which equal messages are looked for."""

_ALL_DIFFERENT: Final = 32
"""Different messages after which the list is expected to have no equal ones, if there were none before."""

_MOST_KEPT: Final = 1024
"""Maximum number of different messages that are kept during the conversion of one list."""


@dataclass(frozen=True, slots=True)
class ObjectForm:
    """The JSON object of a message type."""

    members: Members
    """May be filled after the form is made, because a field may have this type."""
    absent: Mapping[str, object]
    """JSON of all members of an empty message; empty: unset fields are left out."""
    order: Sequence[str]
    """Names in the order of the object; empty: members have the order of `absent`, or of the field numbers."""
    large: Sequence[FieldDescriptor]
    """Singular fields whose messages are large enough to look for equal ones."""

    def writer(self) -> WriteFrom:
        """Return a writer of one message."""
        return self._writer(self.members)

    def list_writer(self) -> WriteFrom:
        """Return a writer of a list of messages. Objects of equal messages in the fields `large` may be the same."""
        write_one = self.writer()
        if not self.large:
            return list_writer(write_one)

        def write_list(messages: Sequence[Message]) -> list[object]:
            if len(messages) < _SHORT_LIST:
                return [write_one(message) for message in messages]
            once = {field: (name, _Once(write).write) for field, (name, write) in self._large_members()}
            write = self._writer({**self.members, **once})
            return [write(message) for message in messages]

        return write_list

    def _large_members(self) -> Sequence[tuple[FieldDescriptor, tuple[str, WriteFrom]]]:
        members = [(field, self.members[field]) for field in self.large]
        return [(field, (name, write)) for field, (name, write) in members if write is not None]

    def _writer(self, members: Members) -> WriteFrom:
        absent, order = self.absent, self.order

        def write(message: Message) -> dict[str, object]:
            written = dict(absent)
            for field, value in type(message).ListFields(message):
                member = members.get(field)  # None for an extension or a field that REST does not show
                if member is not None:
                    name, write_value = member
                    written[name] = value if write_value is None else write_value(value)
            return written

        def write_in_order(message: Message) -> dict[str, object]:
            written = write(message)
            return {name: written[name] for name in order if name in written}

        return write_in_order if order else write


class _Once:
    """Converts equal messages of one list once. Messages are equal if they have the same bytes."""

    def __init__(self, write: WriteFrom) -> None:
        self._write = write
        self._written: dict[bytes, object] = {}
        self._has_equal = False

    def write(self, message: Message) -> object:
        written = self._written
        if len(written) >= _ALL_DIFFERENT and not self._has_equal:
            return self._write(message)
        # Without the check of required fields, which a message of the server may lack.
        key = type(message).SerializePartialToString(message)
        known = written.get(key)
        if known is not None:
            self._has_equal = True
            return known
        new = self._write(message)
        if len(written) < _MOST_KEPT:
            written[key] = new
        return new


def list_writer(write: WriteFrom) -> WriteFrom:
    """Return a writer of a repeated field from the writer of its items."""

    def write_list(values: Any) -> list[object]:  # noqa: ANN401 - made from a descriptor
        return [write(value) for value in values]

    return write_list
