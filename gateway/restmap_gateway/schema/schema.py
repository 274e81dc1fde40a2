"""What a gateway serves, read from a descriptor set and checked whole before anything is served."""

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
    """As clients send it; ``*`` for every method that the path has no other rule for."""
    template: Template
    body: str
    """``""``: no body is taken; ``*``: it holds all that the path leaves; else the field of the request it is."""
    response_body: str
    """The field of the response that is the whole answer; empty: the response is."""

    def __str__(self) -> str:
        return f"{self.http_method} {self.template.text}"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a service that HTTP can call."""

    full_name: str
    """As gRPC writes it: ``/package.Service/Method``."""
    file: str
    """Name of the proto file that declares it."""
    request: Descriptor
    response: Descriptor
    request_class: type[Message]
    response_class: type[Message]
    is_idempotent: bool
    """By its ``idempotency_level``: calling it twice is the same as calling it once."""
    server_streaming: bool
    """Answers with any number of messages. A method whose client streams is never served."""
    bindings: tuple[Rule, ...]
    """Never empty: the annotation itself, then its additional bindings."""
    mapping: restmap_pb2.MethodMapping
    """REST options of the method; treat it as read-only."""


@dataclass(frozen=True, slots=True)
class Schema:
    """Everything a gateway needs to know about what it serves."""

    methods: tuple[Method, ...]
    """In the order of the files, never empty."""
    failure_codes: restmap_pb2.FailureCodes | None
    """Codes of failures without a known reason; None where no file sets them."""
    reasons: Mapping[str, Mapping[str, ReasonMapping]]
    """By domain of an ``ErrorInfo``, then by its reason: the name of the enum value without the enum's prefix."""
    conventions: Conventions
    """What all calls have in common."""
    pool: DescriptorPool
    """Holds every type of the set, and nothing else."""
    files: tuple[FileDescriptorProto, ...]
    """Each file after its imports; with comments where the set has them."""


def load(descriptor_set: bytes, *, services: Collection[str] = ()) -> Schema:
    """Read a self-contained ``FileDescriptorSet`` and check everything in it that a call could trip over.

    Args:
        descriptor_set: as ``protoc --include_imports --descriptor_set_out`` writes it.
        services: full names (``package.Service``) of the services to serve; empty for all with an annotation.

    Raises:
        SchemaError: with every problem found, each with its file, method and rule. Only where the set cannot be
            opened at all are the problems behind that unknown.
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
    """Whether a request without a body is refused: the body has to bring a field that its proto calls required.

    Else an empty body stands for an empty message, or an unset field, as in Envoy and grpc-gateway.
    """
    if rule.body != "*":
        return bool(rule.body) and is_required(method.request.fields_by_name[rule.body])
    in_path = {variable.name for variable in rule.template.variables}
    return any(is_required(field) for field in shown_fields(method.request) if field.name not in in_path)


def _annotated(opened: DescriptorSet, wanted: Collection[str], problems: list[Problem]) -> list[MethodDescriptor]:
    """The annotated methods of the services wanted, or of all; adds services that have none to the problems."""
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
    """The method with those of its rules that can be read; what is wrong with it is added to the problems."""
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
    """Rules that match the same requests as one before them."""
    router: Router[str] = Router()
    for method in methods:
        name = method.full_name.lstrip("/").replace("/", ".")
        for rule in method.bindings:
            try:
                router.add(rule.http_method, rule.template, name)
            except RouteConflict as conflict:
                yield Problem(str(conflict), method.file, name, str(rule))
