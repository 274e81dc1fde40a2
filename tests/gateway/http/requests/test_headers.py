"""Request and response headers: which ones the gateway forwards, and their effects."""

from __future__ import annotations

import gzip

import grpc
import pytest
from google.protobuf.message import Message

from restmap_gateway.http.server import COMPRESS_FROM
from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import Context, ForeignServer, Weather, answering, failing
from tests.gateway.http.gateways import Gateway
from tests.support.wire import REQUEST_ID, assert_failure, connected, exchange, get, head_of

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("name", ["X-Weather-Token", "Authorization"])
@pytest.mark.parametrize("value", ["caf\u00e9", "a\tb", "\udcff", "\u2028"])
async def test_a_credential_that_is_not_ascii_is_400_and_calls_nothing(
    foreign: ForeignServer, gateway: Gateway, name: str, value: str
) -> None:
    answer = await exchange(gateway.address, get(READING, f"{name}: {value}"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", name.lower())
    assert foreign.seen == []


@pytest.mark.parametrize("name", ["X-Weather-Token", "Authorization"])
async def test_a_credential_given_twice_is_400_and_calls_nothing(
    foreign: ForeignServer, gateway: Gateway, name: str
) -> None:
    answer = await exchange(gateway.address, get(READING, f"{name}: one", f"{name.lower()}: one"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", name.lower(), "2 times")
    assert foreign.seen == []


async def test_only_the_listed_headers_become_metadata(foreign: ForeignServer, gateway: Gateway) -> None:
    lines = (
        "X-Weather-Token: secret", "Authorization: Bearer abc", f"traceparent: {TRACE}", "tracestate: a=1",
        "Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "Forwarded: for=1.2.3.4",
        "Grpc-Metadata-Role: admin", "grpc-status: 0", "te: trailers", "X-Custom: 1", "X-Custom-Bin: AAAA",
        "Connection: X-Secret", "X-Secret: 1", "Proxy-Authorization: Basic xyz", "Keep-Alive: 5", "User-Agent: test",
        "X-Units: metric", "X-Forecaster: somebody", "Trailer: X", "Upgrade: websocket", ":authority: elsewhere",
    )  # fmt: skip
    assert (await exchange(gateway.address, get(READING, *lines[:-1]))).status == 200
    seen = {key: value for key, value in foreign.seen[0].metadata if key not in ("user-agent", "grpc-accept-encoding")}
    assert REQUEST_ID.fullmatch(str(seen.pop("x-weather-id")))
    assert seen == {
        "x-weather-token": "secret",
        "units": "metric",
        "authorization": "Bearer abc",
        "traceparent": TRACE,
        "tracestate": "a=1",
        "x-forwarded-for": "127.0.0.1",  # the peer address that the gateway sees, not the client's own header
    }
    assert "test" not in str(foreign.seen[0].values("user-agent"))


async def test_several_trace_states_are_one_list(foreign: ForeignServer, gateway: Gateway) -> None:
    await exchange(gateway.address, get(READING, f"traceparent: {TRACE}", "tracestate: a=1", "tracestate: b=2"))
    assert foreign.seen[0].values("tracestate") == ["a=1,b=2"]


@pytest.mark.parametrize(
    "lines",
    [
        *((f"traceparent: {TRACE}",) * 2, ("traceparent: \u00e9",), ("traceparent:",)),
        *((f"traceparent: {TRACE}-more",), (f"traceparent: {TRACE.upper()}",), ()),
    ],
)
async def test_a_trace_that_cannot_be_read_is_no_reason_to_fail(
    foreign: ForeignServer, gateway: Gateway, lines: tuple[str, ...]
) -> None:
    assert (await exchange(gateway.address, get(READING, *lines, "tracestate: a=1"))).status == 200
    assert foreign.seen[0].values("traceparent") == []
    assert foreign.seen[0].values("tracestate") == []


async def test_only_challenges_of_the_servers_metadata_become_headers(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    sent = (
        ("www-authenticate", 'Token realm="weather"'), ("proxy-authenticate", "Basic"), ("set-cookie", "a=b"),
        ("x-internal", "secret"), ("content-length", "5"), ("transfer-encoding", "chunked"), ("connection", "close"),
    )  # fmt: skip

    async def challenge(_request: Message, context: Context) -> bytes:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "Who?", sent)
        return b""

    foreign.unary = challenge
    answer = await exchange(gateway.address, get(READING))
    assert_failure(answer, 401, "UNAUTHENTICATED", "Who?")
    assert answer.headers["WWW-Authenticate"] == 'Token realm="weather"'
    assert answer.headers["Proxy-Authenticate"] == "Basic"
    assert not {"Set-Cookie", "X-Internal", "Transfer-Encoding", "Connection"} & set(answer.headers)


async def test_no_answer_names_the_libraries_behind_it(gateway: Gateway) -> None:
    for sent in (get(READING), get("/nothing"), b"nonsense\r\n\r\n"):
        answer = await exchange(gateway.address, sent)
        assert answer.headers.getall("Server") == ["restmap-gateway"]


CLIENTS_ID = "wx-066b1e37-9305-4057-97e5-2e99b21fc71d"
SERVERS_ID = "wx-00000000-0000-4000-8000-0000000005e7"


async def test_a_client_cannot_choose_its_request_id(foreign: ForeignServer, gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get(READING, f"X-Weather-Id: {CLIENTS_ID}"))
    [ours] = answer.headers.getall("X-Weather-Id")
    assert REQUEST_ID.fullmatch(ours)
    assert ours != CLIENTS_ID
    assert foreign.seen[0].values("x-weather-id") == [ours]
    assert foreign.seen[0].values("x-client-request-id") == [CLIENTS_ID]


async def test_the_clients_request_id_is_logged_beside_ours(gateway: Gateway, logged: list[LogLine]) -> None:
    for target in (READING, "/nothing"):
        answer = await exchange(gateway.address, get(target, f"X-Weather-Id: {CLIENTS_ID}"))
        ours = answer.headers["X-Weather-Id"]
        [line] = [line for line in logged if line.get("request_id") == ours]
        assert line["client_request_id"] == CLIENTS_ID


@pytest.mark.parametrize("code", [grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND])
@pytest.mark.parametrize("said", [SERVERS_ID, "wx-1", "x" * 1000])
async def test_the_servers_request_id_is_shown_where_it_is_one(
    foreign: ForeignServer, gateway: Gateway, logged: list[LogLine], code: grpc.StatusCode, said: str
) -> None:
    async def answer_with_id(_request: Message, context: Context) -> bytes:
        context.set_trailing_metadata((("x-weather-id", said),))
        context.set_code(code)
        return b""

    foreign.unary = answer_with_id
    answer = await exchange(gateway.address, get(READING))
    shown = answer.headers["X-Weather-Id"]
    assert (shown == said) == (said == SERVERS_ID)
    assert REQUEST_ID.fullmatch(shown)
    assert [line["request_id"] for line in logged if line["event"] == "request"] == [shown]
    if code is not grpc.StatusCode.OK:
        assert answer.error["request_id"] == shown


@pytest.mark.parametrize("given", ["", "1", "wx-1", f"{CLIENTS_ID}-0", "wx-\u00e9", "secret-token"])
async def test_a_request_id_that_is_none_goes_nowhere(foreign: ForeignServer, gateway: Gateway, given: str) -> None:
    for target in (READING, "/nothing"):
        answer = await exchange(gateway.address, get(target, f"X-Weather-Id: {given}"))
        assert REQUEST_ID.fullmatch(answer.headers["X-Weather-Id"])
    assert foreign.seen[0].values("x-weather-id") != [given]
    assert foreign.seen[0].values("x-client-request-id") == []


async def test_what_cannot_be_read_has_a_request_id_too(gateway: Gateway) -> None:
    answer = await exchange(gateway.address, b"nonsense\r\n\r\n")
    assert REQUEST_ID.fullmatch(answer.headers["X-Weather-Id"])


@pytest.mark.parametrize("note", ["x", "x" * COMPRESS_FROM])
async def test_answers_are_not_compressed_unless_asked(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, note: str
) -> None:
    foreign.unary = answering(weather.reading(note))
    for accept in ("X-Nothing: 1", "Accept-Encoding:", "Accept-Encoding: gzip;q=0", "Accept-Encoding: br, deflate"):
        answer = await exchange(gateway.address, get(READING, accept))
        assert "Content-Encoding" not in answer.headers
        assert answer.json == {"note": note}


async def test_small_answers_are_not_compressed_though_asked(
    foreign: ForeignServer, gateway: Gateway, weather: Weather
) -> None:
    foreign.unary = answering(weather.reading("x" * 1000))
    answer = await exchange(gateway.address, get(READING, "Accept-Encoding: gzip"))
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize(
    ("accept", "times"),
    [("gzip", COMPRESS_FROM), ("deflate, GZIP;q=0.5", 60_000), ("br;q=1.0, gzip;q=0.8, *;q=0.1", COMPRESS_FROM)],
)
async def test_large_answers_are_compressed_on_request_unchanged(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, accept: str, times: int
) -> None:
    note = "snow \u2744 " * times
    foreign.unary = answering(weather.reading(note))
    async with connected(gateway.address) as connection:
        plain_size = len((await exchange(gateway.address, get(READING))).body)
        connection.send(get(READING, f"Accept-Encoding: {accept}"))
        answer = await connection.answer()
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert len(answer.body) < plain_size // 10
        foreign.unary = answering(weather.reading("next"))
        connection.send(get(READING))
        assert (await connection.answer()).json == {"note": "next"}
    assert gzip.decompress(answer.body) == (b'{"note":"%s"}' % note.encode())


@pytest.mark.parametrize("note", ["warm", "x" * 3 * COMPRESS_FROM])
@pytest.mark.parametrize("accept", ["Accept-Encoding: gzip", "Accept: */*"])
async def test_head_is_get_without_a_body(
    foreign: ForeignServer, gateway: Gateway, weather: Weather, note: str, accept: str
) -> None:
    foreign.unary = answering(weather.reading(note))
    async with connected(gateway.address) as connection:
        for target in (READING, "/nothing", f"{READING}?color=red", READINGS):
            connection.send(head_of("HEAD", target, accept))
            headed = await connection.answer(is_head=True)
            connection.send(get(target, accept))
            got = await connection.answer()
            assert headed.status == got.status
            for name in ("Content-Type", "Content-Encoding"):
                assert headed.headers.get(name) == got.headers.get(name)
            if target != "/nothing" and got.status == 200:
                assert headed.headers.get("Content-Length") in (None, got.headers["Content-Length"])


async def test_head_of_a_failure_behind_has_its_status(foreign: ForeignServer, gateway: Gateway) -> None:
    foreign.unary = failing(grpc.StatusCode.NOT_FOUND)
    async with connected(gateway.address) as connection:
        connection.send(head_of("HEAD", READING) + get("/nothing"))
        assert (await connection.answer(is_head=True)).status == 404
        assert_failure(await connection.answer(), 404, "NOT_FOUND")


FORWARDED = ("X-Forwarded-Proto: https", "X-Forwarded-Host: vbs.example.com")


async def next_link(gateway: Gateway, *lines: str) -> str:
    """Return the ``next`` link of a list response."""
    answer = await exchange(gateway.address, get(f"{READINGS}?limit=1", *lines))
    assert answer.status == 200, answer
    link: str = answer.json["readings_links"][0]["href"]
    return link


@pytest.fixture
def paged(foreign: ForeignServer, weather: Weather) -> None:
    foreign.unary = answering(weather.page(has_more=True))


@pytest.mark.usefixtures("paged")
@pytest.mark.parametrize("networks", [[], ["10.0.0.0/8", "::1/128"]])
async def test_forwarded_headers_are_believed_from_nobody_else(
    start_gateway: StartGateway, networks: list[str]
) -> None:
    gateway = await start_gateway(trusted_proxy=networks)
    assert await next_link(gateway, *FORWARDED) == "http://gateway.test/v1/readings?limit=1&offset=1"


@pytest.mark.usefixtures("paged")
async def test_forwarded_headers_are_believed_from_a_trusted_proxy(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(trusted_proxy=["127.0.0.0/8"])
    assert await next_link(gateway, *FORWARDED) == "https://vbs.example.com/v1/readings?limit=1&offset=1"
    several = ("X-Forwarded-Proto: HTTPS, http", "X-Forwarded-Host: first.example:8443, second.example")
    assert await next_link(gateway, *several) == "https://first.example:8443/v1/readings?limit=1&offset=1"


@pytest.mark.usefixtures("paged")
@pytest.mark.parametrize("host", ["evil.example/path?", "a b", "<script>", "\u00e9.example", "user@host", "[::1", ""])
async def test_a_host_that_is_none_does_not_reach_a_link(start_gateway: StartGateway, host: str) -> None:
    gateway = await start_gateway(trusted_proxy=["127.0.0.0/8"])
    link = await next_link(gateway, f"X-Forwarded-Host: {host}", "X-Forwarded-Proto: javascript")
    assert link.startswith(("http://gateway.test/", f"http://{gateway.address}/"))


@pytest.mark.usefixtures("paged")
async def test_the_host_of_an_absolute_target_is_preferred_to_host(gateway: Gateway) -> None:
    answer = await exchange(gateway.address, get(f"http://other.example:8080{READINGS}?limit=1"))
    assert answer.json["readings_links"][0]["href"] == "http://other.example:8080/v1/readings?limit=1&offset=1"


@pytest.mark.usefixtures("paged")
async def test_a_public_url_wins_over_what_any_header_says(start_gateway: StartGateway) -> None:
    gateway = await start_gateway(trusted_proxy=["127.0.0.0/8"], public_url="https://api.example.com/vbs/")
    assert await next_link(gateway, *FORWARDED) == "https://api.example.com/vbs/v1/readings?limit=1&offset=1"
