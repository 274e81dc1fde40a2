"""Data in a request outside its body: parameters in path, query and headers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from restmap_gateway.json_map.fields import field_mapping, map_entry, message_mapping, shown_fields
from restmap_gateway.json_map.text_field import field_at
from restmap_gateway.json_map.well_known.text_forms import RFC3339
from restmap_gateway.openapi.comments import Comments
from restmap_gateway.openapi.paths import Path, Slot
from restmap_gateway.openapi.schemas import Schemas, behavior_of, is_required
from restmap_gateway.openapi.values import FIELD_MASK, Json
from restmap_gateway.schema.restmap_options import has_text_form
from restmap_gateway.schema.schema import Method, Rule

MOST_IN_QUERY = 200
"""Maximum described query parameters inside messages; nested messages can have any number."""

_NOT_A_PARAMETER = frozenset({"accept", "content-type", "authorization"})
"""Headers that OpenAPI describes in another way."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A message whose fields a query can name."""

    message: Descriptor
    prefix: str
    """Prefix of the names of its fields: ``outer.`` or empty."""
    is_required: bool
    """Whether all enclosing messages are required."""
    around: tuple[str, ...]
    """Full names of the enclosing messages and of this one."""


class Parameters:
    """Describes the parameters of rules."""

    def __init__(self, schemas: Schemas, comments: Comments) -> None:
        """Store the maker of value schemas, and the comments that become descriptions."""
        self._schemas = schemas
        self._comments = comments

    def in_path(self, method: Method, path: Path, names: tuple[str, ...]) -> list[Json]:
        """Return the parameters of a path, under these names."""
        return [self._slot(method, slot, name) for slot, name in zip(path.slots, names, strict=True)]

    def in_query(self, method: Method, rule: Rule) -> tuple[list[Json], list[str]]:
        """Return the query parameters of a rule, and the messages (``outer.inner``) that are not fully described."""
        if rule.body == "*":
            return [], []
        bound = {variable.name for variable in rule.template.variables} | {rule.body}
        parameters: list[Json] = []
        cut: list[str] = []
        empty: Json = {"allowEmptyValue": True} if message_mapping(method.request).empty_query_is_absent else {}
        entered = 0
        waiting = deque([_Step(method.request, "", True, (method.request.full_name,))])
        while waiting:
            step = waiting.popleft()
            for field in shown_fields(step.message):
                name = f"{step.prefix}{field.name}"
                if name in bound or field_behavior_pb2.OUTPUT_ONLY in behavior_of(field):
                    continue
                inner = _with_fields(field)
                if inner is None:
                    parameters += (parameter | empty for parameter in self._of_field(field, step))
                elif inner.full_name in step.around or entered + len(inner.fields) > MOST_IN_QUERY:
                    cut.append(name)
                else:
                    entered += len(inner.fields)
                    is_all_required = step.is_required and is_required(field)
                    waiting.append(_Step(inner, f"{name}.", is_all_required, (*step.around, inner.full_name)))
        return parameters, cut

    def in_headers(self, method: Method) -> list[Json]:
        """Return the headers that carry fields of the request.

        A time has a pattern, not the format `date-time`: openapi-python-client would leave out the call.
        """
        found: list[Json] = []
        for field in method.request.fields:
            mapping = field_mapping(field)
            if mapping.header and mapping.header.lower() not in _NOT_A_PARAMETER:
                only_here = mapping.grpc_only and is_required(field)
                schema = self._schemas.field(field)
                if schema.get("format") == "date-time":
                    schema = {"type": "string", "pattern": f"^{RFC3339.pattern}$"}
                found.append(self._parameter(mapping.header, "header", schema, field, is_required=only_here))
        return found

    def _slot(self, method: Method, slot: Slot, name: str) -> Json:
        field = field_at(method.request, slot.variable.field_path)[-1] if slot.variable is not None else None
        text_schema: Json = {"type": "string"}
        schema = text_schema if field is None or slot.pattern else self._schemas.field(field)
        if schema == text_schema and not slot.is_open:
            schema = text_schema | {"minLength": 1}
        parameter = self._parameter(name, "path", schema, field, is_required=True)
        notes = [str(parameter.pop("description", "")), *_notes(slot, name)]
        text = "\n\n".join(note for note in notes if note)
        return parameter | ({"description": text} if text else {})

    def _of_field(self, field: FieldDescriptor, step: _Step) -> Iterator[Json]:
        """Yield the parameter of a field, whose description names its aliases; none if a query cannot set the field."""
        if map_entry(field) or not has_text_form(field):
            return
        schema = self._schemas.field(field)
        if field_mapping(field).saturates:
            schema = self._unbounded(schema, field)
        has_to = step.is_required and is_required(field)
        parameter = self._parameter(f"{step.prefix}{field.name}", "query", schema, field, is_required=has_to)
        # An alias is no parameter of its own: no keyword says that two parameters cannot differ.
        aliases = [f"`{step.prefix}{alias}`" for alias in field_mapping(field).query_aliases]
        note = f"Can also be named {' or '.join(aliases)}." if aliases else ""
        text = "\n\n".join(part for part in (str(parameter.get("description", "")), note) if part)
        yield parameter | ({"description": text} if text else {})

    def _unbounded(self, schema: Json, field: FieldDescriptor) -> Json:
        """Return the schema of an integer, or of several, without the limits of its type."""
        items = schema.get("items")
        if isinstance(items, dict):
            return schema | {"items": self._unbounded(items, field)}
        return {"type": "integer", **self._schemas.constraints(field).value}

    def _parameter(
        self, name: str, place: str, schema: Json, field: FieldDescriptor | None, *, is_required: bool
    ) -> Json:
        parameter: Json = {"name": name, "in": place, "required": is_required, "schema": _as_text(schema, field)}
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": True}
        if field is not None:
            parameter |= {"deprecated": True} if field.GetOptions().deprecated else {}
            text = self._comments.of(field.full_name).text
            parameter |= {"description": text} if text else {}
        return parameter


def _as_text(schema: Json, field: FieldDescriptor | None) -> Json:
    """Return the schema of a value written as text: null has a name there, and field masks may have original names.

    Examples are removed: a page would fill them in when somebody tries the call, and send them.
    """
    items = schema.get("items")
    if isinstance(items, dict):
        return schema | {"items": _as_text(items, field)}
    if schema.get("type") == "null":
        return {"type": "string", "enum": ["NULL_VALUE"]}
    if field is not None and field.message_type is not None and field.message_type.full_name == FIELD_MASK:
        return {"type": "string", "description": "Field paths, separated by commas."}
    return {key: value for key, value in schema.items() if key != "examples"}


def _notes(slot: Slot, name: str) -> Iterator[str]:
    if slot.variable is None:
        yield "Any text; nothing looks at it."
    elif "/" in slot.pattern:
        whole = slot.pattern.replace("{}", f"{{{name}}}")
        yield f"The part of `{slot.variable.name}` in braces: `{whole}`."
    elif slot.variable.name != name:
        yield f"The field `{slot.variable.name}` of the request."
    if slot.is_open:
        yield "Takes any number of segments, also none; a `/` between them is sent as it is, not as `%2F`."


def _with_fields(field: FieldDescriptor) -> Descriptor | None:
    """Return the message in a field if a query can name its fields."""
    inner = field.message_type
    if inner is None or field.is_repeated or inner.file.package == "google.protobuf":
        return None
    return inner
