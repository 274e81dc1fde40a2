"""Binding an HTTP request to a request message."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from restmap_gateway.errors import InvalidRequest
from restmap_gateway.json_map import JsonMap
from restmap_gateway.schema.router import Match, Router
from restmap_gateway.schema.schema import Schema, load
from restmap_gateway.transcode.binding import Binding
from tests.support.protoc import compiled_texts

LIBRARY = """
syntax = "proto3";
package library.v1;
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/field_mask.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";
import "restmap/v1/restmap.proto";

enum Kind { KIND_UNSPECIFIED = 0; KIND_NOVEL = 1; }

message Book {
  string title = 1;
  int32 page_count = 2;
  Book sequel = 3;
  repeated string tags = 4;
  map<string, string> labels = 5;
  repeated Book parts = 6;
  string hidden = 7 [(restmap.v1.field).grpc_only = true];
  Author author = 8;
}

message Author { string full_name = 1; }

message Find {
  string name = 1;
  optional int32 shelf_number = 2;
  repeated int32 pages = 3;
  Kind kind = 4;
  bytes blob = 5;
  bool fresh = 6;
  google.protobuf.StringValue note = 7;
  google.protobuf.Timestamp at = 8;
  google.protobuf.Duration within = 9;
  google.protobuf.FieldMask mask = 10;
  Book book = 11;
  repeated Book books = 12;
  map<string, string> labels = 13;
  google.protobuf.Struct data = 14;
  google.protobuf.Any any = 15;
  oneof owner { string user = 16; string group = 17; }
  double weight = 18;
  repeated Kind kinds = 19;
  string secret = 20 [(restmap.v1.field) = { header: "X-Secret" grpc_only: true }];
  optional string lang = 21 [(restmap.v1.field).header = "Accept-Book"];
  int32 quota = 22 [(restmap.v1.field) = { header: "X-Quota" grpc_only: true }];
  int64 big = 23;
  repeated google.protobuf.Timestamp times = 24;
  optional string place = 25 [(restmap.v1.field) = { header: "X-Place" header_wins: true }];
}

message Strict {
  option (restmap.v1.message) = { original_names_only: true empty_query_is_absent: true };
  optional string zone_name = 1 [(restmap.v1.field) = { query_aliases: "zome_name" query_aliases: "z" }];
  optional int32 limit = 2;
  repeated string tags = 3 [(restmap.v1.field).query_aliases = "tag"];
}

message OnlyId { string id = 1; string key = 2 [(restmap.v1.field) = { header: "Key" grpc_only: true }]; }

message Need { string id = 1; Book book = 2 [(google.api.field_behavior) = REQUIRED]; string note = 3; }

service Library {
  rpc Query(Find) returns (Book) { option (google.api.http) = { get: "/find" }; }
  rpc Named(Find) returns (Book) { option (google.api.http) = { get: "/find/{name}/{book.title}" }; }
  rpc Typed(Find) returns (Book) { option (google.api.http) = { get: "/typed/{shelf_number}/{kind}/{at}" }; }
  rpc Owned(Find) returns (Book) { option (google.api.http) = { post: "/owned/{user}" body: "*" }; }
  rpc Whole(Find) returns (Book) { option (google.api.http) = { post: "/whole/{name}/{book.title}" body: "*" }; }
  rpc Part(Find) returns (Book) { option (google.api.http) = { patch: "/part/{name}/{book.title}" body: "book" }; }
  rpc List(Find) returns (Book) { option (google.api.http) = { put: "/list" body: "pages" }; }
  rpc Map(Find) returns (Book) { option (google.api.http) = { put: "/map" body: "labels" }; }
  rpc Text(Find) returns (Book) { option (google.api.http) = { put: "/text" body: "lang" }; }
  rpc Strictly(Strict) returns (Book) { option (google.api.http) = { get: "/strict" }; }
  rpc NeedAll(Need) returns (Book) { option (google.api.http) = { post: "/need/{id}" body: "*" }; }
  rpc NeedBook(Need) returns (Book) { option (google.api.http) = { put: "/need/{id}" body: "book" }; }
  rpc NeedNote(Need) returns (Book) { option (google.api.http) = { patch: "/need/{id}" body: "note" }; }
  rpc Touch(OnlyId) returns (Book) { option (google.api.http) = { post: "/touch/{id}" body: "*" }; }
}
"""

DEEP = "book" + ".sequel" * 19 + ".title"

Bind = Callable[..., Message]


@pytest.fixture(scope="module")
def schema() -> Schema:
    return load(compiled_texts({"library.proto": LIBRARY}))


def binder(schema: Schema, on_unknown: Callable[[str, str], None] | None = None) -> Bind:
    """Return a function that routes and binds: ``bind("GET /find?name=x", body, header=value)``."""
    router: Router[Binding] = Router()
    json_map = JsonMap()
    for method in schema.methods:
        for rule in method.bindings:
            binding = Binding(method, rule, json_map, max_depth=20, on_unknown=on_unknown)
            router.add(rule.http_method, rule.template, binding)

    def bind(
        request: str, body: bytes | None = None, headers: Mapping[str, str] | CIMultiDict[str] | None = None
    ) -> Message:
        http_method, target = request.split(" ", 1)
        path, _, query = target.partition("?")
        match = router.match(http_method, path)
        assert isinstance(match, Match)
        return match.target.bind(match.values, query, CIMultiDict(headers or {}), body)

    return bind


@pytest.fixture(scope="module")
def bind(schema: Schema) -> Bind:
    return binder(schema)


def refused(bind: Bind, *request: object) -> list[str]:
    """Bind an invalid request; return field and description of each violation."""
    with pytest.raises(InvalidRequest) as caught:
        bind(*request)
    return [f"{violation.field}: {violation.description}" for violation in caught.value.violations]


def shown(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("nme=x", 'nme: is not known here, did you mean "name"?'),
        ("shelfNumbre=1", 'shelfNumbre: is not known here, did you mean "shelfNumber"?'),
        ("book.titel=x", 'book.titel: is not known here, did you mean "book.title"?'),
        ("boook.title=x", 'boook.title: is not known here, did you mean "book.title"?'),
        ("zzzzzz", "zzzzzz: is not known here"),
        ("=x", ": is not known here"),
        ("Name=x", 'Name: is not known here, did you mean "name"?'),
        ("secret=x", "secret: is not known here"),
        ("book.hidden=x", "book.hidden: is not known here"),
        ("name.x=1", 'name.x: is not known here, "name" has no fields'),
        ("at.seconds=1", 'at.seconds: is not known here, "at" has no fields'),
        ("book.=1", "book.: is not known here"),
        ("a;b=1", "a;b: is not known here"),
        ("name=a&name=b", "name: is given 2 times, expected once"),
        ("name=a&name=a", "name: is given 2 times, expected once"),
        (
            "shelf_number=1&shelfNumber=2",
            'shelfNumber: is another name of "shelf_number", but has another value: "2", not "1"',
        ),
        ("user=a&group=b", 'group: only one of "user" and "group" can be given'),
        ("shelf_number=x", 'shelf_number: expected an integer from -2147483648 to 2147483647, got "x"'),
        ("shelf_number=", 'shelf_number: expected an integer from -2147483648 to 2147483647, got ""'),
        ("shelf_number=2147483648", "shelf_number: expected an integer"),
        ("shelf_number=1.0", "shelf_number: expected an integer"),
        ("shelf_number=+1", "shelf_number: expected an integer"),
        ("pages=1&pages=x", 'pages: expected an integer from -2147483648 to 2147483647, got "x"'),
        ("fresh=True", 'fresh: expected true or false, got "True"'),
        ("fresh=1", "fresh: expected true or false"),
        ("fresh", "fresh: expected true or false"),
        ("kind=NOVEL", "kind: expected"),
        ("blob=%21", "blob: expected"),
        ("at=yesterday", "at: expected an RFC 3339 time"),
        ("within=1", "within: expected a duration"),
        ("weight=heavy", "weight: expected"),
        ("labels=x", "labels: is a map and cannot be given in a query"),
        ("labels.a=x", 'labels.a: cannot be given in a query, "labels" is a map'),
        ("books=x", "books: is a list of messages and cannot be given in a query"),
        ("books.title=x", 'books.title: cannot be given in a query, "books" is a list'),
        ("book=x", "book: is a message and cannot be given in a query as a whole"),
        ("data=x", "data: is a message and cannot be given"),
        ("any=x", "any: is a message and cannot be given"),
        ("name=%zz", "name: '%zz' is no percent-encoding"),
        ("name=%ff", "name: the percent-encoded bytes are not UTF-8"),
        ("%ff=x", "%ff: the percent-encoded bytes are not UTF-8"),
        ("name=%ED%A0%80", "name: the percent-encoded bytes are not UTF-8"),
        (f"{DEEP}=x", f"{DEEP}: is nested more than 20 levels deep"),
    ],
)
def test_a_query_that_does_not_fit_names_the_parameter(bind: Bind, query: str, line: str) -> None:
    (violation,) = refused(bind, f"GET /find?{query}")
    assert violation.startswith(line)


def test_all_that_is_wrong_with_a_query_is_said_at_once(bind: Bind) -> None:
    query = "fresh=1&nope=1&name=%zz&shelf_number=x&name=a&name=b&user=a&group=b&labels=1"
    fields = [line.partition(":")[0] for line in refused(bind, f"GET /find?{query}")]
    assert sorted(fields) == ["fresh", "group", "labels", "name", "name", "nope", "shelf_number"]


def test_only_the_first_unknown_names_get_a_guess(bind: Bind) -> None:
    lines = refused(bind, "GET /find?" + "&".join(f"name{number}=x" for number in range(100)))
    assert len(lines) == 100
    assert sum("did you mean" in line for line in lines) == 8


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("", ""),
        ("&&name=a&", 'name: "a"'),
        ("name=", ""),
        ("name=a=b", 'name: "a=b"'),
        ("name=a+b%2Bc%26%3D", 'name: "a b+c&="'),
        ("n%61me=%C3%A4", 'name: "ä"'),
        ("name=a;b", 'name: "a;b"'),
        ("shelf_number=7", "shelf_number: 7"),
        ("shelfNumber=7", "shelf_number: 7"),
        ("shelfNumber=7&shelf_number=7", "shelf_number: 7"),
        ("shelf_number=0", "shelf_number: 0"),
        ("big=-9007199254740993", "big: -9007199254740993"),
        ("pages=3&name=x&pages=1&pages=3", 'name: "x" pages: 3 pages: 1 pages: 3'),
        (
            "kind=KIND_NOVEL&kinds=1&kinds=KIND_UNSPECIFIED",
            "kind: KIND_NOVEL kinds: KIND_NOVEL kinds: KIND_UNSPECIFIED",
        ),
        ("blob=aGk%3D", 'blob: "hi"'),
        ("fresh=true", "fresh: true"),
        ("note=", "note { }"),
        ("note=x", 'note { value: "x" }'),
        ("at=1970-01-01T00:00:05Z", "at { seconds: 5 }"),
        ("at=1970-01-01T00:00:00Z", "at { }"),
        ("times=1970-01-01T00:00:05Z&times=1970-01-01T00:00:06Z", "times { seconds: 5 } times { seconds: 6 }"),
        ("within=1.5s", "within { seconds: 1 nanos: 500000000 }"),
        ("mask=name,shelfNumber", 'mask { paths: "name" paths: "shelf_number" }'),
        ("weight=1.5", "weight: 1.5"),
        ("book.title=a&book.sequel.pageCount=2", 'book { title: "a" sequel { page_count: 2 } }'),
        ("book.page_count=0", "book { }"),
        ("book.tags=a&book.tags=b", 'book { tags: "a" tags: "b" }'),
        ("book.author.fullName=a&book.author.full_name=a", 'book { author { full_name: "a" } }'),
        ("user=a", 'user: "a"'),
        ("lang=de", 'lang: "de"'),
    ],
)
def test_a_query_sets_fields_by_their_names(bind: Bind, query: str, text: str) -> None:
    assert shown(bind(f"GET /find?{query}")) == text


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("zoneName=a", "zoneName: is not known here"),
        ("zoneName=", "zoneName: is not known here"),
        ("nope=", "nope: is not known here"),
        ("limit=&limit=", "limit: is given 2 times, expected once"),
        ("limit=&limit=1", "limit: is given 2 times, expected once"),
        ("zone_name=a&zome_name=b", 'zome_name: is another name of "zone_name", but has another value: "b", not "a"'),
        ("zome_name=a&z=b", 'z: is another name of "zome_name", but has another value'),
        ("tags=a&tags=b&tag=b&tag=a", 'tag: is another name of "tags", but has another value: "b", "a", not "a", "b"'),
        ("zome_nam=a", 'zome_nam: is not known here, did you mean "zome_name"?'),
    ],
)
def test_query_options_refuse_what_they_rule_out(bind: Bind, query: str, line: str) -> None:
    (violation,) = refused(bind, f"GET /strict?{query}")
    assert violation.startswith(line)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("zone_name=&limit=", ""),
        ("zome_name=a", 'zone_name: "a"'),
        ("zone_name=a&zome_name=a&z=a", 'zone_name: "a"'),
        ("zone_name=&zome_name=a", 'zone_name: "a"'),
        ("tags=&tag=a", 'tags: "a"'),
        ("tags=a&tags=&tags=b", 'tags: "a" tags: "b"'),
        ("tags=a&tags=b&tag=a&tag=b", 'tags: "a" tags: "b"'),
    ],
)
def test_query_options_allow_aliases_and_empty_values(bind: Bind, query: str, text: str) -> None:
    assert shown(bind(f"GET /strict?{query}")) == text


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (
            "GET /typed/x/KIND_NOVEL/1970-01-01T00:00:05Z",
            'shelf_number: expected an integer from -2147483648 to 2147483647, got "x"',
        ),
        ("GET /typed/1/NOVEL/1970-01-01T00:00:05Z", "kind: expected"),
        ("GET /typed/1/1/now", "at: expected an RFC 3339 time"),
        ("GET /find/a/b?name=a", "name: is bound by the path and cannot be given in the query"),
        ("GET /find/a/b?book.title=b", "book.title: is bound by the path and cannot be given in the query"),
        ("GET /typed/1/1/1970-01-01T00:00:05Z?shelfNumber=1", "shelfNumber: is bound by the path"),
    ],
)
def test_a_bad_or_repeated_path_value_names_its_field(bind: Bind, request_: str, line: str) -> None:
    (violation,) = refused(bind, request_)
    assert violation.startswith(line)


def test_path_values_are_parsed_by_the_type_of_their_field(bind: Bind) -> None:
    message = bind("GET /typed/7/KIND_NOVEL/1970-01-01T00:00:05Z")
    assert shown(message) == "shelf_number: 7 kind: KIND_NOVEL at { seconds: 5 }"


def test_path_and_query_fill_one_nested_message(bind: Bind) -> None:
    assert shown(bind("GET /find/a%2Fb/c?book.pageCount=1")) == 'name: "a/b" book { title: "c" page_count: 1 }'


@pytest.mark.parametrize(
    ("request_", "body", "line"),
    [
        ("GET /find", b"{}", ": there is a body, but this call takes none"),
        ("POST /need/a", b"", ": the body is empty, expected a JSON object"),
        ("POST /need/a", None, ": the body is empty, expected a JSON object"),
        ("PUT /need/a", b"", ": the body is empty, expected the JSON value of book"),
        ("POST /whole/a/b", b" \n", ": the body is empty, expected JSON"),
        ("POST /whole/a/b", b"[]", ": expected an object, got an array"),
        ("POST /whole/a/b", b"null", ": expected an object, got null"),
        ("POST /whole/a/b", b"{", ": the body is not JSON"),
        ("POST /whole/a/b", b"[" * 21, ": the body is nested more than 20 levels deep"),
        ("POST /whole/a/b", b'{"name": "a"}', "name: is bound by the path"),
        ("POST /whole/a/b", b'{"book": {"title": "c"}}', "book.title: is bound by the path, to another value"),
        ("POST /whole/a/b", b'{"nope": 1}', "nope: is not known here"),
        ("POST /whole/a/b", b'{"secret": "x"}', "secret: is not known here"),
        ("POST /whole/a/b?fresh=true", b"{}", "fresh: is not known: this call takes no query parameters"),
        ("POST /whole/a/b?name=a", b"{}", "name: is not known: this call takes no query parameters"),
        ("POST /owned/a", b'{"group": "b"}', 'group: only one of "user" and "group" can be given'),
        ("PATCH /part/a/b", b'{"title": "c"}', "title: is bound by the path, to another value"),
        ("PATCH /part/a/b", b'{"title": 1}', "title: expected a string"),
        ("PATCH /part/a/b", b'{"pageCount": "x"}', "pageCount: expected an integer"),
        (
            "PATCH /part/a/b?book.page_count=1",
            b"{}",
            "book.page_count: is bound by the body and cannot be given in the query",
        ),
        ("PATCH /part/a/b?name=1", b"{}", "name: is bound by the path and cannot be given in the query"),
        ("PUT /list", b'{"pages": [1]}', ": expected an array, got an object"),
        ("PUT /list", b'[1, "x"]', "[1]: expected an integer"),
        ("PUT /list?pages=1", b"[]", "pages: is bound by the body and cannot be given in the query"),
        ("PUT /text", b"1", ": expected a string, got the number 1"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(bind: Bind, request_: str, body: bytes | None, line: str) -> None:
    (violation,) = refused(bind, request_, body)
    assert violation.startswith(line)


@pytest.mark.parametrize(
    ("request_", "body", "text"),
    [
        ("GET /find", b"", ""),
        ("POST /whole/a/b", b"{}", 'name: "a" book { title: "b" }'),
        ("POST /whole/a/b", b"", 'name: "a" book { title: "b" }'),
        ("POST /whole/a/b", None, 'name: "a" book { title: "b" }'),
        ("POST /whole/a/b", b'{"book": {"title": "b"}}', 'name: "a" book { title: "b" }'),
        ("PATCH /part/a/b", b"", 'name: "a" book { title: "b" }'),
        ("PATCH /part/a/b", b'{"title": "b", "page_count": 1}', 'name: "a" book { title: "b" page_count: 1 }'),
        ("PATCH /part/a/b", b'{"title": null}', 'name: "a" book { title: "b" }'),
        ("PATCH /need/a", b"", 'id: "a"'),
        ("PUT /list", b"", ""),
        (
            "POST /whole/a/b",
            b'{"book": {"pageCount": 2}, "pages": [1]}',
            'name: "a" pages: 1 book { title: "b" page_count: 2 }',
        ),
        ("POST /owned/a", b'{"group": null}', 'user: "a"'),
        ("PATCH /part/a/b?fresh=true", b'{"page_count": 2}', 'name: "a" fresh: true book { title: "b" page_count: 2 }'),
        ("PUT /list?name=x", b"[1, 2]", 'name: "x" pages: 1 pages: 2'),
        ("PUT /map", b'{"a": "b"}', 'labels { key: "a" value: "b" }'),
        ("PUT /text", b'"de"', 'lang: "de"'),
        ("POST /touch/a", b"", 'id: "a"'),
        ("POST /touch/a", None, 'id: "a"'),
        ("POST /touch/a", b"{}", 'id: "a"'),
    ],
)
def test_a_body_fills_what_the_rule_says(bind: Bind, request_: str, body: bytes | None, text: str) -> None:
    assert shown(bind(request_, body)) == text


def test_a_rule_says_whether_it_takes_a_body(schema: Schema) -> None:
    takes = {m.full_name: Binding(m, m.bindings[0], JsonMap()).takes_body for m in schema.methods}
    assert takes["/library.v1.Library/Query"] is False
    assert takes["/library.v1.Library/Whole"] is True
    assert takes["/library.v1.Library/List"] is True


@pytest.mark.parametrize(
    ("request_", "body", "headers", "line"),
    [
        (
            "GET /find",
            None,
            [("X-Secret", "a"), ("x-secret", "a")],
            "X-Secret: the header is given 2 times, expected once",
        ),
        ("GET /find", None, [("X-Quota", "x")], "X-Quota: expected an integer"),
        ("GET /find", None, [("X-Quota", "")], "X-Quota: expected an integer"),
        ("GET /find", None, [("X-Secret", "\udcff")], "X-Secret: expected valid Unicode"),
        ("GET /find?lang=de", None, [("Accept-Book", "de")], "Accept-Book: the header and the request both give lang"),
        (
            "POST /owned/a",
            b'{"lang": "de"}',
            [("Accept-Book", "de")],
            "Accept-Book: the header and the request both give",
        ),
        ("POST /owned/a", b'{"lang": ""}', [("Accept-Book", "")], "Accept-Book: the header and the request both give"),
        ("PUT /text", b'"de"', [("Accept-Book", "de")], "Accept-Book: the header and the request both give lang"),
        ("GET /find?place=a", None, [("X-Place", "b"), ("X-Place", "c")], "X-Place: the header is given 2 times"),
    ],
)
def test_a_header_that_does_not_fit_is_named(
    bind: Bind, request_: str, body: bytes | None, headers: list[tuple[str, str]], line: str
) -> None:
    (violation,) = refused(bind, request_, body, CIMultiDict(headers))
    assert violation.startswith(line)


@pytest.mark.parametrize(
    ("request_", "body", "headers", "text"),
    [
        ("GET /find", None, {"x-secret": "s", "ACCEPT-BOOK": "de", "X-Quota": "3"}, 'secret: "s" lang: "de" quota: 3'),
        ("GET /find", None, {"Accept-Book": ""}, 'lang: ""'),
        ("GET /find", None, {"X-Other": "s"}, ""),
        ("GET /find", None, {"X-Place": "b"}, 'place: "b"'),
        ("GET /find?place=a", None, {"X-Place": "b"}, 'place: "b"'),
        ("GET /find?place=a", None, {"X-Place": ""}, 'place: "a"'),
        ("POST /owned/a", b'{"place": "a"}', {"X-Place": "b"}, 'user: "a" place: "b"'),
        ("POST /owned/a", b'{"lang": null}', {"Accept-Book": "de"}, 'user: "a" lang: "de"'),
        ("POST /touch/a", b"", {"Key": "k"}, 'id: "a" key: "k"'),
    ],
)
def test_a_header_fills_its_field(
    bind: Bind, request_: str, body: bytes | None, headers: Mapping[str, str], text: str
) -> None:
    assert shown(bind(request_, body, headers)) == text


def test_path_body_query_and_header_are_refused_together(bind: Bind) -> None:
    lines = refused(bind, "PATCH /part/a/b?fresh=1&nope=1", b'{"nope": 1}', {"X-Quota": "x"})
    assert [line.partition(":")[0] for line in lines] == ["nope", "nope", "fresh", "X-Quota"]


def test_a_lenient_binding_ignores_what_is_unknown_and_tells_it(schema: Schema) -> None:
    reported: list[tuple[str, str]] = []
    lenient = binder(schema, lambda message, member: reported.append((message, member)))
    assert shown(lenient("GET /find?nope=1&name=a&secret=x&book.nope=1")) == 'name: "a"'
    assert shown(lenient("POST /owned/a?x=1", b'{"nope": 1, "book": {"nope": 1}}')) == 'book { } user: "a"'
    assert reported == [
        ("library.v1.Find", "nope"),
        ("library.v1.Find", "secret"),
        ("library.v1.Find", "book.nope"),
        ("library.v1.Find", "nope"),
        ("library.v1.Book", "nope"),
        ("library.v1.Find", "x"),
    ]


@pytest.mark.parametrize(
    "request_", ["GET /find?fresh=1", "GET /find/a/b?name=a", "GET /find?labels=1", "GET /find?name=%zz"]
)
def test_a_lenient_binding_still_refuses_what_is_known_and_wrong(schema: Schema, request_: str) -> None:
    assert refused(binder(schema, lambda message, member: None), request_)


def test_a_call_leaves_nothing_behind_for_the_next(bind: Bind) -> None:
    assert shown(bind("GET /find?pages=1&book.title=a")) == 'pages: 1 book { title: "a" }'
    assert shown(bind("GET /find")) == ""


@given(query=st.text(alphabet="nameuspgrokti.=&+%2F\udcff;", max_size=40), body=st.binary(max_size=10))
def test_any_request_is_bound_or_refused(bind: Bind, query: str, body: bytes) -> None:
    for request in (f"GET /find?{query}", f"PATCH /part/a/b?{query}"):
        try:
            bind(request, body if request.startswith("PATCH") else None).SerializeToString()
        except InvalidRequest as invalid:
            str(invalid).encode()
