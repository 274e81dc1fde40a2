"""Grammar of path templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restmap_gateway.schema.http_rule import (
    TemplateError,
    Variable,
    Wildcard,
    parse,
    percent_decoded,
    percent_decoded_except_slash,
)

ONE, REMAINING = Wildcard.ONE, Wildcard.REMAINING


@pytest.mark.parametrize(
    ("template", "column", "problem"),
    [
        ("", 1, "expected '/', found the end"),
        ("v1", 1, "expected '/', found 'v'"),
        ("/:x", 2, "expected a literal, '*', '**' or a variable, found ':'"),
        ("/v1/", 5, "expected a literal"),
        ("//v1", 2, "expected a literal"),
        ("/v1//x", 5, "expected a literal"),
        ("/v1/x:", 7, "expected a verb, found the end"),
        ("/v1/x:a:b", 8, "':' is not expected here"),
        ("/v1/x:a/b", 8, "'/' is not expected here"),
        ("/v1/:x", 5, "expected a literal"),
        ("/v1/***", 7, "'*' is not expected here"),
        ("/v1/a*", 6, "'*' is not expected here"),
        ("/v1/**/x/**", 10, "a second '**'"),
        ("/v1/{a=**}/x/{b=**}", 17, "a second '**'"),
        ("/v1/{a=**/x/**}", 13, "a second '**'"),
        ("/v1/{}", 6, "expected the name of a field, found '}'"),
        ("/v1/{1a}", 6, "expected the name of a field"),
        ("/v1/{a.}", 8, "expected the name of a field"),
        ("/v1/{a-b}", 7, "expected '}', found '-'"),
        ("/v1/{a", 7, "expected '}', found the end"),
        ("/v1/{a=}", 8, "expected a literal"),
        ("/v1/{a={b}}", 8, "a variable must not contain another"),
        ("/v1/{a}{b}", 8, "'{' is not expected here"),
        ("/v1/x{a}", 6, "'{' is not expected here"),
        ("/v1/{a}/{b}/{a}", 13, "the variable 'a' occurs twice"),
        ("/v1/x?y=1", 6, "'?' is not expected here"),
        ("/v1/x y", 6, "' ' is not expected here"),
        ("/v1/%zz", 5, "'%zz' is no percent-encoding"),
        ("/v1/%ff", 5, "not UTF-8"),
    ],
)
def test_a_template_that_breaks_the_grammar_shows_its_column(template: str, column: int, problem: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(template)
    assert caught.value.column == column
    assert str(caught.value).startswith(f"path template {template!r}, column {column}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "segments", "variables", "verb"),
    [
        ("/", (), (), ""),
        ("/v1", ("v1",), (), ""),
        ("/*", (ONE,), (), ""),
        ("/**", (REMAINING,), (), ""),
        ("/**:watch", (REMAINING,), (), "watch"),
        ("/v1/{id}", ("v1", ONE), (Variable(("id",), 1, 2),), ""),
        ("/v1/{id=*}", ("v1", ONE), (Variable(("id",), 1, 2),), ""),
        ("/v1/{a.b_2.c}/x", ("v1", ONE, "x"), (Variable(("a", "b_2", "c"), 1, 2),), ""),
        ("/v1/{kind=books}", ("v1", "books"), (Variable(("kind",), 1, 2),), ""),
        ("/{all=**}", (REMAINING,), (Variable(("all",), 0, None),), ""),
        (
            "/v1/{name=shelves/*/books/**}:verb",
            ("v1", "shelves", ONE, "books", REMAINING),
            (Variable(("name",), 1, None),),
            "verb",
        ),
        (
            "/v1/{a=x/*}/{b}/y:z",
            ("v1", "x", ONE, ONE, "y"),
            (Variable(("a",), 1, 3), Variable(("b",), 3, 4)),
            "z",
        ),
        ("/v1/**/x:y", ("v1", REMAINING, "x"), (), "y"),
        ("/v1/{a=**}/x", ("v1", REMAINING, "x"), (Variable(("a",), 1, -1),), ""),
        ("/v1/{a=**/x}", ("v1", REMAINING, "x"), (Variable(("a",), 1, None),), ""),
        ("/{a}/**/{b}", (ONE, REMAINING, ONE), (Variable(("a",), 0, 1), Variable(("b",), -1, None)), ""),
        (
            "/v1/{a=x/*/**}/{b=y/*}/{c}:go",
            ("v1", "x", ONE, REMAINING, "y", ONE, ONE),
            (Variable(("a",), 1, -3), Variable(("b",), -3, -1), Variable(("c",), -1, None)),
            "go",
        ),
        ("/v1/a%3Ab%2Fc/ä%C3%A4", ("v1", "a:b/c", "ää"), (), ""),
        ("/v1/a-._~!$&'()+,;=@", ("v1", "a-._~!$&'()+,;=@"), (), ""),
        ("/v1/%2A", ("v1", "*"), (), ""),
        ("/v1/{a=x=y}:%3A", ("v1", "x=y"), (Variable(("a",), 1, 2),), ":"),
    ],
)
def test_a_template_is_read_into_segments_variables_and_verb(
    text: str, segments: tuple[str | Wildcard, ...], variables: tuple[Variable, ...], verb: str
) -> None:
    template = parse(text)
    assert (template.text, template.segments, template.variables, template.verb) == (text, segments, variables, verb)


@pytest.mark.parametrize(
    ("template", "multi"),
    [
        ("/{a}", False),
        ("/{a=*}", False),
        ("/{a=x}", False),
        ("/{a=x/*}", True),
        ("/{a=**}", True),
        ("/{a=**}/x", True),
        ("/{a=**/x}", True),
        ("/{a}/**", False),
        ("/**/{a}", False),
        ("/**/{a}/x", False),
        ("/**/{a=*/x}", True),
        ("/**/{a=*/x}/y", True),
    ],
)
def test_a_variable_is_multi_segment_when_it_may_hold_a_slash(template: str, multi: bool) -> None:
    assert parse(template).variables[0].is_multi_segment is multi


@given(st.text(alphabet="/v1{}=*:%2Fab. ", max_size=30))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    try:
        template = parse(text)
    except TemplateError as error:
        column = error.column
    else:
        column = 1
        assert template.segments or text == "/"
        assert template.segments.count(Wildcard.REMAINING) <= 1
    assert 1 <= column <= len(text) + 1


@pytest.mark.parametrize("text", ["%", "%4", "%zz", "a%2", "%%41", "%ff", "%C3", "%ED%A0%80", "\udcff"])
def test_broken_percent_encoding_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="percent-enc"):
        percent_decoded(text)


@pytest.mark.parametrize(
    ("text", "all_decoded", "slash_kept"),
    [
        ("a+b", "a+b", "a+b"),
        ("a%2Fb%2fc", "a/b/c", "a%2Fb%2fc"),
        ("%252F", "%2F", "%2F"),
        ("%C3%A4%20%3f", "ä ?", "ä ?"),
        ("\udcc3\udca4", "ä", "ä"),
        ("ä%C3%A4", "ää", "ää"),
    ],
)
def test_percent_encodings_are_resolved_as_utf_8(text: str, all_decoded: str, slash_kept: str) -> None:
    assert (percent_decoded(text), percent_decoded_except_slash(text)) == (all_decoded, slash_kept)
