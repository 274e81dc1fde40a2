"""Startup with an invalid descriptor set: exit code 2, and every problem with its file, method and rule."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import PATIENCE, ROOT, environment
from tests.support.protoc import DescriptorSets, compiled_texts

HEAD = """
syntax = "proto3";
package broken.v1;
import "google/api/annotations.proto";
import "restmap/v1/restmap.proto";

message Item {
  string id = 1;
  Item inner = 2;
  repeated string tags = 3;
  map<string, string> labels = 4;
  oneof owner { string user = 5; Item group = 6; }
  string hidden = 7 [(restmap.v1.field).grpc_only = true];
  string echoed = 8 [(restmap.v1.field) = { query_aliases: "id" header: "not a header" }];
}
"""

PROBLEMS = [
    ('get: "v1"', "GET v1", "column 1: expected '/'"),
    ('get: "/v1/"', "GET /v1/", "column 5: expected a literal"),
    ('get: "/v1//x"', "GET /v1//x", "column 5: expected a literal"),
    ('get: "/v1/{id"', "GET /v1/{id", "expected '}'"),
    ('get: "/v1/{id=**}/x/**"', "GET /v1/{id=**}/x/**", "a second '**'"),
    ('get: "/v1/{id={user}}"', "GET /v1/{id={user}}", "a variable must not contain another"),
    ('get: "/v1/{id}/{id}"', "GET /v1/{id}/{id}", "the variable 'id' occurs twice"),
    ('get: "/v1/x:"', "GET /v1/x:", "expected a verb"),
    ('get: "/v1/x?y"', "GET /v1/x?y", "'?' is not expected here"),
    ('get: "/a/{nope}"', "GET /a/{nope}", "broken.v1.Item has no field 'nope'"),
    ('get: "/b/{inner.nope}"', "GET /b/{inner.nope}", "broken.v1.Item has no field 'nope'"),
    ('get: "/c/{id.x}"', "GET /c/{id.x}", "broken.v1.Item.id is no message with fields of its own"),
    ('get: "/d/{tags}"', "GET /d/{tags}", "broken.v1.Item.tags is repeated"),
    ('get: "/e/{labels}"', "GET /e/{labels}", "broken.v1.Item.labels is a map"),
    ('get: "/f/{inner}"', "GET /f/{inner}", "broken.v1.Item.inner is a message"),
    ('get: "/g/{hidden}"', "GET /g/{hidden}", "broken.v1.Item.hidden is grpc_only"),
    ('get: "/h/{user}/{group.id}"', "GET /h/{user}/{group.id}", "it is of the same oneof as 'user'"),
    ('post: "/i" body: "nope"', "POST /i", "body 'nope' is no field of broken.v1.Item"),
    ('post: "/j" body: "inner.id"', "POST /j", "body 'inner.id' is no field of broken.v1.Item"),
    ('post: "/k/{id}" body: "id"', "POST /k/{id}", "body 'id' is bound by the path too"),
    ('get: "/l" response_body: "nope"', "GET /l", "response_body 'nope' is no field of broken.v1.Item"),
    ('get: "/m" additional_bindings { get: "/m/{nope}" }', "GET /m/{nope}", "has no field 'nope'"),
    ('get: "/n" additional_bindings { get: "/o" additional_bindings { get: "/p" } }', "GET /o",
     "an additional binding must not have additional bindings"),
    ('custom: { kind: "GE T" path: "/q" }', "GE T /q", "'GE T' is not an HTTP method"),
    ('custom: { path: "/r" }', "/r", "the rule names no HTTP method and path"),
    ('body: "*"', "", "the rule names no HTTP method and path"),
    ('get: "/s/{id}" additional_bindings { get: "/s/{user=*}" }', "GET /s/{user=*}",
     "GET '/s/{user=*}' matches the same paths as GET '/s/{id}'"),
]  # fmt: skip

OTHERS = [
    "broken.proto: broken.v1.Item.echoed: the query alias 'id' is the name of the field 'id'",
    "broken.proto: broken.v1.Item.echoed: 'not a header' is not the name of a header",
    "broken.proto: broken.v1.Broken.Upload: its client streams, which HTTP cannot call",
    "broken.proto: broken.v1.Other.Do: GET /t/{user}: GET '/t/{user}' matches the same paths as GET '/t/{id}'",
]


def refused(*arguments: str) -> str:
    """Run a gateway that must fail to start; return its stderr."""
    command = [sys.executable, "-m", "restmap_gateway", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout) == (2, b""), ended.stderr.decode()
    return ended.stderr.decode()


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the error lines for a descriptor set with every kind of problem."""
    rpc = "rpc {name}({stream}Item) returns (Item) {{ option (google.api.http) = {{ {rule} }}; }}"
    rules = [rpc.format(name=f"Do{number}", stream="", rule=rule) for number, (rule, _, _) in enumerate(PROBLEMS)]
    rules.append(rpc.format(name="Upload", stream="stream ", rule='post: "/u" body: "*"'))
    rules.append(rpc.format(name="First", stream="", rule='get: "/t/{id}"'))
    other = rpc.format(name="Do", stream="", rule='get: "/t/{user}"')
    text = f"{HEAD}\nservice Broken {{ {' '.join(rules)} }}\nservice Other {{ {other} }}\n"
    descriptor_set = tmp_path_factory.mktemp("broken") / "set.binpb"
    descriptor_set.write_bytes(compiled_texts({"broken.proto": text}))
    return refused("--descriptor-set", str(descriptor_set), "--strict-schema").splitlines()


@pytest.mark.parametrize(("number", "rule", "text"), [(n, rule, text) for n, (_, rule, text) in enumerate(PROBLEMS)])
def test_a_rule_that_cannot_be_served_is_named_with_its_method(
    said: list[str], number: int, rule: str, text: str
) -> None:
    where = ": ".join(part for part in ("broken.proto", f"broken.v1.Broken.Do{number}", rule) if part)
    assert [line for line in said if line.removeprefix("restmap-gateway: ").startswith(where) and text in line]


@pytest.mark.parametrize("line", OTHERS)
def test_other_problems_are_named_with_their_file_and_element(said: list[str], line: str) -> None:
    assert [one for one in said if one.removeprefix("restmap-gateway: ").startswith(line)]


def test_a_set_that_is_not_there_or_none_is_refused(tmp_path: Path) -> None:
    assert f"{tmp_path / 'nope'} cannot be read" in refused("--descriptor-set", str(tmp_path / "nope"))
    assert "no descriptor set" in refused("--descriptor-set", __file__)


def test_a_missing_service_is_refused_and_the_others_are_named(descriptor_set: DescriptorSets) -> None:
    said = refused("--descriptor-set", str(descriptor_set("library")), "--service", "library.v1.Libary")
    assert "there is no service 'library.v1.Libary' in the set" in said
    assert "library.v1.Library" in said
