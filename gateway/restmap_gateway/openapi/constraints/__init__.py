"""Constraints of a field's values as keywords of JSON Schema: of the ``restmap`` option, or of validation rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from google.protobuf.descriptor import FieldDescriptor

from restmap.v1 import restmap_pb2
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.openapi.constraints.rules import Keywords, rules_of

__all__ = ["Constraints", "constraints_of"]

_OF_LISTS = ("minItems", "maxItems", "uniqueItems")
_OF_MAPS: Mapping[str, str] = {"minItems": "minProperties", "maxItems": "maxProperties"}


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


def constraints_of(field: FieldDescriptor, *, in_request: bool) -> Constraints:
    """Return the constraints of a field. Those of the option win over validation rules, which are about requests."""
    found = Constraints()
    if not field.has_options:
        return found
    mapping = field_mapping(field)
    if in_request:
        ruled = rules_of(field)
        found = Constraints(ruled.value, ruled.items, ruled.keys, ruled.is_required)
        if mapping.max_items:
            found = replace(found, items={**found.items, "maxItems": mapping.max_items})
    if not mapping.HasField("constraints"):
        return found
    option = mapping.constraints
    return replace(
        found,
        value={**found.value, **_of_value(option)},
        items={**found.items, **_of_items(option)},
        is_always_set=option.always_set,
    )


def _of_value(option: restmap_pb2.Constraints) -> Keywords:
    keywords: dict[str, object] = {}
    keywords |= {"minimum": option.minimum} if option.HasField("minimum") else {}
    keywords |= {"maximum": option.maximum} if option.HasField("maximum") else {}
    keywords |= {"minLength": option.min_length} if option.min_length else {}
    keywords |= {"maxLength": option.max_length} if option.max_length else {}
    keywords |= {"pattern": option.pattern} if option.pattern else {}
    keywords |= {"enum": list(option.allowed)} if option.allowed else {}
    keywords |= {"format": option.format} if option.format else {}
    return keywords


def _of_items(option: restmap_pb2.Constraints) -> Keywords:
    keywords: dict[str, object] = {}
    keywords |= {"minItems": option.min_items} if option.min_items else {}
    keywords |= {"maxItems": option.max_items} if option.max_items else {}
    keywords |= {"uniqueItems": True} if option.unique_items else {}
    return keywords
