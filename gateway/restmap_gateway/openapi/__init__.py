"""Describes a schema as OpenAPI 3.1, from the same rules that match requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import FieldDescriptor

from restmap.v1.restmap_pb2 import SecurityScheme
from restmap_gateway.json_map.line_form import line_form
from restmap_gateway.openapi.comments import Comments
from restmap_gateway.openapi.examples import example_of, example_of_field
from restmap_gateway.openapi.failures import (
    BODY,
    FailureResponses,
    all_answers_headers,
    error_schema,
)
from restmap_gateway.openapi.parameters import Parameters
from restmap_gateway.openapi.paths import Path, path_of
from restmap_gateway.openapi.schemas import Schemas, Side, inside, reference
from restmap_gateway.openapi.streams import stream_content
from restmap_gateway.openapi.values import Json
from restmap_gateway.schema.schema import Method, Rule, Schema, needs_body

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
_OTHER_METHODS = "x-additionalOperations"
"""Member of a path for operations with HTTP methods that OpenAPI 3.1 lacks, by method as sent."""

_MOST_NAMED = 5


def describe(schema: Schema, *, version: str | None, server_url: str | None) -> dict[str, object]:
    """Return the description of the whole served API, ready for JSON.

    Args:
        schema: API to describe; its comments become summaries and descriptions.
        version: version of the API; None: the last part of the first service's package name.
        server_url: base URL of the paths; None: the host that serves the description.
    """
    comments = Comments(schema.files)
    id_form, failures = schema.conventions.request_id, FailureResponses(schema)
    components: dict[str, object] = {BODY: error_schema(id_form)}
    described = _Operations(schema, comments, components, failures)
    paths = described.paths()
    description: Json = {"openapi": "3.1.0", "info": _info(schema, version)}
    security, schemes = _security(schema.conventions.security_schemes)
    return description | {
        "servers": [{"url": server_url or "/"}],
        "tags": described.tags(),
        "paths": paths,
        **security,
        "components": {
            "schemas": components,
            "responses": failures.components(),
            "headers": failures.request_id_header(),
            **schemes,
        },
    }


def _info(schema: Schema, version: str | None) -> Json:
    packages = list(dict.fromkeys(_service(method).rpartition(".")[0] for method in schema.methods))
    about = (
        f"Every response has `{schema.conventions.request_id.header}`, the id of the request in the logs. "
        "All failures have the same shape, with a `code` for programs and a `message` for people."
    )
    return {
        "title": schema.conventions.api_title or ", ".join(filter(None, packages)) or "API",
        "version": version or packages[0].rpartition(".")[2] or "1",
        "description": about,
    }


def _security(schemes: Sequence[SecurityScheme]) -> tuple[Json, Json]:
    """Return the security requirements of the description and their components; both empty without schemes."""
    if not schemes:
        return {}, {}
    described: Json = {
        one.name: {"type": "apiKey", "in": "header", "name": one.header}
        if one.header
        else {"type": "http", "scheme": one.authorization}
        for one in schemes
    }
    return {"security": [{one.name: []} for one in schemes]}, {"securitySchemes": described}


@dataclass(slots=True)
class _PathItem:
    """The operations of paths that are the same path in OpenAPI."""

    text: str
    names: tuple[str, ...]
    """Names of the parameters, for all operations."""
    operations: Json = field(default_factory=dict)
    """Operations by HTTP method."""


class _Operations:
    """Makes the operations of all rules."""

    def __init__(
        self, schema: Schema, comments: Comments, components: dict[str, object], failures: FailureResponses
    ) -> None:
        self._schema = schema
        self._comments = comments
        self._requests = Schemas(comments, Side.REQUEST, components)
        self._answers = Schemas(comments, Side.ANSWER, components)
        self._parameters = Parameters(self._requests, comments)
        self._failures = failures.references()
        self._id_form = schema.conventions.request_id
        self._names = _Names(schema)

    def tags(self) -> list[Json]:
        """Return a tag for each service."""
        found: list[Json] = []
        for service in dict.fromkeys(_service(method) for method in self._schema.methods):
            text = self._comments.of(service).text
            tag: Json = {"name": self._names.tag(service)}
            found.append(tag | ({"description": text} if text else {}))
        return found

    def paths(self) -> Json:
        """Return the path items."""
        items: dict[tuple[str | None, ...], list[_PathItem]] = {}
        for method in self._schema.methods:
            for number, rule in enumerate(method.bindings, 1):
                path = path_of(rule.template)
                item = _place(items.setdefault(path.shape, []), path, rule.http_method)
                item.operations[rule.http_method] = self._operation(method, rule, path, item.names, number)
        return {item.text: _written(item) for same_shape in items.values() for item in same_shape}

    def _operation(self, method: Method, rule: Rule, path: Path, names: tuple[str, ...], number: int) -> Json:
        comment = self._comments.of(_full_name(method))
        in_query, cut = self._parameters.in_query(method, rule)
        parameters = [
            *self._parameters.in_path(method, path, names),
            *in_query,
            *self._parameters.in_headers(method),
        ]
        text = "\n\n".join(part for part in (comment.text, _cut_note(cut)) if part)
        operation: Json = {"operationId": self._names.operation(method, number)}
        operation |= {"summary": comment.summary} if comment.summary else {}
        operation |= {"description": text} if not comment.is_one_sentence or cut else {}
        operation |= {"tags": [self._names.tag(_service(method))]}
        operation |= {"parameters": parameters} if parameters else {}
        operation |= {"requestBody": self._request_body(method, rule)} if rule.body else {}
        options = self._schema.pool.FindMethodByName(_full_name(method)).GetOptions()
        operation |= {"deprecated": True} if options.deprecated else {}
        return operation | {"responses": {"200": self._success(method, rule), **self._failures}}

    def _request_body(self, method: Method, rule: Rule) -> Json:
        in_path = frozenset(variable.name for variable in rule.template.variables)
        if rule.body == "*":
            schema = self._requests.message(method.request, in_path)
            example: object = example_of(method.request, in_path)
        else:
            body = method.request.fields_by_name[rule.body]
            schema = self._requests.whole_field(body, inside(rule.body, in_path))
            example = example_of_field(body, inside(rule.body, in_path))
        content = {"application/json": {"schema": schema, "example": example}}
        return {"required": needs_body(method, rule), "content": content}

    def _success(self, method: Method, rule: Rule) -> Json:
        answer: Json = {"description": "Success.", "headers": all_answers_headers(self._id_form)}
        if method.server_streaming:
            return answer | {"description": "A stream of messages.", "content": self._stream(method, rule)}
        if method.mapping.empty_body:
            return answer | {"description": "Success, without a body."}
        return answer | {"content": {"application/json": {"schema": self._answer(method, rule)}}}

    def _answer(self, method: Method, rule: Rule) -> Json:
        if rule.response_body:
            whole: FieldDescriptor = method.response.fields_by_name[rule.response_body]
            return self._answers.whole_field(whole)
        if not method.mapping.HasField("offset_paging"):
            return self._answers.message(method.response)
        schema = self._answers.object(method.response)
        properties = schema["properties"]
        members = properties if isinstance(properties, dict) else {}
        return schema | {"properties": members | {method.mapping.offset_paging.links_member: _links()}}

    def _stream(self, method: Method, rule: Rule) -> Json:
        whole = method.response.fields_by_name[rule.response_body] if rule.response_body else None
        form = line_form(method.response, whole)
        return stream_content(self._answer(method, rule), reference("schemas", BODY), error_schema(self._id_form), form)


class _Names:
    """Names of services and operations; short if that is unique."""

    def __init__(self, schema: Schema) -> None:
        services = {_service(method) for method in schema.methods}
        self._services = Counter(service.rpartition(".")[2] for service in services)

    def tag(self, service: str) -> str:
        """Return the name of a service."""
        short = service.rpartition(".")[2]
        return short if self._services[short] == 1 else service

    def operation(self, method: Method, number: int) -> str:
        """Return the name of a method's rule; rules count from 1."""
        name = f"{self.tag(_service(method)).replace('.', '_')}_{method.full_name.rpartition('/')[2]}"
        return name if number == 1 else f"{name}_{number}"


def _place(same_shape: list[_PathItem], path: Path, http_method: str) -> _PathItem:
    """Return the path item for an operation: the first of this shape without the HTTP method, or a new one."""
    for item in same_shape:
        if http_method not in item.operations:
            return item
    # Only templates that differ in `*` and `**` get here; the keys of paths must differ.
    names = tuple(f"{slot.name}{'_' * len(same_shape)}" for slot in path.slots)
    same_shape.append(_PathItem(path.text(names), names))
    return same_shape[-1]


def _written(item: _PathItem) -> Json:
    known = {name.lower(): one for name, one in item.operations.items() if name in _METHODS}
    others = {name: one for name, one in item.operations.items() if name not in _METHODS}
    return known | ({_OTHER_METHODS: others} if others else {})


def _links() -> Json:
    link: Json = {
        "type": "object",
        "properties": {"rel": {"type": "string", "enum": ["next"]}, "href": {"type": "string", "format": "uri"}},
        "required": ["rel", "href"],
    }
    return {"type": "array", "items": link, "description": "Link to the next page; absent on the last page."}


def _cut_note(cut: list[str]) -> str:
    if not cut:
        return ""
    names = ", ".join(f"`{name}`" for name in cut[:_MOST_NAMED])
    others = " and others" if len(cut) > _MOST_NAMED else ""
    return f"The query may also name fields inside of {names}{others}, each behind a dot."


def _service(method: Method) -> str:
    return method.full_name.strip("/").partition("/")[0]


def _full_name(method: Method) -> str:
    return method.full_name.strip("/").replace("/", ".")
