"""Lines of streams whose messages look like failures: a client can always tell which one the last line is."""

from __future__ import annotations

import json

import grpc
import pytest
from jsonschema import Draft202012Validator

from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Foreign, Json

FAILURE = '{"error":{"code":"ABORTED","message":"Moved.","request_id":"x"}}'
ANY = '{"@type":"type.googleapis.com/foreign.streams.v1.LikeFailure","error":{"code":"ABORTED"}}'
PLAIN, MARKED, WRAPPED = ("", "error"), ("", "@error"), ("result", "error")

STREAMS = [
    ("GET /v1/failing?error=x", None, '{"error":"x"}', MARKED),
    ("GET /v1/like-failure?error.code=ABORTED", None, '{"error":{"code":"ABORTED"}}', MARKED),
    ("GET /v1/inside?error.code=ABORTED", None, '{"code":"ABORTED"}', PLAIN),
    ("GET /v1/custom?failure=x", None, '{"failure":"x"}', PLAIN),
    ("POST /v1/any", ANY, ANY, MARKED),
    ("POST /v1/struct", FAILURE, FAILURE, WRAPPED),
    ("POST /v1/struct", '{"@error":{}}', '{"@error":{}}', WRAPPED),
    ("POST /v1/value", FAILURE, FAILURE, WRAPPED),
    ("POST /v1/value", "null", "null", WRAPPED),
    ("POST /v1/list-value", f"[{FAILURE}]", f"[{FAILURE}]", PLAIN),
    ("POST /v1/time", '"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:00Z"', PLAIN),
    ("GET /v1/empty", None, "{}", PLAIN),
    ("POST /v1/holder", '{"text":"x"}', '{"text":"x"}', PLAIN),
    ("POST /v1/holder/failing", '{"failing":{"error":"x"}}', '{"error":"x"}', MARKED),
    ("POST /v1/holder/details", '{"details":{"error":{"code":"x"}}}', '{"error":{"code":"x"}}', WRAPPED),
    ("POST /v1/holder/list", '{"list":[{"error":{"code":"x"}}]}', '[{"error":{"code":"x"}}]', PLAIN),
    ("POST /v1/holder/struct", f'{{"struct":{FAILURE}}}', FAILURE, WRAPPED),
    ("POST /v1/holder/text", '{"text":"error"}', '"error"', PLAIN),
]


@pytest.fixture(scope="module")
def streams(start: NewForeign) -> Foreign:
    """Service with streams of every kind of message."""
    return start("streams", docs=True)


def described(streams: Foreign, path: str, media: str) -> tuple[Json, Json]:
    """Return the schema of the items of a stream, resolved against the whole document, and the text about them."""
    document = streams.call("GET /openapi.json").json
    (operation,) = document["paths"][path].values()
    content = operation["responses"]["200"]["content"][media]
    return {**content["x-itemSchema"], "components": document["components"]}, content["schema"]["description"]


@pytest.mark.parametrize(("request_", "body", "message", "form"), STREAMS)
def test_a_failure_is_told_from_any_message(
    streams: Foreign, request_: str, body: str | None, message: str, form: tuple[str, str]
) -> None:
    streams.echo.reply.code = grpc.StatusCode.ABORTED
    streams.echo.reply.message = "Moved."
    inside, member = form
    answer = streams.call(request_, body)
    one, two, last = map(json.loads, answer.body.splitlines())
    assert one == two == ({inside: json.loads(message)} if inside else json.loads(message))
    assert list(last) == [member]
    assert (last[member]["code"], last[member]["message"]) == ("ABORTED", "Moved.")
    assert not isinstance(one, dict) or list(one) != [member]


@pytest.mark.parametrize(("request_", "body", "message", "form"), STREAMS)
def test_openapi_names_the_form_of_lines(
    streams: Foreign, request_: str, body: str | None, message: str, form: tuple[str, str]
) -> None:
    streams.echo.reply.code = grpc.StatusCode.ABORTED
    path = request_.split()[1].partition("?")[0]
    schema, text = described(streams, path, "application/x-ndjson")
    assert f"`{form[1]}`" in text
    failure = Draft202012Validator(schema | {"anyOf": schema["anyOf"][-1:]})
    lines = [json.loads(line) for line in streams.call(request_, body).body.splitlines()]
    assert [failure.is_valid(line) for line in lines] == [False, False, True]
    for line in lines:
        Draft202012Validator(schema).validate(line)


@pytest.mark.parametrize(("request_", "body", "message", "form"), STREAMS)
def test_events_have_names_and_so_their_usual_form(
    streams: Foreign, request_: str, body: str | None, message: str, form: tuple[str, str]
) -> None:
    streams.echo.reply.code = grpc.StatusCode.ABORTED
    accept = [("Accept", "text/event-stream"), ("Content-Type", "application/json")]
    one, _, last = streams.call(request_, body, accept).body.decode().strip().split("\n\n")
    assert json.loads(one.removeprefix("data: ")) == json.loads(message)
    assert last.startswith('event: error\ndata: {"error":{"code":"ABORTED"')
