"""Wire format of streams: NDJSON and server-sent events, byte by byte."""

from __future__ import annotations

import json

import pytest

from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.foreign import ForeignServer, Weather, sending
from tests.gateway.http.gateways import Gateway
from tests.support.wire import assert_failure, connected, exchange, get, head_of, post

WATCH = "/v1/stations/berlin:watch"
EVENTS = "Accept: text/event-stream"


@pytest.mark.parametrize(
    "accept",
    ["text/html", "application/x-ndjson;q=0", "text/event-stream;q=0, image/*", "*/*;q=0", "text/*;q=0.0", "nonsense"],
)
async def test_a_stream_without_an_acceptable_layout_is_406(
    foreign: ForeignServer, gateway: Gateway, accept: str
) -> None:
    assert_failure(await exchange(gateway.address, get(WATCH, f"Accept: {accept}")), 406, "INVALID_ARGUMENT", "ndjson")
    assert foreign.seen == []


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        pytest.param("", "application/x-ndjson", id="empty"),
        ("*/*", "application/x-ndjson"),
        ("application/*", "application/x-ndjson"),
        ("application/json", "application/x-ndjson"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("application/jsonl", "application/jsonl"),
        ("application/ndjson", "application/ndjson"),
        ("Application/JSONL;q=0.5", "application/jsonl"),
        ("application/jsonl, application/x-ndjson", "application/x-ndjson"),
        ("application/jsonl;q=0.9, application/ndjson;q=0.8, */*;q=0.7", "application/jsonl"),
        ("application/x-ndjson;q=0, application/jsonl", "application/jsonl"),
        ("application/jsonl;q=0, */*", "application/x-ndjson"),
        ("application/json, application/jsonl;q=0.5", "application/jsonl"),
        ("text/event-stream;q=0.5, application/jsonl;q=0.6", "application/jsonl"),
        ("application/x-ndjson, text/event-stream", "application/x-ndjson"),
        ("text/event-stream;q=0.5, application/x-ndjson;q=0.6", "application/x-ndjson"),
        ("text/event-stream;q=0.5, */*", "application/x-ndjson"),
        ("text/event-stream;q=0, */*;q=0.1", "application/x-ndjson"),
        ("text/event-stream", "text/event-stream"),
        ("Text/Event-Stream; charset=utf-8", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("text/event-stream, */*", "text/event-stream"),
        ("text/event-stream, */*;q=0.5", "text/event-stream"),
        ("text/event-stream;q=0.6, application/x-ndjson;q=0.5", "text/event-stream"),
        ("application/x-ndjson;q=0, */*", "text/event-stream"),
        ("text/event-stream;q=0.6, application/jsonl;q=0.5", "text/event-stream"),
        ("application/x-ndjson;q=0, application/json, */*;q=0.1", "text/event-stream"),
    ],
)
async def test_the_layout_is_what_accept_wants_most(gateway: Gateway, accept: str, chosen: str) -> None:
    answer = await exchange(gateway.address, get(WATCH, f"Accept: {accept}"))
    assert (answer.status, answer.headers.getall("Content-Type")) == (200, [chosen])


async def test_ndjson_is_a_json_text_a_line(foreign: ForeignServer, gateway: Gateway, weather: Weather) -> None:
    foreign.stream = sending(weather.reading("warm\nand dry", 7), b"", weather.reading("\u2028", 9))
    answer = await exchange(gateway.address, get(WATCH))
    assert answer.body.decode() == ('{"note":"warm\\nand dry","sequence":"7"}\n{}\n{"note":"\u2028","sequence":"9"}\n')


async def test_each_message_is_on_its_way_before_the_next_is_there(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.stream = sending(weather.reading("one"), weather.reading("two"))
    async with connected(gateway.address) as connection:
        connection.send(get(WATCH))
        await connection.head()
        assert [await connection.chunk() for _ in range(3)] == [b'{"note":"one"}\n', b'{"note":"two"}\n', b""]


async def test_events_have_the_fields_id_and_one_line_of_data(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.stream = sending(weather.reading("warm\r\nand dry", 7), weather.reading("cold", -1))
    answer = await exchange(gateway.address, get(WATCH, EVENTS))
    assert answer.body.decode() == (
        'id: 7\ndata: {"note":"warm\\r\\nand dry","sequence":"7"}\n\nid: -1\ndata: {"note":"cold","sequence":"-1"}\n\n'
    )


async def test_events_of_a_method_without_an_id_field_have_none(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.stream = sending(weather.reading("warm", 7))
    answer = await exchange(gateway.address, get("/v1/stations/berlin:notes", EVENTS))
    assert answer.body == b'data: "warm"\n\n'


async def test_a_response_body_is_the_record(foreign: ForeignServer, gateway: Gateway, weather: Weather) -> None:
    foreign.stream = sending(weather.reading("warm"), weather.reading("cold"))
    assert (await exchange(gateway.address, get("/v1/stations/berlin:notes"))).body == b'"warm"\n"cold"\n'


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_stream_without_messages_is_200_with_an_empty_body(gateway: Gateway, accept: str) -> None:
    answer = await exchange(gateway.address, get(WATCH, f"Accept: {accept}"))
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Type"] == accept


async def test_a_stream_is_not_cached_and_has_its_request_id(foreign: ForeignServer, gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get(WATCH))
    assert answer.headers["Cache-Control"] == "no-store"
    assert foreign.seen[0].values("x-weather-id") == [answer.headers["X-Weather-Id"]]


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_proxy_is_asked_to_pass_records_on_at_once(gateway: Gateway, accept: str) -> None:
    answer = await exchange(gateway.address, get(WATCH, f"Accept: {accept}"))
    assert answer.headers["X-Accel-Buffering"] == "no"


async def test_last_event_id_reaches_the_field_that_is_bound_to_it(foreign: ForeignServer, gateway: Gateway) -> None:
    await exchange(gateway.address, get(WATCH, EVENTS, "Last-Event-ID: 41"))
    assert (foreign.seen[0].request.station, foreign.seen[0].request.after) == ("berlin", "41")


async def test_last_event_id_beside_the_field_itself_is_400(foreign: ForeignServer, gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get(f"{WATCH}?after=40", EVENTS, "Last-Event-ID: 41"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "Last-Event-ID")
    assert foreign.seen == []


async def test_a_stream_can_be_asked_for_with_a_body(foreign: ForeignServer, gateway: Gateway) -> None:
    body = json.dumps({"station": "oslo", "after": "3"}).encode()
    assert (await exchange(gateway.address, post("/v1/watches", body))).status == 200
    assert (foreign.seen[0].request.station, foreign.seen[0].request.after) == ("oslo", "3")


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_head_of_a_stream_has_gets_headers_and_calls_nothing(
    foreign: ForeignServer, gateway: Gateway, accept: str
) -> None:
    async with connected(gateway.address) as connection:
        connection.send(head_of("HEAD", WATCH, f"Accept: {accept}"))
        headed = await connection.answer(is_head=True)
        assert foreign.seen == []
        connection.send(get(WATCH, f"Accept: {accept}"))
        got = await connection.answer()
    assert headed.status == got.status
    for name in ("Content-Type", "Cache-Control", "Content-Length"):
        assert headed.headers.get(name) == got.headers.get(name)


@pytest.mark.parametrize("lines", [(), ("Connection: keep-alive",), ("Connection: close",)])
async def test_a_stream_to_an_http_1_0_client_ends_with_its_connection(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, lines: tuple[str, ...]
) -> None:
    foreign.stream = sending(weather.reading("warm"), weather.reading("cold"))
    async with connected(gateway.address) as connection:
        connection.send(head_of("GET", WATCH, *lines, version="1.0"))
        head = await connection.head()
        assert "Transfer-Encoding" not in head.headers
        assert head.headers["Connection"] == "close"
        assert await connection.ended() == b'{"note":"warm"}\n{"note":"cold"}\n'


async def test_after_a_stream_its_connection_serves_the_next_request(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.stream = sending(weather.reading("warm"))
    async with connected(gateway.address) as connection:
        for _ in range(3):
            connection.send(get(WATCH))
            assert (await connection.answer()).body == b'{"note":"warm"}\n'


async def test_streams_are_not_compressed_as_that_delays_messages(
    foreign: ForeignServer, start_gateway: StartGateway, weather: Weather
) -> None:
    gateway = await start_gateway()
    foreign.stream = sending(weather.reading("x" * 100_000))
    answer = await exchange(gateway.address, get(WATCH, "Accept-Encoding: gzip"))
    assert "Content-Encoding" not in answer.headers
