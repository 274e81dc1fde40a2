"""Google's generated REST clients: the services that they call, described from the installed packages at run time.

The packages have no protos. Their messages have descriptors; their gRPC transports know the full name and the types of
each method, and their REST transports its paths. From these this module makes a descriptor set for a gateway.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.message import Message

# Clients and their messages come from packages that are not always installed.
Client = Any

_OF_MIXINS = {
    "SetIamPolicy": "google.iam.v1.iam_policy_pb2:SetIamPolicyRequest",
    "GetIamPolicy": "google.iam.v1.iam_policy_pb2:GetIamPolicyRequest",
    "TestIamPermissions": "google.iam.v1.iam_policy_pb2:TestIamPermissionsRequest",
    "GetLocation": "google.cloud.location.locations_pb2:GetLocationRequest",
    "ListLocations": "google.cloud.location.locations_pb2:ListLocationsRequest",
    "GetOperation": "google.longrunning.operations_pb2:GetOperationRequest",
}
"""Requests of the methods that all clients have; their serializers do not name the type."""


@dataclass(frozen=True, slots=True)
class ClientMethod:
    """A method of a client."""

    client: type[Client]
    full_name: str
    """``/package.Service/Method``."""
    request: type[Any]
    response: type[Any]
    paths: tuple[dict[str, str], ...]
    """HTTP method, path template and body of each way to call it."""

    @property
    def name(self) -> str:
        """Return the name without the service."""
        return self.full_name.rpartition("/")[2]


@dataclass
class _Recorder:
    """A channel that records the methods of a gRPC transport."""

    seen: list[tuple[str, Any, Any]] = field(default_factory=list)

    def unary_unary(self, path: str, request_serializer: Any, response_deserializer: Any, **_: object) -> None:  # noqa: ANN401
        self.seen.append((path, request_serializer, response_deserializer))


def methods_of(package: str) -> list[ClientMethod]:
    """Return the methods of all clients of a package that have a REST transport."""
    module = import_module(package)
    clients = [
        one
        for name, one in inspect.getmembers(module, inspect.isclass)
        if name.endswith("Client") and not name.endswith("AsyncClient")
    ]
    return [method for client in clients for method in _methods(client)]


def _methods(client: type[Client]) -> Iterator[ClientMethod]:
    transport, rest = client.get_transport_class("grpc"), client.get_transport_class("rest")
    recorder = _Recorder()
    recording = transport.__new__(transport)
    recording._stubs, recording._logged_channel = {}, recorder
    for name, member in inspect.getmembers(transport, lambda one: isinstance(one, property)):
        if not name.startswith("_") and name not in ("grpc_channel", "host", "kind", "operations_client"):
            member.fget(recording)
    for path, serialize, deserialize in recorder.seen:
        name = path.rpartition("/")[2]
        options = getattr(rest.__mro__[1], f"_Base{name}", None)
        if options is not None:
            request = getattr(serialize, "__self__", None) or _mixin(name)
            yield ClientMethod(client, path, request, deserialize.__self__, tuple(options._get_http_options()))


def _mixin(name: str) -> type[Message]:
    module, _, message = _OF_MIXINS[name].partition(":")
    found: type[Message] = getattr(import_module(module), message)
    return found


def message_class(of: type[Any]) -> type[Message]:
    """Return protobuf's own class of a message class of a client."""
    return of.pb() if hasattr(of, "pb") else of


def descriptor_set(methods: list[ClientMethod]) -> bytes:
    """Return the descriptor set of all services with these methods, and an annotation for each path."""
    files: dict[str, FileDescriptorProto] = {}
    services: dict[str, dict[str, ClientMethod]] = {}
    for method in methods:
        service = method.full_name.strip("/").partition("/")[0]
        services.setdefault(service, {}).setdefault(method.name, method)
        for of in (method.request, method.response):
            _add(message_class(of).DESCRIPTOR.file, files)
    _add(annotations_pb2.DESCRIPTOR, files)
    imported = list(files)  # no other service: the gateway would take one that a file imports for a part of that file
    for name, of_service in services.items():
        package, _, short = name.rpartition(".")
        file = FileDescriptorProto(name=f"services/{name}.proto", package=package, syntax="proto3")
        file.dependency.extend(imported)
        service_proto = file.service.add(name=short)
        for method in of_service.values():
            request, response = (message_class(of).DESCRIPTOR for of in (method.request, method.response))
            added = service_proto.method.add(
                name=method.name, input_type=f".{request.full_name}", output_type=f".{response.full_name}"
            )
            _annotate(added.options.Extensions[annotations_pb2.http], method)
        files[file.name] = file
    return FileDescriptorSet(file=files.values()).SerializeToString()


def _add(file: FileDescriptor, files: dict[str, FileDescriptorProto]) -> None:
    """Add a file after its imports, without services: those of the clients are described by the transports."""
    if file.name in files:
        return
    for imported in file.dependencies:
        _add(imported, files)
    proto = FileDescriptorProto.FromString(file.serialized_pb)
    proto.ClearField("service")
    files[file.name] = proto


def _annotate(rule: Any, method: ClientMethod) -> None:  # noqa: ANN401 - an extension
    for index, path in enumerate(method.paths):
        one = rule if index == 0 else rule.additional_bindings.add()
        setattr(one, path["method"], path["uri"])
        one.body = path.get("body", "")


def filled(of: type[Any], texts: dict[str, str], depth: int = 4) -> Message:
    """Return a message with a value in every field.

    Args:
        of: class of the message.
        texts: values of fields by dotted name.
        depth: levels of messages to fill.
    """
    message = message_class(of)()
    _fill(message, depth)
    for name, text in texts.items():
        *outer, last = name.split(".")
        inner: Any = message
        for step in outer:
            inner = getattr(inner, step)
        setattr(inner, last, text)
    return message


def _fill(message: Any, depth: int) -> None:  # noqa: ANN401
    taken: set[str] = set()
    special = _SPECIAL.get(message.DESCRIPTOR.full_name)
    if special is not None:
        special(message)
        return
    for one in message.DESCRIPTOR.fields:
        oneof = one.containing_oneof
        if oneof is not None and oneof.name in taken:
            continue
        is_message = one.message_type is not None and not one.message_type.GetOptions().map_entry
        if is_message and depth == 0:
            continue
        taken |= {oneof.name} if oneof is not None else set()
        _fill_field(message, one, depth)


def _fill_field(message: Any, one: FieldDescriptor, depth: int) -> None:  # noqa: ANN401
    inner: Descriptor | None = one.message_type
    value = getattr(message, one.name)
    if inner is not None and inner.GetOptions().map_entry:
        if inner.fields_by_name["value"].message_type is None:
            value["a key/with: signs"] = _scalar(inner.fields_by_name["value"])
    elif one.is_repeated:
        for _ in range(2):
            if inner is None:
                value.append(_scalar(one))
            else:
                _fill(value.add(), depth - 1)
    elif inner is None:
        setattr(message, one.name, _scalar(one))
    else:
        value.SetInParent()
        _fill(value, depth - 1)


def _scalar(one: FieldDescriptor) -> Any:  # noqa: ANN401
    match one.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return b"\x00\xfb\xff" if one.type == FieldDescriptor.TYPE_BYTES else f"{one.name} \u00e9 & = 50%"
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_ENUM:
            assert one.enum_type is not None
            return one.enum_type.values[-1].number
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return 1.5
        case _:
            return 7


def _packed(message: Any) -> None:  # noqa: ANN401
    from google.iam.v1.options_pb2 import GetPolicyOptions

    message.Pack(GetPolicyOptions(requested_policy_version=3))


def _mask(message: Any) -> None:  # noqa: ANN401
    message.paths.extend(["labels", "rotation_period", "version_template.protection_level"])


def _moment(message: Any) -> None:  # noqa: ANN401
    message.seconds, message.nanos = 1_700_000_000, 120_000_000


def _period(message: Any) -> None:  # noqa: ANN401
    message.seconds, message.nanos = 86_400, 500_000_000


_SPECIAL: dict[str, Callable[[Any], None]] = {
    "google.protobuf.Any": _packed,
    "google.protobuf.FieldMask": _mask,
    "google.protobuf.Timestamp": _moment,
    "google.protobuf.Duration": _period,
}


def path_texts(template: str) -> dict[str, str]:
    """Return values for the variables of a path template, by dotted name."""
    found = re.findall(r"\{([^=}]+)(?:=([^}]*))?\}", template)
    return {name: re.sub(r"\*+", "some-1", pattern or "*") for name, pattern in found}
