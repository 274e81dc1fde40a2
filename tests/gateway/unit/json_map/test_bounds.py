"""Cost bounds of a body: values are counted before they are created; string contents do not count."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restmap_gateway.errors import MOST_SHOWN, InvalidRequest, Violation
from restmap_gateway.json_map import text as json_text
from restmap_gateway.json_map.text import parse
from restmap_gateway.json_map.well_known.text_forms import text_form
from restmap_gateway.transcode.query import split_query
from tests.support.attacks.http1 import costly_bodies
from tests.support.effort import cases

DEEP = 50

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a,[]{}"\\\n\u00e4\u20ac:', max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(alphabet='a,[{"\\', max_size=4), inner),
    max_leaves=40,
)


def values(value: object) -> Iterator[object]:
    """Yield all members and elements, at every level."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inside:
        yield item
        yield from values(item)


@settings(deadline=None, max_examples=cases(300))
@given(value=ANY_JSON, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
def test_as_many_values_as_allowed_are_read_and_no_more(value: object, is_ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    count = sum(1 for _ in values(value))
    assert parse(body, max_depth=DEEP, max_values=count) == value
    if count:
        with pytest.raises(InvalidRequest, match=f"more than {count - 1} values"):
            parse(body, max_depth=DEEP, max_values=count - 1)


@pytest.mark.parametrize(
    "body", [b'"%s"' % (b'[,{\\"' * 1000), b'{"%s":0}' % (b",[{" * 1000), b'["\\\\",",,,,","\\\\"]']
)
def test_what_stands_in_strings_is_not_counted(body: bytes) -> None:
    assert parse(body, max_depth=1, max_values=3) == json.loads(body)


@pytest.mark.parametrize("name", ["objects", "numbers", "strings", "members", "a name given twice"])
def test_nothing_is_made_of_a_body_with_too_many_values(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def scan(_: str) -> None:
        raise AssertionError("the body is read")

    monkeypatch.setattr(json_text, "_scanned", scan)
    with pytest.raises(InvalidRequest, match="more than 5000 values"):
        parse(costly_bodies()[name], max_depth=100)


def test_depth_is_refused_before_values_in_a_body_of_any_size() -> None:
    for body in (b"[" * 1_000_000, b'{"a":' * 200_000, b"[" * 21 + b"]" * 1_000_000):
        with pytest.raises(InvalidRequest, match="20 levels"):
            parse(body, max_depth=20)


def test_what_closes_more_than_it_opens_is_no_json() -> None:
    with pytest.raises(InvalidRequest, match="goes on after"):
        parse(b"[" * 10 + b"]" * 1_000_000 + b"[" * 30, max_depth=20)


def test_a_long_integer_is_exact_and_read_in_time_linear_in_it() -> None:
    assert parse(b"[" + b"9" * 4300 + b"]", max_depth=1) == [int("9" * 4300)]
    assert type(parse(b"9" * 41, max_depth=1)).__name__ == "Decimal"
    assert type(parse(b"-9223372036854775808", max_depth=1)) is int


def test_a_field_mask_has_a_largest_size() -> None:
    class Mask:
        paths: list[str] = []  # noqa: RUF012 - the message has a mutable list too

    form = text_form("google.protobuf.FieldMask", utc_micros=False)
    assert form is not None
    with pytest.raises(ValueError, match="at most 8192 characters"):
        form.read("a," * 5000, Mask())


def test_a_query_has_a_largest_number_of_parameters() -> None:
    assert split_query("&".join(["a=1"] * 1000) + "&&") == ({"a": ["1"] * 1000}, [])
    given_none, (violation,) = split_query("&".join(["a=1"] * 1001))
    assert (given_none, violation.field) == ({}, "")
    assert "more than 1000 parameters" in violation.description


def test_a_failure_says_the_first_things_and_how_many_more() -> None:
    failure = InvalidRequest(*(Violation("x" * 10_000, "y" * 10_000) for _ in range(MOST_SHOWN + 5)))
    assert len(failure.violations) == MOST_SHOWN
    assert str(failure).endswith("; and 5 more")
    assert len(str(failure)) < MOST_SHOWN * 2010
