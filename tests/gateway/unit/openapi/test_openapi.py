"""OpenAPI description as a whole: valid, with the request and response of every rule."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from restmap_gateway.json_map import JsonMap
from restmap_gateway.schema.schema import load
from restmap_gateway.transcode.binding import Binding
from restmap_gateway.transcode.headers import NO_HEADERS
from tests.gateway.unit.descriptions import (
    Json,
    answer,
    component,
    described,
    method,
    only_operation,
    operations,
    parameters,
    service,
)
from tests.support.protoc import DOCUMENTED, compiled

ITEM = "message Item { string id = 1; string text = 2; Item inner = 3; }"
ERRORS = ["400", "401", "403", "404", "405", "406", "408", "409", "429", "499", "500", "501", "502", "503", "504"]


@pytest.fixture(scope="module")
def image() -> bytes:
    """Return the descriptor set that the gateway ships with."""
    return resources.files("backupsharing").joinpath("image.binpb").read_bytes()


@pytest.fixture(scope="module")
def library_set() -> bytes:
    return compiled("described.proto", flags=DOCUMENTED)


@pytest.fixture(scope="module")
def library(library_set: bytes) -> Json:
    """Describe a foreign service with one of every feature."""
    return described(library_set)


def test_the_description_of_the_packaged_set_is_valid(image: bytes) -> None:
    validate(json.loads(json.dumps(described(image))))


def test_the_description_of_a_rich_foreign_service_is_valid(library: Json) -> None:
    validate(json.loads(json.dumps(library)))


def test_each_rule_is_an_operation(image: bytes) -> None:
    schema = load(image)
    assert len(operations(described(image))) == sum(len(one.bindings) for one in schema.methods)


def test_without_a_server_url_the_server_is_the_documents_origin(library: Json) -> None:
    assert library["servers"] == [{"url": "/"}]


def test_the_server_url_is_the_server(image: bytes) -> None:
    assert described(image, server_url="https://vbs.example.com/api")["servers"] == [
        {"url": "https://vbs.example.com/api"}
    ]


def test_each_service_is_a_tag_with_its_comment(library: Json) -> None:
    assert library["tags"] == [{"name": "Library", "description": "Lends books."}]


def test_summary_and_description_come_from_the_comment(library: Json) -> None:
    operation = operations(library)["Library_CreateBook"]
    assert operation["summary"] == "Makes a book, e.g. shelves/1/books/2"
    assert operation["description"].endswith("It is on its shelf at once.\n\nFails where the shelf is full.")


def test_a_comment_of_one_sentence_is_not_told_twice(library: Json) -> None:
    assert "description" not in operations(library)["Library_UpdateBook"]


def test_a_method_without_comment_has_no_summary(library: Json) -> None:
    purge = library["paths"]["/v1/{segment_2}/{id}"]["x-additionalOperations"]["PURGE"]
    assert purge["operationId"] == "Library_Uncommented"
    assert not {"summary", "description"} & set(purge)


def test_a_deprecated_method_is_a_deprecated_operation(library: Json) -> None:
    assert [name for name, one in operations(library).items() if one.get("deprecated")] == ["Library_DeleteBook"]


def test_additional_bindings_are_operations_with_numbers(library: Json) -> None:
    assert {"Library_GetBook", "Library_GetBook_2"} <= set(operations(library))


def test_methods_openapi_cannot_express_are_listed_beside_it() -> None:
    rule = 'custom: {kind: "*" path: "/v1/a"} additional_bindings {custom: {kind: "HEAD" path: "/v1/a"}}'
    text = f"{ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{{rule}}}; }} }}"
    item = service(text)["paths"]["/v1/a"]
    assert set(item) == {"head", "x-additionalOperations"}
    assert set(item["x-additionalOperations"]) == {"*"}


def test_every_failure_is_told_of_everywhere(library: Json) -> None:
    for operation in operations(library).values():
        assert list(operation["responses"]) == ["200", *ERRORS]


def test_a_status_that_a_reason_asks_for_is_told_of_too() -> None:
    text = """
    option (restmap.v1.file).error_domains = {domain: "shop" reason_enum: "shop.v1.Why"};
    enum Why { WHY_UNSPECIFIED = 0; WHY_TOO_HOT = 1 [(restmap.v1.reason) = {code: "Shop.1" http_status: 422}]; }
    message Item {}
    service Shop { rpc Do(Item) returns (Item) { option (google.api.http) = {get: "/v1/a"}; } }
    """
    description = service(text)
    assert "422" in only_operation(description)["responses"]
    assert description["components"]["responses"]["Failure422"]["description"] == "Unprocessable Entity"


@pytest.mark.parametrize("status", ERRORS)
def test_each_failure_has_the_one_shape_and_a_fitting_example(library: Json, status: str) -> None:
    failure = library["components"]["responses"][f"Failure{status}"]["content"]["application/json"]
    assert failure["schema"] == {"$ref": "#/components/schemas/ErrorResponse"}
    schema = component(library, "ErrorResponse") | {"components": library["components"]}
    Draft202012Validator(schema).validate(failure["example"])


def test_the_codes_of_failures_are_those_of_the_descriptor_set() -> None:
    text = f"""
    option (restmap.v1.file).failure_codes = {{not_found: "Shop.404"}};
    {ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/a"}}; }} }}
    """
    failures = service(text)["components"]["responses"]
    codes = {
        status: failures[f"Failure{status}"]["content"]["application/json"]["example"]["error"]["code"]
        for status in (404, 409)
    }
    assert codes == {404: "Shop.404", 409: "ABORTED"}


@pytest.mark.parametrize(("status", "header"), [(401, "WWW-Authenticate"), (405, "Allow"), (503, "Retry-After")])
def test_failures_have_their_headers(library: Json, status: int, header: str) -> None:
    found = library["components"]["responses"][f"Failure{status}"]["headers"]
    assert set(found) == {"X-Request-Id", header}


def test_every_success_has_a_request_id(library: Json) -> None:
    for operation in operations(library).values():
        assert set(operation["responses"]["200"]["headers"]) == {"X-Request-Id"}


SHOP = f'{ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/a"}}; }} }}'


def test_either_way_of_sending_a_token_will_do() -> None:
    schemes = '[{name: "token" header: "X-Shop-Token"}, {name: "bearer" authorization: "bearer"}]'
    description = service(f"option (restmap.v1.file) = {{security_schemes: {schemes}}}; {SHOP}")
    assert description["security"] == [{"token": []}, {"bearer": []}]
    assert description["components"]["securitySchemes"] == {
        "token": {"type": "apiKey", "in": "header", "name": "X-Shop-Token"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }


def test_a_set_without_security_schemes_says_nothing_of_them(library: Json) -> None:
    assert "security" not in library
    assert "securitySchemes" not in library["components"]


def test_statuses_of_the_set_are_described_and_no_others() -> None:
    statuses = "[{code: CANCELLED http_status: 408}, {code: RESOURCE_EXHAUSTED http_status: 418}]"
    description = service(f"option (restmap.v1.file) = {{statuses: {statuses}}}; {SHOP}")
    described = set(only_operation(description)["responses"])
    assert described >= {"408", "418"}
    assert not described & {"429", "499"}


def test_the_request_id_is_described_in_the_form_of_the_set() -> None:
    form = 'request_id: {header: "X-Shop-Id" prefix: "shop_"}'
    description = service(f"option (restmap.v1.file) = {{{form}}}; {SHOP}")
    assert only_operation(description)["responses"]["200"]["headers"] == {
        "X-Shop-Id": {"$ref": "#/components/headers/RequestId"}
    }
    schema = description["components"]["headers"]["RequestId"]["schema"]
    assert re.fullmatch(schema["pattern"], schema["examples"][0])
    assert schema["examples"][0].startswith("shop_")


def test_a_call_without_body_has_no_request_body() -> None:
    assert "requestBody" not in method('get: "/v1/{id}"', ITEM)


def test_a_whole_body_lacks_path_fields_and_may_repeat_them() -> None:
    rule = 'post: "/v1/{id}/{inner.id}" body: "*"'
    text = f"{ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{{rule}}}; }} }}"
    description = service(text)
    operation = only_operation(description)
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/ItemBody"}
    assert set(component(description, "ItemBody")["properties"]) == {"text", "inner"}
    assert component(description, "ItemBody")["properties"]["inner"] == {"$ref": "#/components/schemas/ItemBody2"}
    inner = component(description, "ItemBody2")["properties"]
    assert inner["id"] == {"type": "string", "description": "As in the path, or not at all."}
    assert inner["inner"] == {"$ref": "#/components/schemas/ItemInput"}


def test_a_body_that_is_one_field_has_its_schema() -> None:
    operation = method('post: "/v1/{id}" body: "inner"', ITEM)
    body = operation["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/ItemInput"}


@pytest.mark.parametrize(
    ("body", "option", "is_required"),
    [("*", "", False), ("*", "[(google.api.field_behavior) = REQUIRED]", True), ("text", "", False)],
)
def test_a_body_is_required_where_it_has_to_bring_something(body: str, option: str, is_required: bool) -> None:
    item = f"message Item {{ string id = 1; string text = 2 {option}; }}"
    assert method(f'post: "/v1/{{id}}" body: "{body}"', item)["requestBody"]["required"] is is_required


def test_an_answer_that_is_one_field_has_its_schema_or_is_null(library: Json) -> None:
    schema = answer(operations(library)["Library_UpdateBook"])
    assert schema["anyOf"] == [{"$ref": "#/components/schemas/Book"}, {"type": "null"}]


def test_an_empty_answer_has_no_content() -> None:
    operation = method('delete: "/v1/{id}"', ITEM, options="option (restmap.v1.method).empty_body = true;")
    assert "content" not in operation["responses"]["200"]


def test_a_page_may_have_links(library: Json) -> None:
    assert answer(operations(library)["Library_SearchBooks"]) == {"$ref": "#/components/schemas/SearchBooksResponse"}
    schema = component(library, "SearchBooksResponse")
    assert list(schema["properties"]) == ["books", "book_links"]
    assert schema["properties"]["book_links"]["items"] == {"$ref": "#/components/schemas/PageLink"}
    link = component(library, "PageLink")
    assert (set(link["properties"]), "required" in schema) == ({"rel", "href"}, False)


def test_a_stream_comes_in_two_layouts(library: Json) -> None:
    content = operations(library)["Library_WatchShelf"]["responses"]["200"]["content"]
    assert set(content) == {"application/x-ndjson", "text/event-stream"}
    for layout in content.values():
        assert {"$ref": "#/components/schemas/Book"} in layout["x-itemSchema"]["anyOf"]


def test_each_example_of_a_body_fits_its_schema(library: Json) -> None:
    bodies = [one["requestBody"] for one in operations(library).values() if "requestBody" in one]
    assert len(bodies) == 4
    for body in bodies:
        media = body["content"]["application/json"]
        Draft202012Validator(media["schema"] | {"components": library["components"]}).validate(media["example"])


def test_the_gateway_takes_each_example_of_a_body(library_set: bytes, library: Json) -> None:
    taken = 0
    for one in load(library_set).methods:
        for rule in (rule for rule in one.bindings if rule.body):
            operation = operations(library)[one.full_name.strip("/").rpartition(".")[2].replace("/", "_")]
            example = operation["requestBody"]["content"]["application/json"]["example"]
            values = {variable.name: "x" for variable in rule.template.variables}
            Binding(one, rule, JsonMap()).bind(values, "", NO_HEADERS, json.dumps(example).encode())
            taken += 1
    assert taken == 4


def test_an_example_has_one_of_a_oneof_and_no_output_field(library: Json) -> None:
    book = operations(library)["Library_CreateBook"]["requestBody"]["content"]["application/json"]["example"]
    assert set(book) == {"id", "subject", "pages", "printed_at", "sold", "labels", "person", "extra", "pin"}


def test_parameters_of_a_body_call_are_not_in_the_query(library: Json) -> None:
    assert parameters(operations(library)["Library_UpdateBook"], "query") == {}
