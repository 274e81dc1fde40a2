"""OpenAPI descriptions of services that tests define."""

from __future__ import annotations

from typing import Any

from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import load
from tests.support.protoc import DOCUMENTED, compiled_texts

Json = Any
"""Parsed JSON as Python objects."""


def described(descriptor_set: bytes, *, version: str | None = "1", server_url: str | None = None) -> Json:
    """Return the OpenAPI description of a descriptor set."""
    return describe(load(descriptor_set), version=version, server_url=server_url)


def service(text: str) -> Json:
    """Describe one service in ``package shop.v1`` with these messages and methods."""
    imports = ("google/api/annotations", "google/api/field_behavior", "google/api/field_info", "restmap/v1/restmap")
    well_known = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
    names = [*imports, *(f"google/protobuf/{name}" for name in well_known)]
    head = 'syntax = "proto3"; package shop.v1;' + "".join(f'import "{name}.proto";' for name in names)
    return described(compiled_texts({"shop.proto": f"{head}\n{text}"}, *DOCUMENTED))


def method(rule: str, messages: str, call: str = "rpc Do(Item) returns (Item)", options: str = "") -> Json:
    """Return the operation of a service with one method."""
    text = f"{messages} service Shop {{ {call} {{ option (google.api.http) = {{ {rule} }}; {options} }} }}"
    return only_operation(service(text))


def operations(description: Json) -> dict[str, Json]:
    """Return all operations by id."""
    items = description["paths"].values()
    return {one["operationId"]: one for item in items for one in item.values() if "operationId" in one}


def only_operation(description: Json) -> Json:
    """Return the operation of a description with one operation."""
    (operation,) = operations(description).values()
    return operation


def parameters(operation: Json, place: str) -> dict[str, Json]:
    """Return the parameters of an operation in ``path``, ``query`` or ``header``, by name."""
    return {one["name"]: one for one in operation.get("parameters", []) if one["in"] == place}


def answer(operation: Json) -> Json:
    """Return the response schema of an operation."""
    return operation["responses"]["200"]["content"]["application/json"]["schema"]


def component(description: Json, name: str) -> Json:
    """Return the schema with this name."""
    return description["components"]["schemas"][name]
