"""Request headers that an operator allows with ``--header-in``: the metadata that the server receives."""

from __future__ import annotations

import asyncio

import pytest

from multiplex.v1 import multiplex_pb2 as pb
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import ForeignServer
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.multiplex_peer import peer_beside
from tests.support.wire import assert_failure, exchange, get, head_of

READING = "/v1/stations/berlin/reading"
OURS = ("user-agent", "grpc-accept-encoding", "x-forwarded-for", "x-weather-id")


async def seen(foreign: ForeignServer, gateway: Gateway, *lines: str) -> dict[str, str | bytes]:
    """Return the metadata of a call with these headers, without those that are in every call."""
    foreign.seen.clear()
    answer = await exchange(gateway.address, get(READING, *lines))
    assert answer.status == 200, answer
    metadata = foreign.seen[0].metadata
    assert len({key for key, _ in metadata}) == len(metadata), "a key is there twice"
    return {key: value for key, value in metadata if key not in OURS}


async def test_named_headers_cross_in_any_case(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["X-Region", "x-cell"])
    assert await seen(foreign, gateway, "x-REGION: eu", "X-Cell: 7", "X-Regional: no") == {
        "x-region": "eu",
        "x-cell": "7",
    }


async def test_a_prefix_allows_all_its_headers(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["x-tenant-*"])
    found = await seen(foreign, gateway, "X-Tenant-Id: acme", "X-TENANT-Plan: gold", "X-Tenant: no", "X-Ten: no")
    assert found == {"x-tenant-id": "acme", "x-tenant-plan": "gold"}


async def test_a_header_with_underscores_is_another_header(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["x-tenant-*"])
    assert await seen(foreign, gateway, "X_Tenant_Id: forged", "X-Tenant_Id: forged") == {}


async def test_grpc_metadata_headers_lose_their_prefix(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["Grpc-Metadata-*"])
    assert await seen(foreign, gateway, "grpc-metadata-Colour: red", "Colour: no", "Grpc-Metadata-: no") == {
        "colour": "red"
    }


async def test_one_grpc_metadata_header_can_be_allowed(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["Grpc-Metadata-Colour", "grpc-metadata-x-*"])
    sent = ("Grpc-Metadata-Colour: red", "Grpc-Metadata-Other: no", "Grpc-Metadata-X-A: 1")
    assert await seen(foreign, gateway, *sent) == {"colour": "red", "x-a": "1"}


async def test_without_the_setting_no_grpc_metadata_crosses(foreign: ForeignServer, gateway: Gateway) -> None:
    assert await seen(foreign, gateway, "Grpc-Metadata-Colour: red", "X-Tenant-Id: a") == {}


async def test_binary_metadata_are_base64(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["grpc-metadata-*"], multiplex=False)
    sent = ("Grpc-Metadata-Raw-Bin: AP8=", "Grpc-Metadata-Bare-Bin: AP8")
    assert await seen(foreign, gateway, *sent) == {"raw-bin": b"\x00\xff", "bare-bin": b"\x00\xff"}


async def test_binary_metadata_that_are_no_base64_are_400(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["grpc-metadata-*"])
    answer = await exchange(gateway.address, get(READING, "Grpc-Metadata-Raw-Bin: a%b"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Grpc-Metadata-Raw-Bin", "'a%b' is not base64")
    assert foreign.seen == []


@pytest.mark.parametrize(
    "lines",
    [
        ("X-Tenant-Id: a", "x-tenant-id: a"),
        ("X-Tenant-Id: a", "Grpc-Metadata-X-Tenant-Id: b"),
        ("Grpc-Metadata-X: a", "GRPC-METADATA-x: b"),
    ],
)
async def test_metadata_given_twice_are_400(
    foreign: ForeignServer, start_gateway: StartGateway, lines: tuple[str, str]
) -> None:
    gateway = await start_gateway(header_in=["x-tenant-*", "grpc-metadata-*"])
    assert_failure(await exchange(gateway.address, get(READING, *lines)), 400, "INVALID_ARGUMENT", "expected once")
    assert foreign.seen == []


@pytest.mark.parametrize("value", ["caf\u00e9", "a\tb", "\u2028"])
async def test_a_value_that_is_not_ascii_is_400(
    foreign: ForeignServer, start_gateway: StartGateway, value: str
) -> None:
    gateway = await start_gateway(header_in=["x-tenant-*"])
    answer = await exchange(gateway.address, get(READING, f"X-Tenant-Id: {value}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "X-Tenant-Id", "not printable ASCII")
    assert foreign.seen == []


async def test_a_header_that_connection_names_does_not_cross(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(header_in=["x-tenant-*", "X-Region"])
    sent = ("Connection: X-Tenant-Id, x-region", "X-Tenant-Id: a", "X-Region: b", "X-Tenant-Plan: c")
    assert await seen(foreign, gateway, *sent) == {"x-tenant-plan": "c"}


async def test_a_preflight_allows_the_headers_that_cross(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(cors_origin=["*"], header_in=["x-tenant-*", "X-Region"])
    asked = "x-tenant-id, x-roles, x-tenant-roles, x-other"
    lines = ("Origin: https://a.example", "Access-Control-Request-Method: GET")
    sent = head_of("OPTIONS", READING, *lines, f"Access-Control-Request-Headers: {asked}")
    answer = await exchange(gateway.address, sent)
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"x-region", "x-tenant-id", "authorization"} <= allowed
    assert not allowed & {"x-roles", "x-tenant-roles", "x-other", "x-tenant-*"}


async def test_multiplexed_calls_have_the_same_metadata(
    foreign: ForeignServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = peer_beside(foreign, monkeypatch)
    gateway = await start_gateway(header_in=["grpc-metadata-*"], multiplex=True)
    await exchange(gateway.address, get(READING))
    stream = await peer.stream()
    await stream.write(pb.MultiplexResponse(max_in_flight=10).SerializeToString())
    made = asyncio.create_task(_until_multiplexed(gateway, foreign))
    (call,) = await peer.calls(1)
    sent = {entry.key: entry.value for entry in call.metadata}
    assert (sent["colour"], sent["raw-bin"]) == (b"red", b"\x00\xff")
    assert "x-roles" not in sent
    await stream.write(pb.MultiplexResponse(answers=[pb.Answer(id=call.id)]).SerializeToString())
    await made


async def _until_multiplexed(gateway: Gateway, foreign: ForeignServer) -> None:
    lines = ("Grpc-Metadata-Colour: red", "Grpc-Metadata-Raw-Bin: AP8=", "Grpc-Metadata-X-Roles: admin")
    before = -1
    while len(foreign.seen) > before:
        before = len(foreign.seen)
        await exchange(gateway.address, get(READING, *lines))
