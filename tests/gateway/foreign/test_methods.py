"""HTTP methods: methods of rules, HEAD and OPTIONS beside GET, and methods that a path does not support."""

from __future__ import annotations

import pytest

from tests.gateway.foreign.foreign import Foreign

ALLOWED = [
    ("PUT /", "GET, HEAD, OPTIONS"),
    ("POST /v1/books", "GET, HEAD, OPTIONS"),
    ("PUT /v1/books/1", "DELETE, GET, HEAD, OPTIONS"),
    ("POST /v1/books/1", "DELETE, GET, HEAD, OPTIONS"),
    ("POST /v1/books/1%3Aborrow", "DELETE, GET, HEAD, OPTIONS"),
    ("POST /v1/books/:import", "DELETE, GET, HEAD, OPTIONS"),
    ("PUT /v1/books/1:borrow", "DELETE, GET, HEAD, OPTIONS, POST"),
    ("GET /v1/books:import", "OPTIONS, POST"),
    ("HEAD /v1/books:import", "OPTIONS, POST"),
    ("POST /v1/books/detail", "DELETE, GET, HEAD, OPTIONS"),
    ("POST /v1/compete/one/two", "GET, HEAD, OPTIONS, PATCH, PUT"),
    ("PUT /v1/compete/two/one", "GET, HEAD, OPTIONS, PATCH"),
    ("DELETE /v1/files/a:zip", "GET, HEAD, OPTIONS, POST"),
    ("PATCH /v1/five/1/of/2", "GET, HEAD, OPTIONS"),
    ("GET /v1/heads/1", "HEAD, OPTIONS"),
    ("GET /v1/caches/1", "FETCH, OPTIONS, PURGE"),
    ("TRACE /v1/five/1", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ("PROPFIND /v1/books", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("request_", "allow"), ALLOWED)
def test_a_method_the_path_lacks_is_405_with_those_it_has(foreign: Foreign, request_: str, allow: str) -> None:
    answer = foreign.call(request_)
    assert (answer.status, answer.headers["Allow"]) == (405, allow)
    assert foreign.echo.seen == []


@pytest.mark.parametrize(("request_", "allow"), ALLOWED)
def test_options_answers_what_the_path_serves(foreign: Foreign, request_: str, allow: str) -> None:
    answer = foreign.call(f"OPTIONS {request_.partition(' ')[2]}")
    assert (answer.status, answer.headers["Allow"], answer.body) == (200, allow, b"")
    assert foreign.echo.seen == []


@pytest.mark.parametrize("request_", ["HEAD /v1/unknown", "OPTIONS /v1/unknown", "PURGE /v1/unknown", "PUT /v1/books/"])
def test_an_unknown_path_is_not_found_whatever_the_method(foreign: Foreign, request_: str) -> None:
    assert foreign.call(request_).status == 404


@pytest.mark.parametrize("request_", ["HEAD /v1/books/%zz", "HEAD /v1/books/1?nope=1"])
def test_head_fails_where_get_would(foreign: Foreign, request_: str) -> None:
    answer = foreign.call(request_)
    assert (answer.status, answer.body) == (400, b"")


SERVED = [
    ("GET /v1/five/x", None, "Five", 'a: "x"'),
    ("PUT /v1/five/x", '{"b": "y"}', "Five", 'a: "x" b: "y"'),
    ("POST /v1/five/x", '{"name": "y"}', "Five", 'a: "x" inner { name: "y" }'),
    ("DELETE /v1/five/x", None, "Five", 'b: "x"'),
    ("PATCH /v1/five/x", '"y"', "Five", 'a: "x" b: "y"'),
    ("GET /v1/five/x/of/y", None, "Five", 'a: "x" b: "y"'),
    ("GET /v1/five/x?b=y", None, "Five", 'a: "x" b: "y"'),
    ("DELETE /v1/five/x?a=y", None, "Five", 'a: "y" b: "x"'),
    ("HEAD /v1/five/x?b=y", None, "Five", 'a: "x" b: "y"'),
    ("HEAD /v1/books", None, "Literal", ""),
    ("HEAD /v1/heads/x", None, "Head", 'a: "x"'),
    ("OPTIONS /v1/options/x", None, "Options", 'a: "x"'),
    ("PURGE /v1/caches/x", None, "Purge", 'a: "x"'),
    ("FETCH /v1/caches/x", '{"b": "y"}', "Fetch", 'a: "x" b: "y"'),
    ("GET /v1/whatever/x", None, "Whatever", 'b: "x"'),
    ("HEAD /v1/whatever/x", None, "Whatever", 'b: "x"'),
    ("PUT /v1/whatever/x", None, "Whatever", 'a: "x"'),
    ("DELETE /v1/whatever/x?b=y", None, "Whatever", 'a: "x" b: "y"'),
    ("OPTIONS /v1/whatever/x", None, "Whatever", 'a: "x"'),
    ("MKCOL /v1/whatever/x", None, "Whatever", 'a: "x"'),
    ("INVENTED /v1/whatever/x", None, "Whatever", 'a: "x"'),
]


@pytest.mark.parametrize(("request_", "body", "method", "text"), SERVED)
def test_a_rule_serves_its_method(foreign: Foreign, request_: str, body: str | None, method: str, text: str) -> None:
    assert foreign.call(request_, body).status == 200
    assert foreign.asked()[0] == method
    foreign.assert_asked(text)


def test_head_has_the_headers_of_get_and_no_body(foreign: Foreign) -> None:
    head, get = foreign.call("HEAD /v1/books/1"), foreign.call("GET /v1/books/1")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Type"] == get.headers["Content-Type"] == "application/json"
    assert head.headers["Content-Length"] == str(len(get.body))
