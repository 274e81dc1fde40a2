"""Path templates, query parameters and headers in an OpenAPI description."""

from __future__ import annotations

import re

import pytest

from restmap_gateway.openapi.parameters import MOST_IN_QUERY
from tests.gateway.unit.descriptions import Json, described, method, operations, parameters, service
from tests.support.protoc import DOCUMENTED, compiled

ITEM = """
message Item {
  // Which one.
  string id = 1;
  string name = 2;
  int32 size = 3;
  Item inner = 4;
}
"""


@pytest.fixture(scope="module")
def search() -> Json:
    """Return an operation with one of each kind of query parameter."""
    description = described(compiled("described.proto", flags=DOCUMENTED))
    return operations(description)["Library_SearchBooks"]


def only_path(rule: str) -> tuple[str, list[str]]:
    """Return the path of a service with one rule, and the names of its path parameters."""
    text = f"{ITEM} service Shop {{ rpc Do(Item) returns (Item) {{ option (google.api.http) = {{{rule}}}; }} }}"
    description = service(text)
    ((path, item),) = description["paths"].items()
    return path, list(parameters(item["get"], "path"))


@pytest.mark.parametrize(
    ("template", "path", "names"),
    [
        ("/v1/items", "/v1/items", []),
        ("/v1/items/{id}", "/v1/items/{id}", ["id"]),
        ("/v1/{id=*}", "/v1/{id}", ["id"]),
        ("/v1/{id=items/*}", "/v1/items/{id}", ["id"]),
        ("/v1/{id=items/main}", "/v1/items/main", []),
        ("/v1/{id=a/*/b/*}/c", "/v1/a/{id_1}/b/{id_2}/c", ["id_1", "id_2"]),
        ("/v1/{id=**}", "/v1/{id}", ["id"]),
        ("/v1/{id=a/*/**}", "/v1/a/{id_1}/{id_2}", ["id_1", "id_2"]),
        ("/v1/{inner.name}/{name}", "/v1/{inner_name}/{name}", ["inner_name", "name"]),
        ("/v1/*/{id}/**", "/v1/{segment_2}/{id}/{segment_4}", ["segment_2", "id", "segment_4"]),
        ("/v1/{id}:cancel", "/v1/{id}:cancel", ["id"]),
        ("/v1/items:find", "/v1/items:find", []),
        ("/v1/caf%C3%A9/a%20b", "/v1/caf%C3%A9/a%20b", []),
    ],
)
def test_a_template_is_a_path_with_single_segment_parameters(template: str, path: str, names: list[str]) -> None:
    assert only_path(f'get: "{template}"') == (path, names)


def test_each_segment_has_a_name_of_its_own() -> None:
    text = """
    message Item { string a = 1; string a_1 = 2; Item b = 3; string b_a = 4; }
    service Shop { rpc Do(Item) returns (Item) { option (google.api.http) = {get: "/{a_1}/{a=*/*}/{b.a}/{b_a}"}; } }
    """
    assert list(service(text)["paths"]) == ["/{a_1}/{a_1_}/{a_2}/{b_a}/{b_a_}"]


def test_a_parameter_under_another_name_says_which_field_it_is() -> None:
    found = parameters(method('get: "/v1/{inner.id}"', ITEM), "path")
    assert found["inner_id"]["description"] == "Which one.\n\nThe field `inner.id` of the request."


def test_a_path_parameter_is_required_with_its_fields_type() -> None:
    found = parameters(method('get: "/v1/{id}/{size}"', ITEM), "path")
    assert found["id"] == {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
        "description": "Which one.",
    }
    assert found["size"]["schema"]["type"] == "integer"


def test_a_part_of_a_variable_says_which_part() -> None:
    found = parameters(method('get: "/v1/{id=a/*/b/*}"', ITEM), "path")
    assert found["id_2"]["description"] == "Which one.\n\nThe part of `id` in braces: `a/*/b/{id_2}`."


def test_a_parameter_for_many_segments_says_so_and_may_be_empty() -> None:
    found = parameters(method('get: "/v1/{id=**}"', ITEM), "path")
    assert "minLength" not in found["id"]["schema"]
    assert "any number of segments" in found["id"]["description"]


def test_rules_that_differ_in_names_share_the_path_of_the_first() -> None:
    text = f"""{ITEM} service Shop {{
      rpc Get(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/{{id}}"}}; }}
      rpc Drop(Item) returns (Item) {{ option (google.api.http) = {{delete: "/v1/{{name}}"}}; }}
    }}"""
    description = service(text)
    assert list(description["paths"]) == ["/v1/{id}"]
    (renamed,) = parameters(operations(description)["Shop_Drop"], "path").values()
    assert (renamed["name"], renamed["description"]) == ("id", "The field `name` of the request.")


def test_rules_told_apart_by_segments_have_two_paths() -> None:
    text = f"""{ITEM} service Shop {{
      rpc One(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/{{id}}"}}; }}
      rpc Many(Item) returns (Item) {{ option (google.api.http) = {{get: "/v1/{{id=**}}"}}; }}
    }}"""
    assert list(service(text)["paths"]) == ["/v1/{id}", "/v1/{id_}"]


def test_the_query_has_what_path_and_body_leave() -> None:
    operation = method('post: "/v1/{id}" body: "inner"', ITEM)
    assert set(parameters(operation, "query")) == {"name", "size"}


def test_a_query_names_fields_inside_messages_with_dots(search: Json) -> None:
    assert {"pages.from", "pages.to", "years.from", "like.id"} <= set(parameters(search, "query"))


def test_maps_message_lists_and_output_fields_are_no_parameters(search: Json) -> None:
    names = set(parameters(search, "query"))
    assert not [name for name in names if name.startswith(("labels", "not_like", "token", "like.name", "like.labels"))]


def test_a_field_is_required_only_where_all_around_it_is(search: Json) -> None:
    required = {name for name, one in parameters(search, "query").items() if one["required"]}
    assert required == {"title", "years.from"}


def test_a_repeated_parameter_is_given_several_times(search: Json) -> None:
    subjects = parameters(search, "query")["subjects"]
    assert (subjects["style"], subjects["explode"]) == ("form", True)
    assert subjects["schema"] == {"type": "array", "items": {"$ref": "#/components/schemas/Subject"}}


def test_an_alias_is_told_of_in_words(search: Json) -> None:
    found = parameters(search, "query")
    assert "titel" not in found
    assert found["title"]["description"] == "Part of the title.\n\nCan also be named `titel`."


def test_well_known_messages_with_a_text_are_parameters(search: Json) -> None:
    assert parameters(search, "query")["age"]["schema"]["pattern"].endswith("s$")


def test_a_parameter_has_no_example_that_a_page_would_send(search: Json) -> None:
    assert not [name for name, one in parameters(search, "query").items() if "examples" in one["schema"]]


def test_a_message_inside_itself_is_told_of_in_words() -> None:
    operation = method('get: "/v1/{id}"', ITEM)
    assert set(parameters(operation, "query")) == {"name", "size"}
    assert operation["description"] == "The query may also name fields inside of `inner`, each behind a dot."


def test_a_query_with_no_end_is_described_in_part() -> None:
    fields = "".join(f"string s{number} = {number + 20};" for number in range(5))
    chain = "".join(
        f"message M{depth} {{ {fields} {''.join(f'M{depth + 1} m{n} = {n + 1};' for n in range(10))} }}"
        for depth in range(8)
    )
    operation = method('get: "/v1"', f"{chain} message M8 {{}}", call="rpc Do(M0) returns (M8)")
    assert 10 < len(parameters(operation, "query")) < 2 * MOST_IN_QUERY
    assert operation["description"].endswith(" and others, each behind a dot.")


def test_a_field_that_a_header_carries_is_a_header_parameter() -> None:
    text = """message Item {
      // Makes a retry safe.
      string key = 1 [(restmap.v1.field) = {header: "Request-Key" grpc_only: true}];
    }"""
    operation = method('post: "/v1" body: "*"', text)
    assert parameters(operation, "header")["Request-Key"] == {
        "name": "Request-Key",
        "in": "header",
        "required": False,
        "schema": {"type": "string"},
        "description": "Makes a retry safe.",
    }
    assert parameters(operation, "query") == {}


def test_a_time_in_a_header_is_described_as_text_for_generators() -> None:
    field = 'google.protobuf.Timestamp until = 1 [(restmap.v1.field) = {header: "Until" grpc_only: true}];'
    found = parameters(method('post: "/v1" body: "*"', f"message Item {{ {field} }}"), "header")
    schema = found["Until"]["schema"]
    assert set(schema) == {"type", "pattern"}
    assert re.match(schema["pattern"], "2024-05-06T07:08:09.123+02:00")
    assert not re.match(schema["pattern"], "2024-05-06T07:08:09")


def test_a_required_field_of_a_header_is_a_required_header() -> None:
    text = """message Item {
      string key = 1 [(restmap.v1.field) = {header: "Key" grpc_only: true}, (google.api.field_behavior) = REQUIRED];
      string both = 2 [(restmap.v1.field) = {header: "Both"}, (google.api.field_behavior) = REQUIRED];
    }"""
    found = parameters(method('get: "/v1"', text), "header")
    assert {name: one["required"] for name, one in found.items()} == {"Key": True, "Both": False}


def test_a_null_has_a_name_in_a_query() -> None:
    text = "message Item { google.protobuf.NullValue nothing = 1; }"
    found = parameters(method('get: "/v1"', text), "query")
    assert found["nothing"]["schema"] == {"type": "string", "enum": ["NULL_VALUE"]}


def test_an_integer_that_saturates_may_be_of_any_size() -> None:
    saturates = "[(restmap.v1.field).saturates = true]"
    fields = f"int32 most = 1 {saturates}; repeated int64 steps = 2 {saturates}; int32 least = 3;"
    found = parameters(method('get: "/v1"', f"message Item {{ {fields} }}"), "query")
    assert found["most"]["schema"] == {"type": "integer"}
    assert found["steps"]["schema"] == {"type": "array", "items": {"type": "integer"}}
    assert found["least"]["schema"]["maximum"] == 2**31 - 1


def test_a_field_mask_may_have_original_names_in_a_query() -> None:
    text = "message Item { google.protobuf.FieldMask mask = 1; }"
    found = parameters(method('get: "/v1"', text), "query")
    assert found["mask"]["schema"] == {"type": "string", "description": "Field paths, separated by commas."}
