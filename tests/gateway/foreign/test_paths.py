"""Path matching, and decoding of path variables."""

from __future__ import annotations

import pytest

from tests.gateway.foreign.foreign import Foreign

NOT_FOUND = [
    # wrong number or names of segments
    "GET /v1", "GET /v1/unknown", "GET /v1/shelves", "GET /v1/shelves/1/books/2/pages", "GET /v1/two/1",
    "GET /v1/two/1/2/3", "GET /v2/books/1", "GET /v1/trees/1", "GET /v1/nested/a", "GET /v1/disks", "GET /books/1",
    # slashes: missing, trailing and double ones do not match
    "GET //", "GET //v1/books", "GET /v1//books", "GET /v1/books/", "GET /v1/books/1/", "GET /v1/books//1",
    "GET /v1/two//2", "GET /v1/two/1//", "GET /v1/shelves//books", "GET /v1/shelves/1/books/", "GET /v1/rest/",
    "GET /v1/rest//a", "GET /v1/rest/a//b", "GET /v1/rest/a/", "GET /v1/files/a/", "GET /v1/files//a",
    # literals: exact match, case-sensitive
    "GET /V1/books", "GET /v1/Books", "GET /v1/book", "GET /v1/bookss", "GET /v1/kinds/Plain", "GET /v1/kinds/other",
    "GET /v1/odd+name%2Fx/1", "GET /v1/odd%20name/x/1", "GET /v1/shelves/1/Books", "GET /v1/a-b._~!$&'()+,;=%40x",
    # an encoded slash does not separate segments
    "GET /v1%2Fbooks", "GET /v1/shelves%2F1", "GET /v1/shelves%2F1/books", "GET /v1/two/1%2F2",
    # an encoded colon does not start a verb
    "POST /v1/books%3Aimport",
    # verbs
    "POST /v1/books:export", "POST /v1/books:Import", "POST /v1/books:import:",
    "POST /v1/books:import/1", "GET /v1/nested/a/b:c/d",
    # literals with invalid percent-encoding
    "GET /v1/%zzbooks", "GET /v1/%ff", "GET /v1/%", "GET /%C3/books",
]  # fmt: skip


@pytest.mark.parametrize("request_", NOT_FOUND)
def test_a_path_that_no_template_matches_is_not_found(foreign: Foreign, request_: str) -> None:
    answer = foreign.call(request_)
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")
    assert foreign.echo.seen == []


@pytest.mark.parametrize("value", ["%", "%4", "%zz", "a%2", "%ff", "%C3", "%ED%A0%80", "%C0%AF", "%F5%80%80%80"])
@pytest.mark.parametrize(
    ("path", "field"),
    [("books/{}", "a"), ("files/{}", "a"), ("files/x/{}/y", "a"), ("shelves/{}", "a"), ("two/x/{}", "b"),
     ("rooms/{}/desks/1", "inner.name")],
)  # fmt: skip
def test_a_variable_whose_encoding_is_broken_is_a_bad_request(
    foreign: Foreign, path: str, field: str, value: str
) -> None:
    foreign.assert_refused(foreign.call(f"GET /v1/{path.format(value)}"), 400, field)


SHAPES = [
    ("GET /", "Root", ""),
    ("GET /?a=x", "Root", 'a: "x"'),
    ("GET /v1/books", "Literal", ""),
    ("GET /v1/books?a=x", "Literal", 'a: "x"'),
    ("GET /v1/books?", "Literal", ""),
    ("GET /v1/books/1", "OneVariable", 'a: "1"'),
    ("GET /v1/stars/1", "Star", 'a: "1"'),
    ("GET /v1/two/1/2", "TwoVariables", 'a: "1" b: "2"'),
    ("GET /v1/nested/x/y", "Nested", 'inner { name: "x" deeper { deeper { name: "y" } } }'),
    ("GET /v1/shelves/1", "Name", 'a: "shelves/1"'),
    ("GET /v1/shelves/shelves", "Name", 'a: "shelves/shelves"'),
    ("GET /v1/shelves/1/books/2", "NameOfTwo", 'a: "shelves/1/books/2"'),
    ("GET /v1/shelves/1/books", "Parent", 'a: "shelves/1"'),
    ("GET /v1/shelves/books/books", "Parent", 'a: "shelves/books"'),
    ("GET /v1/shelves/1/pages/2", "ParentAndChild", 'a: "shelves/1" b: "2"'),
    ("GET /v1/rooms/1/desks/2", "NestedName", 'inner { name: "rooms/1/desks/2" }'),
    ("GET /v1/files", "Rest", ""),
    ("GET /v1/files/a", "Rest", 'a: "a"'),
    ("GET /v1/files/a/b/c", "Rest", 'a: "a/b/c"'),
    ("GET /v1/trees/1/leaves", "RestBehindName", 'a: "trees/1/leaves"'),
    ("GET /v1/trees/1/leaves/2", "RestBehindName", 'a: "trees/1/leaves/2"'),
    ("GET /v1/trees/1/leaves/2/3", "RestBehindName", 'a: "trees/1/leaves/2/3"'),
    ("GET /v1/disks/c", "VariableThenRest", 'a: "c"'),
    ("GET /v1/disks/c/d/e", "VariableThenRest", 'a: "c" b: "d/e"'),
    ("GET /v1/any/1/2", "AnonymousStar", 'a: "2"'),
    ("GET /v1/any/%20/2", "AnonymousStar", 'a: "2"'),
    ("GET /v1/rest", "AnonymousRest", ""),
    ("GET /v1/rest/a/b", "AnonymousRest", ""),
    ("GET /v1/rest/a/b?a=x", "AnonymousRest", 'a: "x"'),
    ("GET /v1/kinds/plain", "LiteralInVariable", 'a: "plain"'),
    ("GET /v1/odd%20name%2Fx/1", "EncodedLiteral", 'a: "1"'),
    ("GET /v1/odd%20name%2fx/1", "EncodedLiteral", 'a: "1"'),
    ("GET /v1/a-b._~!$&'()+,;=@", "PunctuatedLiteral", ""),
    ("GET /v1/%61%2Db._~!$&'()%2B,;=%40", "PunctuatedLiteral", ""),
    ("GET /%76%31/%62ooks/1", "OneVariable", 'a: "1"'),
    ("GET http://elsewhere.example/v1/books/1?b=2", "OneVariable", 'a: "1" b: "2"'),
]


@pytest.mark.parametrize(("request_", "method", "text"), SHAPES)
def test_a_path_is_served_by_the_template_of_its_shape(foreign: Foreign, request_: str, method: str, text: str) -> None:
    assert foreign.call(request_).status == 200
    assert foreign.asked()[0] == method
    foreign.assert_asked(text)


PRECEDENCE = [
    ("GET /v1/books/detail", "LiteralBesideVariable", ""),
    ("GET /v1/books/details", "OneVariable", 'a: "details"'),
    ("GET /v1/books/Detail", "OneVariable", 'a: "Detail"'),
    ("GET /v1/books/%64etail", "LiteralBesideVariable", ""),
    ("DELETE /v1/books/detail", "OtherMethodOfVariable", 'a: "detail"'),
    ("GET /v1/compete/one/two", "DeepLiteral", ""),
    ("GET /v1/compete/one/three", "LastVariable", 'a: "three"'),
    ("GET /v1/compete/two/three", "FirstVariable", 'a: "two"'),
    ("GET /v1/compete/two/four", "BothVariables", 'a: "two" b: "four"'),
    ("GET /v1/compete/one", "AllTheRest", 'a: "one"'),
    ("GET /v1/compete/one/two/three", "AllTheRest", 'a: "one/two/three"'),
    ("GET /v1/compete", "AllTheRest", ""),
    ("PUT /v1/compete/one/two", "PutLiteral", ""),
    ("PATCH /v1/compete/one/two", "PatchRest", ""),
    ("PATCH /v1/compete", "PatchRest", ""),
]


@pytest.mark.parametrize(("request_", "method", "text"), PRECEDENCE)
def test_the_most_literal_template_that_serves_the_method_wins(
    foreign: Foreign, request_: str, method: str, text: str
) -> None:
    assert foreign.call(request_).status == 200
    assert foreign.asked()[0] == method
    foreign.assert_asked(text)


VERBS = [
    ("POST /v1/books/1:borrow", "Verb", 'a: "1"'),
    ("POST /v1/books/1:2:borrow", "Verb", 'a: "1:2"'),
    ("POST /v1/books/1%3A2:borrow", "Verb", 'a: "1:2"'),
    ("POST /v1/books/1%3Aborrow:borrow", "Verb", 'a: "1:borrow"'),
    ("POST /v1/books/1:%62orrow", "Verb", 'a: "1"'),
    ("POST /v1/books:import", "VerbOfLiteral", ""),
    ("POST /v1/files/a/b:zip", "RestVerb", 'a: "a/b"'),
    ("POST /v1/files/a:b/c:zip", "RestVerb", 'a: "a:b/c"'),
    ("POST /v1/files:zip", "RestVerb", ""),
    ("GET /v1/papers/1:read", "VerbBesideNone", 'b: "1"'),
    ("GET /v1/papers/1", "VerbBesideNone", 'a: "1"'),
    ("GET /v1/papers/1:write", "VerbBesideNone", 'a: "1:write"'),
    ("GET /v1/papers/1:read:", "VerbBesideNone", 'a: "1:read:"'),
    ("GET /v1/papers/1%3Aread", "VerbBesideNone", 'a: "1:read"'),
    ("GET /v1/papers/:read", "VerbBesideNone", 'a: ":read"'),
    ("GET /v1/papers/urn:isbn:1", "VerbBesideNone", 'a: "urn:isbn:1"'),
    ("GET /v1/books/1:borrow", "OneVariable", 'a: "1:borrow"'),
    ("GET /v1/files/a/b:c", "Rest", 'a: "a/b:c"'),
]


@pytest.mark.parametrize(("request_", "method", "text"), VERBS)
def test_a_verb_is_split_off_only_where_a_rule_has_it(foreign: Foreign, request_: str, method: str, text: str) -> None:
    assert foreign.call(request_).status == 200
    assert foreign.asked()[0] == method
    foreign.assert_asked(text)


ENCODINGS = [
    # one segment: every escape is decoded
    ("books/a%2Fb", "a/b"),
    ("books/a%2fb", "a/b"),
    ("books/%25", "%"),
    ("books/%2525", "%25"),
    ("books/%252F", "%2F"),
    ("books/a+b", "a+b"),
    ("books/a%2Bb", "a+b"),
    ("books/a%20b", "a b"),
    ("books/%C3%A4%E2%82%AC%F0%9F%92%BE", "ä€💾"),
    ("books/%c3%a4", "ä"),
    ("books/%3F%23%5B%5D%40", "?#[]@"),
    ("books/-._~!$&'()*,;=@", "-._~!$&'()*,;=@"),
    ("books/%22%5C%7B%7D", '"\\{}'),
    ("books/%00", "\0"),
    ("books/%0D%0A", "\r\n"),
    ("books/.", "."),
    ("books/..", ".."),
    ("books/%2E%2E", ".."),
    ("books/*", "*"),
    ("books/{a}", "{a}"),
    ("books/null", "null"),
    ("stars/a%2Fb", "a/b"),
    ("kinds/%70lain", "plain"),
    ("any/x%2Fy/z%2Fw", "z/w"),
    # several segments: an encoded slash stays encoded
    ("files/a%2Fb/c", "a%2Fb/c"),
    ("files/a%2fb", "a%2fb"),
    ("files/%25/%2F%25", "%/%2F%"),
    ("files/%252F", "%2F"),
    ("files/a%20b/%C3%A4", "a b/ä"),
    ("files/%3F%23%5B%5D%3A%40", "?#[]:@"),
    ("files/a+b", "a+b"),
    ("files/./..", "./.."),
    ("shelves/a%2Fb", "shelves/a%2Fb"),
    ("shelves/a%20b", "shelves/a b"),
    ("%73helves/1", "shelves/1"),
    ("shelves/1%2F2/books/%2f", "shelves/1%2F2/books/%2f"),
    ("trees/%41/leaves/%2F/b", "trees/A/leaves/%2F/b"),
]


@pytest.mark.parametrize(("path", "value"), ENCODINGS)
def test_a_variable_is_decoded_after_the_path_is_split(foreign: Foreign, path: str, value: str) -> None:
    assert foreign.call(f"GET /v1/{path}").status == 200
    _, request = foreign.asked()
    assert request.a == value  # type: ignore[attr-defined]  # generated from a descriptor
