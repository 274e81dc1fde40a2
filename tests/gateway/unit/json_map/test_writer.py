"""Message to JSON: names, order, and omitted members."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen


@pytest.mark.parametrize("name", ["Scalars", "Optionals", "Lists", "Maps", "Node", "Choice", "WellKnown", "Everything"])
def test_an_empty_message_is_an_empty_object(kitchen: Kitchen, name: str) -> None:
    assert kitchen.text(kitchen.new(name)) == "{}"


def test_original_names_are_written(kitchen: Kitchen) -> None:
    assert kitchen.write(kitchen.read("Named", '{"plainName": "a", "somethingElse": "b"}')) == {
        "plain_name": "a",
        "other": "b",
    }


def test_members_follow_the_order_of_the_proto_not_the_numbers(kitchen: Kitchen) -> None:
    message = kitchen.read("Scalars", '{"a_bool": true, "an_int32": 1, "a_string": "x"}')
    assert kitchen.text(message) == '{"a_string":"x","an_int32":1,"a_bool":true}'


def test_an_optional_field_that_is_set_shows_its_default(kitchen: Kitchen) -> None:
    body = (
        '{"count":0,"big":"0","name":"","flag":false,"ratio":0.0,"data":"","taste":"TASTE_UNSPECIFIED","nothing":null}'
    )
    assert kitchen.text(kitchen.read("Optionals", body)) == body


def test_a_chosen_member_of_a_oneof_is_written_with_its_default(kitchen: Kitchen) -> None:
    assert kitchen.text(kitchen.read("Choice", '{"number": 0}')) == '{"number":0}'


def test_a_preset_of_proto2_is_not_written_while_unset(kitchen: Kitchen) -> None:
    assert kitchen.write(kitchen.read("kitchen.old.v1.Old", '{"must": "x"}')) == {"must": "x"}


def test_entries_of_a_map_are_in_the_order_of_their_keys(kitchen: Kitchen) -> None:
    message = kitchen.read("Maps", '{"by_int32": {"10": 1, "9": 1, "-1": 1}, "labels": {"b": "", "a": ""}}')
    assert kitchen.text(message) == '{"labels":{"a":"","b":""},"by_int32":{"-1":1,"9":1,"10":1}}'


def test_a_field_for_grpc_only_is_not_written(kitchen: Kitchen) -> None:
    message = kitchen.new("Named")
    message.secret_key = "x"
    assert kitchen.write(message) == {}


def test_every_field_is_written_where_absent_is_null(kitchen: Kitchen) -> None:
    assert kitchen.text(kitchen.new("Published")) == (
        '{"display_name":null,"created_at":null,"tags":[],"labels":{},"size":0,"big_size":"0","node":null,'
        '"seen_at":[],"named_times":{},"user":null,"group":null}'
    )


def test_absent_as_null_holds_for_its_own_message_only(kitchen: Kitchen) -> None:
    message = kitchen.new("Published")
    message.node.SetInParent()
    assert kitchen.write(message)["node"] == {}


def test_what_is_written_with_nulls_is_read_back(kitchen: Kitchen) -> None:
    message = kitchen.new("Published")
    message.display_name = ""
    assert kitchen.read("Published", kitchen.text(message)) == message


@pytest.mark.parametrize(
    ("nanos", "fraction"),
    [(0, "000000"), (1_000, "000001"), (999, "000000"), (999_999_999, "999999"), (120_000_000, "120000")],
)
def test_utc_text_has_always_six_digits_and_no_zone(kitchen: Kitchen, nanos: int, fraction: str) -> None:
    message = kitchen.new("Published")
    message.created_at.seconds, message.created_at.nanos = 1_714_979_289, nanos
    assert kitchen.write(message)["created_at"] == f"2024-05-06T07:08:09.{fraction}"


def test_utc_text_holds_in_lists_and_maps_too(kitchen: Kitchen) -> None:
    message = kitchen.new("Published")
    message.seen_at.add()
    message.named_times["k"].SetInParent()
    written = kitchen.write(message)
    assert (written["seen_at"], written["named_times"]) == (
        ["1970-01-01T00:00:00.000000"],
        {"k": "1970-01-01T00:00:00.000000"},
    )


def test_years_have_four_digits(kitchen: Kitchen) -> None:
    message = kitchen.new("Published")
    message.created_at.seconds = -62135596800
    assert kitchen.write(message)["created_at"] == "0001-01-01T00:00:00.000000"


@pytest.mark.parametrize(
    ("name", "field", "written"),
    [
        ("Lists", "strings", []),
        ("Maps", "labels", {}),
        ("Scalars", "an_int64", "0"),
        ("Node", "next_node", None),
        ("Optionals", "name", None),
    ],
)
def test_a_field_written_alone_is_never_left_out(kitchen: Kitchen, name: str, field: str, written: object) -> None:
    write = kitchen.json_map.field_writer(kitchen.descriptor(name).fields_by_name[field])
    assert write(kitchen.new(name)) == written


def test_a_repeated_field_may_be_the_whole_answer(kitchen: Kitchen) -> None:
    write = kitchen.json_map.field_writer(kitchen.descriptor("Lists").fields_by_name["nodes"])
    assert write(kitchen.read("Lists", '{"nodes": [{"node_name": "x"}]}')) == [{"node_name": "x"}]
