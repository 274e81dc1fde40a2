"""Query parameters → fields of a request; the names are compiled from its descriptor."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from restmap_gateway.errors import Violation
from restmap_gateway.json_map.fields import field_mapping, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.refusal import quote
from restmap_gateway.json_map.scalars import text_parser
from restmap_gateway.json_map.text_field import Parse, TextField, text_field
from restmap_gateway.schema.http_rule import percent_decoded
from restmap_gateway.schema.restmap_options import fields_by_json_name

Unknown = Callable[[str], None]
"""Callback for the name of an ignored parameter."""

Given = dict[str, list[str]]
"""Values in order, by the name of the parameter as the client wrote it."""

_MOST_PARAMETERS = 1000
_LONGEST_GUESS = 64
_MOST_GUESSES = 8
_MOST_SHOWN = 8


class _Refused(ValueError):
    """The parameter does not name a field that the query may set."""


class _Unknown(_Refused):
    """The parameter does not name any field."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field and how a query can set it."""

    descriptor: FieldDescriptor
    parse: Parse | None
    """Parser of one value; None if the field has no text form."""
    inside: str
    """Full name of the message in the field, if the query can set its fields; otherwise empty."""


@dataclass(frozen=True, slots=True)
class _Names:
    """The query names of the fields of one message."""

    fields: dict[str, _Field] = field(default_factory=dict)
    """Fields by original name, lowerCamelCase name and alias."""

    def guess(self, name: str) -> str:
        """Return the most similar known name; empty if there is none."""
        near = difflib.get_close_matches(name, self.fields, n=1) if len(name) <= _LONGEST_GUESS else []
        return near[0] if near else ""


class QueryReader:
    """Reads the query of one rule; without state, so that many calls may use it at once."""

    def __init__(self, request: Descriptor, bound: Mapping[str, str], *, is_open: bool, max_depth: int) -> None:
        """Compile the names.

        Args:
            request: descriptor of the request message.
            bound: dotted original names of fields that are set elsewhere, each with its source (``the path``).
            is_open: whether the query may set fields; if not, every parameter is unknown.
            max_depth: maximum levels of nested names; the server could not read deeper messages.
        """
        self._request = request.full_name
        self._bound = bound
        self._max_depth = max_depth
        self._is_open = is_open
        self._skip_empty = message_mapping(request).empty_query_is_absent
        self._names: dict[str, _Names] = {}
        self._top: dict[str, TextField] = {}
        if is_open:
            _compile(request, self._names)
            self._top = {
                name: _settable([found])
                for name, found in self._names[self._request].fields.items()
                if found.parse is not None and found.descriptor.name not in bound
            }

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the request's own fields; none if the query may not set fields."""
        return frozenset(self._names[self._request].fields) if self._is_open else frozenset()

    def read(self, query: str, request: Message, unknown: Unknown | None) -> tuple[set[str], list[Violation]]:
        """Set the fields that a raw query names.

        Args:
            query: percent-encoded, without the question mark.
            request: message to fill; on errors it is filled as far as possible.
            unknown: if set, callback for parameters without a field, which are then ignored.

        Returns:
            the original names of the top-level fields that were set, and all errors in the query.
        """
        given, violations = split_query(query)
        by_field: dict[TextField, Given] = {}
        guesses = _MOST_GUESSES
        for name, values in given.items():
            try:
                found = self._top.get(name) or self._resolve(name, guess=guesses > 0)
            except _Unknown as refused:
                if unknown is not None:
                    unknown(name)
                    continue
                guesses -= 1
                violations.append(Violation(name, str(refused)))
            except _Refused as refused:
                violations.append(Violation(name, str(refused)))
            else:
                by_field.setdefault(found, {})[name] = values
        stored = {found.root for found, names in by_field.items() if self._set(found, names, request, violations)}
        return stored, violations

    def _set(self, found: TextField, spellings: Given, request: Message, violations: list[Violation]) -> bool:
        """Store the values of one field, given under one or more names; return whether there was a value."""
        kept: Given = {}
        for name, values in spellings.items():
            if len(values) > 1 and not found.is_repeated:
                violations.append(Violation(name, f"is given {len(values)} times, expected once"))
                return False
            present = [value for value in values if value or not self._skip_empty]
            if present:
                kept[name] = present
        if not kept:
            return False
        (first, values), *others = kept.items()
        for name, other in others:
            if other != values:
                text = (
                    f"is another name of {quote(first)}, but has another value: {_shown(other)}, not {_shown(values)}"
                )
                violations.append(Violation(name, text))
                return False
        try:
            found.set(request, values)
        except ValueError as error:
            violations.append(Violation(first, str(error)))
        return True

    def _resolve(self, name: str, *, guess: bool) -> TextField:
        """Return the field that a parameter names."""
        if not self._is_open:
            raise _Unknown("is not known: this call takes no query parameters, all its fields are in the body")
        steps = name.split(".")
        if len(steps) > self._max_depth:
            raise _Refused(f"is nested more than {self._max_depth} levels deep")
        names = self._names[self._request]
        path: list[_Field] = []
        dotted = ""
        for depth, step in enumerate(steps):
            if step not in names.fields:
                near = names.guess(step) if guess else ""
                hint = f", did you mean {quote('.'.join([*steps[:depth], near, *steps[depth + 1 :]]))}?" if near else ""
                raise _Unknown(f"is not known here{hint}")
            path.append(names.fields[step])
            dotted = f"{dotted}.{path[-1].descriptor.name}" if dotted else path[-1].descriptor.name
            if source := self._bound.get(dotted):
                raise _Refused(f"is bound by {source} and cannot be given in the query")
            if depth < len(steps) - 1:
                names = self._inside(path[-1])
        return _settable(path)

    def _inside(self, outer: _Field) -> _Names:
        name = outer.descriptor.name
        if outer.descriptor.is_repeated:
            kind = "a map" if map_entry(outer.descriptor) else "a list"
            raise _Refused(f"cannot be given in a query, {quote(name)} is {kind}")
        if not outer.inside:
            raise _Unknown(f"is not known here, {quote(name)} has no fields")
        return self._names[outer.inside]


def split_query(query: str) -> tuple[Given, list[Violation]]:
    """Return the parameters of a raw query, and an error for each with invalid encoding.

    Only ``&`` separates; empty pieces are ignored; a name without ``=`` has the empty value.
    """
    given: Given = {}
    violations: list[Violation] = []
    if query.count("&") >= _MOST_PARAMETERS and sum(map(bool, query.split("&"))) > _MOST_PARAMETERS:
        return given, [Violation("", f"the query has more than {_MOST_PARAMETERS} parameters, the most that are taken")]
    for piece in query.split("&"):
        if not piece:
            continue
        raw_name, _, raw_value = piece.partition("=")
        name = raw_name
        try:
            name = percent_decoded(raw_name.replace("+", " "))
            value = percent_decoded(raw_value.replace("+", " "))
        except ValueError as error:
            violations.append(Violation(_printable(name), str(error)))
        else:
            given.setdefault(name, []).append(value)
    return given, violations


def _compile(message: Descriptor, into: dict[str, _Names]) -> None:
    """Add the names of the message and of all messages inside it."""
    names = into[message.full_name] = _Names()
    shown = shown_fields(message)
    compiled = {one.name: _compile_field(one, into) for one in shown}
    names.fields.update({name: compiled[one.name] for name, one in fields_by_json_name(message).items()})
    # An alias never equals a name: the schema check refuses that.
    aliases = ((alias, one.name) for one in shown for alias in field_mapping(one).query_aliases)
    names.fields.update({alias: compiled[name] for alias, name in aliases})


def _compile_field(descriptor: FieldDescriptor, into: dict[str, _Names]) -> _Field:
    inner = _with_fields(descriptor)
    if inner is not None and inner.full_name not in into:
        _compile(inner, into)
    return _Field(descriptor, _parser(descriptor), inner.full_name if inner is not None else "")


def _with_fields(descriptor: FieldDescriptor) -> Descriptor | None:
    """Return the message in a field if a query can name its fields; well-known types are one text or cannot be set."""
    inner = descriptor.message_type
    if inner is None or map_entry(descriptor) or inner.file.package == "google.protobuf":
        return None
    return inner


def _parser(descriptor: FieldDescriptor) -> Parse | None:
    try:
        return text_parser(descriptor)
    except TypeError:
        return None


def _settable(path: list[_Field]) -> TextField:
    descriptor, parse = path[-1].descriptor, path[-1].parse
    if parse is not None:
        return text_field([step.descriptor for step in path], parse)
    if map_entry(descriptor):
        raise _Refused("is a map and cannot be given in a query")
    if descriptor.is_repeated:
        raise _Refused("is a list of messages and cannot be given in a query")
    raise _Refused("is a message and cannot be given in a query as a whole, name one of its fields behind a dot")


def _shown(values: list[str]) -> str:
    shown = ", ".join(map(quote, values[:_MOST_SHOWN]))
    return f"{shown} and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else shown


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
