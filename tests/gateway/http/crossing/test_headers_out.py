"""Metadata of the server that ``--header-out`` allows: the headers of responses to calls of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.message import Message
from pydantic import ValidationError

from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing import Handlers, Multiplexer
from restmap.multiplexing.handlers import CallContext
from restmap_gateway.schema.schema import SchemaError
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Stream, Unary, Weather, sending
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.multiplex_peer import peer_beside
from tests.support.wire import Answer, connected, exchange, get, head_of

READING = "/v1/stations/berlin/reading"
WATCH = "/v1/stations/berlin:watch"
Metadata = tuple[tuple[str, str | bytes], ...]

INITIAL: Metadata = (("x-tenant-plan", "gold"), ("x-region", "eu"), ("x-internal", "secret"))
TRAILING: Metadata = (("x-cost", "7"), ("x-tenant-left", "5"))
ALLOWED = ["X-Tenant-*", "X-Region", "x-cost"]
SHOWN = {"x-tenant-plan": "gold", "x-region": "eu", "x-cost": "7", "x-tenant-left": "5"}


def says(initial: Metadata = INITIAL, trailing: Metadata = TRAILING, code: grpc.StatusCode | None = None) -> Unary:
    """Answer with these metadata; with a code, fail."""

    async def answer(_request: Message, context: Context) -> bytes:
        await context.send_initial_metadata(initial)
        if code is not None:
            await context.abort(code, "No.", trailing)
        context.set_trailing_metadata(trailing)
        return b""

    return answer


def streams(initial: Metadata, *messages: bytes, then: Unary | None = None) -> Stream:
    """Send initial metadata, then messages, then run ``then``."""

    async def stream(request: Message, context: Context) -> AsyncIterator[bytes]:
        await context.send_initial_metadata(initial)
        async for message in sending(*messages, then=then)(request, context):
            yield message

    return stream


def crossed(answer: Answer) -> dict[str, str]:
    """Return the headers whose names begin with ``x-`` but for the request id."""
    found = {name.lower(): value for name, value in answer.headers.items() if name.lower().startswith("x-")}
    return {name: value for name, value in found.items() if name not in ("x-weather-id", "x-accel-buffering")}


@pytest.mark.parametrize("code", [None, grpc.StatusCode.NOT_FOUND])
async def test_metadata_of_unary_calls_are_headers(
    foreign: ForeignServer, start_gateway: StartGateway, code: grpc.StatusCode | None
) -> None:
    gateway = await start_gateway(header_out=ALLOWED)
    foreign.unary = says(code=code)
    for sent in (get(READING), get(READING, "Accept-Encoding: gzip"), get(READING, "Connection: close")):
        answer = await exchange(gateway.address, sent)
        assert answer.status == (200 if code is None else 404)
        assert crossed(answer) == SHOWN
    async with connected(gateway.address) as connection:
        connection.send(head_of("HEAD", READING))
        assert crossed(await connection.answer(is_head=True)) == SHOWN


async def test_without_the_setting_no_metadata_are_headers(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    for code in (None, grpc.StatusCode.NOT_FOUND):
        foreign.unary = says(code=code)
        assert crossed(await exchange(gateway.address, get(READING))) == {}


async def test_grpc_metadata_headers_get_their_prefix(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_out=["grpc-metadata-*"])
    foreign.unary = says((("colour", "red"), ("raw-bin", b"\x00\xff")), (("x-cost", "7"),))
    answer = await exchange(gateway.address, get(READING))
    assert answer.headers["Grpc-Metadata-Colour"] == "red"
    assert answer.headers["Grpc-Metadata-Raw-Bin"] == "AP8="
    assert answer.headers["Grpc-Metadata-X-Cost"] == "7"
    assert "Colour" not in answer.headers


async def test_repeated_metadata_are_repeated_headers(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_out=["Set-Cookie", "X-Part"])
    foreign.unary = says((("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-part", "1")), (("x-part", "2"),))
    answer = await exchange(gateway.address, get(READING))
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
    assert answer.headers.getall("X-Part") == ["1", "2"]


async def test_a_stream_has_the_initial_metadata(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(header_out=ALLOWED)
    foreign.stream = streams(INITIAL, weather.reading("a"))
    for accept in ("application/x-ndjson", "text/event-stream"):
        answer = await exchange(gateway.address, get(WATCH, f"Accept: {accept}"))
        assert crossed(answer) == {"x-tenant-plan": "gold", "x-region": "eu"}
        assert b'"a"' in answer.body


async def test_a_stream_that_fails_at_once_has_trailing(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_out=ALLOWED)

    async def fail(_request: Message, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "No.", TRAILING)
        return b""

    # Without initial metadata: a gateway that has some sends them with the status 200, before it knows the failure.
    foreign.stream = sending(then=fail)
    answer = await exchange(gateway.address, get(WATCH))
    assert (answer.status, crossed(answer)) == (404, {"x-cost": "7", "x-tenant-left": "5"})


async def test_multiplexed_calls_have_both_metadata(
    foreign: ForeignServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers, service = Handlers(), foreign.service
    handlers.add_generic_rpc_handlers((foreign,))
    multiplexer = Multiplexer(handlers)
    multiplexed = multiplexer.handler()
    monkeypatch.setattr(ForeignServer, "service", lambda self, d: multiplexed.service(d) or service(d))
    by_stream: list[bool] = []
    gateway = await start_gateway(header_out=ALLOWED, multiplex=True)
    for code in (None, grpc.StatusCode.NOT_FOUND):
        answering = says(code=code)

        async def answer(request: Message, context: Context, answering: Unary = answering) -> bytes:
            by_stream.append(isinstance(context, CallContext))
            return await answering(request, context)

        foreign.unary = answer
        by_stream.clear()
        while True not in by_stream:
            assert crossed(await exchange(gateway.address, get(READING))) == SHOWN
    await gateway.drain()
    await multiplexer.closed()


NEVER = (
    *("content-type", "content-length", "content-encoding", "content-security-policy", "content-disposition"),
    *("access-control-allow-origin", "access-control-expose-headers", "www-authenticate", "proxy-authenticate"),
    *("strict-transport-security", "x-frame-options", "x-content-type-options", "x-xss-protection"),
    *("referrer-policy", "permissions-policy", "cross-origin-opener-policy", "clear-site-data", "x-accel-redirect"),
    *("connection", "keep-alive", "transfer-encoding", "upgrade", "trailer", "te", "date", "server", "vary", "allow"),
    *("grpc-status", "grpc-message", "grpc-encoding", "x-sendfile", "alt-svc", "report-to", "sec-websocket-accept"),
)
UNLESS_NAMED = ("set-cookie", "location", "refresh")
RESERVED_BY_GRPC = ("content-type", "te", "grpc-status", "grpc-message", "grpc-encoding", "connection")


@pytest.mark.parametrize("name", [*NEVER, *UNLESS_NAMED, "x-weather-id"])
async def test_no_prefix_lets_it_out_however_it_is_written(
    foreign: ForeignServer, start_gateway: StartGateway, name: str
) -> None:
    letters = "abcdefhijklmnopqrstuvwxyz"
    gateway = await start_gateway(header_out=[*(f"{letter}*" for letter in letters), "grpc-metadata-*"])
    forms = [name, name.replace("-", "_"), name.replace("-", "."), f"{name}-bin", f"grpc-metadata-{name}"]
    for key in forms:
        if key in RESERVED_BY_GRPC or key.startswith("grpc-"):
            continue
        value = b"forged" if key.endswith("-bin") else "forged"
        for code in (None, grpc.StatusCode.NOT_FOUND):
            foreign.unary = says(((key, value), (key, value)), ((key, value),), code)
            answer = await exchange(gateway.address, get(READING))
            assert answer.status in (200, 404)
            if key == "www-authenticate" and code is not None:
                continue  # the challenges of failed calls are headers anyway
            shown = {text for text in answer.headers.values() if "forged" in text or "Zm9yZ2Vk" in text}
            assert not shown or (key == "proxy-authenticate" and code), (key, answer.headers)


@pytest.mark.parametrize("name", NEVER)
async def test_naming_it_is_refused_at_start(start_gateway: StartGateway, name: str) -> None:
    for spelling in (name, name.upper(), name.replace("-", "_"), f"Grpc-Metadata-{name}"):
        with pytest.raises(ValidationError, match="may never come from metadata"):
            await start_gateway(header_out=[spelling])


@pytest.mark.parametrize("prefix", ["content-*", "access-control-*", "proxy-*", "grpc-*", "*", "x-accel-*", "sec-*"])
async def test_a_prefix_of_nothing_else_is_refused(start_gateway: StartGateway, prefix: str) -> None:
    with pytest.raises(ValidationError, match=r"never come|too short"):
        await start_gateway(header_out=[prefix])


async def test_the_request_id_stays_the_gateways(start_gateway: StartGateway) -> None:
    with pytest.raises(SchemaError, match="'X-Weather-Id' is one that the gateway sets itself"):
        await start_gateway(header_out=["X-Weather-Id"])


@pytest.mark.parametrize("name", UNLESS_NAMED)
async def test_what_is_named_may_leave(foreign: ForeignServer, start_gateway: StartGateway, name: str) -> None:
    foreign.unary = says(((name, "/elsewhere"),), ())
    for allowed in (name, f"Grpc-Metadata-{name}"):
        gateway = await start_gateway(header_out=[allowed])
        assert (await exchange(gateway.address, get(READING))).headers[allowed] == "/elsewhere"


async def test_a_time_to_retry_of_the_server_wins(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_out=["retry-after"])
    foreign.unary = says((), (("retry-after", "30"),), grpc.StatusCode.UNAVAILABLE)
    assert (await exchange(gateway.address, get(READING))).headers.getall("Retry-After") == ["30"]


async def test_scripts_may_read_the_headers_that_leave(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_out=[*ALLOWED, "Set-Cookie"], cors_origin=["*"])
    foreign.unary = says()
    answer = await exchange(gateway.address, get(READING, "Origin: https://a.example"))
    exposed = {name.lower() for name in answer.headers["Access-Control-Expose-Headers"].split(", ")}
    assert exposed == {*SHOWN, "x-weather-id", "retry-after", "allow", "set-cookie"}


async def test_a_line_break_in_metadata_writes_no_header(
    foreign: ForeignServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a multiplexed answer can have one: gRPC refuses to send it."""
    peer = peer_beside(foreign, monkeypatch)
    gateway = await start_gateway(header_out=["X-*"], multiplex=True)
    await exchange(gateway.address, get(READING))
    stream = await peer.stream()
    await stream.write(pb.MultiplexResponse(max_in_flight=10).SerializeToString())
    asked = asyncio.create_task(_until_answered(gateway, foreign))
    (call,) = await peer.calls(1)
    trailers = [pb.Metadatum(key="x-a", value=b"1\r\nX-Evil: 1"), pb.Metadatum(key="x-b", value=b"2")]
    await stream.write(pb.MultiplexResponse(answers=[pb.Answer(id=call.id, trailers=trailers)]).SerializeToString())
    assert crossed(await asked) == {"x-b": "2"}


async def _until_answered(gateway: Gateway, foreign: ForeignServer) -> Answer:
    """Return the first answer that does not come from a separate call."""
    while True:
        foreign.seen.clear()
        answer = await exchange(gateway.address, get(READING))
        if not foreign.seen:
            return answer
