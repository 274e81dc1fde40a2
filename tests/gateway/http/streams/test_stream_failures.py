"""Stream failures: an HTTP status before the first message, a last record afterwards."""

from __future__ import annotations

import asyncio
import json
import socket

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo

from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather, endless, failing, sending
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.impostors import speaking_http1
from tests.support.programs import PATIENCE
from tests.support.wire import Connection, assert_error, assert_failure, connected, exchange, get

WATCH = "/v1/stations/berlin:watch"
EVENTS = "Accept: text/event-stream"
UNDECODABLE = b"\xff\xff\xff"


async def test_a_failure_before_the_first_message_has_its_own_status(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.stream = sending(then=failing(grpc.StatusCode.NOT_FOUND, "There is no such station."))
    for accept in ("Accept: */*", EVENTS):
        answer = await exchange(gateway.address, get(WATCH, accept))
        assert_failure(answer, 404, "NOT_FOUND", "There is no such station.")


async def test_a_failure_at_once_has_its_own_status_also_under_load(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.stream = sending(then=failing(grpc.StatusCode.NOT_FOUND))
    answers = await asyncio.gather(*(exchange(gateway.address, get(WATCH)) for _ in range(100)))
    assert {answer.status for answer in answers} == {404}


async def test_a_slow_failure_before_any_message_has_its_own_status(foreign: ForeignServer, gateway: Gateway) -> None:
    called, may_fail = asyncio.Event(), asyncio.Event()

    async def fail_late(request: Message, context: Context) -> bytes:
        called.set()
        await may_fail.wait()
        return await failing(grpc.StatusCode.PERMISSION_DENIED, "Not yours.")(request, context)

    foreign.stream = sending(then=fail_late)
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await called.wait()
        await exchange(gateway.address, get("/v1/stations/berlin/reading"))
        may_fail.set()
        assert_failure(await connection.answer(), 403, "PERMISSION_DENIED", "Not yours.")


async def test_details_of_an_early_failure_are_mapped_as_for_any_call(foreign: ForeignServer, gateway: Gateway) -> None:
    violation = BadRequest.FieldViolation(field="after", description="is no sequence")
    details = (BadRequest(field_violations=[violation]), ErrorInfo(reason="ODD", domain="weather"))
    foreign.stream = sending(then=failing(grpc.StatusCode.INVALID_ARGUMENT, "Odd.", *details))
    answer = await exchange(gateway.address, get(WATCH))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Odd.")
    assert answer.error["reason"] == "ODD"
    assert answer.error["details"] == [{"field": "after", "description": "is no sequence"}]


async def test_an_early_failure_leaves_its_connection_usable(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.stream = sending(then=failing(grpc.StatusCode.UNAVAILABLE, "", RetryInfo(retry_delay=Duration(seconds=9))))
    async with connected(gateway.address) as connection:
        for _ in range(2):
            connection.send(get(WATCH))
            answer = await connection.answer()
            assert_failure(answer, 503, "UNAVAILABLE")
            assert answer.headers["Retry-After"] == "9"


async def test_a_later_failure_is_the_last_line(foreign: ForeignServer, gateway: Gateway, weather: Weather) -> None:
    foreign.stream = sending(weather.reading("warm"), then=failing(grpc.StatusCode.ABORTED, "The station moved."))
    answer = await exchange(gateway.address, get(WATCH))
    message, failure = answer.body.splitlines()
    assert (answer.status, message) == (200, b'{"note":"warm"}')
    assert_error(json.loads(failure), "ABORTED", "The station moved.")
    assert json.loads(failure)["error"]["request_id"] == answer.headers["X-Weather-Id"]


async def test_a_later_failure_is_an_event_named_error(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.stream = sending(weather.reading("warm", 1), then=failing(grpc.StatusCode.ABORTED, "The station moved."))
    answer = await exchange(gateway.address, get(WATCH, EVENTS))
    message, failure = answer.body.removesuffix(b"\n\n").split(b"\n\n")
    assert message == b'id: 1\ndata: {"note":"warm","sequence":"1"}'
    assert failure.startswith(b"event: error\ndata: {")
    assert_error(json.loads(failure.removeprefix(b"event: error\ndata: ")), "ABORTED", "The station moved.")


async def test_the_cause_of_a_later_failure_is_logged_with_its_id(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, logged: list[LogLine]
) -> None:
    foreign.stream = sending(weather.reading("warm"), then=failing(grpc.StatusCode.INTERNAL, "disk /dev/sda broke"))
    answer = await exchange(gateway.address, get(WATCH))
    assert b"sda" not in answer.body
    (line,) = (line for line in logged if line["event"] == "stream failed")
    assert line["request_id"] == answer.headers["X-Weather-Id"]
    assert line["cause"] == "INTERNAL: disk /dev/sda broke"


async def test_an_undecodable_first_message_is_502_and_ends_the_call(foreign: ForeignServer, gateway: Gateway) -> None:
    ended = endless(foreign, UNDECODABLE)
    assert_failure(await exchange(gateway.address, get(WATCH)), 502, "UNKNOWN")
    await until(ended)


async def test_an_undecodable_later_message_is_a_last_record(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    ended = endless(foreign, weather.reading("warm"), UNDECODABLE)
    answer = await exchange(gateway.address, get(WATCH))
    message, failure = answer.body.splitlines()
    assert message == b'{"note":"warm"}'
    assert_error(json.loads(failure), "UNKNOWN")
    await until(ended)


async def test_a_stream_to_a_server_that_is_down_is_503(start_gateway: StartGateway) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        gateway = await start_gateway(upstream=f"127.0.0.1:{reserved.getsockname()[1]}")
        answer = await exchange(gateway.address, get(WATCH, EVENTS))
    assert_failure(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_stream_to_a_server_that_speaks_http_1_is_502(start_gateway: StartGateway) -> None:
    async with speaking_http1() as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        assert_failure(await exchange(gateway.address, get(WATCH)), 502, "UNKNOWN", "does not speak gRPC")


async def test_a_server_that_dies_in_the_middle_is_a_last_record(start_gateway: StartGateway, weather: Weather) -> None:
    dying = ForeignServer(weather)
    server = await dying.start()
    endless(dying, weather.reading("warm"))
    gateway = await start_gateway(upstream=dying.address)
    async with connected(gateway.address) as connection:
        assert await first_record(connection) == b'{"note":"warm"}\n'
        await server.stop(None)
        assert_error(json.loads(await connection.chunk()), "UNAVAILABLE")
        assert await connection.chunk() == b""


async def test_a_server_replaced_in_mid_stream_is_a_last_record(start_gateway: StartGateway, weather: Weather) -> None:
    dying = ForeignServer(weather)
    server = await dying.start()
    endless(dying, weather.reading("warm"))
    gateway = await start_gateway(upstream=dying.address)
    async with connected(gateway.address) as connection:
        assert await first_record(connection) == b'{"note":"warm"}\n'
        # From now on new connections reach the impostor; the open connection ends once the impostor listens.
        stopping = asyncio.ensure_future(server.stop(0.2))
        async with speaking_http1(dying.address):
            await stopping
            assert_error(json.loads(await connection.chunk()), "UNKNOWN", "does not speak gRPC")
            assert await connection.chunk() == b""


async def test_a_deadline_that_passes_before_the_first_message_is_504(foreign: ForeignServer, gateway: Gateway) -> None:
    ended = endless(foreign)
    assert_failure(await exchange(gateway.address, get(WATCH, "Grpc-Timeout: 100m")), 504, "DEADLINE_EXCEEDED")
    if foreign.seen:  # on a busy machine the deadline may pass before the call arrives
        await until(ended)


@pytest.mark.parametrize("value", ["0S", "0n", "1n"])
async def test_a_deadline_of_nothing_is_504(foreign: ForeignServer, gateway: Gateway, value: str) -> None:
    endless(foreign)
    answer = await exchange(gateway.address, get(WATCH, f"Grpc-Timeout: {value}"))
    assert_failure(answer, 504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("value", ["", "5", "1.5S", "S", "-1S", "123456789S", "1s", "1S, 2S", "\u0661S"])
async def test_a_malformed_deadline_is_400_and_calls_nothing(
    foreign: ForeignServer, gateway: Gateway, value: str
) -> None:
    answer = await exchange(gateway.address, get(WATCH, f"Grpc-Timeout: {value}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Grpc-Timeout")
    assert foreign.seen == []


async def test_a_deadline_that_passes_later_is_a_last_record(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    endless(foreign, weather.reading("warm"))
    answer = await exchange(gateway.address, get(WATCH, "Grpc-Timeout: 4S"))
    message, failure = answer.body.splitlines()
    assert message == b'{"note":"warm"}'
    assert_error(json.loads(failure), "DEADLINE_EXCEEDED")


async def test_a_stream_has_only_the_deadline_of_its_grpc_timeout(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(timeout=0.5)
    for line in ("X-Nothing: 1", "Grpc-Timeout: 1H", "Grpc-Timeout: 99999999H"):
        assert (await exchange(gateway.address, get(WATCH, line))).status == 200
    seconds = [seen.seconds for seen in foreign.seen]
    assert seconds[0] is None
    # gRPC rounds a long timeout up, to fit its wire format.
    assert 1800 < (seconds[1] or 0) < 2 * 3600
    assert (seconds[2] or 0) > 24 * 3600


async def first_record(connection: Connection) -> bytes:
    """Start a stream and return its first record."""
    connection.send(get(WATCH))
    assert (await connection.head()).status == 200
    return await connection.chunk()


async def until(event: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        await event.wait()
