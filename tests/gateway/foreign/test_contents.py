"""`google.api.HttpBody`: bodies that are not JSON, in requests, responses and streams."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import closing

import grpc
import pytest

from restmap_gateway.openapi import describe
from restmap_gateway.schema.schema import load
from tests.gateway.foreign.foreign import Foreign
from tests.gateway.foreign.system import Reply, System
from tests.gateway.unit.descriptions import operations

PNG = b"\x89PNG\r\n\x1a\n\x00\xff"
OF_PNG = [("Content-Type", "image/png"), ("Accept", "image/*")]
BODY = "google.api.HttpBody"


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with closing(System(frozenset({"/foreign.v1.Contents/Watch", "/foreign.v1.Contents/WatchField"}))) as system:
        yield system


@pytest.mark.parametrize(
    "content_type", ["image/png", "text/html; charset=iso-8859-1", "application/json", "multipart/mixed; boundary=x"]
)
@pytest.mark.parametrize("body", [PNG, b"{", b"\0", b"x" * 100_000])
def test_a_body_crosses_with_its_content_type_as_it_is(foreign: Foreign, content_type: str, body: bytes) -> None:
    answer = foreign.call("POST /v1/whole", body, [("Content-Type", content_type)])
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    _, request = foreign.asked()
    assert (request.content_type, request.data) == (content_type, body)


def test_a_field_of_the_request_can_be_the_whole_content(foreign: Foreign) -> None:
    answer = foreign.call("PUT /v1/pictures/a?note=b", PNG, OF_PNG)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, PNG, "image/png")
    _, request = foreign.asked()
    assert (request.name, request.note, request.file.data) == ("a", "b", PNG)


def test_only_the_side_that_is_content_is_not_json(foreign: Foreign) -> None:
    written = {"name": "a", "file": {"content_type": "image/png", "data": base64.b64encode(PNG).decode()}}
    answer = foreign.call("PUT /v1/json/a", PNG, [("Content-Type", "image/png")])
    assert (answer.status, answer.json) == (200, written)
    assert foreign.call("PUT /v1/json/a", PNG, OF_PNG).status == 406
    assert foreign.call("POST /v1/json", json.dumps(written)).json == written


def test_a_list_of_contents_is_json(foreign: Foreign) -> None:
    files = [{"content_type": "text/plain", "data": "YQ=="}]
    assert foreign.call("POST /v1/several", json.dumps(files)).json == files


def test_a_body_without_a_content_type_has_none_in_the_call(foreign: Foreign) -> None:
    answer = foreign.call("POST /v1/whole", PNG, [])
    assert (answer.body, answer.headers["Content-Type"]) == (PNG, "application/octet-stream")
    foreign.assert_asked('data: "\\211PNG\\r\\n\\032\\n\\000\\377"')


def test_no_body_is_an_empty_content(foreign: Foreign) -> None:
    answer = foreign.call("POST /v1/whole")
    assert (answer.status, answer.body) == (200, b"")
    assert "Content-Type" not in answer.headers
    foreign.assert_asked("")
    assert foreign.call("PUT /v1/needed").status == 400


def test_a_query_sets_the_fields_of_a_content(foreign: Foreign) -> None:
    answer = foreign.call("GET /v1/whole?content_type=text/plain&data=YQ%3D%3D")
    assert (answer.body, answer.headers["Content-Type"]) == (b"a", "text/plain")
    foreign.echo.forget()
    assert foreign.call("PUT /v1/whole/text/css", b"a", OF_PNG).headers["Content-Type"] == "text/css"


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([("Content-Encoding", "gzip")], "Content-Encoding"),
        ([("Content-Type", "a/b;c=\xff")], "Content-Type"),
    ],
)
def test_a_content_that_the_call_cannot_carry_is_refused(
    foreign: Foreign, headers: list[tuple[str, str]], field: str
) -> None:
    foreign.assert_refused(foreign.call("POST /v1/whole", PNG, headers), 400, field)


@pytest.mark.parametrize("content_type", ["a\r\nX-Evil: 1", "a/b\n", "\t", "a\0b", "ä/b"])
def test_a_content_type_that_is_no_header_is_a_broken_answer(foreign: Foreign, content_type: str) -> None:
    foreign.echo.reply = Reply(b"\x0a" + bytes([len(content_type.encode())]) + content_type.encode())
    answer = foreign.call("GET /v1/whole")
    assert (answer.status, answer.headers["X-Evil"]) == (502, None)


def test_a_response_without_its_content_is_empty(foreign: Foreign) -> None:
    foreign.answers("foreign.v1.Upload", "name: 'a'")
    answer = foreign.call("PUT /v1/pictures/a", PNG, OF_PNG)
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, b"", None)


def test_a_failure_is_json_whatever_the_client_accepts(foreign: Foreign) -> None:
    foreign.echo.reply = Reply(code=grpc.StatusCode.NOT_FOUND, message="No such file.")
    answer = foreign.call("PUT /v1/pictures/a", PNG, OF_PNG)
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/json")


@pytest.mark.parametrize("accept", ["*/*", "text/event-stream", "image/*"])
def test_a_stream_of_contents_is_one_body(foreign: Foreign, accept: str) -> None:
    answer = foreign.call("POST /v1/watch", PNG, [("Content-Type", "image/png"), ("Accept", accept)])
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (200, PNG * 2, "image/png")


def test_a_stream_of_messages_with_a_content_is_one_body(foreign: Foreign) -> None:
    foreign.answers("foreign.v1.Upload", 'file { content_type: "text/csv" data: "a,b\\n" }')
    answer = foreign.call("GET /v1/watch/a")
    assert (answer.body, answer.headers["Content-Type"]) == (b"a,b\n" * 2, "text/csv")


def test_a_late_failure_breaks_a_stream_of_contents(foreign: Foreign) -> None:
    foreign.echo.reply = Reply(code=grpc.StatusCode.ABORTED)
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        foreign.call("POST /v1/watch", PNG, OF_PNG)


def test_an_early_failure_of_a_stream_of_contents_is_json(foreign: Foreign) -> None:
    foreign.echo.reply = Reply(b"\x0a\x01\x01")
    answer = foreign.call("POST /v1/watch", PNG, OF_PNG)
    assert (answer.status, answer.json["error"]["message"]) == (502, "The server's answer cannot be read.")


def test_the_description_has_contents_of_any_type(descriptor_set: object) -> None:
    image = descriptor_set("contents").read_bytes()  # type: ignore[operator]
    described = operations(describe(load(image), version="1", server_url=None))
    whole, files = described["Contents_Whole"], described["Contents_Field_2"]
    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    assert whole["requestBody"]["content"] == whole["responses"]["200"]["content"] == content
    assert files["requestBody"]["content"] == content
    assert list(files["responses"]["200"]["content"]) == ["application/json"]


EMPTY = "type.googleapis.com/google.protobuf.Empty"


@pytest.mark.parametrize("value", [{"value": {}}, {}])
def test_an_any_of_empty_may_have_an_empty_value(foreign: Foreign, value: dict[str, object]) -> None:
    answer = foreign.call("POST /v1/packed", json.dumps({"@type": EMPTY, **value}))
    assert (answer.status, answer.json) == (200, {"@type": EMPTY})


@pytest.mark.parametrize("value", [None, [], {"a": 1}, "", 0, False])
def test_an_any_of_empty_has_no_other_value(foreign: Foreign, value: object) -> None:
    answer = foreign.call("POST /v1/packed", json.dumps({"@type": EMPTY, "value": value}))
    foreign.assert_refused(answer, 400, "value")
