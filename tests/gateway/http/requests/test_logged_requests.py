"""Which requests are logged, and what a slow one says."""

from __future__ import annotations

from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import ForeignServer, Weather, answering, sending
from tests.support.wire import connected, exchange, get, head_of

READING = "/v1/stations/berlin/reading"
WATCH = "/v1/stations/berlin:watch"


def events(logged: list[LogLine]) -> list[str]:
    return [line["event"] for line in logged if line["event"] in ("request", "slow request")]


async def test_a_probe_is_not_logged(start_gateway: StartGateway, logged: list[LogLine]) -> None:
    gateway = await start_gateway(slow_call=1e-9)
    for method in ("GET", "HEAD"):
        async with connected(gateway.address) as connection:
            connection.send(head_of(method, "/healthz?verbose"))
            assert (await connection.head()).status == 200
    assert events(logged) == []
    for sent in (head_of("POST", "/healthz"), get("/healthz/more")):
        await exchange(gateway.address, sent)
    assert events(logged) == ["request", "slow request"] * 2


async def test_a_slow_request_says_where_its_time_went(
    start_gateway: StartGateway, foreign: ForeignServer, weather: Weather, logged: list[LogLine]
) -> None:
    foreign.unary = answering(weather.reading("warm"))
    gateway = await start_gateway(slow_call=1e-9)
    assert (await exchange(gateway.address, get(READING))).status == 200
    line, slow = (one for one in logged if one["event"] in ("request", "slow request"))
    assert (slow["event"], slow["log_level"], slow["request_id"]) == ("slow request", "warning", line["request_id"])
    assert list(slow["stages_ms"]) == ["request", "server", "response"]


async def test_a_quick_request_and_a_stream_are_not_slow(
    start_gateway: StartGateway, foreign: ForeignServer, weather: Weather, logged: list[LogLine]
) -> None:
    foreign.stream = sending(weather.reading("warm"))
    slow_at_once, by_default = await start_gateway(slow_call=1e-9), await start_gateway(slow_call=3600)
    async with connected(slow_at_once.address) as connection:
        connection.send(get(WATCH, "Connection: close"))
        assert (await connection.head()).status == 200
        await connection.ended()
    await exchange(by_default.address, get(READING))
    assert events(logged) == ["request", "request"]
