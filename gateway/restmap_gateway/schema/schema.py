"""The API that a gateway serves, read from a descriptor set and validated before serving."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from google.api import annotations_pb2
from google.api.http_pb2 import HttpRule
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, MethodOptions
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from restmap.v1 import restmap_pb2
from restmap_gateway.json_map.fields import is_required, shown_fields
from restmap_gateway.schema.conventions import Conventions, read_conventions
from restmap_gateway.schema.descriptor_set import DescriptorSet, Problem, SchemaError, open_set
from restmap_gateway.schema.error_codes import ReasonMapping, read_failure_codes, read_reasons
from restmap_gateway.schema.http_rule import Template, TemplateError, parse
from restmap_gateway.schema.restmap_options import of_method, option_problems
from restmap_gateway.schema.router import RouteConflict, Router
from restmap_gateway.schema.rule_check import (
    annotation_problems,
    is_http_method,
    method_problems,
    pattern_of,
    rule_problems,
)
from restmap_gateway.schema.selection import select
from restmap_gateway.schema.unserved import FaultyOptions, Unserved

__all__ = ["Method", "Problem", "ReasonMapping", "Rule", "Schema", "SchemaError", "Unserved", "load", "needs_body"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One way to call a method over HTTP."""

    http_method: str
    """HTTP method as sent by clients; ``*`` for every method for which the path has no other rule."""
    template: Template
    body: str
    """``""``: no body; ``*``: all fields that the path does not bind; otherwise the name of the request field."""
    response_body: str
    """The response field that is the whole response body; empty: the whole response message."""

    def __str__(self) -> str:
        return f"{self.http_method} {self.template.text}"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service that HTTP can call."""

    full_name: str
    """Name as in gRPC: ``/package.Service/Method``."""
    file: str
    """Name of the proto file that declares the method."""
    request: Descriptor
    response: Descriptor
    request_class: type[Message]
    response_class: type[Message]
    is_idempotent: bool
    """Whether calling the method twice has the same effect as once, according to its ``idempotency_level``."""
    server_streaming: bool
    """Whether the server sends a stream of messages. Methods with a client stream are never served."""
    bindings: tuple[Rule, ...]
    """Rules, never empty: the annotation itself, then its additional bindings."""
    mapping: restmap_pb2.MethodMapping
    """REST options of the method; read-only."""

    @property
    def service(self) -> str:
        """Return the full name of the service: ``package.Service``."""
        return self.full_name.strip("/").partition("/")[0]


@dataclass(frozen=True, slots=True)
class Schema:
    """All data about the served API that a gateway needs."""

    methods: tuple[Method, ...]
    """Methods in the order of the files, never empty."""
    failure_codes: restmap_pb2.FailureCodes | None
    """Codes of failures without a known reason; None if no file sets them."""
    reasons: Mapping[str, Mapping[str, ReasonMapping]]
    """Mappings by domain of an ``ErrorInfo``, then by reason: the name of the enum value without the enum's prefix."""
    conventions: Conventions
    """Conventions of all calls."""
    pool: DescriptorPool
    """Pool with every type of the set and nothing else."""
    files: tuple[FileDescriptorProto, ...]
    """Files, each after its imports, with comments if the set contains them."""
    unserved: tuple[Unserved, ...] = ()
    """Rules that cannot be served; empty for a set that was loaded strictly."""
    left_out: tuple[str, ...] = ()
    """Full names of the services that are not served because the set only imports them."""

    @property
    def http_methods(self) -> frozenset[str]:
        """Return the HTTP methods of all rules, ``*`` included if a rule is for any method."""
        served = (rule.http_method for method in self.methods for rule in method.bindings)
        return frozenset(served) | {one.http_method for one in self.unserved if one.template is not None}


def load(descriptor_set: bytes, *, services: Collection[str] = (), strict: bool = True) -> Schema:
    """Read a self-contained ``FileDescriptorSet`` and check everything in it that could make a call fail.

    Args:
        descriptor_set: as written by ``protoc --include_imports --descriptor_set_out``.
        services: full names (``package.Service``) of the services to serve; empty for all with an annotation that are
            not only imported.
        strict: whether an error in one rule or option prevents serving the set; otherwise the rules without errors are
            served, and the others are in `Schema.unserved`.

    Raises:
        SchemaError: has every problem, each with its file, method and rule. Further problems are unknown only if the
            set cannot be opened at all.
    """
    opened = open_set(descriptor_set)
    of_all = list[Problem]()
    selection, reader = select(opened, services, of_all), _MethodReader(opened, strict=strict)
    methods = reader.without_conflicts(filter(None, map(reader.read, selection.methods)))
    failure_codes = read_failure_codes(opened, of_all)
    reasons = read_reasons(opened, of_all)
    conventions = read_conventions(opened, of_all)
    if of_all or not methods or (strict and reader.problems):
        raise SchemaError([*reader.problems, *of_all])
    return Schema(
        methods,
        failure_codes,
        reasons,
        conventions,
        opened.pool,
        opened.protos,
        tuple(reader.unserved),
        selection.left_out,
    )


def needs_body(method: Method, rule: Rule) -> bool:
    """Return whether a body is required: it must carry a field that the proto calls required.

    Otherwise an empty body means an empty message or an unset field, as in Envoy and grpc-gateway.
    """
    if rule.body != "*":
        return bool(rule.body) and is_required(method.request.fields_by_name[rule.body])
    in_path = {variable.name for variable in rule.template.variables}
    return any(is_required(field) for field in shown_fields(method.request) if field.name not in in_path)


class _MethodReader:
    """Reads methods, and collects what is wrong with them."""

    def __init__(self, opened: DescriptorSet, *, strict: bool) -> None:
        self.problems = [*option_problems(opened)]
        """All errors in options, methods and rules."""
        self.unserved: list[Unserved] = []
        """Rules that cannot be served; incomplete if the reader is strict."""
        self._strict = strict
        self._faults = FaultyOptions(opened, self.problems)

    def read(self, descriptor: MethodDescriptor) -> Method | None:
        """Return an annotated method with the rules that can be served, None if it has none.

        A strict reader keeps rules with errors, to find their conflicts too.
        """
        wrong, rules = [*method_problems(descriptor)], list[Rule]()
        self._add(wrong, descriptor)
        faults = [*wrong, *self._faults.of(descriptor)]
        annotation = descriptor.GetOptions().Extensions[annotations_pb2.http]
        for http in (annotation, *annotation.additional_bindings):
            http_method, path = pattern_of(http)
            text = f"{http_method} {path}".strip()
            template, errors = _template(descriptor, http, is_additional=http is not annotation)
            self._add(errors, descriptor, text)
            if template is not None and (self._strict or not (faults or errors)):
                rules.append(Rule(http_method, template, http.body, http.response_body))
                continue
            reason, route = "; ".join((*faults, *errors)), template if is_http_method(http_method) else None
            self.unserved.append(Unserved(descriptor.full_name, text, reason, http_method, route))
        return _method(descriptor, rules) if rules else None

    def without_conflicts(self, methods: Iterable[Method]) -> tuple[Method, ...]:
        """Return the methods without rules that match the same requests as an earlier rule, if any others are left."""
        router: Router[str] = Router()
        served: list[Method] = []
        for method in methods:
            name, rules = method.full_name.lstrip("/").replace("/", "."), list[Rule]()
            for rule in method.bindings:
                try:
                    router.add(rule.http_method, rule.template, name)
                except RouteConflict as conflict:
                    self.problems.append(Problem(str(conflict), method.file, name, str(rule)))
                    self.unserved.append(Unserved(name, str(rule), str(conflict)))
                else:
                    rules.append(rule)
            if rules:
                served.append(replace(method, bindings=tuple(rules)))
        return tuple(served)

    def _add(self, errors: Iterable[str], descriptor: MethodDescriptor, rule: str = "") -> None:
        file = descriptor.containing_service.file.name
        self.problems += (Problem(error, file, descriptor.full_name, rule) for error in errors)


def _template(
    descriptor: MethodDescriptor, http: HttpRule, *, is_additional: bool
) -> tuple[Template | None, list[str]]:
    """Return the path template of a rule, None if it cannot be parsed, and the errors in the rule."""
    http_method, path = pattern_of(http)
    errors = [*annotation_problems(http, is_additional=is_additional)]
    try:
        template = parse(path)
    except TemplateError as error:
        return None, [*errors, *([str(error)] if http_method else [])]
    return template, [*errors, *rule_problems(descriptor, template, http.body, http.response_body)]


def _method(descriptor: MethodDescriptor, rules: Iterable[Rule]) -> Method:
    return Method(
        full_name=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        file=descriptor.containing_service.file.name,
        request=descriptor.input_type,
        response=descriptor.output_type,
        request_class=GetMessageClass(descriptor.input_type),
        response_class=GetMessageClass(descriptor.output_type),
        is_idempotent=descriptor.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
        server_streaming=descriptor.server_streaming,
        bindings=tuple(rules),
        mapping=of_method(descriptor),
    )
