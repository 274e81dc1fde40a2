"""The gateway validates the option ``event_id_field`` before it serves."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from restmap.v1 import restmap_pb2
from restmap_gateway.schema.schema import SchemaError, load
from tests.gateway.http.foreign import ForeignServer, Weather, sending
from tests.gateway.http.gateways import running_gateway
from tests.support.wire import exchange, get


def with_event_ids(weather: Weather, method: str, event_id_field: str) -> bytes:
    """Return the foreign service's descriptor set with this option on one method."""
    files = FileDescriptorSet.FromString(weather.descriptor_set.read_bytes())
    (file,) = (file for file in files.file if file.name == "weather.proto")
    (changed,) = (one for one in file.service[0].method if one.name == method)
    changed.options.Extensions[restmap_pb2.method].event_id_field = event_id_field
    return files.SerializeToString()


@pytest.mark.parametrize(
    ("method", "field", "said"),
    [
        ("WatchReadings", "sequnce", "'sequnce' is no field of weather.v1.Reading"),
        ("WatchReadings", "cause", "'cause' must be a string or an integer"),
        ("GetReading", "sequence", "is for methods that answer with a stream"),
    ],
)
def test_an_event_id_that_no_event_could_have_is_named_at_start(
    weather: Weather, method: str, field: str, said: str
) -> None:
    with pytest.raises(SchemaError) as caught:
        load(with_event_ids(weather, method, field))
    (problem,) = str(caught.value).splitlines()
    assert said in problem
    assert f"weather.v1.StationService.{method}" in problem


async def test_a_text_as_an_id_cannot_leave_its_line(weather: Weather, foreign: ForeignServer, tmp_path: Path) -> None:
    files = with_event_ids(weather, "WatchReadings", "note")
    (tmp_path / "set.binpb").write_bytes(files)
    foreign.stream = sending(weather.reading("a\r\ndata: b\0"), weather.reading("", 1))
    async with running_gateway(tmp_path / "set.binpb", foreign.address) as gateway:
        answer = await exchange(gateway.address, get("/v1/stations/berlin:watch", "Accept: text/event-stream"))
    first, second = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    assert first.splitlines()[0] == b"id: adata: b"
    assert second == b'data: {"sequence":"1"}'
