"""Loading a descriptor set: conditions for serving it, and the schema that results."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from restmap_gateway.schema.descriptor_set import Problem
from restmap_gateway.schema.schema import ReasonMapping, Schema, SchemaError, load
from tests.support.protoc import DOCUMENTED, RESTMAP, compiled_texts

HEAD = """
syntax = "proto3";
package shop.v1;
import "google/api/annotations.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "restmap/v1/restmap.proto";
"""

MESSAGES = """
message Item {
  string id = 1;
  Item inner = 2;
  repeated string tags = 3;
  map<string, string> labels = 4;
  repeated Item children = 5;
  google.protobuf.Timestamp at = 6;
  google.protobuf.Int32Value count = 7;
  string secret = 8 [(restmap.v1.field).grpc_only = true];
  oneof owner {
    string user = 9;
    string group = 10;
  }
  int32 limit = 11;
  int64 offset = 12;
  bool more = 13;
  bytes blob = 14;
}
"""


def shop(body: str) -> dict[str, str]:
    return {"shop.proto": HEAD + MESSAGES + body}


def service(rule: str, *, call: str = "rpc Do(Item) returns (Item)", more: str = "") -> dict[str, str]:
    """Return a service with one method and this HTTP annotation."""
    return shop(f"service Shop {{ {call} {{ option (google.api.http) = {{ {rule} }}; {more} }} }}")


def problems(files: dict[str, str], *services: str) -> list[str]:
    """Load invalid files; return the lines of the error."""
    with pytest.raises(SchemaError) as caught:
        load(compiled_texts(files), services=services)
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return str(caught.value).splitlines()


@pytest.mark.parametrize("data", [b"\xff\xff", b"not a descriptor set", b"\x0a\x05abc"])
def test_bytes_that_are_no_descriptor_set_are_refused(data: bytes) -> None:
    with pytest.raises(SchemaError, match="no descriptor set"):
        load(data)


def test_an_empty_descriptor_set_is_refused() -> None:
    with pytest.raises(SchemaError, match="empty"):
        load(b"")


def test_a_set_without_its_imports_names_each_one() -> None:
    data = compiled_texts(service('get: "/x"'), "--include_source_info")
    with pytest.raises(SchemaError) as caught:
        load(data)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("shop.proto: imports 'google/api/annotations.proto', which the set lacks")


def test_files_that_import_each_other_are_refused() -> None:
    files = FileDescriptorSet()
    files.file.add(name="a.proto", dependency=["b.proto"])
    files.file.add(name="b.proto", dependency=["a.proto"])
    with pytest.raises(SchemaError, match=r"a\.proto: imports itself"):
        load(files.SerializeToString())


def test_files_that_do_not_fit_together_are_refused() -> None:
    files = FileDescriptorSet.FromString(compiled_texts(service('get: "/x"')))
    files.file[-1].message_type[0].field[1].type_name = ".shop.v1.Lost"
    with pytest.raises(SchemaError, match="do not fit together"):
        load(files.SerializeToString())


def test_a_set_without_any_annotated_method_is_refused() -> None:
    files = shop("service Shop { rpc Do(Item) returns (Item); }")
    assert problems(files) == ["no method of the set has a google.api.http annotation"]


def test_an_unknown_service_is_refused_and_known_ones_are_named() -> None:
    (line,) = problems(service('get: "/x"'), "shop.v1.Store")
    assert line == "there is no service 'shop.v1.Store' in the set, it has: shop.v1.Shop"


def test_a_service_asked_for_without_any_annotation_is_refused() -> None:
    files = shop(
        'service A { rpc Do(Item) returns (Item) { option (google.api.http) = { get: "/x" }; } }'
        "service B { rpc Do(Item) returns (Item); }"
    )
    (line,) = problems(files, "shop.v1.A", "shop.v1.B")
    assert line == "shop.proto: shop.v1.B: no method has a google.api.http annotation"


@pytest.mark.parametrize(
    ("rule", "where", "text"),
    [
        ('get: "/x/{}"', "GET /x/{}", "path template '/x/{}', column 5: expected the name of a field, found '}'"),
        ('get: "/{nope}"', "GET /{nope}", "template variable 'nope': shop.v1.Item has no field 'nope'"),
        ('get: "/{inner.nope}"', "GET /{inner.nope}", "shop.v1.Item has no field 'nope'"),
        ('get: "/{id.x}"', "GET /{id.x}", "shop.v1.Item.id is no message with fields of its own"),
        ('get: "/{at.seconds}"', "GET /{at.seconds}", "shop.v1.Item.at is no message with fields of its own"),
        ('get: "/{inner}"', "GET /{inner}", "the field shop.v1.Item.inner is a message"),
        ('get: "/{tags}"', "GET /{tags}", "the field shop.v1.Item.tags is repeated"),
        ('get: "/{labels}"', "GET /{labels}", "the field shop.v1.Item.labels is a map"),
        ('get: "/{children.id}"', "GET /{children.id}", "the field shop.v1.Item.children is repeated"),
        ('get: "/{secret}"', "GET /{secret}", "the field shop.v1.Item.secret is grpc_only"),
        ('get: "/{user}/{group}"', "GET /{user}/{group}", "'group': it is of the same oneof as 'user'"),
        ('post: "/x" body: "nope"', "POST /x", "body 'nope' is no field of shop.v1.Item"),
        ('post: "/x" body: "inner.id"', "POST /x", "body 'inner.id' is no field of shop.v1.Item"),
        ('post: "/x" body: "secret"', "POST /x", "body 'secret' is grpc_only"),
        ('post: "/{id}" body: "id"', "POST /{id}", "body 'id' is bound by the path too"),
        ('get: "/x" response_body: "nope"', "GET /x", "response_body 'nope' is no field of shop.v1.Item"),
        ('get: "/x" response_body: "secret"', "GET /x", "response_body 'secret' is grpc_only"),
        ('custom: { kind: "GE T" path: "/x" }', "GE T /x", "'GE T' is not an HTTP method"),
        ('body: "*"', "the rule names no HTTP method and path", ""),
        (
            'get: "/x" additional_bindings { put: "/x" additional_bindings { post: "/x" } }',
            "PUT /x",
            "an additional binding must not have additional bindings",
        ),
        ('get: "/x" additional_bindings { get: "/{nope}" }', "GET /{nope}", "has no field 'nope'"),
        (
            'get: "/x/{id}" additional_bindings { get: "/x/{user}" }',
            "GET /x/{user}",
            "GET '/x/{user}' matches the same paths as GET '/x/{id}': shop.v1.Shop.Do and shop.v1.Shop.Do",
        ),
    ],
)
def test_a_rule_that_does_not_fit_its_messages_is_refused(rule: str, where: str, text: str) -> None:
    lines = problems(service(rule))
    assert any(line.startswith(f"shop.proto: shop.v1.Shop.Do: {where}") and text in line for line in lines), lines


def test_a_method_whose_client_streams_is_refused() -> None:
    call = "rpc Do(stream Item) returns (Item)"
    (line,) = problems(service('post: "/x" body: "*"', call=call))
    assert line == "shop.proto: shop.v1.Shop.Do: its client streams, which HTTP cannot call"


def test_rules_of_two_services_for_the_same_paths_conflict() -> None:
    method = 'rpc Do(Item) returns (Item) { option (google.api.http) = { get: "/x/{%s}" }; }'
    files = shop(f"service A {{ {method % 'id'} }} service B {{ {method % 'user'} }}")
    (line,) = problems(files)
    assert line.startswith("shop.proto: shop.v1.B.Do: GET /x/{user}: ")
    assert line.endswith("shop.v1.B.Do and shop.v1.A.Do")
    assert len(load(compiled_texts(files), services=["shop.v1.B"]).methods) == 1


PAGING = {
    "limit_field": "limit",
    "offset_field": "offset",
    "items_field": "children",
    "more_field": "more",
    "links_member": "links",
}


def paged(rule: str = 'get: "/x"', call: str = "rpc Do(Item) returns (Item)", **changes: str) -> dict[str, str]:
    fields = " ".join(f'{name}: "{value}"' for name, value in (PAGING | changes).items())
    return service(rule, call=call, more=f"option (restmap.v1.method).offset_paging = {{ {fields} }};")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"limit_field": "nope"}, "limit_field 'nope' is no field of shop.v1.Item"),
        ({"limit_field": "id"}, "limit_field 'id' must be an integer"),
        ({"limit_field": ""}, "limit_field '' is no field"),
        ({"offset_field": "tags"}, "offset_field 'tags' must be an integer"),
        ({"items_field": "nope"}, "items_field 'nope' is no field"),
        ({"items_field": "inner"}, "items_field 'inner' must be repeated"),
        ({"items_field": "labels"}, "items_field 'labels' must be repeated"),
        ({"more_field": "limit"}, "more_field 'limit' must be a bool or a string"),
        ({"more_field": "blob"}, "more_field 'blob' must be a bool or a string"),
        ({"links_member": ""}, "links_member is empty"),
        ({"links_member": "id"}, "links_member 'id' is the name of the field shop.v1.Item.id"),
        ({"rule": 'post: "/x" body: "*"'}, "offset_paging needs 'limit' in the query"),
        ({"rule": 'get: "/{offset}"'}, "offset_paging needs 'offset' in the query"),
        ({"rule": 'get: "/x" response_body: "children"'}, "offset_paging cannot add links to a response_body"),
        ({"call": "rpc Do(Item) returns (stream Item)"}, "offset_paging needs one answer with a body"),
    ],
)
def test_offset_paging_that_names_the_wrong_fields_is_refused(change: dict[str, str], text: str) -> None:
    lines = problems(paged(**change))
    assert any(text in line for line in lines), lines


@pytest.mark.parametrize(
    ("fields", "element", "text"),
    [
        (
            'string a = 1 [(restmap.v1.field).header = "X-A"]; string b = 2 [(restmap.v1.field).header = "x-a"];',
            "shop.v1.Odd.b",
            "the header 'x-a' carries the field 'a' already",
        ),
        (
            'repeated string a = 1 [(restmap.v1.field).header = "X-A"];',
            "shop.v1.Odd.a",
            "the header 'X-A' cannot carry it: it is repeated or a message",
        ),
        ('Item a = 1 [(restmap.v1.field).header = "X-A"];', "shop.v1.Odd.a", "cannot carry it"),
        ("string a = 1 [(restmap.v1.field).header_wins = true];", "shop.v1.Odd.a", "header_wins is set, but no header"),
        ('string a = 1 [(restmap.v1.field).header = "X A"];', "shop.v1.Odd.a", "'X A' is not the name of a header"),
        (
            'string a = 1; string b = 2 [(restmap.v1.field).query_aliases = "a"];',
            "shop.v1.Odd.b",
            "the query alias 'a' is the name of the field 'a'",
        ),
        (
            'string a_b = 1; string b = 2 [(restmap.v1.field).query_aliases = "aB"];',
            "shop.v1.Odd.b",
            "the query alias 'aB' is the name of the field 'a_b'",
        ),
        (
            'string a = 1 [(restmap.v1.field).query_aliases = "x"];'
            'string b = 2 [(restmap.v1.field).query_aliases = "x"];',
            "shop.v1.Odd.b",
            "the query alias 'x' is an alias of the field 'a' too",
        ),
        ('string a = 1 [(restmap.v1.field).query_aliases = "x.y"];', "shop.v1.Odd.a", "must be a name without dots"),
        (
            'string a = 1 [(restmap.v1.field) = { query_aliases: "x" grpc_only: true }];',
            "shop.v1.Odd.a",
            "has query aliases, but is grpc_only",
        ),
    ],
)
def test_field_options_that_contradict_each_other_are_refused(fields: str, element: str, text: str) -> None:
    files = service('get: "/x"')
    files["shop.proto"] += f"message Odd {{ {fields} }}"
    lines = problems(files)
    assert any(line.startswith(f"shop.proto: {element}: ") and text in line for line in lines), lines


NEWER = {
    "message MessageMapping {": "message MessageMapping { bool novelty = 90;",
    "message FieldMapping {": "message FieldMapping { bool novelty = 91;",
    "message OffsetPaging {": "message OffsetPaging { bool novelty = 92;",
    "message FailureCodes {": "message FailureCodes { string novelty = 93;",
    "message ReasonMapping {": "message ReasonMapping { bool novelty = 94;",
    "TIME_FORMAT_UTC_MICROS = 1;": "TIME_FORMAT_UTC_MICROS = 1; TIME_FORMAT_NOVELTY = 95;",
}


def test_an_option_of_a_newer_restmap_is_refused_wherever_it_is() -> None:
    newer = (RESTMAP / "restmap/v1/restmap.proto").read_text()
    for old, new in NEWER.items():
        assert old in newer
        newer = newer.replace(old, new)
    files = paged()
    files["restmap/v1/restmap.proto"] = newer
    text = files["shop.proto"].replace('links_member: "links"', 'links_member: "links" novelty: true')
    files["shop.proto"] = (
        text
        + """
        option (restmap.v1.file).failure_codes = { novelty: "x" };
        message New {
          option (restmap.v1.message) = { novelty: true time_format: TIME_FORMAT_NOVELTY };
          string a = 1 [(restmap.v1.field).novelty = true];
          enum Reason { REASON_UNSPECIFIED = 0 [(restmap.v1.reason).novelty = true]; }
        }
    """
    )
    lines = "\n".join(problems(files))
    for element, place in [
        ("shop.v1.New", "restmap.v1.message has field 90"),
        ("shop.v1.New", "restmap.v1.message has value 95 of time_format"),
        ("shop.v1.New.a", "restmap.v1.field has field 91"),
        ("shop.v1.Shop.Do", "restmap.v1.method has field offset_paging.92"),
        ("the option", "restmap.v1.file has field failure_codes.93"),
        ("shop.v1.New.Reason.REASON_UNSPECIFIED", "restmap.v1.reason has field 94"),
    ]:
        assert any(line.startswith(f"shop.proto: {element}") and place in line for line in lines.splitlines()), lines


REASONS = """
enum ErrorReason {
  ERROR_REASON_UNSPECIFIED = 0;
  ERROR_REASON_GONE = 1 [(restmap.v1.reason) = { code: "Shop.1" http_status: 404 }];
  ERROR_REASON_ODD = 2 [(restmap.v1.reason).code = "Shop.2"];
  PLAIN = 3;
}
"""


def domain(name: str, enum: str) -> str:
    return f'option (restmap.v1.file).error_domains = {{ domain: "{name}" reason_enum: "{enum}" }};'


def test_two_files_that_set_failure_codes_are_refused() -> None:
    option = 'option (restmap.v1.file).failure_codes = { not_found: "%s" };'
    files = service('get: "/x"')
    files["shop.proto"] += option % "a"
    files["other.proto"] = 'syntax = "proto3"; package other; import "restmap/v1/restmap.proto";' + option % "b"
    assert problems(files) == ["other.proto: sets failure_codes, as shop.proto does already"]


def test_two_enums_for_one_domain_are_refused() -> None:
    files = service('get: "/x"')
    files["shop.proto"] += REASONS + domain("a.example", "shop.v1.ErrorReason") + domain("a.example", "shop.v1.Other")
    (line,) = problems(files)
    assert "ties the domain 'a.example' to shop.v1.Other, it is tied to shop.v1.ErrorReason already" in line


def test_a_reason_enum_that_the_set_lacks_is_refused() -> None:
    files = service('get: "/x"')
    files["shop.proto"] += domain("a.example", "shop.v1.Item")
    (line,) = problems(files)
    assert line == "shop.proto: the reason enum 'shop.v1.Item' of the domain 'a.example' is not in the set"


def test_a_reason_whose_status_is_no_failure_is_refused() -> None:
    files = service('get: "/x"')
    files["shop.proto"] += REASONS.replace("404", "200")
    (line,) = problems(files)
    assert line == (
        "shop.proto: shop.v1.ErrorReason.ERROR_REASON_GONE: "
        "http_status 200 is not that of a failure, expected 400 to 599"
    )


@pytest.mark.parametrize(
    ("status", "code", "fits"),
    [
        (404, "NOT_FOUND", True),
        (503, "NOT_FOUND", False),
        (404, "UNAVAILABLE", False),
        (503, "UNAVAILABLE", True),
        (429, "RESOURCE_EXHAUSTED", True),
        (503, "RESOURCE_EXHAUSTED", True),
    ],
)
def test_the_status_of_a_reason_has_to_fit_its_grpc_code(status: int, code: str, fits: bool) -> None:
    files = service('get: "/x"')
    files["shop.proto"] += REASONS.replace("404", f"{status} grpc_code: {code}")
    files["shop.proto"] += domain("a.example", "shop.v1.ErrorReason")
    if fits:
        load(compiled_texts(files))
        return
    (line,) = problems(files)
    assert line.endswith(f"ERROR_REASON_GONE: http_status {status} does not fit grpc_code {code}")


def test_all_problems_are_reported_at_once() -> None:
    files = service('get: "/{nope}" additional_bindings { post: "x" body: "lost" }')
    files["shop.proto"] += domain("a.example", "shop.v1.Lost")
    assert len(problems(files, "shop.v1.Shop", "shop.v1.Store")) == 4


def test_a_problem_names_file_element_and_rule_where_it_has_them() -> None:
    assert str(Problem("is odd", "a.proto", "a.B", "GET /x")) == "a.proto: a.B: GET /x: is odd"
    assert str(Problem("is odd")) == "is odd"


@pytest.fixture
def schema() -> Schema:
    """Schema with one of every feature."""
    files = paged('get: "/x" additional_bindings { custom { kind: "LIST" path: "/y/{inner.at}" } }')
    files["shop.proto"] += REASONS + domain("a.example", "shop.v1.ErrorReason")
    files["shop.proto"] += 'option (restmap.v1.file).failure_codes = { not_found: "Shop.404" };'
    files["shop.proto"] += """service Feed {
        rpc Watch(Item) returns (stream Item) { option (google.api.http) = { post: "/w/{count}" body: "*" }; }
        rpc Hidden(stream Item) returns (stream Item);
    }"""
    return load(compiled_texts(files, *DOCUMENTED))


def test_every_annotated_method_is_read_with_all_its_rules(schema: Schema) -> None:
    do, watch = schema.methods
    assert (do.full_name, do.file, do.server_streaming) == ("/shop.v1.Shop/Do", "shop.proto", False)
    assert [str(rule) for rule in do.bindings] == ["GET /x", "LIST /y/{inner.at}"]
    assert (watch.full_name, watch.server_streaming) == ("/shop.v1.Feed/Watch", True)
    assert (watch.bindings[0].body, watch.bindings[0].response_body) == ("*", "")
    assert do.request_class(id="a").SerializeToString() == b"\n\x01a"


def test_options_are_readable_though_the_set_defines_them_itself(schema: Schema) -> None:
    do, watch = schema.methods
    assert do.mapping.offset_paging.links_member == "links"
    assert not watch.mapping.HasField("offset_paging")


def test_nothing_of_the_set_gets_into_the_default_pool(schema: Schema) -> None:
    assert schema.methods[0].request.file.pool is schema.pool
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("shop.v1.Item")


def test_failure_codes_and_reasons_are_read_from_the_files(schema: Schema) -> None:
    assert schema.failure_codes is not None
    assert schema.failure_codes.not_found == "Shop.404"
    assert schema.reasons == {
        "a.example": {
            "UNSPECIFIED": ReasonMapping("", None),
            "GONE": ReasonMapping("Shop.1", 404),
            "ODD": ReasonMapping("Shop.2", None),
            "PLAIN": ReasonMapping("", None),
        }
    }


def test_a_set_without_our_options_has_no_codes() -> None:
    schema = load(compiled_texts(service('get: "/x"')))
    assert (schema.failure_codes, dict(schema.reasons)) == (None, {})


def test_the_order_of_the_files_does_not_matter() -> None:
    files = FileDescriptorSet.FromString(compiled_texts(service('get: "/x"')))
    backwards = FileDescriptorSet(file=reversed(files.file))
    schema = load(backwards.SerializeToString())
    assert schema.files[-1].name == "shop.proto"


@pytest.mark.parametrize(
    ("enum", "value", "reason"),
    [
        ("HTTPReason", "HTTP_REASON_GONE", "GONE"),
        ("HTTPReason", "H_T_T_P_REASON_GONE", "GONE"),
        ("V2Reason", "V2_REASON_GONE", "GONE"),
        ("Reason", "REASON_", "REASON_"),
        ("Reason", "REASONABLE", "REASONABLE"),
    ],
)
def test_the_prefix_of_a_reason_is_the_name_of_its_enum(enum: str, value: str, reason: str) -> None:
    files = service('get: "/x"')
    files["shop.proto"] += f"enum {enum} {{ {value} = 0; }}" + domain("d", f"shop.v1.{enum}")
    assert list(load(compiled_texts(files)).reasons["d"]) == [reason]
