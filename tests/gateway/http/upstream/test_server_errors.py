"""REST errors for upstream failures of a service without error codes of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather, answering, failing
from tests.gateway.http.gateways import Gateway
from tests.gateway.http.impostors import hanging_up, silent, speaking_http1, speaking_http2
from tests.support.programs import PATIENCE
from tests.support.wire import assert_failure, exchange, get, post

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("CANCELLED", 499),
        ("UNKNOWN", 500),
        ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504),
        ("NOT_FOUND", 404),
        ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403),
        ("RESOURCE_EXHAUSTED", 429),
        ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409),
        ("OUT_OF_RANGE", 400),
        ("UNIMPLEMENTED", 501),
        ("INTERNAL", 500),
        ("UNAVAILABLE", 503),
        ("DATA_LOSS", 500),
        ("UNAUTHENTICATED", 401),
    ],
)
async def test_without_options_the_code_is_the_name_of_the_grpc_code(
    foreign: ForeignServer, gateway: Gateway, code: str, status: int
) -> None:
    foreign.unary = failing(grpc.StatusCode[code], "Why.")
    answer = await exchange(gateway.address, get(READING))
    assert_failure(answer, status, code)
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_field_violations_become_details(foreign: ForeignServer, gateway: Gateway) -> None:
    violations = [BadRequest.FieldViolation(field=name, description=f"{name} is odd") for name in ("note", "cause")]
    foreign.unary = failing(grpc.StatusCode.INVALID_ARGUMENT, "Odd.", BadRequest(field_violations=violations))
    answer = await exchange(gateway.address, post(READINGS, b"{}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Odd.")
    assert answer.error["details"] == [
        {"field": "note", "description": "note is odd"},
        {"field": "cause", "description": "cause is odd"},
    ]


@pytest.mark.parametrize(
    ("seconds", "nanos", "shown"), [(6, 0, "6"), (6, 1, "7"), (0, 5, "1"), (0, 0, "1"), (-5, 0, "1")]
)
async def test_retry_info_becomes_retry_after_in_whole_seconds(
    foreign: ForeignServer, gateway: Gateway, seconds: int, nanos: int, shown: str
) -> None:
    detail = RetryInfo(retry_delay=Duration(seconds=seconds, nanos=nanos))
    foreign.unary = failing(grpc.StatusCode.UNAVAILABLE, "Busy.", detail)
    assert (await exchange(gateway.address, get(READING))).headers["Retry-After"] == shown


async def test_a_quota_failure_is_403_and_says_nothing_of_coming_back(foreign: ForeignServer, gateway: Gateway) -> None:
    details = (QuotaFailure(), RetryInfo(retry_delay=Duration(seconds=6)))
    foreign.unary = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "Used up.", *details)
    answer = await exchange(gateway.address, get(READING))
    assert_failure(answer, 403, "RESOURCE_EXHAUSTED", "Used up.")
    assert "Retry-After" not in answer.headers


async def test_the_reason_of_an_unknown_domain_chooses_no_code(foreign: ForeignServer, gateway: Gateway) -> None:
    info = ErrorInfo(reason="TOO_WINDY", domain="elsewhere.example", metadata={"code": "Else.1"})
    foreign.unary = failing(grpc.StatusCode.ABORTED, "It is windy.", info)
    answer = await exchange(gateway.address, get(READING))
    assert_failure(answer, 409, "ABORTED", "It is windy.")
    assert answer.error["reason"] == "TOO_WINDY"


async def test_texts_that_grpc_wrote_are_not_shown_for_server_failures(
    foreign: ForeignServer, gateway: Gateway
) -> None:
    foreign.unary = failing(grpc.StatusCode.INTERNAL, "Traceback in weather.py")
    assert_failure(await exchange(gateway.address, get(READING)), 500, "INTERNAL")


async def test_an_undecodable_answer_is_502_for_reads_500_for_changes(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.unary = answering(b"\xff\xff\xff")
    assert_failure(await exchange(gateway.address, get(READING)), 502, "UNKNOWN")
    assert_failure(await exchange(gateway.address, post(READINGS, b"{}")), 500, "INTERNAL")


@pytest.mark.parametrize(
    ("sent", "most"),
    [("X-Nothing: 1", 20), ("Grpc-Timeout: 5S", 5), ("Grpc-Timeout: 1H", 20), ("Grpc-Timeout: 99999999H", 20)],
)
async def test_a_calls_deadline_is_the_shorter_of_setting_and_client(
    foreign: ForeignServer, start_gateway: StartGateway, sent: str, most: float
) -> None:
    gateway = await start_gateway(timeout=20.0)
    assert (await exchange(gateway.address, get(READING, sent))).status == 200
    seconds = foreign.seen[0].seconds or 0.0
    assert most - 4 < seconds <= most


async def test_a_call_that_nobody_answers_in_time_is_504(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(timeout=0.1, commit_margin=0.1)
    foreign.unary = never_answering
    assert_failure(await exchange(gateway.address, get(READING)), 504, "DEADLINE_EXCEEDED", "deadline")


@pytest.mark.parametrize("value", ["0S", "0n", "1m"])
async def test_a_deadline_of_nothing_is_504(foreign: ForeignServer, gateway: Gateway, value: str) -> None:
    foreign.unary = never_answering
    assert_failure(await exchange(gateway.address, get(READING, f"Grpc-Timeout: {value}")), 504, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("value", ["", "5", "1.5S", "S", "-1S", "123456789S", "1s", " ", "1S, 2S"])
async def test_a_malformed_deadline_is_400_and_calls_nothing(
    foreign: ForeignServer, gateway: Gateway, value: str
) -> None:
    answer = await exchange(gateway.address, get(READING, f"Grpc-Timeout: {value}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Grpc-Timeout")
    assert foreign.seen == []


async def test_a_call_the_server_lacks_is_501_as_the_probe_finds_grpc(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.unary = failing(grpc.StatusCode.UNIMPLEMENTED)
    assert_failure(await exchange(gateway.address, get(READING)), 501, "UNIMPLEMENTED")


@pytest.fixture
def refusing() -> Iterator[str]:
    """Return an address that refuses connections and stays reserved."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


async def test_a_server_that_is_down_is_503_with_retry_after(start_gateway: StartGateway, refusing: str) -> None:
    gateway = await start_gateway(upstream=refusing)
    for sent in (get(READING), post(READINGS, b"{}")):
        answer = await exchange(gateway.address, sent)
        assert_failure(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1


async def test_a_server_that_hangs_up_is_503(start_gateway: StartGateway) -> None:
    async with hanging_up() as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        assert_failure(await exchange(gateway.address, get(READING)), 503, "UNAVAILABLE")


async def test_a_server_that_accepts_in_silence_is_503_at_any_deadline(
    start_gateway: StartGateway,
) -> None:
    async with silent() as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        hasty, patient = get(READING, "Grpc-Timeout: 200m"), get(READING)
        answers = await asyncio.gather(*(exchange(gateway.address, sent) for sent in (hasty, patient)))
    for answer in answers:
        assert_failure(answer, 503, "UNAVAILABLE")


async def test_a_server_that_speaks_http_1_is_502_for_reads_and_writes(start_gateway: StartGateway) -> None:
    async with speaking_http1() as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        for sent in (get(READING), post(READINGS, b"{}")):
            assert_failure(await exchange(gateway.address, sent), 502, "UNKNOWN", "does not speak gRPC")


@pytest.mark.parametrize("status", [404, 200, 503, 502])
async def test_a_server_that_serves_pages_over_http_2_is_502(start_gateway: StartGateway, status: int) -> None:
    async with speaking_http2(status, "text/html") as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        assert_failure(await exchange(gateway.address, get(READING)), 502, "UNKNOWN", "does not speak gRPC")


async def test_the_finding_of_the_probe_is_kept_for_a_while(start_gateway: StartGateway) -> None:
    async with speaking_http2(404, "text/html") as impostor:
        gateway = await start_gateway(upstream=impostor.address)
        answers = await asyncio.gather(*(exchange(gateway.address, get(READING)) for _ in range(20)))
        assert {answer.status for answer in answers} == {502}
        # One connection is gRPC's and stays open, the other one is the probe's.
        assert impostor.connections == 2


async def test_a_failure_with_error_info_is_trusted_without_a_probe(
    foreign: ForeignServer, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unexpected(_: object) -> bool:
        raise AssertionError("probed")

    monkeypatch.setattr("restmap_gateway.upstream.probe.Probe.speaks_something_else", unexpected)
    foreign.unary = failing(grpc.StatusCode.UNAVAILABLE, "Busy.", ErrorInfo(reason="BUSY", domain="weather"))
    assert_failure(await exchange(gateway.address, get(READING)), 503, "UNAVAILABLE", "Busy.")


async def test_a_gateway_finds_its_server_again_after_a_restart(start_gateway: StartGateway, weather: Weather) -> None:
    foreign = ForeignServer(weather)
    server = await foreign.start()
    gateway = await start_gateway(upstream=foreign.address)
    assert (await exchange(gateway.address, get(READING))).status == 200
    await server.stop(None)
    assert (await exchange(gateway.address, get(READING))).status == 503
    server = await foreign.start()
    async with asyncio.timeout(PATIENCE):
        while (await exchange(gateway.address, get(READING))).status == 503:
            pass
    assert (await exchange(gateway.address, get(READING))).status == 200
    await server.stop(None)


async def never_answering(_request: Message, _context: Context) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize(
    ("limit", "status", "code", "said"),
    [
        ("grpc.max_receive_message_length", 400, "INVALID_ARGUMENT", "The request is larger than the server takes."),
        ("grpc.max_send_message_length", 500, "INTERNAL", "The server's answer is too large."),
    ],
)
async def test_a_message_beyond_a_limit_of_the_server_is_400_or_500(
    weather: Weather, start_gateway: StartGateway, limit: str, status: int, code: str, said: str
) -> None:
    limited = ForeignServer(weather)
    limited.unary = answering(weather.reading("x" * 2000))
    server = await limited.start((limit, 1000))
    try:
        gateway = await start_gateway(upstream=limited.address)
        answer = await exchange(gateway.address, post(READINGS, b'{"note":"%s"}' % (b"x" * 2000)))
    finally:
        await server.stop(None)
    assert_failure(answer, status, code, said)
