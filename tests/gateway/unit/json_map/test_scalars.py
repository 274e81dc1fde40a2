"""Scalars in JSON: ranges, spellings, and error messages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from restmap_gateway.errors import InvalidRequest

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

Refusal = Callable[[str, str], str]

INTEGERS = {
    "an_int32": (-(2**31), 2**31 - 1),
    "a_sint32": (-(2**31), 2**31 - 1),
    "a_sfixed32": (-(2**31), 2**31 - 1),
    "a_uint32": (0, 2**32 - 1),
    "a_fixed32": (0, 2**32 - 1),
    "an_int64": (-(2**63), 2**63 - 1),
    "a_sint64": (-(2**63), 2**63 - 1),
    "a_sfixed64": (-(2**63), 2**63 - 1),
    "a_uint64": (0, 2**64 - 1),
    "a_fixed64": (0, 2**64 - 1),
}


@pytest.mark.parametrize("spelling", ["{}", '"{}"', "{}.0", '"{}.0"', "{}e0"])
@pytest.mark.parametrize("field", INTEGERS)
def test_one_beyond_the_range_is_refused(kitchen_refusal: Refusal, field: str, spelling: str) -> None:
    low, high = INTEGERS[field]
    for beyond in (low - 1, high + 1):
        said = kitchen_refusal("Scalars", f'{{"{field}": {spelling.format(beyond)}}}')
        assert said.startswith(f"{field}: expected an integer from {low} to {high}, got ")


@pytest.mark.parametrize("spelling", ["{}", '"{}"', "{}.0", '"{}.0"', "{}e0", '"{}E+0"'])
@pytest.mark.parametrize("field", INTEGERS)
def test_both_ends_of_the_range_are_read_exactly(kitchen: Kitchen, field: str, spelling: str) -> None:
    for end in INTEGERS[field]:
        message = kitchen.read("Scalars", f'{{"{field}": {spelling.format(end)}}}')
        assert getattr(message, field) == end


@pytest.mark.parametrize(
    "value",
    [
        "1.5",
        "1e-1",
        '"1.5"',
        '""',
        '" 1"',
        '"1 "',
        '"+1"',
        '"1_0"',
        '"0x1"',
        '"01"',
        '"\u0661"',
        "true",
        "[]",
        "{}",
        "1e999999999",
    ],
)
@pytest.mark.parametrize("field", ["an_int32", "an_int64", "a_uint64"])
def test_what_is_no_whole_number_is_refused(kitchen_refusal: Refusal, field: str, value: str) -> None:
    assert kitchen_refusal("Scalars", f'{{"{field}": {value}}}').startswith(f"{field}: expected an integer from ")


@pytest.mark.parametrize("value", ["1e3", "1000.0", '"1e3"', "1.0e+3", "10000e-1", '"1000"'])
@pytest.mark.parametrize("field", INTEGERS)
def test_a_whole_number_may_have_fraction_and_exponent(kitchen: Kitchen, field: str, value: str) -> None:
    assert getattr(kitchen.read("Scalars", f'{{"{field}": {value}}}'), field) == 1000


def test_an_int64_beyond_the_precision_of_a_double_is_exact(kitchen: Kitchen) -> None:
    assert kitchen.read("Scalars", '{"an_int64": 9007199254740993.0}').an_int64 == 9007199254740993


@pytest.mark.parametrize("value", ["0e999999999", "-0", "-0.0"])
def test_every_zero_is_an_integer(kitchen: Kitchen, value: str) -> None:
    assert kitchen.read("Scalars", f'{{"an_int32": {value}}}').an_int32 == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"a_string": 5}', "a_string: expected a string, got the number 5"),
        ('{"a_string": 5.50}', "a_string: expected a string, got the number 5.50"),
        ('{"a_string": true}', "a_string: expected a string, got true"),
        ('{"a_string": ["x"]}', "a_string: expected a string, got an array"),
        ('{"a_string": {}}', "a_string: expected a string, got an object"),
        ('{"a_bool": "true"}', 'a_bool: expected true or false, got the string "true"'),
        ('{"a_bool": 1}', "a_bool: expected true or false, got the number 1"),
        ('{"a_double": true}', "a_double: expected a number, got true"),
        ('{"a_double": "x"}', 'a_double: expected a number, got the string "x"'),
        ('{"a_double": "nan"}', 'a_double: expected a number, got the string "nan"'),
        ('{"a_double": " 1"}', 'a_double: expected a number, got the string " 1"'),
        ('{"a_bytes": 1}', "a_bytes: expected a string of base64, got the number 1"),
        ('{"a_bytes": "é"}', 'a_bytes: expected base64, got "é"'),
    ],
)
def test_a_wrong_type_names_the_value_and_what_is_expected(kitchen_refusal: Refusal, body: str, said: str) -> None:
    assert kitchen_refusal("Scalars", body) == said


def test_a_long_value_is_cut_in_the_description(kitchen_refusal: Refusal) -> None:
    assert kitchen_refusal("Scalars", json.dumps({"an_int32": "x" * 5000})).endswith(
        'got the string "' + "x" * 60 + '…"'
    )


@pytest.mark.parametrize("value", ["1e309", "-1e309", '"1e309"', "1e999999999", "1" + "0" * 400])
def test_a_number_beyond_a_double_is_refused(kitchen_refusal: Refusal, value: str) -> None:
    assert "within the range of a 64-bit float" in kitchen_refusal("Scalars", f'{{"a_double": {value}}}')


@pytest.mark.parametrize("value", ["3.5e38", "-3.5e38", '"3.5e38"', "3.4028236e38"])
def test_a_number_beyond_a_float_is_refused(kitchen_refusal: Refusal, value: str) -> None:
    assert "within the range of a 32-bit float" in kitchen_refusal("Scalars", f'{{"a_float": {value}}}')


@pytest.mark.parametrize(("value", "number"), [("3.4028235e38", 3.4028234663852886e38), ("1e-60", 0.0), ("1", 1.0)])
def test_a_number_within_a_float_is_rounded_to_it(kitchen: Kitchen, value: str, number: float) -> None:
    assert kitchen.read("Scalars", f'{{"a_float": {value}}}').a_float == number


@pytest.mark.parametrize("field", ["a_double", "a_float"])
@pytest.mark.parametrize(("text", "number"), [("Infinity", math.inf), ("-Infinity", -math.inf)])
def test_infinities_are_strings_both_ways(kitchen: Kitchen, field: str, text: str, number: float) -> None:
    message = kitchen.read("Scalars", f'{{"{field}": "{text}"}}')
    assert (getattr(message, field), kitchen.write(message)) == (number, {field: text})


@pytest.mark.parametrize("field", ["a_double", "a_float"])
def test_nan_is_a_string_both_ways(kitchen: Kitchen, field: str) -> None:
    message = kitchen.read("Scalars", f'{{"{field}": "NaN"}}')
    assert math.isnan(getattr(message, field))
    assert kitchen.write(message) == {field: "NaN"}


def test_minus_zero_is_not_the_default(kitchen: Kitchen) -> None:
    message = kitchen.new("Scalars")
    message.a_double = -0.0
    assert kitchen.text(message) == '{"a_double":-0.0}'


@pytest.mark.parametrize("number", [0.1, 3.4028234663852886e38, 1.401298464324817e-45, 16777216.0, 1 / 3])
def test_a_float_is_written_as_the_shortest_text_that_reads_back(kitchen: Kitchen, number: float) -> None:
    message = kitchen.new("Scalars")
    message.a_float = number
    assert kitchen.read("Scalars", kitchen.text(message)) == message


def test_a_float_shows_no_digits_of_its_double(kitchen: Kitchen) -> None:
    message = kitchen.new("Scalars")
    message.a_float = 0.1
    assert kitchen.text(message) == '{"a_float":0.1}'


@pytest.mark.parametrize("text", ["A", "AAAAA", "AA=", "AA===", "=", "AA==AA==", "A A=", "AA\n==", "AB*="])
def test_what_is_no_base64_is_refused(kitchen_refusal: Refusal, text: str) -> None:
    assert kitchen_refusal("Scalars", json.dumps({"a_bytes": text})).startswith("a_bytes: expected base64, got ")


@pytest.mark.parametrize("text", ["+/8=", "-_8=", "+/8", "-_8"])
def test_base64_is_read_in_both_alphabets_padded_or_not(kitchen: Kitchen, text: str) -> None:
    assert kitchen.read("Scalars", json.dumps({"a_bytes": text})).a_bytes == b"\xfb\xff"


def test_base64_is_written_in_the_standard_alphabet_with_padding(kitchen: Kitchen) -> None:
    message = kitchen.new("Scalars")
    message.a_bytes = b"\xfb\xff"
    assert kitchen.write(message) == {"a_bytes": "+/8="}


@pytest.mark.parametrize("value", ['"SWEET"', '"taste_sweet"', '"1"', '""'])
def test_an_unknown_enum_name_is_refused_with_the_right_ones(kitchen_refusal: Refusal, value: str) -> None:
    names = '"TASTE_UNSPECIFIED", "TASTE_SWEET", "TASTE_SOUR", "TASTE_COLD"'
    assert kitchen_refusal("Scalars", f'{{"a_taste": {value}}}') == f"a_taste: expected one of {names}, got {value}"


@pytest.mark.parametrize("value", ["true", "1.5", "2147483648", "[]"])
def test_what_is_no_enum_number_is_refused(kitchen_refusal: Refusal, value: str) -> None:
    assert kitchen_refusal("Scalars", f'{{"a_taste": {value}}}').startswith("a_taste: expected one of ")


@pytest.mark.parametrize(("value", "number"), [('"TASTE_SOUR"', 2), ("2", 2), ("-1", -1), ("77", 77), ("1.0", 1)])
def test_an_enum_is_read_by_name_or_number(kitchen: Kitchen, value: str, number: int) -> None:
    assert kitchen.read("Scalars", f'{{"a_taste": {value}}}').a_taste == number


def test_an_enum_number_without_a_name_is_written_as_the_number(kitchen: Kitchen) -> None:
    assert kitchen.write(kitchen.read("Scalars", '{"a_taste": 77}')) == {"a_taste": 77}


def test_of_aliases_the_first_one_is_written(kitchen: Kitchen) -> None:
    assert kitchen.write(kitchen.read("Scalars", '{"an_alias": "ALIAS_SECOND"}')) == {"an_alias": "ALIAS_FIRST"}


@pytest.mark.parametrize("value", ["3", '"CLOSED_THREE"'])
def test_a_closed_enum_takes_no_unknown_value(kitchen: Kitchen, value: str) -> None:
    said = kitchen.refusal("kitchen.old.v1.Old", f'{{"closed": {value}}}')
    assert said.description.startswith('expected one of "CLOSED_ONE", "CLOSED_TWO", got ')


@pytest.mark.parametrize("field", [name for name in INTEGERS if name.endswith("64")])
def test_64_bit_integers_are_written_as_strings(kitchen: Kitchen, field: str) -> None:
    assert kitchen.write(kitchen.read("Scalars", f'{{"{field}": 5}}')) == {field: "5"}


@pytest.mark.parametrize("field", [name for name in INTEGERS if name.endswith("32")])
def test_32_bit_integers_are_written_as_numbers(kitchen: Kitchen, field: str) -> None:
    assert kitchen.text(kitchen.read("Scalars", f'{{"{field}": "5"}}')) == f'{{"{field}":5}}'


@pytest.mark.parametrize("text", ["", "é", "😀", "\x00", '"\\'])
def test_any_valid_text_is_a_string_both_ways(kitchen: Kitchen, text: str) -> None:
    message = kitchen.new("Optionals")
    message.name = text
    assert kitchen.read("Optionals", kitchen.text(message)) == message


def test_a_string_that_is_no_unicode_is_refused_unparsed_too(kitchen: Kitchen) -> None:
    read = kitchen.json_map.reader(kitchen.descriptor("Scalars"))
    with pytest.raises(InvalidRequest, match="a_string: expected valid Unicode"):
        read({"a_string": "\ud800"}, kitchen.new("Scalars"))
