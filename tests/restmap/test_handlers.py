"""Multiplexed calls of the methods of any grpc.aio server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing import Admission, Handlers, Multiplexer
from tests.server.multiplexing import Client, code_of

SERVICE = "tea.v1.TeaService"

Context = grpc.aio.ServicerContext[Any, Any]


class Kettle:
    """A service with methods for the different outcomes of a call."""

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()

    async def brew(self, request: str, context: Context) -> str:
        metadata = dict(context.invocation_metadata() or ())
        context.set_trailing_metadata((("x-sort", metadata.get("x-sort", "")), ("x-raw-bin", b"\xff")))
        return f"{request} for {context.peer().partition(':')[0]}"

    async def steep(self, _: str, context: Context) -> str:
        await context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"),))
        return str(dict(context.invocation_metadata() or ()))

    async def remaining(self, _: str, context: Context) -> str:
        left = context.time_remaining()
        return "any" if left is None else str(0 < left <= 60)

    async def spill(self, _: str, context: Context) -> str:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the cup is full")
        return "not reached"

    async def cool(self, _: str, context: Context) -> str:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details("no kettle")
        return ""

    async def burst(self, _: str, __: Context) -> str:
        raise TimeoutError("secret")

    async def wait(self, _: str, __: Context) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return ""

    async def pour(self, _: str, __: Context) -> AsyncIterator[str]:
        yield "a stream"


def added_to(target: Any, kettle: Kettle) -> None:  # noqa: ANN401 - a server or `Handlers`
    """Add the service to a server, like generated code."""
    text = {"request_deserializer": bytes.decode, "response_serializer": str.encode}
    names = ("brew", "steep", "remaining", "spill", "cool", "burst", "wait")
    methods = {name: grpc.unary_unary_rpc_method_handler(getattr(kettle, name), **text) for name in names}
    methods["pour"] = grpc.unary_stream_rpc_method_handler(kettle.pour, **text)
    target.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    target.add_registered_method_handlers(SERVICE, methods)


@asynccontextmanager
async def serving(kettle: Kettle, admission: Admission) -> AsyncIterator[grpc.aio.Channel]:
    server, multiplexed = grpc.aio.server(), Handlers()
    for target in (server, multiplexed):
        added_to(target, kettle)
    multiplexer = Multiplexer(multiplexed, admission=admission)
    server.add_generic_rpc_handlers((multiplexer.handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)
    await multiplexer.closed()


@pytest.fixture
async def kettle() -> Kettle:
    return Kettle()


@pytest.fixture
async def client(kettle: Kettle) -> AsyncIterator[Client]:
    async with serving(kettle, Admission()) as channel:
        client = Client(channel)
        await client.frame()
        yield client


async def answer(client: Client, name: str, **members: Any) -> pb.Answer:  # noqa: ANN401 - members of a call
    await client.send(pb.Call(id=1, method=f"/{SERVICE}/{name}", request=b"green", **members))
    return (await client.answers(1))[1]


def trailers(of: pb.Answer) -> Mapping[str, bytes]:
    return {each.key: each.value for each in of.trailers}


async def test_a_method_is_called_as_it_is_by_itself(client: Client) -> None:
    brewed = await answer(client, "brew", metadata=[pb.Metadatum(key="x-sort", value=b"sencha")])
    assert (brewed.code, brewed.response) == (0, b"green for ipv4")
    assert trailers(brewed) == {"x-sort": b"sencha", "x-raw-bin": b"\xff"}


async def test_initial_metadata_come_before_trailing_ones(client: Client) -> None:
    steeped = await answer(client, "steep")
    assert [(each.key, each.value) for each in steeped.trailers] == [("x-first", b"1"), ("x-last", b"2")]


async def test_binary_metadata_reach_the_method(client: Client) -> None:
    sent = [pb.Metadatum(key="x-raw-bin", value=b"\x00\xff"), pb.Metadatum(key="x-sort", value=b"sencha")]
    steeped = await answer(client, "steep", metadata=sent)
    assert steeped.response.decode() == str({"x-sort": "sencha", "x-raw-bin": b"\x00\xff"})


@pytest.mark.parametrize(("members", "said"), [({}, b"any"), ({"timeout_ms": 60_000}, b"True")])
async def test_a_method_knows_how_much_time_is_left(client: Client, members: dict[str, int], said: bytes) -> None:
    assert (await answer(client, "remaining", **members)).response == said


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("spill", "FAILED_PRECONDITION", "the cup is full"),
        ("cool", "NOT_FOUND", "no kettle"),
        ("burst", "UNKNOWN", "The method failed."),
        ("pour", "UNIMPLEMENTED", f"There is no method /{SERVICE}/pour."),
        ("smash", "UNIMPLEMENTED", f"There is no method /{SERVICE}/smash."),
    ],
)
async def test_a_failure_is_told_with_its_code(
    client: Client, caplog: pytest.LogCaptureFixture, name: str, code: str, message: str
) -> None:
    failed = await answer(client, name)
    assert (code_of(failed), failed.message, failed.response) == (code, message, b"")
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == (1 if name == "burst" else 0)


async def test_a_call_ends_at_its_deadline(client: Client, kettle: Kettle) -> None:
    assert code_of(await answer(client, "wait", timeout_ms=20)) == "DEADLINE_EXCEEDED"
    assert kettle.cancelled.is_set()


async def test_a_call_that_is_cancelled_ends(client: Client, kettle: Kettle) -> None:
    await client.send(pb.Call(id=1, method=f"/{SERVICE}/wait"))
    await kettle.begun.wait()
    await client.send(cancel=[1])
    await kettle.cancelled.wait()


async def test_a_peer_that_is_refused_is_told_why(kettle: Kettle) -> None:
    async with serving(kettle, Admission(refusal=lambda peer: f"not {peer.address[:4]}")) as channel:
        client = Client(channel)
        assert await client.code() == grpc.StatusCode.UNIMPLEMENTED
        assert await client.stream.details() == "not ipv4"
