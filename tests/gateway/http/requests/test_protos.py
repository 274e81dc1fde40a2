"""The gateway serves its descriptor set, so that clients can generate stubs in any language."""

from __future__ import annotations

import gzip

from aiohttp import ClientSession
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Weather

PATH = "/protos.binpb"


async def test_the_protos_are_those_that_are_served(start_gateway: StartGateway, weather: Weather) -> None:
    gateway = await start_gateway(docs=True)
    async with ClientSession() as session, session.get(f"http://{gateway.address}{PATH}") as answer:
        assert (answer.status, answer.content_type) == (200, "application/x-protobuf")
        served = FileDescriptorSet.FromString(await answer.read()).file
    given = FileDescriptorSet.FromString(weather.descriptor_set.read_bytes()).file
    assert {file.name: file for file in served} == {file.name: file for file in given}


async def test_the_protos_can_be_opened_one_after_the_other(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(docs=True)
    async with ClientSession(auto_decompress=False) as session:
        asked = session.get(f"http://{gateway.address}{PATH}", headers={"Accept-Encoding": "gzip"})
        async with asked as answer:
            body = await answer.read()
            served = gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(served).file:
        pool.AddSerializedFile(file.SerializeToString())


async def test_without_docs_there_are_no_protos(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(docs=False)
    async with ClientSession() as session, session.get(f"http://{gateway.address}{PATH}") as answer:
        assert answer.status == 404
