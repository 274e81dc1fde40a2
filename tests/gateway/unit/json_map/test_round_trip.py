# ruff: noqa: ANN401 - classes made from a descriptor have attributes that no type knows
"""Random messages: reader and writer agree with each other and with protobuf's JSON mapping."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restmap_gateway.errors import InvalidRequest
from tests.support.effort import cases

if TYPE_CHECKING:
    from tests.gateway.unit.conftest import Kitchen

Fill = Callable[[Any], None]
_F = FieldDescriptor
_LARGEST_FLOAT_JSON_FORMAT_READS = 3.4e38  # json_format writes larger floats in a form that it refuses

_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    _F.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    _F.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    _F.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    _F.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    _F.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
    _F.CPPTYPE_FLOAT: st.floats(
        -_LARGEST_FLOAT_JSON_FORMAT_READS, _LARGEST_FLOAT_JSON_FORMAT_READS, width=64, allow_nan=False
    )
    | st.sampled_from([math.inf, -math.inf]),
    _F.CPPTYPE_BOOL: st.booleans(),
    _F.CPPTYPE_ENUM: st.sampled_from([-1, 0, 1, 2, 77]),
}
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_FREE: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def messages(draw: st.DrawFn, make: Callable[[], Message], depth: int = 3) -> Any:
    """A message with some of its fields set to anything they can hold."""
    message = make()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Any, depth: int) -> None:
    descriptor: Descriptor = message.DESCRIPTOR
    if _fill_well_known(draw, message):
        return
    fields = list(descriptor.fields)
    for field in draw(st.lists(st.sampled_from(fields), max_size=6, unique=True)) if fields else []:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(draw, field, getattr(message, field.name), depth)
        elif field.is_repeated:
            _fill_repeated(draw, field, getattr(message, field.name), depth)
        elif field.message_type is None:
            setattr(message, field.name, _scalar(draw, field))
        elif depth > 0:
            getattr(message, field.name).SetInParent()
            _fill(draw, getattr(message, field.name), depth - 1)


def _fill_map(draw: st.DrawFn, field: FieldDescriptor, container: Any, depth: int) -> None:
    assert field.message_type is not None
    key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
    for _ in range(draw(st.integers(0, 2))):
        if value.message_type is None:
            container[_scalar(draw, key)] = _scalar(draw, value)
        elif depth > 0:
            _fill(draw, container[_scalar(draw, key)], depth - 1)


def _fill_repeated(draw: st.DrawFn, field: FieldDescriptor, container: Any, depth: int) -> None:
    if field.name == "nothings":  # json_format cannot read its own output of a repeated NullValue
        return
    for _ in range(draw(st.integers(0, 2))):
        if field.message_type is None:
            container.append(_scalar(draw, field))
        elif depth > 0:
            _fill(draw, container.add(), depth - 1)


def _scalar(draw: st.DrawFn, field: FieldDescriptor) -> Any:
    if field.type == _F.TYPE_STRING:
        return draw(_TEXT)
    if field.type == _F.TYPE_BYTES:
        return draw(st.binary(max_size=8))
    if field.enum_type is not None and field.enum_type.full_name == "google.protobuf.NullValue":
        return 0
    return draw(_SCALARS[field.cpp_type])


def _fill_well_known(draw: st.DrawFn, message: Any) -> bool:
    nanos = st.sampled_from([0, 1, 1000, 1_000_000, 999_999_999]) | st.integers(0, 999_999_999)
    match message.DESCRIPTOR.full_name:
        case "google.protobuf.Timestamp":
            message.seconds, message.nanos = draw(st.integers(-62135596800, 253402300799)), draw(nanos)
        case "google.protobuf.Duration":
            sign = draw(st.sampled_from([1, -1]))
            message.seconds, message.nanos = sign * draw(st.integers(0, 315575999999)), sign * draw(nanos)
        case "google.protobuf.FieldMask":
            paths = st.from_regex(r"[a-z]{1,3}(_[a-z]{1,3}){0,2}(\.[a-z]{1,3})?", fullmatch=True)
            message.paths.extend(draw(st.lists(paths, max_size=3)))
        case "google.protobuf.Struct":
            json_format.ParseDict(draw(st.dictionaries(_TEXT, _FREE, max_size=3)), message)
        case "google.protobuf.ListValue":
            free_list: Any = draw(st.lists(_FREE, max_size=3))
            json_format.ParseDict(free_list, message)
        case "google.protobuf.Value":
            json_format.ParseDict(draw(_FREE), message)
        case _:
            return False
    return True


thorough = settings(max_examples=cases(60), deadline=None, suppress_health_check=list(HealthCheck))
TYPES = ["Scalars", "Optionals", "Lists", "Maps", "Choice", "WellKnown", "Everything"]


@pytest.mark.parametrize("name", TYPES)
@thorough
@given(data=st.data())
def test_what_is_written_is_read_back(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(lambda: kitchen.new(name)))
    assert kitchen.read(name, kitchen.text(message)) == message


@pytest.mark.parametrize("name", TYPES)
@thorough
@given(data=st.data())
def test_json_format_writes_the_same(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(lambda: kitchen.new(name)))
    assert kitchen.write(message) == json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize("name", TYPES)
@thorough
@given(data=st.data())
def test_json_format_reads_what_is_written(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(lambda: kitchen.new(name)))
    assert json_format.Parse(kitchen.text(message), kitchen.new(name)) == message


@pytest.mark.parametrize("name", TYPES)
@thorough
@given(data=st.data())
def test_what_json_format_writes_in_camel_case_is_read(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    message = data.draw(messages(lambda: kitchen.new(name)))
    assert kitchen.read(name, json_format.MessageToJson(message)) == message


_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@pytest.mark.parametrize("name", ["Everything", "Maps", "Lists", "WellKnown", "Scalars"])
@thorough
@given(data=st.data())
def test_any_json_is_read_or_refused_never_a_defect(kitchen: Kitchen, name: str, data: st.DataObject) -> None:
    names = st.sampled_from([field.name for field in kitchen.descriptor(name).fields])
    body = data.draw(st.dictionaries(names, _ANY_JSON, max_size=3))
    with contextlib.suppress(InvalidRequest):
        kitchen.read(name, json.dumps(body)).SerializeToString()
