"""HTTP request → request message of one rule, from path, body, query and headers; compiled once, then only called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, EncodeError, Message

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map import JsonMap, Reader
from restmap_gateway.json_map.fields import field_mapping
from restmap_gateway.json_map.reader import UnknownMember
from restmap_gateway.json_map.text import MOST_VALUES, parse
from restmap_gateway.json_map.text_field import TextField, field_at, text_field
from restmap_gateway.json_map.well_known.http_body import Headers, content_reader
from restmap_gateway.schema.restmap_options import fields_by_json_name
from restmap_gateway.schema.schema import Method, Rule, needs_body
from restmap_gateway.transcode.query import QueryReader

_SURELY_SHALLOW = 30
"""Levels of a body that always fit into the 100 levels of messages that servers decode, whatever each level holds."""


class Binding:
    """Makes the request message of one method from HTTP requests that match one of its rules."""

    def __init__(
        self,
        method: Method,
        rule: Rule,
        json_map: JsonMap,
        *,
        max_depth: int = 100,
        max_values: int = MOST_VALUES,
        on_unknown: UnknownMember | None = None,
    ) -> None:
        """Compile a rule that `schema.load` has validated.

        Args:
            method: method whose request message is made.
            rule: one of the bindings of the method.
            json_map: makes the reader of the body.
            max_depth: maximum levels of nested objects and arrays in a body, and of nested names in a query.
            max_values: maximum total of object members and array elements in a body.
            on_unknown: None: unknown members and query parameters are errors. Otherwise they are ignored, and this
                callback gets the full name of the message and the name of the member.
        """
        self._request_class = method.request_class
        self._request_name = method.request.full_name
        self._on_unknown = on_unknown
        path_names = frozenset(variable.name for variable in rule.template.variables)
        self._path = {name: text_field(field_at(method.request, name.split("."))) for name in path_names}
        self._body = _BodyReader(method, rule, path_names, json_map, max_depth, max_values, on_unknown)
        self._headers = _HeaderReader(method.request)
        bound = dict.fromkeys(path_names, "the path")
        if self._body.field_name:
            bound[self._body.field_name] = "the body"
        self._query = QueryReader(method.request, bound, is_open=rule.body != "*", max_depth=max_depth)
        self._in_path = frozenset(field.name for field in self._path.values() if not field.outer)
        self.takes_body = self._body.takes_body
        """Whether the rule reads a body, so that its headers matter."""
        self.takes_json = self._body.takes_json
        """Whether the body that the rule reads is JSON, not any content."""

    def query_names(self) -> frozenset[str]:
        """Return the names of query parameters that set a field of the request itself."""
        return self._query.names

    def bind(self, path_values: Mapping[str, str], query: str, headers: Headers, body: bytes | None) -> Message:
        """Return the request message.

        Args:
            path_values: decoded text of each variable of the template, as returned by `Router.match`.
            query: raw query, percent-encoded, without the question mark; empty for none.
            headers: headers of the request.
            body: complete body; None or empty for none.

        Raises:
            InvalidRequest: has all errors in path, query and headers, and the first error in the body. Each field has
                the name that the client wrote; a header has its own name.
        """
        request = self._request_class()
        violations = [*_set_all(self._path, path_values, request)]
        given = set(self._in_path)
        try:
            given |= self._body.read(body, headers, request)
        except InvalidRequest as invalid:
            violations += invalid.violations
        if query:
            in_query, wrong = self._query.read(query, request, self._report_unknown if self._on_unknown else None)
            given |= in_query
            violations += wrong
        violations += self._headers.read(headers, request, self._in_path, given)
        if violations:
            raise InvalidRequest(*violations)
        self._check_whole(request, query, body)
        return request

    def _check_whole(self, request: Message, query: str, body: bytes | None) -> None:
        """Reject a request that no server could read, so that the failure is not blamed on the server."""
        made = self._request_class
        if not made.IsInitialized(request):
            find_missing: Callable[[Message], list[str]] = made.FindInitializationErrors  # type: ignore[attr-defined]
            raise InvalidRequest(*(Violation(name, "is missing, but required") for name in find_missing(request)))
        levels = (body or b"").count(b"{") + (body or b"").count(b"[") + query.count(".")
        if levels > _SURELY_SHALLOW:
            try:
                made.FromString(made.SerializeToString(request))
            except (DecodeError, EncodeError):
                text = "the request is nested deeper than the 100 levels of messages that servers read"
                raise InvalidRequest(Violation("", text)) from None

    def _report_unknown(self, name: str) -> None:
        if self._on_unknown is not None:
            self._on_unknown(self._request_name, name)


def _set_all(fields: Mapping[str, TextField], values: Mapping[str, str], request: Message) -> list[Violation]:
    violations: list[Violation] = []
    for name, field in fields.items():
        try:
            field.set(request, [values[name]])
        except ValueError as error:
            violations.append(Violation(name, str(error)))
    return violations


class _BodyReader:
    """Reads the body of a rule: none, the whole request, or one field of it."""

    def __init__(
        self,
        method: Method,
        rule: Rule,
        path_names: frozenset[str],
        json_map: JsonMap,
        max_depth: int,
        max_values: int,
        on_unknown: UnknownMember | None,
    ) -> None:
        request, body = method.request, rule.body
        self.takes_body = bool(body)
        self._read_content = content_reader(request, body, path_names)
        self.takes_json = self.takes_body and self._read_content is None
        self.field_name = "" if body == "*" else body
        self._max_depth = max_depth
        self._max_values = max_values
        self._members = {name: field.name for name, field in fields_by_json_name(request).items()}
        self._needs_body = needs_body(method, rule)
        self._expected = "a JSON object" if body == "*" else f"the JSON value of {body}"
        self._read = _json_reader(request, body, path_names, json_map, on_unknown)

    def read(self, body: bytes | None, headers: Headers, request: Message) -> set[str]:
        """Fill the request; return the original names of the top-level fields in the body.

        Raises:
            InvalidRequest: the body does not fit the rule.
        """
        if not body:
            if self._needs_body:
                raise InvalidRequest(Violation("", f"the body is empty, expected {self._expected}"))
            return set()
        if self._read is None:
            raise InvalidRequest(Violation("", "there is a body, but this call takes none"))
        if self._read_content is not None:
            self._read_content(body, headers, request)
            return {self.field_name or "data"}
        value = parse(body, max_depth=self._max_depth, max_values=self._max_values)
        self._read(value, request)
        if self.field_name:
            return {self.field_name}
        members = value if isinstance(value, dict) else {}
        return {self._members[name] for name, item in members.items() if item is not None and name in self._members}


def _json_reader(
    request: Descriptor, body: str, path_names: frozenset[str], json_map: JsonMap, on_unknown: UnknownMember | None
) -> Reader | None:
    lenient = on_unknown is not None
    if not body:
        return None
    if body == "*":
        return json_map.reader(request, excluded=path_names, lenient=lenient, on_unknown=on_unknown)
    inside = frozenset(name.removeprefix(f"{body}.") for name in path_names if name.startswith(f"{body}."))
    field = request.fields_by_name[body]
    return json_map.field_reader(field, excluded=inside, lenient=lenient, on_unknown=on_unknown)


class _HeaderReader:
    """Reads request fields from headers; only top-level fields, not nested ones."""

    def __init__(self, request: Descriptor) -> None:
        bound = [
            (mapping.header, text_field((field,)), mapping.header_wins)
            for field in request.fields
            if (mapping := field_mapping(field)).header
        ]
        self._fields = tuple(bound)

    def read(self, headers: Headers, request: Message, in_path: frozenset[str], given: set[str]) -> list[Violation]:
        """Fill the request; `given` holds the original names of the fields set by path, body or query."""
        violations: list[Violation] = []
        for header, field, wins in self._fields:
            values = headers.getall(header, [])
            if not any(values) if wins else not values:
                continue
            try:
                _refuse_more(field.name, len(values), in_path if wins else given)
                if wins:
                    request.ClearField(field.name)
                field.set(request, values)
            except ValueError as error:
                violations.append(Violation(header, str(error)))
        return violations


def _refuse_more(name: str, count: int, given: Set[str]) -> None:
    if count > 1:
        raise ValueError(f"the header is given {count} times, expected once")
    if name in given:
        raise ValueError(f"the header and the request both give {name}, expected one of them")
