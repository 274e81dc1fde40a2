"""Values of query parameters and path variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from restmap_gateway.json_map.scalars import text_parser

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

Parser = Callable[[str], Any]
MakeParser = Callable[[str], Parser]


@pytest.fixture
def parser(kitchen: Kitchen) -> MakeParser:
    """Return a function that makes a parser for ``Message.field``."""

    def make(name: str) -> Parser:
        message, _, field = name.rpartition(".")
        return text_parser(kitchen.descriptor(message).fields_by_name[field])

    return make


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("Scalars.an_int32", "abc", 'expected an integer from -2147483648 to 2147483647, got "abc"'),
        ("Scalars.an_int32", "2147483648", 'expected an integer from -2147483648 to 2147483647, got "2147483648"'),
        ("Scalars.a_uint32", "-1", 'expected an integer from 0 to 4294967295, got "-1"'),
        ("Scalars.a_bool", "TRUE", 'expected true or false, got "TRUE"'),
        ("Scalars.a_double", "1,5", 'expected a number, got "1,5"'),
        ("Scalars.a_bytes", "A", 'expected base64, got "A"'),
        ("WellKnown.duration", "5", 'expected a duration in seconds such as 1.5s, got "5"'),
    ],
)
def test_a_wrong_text_names_itself_and_what_is_expected(parser: MakeParser, field: str, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"^expected") as caught:
        parser(field)(text)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "1_0", "0x1", "1.0", "1e3", "01", "-0", "-", "\u0661", "9" * 5000, "1\n"]
)
@pytest.mark.parametrize("field", ["Scalars.an_int32", "Scalars.an_int64", "Scalars.a_uint64"])
def test_an_integer_is_decimal_digits_only(parser: MakeParser, field: str, text: str) -> None:
    with pytest.raises(ValueError, match="expected an integer"):
        parser(field)(text)


@pytest.mark.parametrize("text", ["", "True", "1", "0", "yes", " true"])
def test_a_bool_is_true_or_false_only(parser: MakeParser, text: str) -> None:
    with pytest.raises(ValueError, match="expected true or false"):
        parser("Scalars.a_bool")(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "+1", "1.", ".5", "0x1p3", "1_0", " 1", "1e400"])
def test_a_double_is_spelt_as_in_json(parser: MakeParser, text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        parser("Scalars.a_double")(text)


@pytest.mark.parametrize("text", ["", "SWEET", "taste_sweet", "+1", "1.0", "99999999999"])
def test_an_enum_is_one_of_its_names_or_a_number(parser: MakeParser, text: str) -> None:
    with pytest.raises(ValueError, match='expected one of "TASTE_UNSPECIFIED"'):
        parser("Scalars.a_taste")(text)


def test_a_string_must_be_valid_unicode(parser: MakeParser) -> None:
    with pytest.raises(ValueError, match="expected valid Unicode"):
        parser("Scalars.a_string")("\udcff")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("Scalars.an_int32", "-2147483648", -(2**31)),
        ("Scalars.a_uint64", "18446744073709551615", 2**64 - 1),
        ("Scalars.an_int64", "-9223372036854775808", -(2**63)),
        ("Scalars.an_int64", "0", 0),
        ("Scalars.a_double", "1.5e3", 1500.0),
        ("Scalars.a_double", "-Infinity", -math.inf),
        ("Scalars.a_float", "2", 2.0),
        ("Scalars.a_bool", "true", True),
        ("Scalars.a_bool", "false", False),
        ("Scalars.a_string", "", ""),
        ("Scalars.a_string", "é", "é"),
        ("Scalars.a_bytes", "-_8", b"\xfb\xff"),
        ("Scalars.a_bytes", "+/8=", b"\xfb\xff"),
        ("Scalars.a_taste", "TASTE_SOUR", 2),
        ("Scalars.a_taste", "-1", -1),
        ("Scalars.a_taste", "77", 77),
        ("Lists.ints", "5", 5),
    ],
)
def test_a_text_becomes_the_value_of_its_field(parser: MakeParser, field: str, text: str, value: object) -> None:
    assert parser(field)(text) == value


@pytest.mark.parametrize(
    ("field", "text"),
    [("time", "2024-05-06T07:08:09Z"), ("duration", "1.500s"), ("mask", "a.bC,d"), ("an_int64", "5"), ("a_string", "")],
)
def test_a_text_becomes_a_message_to_copy_from(kitchen: Kitchen, parser: MakeParser, field: str, text: str) -> None:
    message = kitchen.new("WellKnown")
    getattr(message, field).CopyFrom(parser(f"WellKnown.{field}")(text))
    assert kitchen.write(message) == {field: text}


def test_a_timestamp_has_the_form_of_the_message_it_is_in(parser: MakeParser) -> None:
    assert parser("Published.created_at")("1970-01-01T00:00:01.5").nanos == 500_000_000


def test_a_zone_is_refused_where_timestamps_have_none(parser: MakeParser) -> None:
    with pytest.raises(ValueError, match="without zone"):
        parser("Published.created_at")("1970-01-01T00:00:01Z")


@pytest.mark.parametrize(
    "field",
    [
        "Node.next_node",
        "Maps.labels",
        "WellKnown.struct",
        "WellKnown.value",
        "WellKnown.list",
        "WellKnown.empty",
        "Boxed.any",
    ],
)
def test_other_messages_are_refused_when_the_parser_is_made(parser: MakeParser, field: str) -> None:
    with pytest.raises(TypeError, match="cannot be a query parameter"):
        parser(field)
