"""CORS: which headers a browser gets for pages of other origins."""

from __future__ import annotations

import grpc
import pytest

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import ForeignServer, Weather, answering, failing, sending
from tests.gateway.http.gateways import Gateway
from tests.support.wire import Answer, assert_failure, exchange, get, head_of

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
PAGE = "https://page.example"
PREFLIGHT = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: x-weather-token")


def cors_headers(answer: Answer) -> set[str]:
    return {name for name in answer.headers if name.lower().startswith("access-control-")}


async def test_cors_is_off_by_default(foreign: ForeignServer, gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get(READING, f"Origin: {PAGE}"))
    assert (answer.status, cors_headers(answer)) == (200, set())
    assert "Vary" not in answer.headers
    preflight = await exchange(gateway.address, head_of("OPTIONS", READINGS, f"Origin: {PAGE}", *PREFLIGHT))
    assert cors_headers(preflight) == set()
    assert preflight.headers["Allow"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://page.example", "https://page.example:444", "null", "", PAGE.upper()]
)
async def test_a_page_of_another_origin_learns_nothing(start_gateway: StartGateway, origin: str) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    for sent in (get(READING, f"Origin: {origin}"), head_of("OPTIONS", READINGS, f"Origin: {origin}", *PREFLIGHT)):
        answer = await exchange(gateway.address, sent)
        assert cors_headers(answer) == set()
        # A cache must not serve this response to a page that has access.
        assert answer.headers["Vary"] == "Origin"


async def test_an_answer_for_nobody_in_particular_is_not_for_everybody(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    answer = await exchange(gateway.address, get(READING))
    assert cors_headers(answer) == set()
    assert answer.headers["Vary"] == "Origin"


async def test_a_preflight_says_what_is_allowed_and_calls_nothing(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(cors_origin=["https://other.example", PAGE])
    answer = await exchange(gateway.address, head_of("OPTIONS", READINGS, f"Origin: {PAGE}", *PREFLIGHT))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) >= {"GET", "POST"}
    allowed = {name.lower() for name in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert allowed >= {"x-weather-token", "content-type", "last-event-id", "authorization"}
    assert int(answer.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert foreign.seen == []


async def test_an_allowed_page_can_read_the_answer_and_its_request_id(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    answer = await exchange(gateway.address, get(READING, f"Origin: {PAGE}"))
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "X-Weather-Id" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Vary"] == "Origin"


async def test_failures_of_every_kind_can_be_read_by_an_allowed_page(
    foreign: ForeignServer, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    foreign.unary = failing(grpc.StatusCode.PERMISSION_DENIED, "No.")
    for target, status in ((READING, 403), ("/nothing", 404), (f"{READING}?color=red", 400)):
        answer = await exchange(gateway.address, get(target, f"Origin: {PAGE}"))
        assert_failure(answer, status, answer.error["code"])
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE


async def test_streams_can_be_read_by_an_allowed_page(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    foreign.stream = sending(weather.reading("warm"))
    answer = await exchange(gateway.address, get("/v1/stations/berlin:watch", f"Origin: {PAGE}"))
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE)


async def test_any_origin_may_be_allowed(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(cors_origin=["*"])
    for origin in (PAGE, "null", "https://whoever.example"):
        answer = await exchange(gateway.address, get(READING, f"Origin: {origin}"))
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_compression_and_cors_both_say_what_an_answer_depends_on(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway(cors_origin=[PAGE])
    foreign.unary = answering(weather.reading("x" * 100_000))
    answer = await exchange(gateway.address, get(READING, f"Origin: {PAGE}", "Accept-Encoding: gzip"))
    assert answer.headers.getall("Vary") == ["Origin, Accept-Encoding"]
