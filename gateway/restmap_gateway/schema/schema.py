"""The API that a gateway serves, read from a descriptor set and validated as a whole before serving."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.api import annotations_pb2
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
from restmap_gateway.schema.rule_check import annotation_problems, method_problems, pattern_of, rule_problems

__all__ = ["Method", "Problem", "ReasonMapping", "Rule", "Schema", "SchemaError", "load", "needs_body"]


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

    @property
    def http_methods(self) -> frozenset[str]:
        """Return the HTTP methods of all rules, ``*`` included if a rule is for any method."""
        return frozenset(rule.http_method for method in self.methods for rule in method.bindings)


def load(descriptor_set: bytes, *, services: Collection[str] = ()) -> Schema:
    """Read a self-contained ``FileDescriptorSet`` and check everything in it that could make a call fail.

    Args:
        descriptor_set: as written by ``protoc --include_imports --descriptor_set_out``.
        services: full names (``package.Service``) of the services to serve; empty for all with an annotation.

    Raises:
        SchemaError: has every problem, each with its file, method and rule. Further problems are unknown only if the
            set cannot be opened at all.
    """
    opened = open_set(descriptor_set)
    problems = [*option_problems(opened)]
    methods = [_method(descriptor, problems) for descriptor in _annotated(opened, services, problems)]
    problems += _conflicts(methods)
    failure_codes = read_failure_codes(opened, problems)
    reasons = read_reasons(opened, problems)
    conventions = read_conventions(opened, problems)
    if problems:
        raise SchemaError(problems)
    return Schema(tuple(methods), failure_codes, reasons, conventions, opened.pool, opened.protos)


def needs_body(method: Method, rule: Rule) -> bool:
    """Return whether a body is required: it must carry a field that the proto calls required.

    Otherwise an empty body means an empty message or an unset field, as in Envoy and grpc-gateway.
    """
    if rule.body != "*":
        return bool(rule.body) and is_required(method.request.fields_by_name[rule.body])
    in_path = {variable.name for variable in rule.template.variables}
    return any(is_required(field) for field in shown_fields(method.request) if field.name not in in_path)


def _annotated(opened: DescriptorSet, wanted: Collection[str], problems: list[Problem]) -> list[MethodDescriptor]:
    """Return the annotated methods of the wanted services, or of all; services without any become problems."""
    services = {service.full_name: service for file in opened.files for service in file.services_by_name.values()}
    methods = {name: [m for m in service.methods if _is_annotated(m)] for name, service in services.items()}
    for name in sorted(wanted):
        if name not in services:
            known = ", ".join(services) or "none"
            problems.append(Problem(f"there is no service {name!r} in the set, it has: {known}"))
        elif not methods[name]:
            problems.append(Problem("no method has a google.api.http annotation", services[name].file.name, name))
    if not wanted and not any(methods.values()):
        problems.append(Problem("no method of the set has a google.api.http annotation"))
    return [method for name, found in methods.items() if not wanted or name in wanted for method in found]


def _is_annotated(method: MethodDescriptor) -> bool:
    return bool(method.GetOptions().HasExtension(annotations_pb2.http))


def _method(descriptor: MethodDescriptor, problems: list[Problem]) -> Method:
    """Return the method with its valid rules; add the errors to the problems."""
    file = descriptor.containing_service.file.name
    problems += (Problem(text, file, descriptor.full_name) for text in method_problems(descriptor))
    rules: list[Rule] = []
    annotation = descriptor.GetOptions().Extensions[annotations_pb2.http]
    for http in (annotation, *annotation.additional_bindings):
        http_method, path = pattern_of(http)
        texts = [*annotation_problems(http, is_additional=http is not annotation)]
        try:
            rule = Rule(http_method, parse(path), http.body, http.response_body)
        except TemplateError as error:
            texts += [str(error)] if http_method else []
        else:
            rules.append(rule)
            texts += rule_problems(descriptor, rule.template, rule.body, rule.response_body)
        problems += (Problem(text, file, descriptor.full_name, f"{http_method} {path}".strip()) for text in texts)
    return Method(
        full_name=f"/{descriptor.containing_service.full_name}/{descriptor.name}",
        file=file,
        request=descriptor.input_type,
        response=descriptor.output_type,
        request_class=GetMessageClass(descriptor.input_type),
        response_class=GetMessageClass(descriptor.output_type),
        is_idempotent=descriptor.GetOptions().idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN,
        server_streaming=descriptor.server_streaming,
        bindings=tuple(rules),
        mapping=of_method(descriptor),
    )


def _conflicts(methods: Iterable[Method]) -> Iterator[Problem]:
    """Yield a problem for each rule that matches the same requests as an earlier one."""
    router: Router[str] = Router()
    for method in methods:
        name = method.full_name.lstrip("/").replace("/", ".")
        for rule in method.bindings:
            try:
                router.add(rule.http_method, rule.template, name)
            except RouteConflict as conflict:
                yield Problem(str(conflict), method.file, name, str(rule))
