"""Describes a schema as OpenAPI 3.1, from the same rules that match requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from google.protobuf.descriptor import FieldDescriptor

from restmap.v1.restmap_pb2 import SecurityScheme
from restmap_gateway.json_map.line_form import line_form
from restmap_gateway.json_map.well_known.http_body import is_content
from restmap_gateway.openapi.comments import Comments
from restmap_gateway.openapi.common_parameters import CommonParameters
from restmap_gateway.openapi.components import Components
from restmap_gateway.openapi.examples import example_of, example_of_field, example_of_response
from restmap_gateway.openapi.failures import FailureResponses
from restmap_gateway.openapi.names import Names, OperationNames
from restmap_gateway.openapi.not_served import not_served
from restmap_gateway.openapi.parameters import Parameters
from restmap_gateway.openapi.paths import Path, path_of
from restmap_gateway.openapi.schemas import Schemas, Side, inside
from restmap_gateway.openapi.streams import stream_content
from restmap_gateway.openapi.values import Json
from restmap_gateway.schema.schema import Method, Rule, Schema, needs_body

_METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})
_OTHER_METHODS = "x-additionalOperations"
"""Member of a path for operations with HTTP methods that OpenAPI 3.1 lacks, by method as sent."""

_ANY_CONTENT = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
"""Content of a body that is not JSON."""

_MOST_NAMED = 5
_VERSION = re.compile(r"v[0-9]+[a-z0-9_]*")


def describe(schema: Schema, *, version: str | None, server_url: str | None) -> dict[str, object]:
    """Return the description of the whole served API, ready for JSON.

    Args:
        schema: API to describe; its comments become summaries and descriptions.
        version: version of the API if no file sets one; None: the first version in a package.
        server_url: base URL of the paths; None: the host that serves the description.
    """
    components, names = Components(), OperationNames(schema.methods)
    described = _Operations(schema, Comments(schema.files), components, names)
    paths = described.paths()
    security, schemes = _security(schema.conventions.security_schemes)
    description: Json = {
        "openapi": "3.1.0",
        "info": _info(schema, version),
        "servers": [{"url": server_url or "/"}],
        "tags": described.tags(),
        "paths": paths,
        **security,
        "components": schemes,
    }
    return components.named(description, Names(names.types()))


def _info(schema: Schema, version: str | None) -> Json:
    packages = list(dict.fromkeys(method.service.rpartition(".")[0] for method in schema.methods))
    conventions = schema.conventions
    about = (
        f"Every response has `{conventions.request_id.header}`, the id of the request in the logs. "
        "All failures have the same shape, with a `code` for programs and a `message` for people."
    )
    info: Json = {
        "title": conventions.api_title or ", ".join(filter(None, packages)) or "API",
        "version": conventions.api_version or version or _version_in(packages),
        "description": "\n\n".join(filter(None, (conventions.api_description, about + not_served(schema)))),
    }
    for member, option in (("contact", conventions.api_contact), ("license", conventions.api_license)):
        if option is not None:
            info[member] = {field.name: value for field, value in option.ListFields()}
    return info


def _version_in(packages: Iterable[str]) -> str:
    """Return the first version at the end of a package, such as ``v1beta1``; 1 if none has one."""
    ends = (package.rpartition(".")[2] for package in packages)
    return next(filter(_VERSION.fullmatch, ends), "1")


def _security(schemes: Sequence[SecurityScheme]) -> tuple[Json, Json]:
    """Return the security requirements of the description and their components; both empty without schemes."""
    if not schemes:
        return {}, {}
    described: Json = {
        one.name: (
            {"type": "apiKey", "in": "header", "name": one.header}
            if one.header
            else {"type": "http", "scheme": one.authorization}
        )
        | ({"description": one.description} if one.description else {})
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

    def __init__(self, schema: Schema, comments: Comments, components: Components, names: OperationNames) -> None:
        self._schema = schema
        self._comments = comments
        self._requests = Schemas(comments, Side.REQUEST, components)
        self._answers = Schemas(comments, Side.ANSWER, components)
        self._parameters = Parameters(self._requests, comments)
        self._common = CommonParameters(schema.conventions, components)
        failures = FailureResponses(schema, components, self._common)
        self._failures = failures.references()
        self._headers = failures.headers()
        self._failure, self._error = failures.body(), failures.error()
        self._names = names

    def tags(self) -> list[Json]:
        """Return a tag for each service."""
        found: list[Json] = []
        for service in dict.fromkeys(method.service for method in self._schema.methods):
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
        parameters += self._common.parameters([str(one["name"]) for one in parameters if one["in"] != "path"])
        text = "\n\n".join(part for part in (comment.text, _cut_note(cut)) if part)
        operation: Json = {"operationId": self._names.operation(method, number)}
        operation |= {"summary": comment.summary} if comment.summary else {}
        operation |= {"description": text} if not comment.is_one_sentence or cut else {}
        operation |= {"tags": [self._names.tag(method.service)]}
        operation |= {"parameters": parameters} if parameters else {}
        operation |= {"requestBody": self._request_body(method, rule)} if rule.body else {}
        options = self._schema.pool.FindMethodByName(_full_name(method)).GetOptions()
        operation |= {"deprecated": True} if options.deprecated else {}
        return operation | {"responses": {"200": self._success(method, rule), **self._failures}}

    def _request_body(self, method: Method, rule: Rule) -> Json:
        if is_content(method.request, rule.body):
            return {"required": needs_body(method, rule), "content": _ANY_CONTENT}
        in_path = frozenset(variable.name for variable in rule.template.variables)
        if rule.body == "*":
            schema = self._requests.message(method.request, in_path)
            example = example_of(method.request, in_path)
        else:
            body = method.request.fields_by_name[rule.body]
            schema = self._requests.whole_field(body, inside(rule.body, in_path))
            example = example_of_field(body, inside(rule.body, in_path))
        content = {"application/json": {"schema": schema, **example}}
        return {"required": needs_body(method, rule), "content": content}

    def _success(self, method: Method, rule: Rule) -> Json:
        answer: Json = {"description": "Success.", "headers": self._headers}
        if is_content(method.response, rule.response_body) and not method.mapping.empty_body:
            return answer | {"content": _ANY_CONTENT}
        if method.server_streaming:
            return answer | {"description": "A stream of messages.", "content": self._stream(method, rule)}
        if method.mapping.empty_body:
            return answer | {"description": "Success, without a body."}
        example = {} if rule.response_body else example_of_response(method.response)
        return answer | {"content": {"application/json": {"schema": self._answer(method, rule), **example}}}

    def _answer(self, method: Method, rule: Rule) -> Json:
        if rule.response_body:
            whole: FieldDescriptor = method.response.fields_by_name[rule.response_body]
            return self._answers.whole_field(whole)
        if not method.mapping.HasField("offset_paging"):
            return self._answers.message(method.response)
        return self._answers.page(method.response, method.mapping.offset_paging.links_member)

    def _stream(self, method: Method, rule: Rule) -> Json:
        whole = method.response.fields_by_name[rule.response_body] if rule.response_body else None
        form = line_form(method.response, whole)
        return stream_content(self._answer(method, rule), self._failure, self._error, form)


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


def _cut_note(cut: list[str]) -> str:
    if not cut:
        return ""
    names = ", ".join(f"`{name}`" for name in cut[:_MOST_NAMED])
    others = " and others" if len(cut) > _MOST_NAMED else ""
    return f"The query may also name fields inside of {names}{others}, each behind a dot."


def _full_name(method: Method) -> str:
    return method.full_name.strip("/").replace("/", ".")
