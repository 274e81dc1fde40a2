"""Rules of ``buf.validate`` and of protoc-gen-validate (``validate.rules``) as keywords of JSON Schema.

The rules are read with the message types in the descriptor set, and are never executed. A rule without a keyword is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet

from restmap_gateway.json_map.fields import map_entry

Keywords: TypeAlias = Mapping[str, object]
"""Keywords of JSON Schema with their values."""
_Rules: TypeAlias = Mapping[str, Any]
"""The rules that are set, by name."""

_KINDS = ((1159, ("buf.validate.FieldRules", "buf.validate.FieldConstraints")), (1071, ("validate.FieldRules",)))
"""Number of the extension of ``FieldOptions``, and the names of its type in all releases."""

_NEVER, _UNLESS_SET = 3, (1, 2)
"""Values of ``buf.validate.Ignore``: the rules do not apply; they apply only to other values than zero."""

_FORMATS = {
    "email": "email",
    "hostname": "hostname",
    "ipv4": "ipv4",
    "ipv6": "ipv6",
    "uri": "uri",
    "uri_ref": "uri-reference",
    "uuid": "uuid",
}
_PATTERNS: Mapping[str, Callable[[str], str]] = {
    "pattern": lambda text: text,
    "prefix": lambda text: f"^{_escaped(text)}",
    "suffix": lambda text: f"{_escaped(text)}$",
    "contains": lambda text: _escaped(text),
}
_TEXTS = {"min_len": "minLength", "max_len": "maxLength"}
_BOUNDS = {"gt": "exclusiveMinimum", "gte": "minimum", "lt": "exclusiveMaximum", "lte": "maximum"}
_ITEMS = {"min_items": "minItems", "max_items": "maxItems", "min_pairs": "minItems", "max_pairs": "maxItems"}
_LOWER = frozenset({"minLength", "minimum", "exclusiveMinimum", "minItems", "pattern", "allOf", "format", "enum"})
"""Keywords that an empty value may not fulfil."""
_OF_MAPS: Mapping[str, str] = {"minItems": "minProperties", "maxItems": "maxProperties"}
_WHOLE = frozenset(
    {"int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64", "sfixed32", "sfixed64"}
)


@dataclass(frozen=True, slots=True)
class Constraints:
    """The values of a field, as keywords of JSON Schema."""

    value: Keywords = field(default_factory=dict)
    """Keywords of one value: of the field, of each item of a list, or of each value of a map."""
    items: Keywords = field(default_factory=dict)
    """Keywords of a list: ``minItems``, ``maxItems``, ``uniqueItems``."""
    keys: Keywords = field(default_factory=dict)
    """Keywords of the keys of a map."""
    is_required: bool = False
    """Whether requests must have the field."""
    is_always_set: bool = False
    """Whether responses always have the field."""

    @property
    def of_map(self) -> Keywords:
        """Return the keywords of a map that are like those of a list."""
        return {_OF_MAPS[name]: value for name, value in self.items.items() if name in _OF_MAPS}


def rules_of(field: FieldDescriptor) -> Constraints:
    """Return the keywords of the rules of a field; none without rules."""
    for number, names in _KINDS:
        content = b"".join(
            unknown.data
            for unknown in cast("Iterable[Any]", UnknownFieldSet(field.GetOptions()))
            if unknown.field_number == number and isinstance(unknown.data, bytes)
        )
        for name in names if content else ():
            try:
                kind = cast("Descriptor", field.containing_type).file.pool.FindMessageTypeByName(name)
            except KeyError:
                continue
            return _ruled(field, _set_in(GetMessageClass(kind).FromString(content)))
    return Constraints()


def _set_in(message: Message) -> _Rules:
    return {field.name: value for field, value in message.ListFields()}


def _ruled(field: FieldDescriptor, rules: _Rules) -> Constraints:
    if rules.get("ignore") == _NEVER or rules.get("skipped"):
        return Constraints()
    found = _of_kinds(rules, _enum_of(field))
    is_required = bool(rules.get("required") or _needs_value(rules))
    if rules.get("ignore") in _UNLESS_SET or _ignores_empty(rules):
        return Constraints(_upper(found.value), _upper(found.items), found.keys)
    is_never_empty = not field.has_presence and (
        found.value.get("minLength", 0) != 0 if not field.is_repeated else "minItems" in found.items
    )
    if is_required and field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not field.is_repeated:
        # A required text without presence must not be empty.
        found = Constraints({"minLength": 1, **found.value} if not field.has_presence else found.value)
    return Constraints(found.value, found.items, found.keys, is_required or is_never_empty)


def _needs_value(rules: _Rules) -> bool:
    """Return whether a rule of protoc-gen-validate for messages requires the field."""
    return any(bool(_set_in(one).get("required")) for one in rules.values() if isinstance(one, Message))


def _ignores_empty(rules: _Rules) -> bool:
    return any(bool(_set_in(one).get("ignore_empty")) for one in rules.values() if isinstance(one, Message))


def _upper(keywords: Keywords) -> Keywords:
    return {name: value for name, value in keywords.items() if name not in _LOWER}


def _of_kinds(rules: _Rules, enum: EnumDescriptor | None) -> Constraints:
    """Return the keywords of the rules for the type of a field, whose values may be of an enum."""
    for kind, message in rules.items():
        if not isinstance(message, Message):
            continue
        given = _set_in(message)
        if kind == "string":
            return Constraints(_of_text(given))
        if kind in _WHOLE or kind in ("float", "double"):
            return Constraints(_of_number(given))
        if kind == "enum" and enum is not None:
            return Constraints(_of_enum(given, enum))
        if kind == "repeated":
            unique: Keywords = {"uniqueItems": True} if given.get("unique") else {}
            return Constraints(_inner(given, "items", enum), {**_renamed(given, _ITEMS), **unique})
        if kind == "map":
            return Constraints(_inner(given, "values", enum), _renamed(given, _ITEMS), _inner(given, "keys", None))
    return Constraints()


def _inner(rules: _Rules, name: str, enum: EnumDescriptor | None) -> Keywords:
    return _of_kinds(_set_in(rules[name]), enum).value if name in rules else {}


def _enum_of(field: FieldDescriptor) -> EnumDescriptor | None:
    entry = map_entry(field)
    return field.enum_type if entry is None else entry[1].enum_type


def _of_enum(rules: _Rules, enum: EnumDescriptor) -> Keywords:
    allowed = {value.number for value in enum.values} - set(rules.get("not_in", ()))
    allowed &= {rules["const"]} if "const" in rules else allowed
    allowed &= set(rules["in"]) if "in" in rules else allowed
    if len(allowed) == len(enum.values_by_number):
        return {}
    return {"enum": [value.name for value in enum.values if value.number in allowed]}


def _renamed(rules: _Rules, names: Mapping[str, str]) -> dict[str, object]:
    return {names[name]: value for name, value in rules.items() if name in names}


def _escaped(text: str) -> str:
    # Not re.escape: ECMA 262 forbids a backslash before other characters than these.
    return re.sub(r"[\^$\\.*+?()\[\]{}|/]", r"\\\g<0>", text)


def _of_text(rules: _Rules) -> Keywords:
    keywords = _renamed(rules, _TEXTS)
    if "len" in rules:
        keywords |= {"minLength": rules["len"], "maxLength": rules["len"]}
    form = next((_FORMATS[name] for name in rules if name in _FORMATS and rules[name]), "")
    keywords |= {"format": form} if form else {}
    patterns = [make(rules[name]) for name, make in _PATTERNS.items() if name in rules]
    keywords |= {"pattern": patterns[0]} if patterns else {}
    keywords |= {"allOf": [{"pattern": one} for one in patterns[1:]]} if len(patterns) > 1 else {}
    return {**keywords, **_of_choice(rules)}


def _of_number(rules: _Rules) -> Keywords:
    bounds = _renamed(rules, _BOUNDS)
    low = rules.get("gt", rules.get("gte"))
    high = rules.get("lt", rules.get("lte"))
    if low is not None and high is not None and low > high:
        bounds = {}  # the values outside of the range, which has no keyword
    return {**bounds, **_of_choice(rules)}


def _of_choice(rules: _Rules) -> Keywords:
    if "const" in rules:
        return {"enum": [rules["const"]]}
    return {"enum": list(rules["in"])} if "in" in rules else {}
