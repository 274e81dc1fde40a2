"""Elements of a proto with the names of Python attributes: of messages, of their classes, and of any object."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.empty_pb2 import Empty

from restmap_gateway.json_map import dumps
from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import load
from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import System
from tests.support.protoc import compiled_texts

NAMES = tuple(sorted({*dir(Empty), *dir(FieldDescriptorProto), *dir(Descriptor)} - {"json_name"}))
"""Names of all attributes of messages, of their classes, and of descriptors."""

FLAGS = " ".join(f"optional bool {name} = {number};" for number, name in enumerate(NAMES, 1001))

PROTO = f"""
syntax = "proto2";
package SerializeToString.ListFields;
import "google/api/annotations.proto";
import "google/protobuf/any.proto";
import "google/protobuf/wrappers.proto";
import "restmap/v1/restmap.proto";

enum DESCRIPTOR {{ HasField = 0; {" ".join(f"v_{name} = {number};" for number, name in enumerate(NAMES, 1))} }}

message FromString {{
  message SetInParent {{ {FLAGS} }}
}}

message Message {{
  {FLAGS}
  optional FromString.SetInParent single = 1;
  repeated FromString.SetInParent several = 2;
  map<string, FromString.SetInParent> keyed = 3;
  repeated DESCRIPTOR values = 4;
  optional google.protobuf.Any any = 5;
  oneof choice {{ string left = 6; FromString.SetInParent right = 7; }}
  optional string key = 8 [(restmap.v1.field).header = "Key", (restmap.v1.field).makes_repeatable = true];
  optional google.protobuf.BoolValue wrapped = 9;
}}

message Oneofs {{
  oneof {NAMES[-1]} {{ string only = 1; string other = 2; }}
  oneof WhichOneof {{ string a = 3; Oneofs b = 4; }}
  oneof SetInParent {{ string c = 5; Oneofs d = 6; }}
  repeated Oneofs ListFields = 7;
  map<string, Oneofs> IsInitialized = 8;
  optional Oneofs CopyFrom = 9;
}}

message Strict {{
  required string FindInitializationErrors = 1;
  optional string IsInitialized = 2;
  optional Strict SerializeToString = 3;
}}

message Page {{
  repeated string FindInitializationErrors = 1;
  optional bool IsInitialized = 2;
  optional int32 SerializeToString = 3;
  optional int32 ByteSize = 4;
}}

service __init__ {{
  rpc SerializeToString(Message) returns (Message) {{ option (google.api.http) = {{ post: "/all" body: "*" }}; }}
  rpc __class__(Message) returns (Message) {{
    option (google.api.http) = {{ get: "/query/{{__class__}}/{{single.SetInParent}}" }};
  }}
  rpc IsInitialized(Message) returns (Message) {{
    option (google.api.http) = {{ post: "/field" body: "single" response_body: "single" }};
  }}
  rpc ListFields(Message) returns (stream Message) {{
    option (google.api.http) = {{ get: "/stream" }};
    option (restmap.v1.method).event_id_field = "key";
  }}
  rpc WhichOneof(Oneofs) returns (Oneofs) {{ option (google.api.http) = {{ post: "/oneofs" body: "*" }}; }}
  rpc ByteSize(Strict) returns (Strict) {{ option (google.api.http) = {{ post: "/strict" body: "*" }}; }}
  rpc Clear(Page) returns (Page) {{
    option (google.api.http) = {{ get: "/page" }};
    option (restmap.v1.method).offset_paging = {{
      limit_field: "SerializeToString" offset_field: "ByteSize" items_field: "FindInitializationErrors"
      more_field: "IsInitialized" links_member: "links"
    }};
  }}
}}
"""

ALL = dict.fromkeys(NAMES, True)
STREAM = "/SerializeToString.ListFields.__init__/ListFields"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with closing(System(frozenset({STREAM}))) as system:
        yield system


@pytest.fixture(scope="module")
def names(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreign]:
    """Return a gateway, with its descriptions, for a proto whose names are all attributes."""
    made = compiled_texts({"names.proto": PROTO})
    descriptor_set = tmp_path_factory.mktemp("names") / "set.binpb"
    descriptor_set.write_bytes(made)
    assert b"__getattribute__" in dumps(describe(load(made), version=None, server_url=None))
    with closing(Foreign(system, descriptor_set)) as foreign:
        yield foreign


@pytest.mark.parametrize(
    "members",
    [
        ALL,
        {"single": ALL},
        {"single": {}},
        {"several": [ALL, {}]},
        {"keyed": {"": ALL, "a": {}}},
        {"values": ["HasField", *(f"v_{name}" for name in NAMES)]},
        {"any": {"@type": "type.googleapis.com/SerializeToString.ListFields.FromString.SetInParent", **ALL}},
        {"right": ALL},
    ],
)
def test_members_named_like_attributes_are_read_and_written(names: Foreign, members: dict[str, object]) -> None:
    answer = names.call("POST /all", json.dumps(members), [("Content-Type", "application/json"), ("Key", "k")])
    assert (answer.status, answer.json) == (200, {**members, "key": "k"})


@pytest.mark.parametrize("name", NAMES)
def test_a_query_sets_fields_named_like_attributes(names: Foreign, name: str) -> None:
    query = "" if name == "__class__" else f"{name}=true&"
    inner = "" if name == "SetInParent" else f"single.{name}=true&right.{name}=true"
    answer = names.call(f"GET /query/true/true?{query}{inner}")
    assert answer.status == 200, answer.body
    assert answer.json["__class__"] is answer.json["single"]["SetInParent"] is True
    assert name == "__class__" or answer.json[name] is True
    assert name == "SetInParent" or answer.json["right"] == {name: True}


def test_one_field_named_like_attributes_is_a_whole_body(names: Foreign) -> None:
    answer = names.call("POST /field", json.dumps(ALL))
    assert (answer.status, answer.json) == (200, ALL)


def test_a_stream_has_messages_named_like_attributes(names: Foreign) -> None:
    answer = names.call("GET /stream?SerializeToString=true", headers=[("Accept", "text/event-stream"), ("Key", "k")])
    assert answer.body == b'id: k\ndata: {"SerializeToString":true,"key":"k"}\n\n' * 2


def test_oneofs_named_like_attributes_are_read_and_written(names: Foreign) -> None:
    inner = {"only": "x", "a": "y", "d": {"c": ""}}
    members = {"ListFields": [inner], "IsInitialized": {"k": inner}, "CopyFrom": {}}
    answer = names.call("POST /oneofs", json.dumps(members))
    assert (answer.status, answer.json) == (200, members)
    refused = names.call("POST /oneofs", '{"a": "", "b": {}}')
    assert (refused.status, refused.fields) == (400, ["b"])


def test_missing_required_fields_named_like_methods_are_named(names: Foreign) -> None:
    assert names.call("POST /strict", '{"SerializeToString": {}}').fields == [
        "FindInitializationErrors",
        "SerializeToString.FindInitializationErrors",
    ]
    members = {"FindInitializationErrors": "a", "IsInitialized": "b"}
    assert names.call("POST /strict", json.dumps(members)).json == members


def test_pages_with_fields_named_like_methods_have_links(names: Foreign) -> None:
    names.answers("SerializeToString.ListFields.Page", 'FindInitializationErrors: "a" IsInitialized: true')
    answer = names.call("GET /page?ByteSize=2")
    assert answer.json["links"][0]["href"].endswith("/page?ByteSize=3")
