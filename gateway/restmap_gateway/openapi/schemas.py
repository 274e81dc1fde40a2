"""Messages → JSON Schema, as the gateway reads them in requests and writes them in responses."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap_gateway.json_map import fields as json_fields
from restmap_gateway.json_map.enums import NULL_VALUE
from restmap_gateway.json_map.fields import field_mapping, has_utc_micros, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.scalars import WRAPPERS
from restmap_gateway.openapi.comments import Comments
from restmap_gateway.openapi.components import Components, Form
from restmap_gateway.openapi.constraints import Constraints, constraints_of
from restmap_gateway.openapi.values import (
    ANY,
    Json,
    any_schema,
    constrained,
    enum_schema,
    map_key_schema,
    nullable,
    scalar_schema,
    well_known_schema,
)

NOTHING: frozenset[str] = frozenset()


class Side(Enum):
    """Direction of a message: requests and responses differ in the members that can be absent."""

    REQUEST = Form.REQUEST
    ANSWER = Form.ANSWER


class Schemas:
    """Makes schemas, and collects those of whole messages and enums as components."""

    def __init__(self, comments: Comments, side: Side, components: Components) -> None:
        """Create the maker.

        Args:
            comments: source of the descriptions.
            side: direction of the messages.
            components: target for referenced schemas; both sides may use the same.
        """
        self._comments = comments
        self._side = side
        self._components = components

    def message(
        self,
        descriptor: Descriptor,
        excluded: frozenset[str] = NOTHING,
        *,
        utc_micros: bool = False,
        is_inner: bool = False,
    ) -> Json:
        """Return the schema of a whole message, or a reference to it.

        Args:
            descriptor: descriptor of the message.
            excluded: fields that are bound elsewhere, including nested ones (``outer.id``).
            utc_micros: whether the enclosing message has timestamps as UTC text without zone.
            is_inner: whether the message is a field of a request, which may repeat fields that are bound elsewhere.
        """
        known = well_known_schema(descriptor.full_name, utc_micros=utc_micros)
        if known is not None:
            return known
        if descriptor.full_name in WRAPPERS:
            return scalar_schema(descriptor.fields_by_name["value"])
        if descriptor.full_name == ANY:
            return self._components.own("schemas", any_schema, "AnyMessage", "AnyProtoMessage")
        form, more = self._side.value, ""
        if excluded:
            form, more = Form.BODY, f"{sorted(excluded)}{is_inner}"
        return self._components.of_type(
            descriptor, form, lambda: self.object(descriptor, excluded, is_inner=is_inner), more
        )

    def page(self, descriptor: Descriptor, links_member: str) -> Json:
        """Return the schema of a response with links to other pages in a member."""

        def make() -> Json:
            schema = self.object(descriptor)
            properties = schema["properties"]
            members = properties if isinstance(properties, dict) else {}
            links: Json = {
                "type": "array",
                "items": self._components.own("schemas", _link, "PageLink", "PageLinkObject"),
                "description": "Link to the next page; absent on the last page.",
            }
            return schema | {"properties": members | {links_member: links}}

        return self._components.of_type(descriptor, Form.PAGE, make, links_member)

    def object(self, descriptor: Descriptor, excluded: frozenset[str] = NOTHING, *, is_inner: bool = False) -> Json:
        """Return the schema of a message with fields, never a reference; the arguments are those of `message`."""
        fields = [field for field in shown_fields(descriptor) if is_inner or field.name not in excluded]
        properties = {field.name: self._property(field, inside(field.name, excluded)) for field in fields}
        for name in properties.keys() & excluded:
            properties[name] = _described(properties[name], "As in the path, or not at all.")
        required = [field.name for field in fields if self._is_required(field, excluded)]
        schema: Json = {"type": "object", "properties": properties}
        schema |= {"required": required} if required else {}
        schema |= {"additionalProperties": False} if self._side is Side.REQUEST else {}
        return _described(schema, self._comments.of(descriptor.full_name).text)

    def field(self, field: FieldDescriptor, excluded: frozenset[str] = NOTHING) -> Json:
        """Return the schema of a field's value, without null for unset; `excluded` is relative to the field."""
        entry = map_entry(field)
        if entry is None and not field.is_repeated:
            return self.value(field, field, excluded)
        constraints = self.constraints(field)
        if entry is None:
            return {"type": "array", "items": self.value(field, field), **constraints.items}
        key_field, value_field = entry
        keys = {**(map_key_schema(key_field) or {}), **constraints.keys}
        schema: Json = {"type": "object", "additionalProperties": self.value(value_field, field)}
        return schema | ({"propertyNames": keys} if keys else {}) | dict(constraints.of_map)

    def constraints(self, field: FieldDescriptor) -> Constraints:
        """Return the constraints of a field in messages of this direction."""
        return constraints_of(field, in_request=self._side is Side.REQUEST)

    def whole_field(self, field: FieldDescriptor, excluded: frozenset[str] = NOTHING) -> Json:
        """Return the schema of a body that is only this field."""
        schema = self.field(field, excluded)
        if self._side is Side.ANSWER and field.has_presence and not self.constraints(field).is_always_set:
            schema = nullable(schema)
        return _described(schema, self._comments.of(field.full_name).text)

    def value(self, field: FieldDescriptor, owner: FieldDescriptor, excluded: frozenset[str] = NOTHING) -> Json:
        """Return the schema of one value; `owner` is the field shown to clients, `field` may be that of a map entry."""
        keywords = self.constraints(owner).value
        inner = field.message_type
        if inner is not None and inner.full_name in WRAPPERS:
            return constrained(inner.fields_by_name["value"], keywords)
        if inner is not None:
            return self.message(inner, excluded, utc_micros=has_utc_micros(owner), is_inner=True)
        if field.enum_type is None:
            return constrained(field, keywords)
        enum = field.enum_type
        if enum.full_name == NULL_VALUE:
            return {"type": "null"}
        if "enum" in keywords:
            return {"type": "string", "enum": keywords["enum"]}
        return self._components.of_type(enum, Form.ANSWER, lambda: enum_schema(enum, self._comments))

    def _property(self, field: FieldDescriptor, excluded: frozenset[str]) -> Json:
        schema = self.field(field, excluded)
        if self._side is Side.ANSWER and self._is_null_when_absent(field):
            schema = nullable(schema)
        behavior = behavior_of(field)
        schema |= {"readOnly": True} if field_behavior_pb2.OUTPUT_ONLY in behavior else {}
        schema |= {"writeOnly": True} if field_behavior_pb2.INPUT_ONLY in behavior else {}
        schema |= {"deprecated": True} if field.GetOptions().deprecated else {}
        return _described(schema, self._comments.of(field.full_name).text, self._oneof_note(field))

    def _oneof_note(self, field: FieldDescriptor) -> str:
        oneof = field.containing_oneof
        if oneof is None or len(oneof.fields) == 1:
            return ""
        return f"At most one of {', '.join(f'`{one.name}`' for one in shown_in(oneof.fields))}."

    def _is_required(self, field: FieldDescriptor, excluded: frozenset[str]) -> bool:
        if self._side is Side.REQUEST:
            is_bound = field.name in excluded or _is_left_empty(field, inside(field.name, excluded))
            return is_required(field) and not is_bound
        owner = field.containing_type
        is_written = owner is not None and message_mapping(owner).absent_as_null
        return is_written or self.constraints(field).is_always_set

    def _is_null_when_absent(self, field: FieldDescriptor) -> bool:
        owner = field.containing_type
        is_null = field.has_presence and owner is not None and message_mapping(owner).absent_as_null
        return is_null and not self.constraints(field).is_always_set


def inside(name: str, paths: frozenset[str]) -> frozenset[str]:
    """Return the `paths` inside the field `name`, relative to it."""
    return frozenset(path.removeprefix(f"{name}.") for path in paths if path.startswith(f"{name}."))


def is_required(field: FieldDescriptor) -> bool:
    """Return whether clients must and can set a field, according to its proto."""
    has_to = json_fields.is_required(field) or constraints_of(field, in_request=True).is_required
    return has_to and field_behavior_pb2.OUTPUT_ONLY not in behavior_of(field)


def behavior_of(field: FieldDescriptor) -> Iterable[int]:
    """Return the ``google.api.field_behavior`` of a field."""
    found: Iterable[int] = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return found


def shown_in(fields: Iterable[FieldDescriptor]) -> list[FieldDescriptor]:
    """Return those of `fields` that REST shows."""
    return [field for field in fields if not field_mapping(field).grpc_only]


def _is_left_empty(field: FieldDescriptor, excluded: frozenset[str]) -> bool:
    """Return whether all fields of a message are bound elsewhere, so that the message itself can be absent."""
    inner = field.message_type
    return inner is not None and bool(excluded) and {one.name for one in shown_fields(inner)} <= excluded


def _described(schema: Json, *texts: str) -> Json:
    """Return the schema with these texts before its own description."""
    text = "\n\n".join(text for text in (*texts, str(schema.get("description", ""))) if text)
    return schema | {"description": text} if text else schema


def _link() -> Json:
    members: Json = {"rel": {"type": "string", "enum": ["next"]}, "href": {"type": "string", "format": "uri"}}
    return {"type": "object", "properties": members, "required": ["rel", "href"], "description": "Link to a page."}
