"""Query parameters that are not fields: Google's system parameters, and those that a file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from restmap_gateway.schema.schema import load
from restmap_gateway.schema.system_parameters import STANDARD
from tests.gateway.foreign.conftest import NewForeign
from tests.gateway.foreign.foreign import Foreign
from tests.support.protoc import compiled_texts

INT = "json;enum-encoding=int"
ANSWER = "color: COLOR_RED colors: COLOR_GREEN colors: COLOR_DARK maybe_color: COLOR_UNSPECIFIED"
AS_NUMBERS = {"color": 1, "colors": [2, -1], "maybe_color": 0}
AS_NAMES = {"color": "COLOR_RED", "colors": ["COLOR_GREEN", "COLOR_DARK"], "maybe_color": "COLOR_UNSPECIFIED"}


@pytest.fixture(scope="module")
def named(start: NewForeign) -> Foreign:
    """Service whose file names other parameters than the standard ones."""
    return start("system")


@pytest.fixture(scope="module")
def without(start: NewForeign) -> Foreign:
    """Service with restmap options, but none about system parameters."""
    return start("conventions")


def test_the_standard_parameters_begin_with_a_dollar() -> None:
    assert {"$alt", "$.xgafv", "$fields", "$key", "$prettyPrint", "$callback"} <= STANDARD
    assert all(name.startswith("$") for name in STANDARD)


@pytest.mark.parametrize("name", sorted(STANDARD - {"$alt"}))
def test_standard_parameters_have_no_effect(foreign: Foreign, name: str) -> None:
    for written in (name, name.replace("$", "%24")):
        foreign.echo.forget()
        assert foreign.call(f"GET /v1/query?{written}=1&text=a&{written}=2").json == {"text": "a"}
        foreign.assert_asked('text: "a"')


@pytest.mark.parametrize("form", ["$alt=json", "%24alt=json", "%24%61lt=json", "$alt=js%6Fn"])
def test_json_is_the_usual_form(foreign: Foreign, form: str) -> None:
    foreign.answers("foreign.v1.Everything", ANSWER)
    assert foreign.call(f"GET /v1/query?text=a&{form}").json == AS_NAMES
    foreign.assert_asked('text: "a"')


@pytest.mark.parametrize("value", [INT, "json%3Benum-encoding%3Dint"])
@pytest.mark.parametrize("request_line", ["GET /v1/query?text=a&$alt=", "POST /v1/echo?$alt="])
def test_enums_are_numbers_on_request(foreign: Foreign, request_line: str, value: str) -> None:
    foreign.answers("foreign.v1.Everything", ANSWER)
    body = "{}" if request_line.startswith("POST") else None
    assert foreign.call(f"{request_line}{value}", body).json == AS_NUMBERS
    assert foreign.call("GET /v1/query").json == AS_NAMES


def test_a_whole_body_that_is_an_enum_is_a_number(foreign: Foreign) -> None:
    foreign.answers("foreign.v1.Everything", "color: COLOR_RED")
    assert foreign.call(f"GET /v1/answer/enum?$alt={INT}").json == 1
    foreign.answers("foreign.v1.Everything", "")
    assert foreign.call(f"GET /v1/answer/enum?$alt={INT}").json == 0


def test_a_null_value_stays_null_and_streams_have_numbers(foreign: Foreign) -> None:
    foreign.answers("foreign.v1.Everything", 'free { fields { key: "a" value { null_value: NULL_VALUE } } }')
    assert foreign.call(f"GET /v1/answer/struct?$alt={INT}").json == {"a": None}
    foreign.answers("foreign.v1.Everything", "color: COLOR_RED")
    assert foreign.call(f"GET /v1/answer/stream?$alt={INT}").body.splitlines()[0] == b'{"color":1}'


@pytest.mark.parametrize(
    "value", ["proto", "media", "sse", "", "JSON", "json;", "json;enum-encoding=string", "json; enum-encoding=int"]
)
def test_other_forms_are_400_that_name_the_possible_ones(foreign: Foreign, value: str) -> None:
    answer = foreign.call(f"GET /v1/query?$alt={value.replace(' ', '+')}")
    foreign.assert_refused(answer, 400, "$alt")
    message = answer.json["error"]["message"]
    assert f"there is no response of the form {value!r}, expected 'json' or '{INT}'" in message


def test_two_forms_are_400(foreign: Foreign) -> None:
    foreign.assert_refused(foreign.call("GET /v1/query?$alt=json&%24alt=json"), 400, "$alt")


@pytest.mark.parametrize("name", ["alt", "key", "fields", "prettyPrint", "callback", "$other", "$ALT", "$", "$alt.x"])
def test_nothing_else_of_strictness_is_lost(foreign: Foreign, name: str) -> None:
    foreign.assert_refused(foreign.call(f"GET /v1/query?$alt=json&{name}=1"), 400, name)
    foreign.assert_refused(foreign.call(f"POST /v1/echo?$alt=json&{name}=1", "{}"), 400, name)


@pytest.mark.parametrize("name", ["$alt", "$key", "alt"])
def test_sets_with_options_accept_only_what_they_name(without: Foreign, named: Foreign, name: str) -> None:
    without.assert_refused(without.call(f"GET /v1/things/cup?{name}=json"), 400, name)
    is_named = name == "alt"
    assert named.call(f"GET /v1/things/cup?{name}=json").status == (200 if is_named else 400)


def test_named_parameters_are_accepted(named: Foreign) -> None:
    named.answers("system.v1.Thing", "colour: COLOUR_RED")
    assert named.call("GET /v1/things/cup?key=a&fields=b&prettyPrint=false").json == {"colour": "COLOUR_RED"}
    named.assert_asked('name: "cup"')
    assert named.call(f"GET /v1/things/cup?alt={INT}").json == {"colour": 1}


def test_a_field_of_the_same_name_wins(named: Foreign) -> None:
    assert named.call("GET /v1/locks/door?key=brass&fields=x").status == 200
    named.assert_asked('name: "door" key: "brass"')


def test_a_body_with_that_field_leaves_the_parameter(named: Foreign) -> None:
    assert named.call("PUT /v1/locks?key=ignored", '{"key":"brass"}').status == 200
    named.assert_asked('key: "brass"')


def test_the_packaged_set_accepts_none() -> None:
    image = Path(__file__).parents[3] / "protos" / "backupsharing" / "image.binpb"
    assert load(image.read_bytes()).conventions.system_parameters.names == frozenset()


def test_a_set_that_imports_the_options_accepts_none() -> None:
    head = 'syntax = "proto3"; package a.v1; import "google/api/annotations.proto"; {} message M {{}} {}'
    service = 'service S { rpc A(M) returns (M) { option (google.api.http) = {get: "/a"}; } }'
    for imported, names in (("", STANDARD), ('import "restmap/v1/restmap.proto";', frozenset())):
        assert (
            load(compiled_texts({"a.proto": head.format(imported, service)})).conventions.system_parameters.names
            == names
        )
