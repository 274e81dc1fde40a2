"""Newer versions of gRPC's own protos than its packages for Python have: health with ``List``, and reflection v1.

Both are made from the older versions in these packages, in a separate pool: a pool has one version of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

REFLECTION_V1: Final = "grpc.reflection.v1.ServerReflection"
"""Name of the newer reflection service; its messages are those of v1alpha, byte for byte."""

_HEALTH: Final = "grpc.health.v1"


class NewerProtos:
    """The newer protos, and all others that this process knows; may be used in place of a `DescriptorPool`."""

    def __init__(self) -> None:
        """Make the newer protos."""
        self._newer = descriptor_pool.DescriptorPool()
        self._newer.Add(_health())
        self._newer.Add(_reflection())
        self._others = descriptor_pool.Default()
        self._listed: Any = GetMessageClass(
            self._message(f"{_HEALTH}.HealthListResponse")
        )  # made here, so without a type

    def listed(self, statuses: Mapping[str, int]) -> bytes:
        """Return the serialized response of ``grpc.health.v1.Health/List`` with the status of each service."""
        response = self._listed()
        for service, status in statuses.items():
            response.statuses[service].status = status
        return bytes(response.SerializeToString())

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802 - as of a pool
        """Return a file; raises KeyError if it is unknown."""
        try:
            return self._newer.FindFileByName(name)
        except KeyError:
            return self._others.FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - as of a pool
        """Return the file that defines a symbol; raises KeyError if it is unknown."""
        try:
            return self._newer.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._others.FindFileContainingSymbol(symbol)

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802 - as of a pool
        """Return a message; raises KeyError if it is unknown."""
        try:
            return self._message(name)
        except KeyError:
            return self._others.FindMessageTypeByName(name)

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:  # noqa: N802 - as of a pool
        """Return an extension of a message; raises KeyError if it is unknown."""
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:  # noqa: N802 - as of a pool
        """Return all extensions of a message."""
        return message.file.pool.FindAllExtensions(message)

    def _message(self, name: str) -> Descriptor:
        return self._newer.FindMessageTypeByName(name)


def _health() -> FileDescriptorProto:
    file = FileDescriptorProto()
    health_pb2.DESCRIPTOR.CopyToProto(file)
    service = file.service[0]
    if any(method.name == "List" for method in service.method):
        return file
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    entry = response.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    optional, message = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_MESSAGE
    entry.field.add(name="key", number=1, label=optional, type=FieldDescriptorProto.TYPE_STRING)
    entry.field.add(name="value", number=2, label=optional, type=message, type_name=f".{_HEALTH}.HealthCheckResponse")
    of_map = f".{_HEALTH}.HealthListResponse.StatusesEntry"
    repeated = FieldDescriptorProto.LABEL_REPEATED
    response.field.add(name="statuses", number=1, label=repeated, type=message, type_name=of_map)
    request, result = f".{_HEALTH}.HealthListRequest", f".{_HEALTH}.HealthListResponse"
    service.method.add(name="List", input_type=request, output_type=result)
    return file


def _reflection() -> FileDescriptorProto:
    file = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    return text_format.Parse(text_format.MessageToString(file).replace("v1alpha", "v1"), FileDescriptorProto())
