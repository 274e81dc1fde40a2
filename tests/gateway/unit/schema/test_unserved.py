"""Sets of which only a part can be served."""

from __future__ import annotations

import pytest

from restmap_gateway.json_map import dumps
from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import Schema, SchemaError, load
from tests.support.protoc import RESTMAP, compiled_texts

HEAD = """
syntax = "proto3";
import "google/api/annotations.proto";
import "restmap/v1/restmap.proto";
"""

ITEM = """
package shop.v1;
message Item { string id = 1; string name = 2; }
"""

RPC = "rpc {name}({request}) returns ({response}) {{ option (google.api.http) = {{ {rule} }}; }}"


def rpc(rule: str, name: str = "Do", request: str = "Item", response: str = "Item") -> str:
    return RPC.format(name=name, request=request, response=response, rule=rule)


def loaded(files: dict[str, str], *services: str) -> Schema:
    """Load what can be served of these files; restmap.proto may be one of them."""
    texts = {name: text if name.startswith("restmap/") else HEAD + text for name, text in files.items()}
    return load(compiled_texts(texts), services=services, strict=False)


def served(schema: Schema) -> list[str]:
    """Return method and rule of each served rule."""
    return [f"{method.full_name.rpartition('.')[2]} {rule}" for method in schema.methods for rule in method.bindings]


def unserved(schema: Schema) -> list[tuple[str, str, str]]:
    return [(one.method.removeprefix("shop.v1."), one.rule, one.reason) for one in schema.unserved]


GOOD = rpc('get: "/good"', "Good")


@pytest.mark.parametrize(
    ("call", "rule", "reason", "has_path"),
    [
        (rpc('post: "/x" body: "*"', request="stream Item"), "POST /x", "its client streams", True),
        (rpc('post: "/x"', request="stream Item", response="stream Item"), "POST /x", "its client streams", True),
        (rpc('get: "x"'), "GET x", "column 1: expected '/'", False),
        (rpc('get: "/{a=**}/{b=**}"'), "GET /{a=**}/{b=**}", "a second '**'", False),
        (rpc('get: "/{nope}"'), "GET /{nope}", "shop.v1.Item has no field 'nope'", True),
        (rpc('get: "/x" response_body: "nope"'), "GET /x", "response_body 'nope' is no field", True),
        (rpc('custom: { kind: "GE T" path: "/x" }'), "GE T /x", "'GE T' is not an HTTP method", False),
        (rpc('body: "*"'), "", "the rule names no HTTP method and path", False),
        (rpc('get: "/good"'), "GET /good", "matches the same paths as GET '/good': shop.v1.S.Do and", False),
    ],
)
def test_a_method_that_cannot_be_served_leaves_the_others(call: str, rule: str, reason: str, has_path: bool) -> None:
    schema = loaded({"shop.proto": f"{ITEM} service S {{ {GOOD} {call} }}"})
    assert served(schema) == ["S/Good GET /good"]
    (one,) = schema.unserved
    assert (one.method, one.rule, one.template is not None) == ("shop.v1.S.Do", rule, has_path)
    assert reason in one.reason


def test_the_other_bindings_of_a_method_are_served() -> None:
    more = 'get: "/{nope}" additional_bindings { get: "/good" } additional_bindings { get: "/b" }'
    schema = loaded({"shop.proto": f"{ITEM} service S {{ {GOOD} {rpc(more)} }}"})
    assert served(schema) == ["S/Good GET /good", "S/Do GET /b"]
    assert [one.rule for one in schema.unserved] == ["GET /{nope}", "GET /good"]


def test_of_two_services_the_first_in_the_file_is_served() -> None:
    first, second = rpc('get: "/{id}"'), rpc('get: "/{name=*}"')
    text = f"{ITEM} service B {{ {first} }} service A {{ {second} {GOOD} }}"
    schema = loaded({"shop.proto": text})
    assert served(schema) == ["B/Do GET /{id}", "A/Good GET /good"]
    assert [(one.method, one.rule) for one in schema.unserved] == [("shop.v1.A.Do", "GET /{name=*}")]
    assert served(loaded({"shop.proto": text}, "shop.v1.A")) == ["A/Do GET /{name=*}", "A/Good GET /good"]


def test_a_set_of_which_nothing_can_be_served_is_refused() -> None:
    call = rpc('post: "/x"', request="stream Item")
    with pytest.raises(SchemaError, match=r"shop\.proto: shop\.v1\.S\.Do: its client streams"):
        loaded({"shop.proto": f"{ITEM} service S {{ {call} }}"})


NEWER = {
    "message MessageMapping {": "message MessageMapping { bool novelty = 90;",
    "message FieldMapping {": "message FieldMapping { bool novelty = 91;",
    "message MethodMapping {": "message MethodMapping { bool novelty = 92;",
    "message FileMapping {": "message FileMapping { bool novelty = 93;",
    "message ReasonMapping {": "message ReasonMapping { bool novelty = 94;",
}


def newer(text: str) -> dict[str, str]:
    """Return files with these definitions, and a restmap.proto with unknown options."""
    restmap = (RESTMAP / "restmap/v1/restmap.proto").read_text()
    for old, new in NEWER.items():
        assert old in restmap
        restmap = restmap.replace(old, new)
    return {"restmap/v1/restmap.proto": restmap, "shop.proto": ITEM + text}


USES = """
message Inner {{ {message} string a = 1 {field}; }}
message Outer {{ map<string, Deep> inner = 1; }}
message Deep {{ Inner inner = 1; Deep deeper = 2; }}
service S {{
  {good}
  rpc Do(Outer) returns (Item) {{ option (google.api.http) = {{ get: "/do" }}; {method} }}
  rpc Back(Item) returns (Deep) {{ option (google.api.http) = {{ get: "/back" }}; }}
}}
"""


def uses(message: str = "", field: str = "", method: str = "") -> str:
    return USES.format(good=GOOD, message=message, field=field, method=method)


@pytest.mark.parametrize(
    ("text", "methods", "reason"),
    [
        (uses(method="option (restmap.v1.method).novelty = true;"), ["S.Do"], "option restmap.v1.method has field 92"),
        (
            uses(message="option (restmap.v1.message).novelty = true;"),
            ["S.Do", "S.Back"],
            "shop.v1.Inner: the option restmap.v1.message has field 90",
        ),
        (
            uses(field="[(restmap.v1.field).novelty = true]"),
            ["S.Do", "S.Back"],
            "shop.v1.Inner.a: the option restmap.v1.field has field 91",
        ),
        (
            uses(field='[(restmap.v1.field).query_aliases = "a.b"]'),
            ["S.Do", "S.Back"],
            "shop.v1.Inner.a: the query alias 'a.b' must be a name without dots",
        ),
        (uses(method="option (restmap.v1.method).event_id_field = 'id';"), ["S.Do"], "event_id_field is for methods"),
    ],
)
def test_an_unknown_option_takes_the_methods_it_applies_to(text: str, methods: list[str], reason: str) -> None:
    schema = loaded(newer(text))
    assert [one.method.removeprefix("shop.v1.") for one in schema.unserved] == methods
    assert all(reason in one.reason for one in schema.unserved)
    assert "S/Good GET /good" in served(schema)


OF_FILE = [
    "option (restmap.v1.file).novelty = true;",
    "enum Reason { REASON_UNSPECIFIED = 0 [(restmap.v1.reason).novelty = true]; }",
]


@pytest.mark.parametrize("option", OF_FILE)
def test_an_unknown_option_of_a_file_takes_its_services(option: str) -> None:
    call = rpc('get: "/x"', "Do", "shop.v1.Item", "shop.v1.Item")
    odd = f'package odd.v1; import "shop.proto"; {option} service Odd {{ {call} }}'
    files = newer(f"service S {{ {GOOD} }}") | {"odd.proto": odd, "root.proto": 'import public "odd.proto";'}
    schema = loaded(files, "shop.v1.S", "odd.v1.Odd")
    assert served(schema) == ["S/Good GET /good"]
    assert [one.method for one in schema.unserved] == ["odd.v1.Odd.Do"]


@pytest.mark.parametrize("option", OF_FILE)
def test_an_unknown_option_of_a_file_without_services_is_refused(option: str) -> None:
    with pytest.raises(SchemaError, match="unknown to this gateway"):
        loaded(newer(f"service S {{ {GOOD} }}") | {"odd.proto": option})


def test_options_of_files_that_contradict_each_other_are_refused() -> None:
    option = 'option (restmap.v1.file).response_headers = { header: "content-type" };'
    with pytest.raises(SchemaError, match="one that the gateway sets itself"):
        loaded({"shop.proto": f"{ITEM} {option} service S {{ {GOOD} }}"})


def test_the_description_names_what_is_not_served_and_why() -> None:
    call = rpc('post: "/x" body: "*"', request="stream Item")
    schema = loaded({"shop.proto": f"{ITEM} service S {{ {GOOD} {call} }}"})
    description = describe(schema, version="1", server_url=None)
    dumps(description)
    info, paths = description["info"], description["paths"]
    assert isinstance(info, dict)
    assert isinstance(paths, dict)
    assert "- `shop.v1.S.Do` (`POST /x`): its client streams, which HTTP cannot call" in info["description"]
    assert list(paths) == ["/good"]


LIBRARY = "package lib.v1; message Job {{ string id = 1; }} service Jobs {{ {} }}".format(
    rpc('get: "/jobs"', "Get", "Job", "Job")
)
JOB = rpc('get: "/job"', response="lib.v1.Job")
IMPORTING = f'import "lib.proto"; {ITEM} service S {{ {GOOD} {JOB} }}'


def test_services_that_are_only_imported_are_left_out() -> None:
    files = {"lib.proto": LIBRARY, "shop.proto": IMPORTING}
    schema = loaded(files)
    assert served(schema) == ["S/Good GET /good", "S/Do GET /job"]
    assert schema.left_out == ("lib.v1.Jobs",)
    named = loaded(files, "lib.v1.Jobs", "shop.v1.S")
    assert (len(named.methods), named.left_out) == (3, ())
    assert served(loaded(files, "lib.v1.Jobs")) == ["Jobs/Get GET /jobs"]


def test_services_of_the_same_package_are_served_though_imported() -> None:
    call = rpc('get: "/t"', "T")
    other = f'package shop.v1; import "shop.proto"; service T {{ {call} }}'
    schema = loaded({"lib.proto": LIBRARY, "shop.proto": IMPORTING, "other.proto": other})
    assert served(schema) == ["S/Good GET /good", "S/Do GET /job", "T/T GET /t"]
    assert schema.left_out == ("lib.v1.Jobs",)


def test_imported_services_are_served_if_there_are_no_others() -> None:
    root = 'import "shop.proto"; package root; message Root { shop.v1.Item item = 1; }'
    schema = loaded({"shop.proto": f"{ITEM} service S {{ {GOOD} }}", "root.proto": root})
    assert (served(schema), schema.left_out) == (["S/Good GET /good"], ())
