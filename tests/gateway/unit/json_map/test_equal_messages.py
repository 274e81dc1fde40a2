# ruff: noqa: ANN401 - classes made from a descriptor have attributes that no type knows
"""Lists in which equal messages occur again: they are converted once, and the JSON is as without that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from restmap_gateway.json_map import JsonMap, dumps
from tests.gateway.unit.conftest import Kitchen
from tests.gateway.unit.json_map.test_round_trip import messages, thorough
from tests.support.protoc import compiled

LISTS = ["slots", "null_slots"]
MANY = 100
"""Items of a list; more than the number after which different messages are no longer compared."""


@pytest.fixture(scope="session")
def shelves() -> Kitchen:
    """Compile the protos whose lists hold messages."""
    pool = DescriptorPool()
    files = descriptor_pb2.FileDescriptorSet.FromString(compiled("kitchen.proto", "kitchen_old.proto", "shelf.proto"))
    for file in files.file:
        pool.Add(file)
    return Kitchen(pool, JsonMap())


def shelf(shelves: Kitchen, name: str, items: Sequence[Message]) -> Any:
    """Return a message with these items in a list, as a client would decode it."""
    made = shelves.new("shelf.v1.Shelf")
    getattr(made, name).extend(items)
    return type(made).FromString(made.SerializePartialToString())


def slot(shelves: Kitchen, **names: str) -> Any:
    """Return an item with a node of this name in each field."""
    made = shelves.new("shelf.v1.Slot")
    for field, name in names.items():
        getattr(made, field).node_name = name
    return made


def one_by_one(shelves: Kitchen, name: str, items: Sequence[Message]) -> bytes:
    """Return the JSON of the list from the JSON of each item, which is converted alone."""
    texts = [dumps(JsonMap().writer(item.DESCRIPTOR)(item)) for item in items]
    return b'{"%b":[%b]}' % (name.encode(), b",".join(texts)) if items else b"{}"


@pytest.mark.parametrize("name", LISTS)
@thorough
@given(data=st.data())
def test_a_list_is_written_as_its_items_one_by_one(shelves: Kitchen, name: str, data: st.DataObject) -> None:
    field = shelves.descriptor("shelf.v1.Shelf").fields_by_name[name]
    assert field.message_type is not None
    make = GetMessageClass(field.message_type)
    inside = [inner for inner in field.message_type.fields if inner.message_type is not None and not inner.is_repeated]
    kinds = data.draw(st.lists(messages(make, depth=2), min_size=1, max_size=4))
    for inner in inside:  # most items have all their messages, each one of two
        pair = [data.draw(messages(lambda inner=inner: GetMessageClass(inner.message_type)(), depth=1)) for _ in "ab"]
        kinds += [make(**{inner.name: each}) for each in pair]
    items = data.draw(st.lists(st.sampled_from(kinds), max_size=40))
    assert dumps(shelves.write(shelf(shelves, name, items))) == one_by_one(shelves, name, items)


def test_equal_messages_of_a_list_are_one_object(shelves: Kitchen) -> None:
    items = [slot(shelves, node="ab"[number % 2]) for number in range(MANY)]
    written = shelves.write(shelf(shelves, "slots", items))["slots"]
    assert [item["node"]["node_name"] for item in written] == ["a", "b"] * (MANY // 2)
    assert len({id(item["node"]) for item in written}) == 2


def test_equal_messages_of_different_fields_stay_apart(shelves: Kitchen) -> None:
    """The same bytes mean something else in each type."""
    item = shelves.new("shelf.v1.Slot")
    item.node.node_name = "x"
    item.awkward.SerializePartialToString = "x"
    (written, *others) = shelves.write(shelf(shelves, "slots", [item] * MANY))["slots"]
    assert written == {"node": {"node_name": "x"}, "awkward": {"SerializePartialToString": "x"}}
    assert all(other == written for other in others)


def test_different_messages_are_all_written(shelves: Kitchen) -> None:
    items = [slot(shelves, node=str(number)) for number in range(MANY)]
    written = shelves.write(shelf(shelves, "slots", [*items, *items]))["slots"]
    assert [item["node"]["node_name"] for item in written] == [*map(str, range(MANY))] * 2


def test_empty_messages_of_a_list_are_written(shelves: Kitchen) -> None:
    item = shelves.new("shelf.v1.Slot")
    item.node.SetInParent()
    assert shelves.write(shelf(shelves, "slots", [item] * MANY))["slots"] == [{"node": {}}] * MANY


def test_messages_that_lack_required_fields_are_written(shelves: Kitchen) -> None:
    item = shelves.new("shelf.v1.OldSlot")
    item.old.SetInParent()
    assert shelves.write(shelf(shelves, "old_slots", [item] * MANY))["old_slots"] == [{"old": {}}] * MANY


def test_equal_messages_without_json_fail_each_time(shelves: Kitchen) -> None:
    item = shelves.new("shelf.v1.Slot")
    item.well_known.time.seconds = 2**60
    for _ in range(2):
        with pytest.raises(ValueError, match="no time in the years 0001 to 9999"):
            shelves.write(shelf(shelves, "slots", [item] * MANY))
