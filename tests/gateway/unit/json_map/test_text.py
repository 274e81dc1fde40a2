"""Strict JSON: refused input and its error messages."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from restmap_gateway.errors import InvalidRequest, Violation
from restmap_gateway.json_map.text import parse


def refusal(body: bytes, max_depth: int = 20) -> Violation:
    with pytest.raises(InvalidRequest) as caught:
        parse(body, max_depth=max_depth)
    (violation,) = caught.value.violations
    return violation


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_called_empty(body: bytes) -> None:
    assert refusal(body) == Violation("", "the body is empty, expected JSON")


def test_invalid_utf8_is_refused_with_its_position() -> None:
    assert refusal(b'{"a": "\xff"}').description == "the body is not valid UTF-8 at byte 7"


def test_a_surrogate_encoded_as_utf8_is_refused() -> None:
    assert "not valid UTF-8" in refusal(b'"\xed\xa0\x80"').description


def test_a_byte_order_mark_is_refused_by_name() -> None:
    assert "byte order mark" in refusal(b"\xef\xbb\xbf{}").description


def test_utf16_is_refused() -> None:
    assert "not valid UTF-8" in refusal('{"a": 1}'.encode("utf-16")).description


def test_more_after_the_value_is_refused_with_line_and_column() -> None:
    assert refusal(b'{}\n {"a": 1}').description == "the body goes on after the JSON value at line 2, column 2"


@pytest.mark.parametrize(
    "body",
    [b"{", b"[1,]", b'{"a": 1,}', b"{'a': 1}", b"[01]", b"[1.]", b"[.5]", b"[+1]", b"nul", b'"\n"', b'"\\x"', b"// a"],
)
def test_what_is_not_json_is_refused_with_line_and_column(body: bytes) -> None:
    assert refusal(body).description.startswith("the body is not JSON at line 1, column ")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_none_are_refused_by_name(name: str) -> None:
    assert refusal(f'{{"a": {name}}}'.encode()).description.startswith(f"{name} is not a JSON number")


def test_an_integer_longer_than_python_reads_is_refused() -> None:
    assert refusal(b"[" + b"9" * 5000 + b"]").description == "the body has an integer of more than 4300 digits"


def test_an_exponent_beyond_decimal_is_refused() -> None:
    assert "exponent" in refusal(b"[1e99999999999999999999]").description


def test_a_large_exponent_is_kept_without_being_computed() -> None:
    assert parse(b"1e999999999", max_depth=1) == Decimal("1e999999999")


def test_a_fraction_is_kept_exactly() -> None:
    assert parse(b"9007199254740993.0", max_depth=1) == 9007199254740993


def test_one_level_more_than_allowed_is_refused() -> None:
    assert refusal(b'{"a": [[]]}', max_depth=2).description == "the body is nested more than 2 levels deep"


def test_as_many_levels_as_allowed_are_fine() -> None:
    assert parse(b'{"a": [[]], "b": [[]], "c": {}}', max_depth=3) == {"a": [[]], "b": [[]], "c": {}}


def test_brackets_in_strings_are_no_levels() -> None:
    assert parse(rb'["[[[[{{{{\"[[[["]', max_depth=1) == ['[[[[{{{{"[[[[']


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_a_hundred_thousand_levels_are_refused_at_once(opening: bytes) -> None:
    started = time.process_time()
    refusal(opening * 100_000)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("unit", [b'"\\', b'\\"', b'["', b'"[', b'[]"\\"'])
def test_the_depth_check_takes_linear_time(unit: bytes) -> None:
    started = time.process_time()
    refusal(unit * 200_000)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "body",
    [
        rb'"\ud800"',
        rb'"\udc00"',
        rb'"\uD83D\u0041"',
        rb'"\udc00\ud800"',
        rb'{"\ud800": 1}',
        rb'"\\\ud800"',
        rb'"\ud83d\ud83d\ude00"',
    ],
)
def test_a_lone_surrogate_is_refused(body: bytes) -> None:
    assert "lone surrogate" in refusal(body).description


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    assert refusal(b'{\n"a": "\\ud800"}').description.startswith("\\ud800 at line 2, column 7")


@pytest.mark.parametrize(
    ("body", "text"), [(rb'"\ud83d\ude00"', "😀"), (rb'"\\ud800"', "\\ud800"), (rb'"\u00e9"', "é")]
)
def test_escapes_of_whole_characters_are_read(body: bytes, text: str) -> None:
    assert parse(body, max_depth=1) == text


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"a": 1, "a": 2}', "a"),
        (b'{"shared": {"to_project_ids": [], "to_project_ids": []}}', "shared.to_project_ids"),
        (b'{"a": [{}, {"b c": 1, "b c": 1}]}', 'a[1]["b c"]'),
        (b'[[{"a": {"b": 1, "b": 1}}]]', "[0][0].a.b"),
        (b'{"a": 1, "\\u0061": 1}', "a"),
        (b'{"a": {"x": 1, "x": 1}, "a": 1}', "a.x"),
    ],
)
def test_a_name_given_twice_is_refused_with_its_path(body: bytes, path: str) -> None:
    assert refusal(body) == Violation(path, "is given more than once")


def test_a_syntax_error_weighs_more_than_a_name_given_twice() -> None:
    assert "not JSON" in refusal(b'[{"a": 1, "a": 2}, ').description


def test_a_name_given_twice_beside_nan_is_still_refused() -> None:
    assert refusal(b'[{"a": 1, "a": 2}, NaN]').field == "[0].a"


def test_every_kind_of_value_is_parsed() -> None:
    body = b'{"a": [null, true, false, 1, 1.5, "x", {}, []]}'
    assert parse(body, max_depth=3) == {"a": [None, True, False, 1, Decimal("1.5"), "x", {}, []]}
