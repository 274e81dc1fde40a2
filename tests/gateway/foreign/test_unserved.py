"""A service with methods that HTTP cannot call, as etcd and Cloud Logging have: the others are served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import System
from tests.support.protoc import compiled_texts

PROTO = """
syntax = "proto3";
package store.v1;
import "google/api/annotations.proto";

message RangeRequest { bytes key = 1; int64 limit = 2; }
message PutRequest { bytes key = 1; bytes value = 2; }
message Events { repeated PutRequest events = 1; }
message Filter { string filter = 1; }

service KV {
  rpc Range(RangeRequest) returns (Events) { option (google.api.http) = { post: "/v3/kv/range" body: "*" }; }
  rpc Put(PutRequest) returns (PutRequest) { option (google.api.http) = { post: "/v3/kv/put" body: "*" }; }
}
service Watch {
  rpc Watch(stream RangeRequest) returns (stream Events) { option (google.api.http) = { post: "/v3/watch" body: "*" }; }
  rpc Follow(RangeRequest) returns (stream Events) { option (google.api.http) = { post: "/v3/follow" body: "*" }; }
}
service Logs {
  rpc List(Filter) returns (Filter) { option (google.api.http) = { get: "/v2/{filter}" }; }
  rpc Tail(stream Filter) returns (stream Events) {
    option (google.api.http) = {
      get: "/v2/tail"
      additional_bindings { custom: { kind: "FOLLOW" path: "/v2/tail" } }
      additional_bindings { get: "/v2/{filter=*}" }
    };
  }
  rpc Summary(Filter) returns (Filter) { option (google.api.http) = { get: "/v1/{filter=rings/**}/summary" }; }
  rpc Lost(Filter) returns (Filter) { option (google.api.http) = { get: "/v1/{name}" }; }
}
"""


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with closing(System(frozenset({"/store.v1.Watch/Follow"}))) as system:
        yield system


@pytest.fixture(scope="module")
def store_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("store") / "set.binpb"
    target.write_bytes(compiled_texts({"store.proto": PROTO}))
    return target


@pytest.fixture(scope="module")
def store(system: System, store_set: Path) -> Iterator[Foreign]:
    """Return a gateway for services of which some methods cannot be served."""
    with closing(Foreign(system, store_set)) as foreign:
        yield foreign


def test_methods_beside_a_client_stream_are_served(store: Foreign) -> None:
    assert store.call("POST /v3/kv/put", '{"key": "YQ==", "value": "Yg=="}').json == {"key": "YQ==", "value": "Yg=="}
    store.echo.forget()
    assert store.call("GET /v2/all").status == 200
    store.assert_asked('filter: "all"')
    store.echo.forget()
    assert store.call("POST /v3/follow", "{}").status == 200


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("POST /v3/watch", "store.v1.Watch.Watch: its client streams, which HTTP cannot call."),
        ("GET /v2/tail", "store.v1.Logs.Tail: its client streams, which HTTP cannot call."),
        ("HEAD /v2/tail", ""),
        ("FOLLOW /v2/tail", "store.v1.Logs.Tail: its client streams, which HTTP cannot call."),
        ("GET /v1/a", "store.v1.Logs.Lost: template variable 'name': store.v1.Filter has no field 'name'."),
    ],
)
def test_a_path_that_cannot_be_served_is_501_with_the_reason(store: Foreign, request_: str, said: str) -> None:
    answer = store.call(request_)
    assert answer.status == 501
    assert store.echo.seen == []
    if said:
        error = json.loads(answer.body)["error"]
        assert (error["code"], error["message"]) == ("UNIMPLEMENTED", f"This gateway cannot serve {said}")


def test_a_path_that_cannot_be_served_has_no_other_methods(store: Foreign) -> None:
    answer = store.call("PUT /v3/watch")
    assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize(
    ("path", "value"),
    [("rings/a/b/summary", "rings/a/b"), ("rings/summary", "rings"), ("rings/a%2Fb/summary", "rings/a%2Fb")],
)
def test_segments_may_follow_a_rest_of_the_path(store: Foreign, path: str, value: str) -> None:
    assert store.call(f"GET /v1/{path}").json == {"filter": value}


def test_start_warns_of_what_is_not_served(system: System, store_set: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Foreign(system, store_set)):
        said = [line for line in capfd.readouterr().out.splitlines() if "not served" in line]
    assert len(said) == 5
    assert "store.v1.Watch.Watch" in said[0]
    assert "POST /v3/watch" in said[0]
    assert "its client streams, which HTTP cannot call" in said[0]
