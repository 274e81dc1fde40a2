"""Matching a request to its rule."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restmap_gateway.errors import InvalidRequest
from restmap_gateway.schema.http_rule import parse
from restmap_gateway.schema.router import Match, MethodNotAllowed, NotFound, RouteConflict, Router


def router(*rules: str) -> Router[str]:
    """Return a router; its targets are the rules themselves, such as ``GET /v1/{id}``."""
    made: Router[str] = Router()
    for rule in rules:
        method, template = rule.split(" ")
        made.add(method, parse(template), rule)
    return made


def found(routes: Router[str], request: str) -> tuple[str, dict[str, str]]:
    match = routes.match(*request.split(" "))
    assert isinstance(match, Match), match
    return match.target, dict(match.values)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/v1/x", ""),
        ("/v1/x", "/"),
        ("/v1/x", "*"),
        ("/v1/x", "v1/x"),
        ("/v1/x", "/v1"),
        ("/v1/x", "/v1/x/"),
        ("/v1/x", "/v1//x"),
        ("/v1/x", "//v1/x"),
        ("/v1/x", "/v1/X"),
        ("/v1/x", "/v1/x/y"),
        ("/v1/x", "/v1/%zz"),
        ("/v1/x", "/v1/%ff"),
        ("/v1/x", "/v1/x:y"),
        ("/v1/x/y", "/v1/x%2Fy"),
        ("/v1/{id}", "/v1"),
        ("/v1/{id}", "/v1/"),
        ("/v1/{id}", "/v1/a/"),
        ("/v1/{id}", "/v1/a/b"),
        ("/v1/{id}:go", "/v1/a"),
        ("/v1/{id}:go", "/v1/:go"),
        ("/v1/{id}:go", "/v1/a:"),
        ("/v1/{id}:go", "/v1/a:stop"),
        ("/v1/{id}:go", "/v1/a%3Ago"),
        ("/v1/{id}:go", "/v1/a:%zz"),
        ("/v1/**/x", "/v1"),
        ("/v1/**/x", "/v1/a"),
        ("/v1/**/x", "/v1/x/a"),
        ("/v1/**/x", "/v1/x:go"),
        ("/v1/*/**/x", "/v1/x"),
        ("/v1/**/*/*", "/v1/a"),
        ("/v1/**", "/v1/"),
        ("/v1/**", "/v1/a//b"),
        ("/v1/**", "/v1/a/"),
        ("/**", "//"),
    ],
)
def test_a_path_of_another_shape_is_not_found(template: str, path: str) -> None:
    assert router(f"GET {template}").match("GET", path) == NotFound()


@pytest.mark.parametrize("value", ["%", "%4", "%zz", "%ff", "%ED%A0%80"])
@pytest.mark.parametrize(("template", "name"), [("/v1/{a.b}", "a.b"), ("/v1/{rest=**}", "rest")])
def test_a_broken_encoding_in_a_variable_is_400_and_names_it(template: str, name: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        router(f"GET {template}").match("GET", f"/v1/{value}")
    assert caught.value.violations[0].field == name
    assert "in the path" in caught.value.violations[0].description


def test_a_broken_encoding_of_an_unserved_method_is_405() -> None:
    assert isinstance(router("GET /v1/{id}").match("PUT", "/v1/%zz"), MethodNotAllowed)


@pytest.mark.parametrize(
    ("rules", "request_", "allow"),
    [
        (["GET /x"], "POST /x", {"GET", "HEAD", "OPTIONS"}),
        (["POST /x", "DELETE /x"], "GET /x", {"POST", "DELETE", "OPTIONS"}),
        (["POST /x"], "HEAD /x", {"POST", "OPTIONS"}),
        (["GET /x"], "get /x", {"GET", "HEAD", "OPTIONS"}),
        (
            ["GET /x/detail", "DELETE /x/{id}", "PUT /x/**"],
            "POST /x/detail",
            {"GET", "HEAD", "DELETE", "PUT", "OPTIONS"},
        ),
        (["POST /x/{id}:go", "GET /x/{id}"], "PUT /x/a:go", {"POST", "GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_the_path_does_not_serve_answers_those_it_does(
    rules: list[str], request_: str, allow: set[str]
) -> None:
    assert router(*rules).match(*request_.split(" ")) == MethodNotAllowed(frozenset(allow))


@pytest.mark.parametrize(
    ("existing", "added"),
    [
        ("GET /v1/x", "GET /v1/x"),
        ("GET /v1/{a}", "GET /v1/{b=*}"),
        ("GET /v1/{name=x/*}", "GET /v1/x/{id}"),
        ("GET /v1/**", "GET /v1/{rest=**}"),
        ("GET /v1/{a=x/**}/y", "GET /v1/x/{b=**/y}"),
        ("GET /v1/{a}:go", "GET /v1/*:go"),
        ("GET /v1/%78", "GET /v1/x"),
        ("* /v1/x", "* /v1/x"),
    ],
)
def test_two_rules_of_one_shape_and_method_are_a_conflict(existing: str, added: str) -> None:
    with pytest.raises(RouteConflict) as caught:
        router(existing, added)
    assert existing in str(caught.value)
    assert added in str(caught.value)


def test_rules_of_one_shape_coexist_with_other_methods_or_verbs() -> None:
    routes = router("GET /v1/{a}", "PUT /v1/{b}", "GET /v1/{c}:go", "* /v1/{d}")
    assert found(routes, "PUT /v1/1") == ("PUT /v1/{b}", {"b": "1"})
    assert found(routes, "POST /v1/1") == ("* /v1/{d}", {"d": "1"})


PREFERENCE = [
    ("GET /x/detail", "GET /x/detail", {}),
    ("GET /x/count", "GET /x/count", {}),
    ("GET /x/{id}", "GET /x/1", {"id": "1"}),
    ("DELETE /x/{id}", "DELETE /x/detail", {"id": "detail"}),
    ("GET /x/{rest=**}", "GET /x/detail/more", {"rest": "detail/more"}),
    ("GET /x/{id}/deep/{leaf}", "GET /x/detail/deep/1", {"id": "detail", "leaf": "1"}),
]


@given(st.permutations([rule for rule, _, _ in PREFERENCE]))
def test_the_most_literal_rule_wins_in_any_order(rules: list[str]) -> None:
    routes = router(*rules)
    for rule, request, values in PREFERENCE:
        assert found(routes, request) == (rule, values)


@pytest.mark.parametrize(
    ("rules", "request_", "rule", "values"),
    [
        (["GET /a/b/c", "GET /a/*/d"], "GET /a/b/d", "GET /a/*/d", {}),
        (["GET /a/*/c", "GET /{x=**}"], "GET /a/b/d", "GET /{x=**}", {"x": "a/b/d"}),
        (["GET /a/**", "GET /a"], "GET /a", "GET /a", {}),
        (["GET /a/{r=**}"], "GET /a", "GET /a/{r=**}", {"r": ""}),
        (["GET /{r=**}"], "GET /", "GET /{r=**}", {"r": ""}),
        (["GET /{n=s/*/b/**}"], "GET /s/1/b", "GET /{n=s/*/b/**}", {"n": "s/1/b"}),
        (["GET /{n=s/*}/{m}"], "GET /s/1/2", "GET /{n=s/*}/{m}", {"n": "s/1", "m": "2"}),
        (["PUT /a/b", "* /a/b", "GET /a/*"], "GET /a/b", "* /a/b", {}),
        (["GET /{n=a/**}/x"], "GET /a/x", "GET /{n=a/**}/x", {"n": "a"}),
        (["GET /{n=a/**}/x"], "GET /a/x/x", "GET /{n=a/**}/x", {"n": "a/x"}),
        (["GET /{n=a/**}/{m=x/*}"], "GET /a/b/c/x/d", "GET /{n=a/**}/{m=x/*}", {"n": "a/b/c", "m": "x/d"}),
        (["GET /{n=**/x/*}/{m}"], "GET /x/1/2", "GET /{n=**/x/*}/{m}", {"n": "x/1", "m": "2"}),
        (["GET /**/x", "GET /**/*"], "GET /a/y", "GET /**/*", {}),
        (["GET /**/a/x", "GET /**/x", "GET /**"], "GET /b/x", "GET /**/x", {}),
        (["GET /**/a/x", "GET /**/x", "GET /**"], "GET /a/b", "GET /**", {}),
        (["POST /**/x", "GET /**"], "GET /a/x", "GET /**", {}),
        (["GET /{n=**}/x:go", "GET /{n=**}/x"], "GET /a/b/x:go", "GET /{n=**}/x:go", {"n": "a/b"}),
    ],
)
def test_matching_goes_back_to_a_less_literal_rule(
    rules: list[str], request_: str, rule: str, values: dict[str, str]
) -> None:
    assert found(router(*rules), request_) == (rule, values)


@pytest.mark.parametrize(
    ("template", "path", "value"),
    [
        ("/v1/{v}", "/v1/a%2Fb", "a/b"),
        ("/v1/{v}", "/v1/%C3%A4%20%3F%23", "ä ?#"),
        ("/v1/{v}", "/v1/a+b", "a+b"),
        ("/v1/{v}", "/v1/%2e%2E", ".."),
        ("/v1/{v}", "/v1/a:b", "a:b"),
        ("/v1/{v}", "/v1/:", ":"),
        ("/v1/{v=*}", "/v1/a%2fb", "a/b"),
        ("/v1/{v=x%2Fy}", "/v1/x%2fy", "x/y"),
        ("/v1/{v=**}", "/v1/a%2Fb/c%2fd%20%3A", "a%2Fb/c%2fd :"),
        ("/v1/{v=**}", "/v1/a%2Fb", "a%2Fb"),
        ("/v1/{v=x/*}", "/v1/x/a%2Fb%25", "x/a%2Fb%"),
        ("/%76%31/{v}", "/v1/a", "a"),
        ("/v1/{v}", "/%76%31/a", "a"),
    ],
)
def test_values_are_decoded_after_the_path_is_split(template: str, path: str, value: str) -> None:
    assert found(router(f"GET {template}"), f"GET {path}")[1] == {"v": value}


VERBS = ["POST /v1/{id}:go", "GET /v1/{id}", "POST /v1/{all=**}:go"]


@pytest.mark.parametrize(
    ("request_", "rule", "values"),
    [
        ("POST /v1/a:go", "POST /v1/{id}:go", {"id": "a"}),
        ("POST /v1/a:%67o", "POST /v1/{id}:go", {"id": "a"}),
        ("POST /v1/a:b:go", "POST /v1/{id}:go", {"id": "a:b"}),
        ("POST /v1/a%3Ago:go", "POST /v1/{id}:go", {"id": "a:go"}),
        ("POST /v1/a/b:go", "POST /v1/{all=**}:go", {"all": "a/b"}),
        ("POST /v1:go", "POST /v1/{all=**}:go", {"all": ""}),
        ("GET /v1/a:stop", "GET /v1/{id}", {"id": "a:stop"}),
        ("GET /v1/a:go", "GET /v1/{id}", {"id": "a:go"}),
        ("GET /v1/a:go:", "GET /v1/{id}", {"id": "a:go:"}),
    ],
)
def test_the_last_colon_splits_a_verb_only_where_a_rule_has_it(
    request_: str, rule: str, values: dict[str, str]
) -> None:
    assert found(router(*VERBS), request_) == (rule, values)


def test_a_verb_may_follow_no_segment_at_all() -> None:
    assert found(router("POST /**:go"), "POST /:go") == ("POST /**:go", {})


SEGMENTS = st.lists(st.sampled_from(["a", "b", "*"]), max_size=3)
ANY_TEMPLATE = st.tuples(SEGMENTS, st.sampled_from([[], ["**"]]), SEGMENTS).map(
    lambda parts: [*parts[0], *parts[1], *parts[2]]
)
TEMPLATES = ANY_TEMPLATE.filter(bool)


@given(st.sets(TEMPLATES.map(tuple), min_size=1), st.lists(st.sampled_from("abc"), min_size=1, max_size=5))
def test_the_preferred_of_all_matching_rules_is_found(templates: set[tuple[str, ...]], path: list[str]) -> None:
    routes = router(*(f"GET /{'/'.join(template)}" for template in templates))
    matching = [template for template in templates if _matches(template, path)]
    match = routes.match("GET", f"/{'/'.join(path)}")
    if not matching:
        assert match == NotFound()
    else:
        assert isinstance(match, Match)
        assert match.target == f"GET /{'/'.join(min(matching, key=_rank))}"


def _matches(template: tuple[str, ...], path: list[str]) -> bool:
    patterns = {"*": "/[^/]+", "**": "(/[^/]+)*"}
    pattern = "".join(patterns.get(segment, f"/{segment}") for segment in template)
    return re.fullmatch(pattern, "".join(f"/{segment}" for segment in path)) is not None


def _rank(template: tuple[str, ...]) -> list[int]:
    """Return a key that sorts by preference: from the left to ``**``, then from the right."""
    ranks = [("*", "**").index(segment) + 1 if "*" in segment else 0 for segment in template]
    rest = ranks.index(2) + 1 if 2 in ranks else len(ranks)
    return [*ranks[:rest], *reversed(ranks[rest:]), 2]


def test_head_is_served_by_get_unless_it_has_a_rule_of_its_own() -> None:
    assert found(router("GET /x", "* /x"), "HEAD /x") == ("GET /x", {})
    assert found(router("GET /x", "HEAD /x"), "HEAD /x") == ("HEAD /x", {})


def test_a_path_of_many_segments_costs_no_deep_recursion() -> None:
    routes = router("GET /{all=**}", "GET /*/*/x")
    assert found(routes, "GET " + "/a" * 5000)[0] == "GET /{all=**}"
