"""Connections: keep-alive, pipelining, closing on request, and exact request boundaries."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.message import Message

from tests.gateway.http.foreign import Context, ForeignServer, Weather
from tests.gateway.http.gateways import Gateway
from tests.support.wire import assert_failure, connected, exchange, get, head_of, post

READING = "/v1/stations/{}/reading"
READINGS = "/v1/readings"


@pytest.fixture(autouse=True)
def echoing(foreign: ForeignServer, weather: Weather) -> None:
    """Reply to unary calls with the requested station."""

    async def echo(request: Message, _context: Context) -> bytes:
        return weather.reading(getattr(request, "station", "") or getattr(request, "note", ""))

    foreign.unary = echo


async def test_a_connection_serves_on_after_failures(gateway: Gateway) -> None:
    bad = (
        (get("/nothing"), 404),
        (get(f"{READING.format('oslo')}?color=red"), 400),
        (post(READINGS, b"nonsense"), 400),
        (post(READINGS, b'{"color":1}'), 400),
        (head_of("POST", READINGS, "Content-Type: text/plain", "Content-Length: 2") + b"{}", 400),
        (post("/nothing", b"x" * 100_000), 404),
        (get(READING.format("oslo"), "Accept: text/html"), 406),
        (head_of("DELETE", READINGS), 405),
    )
    async with connected(gateway.address) as connection:
        for sent, status in bad:
            connection.send(sent)
            answer = await connection.answer()
            assert_failure(answer, status, answer.error["code"])
            connection.send(get(READING.format("berlin")))
            assert (await connection.answer()).json == {"note": "berlin"}


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        names = [f"station-{number}" for number in range(200)]
        connection.send(b"".join(get(READING.format(name)) for name in names))
        assert [(await connection.answer()).json["note"] for _ in names] == names


async def test_pipelined_requests_and_failures_stay_in_order(gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(
            get(READING.format("one"))
            + post(READINGS, b"nonsense")
            + head_of("HEAD", READING.format("two"))
            + post(READINGS, b'{"note":"three"}')
            + head_of("OPTIONS", READINGS)
            + get("/nothing")
            + get("/v1/stations/four:watch")
            + get(READING.format("five"))
        )
        assert (await connection.answer()).json == {"note": "one"}
        assert (await connection.answer()).status == 400
        assert (await connection.answer(is_head=True)).status == 200
        assert (await connection.answer()).json == {"note": "three"}
        assert (await connection.answer()).headers["Allow"]
        assert (await connection.answer()).status == 404
        assert (await connection.answer()).body == b""
        assert (await connection.answer()).json == {"note": "five"}


async def test_garbage_behind_a_good_request_is_400_and_closes(gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(get(READING.format("berlin")))
        assert (await connection.answer()).json == {"note": "berlin"}
        connection.send(b"nonsense\r\n\r\n")
        assert_failure(await connection.answer(), 400, "INVALID_ARGUMENT")
        assert await connection.ended() == b""


async def test_a_request_in_pieces_is_one_request(gateway: Gateway, foreign: ForeignServer) -> None:
    async with connected(gateway.address) as connection:
        for byte in post(READINGS, b'{"note":"warm"}'):
            connection.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert (await connection.answer()).json == {"note": "warm"}
    assert len(foreign.seen) == 1


async def test_connection_close_is_honoured_on_successes_and_failures(gateway: Gateway) -> None:
    for target in (READING.format("berlin"), "/nothing"):
        async with connected(gateway.address) as connection:
            connection.send(get(target, "Connection: close"))
            answer = await connection.answer()
            assert answer.headers["Connection"] == "close"
            assert await connection.ended() == b""


async def test_an_http_1_0_connection_closes_unless_kept_alive(gateway: Gateway) -> None:
    target = READING.format("berlin")
    async with connected(gateway.address) as connection:
        connection.send(head_of("GET", target, version="1.0"))
        assert (await connection.answer()).json == {"note": "berlin"}
        assert await connection.ended() == b""
    async with connected(gateway.address) as connection:
        for _ in range(2):
            connection.send(head_of("GET", target, "Connection: keep-alive", version="1.0"))
            answer = await connection.answer()
            assert answer.headers["Connection"] == "keep-alive"


async def test_an_offer_to_upgrade_is_declined_and_the_connection_kept(gateway: Gateway) -> None:
    offers = (
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA=="),
    )
    for lines in offers:
        async with connected(gateway.address) as connection:
            for name in ("one", "two"):
                connection.send(get(READING.format(name), *lines))
                assert (await connection.answer()).json == {"note": name}


async def test_a_body_refused_unread_is_not_taken_for_a_request(foreign: ForeignServer, gateway: Gateway) -> None:
    smuggled = get(READING.format("smuggled"))
    sent = head_of("POST", READINGS, f"Content-Length: {2 << 20}") + smuggled
    async with connected(gateway.address) as connection:
        connection.send(sent)
        answer = await connection.answer()
        assert_failure(answer, 400, "INVALID_ARGUMENT", str(2 << 20))
        assert answer.headers["Connection"] == "close"
    assert foreign.seen == []


async def test_a_body_of_an_unknown_path_is_not_taken_for_a_request(foreign: ForeignServer, gateway: Gateway) -> None:
    smuggled = get(READING.format("smuggled"))
    async with connected(gateway.address) as connection:
        connection.send(post("/nothing", smuggled) + get(READING.format("berlin")))
        assert_failure(await connection.answer(), 404, "NOT_FOUND")
        assert (await connection.answer()).json == {"note": "berlin"}
    assert [seen.request.station for seen in foreign.seen] == ["berlin"]


async def test_a_target_in_absolute_form_is_its_path(gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get("http://elsewhere.example" + READING.format("berlin")))
    assert answer.json == {"note": "berlin"}
    assert_failure(await exchange(gateway.address, get("http://elsewhere.example")), 404, "NOT_FOUND")


async def test_many_connections_at_once_get_their_own_answers(gateway: Gateway) -> None:
    names = [f"station-{number}" for number in range(100)]
    answers = await asyncio.gather(*(exchange(gateway.address, get(READING.format(name))) for name in names))
    assert [answer.json["note"] for answer in answers] == names
