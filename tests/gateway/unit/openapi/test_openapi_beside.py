"""OpenAPI descriptions of parameters and headers that are not fields of messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import Schema, load
from tests.gateway.unit.descriptions import Json, operations
from tests.support.protoc import DOCUMENTED, compiled_texts

SHOP = """
syntax = "proto3"; package shop.v1; import "google/api/annotations.proto"; {}
message Item {{ string id = 1; string key = 2; }}
service Shop {{
  rpc Get(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/{{id}}"}}; }}
  rpc Put(Item) returns (Item) {{ option (google.api.http) = {{put: "/v1/items" body: "*"}}; }}
}}
"""


def shop(option: str = "", *, header_in: list[str] | None = None, out: list[str] | None = None) -> Json:
    """Return the description of a service with this file option, and with allowed headers."""
    head = f'import "restmap/v1/restmap.proto"; option (restmap.v1.file) = {{{option}}};' if option else ""
    schema: Schema = load(compiled_texts({"shop.proto": SHOP.format(head)}, *DOCUMENTED))
    conventions = schema.conventions.allowing(header_in or [], out or [], [])
    return describe(replace(schema, conventions=conventions), version="1", server_url=None)


def parameters(description: Json, operation: str) -> dict[str, Json]:
    """Return the parameters of an operation by name, with references resolved."""
    found = [resolved(description, one) for one in operations(description)[operation].get("parameters", [])]
    return {one["name"]: one for one in found}


def resolved(description: Json, part: Json) -> Json:
    """Return a part of the description, or the component that it refers to."""
    if "$ref" not in part:
        return part
    _, _, kind, name = part["$ref"].split("/")
    return description["components"][kind][name]


def test_alt_is_a_parameter_of_every_operation() -> None:
    description = shop()
    for operation in ("Shop_Get", "Shop_Put"):
        alt = parameters(description, operation)["$alt"]
        assert (alt["in"], alt["schema"]["enum"]) == ("query", ["json"])
        assert "json;enum-encoding=int" in alt["description"]
    assert set(parameters(description, "Shop_Put")) == {"$alt"}


def test_named_parameters_are_described_unless_a_field_wins() -> None:
    description = shop('system_parameters: {names: ["key", "alt"]}')
    assert set(parameters(description, "Shop_Get")) == {"id", "key", "alt"}
    assert "effect" not in parameters(description, "Shop_Get")["key"].get("description", "")
    assert parameters(description, "Shop_Put")["key"]["description"] == "Has no effect."
    assert parameters(description, "Shop_Put")["alt"]["schema"]["enum"] == ["json"]


def test_allowed_headers_are_described() -> None:
    description = shop("system_parameters: {}", header_in=["X-Region", "X-Tenant-*"], out=["X-Cost", "X-*"])
    assert set(parameters(description, "Shop_Put")) == {"X-Region"}
    assert parameters(description, "Shop_Put")["X-Region"]["in"] == "header"
    for response in operations(description)["Shop_Put"]["responses"].values():
        assert resolved(description, resolved(description, response)["headers"]["X-Cost"])["schema"] == {
            "type": "string"
        }
    assert set(description["components"]["headers"]) == {"RequestId", "XCostHeader"}


@pytest.mark.parametrize("option", ["", "system_parameters: {standard: true}"])
def test_the_description_is_valid(option: str) -> None:
    validate = pytest.importorskip("openapi_spec_validator").validate
    validate(shop(option, header_in=["X-Region", "x_y"], out=["Grpc-Metadata-Cost"]))


@pytest.mark.parametrize("shown", ["FULL", "DEBUG"])
def test_full_details_are_described(shown: str) -> None:
    def detail(option: str) -> Json:
        description = shop(option)
        content = description["components"]["schemas"]["ErrorDescription"]
        return resolved(description, content["properties"]["details"]["items"])

    full = detail(f"error_details: ERROR_DETAILS_{shown}")
    assert (full["required"], full["additionalProperties"]) == (["@type"], True)
    assert detail("error_details: ERROR_DETAILS_DOCUMENTED")["required"] == ["field", "description"]
