"""Constraints of a field's values as keywords of JSON Schema: of the ``restmap`` option, or of validation rules."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.descriptor import FieldDescriptor

from restmap.v1 import restmap_pb2
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.openapi.constraints.rules import Constraints, Keywords, rules_of

__all__ = ["Constraints", "constraints_of"]


def constraints_of(field: FieldDescriptor, *, in_request: bool) -> Constraints:
    """Return the constraints of a field. Those of the option win over validation rules, which are about requests."""
    found = Constraints()
    if not field.has_options:
        return found
    mapping = field_mapping(field)
    if in_request:
        found = rules_of(field)
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
