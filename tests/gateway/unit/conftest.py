# ruff: noqa: ANN401 - classes made from a descriptor have attributes that no type knows
"""Shared fixtures of the gateway's unit tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map import JsonMap, dumps
from restmap_gateway.json_map.text import parse
from tests.support.protoc import compiled


@dataclass(frozen=True, slots=True)
class Kitchen:
    """Messages of kitchen.proto in a private pool, and their JSON mapping."""

    pool: DescriptorPool
    json_map: JsonMap

    def descriptor(self, name: str) -> Descriptor:
        """Return a message type by its full name, or by its name in kitchen.proto."""
        return self.pool.FindMessageTypeByName(name if "." in name else f"kitchen.v1.{name}")

    def new(self, name: str) -> Any:
        """Return an empty message."""
        return GetMessageClass(self.descriptor(name))()

    def read(self, name: str, body: str, **options: Any) -> Any:
        """Parse a JSON body into a message; `options` are those of `JsonMap.reader`."""
        message = self.new(name)
        self.json_map.reader(self.descriptor(name), **options)(parse(body.encode(), max_depth=100), message)
        return message

    def write(self, message: Message) -> Any:
        """Return the JSON of a message as Python objects."""
        return self.json_map.writer(self.descriptor(message.DESCRIPTOR.full_name))(message)

    def text(self, message: Message) -> str:
        """Return the JSON of a message as text."""
        return dumps(self.write(message)).decode()

    def refusal(self, name: str, body: str, **options: Any) -> Violation:
        """Return the only violation of an invalid body."""
        with pytest.raises(InvalidRequest) as caught:
            self.read(name, body, **options)
        (violation,) = caught.value.violations
        return violation


@pytest.fixture(scope="session")
def kitchen() -> Kitchen:
    """Compile the test protos. All tests share one JSON map, as in the gateway."""
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(compiled("kitchen.proto", "kitchen_old.proto")).file:
        pool.Add(file)
    return Kitchen(pool, JsonMap())


@pytest.fixture
def kitchen_refusal(kitchen: Kitchen) -> Callable[[str, str], str]:
    """Return a function that formats the violation of an invalid body as ``path: description``."""

    def say(name: str, body: str) -> str:
        violation = kitchen.refusal(name, body)
        return f"{violation.field}: {violation.description}"

    return say
